//! Each bad value, and the ends of each range.

use super::*;

/// The only problem of a file, without its name and line.
fn problem(text: &str) -> String {
    let given = Given::file(text);
    let problems = given.problems();
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems[0].split_once(": ").unwrap().1.to_owned()
}

/// Section, key, values that are accepted, values that are not.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    (
        "server",
        "http",
        &[r#""localhost:80""#, r#""[::1]:0""#],
        &[r#""8000""#, r#"":8000""#, r#""example.com:80""#, "8000"],
    ),
    (
        "server",
        "admin",
        &[r#""127.9.9.9:1""#, r#""[::ffff:127.0.0.1]:1""#],
        &[r#""127.0.0.1:65536""#, r#""0.0.0.0:1""#],
    ),
    ("server", "admin_token", &[r#"{ file = "/run/token" }"#], &["5", r#""x""#, r#"{ env = 5 }"#, r#"{ file = "" }"#]),
    ("server", "workers", &["1", "256", "0x10"], &["0", "257", "-1", "1.5", r#""4""#, "99999999999999999999"]),
    ("server", "max_connections", &["1", "1_000_000"], &["0", "1000001"]),
    ("server", "max_body", &["1024", r#""4GiB""#], &["1023", r#""5GiB""#, "-1", r#""64 mib""#, "1e6"]),
    ("server", "body_timeout", &[r#""100ms""#, r#""1h""#], &[r#""0s""#, r#""61m""#]),
    ("server", "idle_timeout", &[r#""100ms""#, r#""60m""#], &[r#""0s""#, r#""2h""#]),
    ("server", "drain_timeout", &[r#""0s""#, r#""1h""#], &[r#""-1s""#, r#""1h1us""#]),
    ("server", "replica", &[r#""gateway-1""#, r#""a.b_C""#], &[r#""""#, r#""a b""#, r#""a/b""#, "1"]),
    ("repository", "path", &[r#"".""#], &[r#""""#, "1", "[]"]),
    ("repository", "poll_interval", &[r#""100ms""#, r#""1h""#], &[r#""50ms""#, r#""1d""#]),
    ("repository", "bake", &[r#""0s""#, r#""24h""#], &[r#""25h""#, "true"]),
    ("repository", "memory_budget", &[r#""1MiB""#, r#""1024TiB""#], &["1", r#""1025TiB""#]),
    ("engine", "onnxruntime", &[r#"".""#], &[r#""""#, "1979-05-27"]),
    ("execution", "inline_limit", &[r#""0s""#, r#""1h""#], &["500", r#""2h""#]),
    ("execution", "instances", &["1", "64"], &["0", "65"]),
    ("execution", "threads", &["1", "256"], &["0", "257"]),
    ("execution", "queue", &["1", "65536"], &["0", "65537"]),
    ("execution", "max_batch", &["1", "65536"], &["0", "65537"]),
    ("execution", "batch_delay", &[r#""0s""#, r#""100us""#, r#""1m""#], &["100", r#""61s""#]),
    ("execution", "timeout", &[r#""1ms""#, r#""1h""#], &[r#""0s""#, r#""61m""#]),
    ("drift", "preset", &[r#""default""#, r#""classic""#, r#""evidently""#], &[r#""best""#, "1"]),
    ("drift", "window", &[r#""2s""#, r#""1d""#], &[r#""1999ms""#, r#""2d""#]),
    ("drift", "min_samples", &["1", "1000000000"], &["0", "1000000001"]),
    ("drift", "threshold", &["0.001", "100"], &["0", "101", "nan", "inf", r#""0.1""#]),
    ("drift", "resolve_threshold", &["0", "0.1"], &["-0.01", "0.1001", "nan"]),
    ("drift", "pending_for", &[r#""0s""#, r#""1d""#], &[r#""2d""#]),
    ("drift", "resolve_after", &[r#""0s""#, r#""1d""#], &[r#""2d""#]),
    ("drift", "max_features", &["1", "65536"], &["0", "65537"]),
    ("drift", "false_pages_per_month", &["0.0001", "100"], &["0", "101", "nan"]),
    ("drift", "tolerance", &["0", "1"], &["-0.1", "1.1"]),
    ("drift", "effect_floor", &["0", "1"], &["-0.1", "1.1"]),
    (
        "drift",
        "windows",
        &["[]", r#"["2s", "7d"]"#, r#"["2s", "3s", "4s", "5s", "6s", "7s"]"#],
        &[
            r#""1m""#,
            r#"["1s"]"#,
            r#"["8d"]"#,
            "[60]",
            r#"["1m", "60s"]"#,
            r#"["2s", "3s", "4s", "5s", "6s", "7s", "8s"]"#,
        ],
    ),
    ("drift", "half_life", &[r#""10s""#, r#""30d""#], &[r#""9s""#, r#""31d""#]),
    ("drift", "seasonal", &["true", "false"], &["1", r#""yes""#]),
    ("drift", "seasonal_weeks", &["1", "52"], &["0", "53"]),
    ("drift", "seasonal_memory", &[r#""1MiB""#, r#""4GiB""#], &["1", r#""5GiB""#]),
    ("drift", "learn_rows", &["0", "1000000000"], &["-1", "1000000001"]),
    ("drift", "bins_exported", &["[]", r#"["age"]"#], &[r#""age""#, r#"[""]"#]),
    (
        "drift",
        "segment",
        &[r#"{ feature = "plan" }"#, r#"{ header = "x-tenant", max_values = 64 }"#],
        &[
            r#""plan""#,
            "{}",
            "{ max_values = 2 }",
            r#"{ feature = "" }"#,
            r#"{ feature = "plan", header = "x-tenant" }"#,
            r#"{ feature = "plan", max_values = 0 }"#,
            r#"{ feature = "plan", max_values = 65 }"#,
        ],
    ),
    ("drift", "critical", &[], &[r#"["age"]"#]),
    ("latency", "p99_limit", &[r#""1us""#, r#""1h""#], &[r#""0s""#, r#""2h""#]),
    ("latency", "rule", &[r#""sequential""#, r#""p99""#], &[r#""p50""#, "1"]),
    ("latency", "allowed_rate", &["0.00001", "0.5"], &["0", "0.6", "nan"]),
    ("errors", "allowed_rate", &["0.00001", "0.5"], &["0", "0.6", "nan"]),
    ("latency", "window", &[r#""2s""#, r#""1d""#], &[r#""1s""#]),
    ("latency", "min_requests", &["1"], &["0"]),
    ("latency", "pending_for", &[r#""0s""#], &[r#""2d""#]),
    ("latency", "resolve_after", &[r#""0s""#], &[r#""2d""#]),
    ("models.churn", "engine", &[r#""auto""#, r#""onnxruntime""#], &[r#""onnx""#, r#""Tract""#, "1"]),
    (
        "models.churn",
        "split",
        &[r#"{ "1" = 100 }"#, r#"{ "1" = 99.99, "2" = 0.01, "3" = 0 }"#],
        &["{}", "100", r#"{ "1" = 99 }"#],
    ),
    ("models.churn.split", "\"1\"", &["100", "100.0"], &["100.005", "-1", "101", "nan", r#""100""#]),
    ("models.churn.drift", "critical", &["[]", r#"["age"]"#], &[r#""age""#, r#"["age", 1]"#, r#"[""]"#]),
    ("models.churn.drift", "window", &[r#""2s""#], &[r#""1s""#]),
    ("models.churn.latency", "window", &[r#""2s""#], &[r#""1s""#]),
    ("models.churn.errors", "allowed_rate", &["0.5"], &["0.6"]),
    ("models.churn.drift", "windows", &[r#"["2s"]"#], &[r#"["1s"]"#]),
    ("state", "path", &[r#"".""#], &[r#""""#, "1"]),
    ("state", "snapshot_interval", &[r#""1s""#, r#""1h""#], &[r#""999ms""#, r#""2h""#]),
    ("log", "format", &[r#""text""#, r#""json""#], &[r#""yaml""#, "1"]),
    ("log", "level", &[r#""error""#, r#""trace""#], &[r#""INFO""#, r#""off""#]),
];

const SINK_ROWS: &[Row] = &[
    ("sinks", "type", &[r#""webhook""#], &[r#""log""#, "1"]),
    (
        "sinks",
        "url",
        &[r#""http://a/""#, r#""https://u:p@a:1/x?y""#],
        &[r#""a/b""#, r#""ftp://a/""#, r#""http://""#, "1"],
    ),
    ("sinks", "timeout", &[r#""100ms""#, r#""1m""#], &[r#""0s""#, r#""2m""#]),
    ("sinks", "retries", &["0", "20"], &["-1", "21"]),
    ("sinks", "queue", &["1", "65536"], &["0", "65537"]),
];

#[test]
fn the_ends_of_each_range_are_accepted_and_what_lies_beyond_is_one_problem() {
    for (section, key, accepted, refused) in ROWS {
        for value in *accepted {
            let text = format!("[{section}]\n{key} = {value}");
            assert!(Given::file(&text).load().is_ok(), "{text}: {:?}", Given::file(&text).problems());
        }
        for value in *refused {
            let text = format!("[{section}]\n{key} = {value}");
            let problem = problem(&text);
            assert!(problem.starts_with(section.split('.').next().unwrap()), "{text}: {problem}");
        }
    }
}

#[test]
fn the_same_holds_for_sinks() {
    for (_, key, accepted, refused) in SINK_ROWS {
        let others: String = [("type", "\"webhook\""), ("url", "\"http://a\"")]
            .iter()
            .filter(|(name, _)| name != key)
            .map(|(name, value)| format!("{name} = {value}\n"))
            .collect();
        for value in *accepted {
            let text = format!("[[alerts.sinks]]\n{others}{key} = {value}");
            assert!(Given::file(&text).load().is_ok(), "{text}: {:?}", Given::file(&text).problems());
        }
        for value in *refused {
            let problem = problem(&format!("[[alerts.sinks]]\n{others}{key} = {value}"));
            assert!(problem.starts_with(&format!("alerts.sinks[0].{key}: expected")), "{problem}");
        }
    }
}

#[test]
fn a_problem_says_what_was_expected_and_what_came() {
    for (text, expected) in [
        ("server.workers = 0", "server.workers: expected a whole number from 1 to 256, found 0"),
        (
            "server.http = \"localhost\"",
            "server.http: expected an IP address and a port, such as \"127.0.0.1:8000\" or \"[::1]:8000\", found \"localhost\"",
        ),
        (
            "drift.window = 5",
            "drift.window: expected a duration from \"2s\" to \"1d\", such as \"250ms\", \"30s\" or \"1h30m\", found 5",
        ),
        (
            "server.max_body = \"1PB\"",
            "server.max_body: expected a size from \"1KiB\" to \"4GiB\", such as 65536, \"64MiB\" or \"1GB\", found \"1PB\"",
        ),
        ("log.format = \"xml\"", "log.format: expected \"text\" or \"json\", found \"xml\""),
        (
            "drift.preset = \"modern\"",
            "drift.preset: expected \"default\" or \"classic\" or \"evidently\", found \"modern\"",
        ),
        ("drift.windows = [\"1m\", \"60s\"]", "drift.windows: expected each length once, found \"1m\" twice"),
        ("drift.segment = {}", "drift.segment: is missing: feature = \"…\" or header = \"…\""),
        ("server = 1", "server: expected a table, found 1"),
        ("alerts.sinks = {}", "alerts.sinks: expected a list of tables, [[alerts.sinks]], found a table"),
        ("alerts.sinks = [1]", "alerts.sinks[0]: expected a table, found 1"),
        (
            "models.churn.split = { \"1\" = 90.5, \"2\" = 9 }",
            "models.churn.split: the weights must add up to 100 %, these add up to 99.5 %",
        ),
        (
            "models.churn.split = { \"01\" = 100 }",
            "models.churn.split.01: expected a version, such as \"1\", as the key, found \"01\"",
        ),
        ("models.churn = true", "models.churn: expected a table, found true"),
        ("[[alerts.sinks]]\nurl = \"http://a\"", "alerts.sinks[0]: is missing: type = \"webhook\""),
    ] {
        assert_eq!(problem(text), expected);
    }
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let problem = problem(&format!("log.level = \"{}\"", "é".repeat(500)));
    assert!(problem.ends_with(&format!("found \"{}\"…", "é".repeat(60))), "{problem}");
}

#[test]
fn names_of_models_are_held_to_plain_letters() {
    for name in ["a", "A.b_c-9", "..x", &"m".repeat(128)] {
        assert!(Given::file(&format!("[models.\"{name}\"]")).load().is_ok(), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a b", "é", &"m".repeat(129)] {
        let problem = problem(&format!("[models.\"{name}\"]"));
        assert!(problem.contains("expected a model's name of 1 to 128 letters"), "{problem}");
    }
}

#[test]
fn the_two_addresses_cannot_share_a_port() {
    for (http, admin) in [("127.0.0.1:9", "127.0.0.1:9"), ("0.0.0.0:9", "127.0.0.1:9"), ("[::]:9", "127.0.0.1:9")] {
        let text = format!("[server]\nadmin = \"{admin}\"\nhttp = \"{http}\"");
        let problem = problem(&text);
        assert!(problem.ends_with("cannot share port 9"), "{problem}");
    }
    assert_eq!(
        problem("server.http = \"127.0.0.1:8002\""),
        "server.http: server.http (127.0.0.1:8002) and server.admin (127.0.0.1:8002) cannot share port 8002"
    );
    for text in ["server.http = \"127.0.0.2:8002\"", "[server]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\""] {
        assert!(Given::file(text).load().is_ok(), "{text}");
    }
}

#[test]
fn more_sinks_than_the_limit_are_refused() {
    let sink = "[[alerts.sinks]]\ntype = \"webhook\"\nurl = \"http://a\"\n";
    assert!(Given::file(&sink.repeat(16)).load().is_ok());
    assert_eq!(problem(&sink.repeat(17)), "alerts: alerts.sinks has 17 entries, at most 16 are allowed");
}

#[test]
fn a_resolve_threshold_above_the_threshold_is_refused_where_it_arises() {
    let text = "[drift]\nresolve_threshold = 0.1\n[models.churn]\nengine = \"auto\"\ndrift = { threshold = 0.08 }";
    let problems = Given::file(text).problems();
    assert_eq!(
        problems,
        [
            "tidegate.toml:5: models.churn.drift.resolve_threshold: resolve_threshold (0.1) exceeds threshold (0.08); it must not"
        ]
    );
}
