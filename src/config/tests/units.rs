//! Durations and sizes.

use proptest::prelude::*;

use super::super::values::{duration_text, parse_duration, parse_size, size_text};
use super::*;

#[test]
fn durations_have_units_from_large_to_small() {
    for (text, microseconds) in [
        ("0s", 0),
        ("1us", 1),
        ("250ms", 250_000),
        ("90s", 90_000_000),
        ("1h30m", 5_400_000_000),
        ("1d2h3m4s5ms6us", 93_784_005_006),
    ] {
        assert_eq!(parse_duration(text), Some(Duration::from_micros(microseconds)), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in [
        "",
        "5",
        "s",
        "5 s",
        "1.5s",
        "-1s",
        "5S",
        "1m1h",
        "5s5s",
        "5s ",
        "5min",
        "99999999999999999999s",
        "999999999d",
        "1s1",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes_are_bytes_or_have_a_unit() {
    for (text, bytes) in
        [("0", 0), ("65536", 65_536), ("1B", 1), ("1KB", 1_000), ("64MiB", 64 << 20), ("1 GB", 1_000_000_000)]
    {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "B", "1kb", "1MIB", "1.5GB", "-1", "1  GB", "1GB ", "1PB", "99999999999TiB"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_duration_written_is_the_duration_read(microseconds: u64) {
        let duration = Duration::from_micros(microseconds);
        prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
    }

    #[test]
    fn a_size_written_is_the_size_read(bytes: u64, shift in 0_u32..64) {
        prop_assert_eq!(parse_size(&size_text(bytes << shift)), Some(bytes << shift));
    }
}
