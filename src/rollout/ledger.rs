//! What is known of all rollouts of a model, also of those whose journal is gone: sums, and the versions that are left
//! alone.
//!
//! A ledger is written down with the entry that ends a rollout, in one piece, so that both are there or neither is. It is
//! written whole and not as what is to be added, so that writing it twice changes nothing. The rollout that ended last
//! stands apart: a promotion that could be written down only after somebody had paused it is undone by the entries after
//! it, and the same rollout ends once more.
//!
//! Invariant: a rollout counts once, however often it ended; of versions that are left alone the latest
//! [`MOST_LEFT_ALONE`] are known.

use super::journal::{Beginning, Entry, Record};
use super::state::State;
use super::{DeliveryFigures, Phase};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most versions of a model that are left alone.
pub const MOST_LEFT_ALONE: usize = 256;

/// What is known of all rollouts of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Of all but the last.
    figures: DeliveryFigures,
    /// The oldest first, of all but the last.
    left_alone: Vec<LeftAlone>,
    /// The one that ended last.
    last: Option<Finished>,
}

/// A version that no rollout begins with by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftAlone {
    version: u64,
    /// Identifies its bytes: others are another version.
    digest: String,
    why: Why,
}

/// Why it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Why {
    /// It lost its share, or was to have none.
    RolledBack,
    /// It could not be used.
    Failed,
    /// It came while another was rolled out, and was turned away.
    Rejected,
}

/// A rollout that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    id: String,
    target: u64,
    digest: String,
    is_test: bool,
    /// Unix milliseconds when it began.
    began: u64,
    outcome: Phase,
    lead_ms: Option<u64>,
    restore_ms: Option<u64>,
}

impl Ledger {
    /// With a rollout's end, if one of these entries is it. `state` is the rollout's.
    #[must_use]
    pub fn after(&self, state: &State, records: &[Record]) -> Option<Self> {
        let ends = |record: &Record| matches!(record.entry, Entry::Ended { .. });
        let ended = records.iter().rev().find(|record| ends(record))?;
        let mut ledger = self.clone();
        ledger.end(&state.beginning, &ended.entry);
        ledger.reject(&state.rejected);
        Some(ledger)
    }

    /// Takes in that a rollout ended; entries that are no end say nothing here.
    pub fn end(&mut self, beginning: &Beginning, ended: &Entry) {
        let Entry::Ended { outcome, lead_ms, restore_ms, .. } = ended else { return };
        let finished = Finished {
            id: beginning.id.clone(),
            target: beginning.target,
            digest: beginning.digest.clone(),
            is_test: beginning.test.is_some(),
            began: beginning.sighted_at,
            outcome: *outcome,
            lead_ms: *lead_ms,
            restore_ms: *restore_ms,
        };
        if self.last.as_ref().is_some_and(|last| last.id != finished.id) {
            *self = self.settled();
        }
        self.last = Some(finished);
    }

    /// Takes in versions that the rollout that ended last turned away.
    pub fn reject(&mut self, versions: &BTreeSet<(u64, String)>) {
        for (version, digest) in versions {
            if !self.left_alone.iter().any(|left| left.is(*version, digest)) {
                self.leave_alone(*version, digest, Why::Rejected);
            }
        }
    }

    /// Sums over all rollouts that ended. Tests move nothing and are left out.
    #[must_use]
    pub fn figures(&self) -> DeliveryFigures {
        let mut figures = self.figures;
        self.counted_last().into_iter().for_each(|last| last.count(&mut figures));
        figures
    }

    /// Whether no rollout of these bytes begins by itself, because they were rolled back or turned away, or failed and are
    /// not usable still.
    #[must_use]
    pub fn is_left_alone(&self, version: u64, digest: &str, is_usable: bool) -> bool {
        let is_mended = |left: &LeftAlone| left.why == Why::Failed && is_usable;
        self.settled().left_alone.iter().any(|left| left.is(version, digest) && !is_mended(left))
    }

    /// Versions that lost their share, by their digests, unless a later rollout of them was fine.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<u64, String> {
        let lost = self.settled().left_alone.into_iter().filter(|left| left.why == Why::RolledBack);
        lost.map(|left| (left.version, left.digest)).collect()
    }

    /// The same, the last rollout among the others.
    fn settled(&self) -> Self {
        let mut ledger = Self { last: None, ..self.clone() };
        if let Some(last) = self.counted_last() {
            last.count(&mut ledger.figures);
            match last.outcome {
                Phase::Done => ledger.left_alone.retain(|left| !left.is(last.target, &last.digest)),
                Phase::RolledBack => ledger.leave_alone(last.target, &last.digest, Why::RolledBack),
                Phase::Failed => ledger.leave_alone(last.target, &last.digest, Why::Failed),
                _ => {}
            }
        }
        ledger
    }

    fn counted_last(&self) -> Option<&Finished> {
        self.last.as_ref().filter(|last| !last.is_test)
    }

    fn leave_alone(&mut self, version: u64, digest: &str, why: Why) {
        self.left_alone.retain(|left| !left.is(version, digest));
        self.left_alone.push(LeftAlone { version, digest: digest.to_owned(), why });
        if self.left_alone.len() > MOST_LEFT_ALONE {
            self.left_alone.remove(0);
        }
    }
}

impl LeftAlone {
    fn is(&self, version: u64, digest: &str) -> bool {
        self.version == version && self.digest == digest
    }
}

impl Finished {
    #[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285,000 years")]
    fn count(&self, figures: &mut DeliveryFigures) {
        let seconds = |milliseconds: Option<u64>| milliseconds.unwrap_or(0) as f64 / 1000.0;
        figures.since.get_or_insert(self.began);
        match self.outcome {
            Phase::Done => {
                figures.promoted += 1;
                figures.lead_seconds += seconds(self.lead_ms);
            }
            // What never had a share changed nothing, and there was nothing to restore.
            Phase::RolledBack if self.restore_ms.is_some() => {
                figures.rolled_back += 1;
                figures.restore_seconds += seconds(self.restore_ms);
            }
            Phase::RolledBack | Phase::Failed => figures.failed += 1,
            Phase::Superseded => figures.superseded += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RolloutSettings;
    use crate::rollout::plan::Plan;
    use crate::rollout::{TestPlan, test_support};

    fn of(id: &str, target: u64, digest: &str) -> Beginning {
        let plan = Plan::of(&RolloutSettings::default());
        Beginning { id: id.to_owned(), target, digest: digest.to_owned(), ..test_support::beginning(plan) }
    }

    fn ended(outcome: Phase, lead_ms: Option<u64>, restore_ms: Option<u64>) -> Entry {
        Entry::Ended { outcome, reason: String::new(), lead_ms, restore_ms }
    }

    fn rejected(version: u64, digest: &str) -> BTreeSet<(u64, String)> {
        [(version, digest.to_owned())].into()
    }

    #[test]
    fn every_rollout_counts_once_by_what_became_of_its_share() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.figures(), DeliveryFigures::default());
        let test = Some(TestPlan { weight: 50.0, question: "errors".to_owned() });
        for (place, (beginning, end)) in [
            (of("a", 2, "2"), ended(Phase::Done, Some(1_500), None)),
            (of("b", 3, "3"), ended(Phase::RolledBack, None, Some(250))),
            (of("c", 4, "4"), ended(Phase::RolledBack, None, None)),
            (of("d", 5, "5"), ended(Phase::Failed, None, None)),
            (of("e", 6, "6"), ended(Phase::Superseded, None, None)),
            (Beginning { test, ..of("f", 7, "7") }, ended(Phase::RolledBack, None, Some(250))),
        ]
        .into_iter()
        .enumerate()
        {
            let beginning = Beginning { sighted_at: 10 + place as u64, ..beginning };
            ledger.end(&beginning, &end);
            ledger.end(&beginning, &Entry::Restarted);
            ledger.end(&beginning, &end);
        }
        let expected = DeliveryFigures {
            since: Some(10),
            promoted: 1,
            rolled_back: 1,
            failed: 2,
            superseded: 1,
            lead_seconds: 1.5,
            restore_seconds: 0.25,
        };
        assert_eq!(ledger.figures(), expected, "one that never had a share is no failed change");
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }

    #[test]
    fn a_promotion_that_was_undone_before_it_was_final_counts_as_what_it_came_to() {
        let mut ledger = Ledger::default();
        ledger.end(&of("a", 2, "2"), &ended(Phase::Done, Some(1_000), None));
        assert_eq!((ledger.figures().promoted, ledger.is_left_alone(2, "2", true)), (1, false));
        ledger.end(&of("a", 2, "2"), &ended(Phase::RolledBack, None, Some(50)));
        let figures = ledger.figures();
        assert_eq!((figures.promoted, figures.rolled_back, figures.lead_seconds), (0, 1, 0.0));
        assert!(ledger.is_left_alone(2, "2", true));
    }

    #[test]
    fn bytes_that_were_rolled_back_or_turned_away_are_left_alone_until_they_are_fine_and_failed_ones_until_usable() {
        let mut ledger = Ledger::default();
        ledger.end(&of("a", 2, "2"), &ended(Phase::RolledBack, None, Some(1)));
        ledger.reject(&rejected(3, "3"));
        ledger.end(&of("b", 4, "4"), &ended(Phase::Failed, None, None));
        for number in 10..40 {
            ledger.end(&of(&format!("{number}"), number, "fine"), &ended(Phase::Done, Some(1), None));
        }
        for (version, digest, is_left_alone) in
            [(2, "2", true), (3, "3", true), (4, "4", false), (2, "other", false), (5, "2", false), (39, "fine", false)]
        {
            assert_eq!(ledger.is_left_alone(version, digest, true), is_left_alone, "version {version}, {digest}");
        }
        assert!(ledger.is_left_alone(4, "4", false), "what failed is left alone until it can be used");
        assert_eq!(ledger.refused(), [(2, "2".to_owned())].into(), "nothing bad is known of what was turned away");
        ledger.end(&of("again", 2, "2"), &ended(Phase::Superseded, None, None));
        assert!(ledger.is_left_alone(2, "2", true));
        ledger.end(&of("by hand", 3, "3"), &ended(Phase::Done, None, None));
        assert!(!ledger.is_left_alone(3, "3", true) && ledger.is_left_alone(2, "2", true));
    }

    #[test]
    fn of_very_many_the_latest_are_left_alone() {
        let mut ledger = Ledger::default();
        for version in 0..2 * MOST_LEFT_ALONE as u64 {
            ledger.end(&of(&version.to_string(), version, "bad"), &ended(Phase::RolledBack, None, Some(1)));
        }
        assert_eq!(ledger.settled().left_alone.len(), MOST_LEFT_ALONE);
        assert!(
            ledger.is_left_alone(2 * MOST_LEFT_ALONE as u64 - 1, "bad", true) && !ledger.is_left_alone(0, "bad", true)
        );
        assert_eq!(ledger.figures().rolled_back, 2 * MOST_LEFT_ALONE as u64);
    }
}
