//! Numbers: JSON's grammar, correctly rounded floats, exact integers.
//!
//! Digits are read eight at a time without a branch per digit, because lengths of digits vary from value to value and
//! a mispredicted branch costs more than the arithmetic. Most numbers then need one multiplication or division; the
//! rest go to the standard library, which is correctly rounded too, only slower.
//!
//! Invariant: every value is bit for bit what `str::parse` makes of the same text.

use super::{JsonError, ScanResult, Scanner};
use crate::protocol::limits::quoted;
use crate::tensor::DataType;

/// Powers of ten that an `f64` holds exactly: 10^22 = 2^22 · 5^22 and 5^22 < 2^53.
#[rustfmt::skip]
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// 10^n for the n digits that one word of eight bytes can hold.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Any number of this many digits fits a `u64`.
const MAX_EXACT_DIGITS: usize = 19;

/// Integers up to here are exact in an `f64`: 2^53.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

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
        let first = self.peek();
        let offset = self.at;
        let is_negative = first == Some(b'-');
        self.at += usize::from(is_negative);
        let text = &self.bytes[self.at..];
        if let Some(decimal) = decimal_in_8(text).or_else(|| decimal_in_16(text)) {
            self.at += decimal.length;
            let text = &self.bytes[offset..self.at];
            let (mantissa, exponent) = (decimal.mantissa, -i64::from(decimal.fraction_digits));
            return Ok(Number { text, offset, mantissa, exponent, is_negative, is_whole: false, is_exact: true });
        }
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

    /// Reads a run of digits onto the end of `mantissa`, which wraps if they are too many; how many there were.
    #[inline(always)]
    fn digits(&mut self, mantissa: &mut u64) -> usize {
        let start = self.at;
        loop {
            let (value, count) = leading_digits(word_at(self.bytes, self.at));
            *mantissa = mantissa.wrapping_mul(SHIFTS[count]).wrapping_add(value);
            self.at += count;
            if count < 8 {
                return self.at - start;
            }
        }
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
    ///
    /// Let x be the number and d its approximation [`Self::scaled`]: fl(fl(m) · 10^e) or fl(fl(m) / 10^-e). The power
    /// is exact, so d = x(1+a)(1+b) with |a|, |b| ≤ 2^-53, and |d - x| is below 3 units in the last place of d, which
    /// is normal. The midpoints between neighbouring normal `f32` are exactly the `f64` whose lower 29 bits are
    /// 1 followed by zeros. If d is 4 or more units away from every midpoint, no midpoint lies between x and d or on
    /// either, so both round to the same `f32`. At the ends of the range: an x just below the smallest normal `f32`
    /// or just above the largest still rounds to it, being within a few `f64` units of d.
    #[inline(always)]
    pub(crate) fn to_f32(self) -> Option<f32> {
        const LOWER_BITS: u64 = (1 << 29) - 1;
        const MIDPOINT: u64 = 1 << 28;
        if self.is_exact
            && let Some(value) = self.scaled()
        {
            let lower = value.to_bits() & LOWER_BITS;
            let is_normal = (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&value);
            if self.mantissa == 0 || (is_normal && lower.abs_diff(MIDPOINT) >= 4) {
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
        let mantissa = if self.mantissa >> 63 == 0 { self.mantissa as i64 as f64 } else { self.mantissa as f64 };
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

/// Eight bytes from `at`, the first one lowest; zeros behind the end.
#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => rest.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}

/// The value of the digits that `word` begins with, and how many there are.
///
/// The method of Lemire, "Quickly parsing eight digits" (2018), shifted so that fewer digits are eight with zeros in
/// front.
#[inline(always)]
fn leading_digits(word: u64) -> (u64, usize) {
    // Digits become 0 to 9. Adding 0x76 then sets the top bit of exactly the bytes from 10 on; a carry out of a byte
    // above 0x89 only reaches bytes behind the first that is no digit.
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let bits = others.trailing_zeros() & !7;
    let digits = values.checked_shl(64 - bits).unwrap_or(0);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    (high.wrapping_add(low) >> 32, (bits / 8) as usize)
}

/// A number with a point and no exponent that ends, with one byte to spare, within `$bytes` bytes of `text`.
///
/// Its digits are found in one look: the first byte that is no digit must be the point, the second is behind the end;
/// closing the gap between leaves digits only. `None` for any other number, and for what is none.
macro_rules! decimal_in {
    ($name:ident, $word:ty, $bytes:literal, $value:expr) => {
        #[inline(always)]
        fn $name(text: &[u8]) -> Option<Decimal> {
            const ONES: $word = <$word>::from_le_bytes([1; $bytes]);
            let window = <$word>::from_le_bytes(*text.first_chunk::<$bytes>()?);
            // Digits become 0 to 9; the top bit of every other byte is set, none carries into the next.
            let values = window ^ (0x30 * ONES);
            let others = (((values & (0x7f * ONES)) + 0x76 * ONES) | values) & (0x80 * ONES);
            let behind_point = others & others.wrapping_sub(1);
            if behind_point == 0 {
                return None;
            }
            let point = others.trailing_zeros() & !7;
            let end = behind_point.trailing_zeros() & !7;
            let is_plain = (window >> point) as u8 == b'.' && !matches!((window >> end) as u8, b'e' | b'E');
            let has_leading_zero = values as u8 == 0 && point > 8;
            if !is_plain || has_leading_zero || point == 0 || end == point + 8 {
                return None;
            }
            let whole = (1 << point) - 1;
            let digits = (values & whole) | ((values >> 8) & !whole);
            Some(Decimal {
                mantissa: $value(digits << (8 * $bytes + 8 - end)),
                fraction_digits: (end - point) / 8 - 1,
                length: (end / 8) as usize,
            })
        }
    };
}

decimal_in!(decimal_in_8, u64, 8, eight_digits);
decimal_in!(decimal_in_16, u128, 16, sixteen_digits);

struct Decimal {
    mantissa: u64,
    fraction_digits: u32,
    length: usize,
}

#[inline(always)]
fn sixteen_digits(digits: u128) -> u64 {
    eight_digits(digits as u64) * 100_000_000 + eight_digits((digits >> 64) as u64)
}

#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

/// Digits of the mantissa from the first that is not zero on.
#[cold]
fn significant_digits(text: &[u8]) -> usize {
    let mantissa = text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.filter(|byte| byte.is_ascii_digit()).skip_while(|&&byte| byte == b'0').count()
}
