//! Where problems are, that all of them are reported, and that nothing else is.

use proptest::prelude::*;

use crate::error::{Blamed, Fault};

use super::super::source::VARIABLES;
use super::*;

const WRONG: &str = r#"[server]
htpt = "127.0.0.1:8000"
workers = 0

[repository]
poll_interval = "fast"
[models.churn]
engine = "tensorflow"
split = { "1" = 90,
  "two" = 10 }
[models."a b"]
drift.windw = "5m"
[[alerts.sinks]]
type = "webhook"
[[alerts.sinks]]
type = "pager"
url = "nowhere"
[extra]
"#;

#[test]
fn all_problems_of_all_sources_are_reported_in_order_with_their_places() {
    let overrides = Overrides { workers: Some("many".into()), ..Overrides::default() };
    let variables = [("TIDEGATE_HTTP", "80"), ("TIDEGATE_ADMN", "127.0.0.1:1"), ("PATH", "/bin")];
    let problems = Given::file(WRONG).variables(&variables).overrides(overrides).problems();
    let starts = [
        "tidegate.toml:2: server: unknown key \"htpt\"; did you mean \"http\"?",
        "tidegate.toml:3: server.workers: expected",
        "tidegate.toml:6: repository.poll_interval: expected",
        "tidegate.toml:8: models.churn.engine: expected",
        "tidegate.toml:10: models.churn.split.two: expected a version",
        "tidegate.toml:11: models.\"a b\": expected a model's name",
        "tidegate.toml:12: models.\"a b\".drift: unknown key \"windw\"; did you mean \"window\"?",
        "tidegate.toml:13: alerts.sinks[0]: is missing: url",
        "tidegate.toml:16: alerts.sinks[1].type: expected",
        "tidegate.toml:17: alerts.sinks[1].url: expected",
        "tidegate.toml:18: unknown key \"extra\"; known here: drift, execution, latency, errors, registry, server, repository, engine, models, state, alerts, log",
        "environment variable TIDEGATE_ADMN: no setting has this environment variable; did you mean TIDEGATE_ADMIN?",
        "environment variable TIDEGATE_HTTP: server.http: expected",
        "flag --workers: server.workers: expected a whole number from 1 to 256, found \"many\"",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\n{start}");
    }
}

#[test]
fn the_report_says_how_many_and_is_for_the_caller_to_read() {
    let problems = Given::file("a = 1\nb = 2").load().unwrap_err();
    assert!(problems.to_string().starts_with("2 problems in the settings:\n  tidegate.toml:1: unknown key \"a\""));
    assert_eq!((problems.problems().len(), problems.fault()), (2, Fault::Conflict));
    assert_eq!(problems.public_text(), problems.to_string());
    assert!(Given::file("a = 1").load().unwrap_err().to_string().starts_with("one problem in the settings:\n"));
}

#[test]
fn a_value_that_is_overridden_must_be_right_as_well() {
    let problems = Given::file("log.level = \"loud\"").variables(&[("TIDEGATE_LOG_LEVEL", "warn")]).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("tidegate.toml:1: log.level"));
}

#[test]
fn settings_to_come_are_unknown_and_not_ignored() {
    let problems = Given::file("models.churn.labels = {}").problems();
    assert!(problems.len() == 1 && problems[0].contains("unknown key"), "{problems:?}");
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_lines_and_with_the_other_sources() {
    let text = "[server]\nhttp = \nworkers = 0\nadmin = \"open\n";
    let problems =
        Given::file(text).variables(&[("TIDEGATE_WORKERS", "0"), ("TIDEGATE_SECRET", "named in the file")]).problems();
    assert!(problems.len() == 3, "{problems:?}");
    assert!(problems[0].starts_with("tidegate.toml:2: not valid TOML: "), "{problems:?}");
    assert!(problems[1].starts_with("tidegate.toml:4: not valid TOML: "), "{problems:?}");
    assert!(problems[2].starts_with("environment variable TIDEGATE_WORKERS: "), "{problems:?}");
}

#[test]
fn a_key_given_twice_is_reported_on_the_second_line() {
    let problems = Given::file("[log]\nlevel = \"info\"\nlevel = \"warn\"").problems();
    assert!(problems.len() == 1 && problems[0].starts_with("tidegate.toml:3: not valid TOML: "), "{problems:?}");
}

#[test]
fn lines_are_counted_through_windows_line_ends_and_strings_of_many_lines() {
    let problems = Given::file("x = \"\"\"\r\na\r\nb\"\"\"\r\ny = 1\r\n").problems();
    let lines: Vec<_> = problems.iter().map(|problem| problem.split_once(": ").unwrap().0).collect();
    assert_eq!(lines, ["tidegate.toml:1", "tidegate.toml:4"]);
}

#[test]
fn every_variable_is_a_setting_and_no_two_are_the_same() {
    for (name, section, key) in VARIABLES {
        let problems = Given::default().variables(&[(name, "\u{1}")]).problems_or_none();
        let expected = format!("environment variable {name}: {section}.{key}: ");
        let takes_any_text = matches!(*key, "path" | "onnxruntime");
        assert!(
            takes_any_text || problems.iter().any(|problem| problem.starts_with(&expected)),
            "{name}: {problems:?}"
        );
        assert!(problems.iter().all(|problem| !problem.contains("unknown key")), "{problems:?}");
        assert_eq!(VARIABLES.iter().filter(|row| row.0 == *name || (row.1, row.2) == (*section, *key)).count(), 1);
    }
}

#[test]
fn variables_of_the_program_that_nobody_reads_are_problems_and_those_of_others_are_not() {
    let variables = [
        ("TIDEGATE_FOO", "1"),
        ("TIDEGATE_PORT", "8000"),
        ("TIDEGATE_LOG", "debug"),
        ("TIDEGATE_CONFIG", "x"),
        ("HOME", "/"),
    ];
    let problems = Given::default().variables(&variables).problems();
    let names: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(names, ["environment variable TIDEGATE_FOO", "environment variable TIDEGATE_PORT"]);
}

#[test]
fn what_kubernetes_sets_for_a_service_of_the_same_name_is_passed_over() {
    let variables = [
        ("TIDEGATE_SERVICE_HOST", "10.0.0.11"),
        ("TIDEGATE_SERVICE_PORT", "8000"),
        ("TIDEGATE_SERVICE_PORT_HTTP", "8000"),
        ("TIDEGATE_PORT", "tcp://10.0.0.11:8000"),
        ("TIDEGATE_PORT_8000_TCP", "tcp://10.0.0.11:8000"),
        ("TIDEGATE_PORT_8000_TCP_PROTO", "tcp"),
        ("TIDEGATE_ADMIN_PORT_8002_TCP_ADDR", "10.0.0.12"),
        ("TIDEGATE_ADMIN_SERVICE_HOST", "10.0.0.12"),
    ];
    assert_eq!(Given::default().variables(&variables).load(), Ok(Config::default()));
}

#[test]
fn every_key_and_variable_is_documented() {
    let documentation = include_str!("../mod.rs");
    for (_, section, key) in VARIABLES {
        assert!(documentation.contains(&format!("| `{section}.{key}` |")), "{section}.{key}");
    }
}

#[test]
fn a_value_that_is_not_toml_is_not_repeated() {
    for text in ["server.admin_token = hunter2", "server.admin_token = \"hunter2", "server.admin_token hunter2"] {
        let problems = Given::file(text).problems();
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
    }
}

#[test]
fn a_file_nested_without_end_is_refused() {
    for text in [format!("a{} = 1", ".a".repeat(100_000)), format!("a = {}", "[".repeat(100_000))] {
        assert!(!Given::file(&text).problems().is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_the_file_says_each_problem_is_on_one_of_its_lines(text in "[\\[\\]{}a-c.=\"'1 \n\r#é]{0,60}") {
        let problems = Given::file(&text).load().err();
        for problem in problems.iter().flat_map(ConfigProblems::problems) {
            let Origin::Line(line) = problem.origin else { panic!("{problem:?}") };
            prop_assert!((1..=text.split('\n').count()).contains(&line), "{problem:?}");
        }
    }
}

impl Given<'_> {
    fn problems_or_none(&self) -> Vec<String> {
        if self.load().is_ok() { Vec::new() } else { self.problems() }
    }
}
