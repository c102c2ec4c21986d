//! The plan of judging: everything besides counts that a verdict is made from.
//!
//! It is written into the journal as it is, thresholds and all, so that a decision can be repeated by a later release
//! whose defaults are others.
//!
//! Invariant: nothing in it changes after the first event.

use super::budget::Budget;
use crate::config::RolloutSettings;
use crate::observe::trial::TrialLayout;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How a rollout is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgingPlan {
    /// Probability that a version which is as good is rolled back.
    pub false_abort_rate: f64,
    /// That probability, divided over what is judged.
    pub budget: Budget,
    /// Differences that are borne however surely they are seen.
    pub borne: BorneDifferences,
    /// Rates that are borne whatever the stable version does.
    pub allowed: AllowedRates,
    /// On which edges was counted.
    pub layout: TrialLayout,
}

/// Differences that are borne.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BorneDifferences {
    /// Of the shares of failures.
    pub errors: f64,
    /// Of the shares of refusals.
    pub refusals: f64,
    /// Of the shares of defects.
    pub quality: f64,
    /// Of the distributions of a column, PSI.
    pub predictions: f64,
}

/// Rates up to which a guard is silent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedRates {
    /// Failures of ours.
    pub errors: f64,
    /// Panics, and answers of a wrong shape.
    pub broken: f64,
    /// Predictions with a NaN or an infinity.
    pub non_finite: f64,
    /// Answers beyond the limit of latency.
    pub slow: f64,
}

impl JudgingPlan {
    /// The plan of these settings on a layout.
    #[must_use]
    pub fn new(settings: &RolloutSettings, layout: TrialLayout) -> Self {
        let (tolerances, guards) = (&settings.tolerances, &settings.guards);
        Self {
            false_abort_rate: settings.false_abort_rate,
            budget: Budget::of(settings.false_abort_rate),
            borne: BorneDifferences {
                errors: tolerances.errors,
                refusals: tolerances.refusals,
                quality: tolerances.quality,
                predictions: tolerances.predictions,
            },
            allowed: AllowedRates {
                errors: guards.errors,
                broken: guards.broken,
                non_finite: guards.non_finite,
                slow: guards.slow,
            },
            layout,
        }
    }

    /// How the rate is divided, for people: a line for each share.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let rate = self.false_abort_rate;
        let _ = writeln!(text, "{:<36} {rate:.3e}   of a version that is as good", "false aborts");
        self.budget.write(&mut text);
        let (edges, columns) = (self.layout.latency_edges.len(), self.layout.outputs.len());
        let _ = writeln!(
            text,
            "latency is the mean of the evidence at {edges} edges; {columns} columns of predictions have equal parts; each \
             start of a share weighs half of the one before; after promotion half of a share is the chance that stable's \
             counts mislead"
        );
        text
    }

    /// The share of one column of predictions.
    pub(super) fn column_share(&self, share: f64) -> f64 {
        share / self.layout.outputs.len().max(1) as f64
    }
}
