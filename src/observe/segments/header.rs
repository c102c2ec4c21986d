//! The values of a header that are told apart: the first so many that come.
//!
//! Workers share one list, so that a value is the same segment on each of them and the bound holds for all together. It
//! is read by every request and written once per value, so that its cache lines stay with all readers. A table per
//! worker was considered and left: each would know other values, and a value that one of them does not know would be
//! partly told apart.
//!
//! One worker at a time learns. A request that comes with a new value in that moment does not wait for it: it is counted
//! with the others, and its value is learned from the next.
//!
//! Values come from clients: whoever may send the header may fill the list. Where that matters, a proxy has to set it.
//!
//! Invariant: a value that is learned keeps its place, and no two places hold the same.

use super::text::shown;
use super::{MAX_VALUE_BYTES, SegmentError};
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Headers that hold secrets by their definition.
const SECRETS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Values in the order of their segments.
#[derive(Debug)]
pub(super) struct HeaderValues {
    values: Box<[OnceLock<Box<[u8]>>]>,
    /// Whether a worker is adding one.
    is_learning: AtomicBool,
}

/// The header of this name.
pub(super) fn checked(name: &str) -> Result<HeaderName, SegmentError> {
    let header: HeaderName = name.parse().map_err(|_invalid| SegmentError::HeaderName { name: name.to_owned() })?;
    if SECRETS.contains(&header) {
        return Err(SegmentError::SecretHeader { name: name.to_owned() });
    }
    Ok(header)
}

impl HeaderValues {
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: (0..capacity).map(|_| OnceLock::new()).collect(), is_learning: AtomicBool::new(false) }
    }

    /// Values that there may be; also the segment of all others.
    pub(super) fn capacity(&self) -> usize {
        self.values.len()
    }

    /// The segment of a value, which is learned if there is room. Allocates when it is learned and never else.
    pub(super) fn segment_of(&self, value: &[u8]) -> usize {
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return self.capacity();
        }
        let known = self.known().position(|known| known == value);
        known.unwrap_or_else(|| self.learn(value))
    }

    /// The values that are learned, as text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.known().map(shown).collect()
    }

    fn known(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map_while(|value| value.get().map(|value| &**value))
    }

    #[cold]
    fn learn(&self, value: &[u8]) -> usize {
        let is_full = self.values.last().is_none_or(|last| last.get().is_some());
        if is_full || self.is_learning.swap(true, Ordering::Acquire) {
            return self.capacity();
        }
        // Another worker may have learned it since it was looked for.
        let place = self.values.iter().position(|known| known.get().is_none_or(|known| **known == *value));
        if let Some(place) = place {
            self.values[place].get_or_init(|| value.into());
        }
        self.is_learning.store(false, Ordering::Release);
        place.unwrap_or(self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_are_told_apart_and_later_ones_are_others() {
        let values = HeaderValues::new(2);
        assert_eq!([b"a", b"b", b"a", b"c", b"b"].map(|value| values.segment_of(value)), [0, 1, 0, 2, 1]);
        assert_eq!(values.texts(), ["a", "b"]);
    }

    #[test]
    fn values_that_are_empty_or_too_long_are_never_learned() {
        let values = HeaderValues::new(2);
        let longest = [b'x'; MAX_VALUE_BYTES];
        assert_eq!((values.segment_of(b""), values.segment_of(&[b'x'; MAX_VALUE_BYTES + 1])), (2, 2));
        assert_eq!((values.segment_of(&longest), values.texts().len()), (0, 1));
    }

    #[test]
    fn workers_that_learn_at_once_agree() {
        const WORKERS: usize = 4;
        let values = HeaderValues::new(8);
        let seen = std::thread::scope(|scope| {
            let see = |worker: usize| {
                let values = &values;
                move || {
                    let value = |step: usize| [b'a' + ((step + worker) % 12) as u8];
                    (0..2_000).map(|step| (value(step), values.segment_of(&value(step)))).collect::<Vec<_>>()
                }
            };
            let threads: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(see(worker))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let texts = values.texts();
        assert_eq!(texts.len(), 8);
        assert!(texts.iter().enumerate().all(|(index, text)| !texts[..index].contains(text)), "{texts:?}");
        for (value, segment) in seen {
            assert!(segment == 8 || texts[segment].as_bytes() == value, "{value:?} is not {segment} of {texts:?}");
        }
    }

    #[test]
    fn secrets_and_what_is_no_name_are_refused() {
        assert_eq!(checked("X-Tenant").unwrap().as_str(), "x-tenant");
        for name in ["Authorization", "cookie", "proxy-authorization"] {
            assert_eq!(checked(name), Err(SegmentError::SecretHeader { name: name.into() }));
        }
        for name in ["", "x tenant", "x:tenant", "tenänt"] {
            assert_eq!(checked(name), Err(SegmentError::HeaderName { name: name.into() }));
        }
    }
}
