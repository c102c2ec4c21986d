//! The share of an arm in hundredths of a percent.
//!
//! People write percent (`12.5`), splits count in whole hundredths (`1250`). The conversion is exact or refused: a
//! weight that is silently rounded would make a sum of 100 % out of numbers that have none.
//!
//! Invariant: a [`Weight`] is from 0 to [`FULL_WEIGHT`].

use std::fmt;

use super::{RouteError, percent_text};

/// 100 % in hundredths of a percent: what the weights of a split add up to, and how many points there are.
pub const FULL_WEIGHT: u16 = 10_000;

/// A share of traffic in hundredths of a percent, 0 to 10,000. Displayed as percent: `12.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// A percentage from 0 to 100 in steps of 0.01.
    ///
    /// A number is on a step exactly when it is the float nearest to a hundredth; dividing by 100 rounds to that float,
    /// so the check needs no tolerance.
    ///
    /// # Errors
    /// When the number is not from 0 to 100, or lies between two steps (`10.005`).
    pub fn from_percent(percent: f64) -> Result<Self, RouteError> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(RouteError::WeightOutOfRange { found: percent });
        }
        let hundredths = (percent * 100.0).round();
        if (hundredths / 100.0).total_cmp(&percent).is_ne() {
            return Err(RouteError::WeightTooFine { found: percent });
        }
        Ok(Self(hundredths as u16))
    }

    /// The weight in hundredths of a percent, 0 to 10,000; what [`super::Split::try_new`] takes.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// The weight in percent, 0.0 to 100.0.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// A weight already known to be at most [`FULL_WEIGHT`].
    pub(super) fn from_checked_hundredths(hundredths: u16) -> Self {
        debug_assert!(hundredths <= FULL_WEIGHT, "a weight is at most {FULL_WEIGHT}");
        Self(hundredths)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&percent_text(u64::from(self.0)))
    }
}
