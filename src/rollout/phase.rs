//! Where a rollout stands.
//!
//! ```text
//!  pulling ▶ verifying ▶ loading ▶ warming ▶ [shadow] ▶ canary 0 ▶ canary 1 ▶ … ▶ promoting ▶ baking ▶ done
//!                   │                            │  ▲ paused: operator, gate, inconclusive, blackout, sensor
//!                   ▼ failed                     ▼  ▼
//!                                 any state ▶ aborting ▶ rolled_back
//! ```
//!
//! Invariant: nothing leaves `done`, `rolled_back`, `failed` and `superseded`.

use serde::{Deserialize, Serialize};

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Phase {
    /// Its files are being fetched.
    Pulling,
    /// Its files are being checked.
    Verifying,
    /// It is being loaded.
    Loading,
    /// It answers rows that nobody sees.
    Warming,
    /// It answers copies of requests.
    Shadow,
    /// It has the share of a step.
    Canary {
        /// The step, from 0.
        step: usize,
    },
    /// All traffic goes to it, and is about to be judged.
    Promoting,
    /// It has all traffic, and the version before is still there.
    Baking,
    /// It is the stable version.
    Done,
    /// It is losing its share.
    Aborting,
    /// It has lost it.
    RolledBack,
    /// It never had a share: it could not be fetched, checked, loaded or warmed.
    Failed,
    /// A newer version took its place.
    Superseded,
    /// A test with fixed shares, which moves nothing by itself.
    Testing,
}

/// Why a rollout waits where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Somebody said so.
    Operator,
    /// The plan wants somebody to say that it may go on.
    Gate,
    /// A hook has not agreed yet.
    Hook,
    /// The step had its time and there is no verdict, or there can be none.
    Inconclusive,
    /// The hours in which no share grows.
    Blackout,
    /// What would be judged cannot be trusted, or what was decided cannot be written down.
    Sensor,
}

/// What a step, or a guard, comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It had its time and its samples, and nothing was found.
    Pass,
    /// It is worse.
    Fail,
    /// Too little to say.
    NotEnoughData,
    /// What was counted contradicts itself, for example shares that are not what was set.
    SensorError,
}

impl Pause {
    /// Its name in metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gate => "gate",
            Self::Hook => "hook",
            Self::Inconclusive => "inconclusive",
            Self::Blackout => "blackout",
            Self::Sensor => "sensor",
        }
    }
}

impl Verdict {
    /// Its name in tags and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotEnoughData => "not_enough_data",
            Self::SensorError => "sensor_error",
        }
    }
}

impl Phase {
    /// Its name in metrics, tags and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pulling => "pulling",
            Self::Verifying => "verifying",
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Shadow => "shadow",
            Self::Canary { .. } => "canary",
            Self::Promoting => "promoting",
            Self::Baking => "baking",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Testing => "testing",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Failed | Self::Superseded)
    }
}
