//! Numbers: JSON's grammar, correctly rounded floats, exact integers.
//!
//! Most numbers need one multiplication or division of exact values; the rest go to the standard library, which is
//! correctly rounded too, only slower.
//!
//! Invariant: every value is bit for bit what `str::parse` makes of the same text.

use super::digits::{append_digits, short_decimal};
use super::{JsonError, ScanResult, Scanner};
use crate::protocol::limits::quoted;
use crate::tensor::DataType;

/// Powers of ten that an `f64` holds exactly: 10^22 = 2^22 · 5^22 and 5^22 < 2^53.
#[rustfmt::skip]
pub(super) const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Any number of this many digits fits a `u64`.
const MAX_EXACT_DIGITS: usize = 19;

/// Integers up to here are exact in an `f64`: 2^53.
pub(super) const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// Exponents are counted up to here, so that they cannot overflow. Far beyond the powers that the fast paths take.
const EXPONENT_CAP: i64 = 1 << 32;

/// A number's text and what its digits say: `mantissa` · 10^`exponent`, if `is_exact`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    text: &'a [u8],
    offset: usize,
    mantissa: u64,
    exponent: i64,
    is_negative: bool,
    is_whole: bool,
    is_exact: bool,
}

impl<'a> Scanner<'a> {
    /// Reads a number.
    ///
    /// Inlined for certain: a [`Number`] handed back through memory is read before it is written out, which stalls
    /// for longer than the digits take.
    #[inline(always)]
    pub(crate) fn number(&mut self, expected: &'static str) -> ScanResult<Number<'a>> {
        let (offset, is_negative) = self.sign();
        if let Some(decimal) = short_decimal(&self.bytes[self.at..]) {
            self.at += decimal.length;
            let text = &self.bytes[offset..self.at];
            let (mantissa, exponent) = (decimal.mantissa, -i64::from(decimal.fraction_digits));
            return Ok(Number { text, offset, mantissa, exponent, is_negative, is_whole: false, is_exact: true });
        }
        self.any_number(offset, is_negative, expected)
    }

    /// As [`Self::number`], faster where numbers usually have no fraction.
    #[inline(always)]
    pub(crate) fn whole_number(&mut self, expected: &'static str) -> ScanResult<Number<'a>> {
        let (offset, is_negative) = self.sign();
        self.any_number(offset, is_negative, expected)
    }

    /// Reads a minus sign, if one is next; the offset before it, and whether it was there.
    #[inline(always)]
    fn sign(&mut self) -> (usize, bool) {
        let is_negative = self.peek() == Some(b'-');
        let offset = self.at;
        self.at += usize::from(is_negative);
        (offset, is_negative)
    }

    /// Reads a number behind its sign.
    #[inline(always)]
    fn any_number(&mut self, offset: usize, is_negative: bool, expected: &'static str) -> ScanResult<Number<'a>> {
        let mut mantissa = 0;
        let whole_digits = self.digits(&mut mantissa);
        if whole_digits == 0 || (whole_digits > 1 && self.bytes[self.at - whole_digits] == b'0') {
            return Err(self.not_a_number(offset, whole_digits, expected));
        }
        let mut fraction_digits = 0;
        let mut is_whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            fraction_digits = self.digits(&mut mantissa);
            is_whole = false;
            if fraction_digits == 0 {
                return Err(self.unexpected("a digit behind the decimal point"));
            }
        }
        // The body is in memory, so its length fits.
        let mut exponent = -(fraction_digits as i64);
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            exponent += self.exponent()?;
            is_whole = false;
        }
        let text = &self.bytes[offset..self.at];
        let digits = whole_digits + fraction_digits;
        let is_exact = digits <= MAX_EXACT_DIGITS || significant_digits(text) <= MAX_EXACT_DIGITS;
        Ok(Number { text, offset, mantissa, exponent, is_negative, is_whole, is_exact })
    }

    /// Reads a run of digits onto the end of `mantissa`; how many there were.
    #[inline(always)]
    fn digits(&mut self, mantissa: &mut u64) -> usize {
        let count = append_digits(&self.bytes[self.at..], mantissa);
        self.at += count;
        count
    }

    /// Reads `e`, a sign and digits.
    fn exponent(&mut self) -> ScanResult<i64> {
        self.at += 1;
        let sign = self.bytes.get(self.at).copied();
        self.at += usize::from(matches!(sign, Some(b'+' | b'-')));
        let start = self.at;
        let mut exponent = 0;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            exponent = EXPONENT_CAP.min(exponent * 10 + i64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit of the exponent"));
        }
        Ok(if sign == Some(b'-') { -exponent } else { exponent })
    }

    #[cold]
    fn not_a_number(&mut self, offset: usize, digits: usize, expected: &'static str) -> Box<JsonError> {
        if digits > 0 {
            self.at -= digits;
            return Box::new(JsonError::Unexpected {
                offset: self.at,
                expected: "a number without leading zero",
                found: "a leading zero".to_owned(),
            });
        }
        self.at = offset;
        self.unexpected(expected)
    }
}

impl Number<'_> {
    /// The nearest `f64`, ties to even; `None` when that is infinite.
    #[inline(always)]
    pub(crate) fn to_f64(self) -> Option<f64> {
        // Both operands are exact, so the one rounding of the product or quotient is the correct one (Clinger 1990).
        if self.is_exact
            && self.mantissa <= MAX_EXACT_INTEGER
            && let Some(value) = self.scaled()
        {
            return Some(self.signed(value));
        }
        self.parsed::<f64>().filter(|value| value.is_finite())
    }

    /// The nearest `f32`, ties to even; `None` when that is infinite.
    #[inline(always)]
    pub(crate) fn to_f32(self) -> Option<f32> {
        if self.is_exact
            && let Some(value) = self.scaled()
        {
            let is_normal = (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&value);
            if self.mantissa == 0 || (is_normal && is_far_from_midpoints(value)) {
                return Some(self.signed(value) as f32);
            }
        }
        self.parsed::<f32>().filter(|value| value.is_finite())
    }

    /// The number as an integer of type `T`, exactly.
    #[inline(always)]
    pub(crate) fn to_integer<T: TryFrom<i128>>(self, datatype: DataType) -> ScanResult<T> {
        if !self.is_whole {
            return Err(Box::new(JsonError::NotWhole { offset: self.offset, text: self.quoted(), datatype }));
        }
        let magnitude = i128::from(self.mantissa);
        let value = match (self.is_exact, self.is_negative) {
            (true, false) => Some(magnitude),
            (true, true) => Some(-magnitude),
            // 20 digits may still fit a u64; more than 39 do not fit an i128, nor anything asked for here.
            (false, _) => self.parsed(),
        };
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| self.out_of_range(datatype))
    }

    /// The error for a number that the datatype cannot hold.
    #[cold]
    pub(crate) fn out_of_range(self, datatype: DataType) -> Box<JsonError> {
        Box::new(JsonError::OutOfRange { offset: self.offset, text: self.quoted(), datatype })
    }

    /// `mantissa` · 10^`exponent` without its sign, after at most two roundings, if the power is exact.
    #[inline(always)]
    fn scaled(self) -> Option<f64> {
        let mantissa = self.mantissa as f64;
        let power = *EXACT_POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        Some(if self.exponent < 0 { mantissa / power } else { mantissa * power })
    }

    #[inline(always)]
    fn signed(self, magnitude: f64) -> f64 {
        if self.is_negative { -magnitude } else { magnitude }
    }

    #[cold]
    fn parsed<T: std::str::FromStr>(self) -> Option<T> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    fn quoted(self) -> String {
        quoted(&String::from_utf8_lossy(self.text))
    }
}

/// Whether the number that `value` approximates rounds to the same `f32` as `value`.
///
/// Let x be the number and d its approximation, fl(fl(m) · 10^e) or fl(fl(m) / 10^-e). The power is exact, so
/// d = x(1+a)(1+b) with |a|, |b| ≤ 2^-53, and |d - x| is below 3 units in the last place of d, which is normal. The
/// midpoints between neighbouring normal `f32` are exactly the `f64` whose lower 29 bits are 1 followed by zeros. If d is
/// 4 or more units away from every midpoint, no midpoint lies between x and d or on either, so both round to the same
/// `f32`. At the ends of the range: an x just below the smallest normal `f32` or just above the largest still rounds to
/// it, being within a few `f64` units of d.
#[inline(always)]
pub(super) fn is_far_from_midpoints(value: f64) -> bool {
    const LOWER_BITS: u64 = (1 << 29) - 1;
    const MIDPOINT: u64 = 1 << 28;
    (value.to_bits() & LOWER_BITS).abs_diff(MIDPOINT) >= 4
}

/// Reads a number or `null`, which stands for a missing one and becomes NaN.
#[inline(always)]
pub(crate) fn read_float32(scanner: &mut Scanner<'_>) -> ScanResult<f32> {
    if scanner.peek() == Some(b'n') && scanner.null() {
        return Ok(f32::NAN);
    }
    let number = scanner.number("a number or null")?;
    number.to_f32().ok_or_else(|| number.out_of_range(DataType::Fp32))
}

/// Reads a number or `null`, which stands for a missing one and becomes NaN.
#[inline(always)]
pub(crate) fn read_float64(scanner: &mut Scanner<'_>) -> ScanResult<f64> {
    if scanner.peek() == Some(b'n') && scanner.null() {
        return Ok(f64::NAN);
    }
    let number = scanner.number("a number or null")?;
    number.to_f64().ok_or_else(|| number.out_of_range(DataType::Fp64))
}

/// Digits of the mantissa from the first that is not zero on.
#[cold]
fn significant_digits(text: &[u8]) -> usize {
    let mantissa = text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.filter(|byte| byte.is_ascii_digit()).skip_while(|&&byte| byte == b'0').count()
}
