//! Numbers and times as people read them.
//!
//! Invariant: nothing here writes a character that HTML would take for markup.

use crate::alert::rules::rfc3339;
use std::time::Duration;

const DAY: u64 = 86_400;

/// `1m`, `5m`, `1h`, `24h`, `7d`: a single day is 24 hours, as people say.
#[must_use]
pub fn length_name(length: Duration) -> String {
    let seconds = length.as_secs();
    if length.subsec_nanos() == 0 && seconds == DAY {
        "24h".to_owned()
    } else if length.subsec_nanos() == 0 && seconds > DAY && seconds.is_multiple_of(DAY) {
        format!("{}d", seconds / DAY)
    } else {
        humantime::format_duration(length).to_string().replace(' ', "")
    }
}

/// A unix time in whole seconds, `2026-09-21 14:13:20 UTC`.
pub(super) fn moment(unix: Duration) -> String {
    when(&rfc3339(unix))
}

/// An RFC 3339 time to the second, as people write it; other text as it is.
pub(super) fn when(rfc3339: &str) -> String {
    let known = rfc3339.get(..19).filter(|_| rfc3339.ends_with('Z'));
    known.map_or_else(|| rfc3339.to_owned(), |text| text.replace('T', " ") + " UTC")
}

/// Four digits, so that JSON stays small and says no more than is known; 0 for what is not finite.
pub(super) fn rounded(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.3e}").parse().unwrap_or(0.0) } else { 0.0 }
}

/// Three digits, for what is known to within 2 %.
pub(super) fn coarse(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.2e}").parse().unwrap_or(0.0) } else { 0.0 }
}

/// A distance or a number like it: `0.012`, `1.25`, `31`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 0.0005 {
        "0".to_owned()
    } else if size < 1.0 {
        format!("{value:.3}")
    } else if size < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// A share as percent, without the sign: `0` for none at all, `0.00` for hardly any, `0.25`, `12.5`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent <= 0.0 {
        "0".to_owned()
    } else if percent < 9.995 {
        format!("{percent:.2}")
    } else {
        format!("{percent:.1}")
    }
}

/// A count with its thousands set apart: `12,345`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time that something took: `420 µs`, `1.25 ms`, `3.1 s`.
pub(super) fn took(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{} ms", number(seconds * 1e3))
    } else {
        format!("{} s", number(seconds))
    }
}

/// A length of time in the largest unit that suits it: `40 s`, `12 min`, `25.6 h`.
pub(super) fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        _ if seconds < 120.0 => (seconds, "s"),
        _ if seconds < 7_200.0 => (seconds / 60.0, "min"),
        _ => (seconds / 3_600.0, "h"),
    };
    format!("{} {unit}", format!("{value:.1}").trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_named_as_people_write_them() {
        let lengths = [2, 60, 300, 5_400, 3_600, 86_400, 172_800, 604_800, 90_000];
        let names = lengths.map(|seconds| length_name(Duration::from_secs(seconds)));
        assert_eq!(names, ["2s", "1m", "5m", "1h30m", "1h", "24h", "2d", "7d", "1day1h"]);
        assert_eq!(length_name(Duration::from_millis(2_500)), "2s500ms");
        assert_eq!(rfc3339(Duration::MAX), "9999-12-31T23:59:59.000Z");
        assert_eq!(moment(Duration::from_secs(1_790_000_000)), "2026-09-21 14:13:20 UTC");
    }

    #[test]
    fn numbers_have_as_many_digits_as_one_reads() {
        assert_eq!(
            [0.0, 0.0004, 0.0123, 0.5, 1.0, 9.876, 12.3].map(number),
            ["0", "0", "0.012", "0.500", "1.00", "9.88", "12"]
        );
        assert_eq!(
            [0.0, 1e-5, 0.002_5, 0.099_96, 0.125, 1.0].map(percent),
            ["0", "0.00", "0.25", "10.0", "12.5", "100.0"]
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([4.2e-4, 1.25e-3, 3.0].map(took), ["420 µs", "1.25 ms", "3.00 s"]);
        assert_eq!([40.0, 720.0, 92_160.0].map(span), ["40 s", "12 min", "25.6 h"]);
        let texts = [0.123_456, f64::NAN, f64::INFINITY, -1234.56].map(|value| rounded(value).to_string());
        assert_eq!(texts, ["0.1235", "0", "0", "-1235"]);
        assert_eq!([0.123_456, f64::NAN].map(|value| coarse(value).to_string()), ["0.123", "0"]);
    }
}
