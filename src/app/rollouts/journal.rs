//! The journal on the disk: what is read when the gateway starts, and the one who writes.
//!
//! Whoever drives rollouts never waits for the disk: entries are handed in, and what became of them is asked later.
//!
//! Invariant: entries of one rollout are written in the order in which they were handed in, and every write is answered.

use crate::app::clock::unix;
use crate::catalog::Chosen;
use crate::rollout::course::Course;
use crate::rollout::history::History;
use crate::rollout::journal::{Entry, Record};
use crate::rollout::ledger::Ledger;
use crate::rollout::state::State;
use crate::rollout::write_back::Told;
use crate::store::{Keeper, KeptRolloutRow, RolloutRow, Store};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait; a model has one at a time.
const WRITE_QUEUE: usize = 64;
/// How long a write, or a read, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long reading everything may take when the gateway starts.
const RECALL_PATIENCE: Duration = Duration::from_secs(10);

/// What a write came to: nothing, or why it failed.
pub(super) type Written = Result<(), String>;

/// Entries to write.
struct Write {
    rows: Vec<RolloutRow>,
    done: oneshot::Sender<Written>,
}

/// The near end.
#[derive(Clone)]
pub(in crate::app) struct Journal {
    store: Store,
    writes: mpsc::Sender<Write>,
    /// The store is open for as long as somebody has one.
    _keeper: Keeper,
}

/// What an earlier process left behind, by model.
#[derive(Default)]
pub(in crate::app) struct Recalled {
    pub(super) histories: BTreeMap<String, History>,
    /// The last rollout of each model.
    pub(super) courses: BTreeMap<String, Course>,
}

impl Journal {
    /// The near end, and the future that writes until every near end is gone.
    pub(in crate::app) fn new(store: Store, keeper: Keeper) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (writes, mut waiting) = mpsc::channel::<Write>(WRITE_QUEUE);
        let writer = store.clone();
        let write = async move {
            while let Some(Write { rows, done }) = waiting.recv().await {
                let outcome = match tokio::time::timeout(PATIENCE, writer.append_rollout(&rows)).await {
                    Ok(outcome) => outcome.map_err(|error| error.to_string()),
                    Err(_late) => Err(format!("the state database did not answer within {PATIENCE:?}")),
                };
                // Whoever asked may have gone.
                let _ = done.send(outcome);
            }
        };
        (Self { store, writes, _keeper: keeper }, write)
    }

    /// Hands entries in, with the ledger after them if they change it; nothing if too many wait.
    pub(super) fn write(
        &self,
        (model, id): (&str, &str),
        records: &[Record],
        ledger: Option<&Ledger>,
    ) -> Option<oneshot::Receiver<Written>> {
        let mut rows: Vec<RolloutRow> = records.iter().map(|record| row((model, id), record)).collect();
        if let (Some(last), Some(ledger)) = (rows.last_mut(), ledger) {
            last.ledger = Some(serde_json::to_string(ledger).expect("a ledger is numbers and text, which JSON has"));
        }
        let (done, written) = oneshot::channel();
        self.writes.try_send(Write { rows, done }).ok().map(|()| written)
    }

    /// The whole journal of a rollout, with the numbers that entries have in the store.
    pub(super) async fn read(&self, id: &str) -> Result<Vec<(u64, Record)>, String> {
        match tokio::time::timeout(PATIENCE, self.store.rollout_rows(id)).await {
            Ok(Ok(rows)) => rows.iter().map(record).collect(),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_late) => Err(format!("the state database did not answer within {PATIENCE:?}")),
        }
    }

    /// What an earlier process left behind. What cannot be read is said and left out.
    pub(in crate::app) async fn recall(&self) -> Recalled {
        match tokio::time::timeout(RECALL_PATIENCE, self.read_all()).await {
            Ok(Ok(recalled)) => recalled,
            Ok(Err(cause)) => {
                tracing::error!(cause, "the journal of rollouts cannot be read; rollouts of before are forgotten");
                Recalled::default()
            }
            Err(_late) => {
                tracing::error!(timeout = ?RECALL_PATIENCE, "the journal of rollouts was not there in time");
                Recalled::default()
            }
        }
    }

    async fn read_all(&self) -> Result<Recalled, String> {
        let ends = self.store.rollout_rows_of_kinds(["started", "ended"]).await.map_err(|error| error.to_string())?;
        let (mut recalled, mut last) = (Recalled::default(), BTreeMap::new());
        for kept in &ends {
            let (model, id) = (&kept.row.model, &kept.row.rollout);
            match record(kept) {
                Ok((_, record)) => {
                    if matches!(record.entry, Entry::Started(_)) {
                        last.insert(model.clone(), id.clone());
                    }
                    recalled.histories.entry(model.clone()).or_default().take(id, &record.entry);
                }
                Err(cause) => tracing::error!(model, rollout = id, cause, "an entry of a rollout is left out"),
            }
        }
        for (model, text) in self.store.rollout_ledgers().await.map_err(|error| error.to_string())? {
            match serde_json::from_str(&text) {
                Ok(ledger) => recalled.histories.entry(model).or_default().read(ledger),
                Err(cause) => tracing::error!(model, %cause, "what is known of all rollouts of a model is left out"),
            }
        }
        let now = milliseconds(unix(SystemTime::now()));
        for (model, id) in last {
            let records = self.read(&id).await.map(|records| records.into_iter().map(|(_, record)| record).collect());
            match records.and_then(|records: Vec<Record>| Course::resume(&records, now)) {
                Ok(course) => {
                    // Ledgers begin with the first rollout that ends under a release that keeps them.
                    recalled.histories.entry(model.clone()).or_default().reject(course.state());
                    recalled.courses.insert(model, course);
                }
                Err(cause) => tracing::error!(model, rollout = id, cause, "a rollout cannot be taken up again"),
            }
        }
        Ok(recalled)
    }
}

impl Recalled {
    /// What is stable after all of it, for the publisher.
    pub(in crate::app) fn chosen(&self) -> BTreeMap<String, Chosen> {
        let chosen = self.histories.iter().filter_map(|(model, history)| {
            let last = self.courses.get(model).map(Course::state);
            let chosen = chosen(history, history.stable(last)?);
            // A registry that was never told calls the version before stable still, which is no news.
            let instead_of = last.filter(|state| !has_moved_the_alias(state)).and_then(|state| state.champion);
            Some((model.clone(), Chosen { instead_of, ..chosen }))
        });
        chosen.collect()
    }
}

/// What a model's rollouts left behind, with the version that is stable.
pub(super) fn chosen(history: &History, stable: u64) -> Chosen {
    let refused = history.refused().into_iter();
    let refused = refused.filter_map(|(version, digest)| Some((version, u64::from_str_radix(&digest, 16).ok()?)));
    Chosen { stable, refused: refused.collect(), ..Chosen::default() }
}

/// Whether the registry was told that the target is stable.
fn has_moved_the_alias(state: &State) -> bool {
    let told = state.told.as_deref().and_then(|told| serde_json::from_str::<Told>(told).ok());
    told.is_some_and(|told| told.alias.is_some())
}

/// How the fingerprint of a version's files is written down.
pub(super) fn digest(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Whole milliseconds.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn row((model, id): (&str, &str), record: &Record) -> RolloutRow {
    RolloutRow {
        rollout: id.to_owned(),
        generation: record.generation,
        model: model.to_owned(),
        at: record.at,
        kind: record.entry.kind().to_owned(),
        is_replaced: matches!(record.entry, Entry::Counted { .. }),
        body: record.to_json(),
        ledger: None,
    }
}

fn record(kept: &KeptRolloutRow) -> Result<(u64, Record), String> {
    let record = Record::from_json(&kept.row.body).map_err(|error| error.to_string())?;
    Ok((kept.sequence, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Newer, RolloutSettings};
    use crate::rollout::history::KEPT_ROLLOUTS;
    use crate::rollout::journal::Beginning;
    use crate::rollout::plan::Plan;
    use crate::rollout::test_support::beginning;
    use crate::rollout::{DeliveryFigures, Phase};
    use crate::store::keep;
    use std::path::Path;
    use std::sync::Arc;

    const MODEL: &str = "churn";

    /// A rollout of version 2 that is done, and what the registry was told of it.
    fn recalled(told: Option<&Told>) -> Recalled {
        let beginning = beginning(Plan::of(&RolloutSettings::default()));
        let ended = Entry::Ended { outcome: Phase::Done, reason: String::new(), lead_ms: Some(1), restore_ms: None };
        let what = told.map(|told| serde_json::to_string(told).unwrap());
        let told = what.map(|what| Entry::WriteBack { what, failed: None });
        let entries = [Entry::Started(Box::new(beginning)), ended].into_iter().chain(told);
        let records: Vec<Record> =
            entries.zip(1..).map(|(entry, generation)| Record { generation, at: generation, entry }).collect();
        let mut recalled = Recalled::default();
        let history = recalled.histories.entry(MODEL.to_owned()).or_default();
        records.iter().for_each(|record| history.take("one", &record.entry));
        recalled.courses.insert(MODEL.to_owned(), Course::resume(&records, 9).unwrap());
        recalled
    }

    #[test]
    fn a_registry_that_was_not_told_does_not_take_a_promotion_back_after_a_restart() {
        let tags = Told { version: 2, ..Told::default() };
        for told in [None, Some(&tags)] {
            let chosen = &recalled(told).chosen()[MODEL];
            assert_eq!((chosen.stable, chosen.instead_of), (2, Some(1)), "{told:?}");
        }
        let alias = Told { alias: Some("champion".to_owned()), ..tags };
        let chosen = &recalled(Some(&alias)).chosen()[MODEL];
        assert_eq!((chosen.stable, chosen.instead_of), (2, None), "what it says since then is somebody's word");
    }

    /// The journal in a directory, with those who write it.
    async fn open(directory: &Path) -> Journal {
        let store = Store::open(directory, Duration::ZERO).await.unwrap();
        let (keeper, keep) = keep(store.clone(), Arc::default());
        let (journal, write) = Journal::new(store, keeper);
        drop((crate::app::spawn(keep), crate::app::spawn(write)));
        journal
    }

    /// A rollout of a version that turns another one away and is rolled back, from its beginning to its end.
    async fn rolled_back(journal: &Journal, history: &mut History, target: u64) {
        let plan = Plan::of(&RolloutSettings::default());
        let (id, found) = (target.to_string(), digest(target));
        let beginning = Beginning { id: id.clone(), target, digest: found, sighted_at: target, ..beginning(plan) };
        let mut course = Course::begin(beginning, 9);
        history.begin(course.state());
        let newer = Entry::Newer { version: target + 1_000, digest: digest(7), action: Newer::Reject };
        let (outcome, reason) = (Phase::RolledBack, String::new());
        course.take(vec![newer, Entry::Ended { outcome, reason, lead_ms: None, restore_ms: Some(500) }], 9);
        let records = course.to_write().unwrap();
        let ledger = history.ledger().after(course.state(), &records);
        journal.write((MODEL, &id), &records, ledger.as_ref()).unwrap().await.unwrap().unwrap();
        history.end(course.state());
        assert_eq!(ledger.as_ref(), Some(history.ledger()), "what is written down is what is known");
    }

    #[tokio::test]
    async fn what_is_known_of_all_rollouts_is_recalled_however_many_there_were() {
        let (directory, mut history) = (tempfile::tempdir().unwrap(), History::default());
        let journal = open(directory.path()).await;
        let all = KEPT_ROLLOUTS as u64 + 10;
        for target in 2..2 + all {
            rolled_back(&journal, &mut history, target).await;
        }
        drop(journal);
        let mut recalled = open(directory.path()).await.recall().await;
        assert!(recalled.chosen()[MODEL].refused.contains_key(&2), "it is not the next target either");
        let known = recalled.histories.remove(MODEL).unwrap();
        assert_eq!(known, history);
        assert_eq!(known.past().len(), KEPT_ROLLOUTS);
        let restore_seconds = 0.5 * all as f64;
        let expected = DeliveryFigures { since: Some(2), rolled_back: all, restore_seconds, ..Default::default() };
        assert_eq!(known.figures(), expected);
        assert!(known.is_left_alone(2, &digest(2), true), "rolled back long ago");
        assert!(known.is_left_alone(1_002, &digest(7), true), "turned away long ago");
        assert!(!known.is_left_alone(2, &digest(7), true), "other bytes");
    }

    #[tokio::test]
    async fn a_journal_from_before_there_were_ledgers_is_counted_as_far_as_it_goes() {
        let (directory, mut history) = (tempfile::tempdir().unwrap(), History::default());
        let journal = open(directory.path()).await;
        for target in [2, 3] {
            rolled_back(&journal, &mut history, target).await;
        }
        let path = directory.path().join("tidegate.db");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        sqlx::query("DELETE FROM rollout_ledgers").execute(&pool).await.unwrap();
        pool.close().await;
        let recalled = journal.recall().await;
        let known = &recalled.histories[MODEL];
        assert_eq!(known.figures(), history.figures());
        assert!(known.is_left_alone(2, &digest(2), true) && known.is_left_alone(1_003, &digest(7), true));
    }
}
