//! Lines at the bottom of a terminal that are drawn anew, below log lines that go on upwards.
//!
//! Both are written to standard error, so that both go through here: a log line first takes the drawn lines away, is
//! written where they stood, and has them drawn again below it. Where standard error is no terminal, or logs are for
//! programs, nothing is ever drawn.
//!
//! Invariant: between two calls the cursor is at the start of the line below the last drawn one, and no drawn line is
//! longer than the terminal is wide.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The most lines that are drawn.
pub const MOST_LINES: usize = 8;
/// The width of a terminal that does not say.
const USUAL_WIDTH: usize = 80;

/// Whether lines may be drawn.
static ENABLED: AtomicBool = AtomicBool::new(false);
/// What is drawn now.
static DRAWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Allows lines to be drawn if standard error is a terminal that can; whether they are.
pub(super) fn enable() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let enabled = io::stderr().is_terminal() && !is_dumb;
    ENABLED.store(enabled, Ordering::Relaxed);
    enabled
}

/// Whether [`show`] shows anything.
#[must_use]
pub fn are_shown() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Draws these lines in place of those before, at most [`MOST_LINES`] of them; none takes them away.
pub fn show(mut lines: Vec<String>) {
    if !are_shown() {
        return;
    }
    let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    let width = if width == 0 { USUAL_WIDTH } else { width };
    lines.truncate(MOST_LINES);
    lines
        .iter_mut()
        .for_each(|line| *line = line.chars().filter(|letter| !letter.is_control()).take(width - 1).collect());
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if *drawn != lines {
        // What cannot be drawn must not stop what it is about.
        let _ = redraw(&mut io::stderr().lock(), drawn.len(), &[], &lines);
        *drawn = lines;
    }
}

/// Takes so many drawn lines away, writes what is to stand in their place, and draws lines below it: in one write, so
/// that a terminal shows nothing in between.
fn redraw(out: &mut impl Write, drawn: usize, between: &[u8], lines: &[String]) -> io::Result<()> {
    let mut bytes = Vec::new();
    if drawn > 0 {
        // Up so many lines, then everything below is erased.
        write!(bytes, "\r\x1b[{drawn}A\x1b[J")?;
    }
    bytes.extend_from_slice(between);
    for line in lines {
        writeln!(bytes, "{line}")?;
    }
    out.write_all(&bytes)?;
    out.flush()
}

/// Where log lines go while lines may be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
        redraw(&mut io::stderr().lock(), drawn.len(), line, &drawn)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for AboveBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redrawn(drawn: usize, between: &str, lines: &[&str]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let mut out = Vec::new();
        redraw(&mut out, drawn, between.as_bytes(), &lines).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_log_line_stands_above_what_is_drawn() {
        assert_eq!(redrawn(0, "", &["a", "b"]), "a\nb\n");
        assert_eq!(redrawn(2, "INFO a line\n", &["a", "b"]), "\r\x1b[2A\x1b[JINFO a line\na\nb\n");
        assert_eq!(redrawn(2, "", &[]), "\r\x1b[2A\x1b[J");
        assert_eq!(redrawn(0, "INFO a line\n", &[]), "INFO a line\n");
    }

    #[test]
    fn without_a_terminal_that_was_asked_for_nothing_is_drawn() {
        show(vec!["a".to_owned()]);
        assert!(!are_shown() && DRAWN.lock().unwrap().is_empty());
    }
}
