//! What a false alarm may cost, and everything that follows from it.
//!
//! A user says one number: how many false pages a version may cause in thirty days. It is divided once, here, so that
//! the parts can be printed and always add up. Columns get most of it, because there are many of them and they are what
//! drifts; half of their part pays for the reference, which is a sample and may be unlucky, half for the live evidence.
//!
//! Invariant: the parts add up to the whole.

use super::schedule::{LEVELS, PERIOD, RETAINED, ROWS_PER_START};
use serde::{Deserialize, Serialize};

/// What a user may say about alarms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmSettings {
    /// Expected false pages of a version in thirty days, all its columns and rates together: 0.1.
    pub false_pages_per_month: f64,
    /// Drift up to this PSI is none: 0.01.
    pub tolerance_psi: f64,
    /// Drift is worth a page from this PSI on: 0.02.
    pub effect_floor: f64,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        Self { false_pages_per_month: 0.1, tolerance_psi: 0.01, effect_floor: 0.02 }
    }
}

/// What a rate alarm watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchedRate {
    /// Requests that took longer than the limit.
    Latency,
    /// Answers with 5xx.
    Errors,
    /// Requests refused because their shape, types or names do not fit.
    Refusals,
}

/// Parts of the budget, in eighths: columns, latency, errors, refusals.
const EIGHTHS: [f64; 4] = [5.0, 1.0, 1.0, 1.0];

/// How a column's risk of an unlucky reference is shared: the region's radius hardly depends on it, limits of rates do,
/// and missing values are what goes wrong most.
const REGION_SHARE: f64 = 0.25;
const LIMIT_SHARES: [f64; 4] = [0.45, 0.1, 0.1, 0.1];
/// A defect may be this much more frequent than the reference can explain.
pub(super) const RATE_TOLERANCE: f64 = 0.0005;
/// References of a column where hours of the week are compared with.
pub(super) const SEASONS: f64 = 168.0;

/// The budget, divided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmPlan {
    /// What the user said.
    pub settings: AlarmSettings,
    /// Shares of the columns' part: one for each column with a reference, and another one if its finding raises the
    /// version's alert as well.
    pub shares: usize,
}

impl AlarmPlan {
    /// The plan of a version whose columns have so many shares, see [`Self::shares`].
    #[must_use]
    pub fn new(settings: &AlarmSettings, shares: usize) -> Self {
        Self { settings: *settings, shares: shares.max(1) }
    }

    /// Chance that the reference of any column is not within its region of the distribution it was drawn from.
    #[must_use]
    pub fn reference_share(&self) -> f64 {
        self.part(0) / 2.0
    }

    /// Expected false pages in thirty days by live evidence on columns.
    #[must_use]
    pub fn evidence_share(&self) -> f64 {
        self.part(0) / 2.0
    }

    /// Expected false pages in thirty days of a watched rate.
    #[must_use]
    pub fn rate_share(&self, rate: WatchedRate) -> f64 {
        self.part(match rate {
            WatchedRate::Latency => 1,
            WatchedRate::Errors => 2,
            WatchedRate::Refusals => 3,
        })
    }

    /// Chance that one column's reference is outside its region.
    #[must_use]
    pub fn reference_risk(&self) -> f64 {
        (self.reference_share() / self.shares as f64).min(0.5)
    }

    /// The part of [`Self::reference_risk`] that is for the shares of its groups.
    #[must_use]
    pub fn region_risk(&self) -> f64 {
        self.reference_risk() * REGION_SHARE
    }

    /// The part that is for the rate of a defect, in the order of [`Cause::DEFECTS`](super::Cause::DEFECTS).
    ///
    /// # Panics
    /// For a defect that there is not.
    #[must_use]
    pub fn limit_risk(&self, defect: usize) -> f64 {
        self.reference_risk() * LIMIT_SHARES[defect]
    }

    /// Natural logarithm of the weighted evidence at which a column raises its alarm.
    #[must_use]
    pub fn ln_threshold(&self) -> f64 {
        (self.shares as f64 / self.evidence_share()).ln()
    }

    /// Natural logarithm of the weighted evidence at which a watched rate raises its alarm.
    #[must_use]
    pub fn ln_rate_threshold(&self, rate: WatchedRate) -> f64 {
        -self.rate_share(rate).ln()
    }

    /// Kullback-Leibler divergence from the reference, in nats, that is tolerated beyond the reference's own error. Near
    /// a distribution PSI, the sum of both directed divergences, is twice either.
    #[must_use]
    pub fn tolerance(&self) -> f64 {
        self.settings.tolerance_psi / 2.0
    }

    fn part(&self, index: usize) -> f64 {
        self.settings.false_pages_per_month * EIGHTHS[index] / EIGHTHS.iter().sum::<f64>()
    }

    /// The plan in words and numbers, a line each, as `tidegate explain alarm` prints it.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let settings = &self.settings;
        let days = PERIOD.as_secs() / 86_400;
        vec![
            format!(
                "budget            {} false pages per version and {days} days, over columns with {} shares and over 3 rates",
                settings.false_pages_per_month, self.shares
            ),
            format!(
                "  references      {:.5} once per version: chance that any reference is outside its region; {:.3e} a share",
                self.reference_share(),
                self.reference_risk()
            ),
            format!(
                "  columns         {:.5} by live evidence: a column pages at weighted evidence ln E = {:.2}",
                self.evidence_share(),
                self.ln_threshold()
            ),
            self.explain_rate("latency", WatchedRate::Latency),
            self.explain_rate("errors", WatchedRate::Errors),
            self.explain_rate("refusals", WatchedRate::Refusals),
            format!(
                "starts            one every {ROWS_PER_START} rows, or every look if that is later; {LEVELS} levels: the start with a \
                 number that ends in z zero bits stays for up to {RETAINED} x 2^z starts"
            ),
            format!(
                "  weights         half a unit at the first start; then {:.1} unit per {days} days, and one after the first {days}",
                0.5
            ),
            format!(
                "tolerance         PSI {} (KL {:.4}), beyond the error of the reference: chi-squared at 1 - {:.3e}, over twice its rows",
                settings.tolerance_psi,
                self.tolerance(),
                self.region_risk()
            ),
            format!(
                "  defects         {RATE_TOLERANCE} beyond the error of the reference's rate: missing at 1 - {:.3e}, infinite, out of \
                 range, unseen at 1 - {:.3e}",
                self.limit_risk(0),
                self.limit_risk(1)
            ),
            format!("  hours of week   where compared with, each hour gets a {SEASONS}th of these risks"),
            format!(
                "effect floor      the lower 95 % bound of PSI since the start must be above {}",
                settings.effect_floor
            ),
        ]
    }

    fn explain_rate(&self, name: &str, rate: WatchedRate) -> String {
        format!(
            "  {name:<16}{:.5}: pages at weighted evidence ln E = {:.2}",
            self.rate_share(rate),
            self.ln_rate_threshold(rate)
        )
    }
}
