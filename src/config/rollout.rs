//! Reads `[models.<name>.rollout]`: the plan by which a new version gets its traffic.
//!
//! `rollout = {}` is a whole plan. What is said beside `steps` holds for every step that does not say otherwise, so that
//! `steps = [1, 10, 50]` with one `min_samples` is enough; a step that needs more becomes a table. Settings take effect at
//! the next rollout: the plan of one that runs was written down when it began.
//!
//! Invariant: steps that are read grow, lie above 0 and below 100 %, and none has to last longer than it may.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::ProblemKind;
use super::reader::{Located, Reader};
use super::rollout_hooks;
use super::rollout_settings::{
    GuardSettings, Newer, OnTimeout, RolloutSettings, ShadowSettings, StepSettings, ToleranceSettings,
};
use super::tree::Value;
use super::values::{
    Parsed, duration, duration_text, flag, hundredths_of_a_percent, one_of, real, refused, size, whole,
};
use super::week;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Most steps of a plan.
const MAX_STEPS: usize = 32;
/// Most versions that are gone back to without steps.
const MAX_FAST_RETURN: usize = 100;
/// Largest count of samples that can be asked for.
const MAX_SAMPLES: u64 = 1_000_000_000;
/// 100 % in hundredths of a percent.
const FULL: u16 = 10_000;
/// Rates of guards. None at all is no rate that can be tested.
const RATES: RangeInclusive<f64> = 0.00001..=0.5;

const ON_TIMEOUT: &[(&str, OnTimeout)] =
    &[("hold", OnTimeout::Hold), ("abort", OnTimeout::Abort), ("advance", OnTimeout::Advance)];
const NEWER: &[(&str, Newer)] = &[("supersede", Newer::Supersede), ("queue", Newer::Queue), ("reject", Newer::Reject)];

/// The plan of a model, if it has one. `has_split` says whether fixed shares are set as well.
pub(super) fn rollout(reader: &mut Reader<'_, '_>, has_split: bool) -> Option<RolloutSettings> {
    reader.origin()?;
    if has_split {
        let reason = "split and rollout both say which version gets which share; leave one out".to_owned();
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    let default = RolloutSettings::default();
    let pace = pace(reader, Pace::of(&StepSettings::of_weight(0)));
    Some(RolloutSettings {
        steps: steps(reader, &pace)
            .unwrap_or_else(|| default.steps.iter().map(|step| pace.step(step.weight)).collect()),
        shadow: reader.table("shadow", shadow),
        gate: reader.value("gate", flag).unwrap_or(default.gate),
        bake: reader.value("bake", duration(Duration::ZERO..=7 * DAY)).unwrap_or(default.bake),
        false_abort_rate: reader.value("false_abort_rate", real(0.0001..=0.2)).unwrap_or(default.false_abort_rate),
        newer: reader.value("newer", one_of(NEWER)).unwrap_or(default.newer),
        fast_return: reader.value("fast_return", whole(0..=MAX_FAST_RETURN)).unwrap_or(default.fast_return),
        blackout: reader.value("blackout", week::hours).unwrap_or(default.blackout),
        guards: reader.table("guards", guards),
        tolerances: reader.table("tolerances", tolerances),
        hooks: rollout_hooks::hooks(reader),
        write_back: reader.value("write_back", flag).unwrap_or(default.write_back),
    })
}

/// When something was long enough: what steps and the shadow have in common.
#[derive(Clone, Copy)]
struct Pace {
    min_time: Duration,
    max_time: Duration,
    min_samples: u64,
    on_timeout: OnTimeout,
}

impl Pace {
    fn of(step: &StepSettings) -> Self {
        let StepSettings { min_time, max_time, min_samples, on_timeout, .. } = *step;
        Self { min_time, max_time, min_samples, on_timeout }
    }

    fn step(self, weight: u16) -> StepSettings {
        let Self { min_time, max_time, min_samples, on_timeout } = self;
        StepSettings { weight, min_time, max_time, min_samples, on_timeout, gate: false }
    }
}

/// What a section says of the pace, above what holds otherwise.
fn pace(reader: &mut Reader<'_, '_>, default: Pace) -> Pace {
    let is_given = reader.has("min_time") || reader.has("max_time");
    let pace = Pace {
        min_time: reader.value("min_time", duration(Duration::ZERO..=7 * DAY)).unwrap_or(default.min_time),
        max_time: reader.value("max_time", duration(100 * MILLISECOND..=30 * DAY)).unwrap_or(default.max_time),
        min_samples: reader.value("min_samples", whole(1..=MAX_SAMPLES)).unwrap_or(default.min_samples),
        on_timeout: reader.value("on_timeout", one_of(ON_TIMEOUT)).unwrap_or(default.on_timeout),
    };
    if is_given && pace.min_time > pace.max_time {
        let (least, most) = (duration_text(pace.min_time), duration_text(pace.max_time));
        let reason = format!("min_time ({least}) exceeds max_time ({most}); it must not");
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    pace
}

/// The steps that are given; nothing where none are.
fn steps(reader: &mut Reader<'_, '_>, pace: &Pace) -> Option<Vec<StepSettings>> {
    if !reader.has("steps") {
        return None;
    }
    let expected = "an array of percentages or tables, such as [1, 5, { weight = 25, min_samples = 2000 }]";
    let problems_before = reader.ledger.problems.len();
    let found =
        reader.items("steps", expected, |reader| step(reader, pace), |value| Ok(Some(pace.step(weight(value)?))));
    let count = found.len();
    let mut steps: Vec<StepSettings> = Vec::new();
    for Located { value, origin } in found {
        let Some(step) = value else { continue };
        if let Some(before) = steps.last().filter(|before| before.weight >= step.weight) {
            let percent = |weight: u16| f64::from(weight) / 100.0;
            let (before, after) = (percent(before.weight), percent(step.weight));
            let reason = format!("steps must grow, and {after} % comes after {before} %");
            reader.problem(origin, "steps", ProblemKind::Conflict { reason });
        }
        steps.push(step);
    }
    if count > MAX_STEPS || count == 0 && reader.ledger.problems.len() == problems_before {
        let reason = format!("there are {count} steps, and 1 to {MAX_STEPS} are allowed");
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    Some(steps)
}

/// A step with more to say than its share.
fn step(reader: &mut Reader<'_, '_>, pace_of_all: &Pace) -> Option<StepSettings> {
    if !reader.has("weight") {
        reader.own_problem(ProblemKind::Missing { expected: "weight = 5, percent of the traffic".to_owned() });
    }
    let weight = reader.value("weight", weight);
    let pace = pace(reader, *pace_of_all);
    let gate = reader.value("gate", flag).unwrap_or(false);
    Some(StepSettings { gate, ..pace.step(weight?) })
}

/// A share that leaves something to both versions, hundredths of a percent.
fn weight(value: &Value) -> Parsed<u16> {
    let within = hundredths_of_a_percent(value).ok().filter(|weight| (1..FULL).contains(weight));
    within.ok_or_else(|| refused("a percentage above 0 and below 100 in steps of 0.01", value))
}

fn shadow(reader: &mut Reader<'_, '_>) -> Option<ShadowSettings> {
    reader.origin()?;
    let default = ShadowSettings::default();
    let ShadowSettings { min_time, max_time, min_samples, on_timeout, .. } = default;
    let Pace { min_time, max_time, min_samples, on_timeout } =
        pace(reader, Pace { min_time, max_time, min_samples, on_timeout });
    let memory = reader.value("memory", size(64 << 10..=1 << 30)).and_then(|bytes| usize::try_from(bytes).ok());
    Some(ShadowSettings {
        share: reader.value("share", share).unwrap_or(default.share),
        queue: reader.value("queue", whole(1..=65_536)).unwrap_or(default.queue),
        memory: memory.unwrap_or(default.memory),
        min_time,
        max_time,
        min_samples,
        on_timeout,
        max_disagreement: reader.value("max_disagreement", real(0.0..=1.0)),
    })
}

/// A share of requests that is not none, hundredths of a percent.
fn share(value: &Value) -> Parsed<u16> {
    let some = hundredths_of_a_percent(value).ok().filter(|share| *share > 0);
    some.ok_or_else(|| refused("a percentage above 0, at most 100, in steps of 0.01", value))
}

fn guards(reader: &mut Reader<'_, '_>) -> GuardSettings {
    let default = GuardSettings::default();
    GuardSettings {
        errors: reader.value("errors", real(RATES)).unwrap_or(default.errors),
        non_finite: reader.value("non_finite", real(RATES)).unwrap_or(default.non_finite),
        broken: reader.value("broken", real(RATES)).unwrap_or(default.broken),
        latency: reader.value("latency", duration(Duration::from_micros(1)..=HOUR)).or(default.latency),
        slow: reader.value("slow", real(RATES)).unwrap_or(default.slow),
    }
}

fn tolerances(reader: &mut Reader<'_, '_>) -> ToleranceSettings {
    let default = ToleranceSettings::default();
    let added = duration(Duration::ZERO..=60 * SECOND);
    ToleranceSettings {
        errors: reader.value("errors", real(0.0..=1.0)).unwrap_or(default.errors),
        refusals: reader.value("refusals", real(0.0..=1.0)).unwrap_or(default.refusals),
        latency_ratio: reader.value("latency_ratio", real(1.0..=100.0)).unwrap_or(default.latency_ratio),
        latency_added: reader.value("latency_added", added).unwrap_or(default.latency_added),
        predictions: reader.value("predictions", real(0.0..=10.0)).unwrap_or(default.predictions),
        quality: reader.value("quality", real(0.0..=1.0)).unwrap_or(default.quality),
    }
}
