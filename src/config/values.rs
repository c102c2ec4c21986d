//! One function per kind of value: what is accepted, in words a problem can show, and the value itself.
//!
//! Durations and sizes always carry a unit or are plain bytes: a bare number whose unit must be remembered is how
//! seconds become milliseconds. Fractions are refused because a smaller unit says the same exactly.
//!
//! Invariant: the text written for a limit is read back as that limit.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::ProblemKind;
use super::secret::WebhookUrl;
use super::tree::{Entry, Value};

/// A value, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, ProblemKind>;

/// Units of time, largest first, in microseconds.
const TIME_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of size in bytes, larger binary ones first.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// The problem of a value that is not what was expected.
pub(super) fn refused(expected: impl Into<String>, value: &Value) -> ProblemKind {
    ProblemKind::Invalid { expected: expected.into(), found: value.describe() }
}

/// A whole number in a range.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Value) -> Parsed<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |value| {
        let number = match value {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => text.to_str().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let fitting = number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        fitting.ok_or_else(|| refused(format!("a whole number from {} to {}", range.start(), range.end()), value))
    }
}

/// A number in a range.
pub(super) fn real(range: RangeInclusive<f64>) -> impl Fn(&Value) -> Parsed<f64> {
    move |value| {
        let fitting = number(value).filter(|number| range.contains(number));
        fitting.ok_or_else(|| refused(format!("a number from {} to {}", range.start(), range.end()), value))
    }
}

/// A duration in a range: numbers with units from large to small, `90s`, `1h30m`, `250ms`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Parsed<Duration> {
    move |value| {
        let fitting = value.as_text().and_then(parse_duration).filter(|duration| range.contains(duration));
        fitting.ok_or_else(|| {
            let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
            refused(
                format!("a duration from \"{least}\" to \"{most}\", such as \"250ms\", \"30s\" or \"1h30m\""),
                value,
            )
        })
    }
}

/// A size in bytes in a range: a number of bytes, or a number with a unit, `64MiB`, `1GB`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Parsed<u64> {
    move |value| {
        let bytes = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            other => other.as_text().and_then(parse_size),
        };
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (least, most) = (size_text(*range.start()), size_text(*range.end()));
            refused(format!("a size from \"{least}\" to \"{most}\", such as 65536, \"64MiB\" or \"1GB\""), value)
        })
    }
}

/// An IP address with a port. `localhost` stands for 127.0.0.1: nothing is resolved.
pub(super) fn address(value: &Value) -> Parsed<SocketAddr> {
    let parse = |text: &str| match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => text.parse().ok(),
    };
    value
        .as_text()
        .and_then(parse)
        .ok_or_else(|| refused("an IP address and a port, such as \"127.0.0.1:8000\" or \"[::1]:8000\"", value))
}

/// A path, taken as it is.
pub(super) fn path(value: &Value) -> Parsed<PathBuf> {
    let path = match value {
        Value::Text(text) => Some(PathBuf::from(text)),
        Value::Untyped(text) => Some(PathBuf::from(text)),
        _ => None,
    };
    path.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| refused("a path", value))
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Parsed<T> {
    move |value| {
        let chosen = value.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            refused(known.join(" or "), value)
        })
    }
}

/// A percentage from 0 to 100 in steps of 0.01, as hundredths of a percent.
///
/// A number is on a step exactly when it is the float nearest to a hundredth, which is what dividing by 100 rounds to.
pub(super) fn hundredths_of_a_percent(value: &Value) -> Parsed<u16> {
    let expected = "a percentage from 0 to 100 in steps of 0.01";
    let percent = number(value).filter(|percent| (0.0..=100.0).contains(percent));
    let hundredths = percent.map(|percent| (percent * 100.0).round());
    let on_step = hundredths.filter(|hundredths| Some(hundredths / 100.0) == percent);
    on_step.map(|hundredths| hundredths as u16).ok_or_else(|| refused(expected, value))
}

/// The address of a webhook. Problems do not repeat it, because it may carry a token.
pub(super) fn webhook_url(value: &Value) -> Parsed<WebhookUrl> {
    let parsed = match value {
        Value::Text(text) => WebhookUrl::try_new(text),
        other => Err(other.describe_type().to_owned()),
    };
    parsed
        .map_err(|found| ProblemKind::Invalid { expected: "an http:// or https:// URL with a host".to_owned(), found })
}

/// A name that is not empty.
pub(super) fn name(value: &Value) -> Parsed<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(refused("a name", other)),
    }
}

/// The name of a replica: what may be part of a label, a key and a document.
pub(super) fn replica(value: &Value) -> Parsed<String> {
    let fits = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
    };
    let fitting = value.as_text().filter(|text| fits(text)).map(str::to_owned);
    fitting.ok_or_else(|| refused("a name of 1 to 128 letters, digits, \".\", \"_\" or \"-\"", value))
}

/// A list of names, none of them empty.
pub(super) fn names(value: &Value) -> Parsed<Vec<String>> {
    list("an array of names, such as [\"age\", \"plan\"]", value, name)
}

/// A list of values of one kind.
pub(super) fn list<T>(expected: &str, value: &Value, parse: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let Value::List(items) = value else { return Err(refused(expected, value)) };
    let item = |item: &Entry| match parse(&item.value) {
        Err(ProblemKind::Invalid { found, .. }) => {
            Err(ProblemKind::Invalid { expected: expected.to_owned(), found: format!("{found} among them") })
        }
        other => other,
    };
    items.iter().map(item).collect()
}

/// Yes or no.
pub(super) fn flag(value: &Value) -> Parsed<bool> {
    let given = match value {
        Value::Boolean(flag) => Some(*flag),
        Value::Untyped(text) => text.to_str().and_then(|text| text.parse().ok()),
        _ => None,
    };
    given.ok_or_else(|| refused("true or false", value))
}

/// Reads numbers with units, each smaller than the one before.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut next_unit) = (text, 0_u64, 0);
    while !rest.is_empty() || next_unit == 0 {
        let (number, after) = leading_number(rest)?;
        let letters = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = TIME_UNITS.iter().position(|(name, _)| *name == &after[..letters])?;
        if unit < next_unit {
            return None;
        }
        total = total.checked_add(number.checked_mul(TIME_UNITS[unit].1)?)?;
        (rest, next_unit) = (&after[letters..], unit + 1);
    }
    Some(Duration::from_micros(total))
}

/// A duration in the form that is read, in whole microseconds: `1h30m`.
pub(super) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, microseconds) in TIME_UNITS {
        if rest >= microseconds {
            text += &format!("{}{name}", rest / microseconds);
            rest %= microseconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a number of bytes with or without a unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let bytes = if unit.is_empty() { 1 } else { SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    number.checked_mul(bytes)
}

/// A size in the form that is read, in the largest binary unit that says it exactly: `64MiB`.
pub(super) fn size_text(bytes: u64) -> String {
    let exact = SIZE_UNITS[..4].iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match exact {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A number, whole or not.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Untyped(text) => text.to_str()?.parse().ok(),
        _ => None,
    }
}

/// Digits at the front of a text, and what follows them.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}
