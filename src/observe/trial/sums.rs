//! Sums of the outputs' values, of which the difference of two arms' means follows as it is, without cells.
//!
//! A worker adds up, by arm, kind of event and column, the deviations of values from the column's origin, their squares
//! and their cubes: doubles, whose bits are in counters with one writer. From an origin near the values, since the squares
//! of what is far from zero would swallow what the values differ by.
//!
//! A sum of n doubles depends on their order, by at most n · 2^-53 of the mean size of an addend. Chance moves a mean by
//! 1/√n of its spread, which is more until n is 2^35. Where sums must be the same to the bit on every machine, integers
//! would be added instead; here they are written down, and whoever reads them has the same ones.
//!
//! Invariant: what is added is finite, and so small that no sum of its cubes overflows.

use super::counts::ValueSums;
use super::tally::ARMS;
use crate::observe::counter::Counters;

/// The counters of a column: how many values, and the sums of their deviations' first three powers.
const POWERS: usize = 4;

/// A worker's sums of all arms and columns.
#[derive(Debug)]
pub(super) struct Sums(Counters);

impl Sums {
    /// Sums of so many columns, all zero.
    pub(super) fn new(columns: usize) -> Self {
        Self(Counters::new(ARMS * columns * POWERS))
    }

    /// Adds a value, by its deviation, at a place among the columns of all arms.
    pub(super) fn add(&self, place: usize, deviation: f64) {
        let (first, square) = (place * POWERS, deviation * deviation);
        self.0.add(first, 1);
        self.0.add_number(first + 1, deviation);
        self.0.add_number(first + 2, square);
        self.0.add_number(first + 3, square * deviation);
    }

    /// Adds all of them to totals. What is being added meanwhile may be in some of a column's sums already.
    pub(super) fn add_to(&self, totals: &mut [ValueSums]) {
        for (place, total) in totals.iter_mut().enumerate() {
            let first = place * POWERS;
            total.merge(&ValueSums {
                count: self.0.get(first),
                sum: self.0.number(first + 1),
                squares: self.0.number(first + 2),
                cubes: self.0.number(first + 3),
            });
        }
    }
}

/// How far a value is from an origin, if it is a number: not NaN, and not where overflow saturates.
pub(super) fn deviation(value: f64, origin: f64) -> Option<f64> {
    (value.abs() < f64::from(f32::MAX)).then_some(value - origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_of_what_is_a_number_overflows() {
        let largest = f64::from(f32::MAX).next_down();
        let sums = Sums::new(1);
        for value in [largest, largest, -largest] {
            sums.add(2, deviation(value, -largest).unwrap());
        }
        let mut totals = vec![ValueSums::default(); ARMS];
        (0..3).for_each(|_worker| sums.add_to(&mut totals));
        let ValueSums { count, sum, squares, cubes } = totals[2];
        assert_eq!((count, sum.to_bits()), (9, (12.0 * largest).to_bits()));
        assert!(
            squares.is_finite() && cubes.is_finite() && (cubes * f64::from(u32::MAX) * f64::from(u32::MAX)).is_finite()
        );
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from(f32::MAX), f64::MIN] {
            assert_eq!(deviation(value, 0.0), None, "{value}");
        }
    }
}
