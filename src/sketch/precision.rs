//! The two float types whose values are searched among edges.
//!
//! Edges are compared in the precision of the tensor: the value just above an `f32` atom is another one than just
//! above the same number in `f64`, and widening every value on the serving path would halve how many edges one vector
//! instruction compares. The trait is closed: a third precision would need a reason.
//!
//! Invariant: `from_f64` either keeps the value exactly or refuses it.

use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A float type that edges can be searched in: `f32` or `f64`.
pub trait Precision: sealed::Sealed + Copy + PartialOrd + Debug + Send + Sync + 'static {
    /// The datatype's protocol name.
    const NAME: &'static str;
    /// Above every finite value; pads edges.
    const INFINITY: Self;

    /// The same number, if this type has it and it is finite.
    fn from_f64(value: f64) -> Option<Self>;
    /// The same number.
    fn to_f64(self) -> f64;
    /// The least number above.
    fn next_up(self) -> Self;
    /// Whether the value is a number strictly between the lowest and the highest finite one.
    fn is_ordinary(self) -> bool;
    /// Whether the value is not a number.
    fn is_missing(self) -> bool;
    /// How many of `sorted` are at or below `value`.
    fn count_at_or_below<const N: usize>(sorted: &[Self; N], value: Self) -> usize;
}

macro_rules! precision {
    ($float:ty, $name:literal, $from:expr, $count:ident) => {
        impl Precision for $float {
            const NAME: &'static str = $name;
            const INFINITY: Self = <$float>::INFINITY;

            fn from_f64(value: f64) -> Option<Self> {
                let from: fn(f64) -> $float = $from;
                let narrowed = from(value);
                let exact = f64::from(narrowed).total_cmp(&value).is_eq();
                (exact && narrowed.is_finite()).then_some(narrowed)
            }

            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            fn next_up(self) -> Self {
                <$float>::next_up(self)
            }

            #[inline]
            fn is_ordinary(self) -> bool {
                self.abs() < <$float>::MAX
            }

            #[inline]
            fn is_missing(self) -> bool {
                self.is_nan()
            }

            #[inline(always)]
            fn count_at_or_below<const N: usize>(sorted: &[Self; N], value: Self) -> usize {
                $count(sorted, value)
            }
        }
    };
}

precision!(f32, "FP32", |value| value as f32, count_by_comparing);
precision!(f64, "FP64", |value| value, count_by_halving);

/// Compares with all at once, a bit per comparison, and counts trailing ones. A sum of comparisons looks simpler, but
/// without POPCNT, which the baseline of x86-64 lacks, LLVM turns it into dozens of scalar instructions.
#[inline(always)]
fn count_by_comparing<const N: usize>(sorted: &[f32; N], value: f32) -> usize {
    const { assert!(N < 32, "one bit per comparison") };
    let mut mask = 0_u32;
    for (bit, edge) in sorted.iter().enumerate() {
        mask |= u32::from(*edge <= value) << bit;
    }
    mask.trailing_ones() as usize
}

/// Halves without branching: a vector holds only two of these, so that comparing with all takes a third longer.
#[inline(always)]
fn count_by_halving<const N: usize>(sorted: &[f64; N], value: f64) -> usize {
    const { assert!(N.is_power_of_two(), "halved down to one") };
    let (mut below, mut step) = (0, N / 2);
    while step > 0 {
        below += if sorted[below + step - 1] <= value { step } else { 0 };
        step /= 2;
    }
    below + usize::from(sorted[below] <= value)
}
