//! How many deliveries of webhooks came, by what became of them.
//!
//! Invariant: a fixed table of outcomes, whatever comes; each delivery to a configured sender is counted once.

use super::AdminError;
use crate::registry::hooks::HookError;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Accepted,
    /// It was taken before.
    Repeated,
    /// A header is missing or not of its form.
    BadHeader,
    /// The signature is a wrong one.
    BadSignature,
    /// It was signed too long ago or in the future.
    BadTime,
    /// The body is none, too long, or did not come.
    BadBody,
    /// It is of a page in a browser.
    FromBrowser,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Repeated,
        Self::BadHeader,
        Self::BadSignature,
        Self::BadTime,
        Self::BadBody,
        Self::FromBrowser,
    ];

    /// What a refusal is.
    pub(super) fn of(error: &AdminError) -> Self {
        match error {
            AdminError::Hook(HookError::Forged { .. } | HookError::BadSecret { .. }) => Self::BadSignature,
            AdminError::Hook(HookError::Stale { .. } | HookError::Ahead { .. }) => Self::BadTime,
            AdminError::Hook(
                HookError::Missing { .. }
                | HookError::Repeated { .. }
                | HookError::TooLong { .. }
                | HookError::Malformed { .. },
            ) => Self::BadHeader,
            AdminError::Forbidden { .. } => Self::FromBrowser,
            _ => Self::BadBody,
        }
    }

    /// The labels `outcome` and `reason`.
    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => ("accepted", ""),
            Self::Repeated => ("repeated", ""),
            Self::BadHeader => ("refused", "header"),
            Self::BadSignature => ("refused", "signature"),
            Self::BadTime => ("refused", "time"),
            Self::BadBody => ("refused", "body"),
            Self::FromBrowser => ("refused", "origin"),
        }
    }
}

/// Counts of one sender.
#[derive(Debug, Default)]
pub(super) struct HookCounts([AtomicU64; Outcome::ALL.len()]);

impl HookCounts {
    pub(super) fn note(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The labels `outcome` and `reason`, and how many.
    pub(super) fn totals(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        Outcome::ALL.into_iter().map(|outcome| (outcome.labels(), self.0[outcome as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_outcome_has_a_count_and_labels_of_its_own() {
        let counts = HookCounts::default();
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            (0..=place).for_each(|_| counts.note(outcome));
        }
        let totals: Vec<u64> = counts.totals().map(|(_, total)| total).collect();
        assert_eq!(totals, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(counts.totals().map(|(labels, _)| labels).collect::<BTreeSet<_>>().len(), totals.len());
    }

    #[test]
    fn a_refusal_is_counted_by_its_reason() {
        let reason = |error: AdminError| Outcome::of(&error).labels();
        assert_eq!(reason(HookError::Forged { header: "x" }.into()), ("refused", "signature"));
        assert_eq!(reason(HookError::Missing { header: "x" }.into()), ("refused", "header"));
        assert_eq!(reason(HookError::Stale { at: 1, now: 2 }.into()), ("refused", "time"));
        assert_eq!(reason(HookError::BadBody { found: String::new() }.into()), ("refused", "body"));
        assert_eq!(reason(AdminError::LongBody { most: 1 }), ("refused", "body"));
        assert_eq!(reason(AdminError::Forbidden { reason: String::new() }), ("refused", "origin"));
    }
}
