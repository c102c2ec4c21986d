//! The JSON reader on its edges: numbers, strings, depth, and what is no JSON.

use super::*;
use crate::tensor::DataType;

/// The complaint about a whole text, or "ok".
fn check(text: impl AsRef<[u8]>) -> String {
    let mut scanner = Scanner::new(text.as_ref());
    scanner.skip_value().and_then(|()| scanner.finish()).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

fn string(text: &str) -> Result<String, String> {
    let mut scratch = String::new();
    let mut scanner = Scanner::new(text.as_bytes());
    let value = scanner.string(&mut scratch, "a string").map_err(|error| error.to_string())?.to_owned();
    scanner.finish().map_err(|error| error.to_string())?;
    Ok(value)
}

fn float32(text: &str) -> Result<f32, String> {
    let mut scanner = Scanner::new(text.as_bytes());
    let value = read_float32(&mut scanner).map_err(|error| error.to_string())?;
    scanner.finish().map_err(|error| error.to_string())?;
    Ok(value)
}

fn float64(text: &str) -> Result<f64, String> {
    let mut scanner = Scanner::new(text.as_bytes());
    let value = read_float64(&mut scanner).map_err(|error| error.to_string())?;
    scanner.finish().map_err(|error| error.to_string())?;
    Ok(value)
}

fn integer<T: TryFrom<i128>>(text: &str, datatype: DataType) -> Result<T, String> {
    let number = Scanner::new(text.as_bytes()).number("a whole number").map_err(|error| error.to_string())?;
    number.to_integer(datatype).map_err(|error| error.to_string())
}

#[test]
fn nothing_is_not_a_value() {
    assert_eq!(check(""), "expected a value at byte 0, found the end of the text");
    assert_eq!(check(" \n\t\r"), "expected a value at byte 4, found the end of the text");
}

#[test]
fn empty_lists_objects_and_strings_are_values() {
    for text in ["[]", "{}", "\"\"", " [ ] ", "{ }", "[[],{},\"\"]"] {
        assert_eq!(check(text), "ok", "{text}");
    }
}

#[test]
fn trailing_commas_and_trailing_text_are_refused() {
    assert_eq!(check("[1,]"), "expected a value at byte 3, found ']'");
    assert_eq!(check("{\"a\":1,}"), "expected a key in double quotes at byte 7, found '}'");
    assert_eq!(check("[1 2]"), "expected ',' or ']' at byte 3, found 2");
    assert_eq!(check("{} x"), "expected the end of the text at byte 3, found 'x'");
    assert_eq!(check("{\"a\" 1}"), "expected ':' at byte 5, found 1");
    assert_eq!(check("[1}"), "expected ',' or ']' at byte 2, found '}'");
}

#[test]
fn a_list_that_is_cut_off_is_refused_at_its_end() {
    assert_eq!(check("[1,2"), "expected ',' or ']' at byte 4, found the end of the text");
    assert_eq!(check("tru"), "expected true or false at byte 0, found 't'");
    assert_eq!(check("nul"), "expected a value at byte 0, found 'n'");
}

#[test]
fn depth_up_to_the_limit_is_read_and_one_more_is_refused() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(check(nested(32)), "ok");
    assert_eq!(check(nested(33)), "nesting at byte 32 is deeper than the limit of 32 levels");
    assert_eq!(check("[".repeat(1_000_000)), "nesting at byte 32 is deeper than the limit of 32 levels");
}

#[test]
fn bare_tokens_for_missing_numbers_are_named() {
    assert_eq!(check("[NaN]"), "NaN at byte 1 is not JSON; null stands for a missing number");
    assert_eq!(check("[1,-Infinity]"), "-Infinity at byte 3 is not JSON; null stands for a missing number");
    assert_eq!(float32("Infinity").unwrap_err(), "Infinity at byte 0 is not JSON; null stands for a missing number");
    assert_eq!(float64("nan").unwrap_err(), "nan at byte 0 is not JSON; null stands for a missing number");
}

#[test]
fn null_is_a_missing_number() {
    assert!(float32("null").unwrap().is_nan());
    assert!(float64(" null").unwrap().is_nan());
}

#[test]
fn numbers_follow_the_grammar() {
    for text in ["0", "-0", "0.0", "10", "1e5", "1E+5", "1.5e-05", "0e0", "123456789012345678901234567890"] {
        assert_eq!(check(text), "ok", "{text}");
    }
    for text in ["01", "-01", "00", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-", "0x10", "1_000", "--1", "1.2.3"] {
        assert_ne!(check(text), "ok", "{text}");
    }
    assert_eq!(check("[007]"), "expected a number without leading zero at byte 1, found a leading zero");
    assert_eq!(check("1.x"), "expected a digit behind the decimal point at byte 2, found 'x'");
    assert_eq!(check("-x"), "expected a number at byte 0, found -");
}

#[test]
fn zero_keeps_its_sign() {
    assert_eq!(float32("-0").unwrap().to_bits(), (-0.0_f32).to_bits());
    assert_eq!(float64("-0.000e-999999999999").unwrap().to_bits(), (-0.0_f64).to_bits());
}

#[test]
fn floats_beyond_the_range_are_refused_by_datatype_and_tiny_ones_round_to_zero() {
    assert_eq!(float32("1e39").unwrap_err(), "1e39 at byte 0 is outside the range of FP32");
    assert_eq!(float64("-1e309").unwrap_err(), "-1e309 at byte 0 is outside the range of FP64");
    assert_eq!(float32("1e-99999999999999999999").unwrap().to_bits(), 0);
    assert!(float32("3.40282356779733662e38").is_err());
    assert_eq!(float32("3.40282356779733661e38").unwrap().to_bits(), f32::MAX.to_bits());
    assert_eq!(float32("3.40282356e38").unwrap().to_bits(), f32::MAX.to_bits());
}

#[test]
fn midpoints_between_neighbouring_floats_round_to_even() {
    // 2^24 + 1 and 2^24 + 3 lie halfway between neighbours; a digit behind decides otherwise.
    for text in [
        "16777217",
        "16777219",
        "16777217.000000000",
        "16777217.00000000000000000000000000001",
        "16777216.99999999999999999999999999999",
        "1.00000005960464477539062500",
        "1.00000005960464477539062501",
        "7.006492321624085354618e-46",
        "7.0064923216240854e-46",
        "1.17549429e-38",
        "8589973000",
    ] {
        assert_eq!(float32(text).unwrap().to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
        assert_eq!(float64(text).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
}

#[test]
fn leading_zeros_of_a_fraction_are_not_digits_that_count() {
    for text in
        ["0.00000000000000000000000000123", "0.0000000000012345678901234567", "0.000000000001234567890123456789"]
    {
        assert_eq!(float64(text).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        assert_eq!(float32(text).unwrap().to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
    }
}

#[test]
fn integers_are_exact_up_to_both_ends_of_their_range() {
    assert_eq!(integer::<u64>("18446744073709551615", DataType::Uint64), Ok(u64::MAX));
    assert_eq!(integer::<i64>("-9223372036854775808", DataType::Int64), Ok(i64::MIN));
    assert_eq!(integer::<i64>("9223372036854775807", DataType::Int64), Ok(i64::MAX));
    assert_eq!(integer::<i8>("-128", DataType::Int8), Ok(i8::MIN));
    assert_eq!(integer::<u8>("-0", DataType::Uint8), Ok(0));
}

#[test]
fn integers_outside_their_range_are_refused_by_datatype() {
    let error = |text: &str| format!("{text} at byte 0 is outside the range of UINT64");
    for text in ["18446744073709551616", "-1", "99999999999999999999999999999999999999999999"] {
        assert_eq!(integer::<u64>(text, DataType::Uint64), Err(error(text)));
    }
    assert_eq!(integer::<i8>("128", DataType::Int8), Err("128 at byte 0 is outside the range of INT8".to_owned()));
}

#[test]
fn fractions_and_exponents_are_no_integers() {
    for text in ["1.0", "1e3", "0.5"] {
        assert_eq!(
            integer::<i32>(text, DataType::Int32),
            Err(format!("INT32 takes whole numbers without fraction or exponent, {text} came at byte 0"))
        );
    }
}

#[test]
fn a_number_of_a_megabyte_is_read_and_not_echoed() {
    let text = "9".repeat(1 << 20);
    assert!(float64(&text).unwrap_err().len() < 400);
    assert!(integer::<i64>(&text, DataType::Int64).unwrap_err().len() < 400);
}

#[test]
fn escapes_are_resolved() {
    assert_eq!(string(r#""\"\\\/\b\f\n\r\t""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\t");
    assert_eq!(string(r#""a\u00e9b\u0000c\uD83D\uDE00d""#).unwrap(), "aéb\0c😀d");
    let expected = "plain, long enough for a word A and more behind it";
    assert_eq!(string(r#""plain, long enough for a word \u0041 and more behind it""#).unwrap(), expected);
}

#[test]
fn bad_escapes_are_refused_where_they_are() {
    assert!(string(r#""ab\x""#).unwrap_err().starts_with("expected one of \\\" "));
    assert_eq!(string(r#""\ud800""#).unwrap_err(), "the escape at byte 1 is half of a surrogate pair");
    assert_eq!(string(r#""\ud800\u0041""#).unwrap_err(), "the escape at byte 1 is half of a surrogate pair");
    assert_eq!(string(r#""a\udc00""#).unwrap_err(), "the escape at byte 2 is half of a surrogate pair");
    for text in [r#""\u12""#, r#""\u+123""#, r#""\u12é4""#, r#""\"#, r#""\""#, r#""abc"#] {
        assert!(string(text).is_err(), "{text}");
    }
}

#[test]
fn control_characters_and_broken_utf8_are_refused() {
    assert!(string("\"a\nb\"").unwrap_err().contains("found byte 0x0a"));
    assert_eq!(check(b"[\"ab\xff\"]"), "the string is not UTF-8 at byte 4");
    assert_eq!(check(b"\"\xed\xa0\x80\""), "the string is not UTF-8 at byte 1");
    assert_eq!(check(b"\"cut \xc3\""), "the string is not UTF-8 at byte 5");
}

#[test]
fn specials_are_found_at_every_place_of_a_word() {
    for special in ['"', '\\', '\u{1f}', '\0'] {
        for place in 0..20 {
            let text: String = (0..24).map(|at| if at == place { special } else { '\u{7f}' }).collect();
            assert_eq!(super::string::plain_length(text.as_bytes()), place);
        }
    }
    assert_eq!(super::string::plain_length("é ÿ \u{80} 0123456789".as_bytes()), 19);
}

#[test]
fn writing_escapes_what_reading_resolves() {
    let text: String = (0..0x90).map(|code| char::from_u32(code).unwrap()).chain("é😀".chars()).collect();
    let mut out = Vec::new();
    write::string(&mut out, &text);
    assert_eq!(string(std::str::from_utf8(&out).unwrap()).unwrap(), text);
    assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
}

#[test]
fn floats_without_a_number_are_written_as_null() {
    let mut out = Vec::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, 0.1, -0.0] {
        write::float(&mut out, value);
        out.push(b' ');
    }
    assert_eq!(String::from_utf8(out).unwrap(), "null null null 1.0 0.1 -0.0 ");
}
