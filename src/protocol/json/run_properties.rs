//! Lists of numbers, read in runs, against reading one value after the other and against `str::parse`.
//!
//! Invariant: whatever the text, nothing tells the two ways of reading apart but time.

use super::lanes::FromPlain;
use super::*;
use crate::protocol::test_support::seeded;
use crate::tensor::DataType;
use proptest::prelude::*;

/// What is before a list: as much as a run looks back, and less.
const BEFORE: [usize; 3] = [80, 32, 7];

/// What is behind a list: enough for another block, part of one, and nothing.
const BEHIND: [usize; 3] = [100, 9, 0];

/// How reading a list ended: the values' bits, whether the list ended, or the error, and where the scanner stands.
type Outcome = (Vec<u64>, ScanResult<bool>, usize);

fn in_runs<T: FromPlain>(
    text: &[u8],
    start: usize,
    limit: usize,
    read: fn(&mut Scanner<'_>) -> ScanResult<T>,
    bits: fn(T) -> u64,
) -> Outcome {
    let (mut scanner, mut values) = (scanner(text, start), Vec::new());
    let ended = scanner.numbers(&mut values, limit, read);
    (values.into_iter().map(bits).collect(), ended, scanner.offset())
}

fn one_by_one<T>(
    text: &[u8],
    start: usize,
    limit: usize,
    read: fn(&mut Scanner<'_>) -> ScanResult<T>,
    bits: fn(T) -> u64,
) -> Outcome {
    let (mut scanner, mut values) = (scanner(text, start), Vec::new());
    let mut list = || {
        while values.len() < limit {
            values.push(bits(read(&mut scanner)?));
            if !scanner.another(b']')? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let ended = list();
    (values, ended, scanner.offset())
}

/// A scanner behind the bracket at `start`.
fn scanner(text: &[u8], start: usize) -> Scanner<'_> {
    let mut scanner = Scanner::new(text);
    scanner.at = start;
    scanner.open(b'[', "a list").unwrap();
    scanner
}

fn whole<T: TryFrom<i128>>(scanner: &mut Scanner<'_>) -> ScanResult<T> {
    scanner.whole_number("a whole number")?.to_integer(DataType::Int64)
}

macro_rules! assert_same {
    ($text:expr, $start:expr, $limit:expr, $read:expr, $bits:expr) => {{
        let (text, start, limit) = ($text, $start, $limit);
        let runs = in_runs(text, start, limit, $read, $bits);
        prop_assert_eq!(&runs, &one_by_one(text, start, limit, $read, $bits), "{}", String::from_utf8_lossy(text));
        runs
    }};
}

/// Every type that behaves differently; how the `f64` and the `f32` came out.
fn assert_all_same(text: &[u8], start: usize, limit: usize) -> Result<(Outcome, Outcome), TestCaseError> {
    drop(assert_same!(text, start, limit, whole::<u8>, u64::from));
    drop(assert_same!(text, start, limit, whole::<i64>, |value| value as u64));
    drop(assert_same!(text, start, limit, whole::<u64>, |value| value));
    let wide = assert_same!(text, start, limit, read_float64, f64::to_bits);
    let narrow = assert_same!(text, start, limit, read_float32, |value| u64::from(value.to_bits()));
    Ok((wide, narrow))
}

/// Bytes of other things, a list of `values` and bytes of other things; where the list's bracket is.
fn surrounded(values: &str, before: usize, behind: usize) -> (Vec<u8>, usize) {
    let text = format!("{}[{values}]{}", "9.5,".repeat(before).split_off(3 * before), "1.25,".repeat(behind / 5));
    (text.into_bytes(), before)
}

/// Texts of numbers, of which most are plain.
fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,4})?",
        4 => "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,9})?",
        2 => "-?(0|[1-9])\\.[0-9]{14,18}",
        2 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?",
        1 => "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,3})?[eE][+-]?[0-2]?[0-9]",
        1 => Just("null".to_owned()),
    ]
}

/// What else may stand where a number should.
fn any_token() -> impl Strategy<Value = String> {
    prop_oneof![
        60 => any_number(),
        1 => "[-+.0-9eE]{0,6}",
        1 => "[0-9]{0,3}[ -~][0-9.]{0,20}",
        1 => Just("[1,2]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(seeded(600))]

    #[test]
    fn lists_are_read_the_same_in_runs(
        numbers in proptest::collection::vec(any_number(), 0..90), comma in prop_oneof![Just(","), Just(", "), Just(" ,\n  ")],
        before in 0_usize..3, behind in 0_usize..3, room in 0_usize..100,
    ) {
        let (text, start) = surrounded(&numbers.join(comma), BEFORE[before], BEHIND[behind]);
        drop(assert_all_same(&text, start, room)?);
        let (wide, narrow) = assert_all_same(&text, start, usize::MAX)?;
        prop_assume!(!numbers.is_empty());
        let parsed = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN).to_bits();
        let wide_parsed: Vec<u64> = numbers.iter().map(parsed).collect();
        prop_assert_eq!((wide.0, wide.1), (wide_parsed, Ok(true)));
        let parsed = |text: &String| u64::from(text.parse::<f32>().unwrap_or(f32::NAN).to_bits());
        let narrow_parsed: Vec<u64> = numbers.iter().map(parsed).collect();
        prop_assert_eq!((narrow.0, narrow.1), (narrow_parsed, Ok(true)));
    }

    #[test]
    fn lists_of_one_length_of_number_are_read_the_same_in_runs(
        (length, point) in (1_usize..26).prop_flat_map(|length| (Just(length), 0..=length)),
        digits in proptest::collection::vec("[0-9]{26}", 40..50), is_negative: bool,
    ) {
        // Also those that are no numbers: a point in front or behind, a zero in front of a digit.
        let number = |digits: &String| {
            let sign = if is_negative { "-" } else { "" };
            format!("{sign}{}.{}", &digits[..point], &digits[point..length])
        };
        for (lead, fill) in [("1", "0"), ("0", "1")] {
            let plain = |digits: &String| number(&format!("{lead}{}", &digits[1..]).replace('7', fill));
            let values: Vec<String> = digits.iter().map(plain).collect();
            let (text, start) = surrounded(&values.join(","), 80, 100);
            drop(assert_all_same(&text, start, usize::MAX)?);
            for instead_of_point in ["", "-", "/", "e"] {
                let (text, start) = surrounded(&values.join(",").replace('.', instead_of_point), 80, 100);
                drop(assert_all_same(&text, start, usize::MAX)?);
            }
        }
    }

    #[test]
    fn lists_of_small_numbers_are_read_the_same_in_runs(
        values in proptest::collection::vec("0\\.0{7,13}[1-9][0-9]{0,6}", 40..50),
    ) {
        let (text, start) = surrounded(&values.join(","), 80, 100);
        drop(assert_all_same(&text, start, usize::MAX)?);
    }

    #[test]
    fn lists_with_other_things_in_them_are_refused_the_same_in_runs(
        tokens in proptest::collection::vec(any_token(), 1..60), before in 0_usize..3, behind in 0_usize..3,
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let (mut text, start) = surrounded(&tokens.join(","), BEFORE[before], BEHIND[behind]);
        if let Some((index, byte)) = damage {
            let at = start + 1 + index.index(text.len() - start - 1);
            text[at] = byte;
        }
        drop(assert_all_same(&text, start, usize::MAX)?);
        drop(assert_all_same(&text, start, tokens.len() - 1)?);
    }

    #[test]
    fn lists_of_midpoints_of_f32_are_read_the_same_in_runs(
        bits in proptest::collection::vec(0x3a00_0000_u32..0x4b00_0000, 40..60), digits in 3_usize..17, away in -2_i64..=2,
    ) {
        let number = |&bits: &u32| {
            let middle = f64::midpoint(f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
            format!("{:.digits$}", f64::from_bits(middle.to_bits().wrapping_add_signed(away)))
        };
        let values: Vec<String> = bits.iter().map(number).collect();
        let (text, start) = surrounded(&values.join(","), 80, 100);
        drop(assert_all_same(&text, start, usize::MAX)?);
    }
}
