//! Which version answers a request: a weighted, sticky, nested split of traffic.
//!
//! A request becomes a *point* from 0 to 9,999, either from its routing key ([`point_of_key`]) or from a random number
//! that the caller drew ([`point_of_draw`]); a [`Split`] turns the point into an arm. Two steps instead of one, so that
//! the split can be checked over all of its points, and so that the same key meets the same point whatever the weights
//! are. Weights are whole hundredths of a percent, not floats: 0 and 100 % are exact, and a sum is either right or not.
//!
//! Weighted rendezvous hashing would disturb fewer keys when a third arm appears, but its shares are only right on
//! average; here every share is exact.
//!
//! Invariant: every point belongs to exactly one arm, and each arm owns as many points as its weight says. What stays
//! where when weights change is written at [`Split`].

mod point;
mod split;
#[cfg(test)]
mod tests;
mod weight;

pub use point::{hash_of_key, point_of_draw, point_of_key};
pub use split::{Arm, ArmRole, MAX_ARMS, Split};
pub use weight::{FULL_WEIGHT, Weight};

use crate::error::{Blamed, Fault};

/// Why weights do not make a split. Always the caller's to mend.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// A split without any version.
    #[error("a split needs at least one version, none came")]
    NoArms,
    /// More versions than one split may have.
    #[error("a split has at most {MAX_ARMS} versions, {found} came")]
    TooManyArms {
        /// Versions that came.
        found: usize,
    },
    /// The same version twice.
    #[error("version {version} came twice in one split")]
    DuplicateVersion {
        /// The version that came twice.
        version: u64,
    },
    /// The weights do not add up.
    #[error("the weights of a split must add up to 100 %, these add up to {} %", percent_text(*.found))]
    WrongSum {
        /// The sum that came, in hundredths of a percent.
        found: u64,
    },
    /// A weight below 0 %, above 100 %, or not a number.
    #[error("a weight is from 0 to 100 %, {found} came")]
    WeightOutOfRange {
        /// The percentage that came.
        found: f64,
    },
    /// A weight finer than can be kept.
    #[error("a weight has steps of 0.01 %, {found} lies between two of them")]
    WeightTooFine {
        /// The percentage that came.
        found: f64,
    },
}

impl Blamed for RouteError {
    fn fault(&self) -> Fault {
        Fault::InvalidRequest
    }
}

/// Hundredths of a percent as percent, without needless zeros: 1250 is `12.5`.
fn percent_text(hundredths: u64) -> String {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match (rest, rest % 10) {
        (0, _) => format!("{whole}"),
        (_, 0) => format!("{whole}.{}", rest / 10),
        _ => format!("{whole}.{rest:02}"),
    }
}
