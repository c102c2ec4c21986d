//! Where log lines go and how they look.
//!
//! Logs are for operators: a constant message, facts as fields, one line per event, on standard error so that standard
//! output stays free for what a command prints. `TIDEGATE_LOG` takes the filter syntax of `tracing-subscriber`.
//!
//! Invariant: nothing below `warn` is logged because of what a client sent.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
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
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
