//! Senders of webhooks: what their tables hold, and what is refused of them.

use super::*;

const MODELS: &str =
    "[registry.mlflow]\nurl = \"http://a\"\n[models.churn]\nsource = \"models:/churn\"\n[models.digits]\n";

fn hook(name: &str, members: &str) -> String {
    format!("[registry.hooks.{name}]\nsecret = {{ file = \"/run/token\" }}\n{members}\n")
}

#[test]
fn a_sender_has_a_kind_a_secret_and_maybe_models() {
    let kinds = [
        ("mlflow", HookKind::Mlflow),
        ("standard", HookKind::StandardWebhooks),
        ("github", HookKind::Github),
        ("wandb", HookKind::WeightsAndBiases),
        ("huggingface", HookKind::HuggingFace),
    ];
    for (name, kind) in kinds {
        let text = MODELS.to_owned() + &hook("a-sender_1", &format!("kind = \"{name}\"\nmodels = [\"churn\"]"));
        let config = Given::file(&text).load().unwrap();
        let sender = &config.registry.hooks["a-sender_1"];
        assert_eq!((sender.kind, sender.kind.as_str(), sender.secret.expose()), (kind, name, "from-the-file"));
        assert_eq!(sender.models, Some(["churn".to_owned()].into()));
        assert!(!format!("{config:?}").contains("from-the-file"));
    }
    let config = Given::file(&hook("forge", "kind = \"github\"")).load().unwrap();
    assert_eq!(config.registry.hooks["forge"].models, None, "a sender without models of its own may come first");
    assert_eq!(Config::default().diff_needing_restart(&config), ["registry"]);
}

#[test]
fn everything_wrong_with_senders_is_said_with_its_line() {
    let text = MODELS.to_owned()
        + &hook("forge", "kind = \"gitlab\"\nmodels = [\"churn\", \"fraud\", \"digits\"]")
        + &hook("hub", "kind = \"huggingface\"\nmodels = []")
        + "[registry.hooks.\"a/b\"]\nkind = \"standard\"\n[registry.hooks.c]\nsecret = \"x\"\nbody = 1\n";
    let problems = Given::file(&text).problems();
    let starts = [
        "tidegate.toml:8: registry.hooks.forge.kind: expected \"mlflow\" or \"standard\" or \"github\"",
        "tidegate.toml:9: registry.hooks.forge.models: expected names of models that have a source, of at most 128 bytes, \
         found \"digits\", \"fraud\"",
        "tidegate.toml:13: registry.hooks.hub.models: expected names of models that have a source, of at most 128 bytes, \
         found none",
        "tidegate.toml:14: registry.hooks.\"a/b\": expected a sender's name of 1 to 128 letters",
        "tidegate.toml:14: registry.hooks.\"a/b\": is missing: secret = { env",
        "tidegate.toml:16: registry.hooks.c: is missing: kind = \"…\", one of mlflow, standard, github, wandb, huggingface",
        "tidegate.toml:17: registry.hooks.c.secret: expected { env",
        "tidegate.toml:18: registry.hooks.c: unknown key \"body\"",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}\n{problems:#?}");
    }
}

#[test]
fn senders_are_at_most_sixteen() {
    let senders = |count: usize| (0..count).map(|n| hook(&format!("s{n}"), "kind = \"github\"")).collect::<String>();
    assert_eq!(Given::file(&senders(16)).load().unwrap().registry.hooks.len(), 16);
    let problems = Given::file(&senders(17)).problems();
    assert!(problems.len() == 1 && problems[0].contains("17 senders are configured, at most 16"), "{problems:?}");
}

#[test]
fn two_senders_cannot_both_be_mlflow() {
    let mlflow = "[registry.mlflow]\nurl = \"http://a\"\n";
    let alone = mlflow.to_owned() + &hook("mlflow", "kind = \"mlflow\"");
    assert!(Given::file(&alone).load().is_ok());
    let both =
        mlflow.to_owned() + "webhook_secret = { file = \"/run/token\" }\n" + &hook("mlflow", "kind = \"mlflow\"");
    let problems = Given::file(&both).problems();
    assert!(problems.len() == 1 && problems[0].contains("both say who sends to /hooks/mlflow"), "{problems:?}");
}
