//! Times of rows, as files have them.
//!
//! Invariant: a number that cannot be seconds since 1970 is refused and not taken for some other unit.

use crate::profile::hour_of_week;

/// The year 3000 in seconds since 1970: later times are milliseconds that somebody took for seconds.
const LATEST: f64 = 32_503_680_000.0;
const NANOSECONDS: i64 = 1_000_000_000;

/// The hour of the week of seconds since 1970, or what was expected.
pub(super) fn hour_of_seconds(seconds: f64) -> Result<u8, &'static str> {
    if seconds.abs() < LATEST { Ok(hour_of_week(seconds.floor() as i64)) } else { Err("a time in seconds since 1970") }
}

/// The hour of the week of a time as text: RFC 3339, where no offset means UTC, or seconds since 1970.
pub(super) fn hour_of_text(text: &str) -> Result<u8, &'static str> {
    if let Ok(seconds) = text.parse::<f64>() {
        return hour_of_seconds(seconds);
    }
    match arrow_cast::parse::string_to_timestamp_nanos(text) {
        Ok(nanoseconds) => Ok(hour_of_week(nanoseconds.div_euclid(NANOSECONDS))),
        Err(_) => Err("a time in RFC 3339 or in seconds since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_forms_have_the_hour_they_say() {
        // A Monday.
        for (text, hour) in [
            ("2026-11-23T00:00:00Z", 0),
            ("2026-11-23T01:59:59.999+00:00", 1),
            ("2026-11-23T01:30:00+02:00", 167),
            ("2026-11-23 05:00:00", 5),
            ("0", 72),
            ("-0.5", 71),
            ("1795392000", 0),
        ] {
            assert_eq!(hour_of_text(text), Ok(hour), "{text}");
        }
        for text in ["", "soon", "NaN", "inf", "1795392000000", "2026-13-01T00:00:00Z"] {
            assert!(hour_of_text(text).is_err(), "{text}");
        }
    }
}
