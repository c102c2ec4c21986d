//! From what the registry wants to what serves: a new version gets its traffic step by step, on evidence, or loses it.
//!
//! Invariant: guards are armed in every state; what lowers a share is done first and written down after, what raises one
//! is written down first.

mod phase;

pub use phase::{Pause, Phase, Verdict};
