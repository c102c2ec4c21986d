//! The two float types whose values are searched among edges.
//!
//! Edges are compared in the precision of the tensor: the value just above an `f32` atom is another one than just
//! above the same number in `f64`, and widening every value on the serving path would halve how many of them one vector
//! instruction takes. The trait is closed: a third precision would need a reason.
//!
//! Invariant: `from_f64` either keeps the value exactly or refuses it.

use std::fmt::Debug;
use std::ops::Sub;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A float type that edges can be searched in: `f32` or `f64`.
pub trait Precision: sealed::Sealed + Copy + PartialOrd + Sub<Output = Self> + Debug + Send + Sync + 'static {
    /// The datatype's protocol name.
    const NAME: &'static str;
    /// The highest finite value.
    const HIGHEST: Self;
    /// The lowest finite value.
    const LOWEST: Self;
    /// Above every finite value.
    const INFINITY: Self;
    /// Below every finite value.
    const NEG_INFINITY: Self;
    /// At or below nothing, and nothing at or below it.
    const NAN: Self;
    /// Zero.
    const ZERO: Self;

    /// The same number, if this type has it and it is finite.
    fn from_f64(value: f64) -> Option<Self>;
    /// The nearest number of this type.
    fn narrow(value: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// The least number above.
    fn next_up(self) -> Self;
    /// Whether the value is a number strictly between the lowest and the highest finite one.
    fn is_ordinary(self) -> bool;
    /// Whether the value is not a number.
    fn is_missing(self) -> bool;
    /// The bits, read as an integer in the order of the numbers: about even in the logarithm on either side of zero.
    fn bit_rank(self) -> Self;
    /// Cells per unit where cell 0 has its middle at `first` and cell `last_cell` at `last`; none if that is no positive
    /// normal number.
    fn scale(first: Self, last: Self, last_cell: usize) -> Option<Self>;
    /// The number of a cell, as one of this type.
    fn of_cell(cell: usize) -> Self;
    /// The cell of a number among even ones, at most `last_cell`, and 0 for NaN, in the lowest 22 bits; what is above them
    /// is the same for all. A higher number is never in a lower cell.
    fn even_cell(self, origin: Self, scale: Self, last_cell: Self) -> u32;
}

macro_rules! precision {
    ($float:ty, $signed:ty, $name:literal, $from:expr) => {
        impl Precision for $float {
            const NAME: &'static str = $name;
            const HIGHEST: Self = <$float>::MAX;
            const LOWEST: Self = <$float>::MIN;
            const INFINITY: Self = <$float>::INFINITY;
            const NEG_INFINITY: Self = <$float>::NEG_INFINITY;
            const NAN: Self = <$float>::NAN;
            const ZERO: Self = 0.0;

            fn from_f64(value: f64) -> Option<Self> {
                let exact = f64::from(Self::narrow(value)).total_cmp(&value).is_eq();
                (exact && value.is_finite()).then_some(Self::narrow(value))
            }

            #[inline]
            fn narrow(value: f64) -> Self {
                let narrow: fn(f64) -> $float = $from;
                narrow(value)
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
            fn bit_rank(self) -> Self {
                // Adding zero makes negative zero positive: they are one value.
                let bits = (self + 0.0).to_bits().cast_signed();
                (bits ^ ((bits >> (<$signed>::BITS - 1)) & <$signed>::MAX)) as $float
            }

            fn scale(first: Self, last: Self, last_cell: usize) -> Option<Self> {
                let scale = last_cell as $float / (last - first);
                (scale.is_normal() && scale > 0.0).then_some(scale)
            }

            #[inline(always)]
            fn of_cell(cell: usize) -> Self {
                cell as $float
            }

            #[inline(always)]
            fn even_cell(self, origin: Self, scale: Self, last_cell: Self) -> u32 {
                /// From here to twice this numbers are whole, and their lowest bits count from here.
                const WHOLE: $float = (1_u64 << (<$float>::MANTISSA_DIGITS - 1)) as $float;
                let position = (self - origin) * scale;
                // Comparisons and not `clamp`, because each is one instruction.
                let position = if position > 0.0 { position } else { 0.0 };
                let position = if position < last_cell { position } else { last_cell };
                (position + WHOLE).to_bits() as u32
            }
        }
    };
}

precision!(f32, i32, "FP32", |value| value as f32);
precision!(f64, i64, "FP64", |value| value);
