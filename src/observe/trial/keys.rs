//! Which routing keys were met before.
//!
//! One bit for many keys, which all workers share: a set of keys would have to grow and to be locked. Of keys that meet in
//! one bit the first counts and the others never do. That costs some evidence where there are as many keys as bits, and
//! no validity: the bit is of the lower half of a key's hash, its arm follows from the upper one.
//!
//! Invariant: of each bit one key counts, once.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of a key's hash that choose its bit.
const HASH_BITS: u32 = 20;
/// Bits of a word.
const WORD: u64 = u64::BITS as u64;

/// Keys that were met: 128 KiB.
#[derive(Debug)]
pub(super) struct SeenKeys(Box<[AtomicU64]>);

impl SeenKeys {
    pub(super) fn new() -> Self {
        Self((0..(1_u64 << HASH_BITS) / WORD).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether no key of this bit was met before. Asked a second time it was.
    pub(super) fn is_first(&self, key_hash: u64) -> bool {
        let place = key_hash & ((1 << HASH_BITS) - 1);
        let (word, bit) = (&self.0[(place / WORD) as usize], 1 << (place % WORD));
        // Most requests are of keys that were met, and reading alone leaves the line with all workers.
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn each_bit_counts_once_whoever_asks_and_from_however_many_threads() {
        let (seen, firsts) = (SeenKeys::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for offset in 0..4_u64 {
                let (seen, firsts) = (&seen, &firsts);
                scope.spawn(move || {
                    for key in 0..20_000_u64 {
                        let hash = (key + offset * 10_000) % 30_000 + (offset << HASH_BITS);
                        firsts.fetch_add(usize::from(seen.is_first(hash)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(firsts.load(Ordering::Relaxed), 30_000);
    }

    #[test]
    fn the_last_bit_is_there() {
        let seen = SeenKeys::new();
        assert!(seen.is_first(u64::MAX) && !seen.is_first(u64::MAX) && seen.is_first(0));
    }
}
