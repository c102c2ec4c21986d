//! Where log lines go and how they look.
//!
//! Logs are for operators: a constant message, facts as fields, one line per event, on standard error so that standard
//! output stays free for what a command prints. `TIDEGATE_LOG` takes the filter syntax of `tracing-subscriber`.
//!
//! A panic is a line like any other: the default hook writes a backtrace of a hundred lines that no collector can read, and
//! one inside an engine may come with every request.
//!
//! Invariant: nothing below `warn` is logged because of what a client sent.

use super::bars::{self, AboveBars};
use super::limit::{LineLimit, uptime_seconds};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use tracing_subscriber::EnvFilter;

/// Panics that are logged in one second.
const PANICS_PER_SECOND: u32 = 10;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// A number as people read it: with a comma before every third digit from the right.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as people and the settings write them: `1.5MiB`.
#[must_use]
pub fn sized(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.into_iter().find(|(_, shift)| bytes >> shift >= 1) {
        Some((unit, shift)) => format!("{:.1}{unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes}B"),
    }
}

/// Starts logging for the whole process; later calls change nothing.
pub fn start(format: LogFormat, level: &str) {
    let filter = std::env::var("TIDEGATE_LOG").unwrap_or_else(|_unset| {
        // tract logs its optimiser's steps at info and below: noise for everyone but its authors.
        format!("{level},tract_core=error,tract_onnx=error,tract_hir=error,ort=warn,hyper=warn")
    });
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_invalid| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start in one process (tests) finds a subscriber in place and keeps it.
    let started = match format {
        LogFormat::Text if bars::enable() => builder.with_ansi(true).with_writer(AboveBars).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Logs a panic: what, where, in which thread.
fn log_panic(panic: &PanicHookInfo<'_>) {
    static LIMIT: LineLimit = LineLimit::new(PANICS_PER_SECOND);
    let Some(suppressed) = LIMIT.admit(uptime_seconds()) else { return };
    let cause = panic.payload_as_str().unwrap_or("a panic without a text");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(cause, location, thread = thread.name().unwrap_or_default(), suppressed, "panicked");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::CapturedLog;

    #[test]
    fn a_panic_is_one_line_with_its_text_place_and_thread() {
        let log = CapturedLog::default();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let writer = log.clone();
        let thread = std::thread::Builder::new().name("worker-of-test".into()).spawn(move || {
            let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
            tracing::subscriber::with_default(subscriber, || panic!("the engine gave {}", "up"));
        });
        assert!(thread.unwrap().join().is_err());
        std::panic::set_hook(before);
        let lines = log.text();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        for text in ["ERROR", "panicked", "the engine gave up", "src/telemetry/logs.rs", "worker-of-test"] {
            assert!(lines.contains(text), "{text} is not in: {lines}");
        }
    }

    #[test]
    fn sizes_are_read_by_people() {
        let said = [0, 1023, 1024, 3 << 19, 20 << 30, 5 << 40].map(sized);
        assert_eq!(said, ["0B", "1023B", "1.0KiB", "1.5MiB", "20.0GiB", "5.0TiB"]);
    }

    #[test]
    fn thousands_are_apart() {
        let said = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(said, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
