//! A rollout's plan as it was when the rollout began: settings that change later hold for the next one.
//!
//! The plan is written to the journal whole, so that whoever reads it sees what was asked for without the configuration
//! of that day. Secrets are not in it: of a hook it has the kind and the name, and the address is looked up when the hook
//! is asked.
//!
//! Invariant: the same settings give the same hash, in every process and on every machine.

use crate::config::{Newer, OnTimeout, RolloutHookKind, RolloutSettings, ShadowSettings, StepSettings};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;
/// Hours of a week.
const WEEK: u64 = 168;
/// The hour of the week, from Monday 00:00, in which unix time began: a Thursday.
const FIRST_HOUR: u64 = 72;
/// Digits of an id.
const ID_DIGITS: usize = 16;

/// How a version is to get its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Shares on the way.
    pub steps: Vec<Step>,
    /// Copies of requests first.
    pub shadow: Option<ShadowPlan>,
    /// Whether somebody has to say so before all traffic moves.
    pub gate: bool,
    /// How long the version before is kept after promotion, milliseconds.
    pub bake_ms: u64,
    /// Probability that a version which is as good is rolled back.
    pub false_abort_rate: f64,
    /// What becomes of it when a newer version comes.
    pub newer: Newer,
    /// How many of the versions that were last stable are gone back to without steps.
    pub fast_return: usize,
    /// Hours of the week, UTC, in which no share grows: first hour from Monday 00:00 and number of hours.
    pub blackout: Vec<(u16, u16)>,
    /// Who is asked and told.
    pub hooks: Vec<PlannedHook>,
    /// Whether the registry is told.
    pub write_back: bool,
    /// Guards and tolerances by name; durations in seconds.
    pub limits: BTreeMap<String, f64>,
}

/// A share, and when it was long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Share of the new version, hundredths of a percent.
    pub weight: u16,
    /// The shortest time, milliseconds.
    pub min_ms: u64,
    /// After this time without a verdict `on_timeout` holds, milliseconds.
    pub max_ms: u64,
    /// Events of the new version that a verdict needs at least.
    pub min_samples: u64,
    /// What to do after `max_ms`.
    pub on_timeout: OnTimeout,
    /// Whether somebody has to say so before the next share.
    pub gate: bool,
}

/// Copies of requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowPlan {
    /// When it was long enough; its weight is nothing.
    pub step: Step,
    /// Share of requests that are copied, hundredths of a percent.
    pub share: u16,
    /// Copies that may wait.
    pub queue: usize,
    /// Bytes that may wait.
    pub memory: usize,
    /// Largest share of answers whose label is another.
    pub max_disagreement: Option<f64>,
}

/// A hook, without its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHook {
    /// The moment.
    pub kind: RolloutHookKind,
    /// Its name.
    pub name: String,
}

impl Plan {
    /// The plan that settings are.
    #[must_use]
    pub fn of(settings: &RolloutSettings) -> Self {
        let hooks = settings.hooks.iter().map(|hook| PlannedHook { kind: hook.kind, name: hook.name.clone() });
        Self {
            steps: settings.steps.iter().map(Step::of).collect(),
            shadow: settings.shadow.as_ref().map(ShadowPlan::of),
            gate: settings.gate,
            bake_ms: milliseconds(settings.bake),
            false_abort_rate: settings.false_abort_rate,
            newer: settings.newer,
            fast_return: settings.fast_return,
            blackout: settings.blackout.clone(),
            hooks: hooks.collect(),
            write_back: settings.write_back,
            limits: limits(settings),
        }
    }

    /// Identifies the plan.
    ///
    /// # Panics
    /// Never: a plan is numbers and text, which JSON has.
    #[must_use]
    pub fn hash(&self) -> String {
        let text = serde_json::to_string(self).expect("a plan is numbers and text, which JSON has");
        digits(&[&text])
    }

    /// Identifies the rollout of a target's bytes by this plan: the same again is the same id.
    #[must_use]
    pub fn id(&self, model: &str, digest: &str) -> String {
        digits(&[model, digest, &self.hash()])
    }

    /// Whether no share grows at a time, unix milliseconds.
    #[must_use]
    pub fn is_blackout(&self, now: u64) -> bool {
        let hour = (now / HOUR + FIRST_HOUR) % WEEK;
        let is_in = |(first, count): &(u16, u16)| (hour + WEEK - u64::from(*first) % WEEK) % WEEK < u64::from(*count);
        self.blackout.iter().any(is_in)
    }
}

impl Step {
    fn of(settings: &StepSettings) -> Self {
        Self {
            weight: settings.weight,
            min_ms: milliseconds(settings.min_time),
            max_ms: milliseconds(settings.max_time),
            min_samples: settings.min_samples,
            on_timeout: settings.on_timeout,
            gate: settings.gate,
        }
    }
}

impl ShadowPlan {
    fn of(settings: &ShadowSettings) -> Self {
        let step = Step {
            weight: 0,
            min_ms: milliseconds(settings.min_time),
            max_ms: milliseconds(settings.max_time),
            min_samples: settings.min_samples,
            on_timeout: settings.on_timeout,
            gate: false,
        };
        let (share, queue, memory) = (settings.share, settings.queue, settings.memory);
        Self { step, share, queue, memory, max_disagreement: settings.max_disagreement }
    }
}

fn limits(settings: &RolloutSettings) -> BTreeMap<String, f64> {
    let (guards, tolerances) = (&settings.guards, &settings.tolerances);
    let mut limits: BTreeMap<String, f64> = [
        ("guards.errors", guards.errors),
        ("guards.non_finite", guards.non_finite),
        ("guards.broken", guards.broken),
        ("guards.slow", guards.slow),
        ("tolerances.errors", tolerances.errors),
        ("tolerances.refusals", tolerances.refusals),
        ("tolerances.latency_ratio", tolerances.latency_ratio),
        ("tolerances.latency_added", tolerances.latency_added.as_secs_f64()),
        ("tolerances.predictions", tolerances.predictions),
        ("tolerances.quality", tolerances.quality),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(latency) = guards.latency {
        limits.insert("guards.latency".to_owned(), latency.as_secs_f64());
    }
    limits
}

/// The first digits of a hash over texts, of which none can be taken for a part of its neighbour.
fn digits(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let bytes = hash.finalize();
    let all: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    all[..ID_DIGITS].to_owned()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_back_and_keeps_its_hash() {
        let plan = Plan::of(&RolloutSettings::default());
        let text = serde_json::to_string(&plan).unwrap();
        let again: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(again, plan);
        assert_eq!(again.hash(), plan.hash());
        assert_eq!(plan.steps.iter().map(|step| step.weight).collect::<Vec<_>>(), [100, 500, 2_500, 5_000]);
        assert_eq!(plan.bake_ms, 900_000);
    }

    #[test]
    fn the_id_is_of_the_model_the_bytes_and_every_setting() {
        let plan = Plan::of(&RolloutSettings::default());
        let id = plan.id("churn", "a");
        assert_eq!(id.len(), ID_DIGITS);
        assert_eq!(plan.id("churn", "a"), id);
        assert_ne!(plan.id("churna", ""), id);
        assert_ne!(plan.id("churn", "b"), id);
        let mut settings = RolloutSettings::default();
        settings.guards.broken = 0.5;
        assert_ne!(Plan::of(&settings).id("churn", "a"), id);
    }

    #[test]
    fn blackout_hours_are_of_the_week_and_go_over_its_end() {
        let mut plan = Plan::of(&RolloutSettings::default());
        // Friday 16:00 to Monday 08:00.
        plan.blackout = vec![(4 * 24 + 16, 64)];
        // 2026-11-27 is a Friday; 15:59 and 16:00.
        let four = 1_795_795_200_000_u64;
        for (at, is_blackout) in [
            (four - 1, false),
            (four, true),
            (four + 63 * HOUR, true),
            (four + 64 * HOUR - 1, true),
            (four + 64 * HOUR, false),
        ] {
            assert_eq!(plan.is_blackout(at), is_blackout, "{at}");
        }
    }
}
