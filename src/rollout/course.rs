//! The order of what is live and what is written down.
//!
//! ```text
//!  a larger share:   entries ─▶ written ─▶ state ─▶ live
//!  a smaller share:  entries ─▶ state ─▶ live, and written when that can be done
//! ```
//! So a share that is live was written down before, or a larger one was: after a restart no version has a share that
//! nobody knows of. And a disk that is full, slow or gone keeps no version in traffic.
//!
//! A write that was late may have happened or not, and an entry that was handed out is therefore never taken back: it
//! stays in the queue until its write has succeeded, and what undoes it comes behind it.
//!
//! Invariant: the state is the fold of all entries but those of a raise that waits to be written; entries are written in
//! their order.

use super::Order;
use super::OrderError;
use super::journal::{Beginning, Entry, Record};
use super::machine::{Event, advance, moved};
use super::state::State;
use super::wishes::carry_out;
use std::collections::VecDeque;

/// Entries that may wait to be written; beyond this only what takes a share away is taken in.
pub const MOST_UNWRITTEN: usize = 256;
/// Entries that are written at once.
const BATCH: usize = 64;

/// A rollout under way.
#[derive(Clone, Debug)]
pub struct Course {
    state: State,
    /// What is not written yet, the oldest first.
    unwritten: VecDeque<Record>,
    /// The state that the last of them come to, if it waits for them.
    raise: Option<Box<State>>,
    /// How many of the oldest are being written.
    writing: usize,
    /// Why the last write failed.
    trouble: Option<String>,
}

impl Course {
    /// A rollout that begins.
    ///
    /// # Panics
    /// Never: what begins with a beginning is a journal.
    #[must_use]
    pub fn begin(beginning: Beginning, now: u64) -> Self {
        let first = Record { generation: 1, at: now, entry: Entry::Started(Box::new(beginning)) };
        let state = State::fold(std::slice::from_ref(&first)).expect("what begins with a beginning is a journal");
        Self { state, unwritten: [first].into(), raise: None, writing: 0, trouble: None }
    }

    /// A rollout that an earlier process left.
    ///
    /// # Errors
    /// What is wrong with its journal.
    pub fn resume(records: &[Record], now: u64) -> Result<Self, String> {
        let state = State::fold(records)?;
        let mut course = Self { state, unwritten: VecDeque::new(), raise: None, writing: 0, trouble: None };
        if !course.state.phase.is_ended() {
            course.take(vec![Entry::Restarted], now);
        }
        Ok(course)
    }

    /// What is to be live.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why nothing can be written down, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether a larger share waits to be written down.
    #[must_use]
    pub fn is_raising(&self) -> bool {
        self.raise.is_some()
    }

    /// Whether everything is written down.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Takes in what happened. While a larger share waits to be written down, what happens meanwhile is of no account, but
    /// for what takes the share away.
    pub fn happen(&mut self, event: &Event, now: u64) {
        let entries = advance(&self.state, event, now);
        if self.is_raising() && !entries.iter().any(is_fall) {
            return;
        }
        self.take(entries, now);
    }

    /// Carries out an order of `by`, which may be bound to a generation; an abort never is.
    ///
    /// # Errors
    /// [`OrderError`] when the generation is another, or it cannot be carried out.
    pub fn order(&mut self, order: &Order, by: &str, generation: Option<u64>, now: u64) -> Result<(), OrderError> {
        let found = self.state.changed;
        if let Some(expected) = generation.filter(|expected| *order != Order::Abort && *expected != found) {
            return Err(OrderError::Stale { expected, found });
        }
        if self.is_raising() {
            match order {
                Order::Abort => {}
                Order::Pause => self.withdraw(now),
                _ => return Err(OrderError::Unavailable("a larger share is being written down; try again".to_owned())),
            }
        }
        let entries = carry_out(&self.state, order, by)?;
        self.take(entries, now);
        Ok(())
    }

    /// Gives up a larger share that waits to be written down.
    pub fn withdraw(&mut self, now: u64) {
        if self.is_raising() {
            let State { phase, weight, .. } = self.state;
            self.take(vec![moved(phase, weight, "the larger share was not written down in time")], now);
        }
    }

    /// Takes in entries.
    pub fn take(&mut self, entries: Vec<Entry>, now: u64) {
        let is_full = self.unwritten.len() >= MOST_UNWRITTEN;
        if entries.is_empty() || is_full && !entries.iter().any(is_fall) {
            return;
        }
        let mut next = self.raise.take().map_or_else(|| self.state.clone(), |raise| *raise);
        for entry in entries {
            let record = Record { generation: next.generation + 1, at: now, entry };
            next.apply(&record);
            self.unwritten.push_back(record);
        }
        if is_raise(&self.state, &next) { self.raise = Some(Box::new(next)) } else { self.state = next }
    }

    /// What is to be written next; nothing while a write is under way. Its outcome is for [`Self::written`].
    pub fn to_write(&mut self) -> Option<Vec<Record>> {
        if self.writing > 0 || self.unwritten.is_empty() {
            return None;
        }
        let records: Vec<Record> = self.unwritten.iter().take(BATCH).cloned().collect();
        self.writing = records.len();
        Some(records)
    }

    /// Takes in how the write of [`Self::to_write`] ended.
    pub fn written(&mut self, outcome: Result<(), String>) {
        let count = std::mem::take(&mut self.writing);
        self.trouble = outcome.err();
        if self.trouble.is_some() {
            return;
        }
        self.unwritten.drain(..count.min(self.unwritten.len()));
        if self.unwritten.is_empty()
            && let Some(raise) = self.raise.take()
        {
            self.state = *raise;
        }
    }
}

/// Whether what comes next may be live only once it is written down: a larger share, and the end of the way back.
fn is_raise(live: &State, next: &State) -> bool {
    next.weight > live.weight || next.phase == super::Phase::Done && live.phase != super::Phase::Done
}

fn is_fall(entry: &Entry) -> bool {
    matches!(entry, Entry::Moved { to: super::Phase::Aborting, .. })
}
