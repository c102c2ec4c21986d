//! How a new version gets its traffic: the plan of a rollout, as data with a default for everything.
//!
//! `rollout = {}` is a whole plan. Defaults are chosen for a model with some requests a second: a bad version has met few
//! users when it is found, a good one is everywhere within the hour.
//!
//! Invariant: weights of steps are above 0, below 10,000 and grow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::secret::WebhookUrl;

/// `[models.<name>.rollout]`: how a new version gets its traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSettings {
    /// Shares on the way to all of the traffic; the rest stays with the stable version. Default 1, 5, 25 and 50 %.
    pub steps: Vec<StepSettings>,
    /// Copies of requests that the new version answers before it answers any client. Default none.
    pub shadow: Option<ShadowSettings>,
    /// Whether somebody has to say so before all traffic goes to the new version. Default false.
    pub gate: bool,
    /// How long the version before is kept loaded after promotion, while the new one can still be rolled back. Default
    /// 15 min.
    pub bake: Duration,
    /// Probability that a version which is as good as the stable one is rolled back, over the whole rollout and everything
    /// that is compared, guards included. Default 0.01.
    pub false_abort_rate: f64,
    /// What is to become of a rollout when a newer version is to be rolled out. Default supersede.
    pub newer: Newer,
    /// How many of the versions that were last stable are gone back to at once, without steps. Default 3.
    pub fast_return: usize,
    /// Hours of the week, UTC, in which no share grows: ranges of hours from Monday 00:00 on, as
    /// `(first, count)`. Default none.
    pub blackout: Vec<(u16, u16)>,
    /// What ends a rollout at once.
    pub guards: GuardSettings,
    /// What is too small a difference to end a rollout.
    pub tolerances: ToleranceSettings,
    /// Whom to ask and to tell.
    pub hooks: Vec<RolloutHookSettings>,
    /// Whether the registry is told: tags on the version, and the alias of the stable version once it has baked. Default
    /// true.
    pub write_back: bool,
}

/// A share, and when it was long enough.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSettings {
    /// Share of the new version, hundredths of a percent.
    pub weight: u16,
    /// The shortest time at this share. Default 1 min.
    pub min_time: Duration,
    /// After this time without a verdict, `on_timeout` says what becomes of it. Default 1 h.
    pub max_time: Duration,
    /// Requests of the new version that a verdict needs at least. Default 500.
    pub min_samples: u64,
    /// What to do after `max_time`. Default hold.
    pub on_timeout: OnTimeout,
    /// Whether somebody has to say so before the next share. Default false.
    pub gate: bool,
}

/// What to do with a step that had its time and no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// Stay at this share until there is a verdict, or somebody decides.
    #[default]
    Hold,
    /// Roll back.
    Abort,
    /// Go on as if it had passed. A version that failed never does.
    Advance,
}

/// What is to become of a rollout when a newer version is to be rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newer {
    /// The newer version takes its place.
    #[default]
    Supersede,
    /// The newer version waits.
    Queue,
    /// The newer version is left alone.
    Reject,
}

/// Copies of requests to a version that answers no client.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowSettings {
    /// Share of requests that are copied, hundredths of a percent. Default 10 %.
    pub share: u16,
    /// Copies that may wait; further ones are dropped and counted. Default 256.
    pub queue: usize,
    /// Bytes that may wait. Default 16 MiB.
    pub memory: usize,
    /// The shortest time. Default 1 min.
    pub min_time: Duration,
    /// After this time without a verdict `on_timeout` says what becomes of it. Default 1 h.
    pub max_time: Duration,
    /// Copies that have to be answered and compared. Default 500.
    pub min_samples: u64,
    /// What to do after `max_time`. Default hold.
    pub on_timeout: OnTimeout,
    /// Largest share of compared answers whose label is another, if there is a limit. Default none.
    pub max_disagreement: Option<f64>,
}

/// What ends a rollout at once: rates that the new version may have whatever the stable one does. Each is read within
/// 50 ms, in every state.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// Share of answers that are failures of ours (5xx) which is still borne. Default 0.05.
    pub errors: f64,
    /// Share of answers with a NaN, an infinity or a value missing which is still borne. Default 0.001.
    pub non_finite: f64,
    /// Share of answers of another shape than the model says, and of calls that panic. Default 0.0001.
    pub broken: f64,
    /// A duration that counts as far too slow. Default none: ten times the stable version's 99th percentile when the
    /// rollout begins.
    pub latency: Option<Duration>,
    /// Share of answers beyond it which is still borne. Default 0.05.
    pub slow: f64,
}

/// Differences from the stable version that are borne however surely they are seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ToleranceSettings {
    /// Difference of the shares of failures (5xx). Default 0.001.
    pub errors: f64,
    /// Difference of the shares of requests that are refused as not fitting the model. Default 0.001.
    pub refusals: f64,
    /// A duration of the new version is compared as if it were this many times shorter. Default 1.25.
    pub latency_ratio: f64,
    /// And shorter by this time besides. Default 100 µs.
    pub latency_added: Duration,
    /// Distance of the distributions of predictions, PSI. Default 0.1.
    pub predictions: f64,
    /// Difference of the shares of predictions that are missing, infinite, out of range or an unseen category. Default
    /// 0.005.
    pub quality: f64,
}

/// Whom to ask or to tell, at a moment that Flagger names.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutHookSettings {
    /// The moment.
    pub kind: RolloutHookKind,
    /// A name for logs and explanations. Default: the kind.
    pub name: String,
    /// Where to send it.
    pub url: WebhookUrl,
    /// How long an answer may take. Default 10 s.
    pub timeout: Duration,
    /// Further attempts after one that failed. Default 2.
    pub retries: u32,
    /// What is sent with it besides. Default nothing.
    pub metadata: BTreeMap<String, String>,
}

/// The moments, named as in Flagger (<https://docs.flagger.app/usage/webhooks>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutHookKind {
    /// Before the first share: holds until it answers 2xx.
    ConfirmRollout,
    /// Once before the first share: a failure is a failed check.
    PreRollout,
    /// At every look at a step: a failure is a failed check.
    Rollout,
    /// Before each larger share: holds until it answers 2xx.
    ConfirmTrafficIncrease,
    /// Before promotion: holds until it answers 2xx.
    ConfirmPromotion,
    /// Once after the end.
    PostRollout,
    /// At every look: 2xx rolls back.
    Rollback,
    /// Every change of state.
    Event,
}

/// Every moment by its name.
pub(super) const HOOK_KINDS: &[(&str, RolloutHookKind)] = &[
    ("confirm-rollout", RolloutHookKind::ConfirmRollout),
    ("pre-rollout", RolloutHookKind::PreRollout),
    ("rollout", RolloutHookKind::Rollout),
    ("confirm-traffic-increase", RolloutHookKind::ConfirmTrafficIncrease),
    ("confirm-promotion", RolloutHookKind::ConfirmPromotion),
    ("post-rollout", RolloutHookKind::PostRollout),
    ("rollback", RolloutHookKind::Rollback),
    ("event", RolloutHookKind::Event),
];

impl RolloutHookKind {
    /// Its name in settings, as Flagger's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        HOOK_KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

impl Default for RolloutSettings {
    fn default() -> Self {
        let steps = [100, 500, 2_500, 5_000].map(StepSettings::of_weight);
        Self {
            steps: steps.into(),
            shadow: None,
            gate: false,
            bake: Duration::from_secs(900),
            false_abort_rate: 0.01,
            newer: Newer::default(),
            fast_return: 3,
            blackout: Vec::new(),
            guards: GuardSettings::default(),
            tolerances: ToleranceSettings::default(),
            hooks: Vec::new(),
            write_back: true,
        }
    }
}

impl StepSettings {
    /// A step with the defaults at a share in hundredths of a percent.
    #[must_use]
    pub fn of_weight(weight: u16) -> Self {
        Self {
            weight,
            min_time: Duration::from_secs(60),
            max_time: Duration::from_secs(3600),
            min_samples: 500,
            on_timeout: OnTimeout::Hold,
            gate: false,
        }
    }
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self {
            share: 1_000,
            queue: 256,
            memory: 16 << 20,
            min_time: Duration::from_secs(60),
            max_time: Duration::from_secs(3600),
            min_samples: 500,
            on_timeout: OnTimeout::Hold,
            max_disagreement: None,
        }
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self { errors: 0.05, non_finite: 0.001, broken: 0.0001, latency: None, slow: 0.05 }
    }
}

impl Default for ToleranceSettings {
    fn default() -> Self {
        Self {
            errors: 0.001,
            refusals: 0.001,
            latency_ratio: 1.25,
            latency_added: Duration::from_micros(100),
            predictions: 0.1,
            quality: 0.005,
        }
    }
}
