//! How far a long reading is.
//!
//! On a terminal one line that is written over itself; elsewhere, where lines are kept, a line every few seconds. On
//! standard error, because standard output is the command's answer.
//!
//! Invariant: a reading of less than a moment says nothing.

use crate::telemetry::logs::grouped;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The progress of one reading.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    terminal: bool,
    started: Instant,
    said: Instant,
    wrote: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, terminal: std::io::stderr().is_terminal(), started: now, said: now, wrote: false }
    }

    /// Says so, if it is time, that `rows` rows are read, which is `share` of the file.
    pub(super) fn at(&mut self, rows: u64, share: f64) {
        let every = if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.said.elapsed() < every {
            return;
        }
        self.said = Instant::now();
        let line = line(self.what, rows, share, self.started.elapsed());
        let (before, after) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        self.write(&format!("{before}{line}{after}"));
    }

    fn write(&mut self, text: &str) {
        let mut out = std::io::stderr().lock();
        // Progress that cannot be shown must not stop what progresses.
        _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.wrote = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.wrote {
            self.write("\r\x1b[K");
        }
    }
}

fn line(what: &str, rows: u64, share: f64, elapsed: Duration) -> String {
    let rate = (rows as f64 / elapsed.as_secs_f64().max(1e-3)) as u64;
    let percent = (share * 100.0).clamp(0.0, 100.0);
    format!("{what}: {} rows, {} rows/s, {percent:.0} % of the file", grouped(rows), grouped(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rows_speed_and_share() {
        let said = line("first reading", 1_234_567, 0.456, Duration::from_secs(10));
        assert_eq!(said, "first reading: 1,234,567 rows, 123,456 rows/s, 46 % of the file");
    }
}
