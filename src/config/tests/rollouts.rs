//! Plans of rollouts: what is read, what holds where nothing is said, and what is refused.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn rollout(text: &str) -> RolloutSettings {
    let text = format!("[models.churn.rollout]\n{text}");
    let config = Given::file(&text).load().unwrap_or_else(|problems| panic!("{problems}"));
    config.model("churn").rollout.unwrap()
}

/// The only problem of a plan, without its file and line.
fn problem(text: &str) -> String {
    let text = format!("[models.churn.rollout]\n{text}");
    let problems = Given::file(&text).problems();
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems[0].split_once(": ").unwrap().1.to_owned()
}

#[test]
fn an_empty_table_is_the_plan_of_the_defaults_and_no_table_is_none() {
    let config = Given::file("models.churn.rollout = {}\n[models.digits]").load().unwrap();
    assert_eq!(config.model("churn").rollout, Some(RolloutSettings::default()));
    assert_eq!((config.model("digits").rollout, config.model("other").rollout), (None, None));
    let weights: Vec<u16> = RolloutSettings::default().steps.iter().map(|step| step.weight).collect();
    assert_eq!(weights, [100, 500, 2_500, 5_000]);
}

const FULL: &str = r#"
steps = [0.5, { weight = 5, min_time = "2m", max_time = "2h", min_samples = 1000, on_timeout = "abort", gate = true }, 50]
min_time = "0s"
min_samples = 100
on_timeout = "advance"
gate = true
bake = "0s"
false_abort_rate = 0.2
newer = "queue"
fast_return = 0
blackout = ["Sat-Sun"]
write_back = false
guards = { errors = 0.1, non_finite = 0.01, broken = 0.001, latency = "50ms", slow = 0.5 }
tolerances = { errors = 0, refusals = 1, latency_ratio = 1, latency_added = "0s", predictions = 10, quality = 0.5 }
shadow = { share = 100, queue = 1, memory = "64KiB", min_time = "1s", max_time = "1d", min_samples = 1, on_timeout = "abort", max_disagreement = 0.02 }

[[models.churn.rollout.hooks]]
type = "confirm-promotion"
url = "https://gate.example/approve?key=sesame"
name = "the board"
timeout = "3m"
retries = 0
metadata = { team = "risk" }

[[models.churn.rollout.hooks]]
type = "event"
url = "http://127.0.0.1:9099/"
"#;

#[test]
fn every_setting_of_a_plan_is_read() {
    let read = rollout(FULL);
    let small = StepSettings {
        min_time: Duration::ZERO,
        min_samples: 100,
        on_timeout: OnTimeout::Advance,
        ..StepSettings::of_weight(50)
    };
    let gated = StepSettings {
        weight: 500,
        min_time: 120 * SECOND,
        max_time: 2 * HOUR,
        min_samples: 1_000,
        on_timeout: OnTimeout::Abort,
        gate: true,
    };
    assert_eq!(read.steps, [small.clone(), gated, StepSettings { weight: 5_000, ..small }]);
    let expected = RolloutSettings {
        steps: read.steps.clone(),
        gate: true,
        bake: Duration::ZERO,
        false_abort_rate: 0.2,
        newer: Newer::Queue,
        fast_return: 0,
        blackout: vec![(120, 48)],
        write_back: false,
        guards: GuardSettings {
            errors: 0.1,
            non_finite: 0.01,
            broken: 0.001,
            latency: Some(Duration::from_millis(50)),
            slow: 0.5,
        },
        tolerances: ToleranceSettings {
            errors: 0.0,
            refusals: 1.0,
            latency_ratio: 1.0,
            latency_added: Duration::ZERO,
            predictions: 10.0,
            quality: 0.5,
        },
        shadow: Some(ShadowSettings {
            share: 10_000,
            queue: 1,
            memory: 64 << 10,
            min_time: SECOND,
            max_time: 24 * HOUR,
            min_samples: 1,
            on_timeout: OnTimeout::Abort,
            max_disagreement: Some(0.02),
        }),
        hooks: read.hooks.clone(),
    };
    assert_eq!(read, expected);
    assert_eq!(rollout("shadow = {}").shadow, Some(ShadowSettings::default()));
}

#[test]
fn hooks_are_read_in_their_order_with_the_defaults_of_flagger_and_their_addresses_are_not_shown() {
    let hooks = rollout(FULL).hooks;
    let shown: Vec<_> = hooks.iter().map(|hook| (hook.kind, hook.name.as_str(), hook.timeout, hook.retries)).collect();
    assert_eq!(
        shown,
        [
            (RolloutHookKind::ConfirmPromotion, "the board", 180 * SECOND, 0),
            (RolloutHookKind::Event, "event", 10 * SECOND, 2)
        ]
    );
    assert_eq!(hooks[0].metadata, [("team".to_owned(), "risk".to_owned())].into());
    assert!(!format!("{hooks:?}").contains("sesame"));
    let kinds = [
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
        "rollback",
        "event",
    ];
    for name in kinds {
        let read = rollout(&format!("hooks = [{{ type = \"{name}\", url = \"http://a\" }}]"));
        assert_eq!((read.hooks[0].kind.as_str(), read.hooks[0].name.as_str()), (name, name));
        assert_eq!(serde_json::to_value(read.hooks[0].kind).unwrap(), name);
    }
}

/// Keys of a plan, values that are accepted, values that are not.
const ROWS: &[(&str, &[&str], &[&str])] = &[
    ("steps", &["[0.01]", "[99.99]", "[1, 2.5]"], &["[0]", "[100]", "[1.005]", "5", "[\"1\"]", "[]", "{}"]),
    ("min_time", &[r#""0s""#, r#""1h""#], &[r#""8d""#, "60"]),
    ("max_time", &[r#""1m""#, r#""30d""#], &[r#""99ms""#, r#""31d""#]),
    ("min_samples", &["1", "1000000000"], &["0", "1000000001", "1.5"]),
    ("on_timeout", &[r#""hold""#, r#""abort""#, r#""advance""#], &[r#""promote""#, "1"]),
    ("gate", &["true"], &[r#""yes""#, "1"]),
    ("bake", &[r#""0s""#, r#""7d""#], &[r#""8d""#]),
    ("false_abort_rate", &["0.0001", "0.2"], &["0", "0.00009", "0.21", "nan"]),
    ("newer", &[r#""supersede""#, r#""queue""#, r#""reject""#], &[r#""replace""#]),
    ("fast_return", &["0", "100"], &["-1", "101"]),
    ("blackout", &["[]", r#"["Sat", "22:00-06:00"]"#], &[r#""Sat""#, r#"["Samstag"]"#, r#"["Mon-Sun"]"#]),
    ("write_back", &["false"], &["0"]),
    (
        "guards",
        &["{ errors = 0.00001, slow = 0.5 }", r#"{ latency = "1us" }"#],
        &["{ errors = 0 }", "{ slow = 0.6 }", r#"{ latency = "2h" }"#, "{ panics = 0.1 }", "1"],
    ),
    (
        "tolerances",
        &["{ quality = 1 }"],
        &["{ latency_ratio = 0.9 }", "{ predictions = 11 }", r#"{ latency_added = "61s" }"#, "{ errors = -0.1 }"],
    ),
    (
        "shadow",
        &["{ share = 0.01 }", r#"{ memory = "1GiB", queue = 65536 }"#],
        &[
            "{ share = 0 }",
            "{ share = 101 }",
            "{ queue = 0 }",
            r#"{ memory = "1KiB" }"#,
            "{ max_disagreement = 1.1 }",
            "true",
        ],
    ),
];

#[test]
fn the_ends_of_each_range_are_accepted_and_what_lies_beyond_is_one_problem() {
    for (key, accepted, refused) in ROWS {
        accepted.iter().for_each(|value| drop(rollout(&format!("{key} = {value}"))));
        for value in *refused {
            let problem = problem(&format!("{key} = {value}"));
            assert!(problem.starts_with("models.churn.rollout"), "{key} = {value}: {problem}");
        }
    }
}

#[test]
fn everything_wrong_with_a_plan_is_said_at_once_with_its_line() {
    let text = "[models.churn]\nsplit = { \"1\" = 100 }\n[models.churn.rollout]\nsteps = [5, 1, 1,\n  { min_tiem = \"1m\" }, \
                { weight = 60, min_time = \"3h\" }]\nbake_time = \"1m\"\nmax_time = \"30s\"\n\
                [[models.churn.rollout.hooks]]\ntype = \"confirm\"\n[[models.churn.rollout.hooks]]\nurl = \"nowhere\"\n";
    let problems = Given::file(text).problems();
    let starts = [
        "tidegate.toml:3: models.churn.rollout: split and rollout both say",
        "tidegate.toml:3: models.churn.rollout: min_time (1m) exceeds max_time (30s)",
        "tidegate.toml:4: models.churn.rollout.steps: steps must grow, and 1 % comes after 5 %",
        "tidegate.toml:4: models.churn.rollout.steps: steps must grow, and 1 % comes after 1 %",
        "tidegate.toml:5: models.churn.rollout.steps[3]: is missing: weight = 5",
        "tidegate.toml:5: models.churn.rollout.steps[3]: unknown key \"min_tiem\"; did you mean \"min_time\"?",
        "tidegate.toml:5: models.churn.rollout.steps[4]: min_time (3h) exceeds max_time (30s)",
        "tidegate.toml:6: models.churn.rollout: unknown key \"bake_time\"; ",
        "tidegate.toml:8: models.churn.rollout.hooks[0]: is missing: url",
        "tidegate.toml:9: models.churn.rollout.hooks[0].type: expected \"confirm-rollout\" or",
        "tidegate.toml:10: models.churn.rollout.hooks[1]: is missing: type = \"…\", one of confirm-rollout, pre-rollout",
        "tidegate.toml:11: models.churn.rollout.hooks[1].url: expected an http:// or https:// URL",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}\n{problems:#?}");
    }
}

#[test]
fn steps_hooks_and_what_is_sent_with_them_have_their_limits() {
    let steps = |count: usize| format!("steps = {:?}", (1..=count).collect::<Vec<usize>>());
    assert_eq!(rollout(&steps(32)).steps.len(), 32);
    assert!(problem(&steps(33)).contains("there are 33 steps"));
    let hooks = |count: usize| format!("hooks = [{}]", "{ type = \"event\", url = \"http://a\" }, ".repeat(count));
    assert_eq!(rollout(&hooks(16)).hooks.len(), 16);
    assert!(problem(&hooks(17)).contains("there are 17 hooks"));
    let texts: String = (0..33).map(|number| format!("k{number} = \"v\", ")).collect();
    let metadata =
        |texts: &str| format!("hooks = [{{ type = \"event\", url = \"http://a\", metadata = {{ {texts} }} }}]");
    assert!(problem(&metadata(&texts)).contains("there are 33 texts"));
    assert!(problem(&metadata("a = 1")).ends_with("expected a text, found 1"));
}

#[test]
fn a_plan_takes_effect_by_a_reload() {
    let load = |text: &str| Given::file(text).load().unwrap();
    let (old, new) = (load("models.churn.rollout = {}"), load("models.churn.rollout.steps = [50]"));
    assert!(old.diff_needing_restart(&new).is_empty());
}
