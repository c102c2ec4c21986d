//! The JSON reader and writer against an independent implementation, on generated input.

use super::*;
use crate::protocol::test_support::seeded;
use proptest::prelude::*;
use serde_json::Value;

/// What may follow a number. Numbers are read a word at a time, so it matters how much follows, and what.
const BEHIND: [&str; 4] = ["", ",", ", 0.25, -7.5e3, 12, 123456.75]", "]}                "];

fn is_valid(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip_value().and_then(|()| scanner.finish()).is_ok()
}

/// `None` where the two cannot be compared: serde_json also refuses numbers that overflow and allows deeper nesting.
fn is_valid_for_serde(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn depth(text: &[u8]) -> usize {
    // An upper bound: brackets in strings count too.
    text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

fn assert_float64(text: &str) -> Result<(), TestCaseError> {
    let expected = text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::to_bits);
    for behind in BEHIND {
        let text = format!("{text}{behind}");
        let mut scanner = Scanner::new(text.as_bytes());
        prop_assert_eq!(read_float64(&mut scanner).ok().map(f64::to_bits), expected, "{}", text);
        prop_assert!(expected.is_none() || scanner.remaining() == behind.len(), "{}", text);
    }
    Ok(())
}

fn assert_float32(text: &str) -> Result<(), TestCaseError> {
    let expected = text.parse::<f32>().ok().filter(|value| value.is_finite()).map(f32::to_bits);
    for behind in BEHIND {
        let text = format!("{text}{behind}");
        let mut scanner = Scanner::new(text.as_bytes());
        prop_assert_eq!(read_float32(&mut scanner).ok().map(f32::to_bits), expected, "{}", text);
        prop_assert!(expected.is_none() || scanner.remaining() == behind.len(), "{}", text);
    }
    Ok(())
}

fn assert_both(text: &str) -> Result<(), TestCaseError> {
    assert_float32(text)?;
    assert_float64(text)
}

/// Any JSON value, with every kind of string and number text.
fn any_document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "\"([ !#-\\[\\]-~é]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude0[0-9]){0,12}\"",
    ];
    let space = "[ \n\r\t]{0,2}";
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let padded = (space, inner, space).prop_map(|(before, value, behind)| format!("{before}{value}{behind}"));
        let member = ("\"[a-z\\\\/]{0,3}\"", padded.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            proptest::collection::vec(padded, 0..6).prop_map(|values| format!("[{}]", values.join(","))),
            proptest::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(seeded(1_000))]

    #[test]
    fn every_finite_f64_is_read_to_the_same_bits_from_any_format(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:.17e}"), format!("{value:.40e}")] {
            assert_both(&text)?;
            let read = read_float64(&mut Scanner::new(text.as_bytes()));
            prop_assert_eq!(read.map(f64::to_bits), Ok(bits));
        }
    }

    #[test]
    fn every_finite_f32_is_read_to_the_same_bits_from_any_format(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let wide = f64::from(value);
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:.9e}"), format!("{wide}"), format!("{wide:e}")] {
            assert_both(&text)?;
            let read = read_float32(&mut Scanner::new(text.as_bytes()));
            prop_assert_eq!(read.map(f32::to_bits), Ok(bits));
        }
    }

    #[test]
    fn numbers_next_to_midpoints_of_f32_are_correctly_rounded(bits in 0_u32..0x7f7f_ffff, away in -12_i64..=12) {
        // The midpoint between a float and its upper neighbour is an f64; so are its own neighbours.
        let middle = f64::midpoint(f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
        let near = f64::from_bits(middle.to_bits().wrapping_add_signed(away));
        prop_assume!(near.is_finite() && near > 0.0);
        for text in [format!("{near:e}"), format!("{near:.17e}"), format!("{near:.18e}"), format!("{near}"), format!("{near:.60e}")] {
            assert_both(&text)?;
        }
    }

    #[test]
    fn numbers_of_everyday_size_next_to_midpoints_are_correctly_rounded(
        bits in 0x3000_0000_u32..0x4f00_0000, digits in 6_usize..18, nudge in -3_i64..=3,
    ) {
        let middle = f64::midpoint(f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
        let text = format!("{middle:.digits$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let whole: i64 = mantissa.replace('.', "").parse().unwrap();
        assert_both(&format!("{}e{}", whole + nudge, exponent.parse::<i64>().unwrap() - digits as i64))?;
    }

    #[test]
    fn any_decimal_text_is_correctly_rounded(
        text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?"
    ) {
        assert_both(&text)?;
    }

    #[test]
    fn short_decimal_text_is_correctly_rounded(
        text in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,9})?([eE][+-]?[0-9])?"
    ) {
        assert_both(&text)?;
    }

    #[test]
    fn short_text_is_a_number_exactly_when_serde_json_says_so(text in "-?[0-9]{0,4}[.eE]?[-+]?[0-9]{0,4}[.eE]?[0-9]{0,3}") {
        let list = format!("[{text},1.5,2.5,3.5,4.5]");
        if let Some(expected) = is_valid_for_serde(list.as_bytes()) {
            prop_assert_eq!(is_valid(list.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn what_is_written_reads_back_to_the_same_bits(bits: u64) {
        let (wide, narrow) = (f64::from_bits(bits), f32::from_bits(bits as u32));
        let mut out = Vec::new();
        write::float(&mut out, wide);
        let read = read_float64(&mut Scanner::new(&out)).unwrap();
        let is_same = if wide.is_finite() { read.to_bits() == bits } else { read.is_nan() };
        prop_assert!(is_same, "{}", wide);
        out.clear();
        write::float(&mut out, narrow);
        let read = read_float32(&mut Scanner::new(&out)).unwrap();
        let is_same = if narrow.is_finite() { read.to_bits() == narrow.to_bits() } else { read.is_nan() };
        prop_assert!(is_same, "{}", narrow);
    }

    #[test]
    fn documents_are_valid_exactly_when_serde_json_says_so(text in any_document()) {
        if let Some(expected) = is_valid_for_serde(text.as_bytes()) {
            prop_assert_eq!(is_valid(text.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn damaged_documents_are_valid_exactly_when_serde_json_says_so(
        text in any_document(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (index, byte, kind) in damage {
            let at = index.index(bytes.len() + 1);
            let structural = b"[]{},:\"\\0e.-tn \n"[usize::from(byte) % 16];
            match kind {
                0 if at < bytes.len() => drop(bytes.remove(at)),
                1 if at < bytes.len() => bytes[at] = byte,
                2 => bytes.insert(at, structural),
                _ => bytes.truncate(at),
            }
        }
        prop_assume!(depth(&bytes) <= 32);
        if let Some(expected) = is_valid_for_serde(&bytes) {
            prop_assert_eq!(is_valid(&bytes), expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assume!(depth(&bytes) <= 32);
        if let Some(expected) = is_valid_for_serde(&bytes) {
            prop_assert_eq!(is_valid(&bytes), expected);
        }
    }

    #[test]
    fn strings_read_what_serde_json_reads(text: String, escaped in "\"([a-z]|\\\\u[0-9a-f]{4}|\\\\[\"\\\\/bfnrtx]){0,8}\"") {
        let written = Value::from(text.clone()).to_string();
        let mut scratch = String::new();
        prop_assert_eq!(Scanner::new(written.as_bytes()).string(&mut scratch, "").unwrap(), text);
        let read = Scanner::new(escaped.as_bytes()).string(&mut scratch, "").ok().map(str::to_owned);
        prop_assert_eq!(read, serde_json::from_str::<String>(&escaped).ok());
    }
}
