//! Counts that one value of a version leaves to the next, so that no exported counter forgets a request.
//!
//! When a learned reference is frozen, the version goes on as a new value with a recorder of its own, on other edges. For
//! drift that is a new beginning. But `tidegate_rows_total` and its like count what the version has served, whichever
//! value it was: so the old value's counts of requests are added to the new one's, and its counts of defects.
//!
//! They are handed over three times: when the new value is made, when it is live, and when the last request has let go of
//! the old one. A worker that has picked a value answers and counts before it picks again, so between the second and the
//! third time at most one request per worker is missing, for at most as long as a request takes and the retirer's pause;
//! after the third none is.
//!
//! Invariant: what is handed over later is never less.

use crate::observe::Totals;
use std::sync::{Mutex, PoisonError};

/// What values of a version before this one counted. A lock is right here: it is taken when counts are exported and when
/// they are handed over, never by a request for predictions.
#[derive(Debug, Default)]
pub(super) struct Legacy(Mutex<Counts>);

/// What is handed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Counts of requests; those of columns are empty.
    pub(super) totals: Totals,
    /// Defects of features: the feature's name, the kind, how many.
    pub(super) defects: Vec<(String, &'static str, u64)>,
}

impl Legacy {
    pub(super) fn set(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    pub(super) fn get(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
