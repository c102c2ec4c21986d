//! A bounded queue that nobody can be held up at.
//!
//! Whoever puts something in serves a request, and whoever takes it out runs on leftover time: it may lose its processor at
//! any moment, for as long as the machine is busy. With a channel of the standard library, and with any other whose two
//! ends share a lock or wait for each other's half-done step, a request would then wait for that thread. So a place is
//! one atomic pointer, swapped by either end: a sender adds to two counters and swaps, the receiver swaps and subtracts,
//! and neither ever looks twice. The receiver looks again after a pause instead of being woken, because waking costs a
//! sender a system call.
//!
//! Places are given out in order and taken in order, and no more are given out than there are, so that a place is empty
//! when it is given out.
//!
//! Invariant: at most as many items wait as there are places, and at most as many bytes as the limit says.

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A queue of many senders and one receiver.
pub(super) struct Ring<T> {
    places: Box<[Place<T>]>,
    most_bytes: usize,
    /// Items that wait, those that are being put in among them.
    waiting: CachePadded<AtomicUsize>,
    /// Their bytes.
    bytes: CachePadded<AtomicUsize>,
    /// Places that were given out so far.
    given: CachePadded<AtomicUsize>,
}

/// Where an item waits: one pointer, swapped by a single instruction.
type Place<T> = AtomicCell<Option<Box<Item<T>>>>;

struct Item<T> {
    value: T,
    bytes: usize,
}

const _: () = assert!(Place::<u8>::is_lock_free(), "a place is one pointer");

impl<T> Ring<T> {
    /// A queue for so many items, one at least, and so many bytes.
    pub(super) fn new(items: usize, most_bytes: usize) -> Self {
        let places = (0..items.max(1)).map(|_| AtomicCell::new(None)).collect();
        let counter = CachePadded::<AtomicUsize>::default;
        Self { places, most_bytes, waiting: counter(), bytes: counter(), given: counter() }
    }

    /// Puts in what `make` makes, of so many bytes, if there is room; `make` must not panic. Says whether it did.
    pub(super) fn put(&self, bytes: usize, make: impl FnOnce() -> T) -> bool {
        if !reserve(&self.waiting, 1, self.places.len()) {
            return false;
        }
        if !reserve(&self.bytes, bytes, self.most_bytes) {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        let place = self.given.fetch_add(1, Ordering::Relaxed) % self.places.len();
        self.places[place].store(Some(Box::new(Item { value: make(), bytes })));
        true
    }

    /// Takes the next item, if it is there; `taken` is how many were taken so far, by the one receiver.
    pub(super) fn take(&self, taken: &mut usize) -> Option<T> {
        let item = self.places[*taken % self.places.len()].take()?;
        *taken = taken.wrapping_add(1);
        Some(self.release(*item))
    }

    /// Throws away what waits, when no sender is left. The receiver may be taking meanwhile, and then finds nothing.
    pub(super) fn clear(&self) {
        for item in self.places.iter().filter_map(AtomicCell::take) {
            drop(self.release(*item));
        }
    }

    /// Items that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed).min(self.places.len())
    }

    fn release(&self, Item { value, bytes }: Item<T>) -> T {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        // After the place is empty: who sees the count may be given the place.
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        value
    }
}

impl<T> std::fmt::Debug for Ring<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ring").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

/// Adds to a counter if it stays within the limit.
fn reserve(counter: &AtomicUsize, amount: usize, limit: usize) -> bool {
    if amount > limit {
        return false;
    }
    let fits = counter.fetch_add(amount, Ordering::AcqRel).saturating_add(amount) <= limit;
    if !fits {
        counter.fetch_sub(amount, Ordering::AcqRel);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn what_fits_comes_out_in_order_and_the_rest_is_refused(
            steps in prop::collection::vec(prop::option::of(0_usize..40), 0..200),
            places in 1_usize..6,
        ) {
            let (ring, mut taken, mut waiting) = (Ring::new(places, 64), 0, VecDeque::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(bytes) => {
                        let held: usize = waiting.iter().map(|(_, bytes)| bytes).sum();
                        let fits = waiting.len() < places && held + bytes <= 64;
                        prop_assert_eq!(ring.put(bytes, || number), fits);
                        if fits {
                            waiting.push_back((number, bytes));
                        }
                    }
                    None => prop_assert_eq!(ring.take(&mut taken), waiting.pop_front().map(|(number, _)| number)),
                }
                prop_assert_eq!(ring.len(), waiting.len());
            }
            ring.clear();
            prop_assert_eq!((ring.len(), ring.bytes.load(Ordering::Relaxed)), (0, 0));
        }
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_many_senders_and_one_receiver() {
        const SENDERS: usize = 4;
        const EACH: usize = 20_000;
        let ring = Ring::new(8, 1 << 20);
        let accepted = AtomicUsize::new(0);
        let mut received = Vec::new();
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (ring, accepted) = (&ring, &accepted);
                    scope.spawn(move || {
                        for number in 0..EACH {
                            if ring.put(1, || (sender, number)) {
                                accepted.fetch_add(1, Ordering::Relaxed);
                            }
                            if number % 64 == 0 {
                                std::thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            let mut taken = 0;
            loop {
                let is_over = senders.iter().all(std::thread::ScopedJoinHandle::is_finished);
                match ring.take(&mut taken) {
                    Some(item) => received.push(item),
                    None if is_over => break,
                    None => std::thread::yield_now(),
                }
            }
        });
        assert!(received.len() > 100, "{}", received.len());
        assert_eq!(received.len(), accepted.load(Ordering::Relaxed));
        for sender in 0..SENDERS {
            let numbers: Vec<usize> =
                received.iter().filter(|(from, _)| *from == sender).map(|(_, number)| *number).collect();
            assert!(numbers.is_sorted_by(|before, after| before < after), "in order, each once");
        }
        assert_eq!((ring.len(), ring.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn an_item_larger_than_the_limit_is_refused_and_leaves_no_trace() {
        let ring = Ring::new(2, 10);
        assert!(!ring.put(11, || ()) && !ring.put(usize::MAX, || ()));
        assert!(ring.put(10, || ()) && !ring.put(1, || ()));
        assert_eq!(ring.len(), 1);
    }
}
