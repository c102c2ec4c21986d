//! A live profile beside its reference: counters and coarse groups of both sides, column by column.
//!
//! Distances are not taken here: this room counts, and leaves judging to others.
//!
//! Invariant: a compared column has as many live counters as its reference.

use super::{LiveProfileError, LiveVersion};
use crate::observe::Side;
use crate::profile::Profile;
use crate::sketch::{Reference, SUMS};

/// One column of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedColumn {
    /// The feature's or output's name.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// What it is compared with; none for a column that the profile does not have.
    pub reference: Option<Reference>,
    /// The counters of all parts.
    pub counts: Vec<u64>,
    /// Their sums.
    pub sums: [i64; SUMS],
}

impl LiveVersion {
    /// The counters of all parts beside those of the reference that they were counted on.
    ///
    /// # Errors
    /// [`LiveProfileError::OtherReference`] for a profile of another fingerprint.
    pub fn compare(&self, profile: &Profile) -> Result<Vec<ComparedColumn>, LiveProfileError> {
        let found = profile.fingerprint()?;
        if found != self.profile {
            let (model, version, expected) = (self.model.clone(), self.version, self.profile);
            return Err(LiveProfileError::OtherReference { model, version, expected, found });
        }
        let total = self.total().counts;
        let compared = self.columns.iter().zip(total).map(|(column, total)| {
            let known = if column.side == Side::Input { &profile.inputs } else { &profile.outputs };
            let known = known.iter().find(|known| known.name == column.name);
            ComparedColumn {
                name: column.name.clone(),
                side: column.side,
                reference: known.map(|known| known.reference()).filter(|known| known.counts.len() == column.counters),
                counts: total.counts,
                sums: total.sums,
            }
        });
        Ok(compared.collect())
    }
}
