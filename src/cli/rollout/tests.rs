//! What is asked and what is printed. The command as a process is tested from outside.

use super::*;
use crate::config::OnTimeout;
use crate::detect::Interval;
use crate::detect::two_arm::Effect;
use crate::rollout::test_support::view;
use crate::rollout::{ExplainedEntry, Judgement, MetricJudgement, Pause, Phase, Progress, TestArm, TestView, Verdict};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    rollout: RolloutArgs,
}

fn asked(words: &[&str]) -> (Method, String, String, Value) {
    let line = Line::try_parse_from([&["rollout"], words].concat()).unwrap_or_else(|error| panic!("{error}"));
    let ask = Ask::of(&line.rollout.command);
    let query: Vec<String> = ask.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (ask.method.clone(), ask.path.join("/"), query.join("&"), ask.body.unwrap_or_default())
}

fn metric(metric: &str, verdict: Verdict, summary: &str) -> MetricJudgement {
    MetricJudgement {
        metric: metric.to_owned(),
        verdict,
        ln_evidence: 1.234_5,
        ln_threshold: 6.907_7,
        effect: Some(Effect { value: 0.001_23, interval: Interval { low: -0.002, high: 0.0045 } }),
        tolerance: 0.001,
        canary: 480,
        stable: 9_520,
        summary: summary.to_owned(),
    }
}

fn progress() -> Progress {
    Progress {
        next: Phase::Canary { step: 2 },
        next_weight: 25.0,
        requests: 480,
        min_requests: 500,
        seconds: 60.2,
        min_seconds: 120.0,
        max_seconds: Some(3_600.0),
        on_timeout: Some(OnTimeout::Hold),
        missing: vec!["20 more requests of version 2 (480 of 500)".to_owned(), "1m more".to_owned()],
    }
}

fn judgement() -> Judgement {
    Judgement::of(vec![
        metric("errors", Verdict::Pass, "no worse"),
        metric("latency", Verdict::NotEnoughData, "480 of 500 requests"),
    ])
}

#[test]
fn every_command_asks_its_route() {
    let get = |path: &str, query: &str| (Method::GET, format!("api/v1/rollouts{path}"), query.to_owned(), Value::Null);
    let post = |path: &str, body: Value| (Method::POST, format!("api/v1/rollouts/{path}"), String::new(), body);
    assert_eq!(asked(&["list"]), get("", ""));
    assert_eq!(asked(&["show", "churn"]), get("/churn", ""));
    assert_eq!(asked(&["explain", "churn", "--id", "3f9a"]), get("/churn/explain", "id=3f9a"));
    assert_eq!(asked(&["start", "churn"]), post("churn/start", json!({})));
    let test = ["start", "churn", "--version", "2", "--test", "errors", "--weight", "50", "--generation", "7"];
    let body = json!({ "version": 2, "test": { "question": "errors", "weight": 50.0 }, "generation": 7 });
    assert_eq!(asked(&test), post("churn/start", body));
    for order in ["pause", "resume", "promote"] {
        assert_eq!(asked(&[order, "churn"]), post(&format!("churn/{order}"), json!({})));
        let bound = post(&format!("churn/{order}"), json!({ "generation": 7 }));
        assert_eq!(asked(&[order, "churn", "--generation", "7"]), bound);
    }
    assert_eq!(asked(&["abort", "churn"]), post("churn/abort", json!({})));
}

#[test]
fn what_makes_no_sense_is_no_command() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["show"],
        &["start", "churn", "--test", "errors"],
        &["start", "churn", "--weight", "50"],
        &["abort", "churn", "--generation", "7"],
        &["explain"],
        &["explain", "churn", "--from", "kept.json"],
    ];
    for words in wrong {
        assert!(Line::try_parse_from([&["rollout"], words].concat()).is_err(), "{words:?}");
    }
    assert!(Line::try_parse_from(["rollout", "list", "--json", "--admin", "10.0.0.3:8002"]).is_ok());
}

#[test]
fn a_gateway_on_every_address_is_reached_on_this_machine() {
    let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
    assert_eq!(["0.0.0.0:1", "[::]:1", "10.0.0.3:1"].map(reached), ["127.0.0.1:1", "[::1]:1", "10.0.0.3:1"]);
    assert_eq!(address("gate.example:8002").unwrap().as_str(), "http://gate.example:8002/");
    assert_eq!(address("https://gate.example/admin").unwrap().as_str(), "https://gate.example/admin");
    assert!(address("http://u:p@gate").is_err());
}

#[test]
fn a_list_is_a_table_and_says_when_it_is_empty() {
    assert_eq!(show::list(&[], 0), "no model has had a rollout\n");
    let views = [view("churn", Phase::Canary { step: 1 }, Some(Pause::Gate)), view("digits", Phase::RolledBack, None)];
    let text = show::list(&views, 3_602_000);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "MODEL   VERSIONS  PHASE                        SHARE  SINCE  ROLLOUT  WHY");
    assert_eq!(lines[1], "churn   1 -> 2    canary, step 2, waits: gate  5 %    1h     3f9a1c   step 1 passed");
    assert_eq!(lines[2], "digits  1 -> 2    rolled back                  5 %    1h     3f9a1c   step 1 passed");
}

#[test]
fn a_rollout_is_shown_with_what_it_needs_and_the_numbers_of_its_last_look() {
    let mut view = view("churn", Phase::Canary { step: 1 }, Some(Pause::Gate));
    view.judgement = Some(judgement());
    view.progress = Some(progress());
    view.problem = Some("the disk is full".to_owned());
    let text = show::rollout(&view, 62_000);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "churn: version 2 after version 1, rollout 3f9a1c, generation 7");
    assert_eq!(lines[1], "phase      canary, step 2 since 1970-01-01T00:00:02Z (1m)");
    for line in [
        "share      5 %",
        "why        step 1 passed",
        "problem    the disk is full",
        "to go on   its plan wants somebody's word: `tidegate rollout resume churn` goes on",
        "progress   480 of 500 requests needed, 1m of at least 2m; next is canary, step 3 at 25 %; without a verdict after \
         1h: hold",
        "to go on   20 more requests of version 2 (480 of 500)",
        "to go on   1m more",
        "last look  not enough data",
        "           METRIC   VERDICT          EVIDENCE  NEEDED  CANARY  STABLE  DIFFERENCE, 95 %          TOLERATED",
        "           errors   pass             e^1.23    e^6.91  480     9520    0.00123 [-0.002, 0.0045]  0.001",
    ] {
        assert!(lines.contains(&line), "{line}\n{text}");
    }
    view.phase = Phase::Shadow;
    assert!(show::rollout(&view, 62_000).contains("\nprogress   480 of 500 copies needed"));
    view.phase = Phase::Done;
    assert!(!show::rollout(&view, 62_000).contains("to go on"), "what has ended needs nothing");
}

#[test]
fn what_failed_is_said_once_as_the_reason_where_it_stands_there_for_it() {
    let mut view = view("churn", Phase::RolledBack, None);
    let failed = Judgement::of(vec![metric("errors", Verdict::Fail, "worse"), metric("quality", Verdict::Fail, "NaN")]);
    view.judgement = Some(failed);
    view.reason = "errors: worse; quality: NaN".to_owned();
    let text = show::rollout(&view, 62_000);
    assert_eq!((text.matches("errors: worse").count(), text.matches("quality: NaN").count()), (1, 1), "{text}");
    view.guards.clone_from(&view.judgement);
    assert!(!show::rollout(&view, 62_000).contains("\nguards"), "what they decided is the last look");
    view.reason = "aborted by somebody".to_owned();
    let text = show::rollout(&view, 62_000);
    assert!(text.contains("\n           errors: worse\n           quality: NaN\n"), "{text}");
}

#[test]
fn a_test_is_shown_with_the_unit_of_its_effect_and_both_arms() {
    let mut view = view("churn", Phase::Testing, None);
    let mut test = TestView {
        question: "output/score".to_owned(),
        unit: "mean of output/score".to_owned(),
        effect: Some(Effect { value: 0.031_2, interval: Interval { low: 0.02, high: 0.042_4 } }),
        confidence: 0.95,
        canary: 480,
        stable: 520,
        canary_arm: Some(TestArm { mean: Some(0.251), values: 478 }),
        stable_arm: Some(TestArm { mean: None, values: 0 }),
    };
    view.test = Some(test.clone());
    let said = "\ntest       mean of output/score: difference 0.0312 [0.02, 0.0424], with an interval that holds at all times at \
                0.95\n           version 2: 0.251, of 478 values in 480 requests\n           version 1: unknown, of 0 values in \
                520 requests\n";
    let text = show::rollout(&view, 62_000);
    assert!(text.contains(said), "{text}");
    (test.effect, test.unit, test.canary_arm, test.stable_arm) = (None, String::new(), None, None);
    view.test = Some(test);
    let text = show::rollout(&view, 62_000);
    assert!(text.contains("\ntest       output/score: difference not to be said yet\n"), "of an older gateway: {text}");
}

#[test]
fn an_explanation_has_every_entry_and_says_what_does_not_follow_again() {
    let entry = |sequence, replayed: Option<bool>, entry: Value| ExplainedEntry {
        sequence,
        at: 2_000,
        summary: format!("entry {sequence}"),
        entry,
        replayed,
        judged: (replayed == Some(false)).then(|| Judgement::of(vec![metric("errors", Verdict::Fail, "2 of 3")])),
    };
    let failed =
        Judgement::of(vec![metric("errors", Verdict::Pass, "no worse"), metric("latency", Verdict::Fail, "worse")]);
    let decision = json!({ "decision": { "counts": [{}], "judgement": failed } });
    let entries = vec![
        entry(1, None, json!({ "kind": "started" })),
        entry(2, Some(true), decision.clone()),
        entry(3, Some(false), decision),
    ];
    let explanation = Explanation { rollout: view("churn", Phase::Canary { step: 1 }, None), entries };
    let text = explain::text(&explanation);
    for line in [
        "#1 1970-01-01T00:00:02Z  entry 1",
        "    errors   pass     e^1.23    e^6.91  480     9520    0.00123 [-0.002, 0.0045]  0.001",
        "    latency: worse",
        "    made again from these counts: identical",
        "    made again from these counts: NOT IDENTICAL",
        "    errors: 2 of 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("no worse"), "what passed is in the table: {text}");
    assert_eq!(explain::not_identical(&explanation), 1);
}

#[test]
fn numbers_have_three_digits_that_say_something_and_times_are_of_a_calendar() {
    let shown = [0.0, 1.0, 1_234.5, 0.000_123_45, -0.5, 99.95, 1e-20].map(words::number);
    assert_eq!(shown, ["0", "1", "1234", "0.000123", "-0.5", "100", "0"].map(str::to_owned));
    assert_eq!(words::number(f64::NAN), "NaN");
    assert_eq!(words::time(u64::MAX), "1970-01-01T00:00:00Z");
    assert_eq!(words::ago(5_000, 65_000), "0s", "a clock that is behind");
    assert_eq!(words::ago(90_061_000, 0), "1day 1h");
}

#[test]
fn a_long_reason_is_cut_in_a_table() {
    let long = RolloutView { reason: "é ".repeat(100), ..view("churn", Phase::Baking, None) };
    let text = show::list(&[long], 0);
    assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("é…") && line.chars().count() < 130), "{text}");
}
