//! Findings as lines for people and as one object for programs.
//!
//! ```text
//!  {"tidegate": "0.1.0",                  the release that looked
//!   "healthy": false,                     whether nothing is a problem, as the exit code says
//!   "counts": {"ok": 9, "warning": 1, "problem": 1, "skipped": 2},
//!   "checks": [{"check": "registry api", "status": "problem", "found": "…", "expected": "…", "remedy": "…"}, …]}
//! ```
//! `expected` and `remedy` are there where they say something.
//!
//! Invariant: both forms have every finding, in the order of the checks.

use super::finding::{Finding, Status};
use std::fmt::Write as _;

/// The width of the names of checks, which a longer one exceeds.
const CHECKS: usize = 20;

/// A finding as lines.
pub(super) fn lines(finding: &Finding) -> String {
    let mut text = String::new();
    let parts = [Some(("", &finding.found)), label("expected: ", &finding.expected), label("do: ", &finding.remedy)];
    let mut first = format!("{:<8} {:<CHECKS$} ", word(finding.status), finding.check);
    for (label, said) in parts.into_iter().flatten() {
        for line in format!("{label}{said}").lines() {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{first}{line}");
            first = " ".repeat(8 + 1 + CHECKS + 1);
        }
    }
    text.trim_end().to_owned()
}

/// How many findings there are of each kind.
pub(super) fn summary(findings: &[Finding]) -> String {
    let [ok, warnings, problems, skipped] = counts(findings);
    format!("{ok} ok, {warnings} warning(s), {problems} problem(s), {skipped} skipped")
}

/// All findings as one object.
pub(super) fn json(findings: &[Finding]) -> String {
    let [ok, warning, problem, skipped] = counts(findings);
    let document = serde_json::json!({
        "tidegate": env!("CARGO_PKG_VERSION"),
        "healthy": problem == 0,
        "counts": { "ok": ok, "warning": warning, "problem": problem, "skipped": skipped },
        "checks": findings,
    });
    format!("{document:#}")
}

fn counts(findings: &[Finding]) -> [usize; 4] {
    let kinds = [Status::Ok, Status::Warning, Status::Problem, Status::Skipped];
    kinds.map(|kind| findings.iter().filter(|finding| finding.status == kind).count())
}

fn label<'a>(label: &'static str, said: &'a Option<String>) -> Option<(&'static str, &'a String)> {
    said.as_ref().map(|said| (label, said))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Problem => "problem",
        Status::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("engine", "ONNX Runtime 1.32.0"),
            Finding::problem("registry api", "403\nInvalid Host header", "set A").expected("200"),
            Finding::skipped("clock", "no answer"),
        ]
    }

    #[test]
    fn lines_stand_below_each_other_whatever_they_say() {
        let text: Vec<String> = findings().iter().map(lines).collect();
        assert_eq!(text[0], "ok       engine               ONNX Runtime 1.32.0");
        let blank = " ".repeat(30);
        let expected = format!(
            "problem  registry api         403\n{blank}Invalid Host header\n{blank}expected: 200\n{blank}do: set A"
        );
        assert_eq!(text[1], expected);
        assert_eq!(summary(&findings()), "1 ok, 0 warning(s), 1 problem(s), 1 skipped");
    }

    #[test]
    fn the_object_has_every_finding_and_the_verdict() {
        let read: serde_json::Value = serde_json::from_str(&json(&findings())).unwrap();
        assert_eq!(read["healthy"], false);
        assert_eq!(read["counts"], serde_json::json!({ "ok": 1, "warning": 0, "problem": 1, "skipped": 1 }));
        let problem = serde_json::json!({
            "check": "registry api", "status": "problem", "found": "403\nInvalid Host header", "expected": "200",
            "remedy": "set A",
        });
        assert_eq!(read["checks"][1], problem);
        assert!(read["checks"][0].get("remedy").is_none());
    }
}
