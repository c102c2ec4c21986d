//! From what the registry wants to what serves: a new version gets its traffic step by step, on evidence, or loses it.
//!
//! Invariant: guards are armed in every state; what lowers a share is done first and written down after, what raises one
//! is written down first.

mod desk;
mod judgement;
pub mod judging;
mod phase;
mod question;
mod shadow;

pub use desk::{
    DeliveryFigures, ExplainedEntry, Explanation, Message, ORDER_QUEUE, Order, OrderError, OrderRequest, Posted,
    RolloutDesk, RolloutView, ShadowView, TestPlan, TestView,
};
pub use judgement::{Judgement, MetricJudgement};
pub use phase::{Pause, Phase, Verdict};
pub use question::answer;
pub use shadow::{ShadowRule, judge_shadow};
