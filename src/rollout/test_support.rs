//! Views, beginnings and hooks for tests.
//!
//! Invariant: a hook's address is read as a setting is, so that it is one that settings allow.

use super::journal::Beginning;
use super::plan::Plan;
use super::{Pause, Phase, RolloutView};
use crate::config::{Config, Environment, Overrides, RolloutHookKind, RolloutHookSettings, SourceFile, Sources};

/// A rollout of version 2 after version 1, at 5 %.
pub(crate) fn view(model: &str, phase: Phase, pause: Option<Pause>) -> RolloutView {
    RolloutView {
        id: "3f9a1c".to_owned(),
        model: model.to_owned(),
        target: 2,
        digest: None,
        stable: 1,
        generation: 7,
        phase,
        pause,
        weight: 5.0,
        started_at: 1_000,
        since: 2_000,
        ended_at: None,
        reason: "step 1 passed".to_owned(),
        progress: None,
        judgement: None,
        guards: None,
        shadow: None,
        test: None,
        problem: None,
    }
}

/// A rollout of version 2 after version 1, sighted at 0.
pub(crate) fn beginning(plan: Plan) -> Beginning {
    Beginning {
        id: "one".to_owned(),
        model: "churn".to_owned(),
        target: 2,
        digest: "02".to_owned(),
        stable: 1,
        stable_digest: "01".to_owned(),
        champion: Some(1),
        wanted: Some((2, "02".to_owned())),
        fast: false,
        test: None,
        registered_at: None,
        sighted_at: 0,
        by: "a test".to_owned(),
        plan,
    }
}

/// A hook that is tried once, with `team = "risk"` sent along.
pub(crate) fn hook(kind: RolloutHookKind, url: &str) -> RolloutHookSettings {
    let kind = kind.as_str();
    let text = format!(
        "[[models.churn.rollout.hooks]]\ntype = \"{kind}\"\nurl = \"{url}\"\nretries = 0\nmetadata = {{ team = \"risk\" }}"
    );
    let config = Config::load(&Sources {
        file: Some(SourceFile { name: "test", text: &text }),
        environment: &Environment::default(),
        overrides: &Overrides::default(),
        read_secret: &|path| std::fs::read_to_string(path),
    });
    config.unwrap().model("churn").rollout.unwrap().hooks[0].clone()
}
