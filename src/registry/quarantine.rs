//! Bytes that were refused, so that they are not loaded again and again.
//!
//! A version that cannot be loaded, is not what its MLmodel says, fails on its rows or misses its golden answers will
//! fail the same way tomorrow, after a restart, after the next webhook, and under the next version's number. So what is
//! remembered is the SHA-256 of its files, the same digest that a fetched version has in the cache, with the reason and
//! the time. Other bytes are not concerned. Neither are the same bytes before another engine: what refused them is part
//! of the memory, so that a new release of tidegate, an ONNX Runtime that appeared, or another setting that a load
//! depends on gets its try. Bytes that could not stand in for what served are held as long as that serves. And whoever thinks that the refusal was wrong asks for a retry.
//!
//! Hashing a model takes as long as reading it. A model of which nothing is held is therefore not hashed before it is
//! loaded, but only once it was refused.
//!
//! Invariant: at most [`MOST_HELD`] digests per model, the latest ones; only bytes that did not change meanwhile are
//! held.

use super::staging::Digest;
use crate::catalog::{LoadFailure, LoadOrder, Quarantined};
use crate::store::QuarantineRow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Digests that are held of a model.
pub const MOST_HELD: usize = 64;

/// What is held, by model and digest. Cheap to ask, and asked by loads alone.
#[derive(Debug, Default)]
pub struct Quarantine(Mutex<BTreeMap<String, BTreeMap<String, QuarantineRow>>>);

impl Quarantine {
    /// What was held when the last process ended.
    #[must_use]
    pub fn from_rows(rows: Vec<QuarantineRow>) -> Self {
        let quarantine = Self::default();
        rows.into_iter().for_each(|row| quarantine.hold(row));
        quarantine
    }

    /// Whether anything of a model is held.
    #[must_use]
    pub fn concerns(&self, model: &str) -> bool {
        self.lock().contains_key(model)
    }

    /// Why these bytes of a model were refused, if they were and that still holds.
    #[must_use]
    pub fn find(
        &self,
        model: &str,
        digest: &Digest,
        still_holds: impl FnOnce(&QuarantineRow) -> bool,
    ) -> Option<QuarantineRow> {
        let held = self.lock();
        held.get(model)?.get(digest.as_str()).filter(|row| still_holds(row)).cloned()
    }

    /// Holds bytes of a model; the oldest ones make room.
    pub fn hold(&self, row: QuarantineRow) {
        let mut held = self.lock();
        let of_model = held.entry(row.model.clone()).or_default();
        of_model.insert(row.digest.clone(), row);
        while of_model.len() > MOST_HELD {
            let oldest = of_model.values().min_by_key(|row| row.at).map(|row| row.digest.clone());
            oldest.and_then(|digest| of_model.remove(&digest));
        }
    }

    /// Lets bytes of a model go.
    pub fn release(&self, model: &str, digest: &str) {
        let mut held = self.lock();
        if let Some(of_model) = held.get_mut(model) {
            of_model.remove(digest);
            if of_model.is_empty() {
                held.remove(model);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, QuarantineRow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be kept of a load that failed, if its bytes are held.
#[must_use]
pub fn row(order: &LoadOrder, failure: &LoadFailure) -> Option<QuarantineRow> {
    let Quarantined { digest, engine, since, instead_of } = failure.quarantined.clone()?;
    let (model, version, reason) = (order.model.clone(), order.version, failure.reason.clone());
    let at = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(QuarantineRow { model, digest, engine, version, reason, at, instead_of })
}

/// The failure that is held.
pub(super) fn failure(row: QuarantineRow) -> LoadFailure {
    let QuarantineRow { digest, engine, reason, at, instead_of, .. } = row;
    let since = SystemTime::UNIX_EPOCH + at;
    LoadFailure {
        reason,
        until_memory_is_freed: false,
        may_pass: false,
        quarantined: Some(Quarantined { digest, engine, since, instead_of }),
    }
}

/// A time as it is kept.
pub(super) fn to_the_second(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bytes: &[u8], second: u64) -> QuarantineRow {
        let digest = Digest::of(bytes).as_str().to_owned();
        let at = Duration::from_secs(second);
        let (model, engine, reason) = ("m".into(), "e".into(), "corrupt".into());
        QuarantineRow { model, digest, engine, version: 1, reason, at, instead_of: None }
    }

    #[test]
    fn bytes_are_held_for_one_model_and_one_engine_until_they_are_let_go() {
        let quarantine = Quarantine::from_rows(vec![row(b"a", 1)]);
        let digest = Digest::of(b"a");
        let find =
            |model: &str, digest: &Digest, engine: &str| quarantine.find(model, digest, |row| row.engine == engine);
        assert_eq!(find("m", &digest, "e"), Some(row(b"a", 1)));
        assert_eq!(find("m", &digest, "a newer one"), None);
        assert_eq!(find("m", &Digest::of(b"b"), "e"), None);
        assert_eq!(find("n", &digest, "e"), None);
        assert!(quarantine.concerns("m") && !quarantine.concerns("n"));
        quarantine.release("m", digest.as_str());
        assert!(!quarantine.concerns("m") && quarantine.find("m", &digest, |_| true).is_none());
    }

    #[test]
    fn the_oldest_make_room() {
        let quarantine = Quarantine::default();
        let bytes = |index: u64| index.to_le_bytes();
        let last = MOST_HELD as u64;
        (0..=last).for_each(|index| quarantine.hold(row(&bytes(index), index)));
        assert!(quarantine.find("m", &Digest::of(&bytes(0)), |_| true).is_none());
        assert!((1..=last).all(|index| quarantine.find("m", &Digest::of(&bytes(index)), |_| true).is_some()));
    }
}
