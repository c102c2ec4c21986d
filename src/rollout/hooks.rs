//! What hooks are sent, and what their answers mean: Flagger's payloads and meanings, so that what answers Flagger's
//! webhooks answers these (<https://docs.flagger.app/usage/webhooks>, `pkg/controller/webhook.go` of Flagger).
//!
//! `phase` is one of Flagger's. Hooks that are asked while a rollout goes on are told `Progressing`, as Flagger tells them;
//! `rollback`, `post-rollout` and `event` are told where it stands. Flagger's namespace is that of Kubernetes; here it is
//! [`NAMESPACE`]. `checksum` is the rollout's id: it differs whenever Flagger's would, by model, target and plan.
//!
//! | ours | Flagger's |
//! |---|---|
//! | pulling to warming, shadow, canary, testing | `Progressing`; `Waiting` while somebody's word is needed before the first share |
//! | promoting | `Promoting` |
//! | baking | `Finalising` |
//! | done | `Succeeded` |
//! | aborting, rolled_back, failed | `Failed` |
//! | superseded | `Terminated` |
//!
//! Invariant: a payload is made of a view and settings alone; no address and no token is in it.

use super::{Pause, Phase, RolloutView};
use crate::config::{RolloutHookKind, RolloutHookSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What stands where Flagger has the namespace of a canary.
pub const NAMESPACE: &str = "tidegate";
/// The most characters of an answer that are kept.
pub const KEPT_ANSWER: usize = 500;

/// What a hook is sent, as JSON in a POST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPayload {
    /// The model.
    pub name: String,
    /// [`NAMESPACE`].
    pub namespace: String,
    /// One of Flagger's phases.
    pub phase: String,
    /// The rollout's id.
    pub checksum: String,
    /// What the settings say is sent with it, and of the rollout `model_version`, `stable_version` and `weight`; of an event
    /// `eventMessage`, `eventType` and `timestamp` besides.
    pub metadata: BTreeMap<String, String>,
}

/// What became of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum HookAnswer {
    /// 200, 201 or 202.
    Yes,
    /// Any other status.
    No {
        /// The status.
        status: u16,
        /// The beginning of what it says.
        text: String,
    },
    /// There was no answer in time.
    Unreachable {
        /// Why not.
        cause: String,
    },
}

/// What is to be done about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// The rollout goes on.
    GoOn,
    /// It waits and asks again.
    Hold,
    /// It is a failed check.
    FailedCheck,
    /// It is rolled back.
    RollBack,
}

impl HookPayload {
    /// What a hook is sent that is asked or told something about a rollout.
    #[must_use]
    pub fn of(view: &RolloutView, hook: &RolloutHookSettings) -> Self {
        let phase = match hook.kind {
            RolloutHookKind::Rollback | RolloutHookKind::PostRollout | RolloutHookKind::Event => {
                phase_name(view.phase, view.pause)
            }
            _ => "Progressing",
        };
        let of_rollout = [
            ("model_version", view.target.to_string()),
            ("stable_version", view.stable.to_string()),
            ("weight", view.weight.to_string()),
        ];
        let mut metadata = hook.metadata.clone();
        metadata.extend(of_rollout.map(|(key, value)| (key.to_owned(), value)));
        Self {
            name: view.model.clone(),
            namespace: NAMESPACE.to_owned(),
            phase: phase.to_owned(),
            checksum: view.id.clone(),
            metadata,
        }
    }

    /// What a hook of the kind `event` is sent when something happened, at unix milliseconds.
    #[must_use]
    pub fn event(view: &RolloutView, hook: &RolloutHookSettings, message: &str, at: u64) -> Self {
        let is_warning =
            matches!(view.phase, Phase::Aborting | Phase::RolledBack | Phase::Failed) || view.pause.is_some();
        let of_event = [
            ("eventMessage", message.to_owned()),
            ("eventType", if is_warning { "Warning" } else { "Normal" }.to_owned()),
            ("timestamp", at.to_string()),
        ];
        let mut payload = Self::of(view, hook);
        payload.metadata.extend(of_event.map(|(key, value)| (key.to_owned(), value)));
        payload
    }
}

/// Flagger's name for where a rollout stands.
#[must_use]
pub fn phase_name(phase: Phase, pause: Option<Pause>) -> &'static str {
    let is_asked_for = matches!(pause, Some(Pause::Operator | Pause::Gate | Pause::Hook));
    match phase {
        Phase::Pulling | Phase::Verifying | Phase::Loading | Phase::Warming | Phase::Shadow if is_asked_for => {
            "Waiting"
        }
        Phase::Pulling | Phase::Verifying | Phase::Loading | Phase::Warming => "Progressing",
        Phase::Shadow | Phase::Canary { .. } | Phase::Testing => "Progressing",
        Phase::Promoting => "Promoting",
        Phase::Baking => "Finalising",
        Phase::Done => "Succeeded",
        Phase::Aborting | Phase::RolledBack | Phase::Failed => "Failed",
        Phase::Superseded => "Terminated",
    }
}

impl HookAnswer {
    /// What a status and the beginning of a body say.
    #[must_use]
    pub fn of_status(status: u16, body: &[u8]) -> Self {
        if (200..=202).contains(&status) {
            return Self::Yes;
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim().chars().take(KEPT_ANSWER);
        Self::No { status, text: text.map(|letter| if letter.is_control() { ' ' } else { letter }).collect() }
    }

    /// Whether asking once more may help without anybody's doing anything: a gate that says no has said it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Yes => false,
            Self::No { status, .. } => matches!(status, 408 | 429 | 500..=599) && *status != 501,
            Self::Unreachable { .. } => true,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn consequence(&self, kind: RolloutHookKind) -> Consequence {
        let is_yes = *self == Self::Yes;
        match kind {
            RolloutHookKind::ConfirmRollout
            | RolloutHookKind::ConfirmTrafficIncrease
            | RolloutHookKind::ConfirmPromotion
                if !is_yes =>
            {
                Consequence::Hold
            }
            RolloutHookKind::PreRollout | RolloutHookKind::Rollout if !is_yes => Consequence::FailedCheck,
            RolloutHookKind::Rollback if is_yes => Consequence::RollBack,
            _ => Consequence::GoOn,
        }
    }
}

impl std::fmt::Display for HookAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => formatter.write_str("yes"),
            Self::No { status, text } if text.is_empty() => write!(formatter, "no ({status})"),
            Self::No { status, text } => write!(formatter, "no ({status}): {text}"),
            Self::Unreachable { cause } => write!(formatter, "no answer: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{hook, view};
    use super::*;

    const KINDS: [RolloutHookKind; 8] = [
        RolloutHookKind::ConfirmRollout,
        RolloutHookKind::PreRollout,
        RolloutHookKind::Rollout,
        RolloutHookKind::ConfirmTrafficIncrease,
        RolloutHookKind::ConfirmPromotion,
        RolloutHookKind::PostRollout,
        RolloutHookKind::Rollback,
        RolloutHookKind::Event,
    ];

    #[test]
    fn a_payload_has_the_members_of_flaggers() {
        let view = view("churn", Phase::Baking, None);
        let hook = hook(RolloutHookKind::ConfirmPromotion, "http://gate.example/approve");
        let sent = serde_json::to_value(HookPayload::of(&view, &hook)).unwrap();
        let expected = serde_json::json!({
            "name": "churn", "namespace": "tidegate", "phase": "Progressing", "checksum": view.id,
            "metadata": { "team": "risk", "model_version": "2", "stable_version": "1", "weight": "5" },
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn an_event_says_what_happened_and_when_and_whether_it_is_a_warning() {
        let hook = hook(RolloutHookKind::Event, "http://a");
        let event = |phase, pause| HookPayload::event(&view("churn", phase, pause), &hook, "step 2 passed", 1_500);
        let calm = event(Phase::Canary { step: 1 }, None);
        assert_eq!(calm.metadata["eventMessage"], "step 2 passed");
        assert_eq!((calm.metadata["eventType"].as_str(), calm.metadata["timestamp"].as_str()), ("Normal", "1500"));
        assert_eq!((calm.phase.as_str(), calm.metadata["team"].as_str()), ("Progressing", "risk"));
        for (phase, pause) in [(Phase::RolledBack, None), (Phase::Canary { step: 0 }, Some(Pause::Inconclusive))] {
            assert_eq!(event(phase, pause).metadata["eventType"], "Warning");
        }
    }

    #[test]
    fn hooks_that_are_told_an_end_are_told_which() {
        let post = hook(RolloutHookKind::PostRollout, "http://a");
        for (phase, expected) in [
            (Phase::Done, "Succeeded"),
            (Phase::RolledBack, "Failed"),
            (Phase::Failed, "Failed"),
            (Phase::Superseded, "Terminated"),
        ] {
            assert_eq!(HookPayload::of(&view("churn", phase, None), &post).phase, expected);
        }
        assert_eq!(phase_name(Phase::Warming, Some(Pause::Hook)), "Waiting");
        assert_eq!(phase_name(Phase::Canary { step: 0 }, Some(Pause::Gate)), "Progressing");
        assert_eq!(phase_name(Phase::Warming, Some(Pause::Blackout)), "Progressing");
    }

    #[test]
    fn two_hundred_to_two_hundred_and_two_is_yes_and_everything_else_is_not() {
        for status in [200, 201, 202] {
            assert_eq!(HookAnswer::of_status(status, b"whatever"), HookAnswer::Yes);
        }
        for status in [199, 203, 204, 301, 400, 403, 500] {
            assert!(matches!(HookAnswer::of_status(status, b""), HookAnswer::No { .. }), "{status}");
        }
        let HookAnswer::No { text, .. } = HookAnswer::of_status(403, &b"closed\n\x1b[31m".repeat(400)) else {
            panic!()
        };
        assert_eq!(text.chars().count(), KEPT_ANSWER);
        assert!(text.starts_with("closed ") && !text.contains(char::is_control), "{text}");
    }

    #[test]
    fn an_answer_means_what_it_means_to_flagger() {
        let no = HookAnswer::No { status: 403, text: String::new() };
        let gone = HookAnswer::Unreachable { cause: "refused".to_owned() };
        let meant = |answer: &HookAnswer| KINDS.map(|kind| answer.consequence(kind));
        use Consequence::{FailedCheck, GoOn, Hold, RollBack};
        assert_eq!(meant(&HookAnswer::Yes), [GoOn, GoOn, GoOn, GoOn, GoOn, GoOn, RollBack, GoOn]);
        for answer in [&no, &gone] {
            assert_eq!(meant(answer), [Hold, FailedCheck, FailedCheck, Hold, Hold, GoOn, GoOn, GoOn], "{answer}");
        }
        assert!(gone.may_pass() && !no.may_pass() && !HookAnswer::Yes.may_pass());
        let busy = |status| HookAnswer::No { status, text: String::new() }.may_pass();
        assert!(busy(429) && busy(503) && !busy(501) && !busy(404));
    }
}
