//! What is in `deploy/` is accepted by the programs that it is for.
//!
//! The example configuration is compared with the defaults, so that it cannot say something that has ceased to be true.
//! `promtool` comes with Prometheus and is not everywhere: where it is missing the tests say so, but in continuous
//! integration (the variable `CI`) they fail, so that the checks are never silently left out.

use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate::alert::Rule;
use tidegate::config::{Config, EngineChoice, Environment, Overrides, SourceFile, Sources};
use tidegate::telemetry::names;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// Settings from this text and the environment variables that the example names.
fn load(text: &str) -> Result<Config, String> {
    let environment = Environment::from_iter([
        ("TIDEGATE_ADMIN_TOKEN", "a-token-of-sixteen-characters-and-more"),
        ("TIDEGATE_ADMIN_VIEWER_TOKEN", "another-token-of-sixteen-characters"),
    ]);
    let sources = Sources {
        file: Some(SourceFile { name: "deploy/tidegate.toml", text }),
        environment: &environment,
        overrides: &Overrides::default(),
        read_secret: &|path| std::fs::read_to_string(path),
    };
    Config::load(&sources).map_err(|problems| problems.to_string())
}

/// The example with every setting that is commented out switched on: those lines have no space after the `#`.
fn with_every_setting(text: &str) -> String {
    let is_setting = |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c != ' '));
    let lines = text.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs `promtool` on a file: whether it accepts it, and what it says.
fn promtool(arguments: &[&str], file: &str) -> std::io::Result<(bool, String)> {
    let output = Command::new("promtool").args(arguments).arg(deploy(file)).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn the_example_configuration_says_what_the_defaults_are() {
    let text = std::fs::read_to_string(deploy("tidegate.toml")).unwrap();
    let mut config = load(&text).unwrap();
    let tokens = [config.server.admin_token.take(), config.server.admin_viewer_token.take()];
    assert!(tokens.iter().all(Option::is_some), "the variables are settings by themselves");
    assert_eq!(config, Config::default());
}

#[test]
fn every_line_of_the_example_configuration_can_be_switched_on() {
    let text = std::fs::read_to_string(deploy("tidegate.toml")).unwrap();
    let config = load(&with_every_setting(&text)).unwrap();
    assert_eq!(config.server.workers, Some(4));
    assert_eq!(config.repository.memory_budget, Some(8 << 30));
    let churn = config.model("churn");
    assert_eq!((churn.engine, churn.split.map(|split| split.len())), (EngineChoice::Auto, Some(2)));
    assert!(churn.drift.critical.contains("order_value"));
    assert_eq!(config.alerts.sinks.len(), 1);
}

#[test]
fn prometheus_accepts_the_scrape_configuration_and_the_rules() {
    for (arguments, file) in [
        (&["check", "config"][..], "prometheus.yml"),
        (&["check", "rules", "--lint=all", "--lint-fatal"][..], "rules.yml"),
        (&["test", "rules"][..], "rules_test.yml"),
    ] {
        match promtool(arguments, file) {
            Ok((accepted, said)) => assert!(accepted, "promtool {arguments:?} {file}: {said}"),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "promtool is needed in continuous integration: {error}");
                println!("{file} is not checked, because promtool (of Prometheus) cannot be run: {error}");
            }
        }
    }
}

#[test]
fn rules_use_metrics_that_exist() {
    let rules = std::fs::read_to_string(deploy("rules.yml")).unwrap();
    let expressions: Vec<&str> = rules.lines().filter(|line| !line.trim_start().starts_with(['#', '-'])).collect();
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let text = expressions.join("\n");
    let words = text.split(|c: char| !is_of_a_name(c)).filter(|word| word.starts_with("tidegate_"));
    let mut used = 0;
    for word in words {
        let base = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(names::ALL.iter().any(|metric| metric.name == base), "no metric is called {word}");
        used += 1;
    }
    assert!(used > 10, "only {used} uses of metrics were found");
}

#[test]
fn every_alert_of_the_gateway_is_passed_on_by_one_rule() {
    let rules = std::fs::read_to_string(deploy("rules.yml")).unwrap();
    let selected: Vec<&str> = rules
        .split("tidegate_alert_state{rule=")
        .skip(1)
        .flat_map(|rest| rest.trim_start_matches('~').split('"').nth(1).unwrap().split('|'))
        .collect();
    let all = [Rule::FeatureDrift, Rule::VersionDrift, Rule::DataQuality, Rule::Latency, Rule::Errors, Rule::Refusals];
    for rule in all {
        let count = selected.iter().filter(|name| **name == rule.name()).count();
        assert_eq!(count, 1, "{} in {selected:?}", rule.name());
    }
    assert_eq!(selected.len(), all.len(), "{selected:?} has a rule that there is not");
}

#[test]
fn the_unit_leaves_more_time_to_stop_than_the_gateway_takes() {
    let unit = std::fs::read_to_string(deploy("tidegate.service")).unwrap();
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let stop = setting("TimeoutStopSec=").and_then(|value| value.strip_suffix('s').map(str::to_owned)).unwrap();
    assert!(stop.parse::<u64>().unwrap() > Config::default().server.drain_timeout.as_secs());
    let files: usize = setting("LimitNOFILE=").unwrap().parse().unwrap();
    assert!(files > Config::default().server.max_connections);
    assert_eq!(setting("ExecReload=").as_deref(), Some("/bin/kill -HUP $MAINPID"));
}
