//! Decimal digits, eight or sixteen at a time.
//!
//! A loop over bytes mispredicts where a number ends, because lengths vary from value to value; here the ends are found
//! by arithmetic on whole words, without a branch per digit. A number that is shorter than a word is taken apart in one
//! step, because the end of one number is where the next begins, and that chain, not the arithmetic, is the cost:
//! measured on lists of 1,920 values, a quarter less time than one step before the point and one behind it.
//!
//! The functions are inlined for certain: their results handed back through memory would be read before they are
//! written out, a stall that costs more than the digits.
//!
//! Invariant: within a word the first byte of the text is the lowest, and digits are values 0 to 9.

/// A number with digits on both sides of its point and no exponent: `mantissa` / 10^`fraction_digits`.
pub(super) struct Decimal {
    pub(super) mantissa: u64,
    pub(super) fraction_digits: u32,
    /// Bytes of the text that are the number.
    pub(super) length: usize,
}

/// 10^n for the n digits that one word of eight bytes can hold.
pub(super) const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

macro_rules! decimal_within_word {
    ($name:ident, $word:ty, $bytes:literal, $value:expr) => {
        #[inline(always)]
        fn $name(text: &[u8]) -> Option<Decimal> {
            const ONES: $word = <$word>::from_le_bytes([1; $bytes]);
            let window = <$word>::from_le_bytes(*text.first_chunk::<$bytes>()?);
            // Digits become 0 to 9. Then the top bit of every other byte is set, without a carry from byte to byte.
            let values = window ^ (0x30 * ONES);
            let others = (((values & (0x7f * ONES)) + 0x76 * ONES) | values) & (0x80 * ONES);
            // The first byte that is no digit must be the point; the second is behind the number.
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
            // Close the gap that the point leaves and move the last digit to the top; zeros come in front.
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

decimal_within_word!(decimal_within_8, u64, 8, eight_digits);
decimal_within_word!(decimal_within_16, u128, 16, sixteen_digits);

/// The number that `text` begins with, if it is a [`Decimal`] of fewer than sixteen bytes and sixteen bytes are there.
/// `None` says nothing about the text.
#[inline(always)]
pub(super) fn short_decimal(text: &[u8]) -> Option<Decimal> {
    decimal_within_8(text).or_else(|| decimal_within_16(text))
}

/// Appends the digits that `text` begins with to `mantissa`, which wraps if they are too many; how many there were.
#[inline(always)]
pub(super) fn append_digits(mut text: &[u8], mantissa: &mut u64) -> usize {
    let mut total = 0;
    loop {
        let (value, count) = leading_digits(first_word(text));
        *mantissa = mantissa.wrapping_mul(SHIFTS[count]).wrapping_add(value);
        total += count;
        if count < 8 {
            return total;
        }
        text = &text[8..];
    }
}

/// The first eight bytes; zeros behind the end.
#[inline(always)]
fn first_word(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => text.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}

/// The value of the digits that `word` begins with, and how many there are.
#[inline(always)]
fn leading_digits(word: u64) -> (u64, usize) {
    // As above, except that a byte above 0x89 carries, which only reaches bytes behind the first that is no digit.
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let bits = others.trailing_zeros() & !7;
    (eight_digits(values.checked_shl(64 - bits).unwrap_or(0)), (bits / 8) as usize)
}

#[inline(always)]
pub(super) fn sixteen_digits(digits: u128) -> u64 {
    eight_digits(digits as u64) * SHIFTS[8] + eight_digits((digits >> 64) as u64)
}

/// Joins neighbours to pairs, pairs to fours and fours to the value: the method of Lemire, "Quickly parsing eight
/// digits" (2018).
#[inline(always)]
pub(super) fn eight_digits(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}
