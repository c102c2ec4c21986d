//! What alarms remember, as a row of numbers.
//!
//! Whoever keeps it writes small numbers in few bytes; what the numbers mean stays here. Floats are their bits.
//!
//! Invariant: reading never panics and never asks for more memory than there are numbers.

/// Numbers that are read one after the other.
#[derive(Debug)]
pub(super) struct Numbers<'a>(std::slice::Iter<'a, u64>);

impl<'a> Numbers<'a> {
    /// Reads these from the first on.
    #[must_use]
    pub(super) fn new(numbers: &'a [u64]) -> Self {
        Self(numbers.iter())
    }

    pub(super) fn next(&mut self) -> Option<u64> {
        self.0.next().copied()
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.next()?).ok()
    }

    pub(super) fn counts(&mut self) -> Option<Vec<u32>> {
        let count = usize::try_from(self.next()?).ok().filter(|count| *count <= self.0.len())?;
        (0..count).map(|_| self.small()).collect()
    }
}

/// Writes counts, and how many they are.
pub(super) fn push_counts(counts: &[u32], into: &mut Vec<u64>) {
    into.push(counts.len() as u64);
    into.extend(counts.iter().map(|&count| u64::from(count)));
}
