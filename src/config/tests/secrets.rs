//! Secrets: where they come from, and that they stay there.

use super::*;

const OPEN: &str = "[server]\nadmin = \"0.0.0.0:8002\"\n";

#[test]
fn an_admin_port_that_others_can_reach_requires_a_token() {
    let problems = Given::file(OPEN).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("tidegate.toml:2: server.admin: 0.0.0.0:8002 can be reached from other machines"));
    let overrides = Overrides { admin: Some("192.0.2.1:1".into()), ..Overrides::default() };
    assert!(
        Given::default().overrides(overrides).problems()[0].starts_with("flag --admin: server.admin: 192.0.2.1:1 can")
    );
}

#[test]
fn a_token_comes_from_a_variable_a_file_or_its_own_variable() {
    for (line, variables, token) in [
        ("admin_token = { env = \"MY_TOKEN\" }", vec![("MY_TOKEN", "from-a-variable")], "from-a-variable"),
        ("admin_token = { env = \"TIDEGATE_SECRET\" }", vec![("TIDEGATE_SECRET", "named")], "named"),
        ("admin_token = { file = \"/run/token\" }", vec![], "from-the-file"),
        ("", vec![("TIDEGATE_ADMIN_TOKEN", "own")], "own"),
        ("admin_token = { file = \"/gone\" }", vec![("TIDEGATE_ADMIN_TOKEN", "overrides")], "overrides"),
    ] {
        let text = format!("{OPEN}{line}");
        let config = Given::file(&text).variables(&variables).load().unwrap();
        assert_eq!(config.server.admin_token.unwrap().expose(), token);
    }
}

#[test]
fn a_token_that_cannot_be_had_is_a_problem_with_its_source() {
    for (source, problem) in [
        ("{ env = \"MY_TOKEN\" }", "no secret from environment variable MY_TOKEN: it is not set"),
        (
            "{ env = \"SPACED\" }",
            "no secret from environment variable SPACED: it has characters other than visible ASCII",
        ),
        ("{ file = \"/gone\" }", "no secret from file /gone: entity not found"),
        ("{ file = \"/run/empty\" }", "no secret from file /run/empty: it is empty"),
        ("{}", "expected { env = \"NAME\" } or { file = \"PATH\" }, found neither"),
        ("{ env = \"A\", file = \"B\" }", "expected { env = \"NAME\" } or { file = \"PATH\" }, found both"),
    ] {
        let text = format!("{OPEN}admin_token = {source}");
        let problems = Given::file(&text).variables(&[("SPACED", "a b")]).problems();
        assert_eq!(problems, [format!("tidegate.toml:3: server.admin_token: {problem}")]);
    }
}

#[test]
fn a_token_to_look_needs_another_one_to_change_things() {
    let viewer = "admin_viewer_token = { env = \"LOOK\" }\n";
    let (alone, both) = (format!("[server]\n{viewer}"), format!("{OPEN}{viewer}admin_token = {{ env = \"CHANGE\" }}"));
    let problems = Given::file(&alone).variables(&[("LOOK", "a")]).problems();
    assert!(problems.len() == 1 && problems[0].contains("but admin_token, for who may, is not set"), "{problems:?}");
    let config = Given::file(&both).variables(&[("LOOK", "a"), ("CHANGE", "b")]).load().unwrap();
    let tokens = [config.server.admin_token, config.server.admin_viewer_token];
    assert_eq!(tokens.map(|token| token.unwrap().expose().to_owned()), ["b", "a"]);
    let problems = Given::file(&both).variables(&[("LOOK", "hunter2"), ("CHANGE", "hunter2")]).problems();
    assert!(problems.len() == 1 && problems[0].contains("whoever may look could change everything"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"));
    let open = Given::file(&format!("{OPEN}{viewer}")).variables(&[("LOOK", "a")]).problems();
    assert!(open.iter().any(|problem| problem.contains("can be reached from other machines")), "{open:?}");
    let own = [("TIDEGATE_ADMIN_TOKEN", "b"), ("TIDEGATE_ADMIN_VIEWER_TOKEN", "a")];
    assert_eq!(Given::default().variables(&own).load().unwrap().server.admin_viewer_token.unwrap().expose(), "a");
}

#[test]
fn a_secret_that_stands_in_the_file_is_refused_without_being_repeated() {
    let problems =
        Given::file("[server]\nadmin_token = \"hunter2\"\n[[alerts.sinks]]\ntype = \"webhook\"\nurl = \"hunter2\"")
            .load();
    let (text, debug) = (problems.clone().unwrap_err().to_string(), format!("{problems:?}"));
    assert!(text.contains("a secret does not stand in this file"), "{text}");
    assert!(!text.contains("hunter2") && !debug.contains("hunter2"), "{text}");
}

#[test]
fn no_debug_text_contains_a_secret() {
    let text = format!(
        "{OPEN}[[alerts.sinks]]\ntype = \"webhook\"\nurl = \"https://hunter2:hunter2@a.example:9/hunter2?hunter2\""
    );
    let given = Given::file(&text).variables(&[("TIDEGATE_ADMIN_TOKEN", "hunter2")]);
    let config = given.load().unwrap();
    let debug = format!("{config:?} {config:#?} {:?} {}", given.environment, config.alerts.sinks[0].url);
    assert!(!debug.contains("hunter2"), "{debug}");
    assert!(debug.contains("Secret(redacted)") && debug.contains("https://a.example:9"), "{debug}");
    assert!(debug.contains("TIDEGATE_ADMIN_TOKEN"), "{debug}");
}

#[test]
fn the_sources_show_no_values_either() {
    let (environment, overrides) =
        (Environment::from_iter([("TIDEGATE_ADMIN_TOKEN", "hunter2")]), Overrides::default());
    let file = Some(SourceFile { name: "tidegate.toml", text: "hunter2" });
    let sources = Sources { file, environment: &environment, overrides: &overrides, read_secret: &secret_file };
    assert!(!format!("{sources:?}").contains("hunter2"));
    assert!(format!("{sources:?}").contains("tidegate.toml"));
}
