//! From what the registry wants to what serves: a new version gets its traffic step by step, on evidence, or loses it.
//!
//! Invariant: guards are armed in every state; what lowers a share is done first and written down after, what raises one
//! is written down first.

pub mod course;
mod desk;
pub mod explain;
mod gates;
pub mod history;
pub mod hooks;
pub mod journal;
mod judgement;
pub mod judging;
pub mod ledger;
pub mod machine;
mod phase;
pub mod plan;
mod question;
mod shadow;
mod standing;
pub mod state;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod wishes;
pub mod write_back;

pub use desk::{
    DeliveryFigures, ExplainedEntry, Explanation, Message, ORDER_QUEUE, Order, OrderError, OrderRequest, Posted,
    RolloutDesk, RolloutView, ShadowView, TestArm, TestPlan, TestView,
};
pub use gates::waits_for;
pub use judgement::{Judgement, MetricJudgement};
pub use phase::{Pause, Phase, Verdict};
pub use question::answer;
pub use shadow::{SHADOW_SHARE, ShadowRule, judge_shadow};
pub use standing::{Progress, Seen, progress};
pub use wishes::{carry_out, check_test};
