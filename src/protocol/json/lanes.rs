//! Plain numbers eight at a time: from the text before each one's comma to typed values.
//!
//! A plain number has a whole part, perhaps a fraction, and no exponent. Its last bytes are loaded from behind, so that
//! its digits stand at the top of a word whatever its length, and everything up to the value is arithmetic without
//! branches that is the same for every number. What every number needs for itself is little: its length, its sign and
//! where its point is. The rest is written as loops of a known length, which the compiler turns into vector
//! instructions; done one number after the other, the same arithmetic is bound by the four integer units of a core and
//! takes half as long again.
//!
//! Invariant: a value is bit for bit what `str::parse` makes of the text, or there is none.

use super::digits::{SHIFTS, eight_digits, sixteen_digits};
use super::number::{EXACT_POWERS, MAX_EXACT_INTEGER, is_far_from_midpoints};

/// Numbers that are converted together.
pub(super) const LANES: usize = 8;

/// Bytes that a number may reach back from its end, with room for the words that are loaded.
pub(super) const REACH: usize = 32;

/// Bytes of a text that are searched for ends of numbers at a time.
pub(super) const BLOCK: usize = 64;

/// A block and what is before it.
pub(super) type Window = [u8; REACH + BLOCK];

/// Tells that a text is not a plain number that is read here.
pub(super) const NOT_PLAIN: u8 = u8::MAX;

const ONES: u64 = 0x0101_0101_0101_0101;

/// The largest power of ten that an `f64` holds exactly.
const MAX_POWER: usize = EXACT_POWERS.len() - 1;

/// The scale of a number without a fraction.
pub(super) const WHOLE: u8 = 8 * MAX_POWER as u8;

/// The scale of a number that is one word, less the place of its point in bits. The eight is that of the whole number,
/// whose end is at bit 64.
const WORD_SCALE: u32 = 8 * (MAX_POWER as u32 - 8);

/// Scales from here on stand for at most ten digits of a fraction.
const TEN_DIGITS: u8 = 8 * (MAX_POWER as u8 - 10);

/// Integers up to here are exact in an `f32`: 2^24.
const MAX_EXACT_IN_F32: u64 = 1 << 24;

/// By scale, what a mantissa is divided by: a power of ten, with the number's sign.
static DIVISORS: [f64; 256] = {
    let mut divisors = [1.0; 256];
    let mut digits = 0;
    while digits <= MAX_POWER {
        divisors[8 * (MAX_POWER - digits)] = EXACT_POWERS[digits];
        divisors[8 * (MAX_POWER - digits) + 1] = -EXACT_POWERS[digits];
        digits += 1;
    }
    divisors
};

/// The same; exact up to 10^10 = 2^10 · 5^10, because 5^10 < 2^24.
static NARROW_DIVISORS: [f32; 256] = {
    let mut divisors = [1.0; 256];
    let mut scale = 0;
    while scale < divisors.len() {
        divisors[scale] = DIVISORS[scale] as f32;
        scale += 1;
    }
    divisors
};

/// By length, the bytes of a word that a number of at most eight bytes fills from behind.
static FILLED: [u64; 9] = {
    let mut masks = [0; 9];
    let mut length = 1;
    while length < masks.len() {
        masks[length] = u64::MAX << (64 - 8 * length);
        length += 1;
    }
    masks
};

/// A number before its conversion: the digits in `word`, or `mantissa` if it is longer than a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) word: u64,
    pub(super) mantissa: u64,
    pub(super) scale: u8,
}

/// A number that is longer than a word.
#[derive(Clone, Copy)]
struct Long {
    mantissa: u64,
    scale: u8,
}

/// Digits with a gap where their point was.
struct Gap {
    clean: u64,
    /// All bits of the byte, nothing without a point. Something is left there if it was no point.
    place: u64,
    /// All bits in front of it, everything without a point.
    below: u64,
}

/// A type that plain numbers convert to.
pub(crate) trait FromPlain: Copy {
    /// The largest mantissa that may convert.
    const MAX_MANTISSA: u64;

    /// The values of `mantissas`, all if any; `widest` is at least as large as each of them.
    fn from_plain(mantissas: &[u64; LANES], scales: &[u8; LANES], widest: u64) -> Option<[Self; LANES]>;
}

/// The number between `start` and `end` of a window's block, in which a space may be in front. Digits are yet unchecked.
///
/// The scale is eight for each digit that the fraction has less than [`MAX_POWER`], and one more for a minus sign.
#[inline(always)]
pub(super) fn lane(window: &Window, start: usize, end: usize, max_mantissa: u64) -> Lane {
    let mut start = start;
    let mut first = window[REACH + start % BLOCK];
    if first == b' ' {
        start += 1;
        first = window[REACH + start % BLOCK];
    }
    let sign = u8::from(first == b'-');
    let length = end.wrapping_sub(start + usize::from(sign));
    if length.wrapping_sub(1) >= 8 {
        let Long { mantissa, scale } = long(window, length, end, max_mantissa);
        return Lane { word: 0, mantissa, scale: if scale == NOT_PLAIN { scale } else { scale + sign } };
    }
    let word = word_before(window, end, 0) & FILLED[length];
    let others = no_digits(word);
    let point = others.trailing_zeros();
    let is_zero_first = window[REACH + end - length] == b'0';
    if is_misplaced(point + 8 * length as u32, is_zero_first) || point == 56 || others & others.wrapping_sub(1) != 0 {
        return Lane { word, mantissa: 0, scale: NOT_PLAIN };
    }
    Lane { word, mantissa: 0, scale: (point + WORD_SCALE) as u8 + sign }
}

/// A number of 9 to 23 bytes before `end`, digits checked; the scale is without the sign.
#[inline(never)]
fn long(window: &Window, length: usize, end: usize, max_mantissa: u64) -> Long {
    const NONE: Long = Long { mantissa: 0, scale: NOT_PLAIN };
    let end = end % BLOCK;
    if !(9..24).contains(&length) {
        return NONE;
    }
    let is_zero_first = window[REACH + end - length] == b'0';
    let (mantissa, scale) = if length <= 16 {
        let low = word_before(window, end, 8) & FILLED[length - 8];
        let wide_ones = u128::from(ONES) << 64 | u128::from(ONES);
        let values = (u128::from(word_before(window, end, 0)) << 64) | u128::from(low);
        let others = (values >> 4) & wide_ones;
        let point = others.trailing_zeros();
        let point_bit = others & others.wrapping_neg();
        let below = point_bit.wrapping_sub(1);
        let place = (point_bit << 8).wrapping_sub(point_bit);
        let clean = values ^ (place & (0x1e * wide_ones));
        // Without a point nothing moves; otherwise the digits before it close the gap.
        let digits = if point == 128 { clean } else { ((clean & below) << 8) | (clean & !below) };
        let are_digits = (not_below_ten(clean as u64) | not_below_ten((clean >> 64) as u64)) == 0 && clean & place == 0;
        if !are_digits || is_misplaced(point + 8 * length as u32 - 64, is_zero_first) || point == 120 {
            return NONE;
        }
        (sixteen_digits(digits), MAX_POWER - (15 - point.min(120) as usize / 8))
    } else {
        // The last fifteen are digits of the fraction; the point is before them.
        let values = word_before(window, end, 15) & FILLED[length - 15];
        let (middle, last) = (word_before(window, end, 7), word_before(window, end, 0) & FILLED[7]);
        let point = no_digits(values).trailing_zeros();
        let Gap { clean, place, below } = erase_point(values);
        let top = eight_digits(((clean & below) << 8) | (clean & !below));
        let faults = not_below_ten(clean) | not_below_ten(middle) | not_below_ten(last) | (clean & place);
        let is_misplaced = is_misplaced(point + 8 * (length as u32 - 15), is_zero_first) || point == 64;
        // 9,223 · 10^15 - 1 still fits an i64.
        if faults != 0 || is_misplaced || top >= 9_223 {
            return NONE;
        }
        let mantissa = (top * SHIFTS[8] + eight_digits(middle)) * SHIFTS[7] + eight_digits(last);
        (mantissa, MAX_POWER - (22 - point as usize / 8))
    };
    if mantissa > max_mantissa { NONE } else { Long { mantissa, scale: 8 * scale as u8 } }
}

/// Converts the numbers of a row of lanes; `None` if one of them is no number, or not of this type.
#[inline(always)]
pub(super) fn convert<T: FromPlain>(
    words: &[u64; LANES],
    long: &[u64; LANES],
    scales: &[u8; LANES],
) -> Option<[T; LANES]> {
    if words.iter().fold(0, |any, word| any | word) == 0 {
        let widest = long.iter().fold(0, |widest, mantissa| widest | mantissa);
        return T::from_plain(long, scales, widest);
    }
    let mut mantissas = [0; LANES];
    let (mut faults, mut wrong_points) = (0, 0);
    let mut widest = 0;
    for lane in 0..LANES {
        let word = words[lane];
        let Gap { clean, place, below } = erase_point(word);
        faults |= clean.wrapping_add(0x76 * ONES) | clean;
        wrong_points |= clean & place;
        // Close the gap from behind, which leaves a zero as the last of eight digits: ten times the mantissa, and that
        // is what the scale counts on.
        let behind = clean >> 8;
        let digits = behind ^ ((clean ^ behind) & below);
        let tens = ((digits & (0x0f * ONES)) << 3).wrapping_add(digits << 1);
        let pairs = tens.wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
        let eight =
            (pairs & 0xff) * 1_000_000 + ((pairs >> 16) & 0xff) * 10_000 + ((pairs >> 32) & 0xff) * 100 + (pairs >> 48);
        mantissas[lane] = eight + long[lane];
        widest |= mantissas[lane];
    }
    if faults & (0x80 * ONES) | wrong_points != 0 { None } else { T::from_plain(&mantissas, scales, widest) }
}

/// The eight bytes that end `back` bytes before `end`, as values of digits.
#[inline(always)]
fn word_before(window: &Window, end: usize, back: usize) -> u64 {
    let chunk = window[REACH - 8 - back + end..].first_chunk::<8>();
    u64::from_le_bytes(*chunk.expect("a word before an end in the block is in the window")) ^ (0x30 * ONES)
}

/// The lowest bit of each byte that cannot be a digit: all digits have bit 4, which is flipped in `values`.
#[inline(always)]
fn no_digits(values: u64) -> u64 {
    (values >> 4) & ONES
}

/// Puts a zero in the place of the first byte that is no digit, if that is a point.
#[inline(always)]
fn erase_point(values: u64) -> Gap {
    let others = no_digits(values);
    let point_bit = others & others.wrapping_neg();
    let place = (point_bit << 8).wrapping_sub(point_bit);
    Gap { clean: values ^ (place & (0x1e * ONES)), place, below: point_bit.wrapping_sub(1) }
}

/// Not zero if a byte is above nine.
#[inline(always)]
fn not_below_ten(values: u64) -> u64 {
    (values.wrapping_add(0x76 * ONES) | values) & (0x80 * ONES)
}

/// The place of the point or the end, in bits from the first digit and 64 more, against JSON's grammar: a digit is
/// before the point, and behind a zero in front nothing but the point.
#[inline(always)]
fn is_misplaced(point: u32, is_zero_first: bool) -> bool {
    point.wrapping_sub(72) > if is_zero_first { 0 } else { 128 }
}

impl FromPlain for f32 {
    /// What fits an `i64`, from which the conversion is one instruction.
    const MAX_MANTISSA: u64 = i64::MAX as u64;

    #[inline(always)]
    fn from_plain(mantissas: &[u64; LANES], scales: &[u8; LANES], widest: u64) -> Option<[Self; LANES]> {
        let mut values = [0.0; LANES];
        if widest <= MAX_EXACT_IN_F32 && scales.iter().all(|&scale| scale >= TEN_DIGITS) {
            // Both operands are exact.
            for lane in 0..LANES {
                values[lane] = mantissas[lane] as i32 as f32 / NARROW_DIVISORS[usize::from(scales[lane])];
            }
            return Some(values);
        }
        let mut are_certain = true;
        for lane in 0..LANES {
            let value = mantissas[lane] as i64 as f64 / DIVISORS[usize::from(scales[lane])];
            are_certain &= is_far_from_midpoints(value);
            values[lane] = value as f32;
        }
        are_certain.then_some(values)
    }
}

impl FromPlain for f64 {
    const MAX_MANTISSA: u64 = MAX_EXACT_INTEGER - 1;

    #[inline(always)]
    fn from_plain(mantissas: &[u64; LANES], scales: &[u8; LANES], _: u64) -> Option<[Self; LANES]> {
        let mut values = [0.0; LANES];
        for lane in 0..LANES {
            values[lane] = mantissas[lane] as i64 as f64 / DIVISORS[usize::from(scales[lane])];
        }
        Some(values)
    }
}

macro_rules! integers_from_plain {
    ($( $integer:ty, )*) => { $(
        impl FromPlain for $integer {
            const MAX_MANTISSA: u64 = i64::MAX as u64;

            #[inline(always)]
            fn from_plain(mantissas: &[u64; LANES], scales: &[u8; LANES], _: u64) -> Option<[Self; LANES]> {
                let mut values = [0; LANES];
                for lane in 0..LANES {
                    let is_negative = scales[lane].checked_sub(WHOLE)? == 1;
                    let magnitude = mantissas[lane] as i64;
                    values[lane] = Self::try_from(if is_negative { -magnitude } else { magnitude }).ok()?;
                }
                Some(values)
            }
        }
    )* };
}

integers_from_plain! { u8, u16, u32, u64, i8, i16, i32, i64, }
