//! What a registry is told of a rollout: tags on the version that is rolled out, and the alias of the stable version once
//! it has baked.
//!
//! What was written is remembered and compared with what should be, so that nothing is written twice while nothing
//! changed and everything is written again after a failure: writing is idempotent at the registry. A reason alone is no
//! occasion, because it is said anew at every look.
//!
//! The alias that moves comes back to us as news of the registry. It names the version that has all traffic already, so
//! that it asks for nothing.
//!
//! Invariant: the alias is written for a rollout that is done, and never before its tags.

use super::{Phase, RolloutView};
use crate::config::{Role, SourceSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a rollout stands.
pub const STATE_TAG: &str = "tidegate.rollout.state";
/// The version's share, percent.
pub const WEIGHT_TAG: &str = "tidegate.rollout.weight";
/// What the last look at it came to.
pub const VERDICT_TAG: &str = "tidegate.rollout.verdict";
/// Why it stands there.
pub const REASON_TAG: &str = "tidegate.rollout.reason";

/// The most characters of a reason that are written. MLflow 2 takes 5,000, later ones more.
const LONGEST_REASON: usize = 500;

/// What a registry was told of a model, or should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The version that the tags are on.
    pub version: u64,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// The alias that points to it, if it is to.
    pub alias: Option<String>,
}

/// What is to be told of a rollout. `alias` is the one of the stable version, if the registry has one.
#[must_use]
pub fn wanted(view: &RolloutView, alias: Option<&str>) -> Told {
    let verdict = view.judgement.as_ref().map_or("not_enough_data", |judgement| judgement.verdict.name());
    let reason = view.reason.chars().take(LONGEST_REASON).collect();
    let tags = [
        (STATE_TAG, view.phase.name().to_owned()),
        (WEIGHT_TAG, view.weight.to_string()),
        (VERDICT_TAG, verdict.to_owned()),
        (REASON_TAG, reason),
    ];
    let is_done = view.phase == Phase::Done;
    Told {
        version: view.target,
        tags: tags.map(|(key, value)| (key.to_owned(), value)).into(),
        alias: alias.filter(|_| is_done).map(str::to_owned),
    }
}

/// What is still to be written of what should be told, given what was told last; nothing if that is nothing.
#[must_use]
pub fn due(wanted: &Told, last: Option<&Told>) -> Option<Told> {
    let last = last.filter(|last| last.version == wanted.version);
    let differs = |key: &String, value: &String| last.and_then(|last| last.tags.get(key)) != Some(value);
    let is_occasion = wanted.tags.iter().any(|(key, value)| key != REASON_TAG && differs(key, value));
    let alias = wanted.alias.clone().filter(|_| last.and_then(|last| last.alias.as_ref()) != wanted.alias.as_ref());
    if !is_occasion && alias.is_none() {
        return None;
    }
    let tags = wanted.tags.iter().filter(|(key, value)| differs(key, value));
    Some(Told { version: wanted.version, tags: tags.map(|(key, value)| (key.clone(), value.clone())).collect(), alias })
}

/// The alias of the stable version, where aliases of a registered model say what is what.
#[must_use]
pub fn stable_alias(source: &SourceSettings) -> Option<&str> {
    let name = source.uri.strip_prefix("models:/")?;
    if let Some((_, alias)) = name.split_once('@') {
        return Some(alias);
    }
    let is_of_aliases = !name.contains('/');
    let stable = source.roles.iter().find(|(_, role)| **role == Role::Stable);
    stable.filter(|_| is_of_aliases).map(|(alias, _)| alias.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::test_support::view;
    use super::super::{Judgement, Verdict};
    use super::*;
    use proptest::prelude::*;

    fn told(phase: Phase, weight: f64, reason: &str) -> Told {
        wanted(&RolloutView { weight, reason: reason.to_owned(), ..view("churn", phase, None) }, Some("champion"))
    }

    #[test]
    fn tags_say_state_share_verdict_and_reason() {
        let judgement = Some(Judgement { verdict: Verdict::Fail, metrics: Vec::new() });
        let view = RolloutView { judgement, ..view("churn", Phase::RolledBack, None) };
        let told = wanted(&view, Some("champion"));
        let tags: Vec<(&str, &str)> = told.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected = [
            ("tidegate.rollout.reason", "step 1 passed"),
            ("tidegate.rollout.state", "rolled_back"),
            ("tidegate.rollout.verdict", "fail"),
            ("tidegate.rollout.weight", "5"),
        ];
        assert_eq!((tags.as_slice(), told.version, told.alias), (expected.as_slice(), 2, None));
        let long = RolloutView { reason: "é".repeat(10_000), ..view };
        assert_eq!(wanted(&long, None).tags[REASON_TAG].chars().count(), LONGEST_REASON);
    }

    #[test]
    fn the_alias_moves_once_it_is_done_and_not_before() {
        for phase in [Phase::Canary { step: 3 }, Phase::Promoting, Phase::Baking, Phase::RolledBack, Phase::Superseded]
        {
            assert_eq!(told(phase, 100.0, "").alias, None, "{phase:?}");
        }
        let done = told(Phase::Done, 100.0, "");
        assert_eq!(done.alias.as_deref(), Some("champion"));
        let tags_alone = Told { alias: None, ..done.clone() };
        let rest = due(&done, Some(&tags_alone)).unwrap();
        assert_eq!(
            (rest.tags.len(), rest.alias.as_deref()),
            (0, Some("champion")),
            "what failed is written again alone"
        );
        assert_eq!(due(&done, Some(&done)), None);
    }

    #[test]
    fn a_reason_alone_is_no_occasion_and_goes_along_with_one() {
        let before = told(Phase::Canary { step: 0 }, 1.0, "100 of 500");
        assert_eq!(due(&told(Phase::Canary { step: 0 }, 1.0, "200 of 500"), Some(&before)), None);
        let grown = due(&told(Phase::Canary { step: 1 }, 5.0, "passed"), Some(&before)).unwrap();
        assert_eq!(grown.tags.keys().map(String::as_str).collect::<Vec<_>>(), [REASON_TAG, WEIGHT_TAG]);
    }

    #[test]
    fn another_version_is_told_everything() {
        let before = Told { version: 1, ..told(Phase::Canary { step: 0 }, 1.0, "") };
        assert_eq!(due(&told(Phase::Canary { step: 0 }, 1.0, ""), Some(&before)).unwrap().tags.len(), 4);
    }

    #[test]
    fn the_alias_is_that_of_the_source() {
        let source = |uri: &str| SourceSettings {
            uri: uri.to_owned(),
            require_tags: Vec::new(),
            roles: [("next".to_owned(), Role::Canary), ("live".to_owned(), Role::Stable)].into(),
        };
        assert_eq!(stable_alias(&source("models:/churn")), Some("live"));
        assert_eq!(stable_alias(&source("models:/churn@champion")), Some("champion"));
        for uri in ["models:/churn/7", "s3://bucket/churn", "/srv/churn"] {
            assert_eq!(stable_alias(&source(uri)), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn writing_what_is_due_leaves_nothing_due(
            phases in proptest::collection::vec((0_usize..5, 0_u8..3, "[ab]{0,2}"), 1..20)
        ) {
            const PHASES: [Phase; 5] =
                [Phase::Canary { step: 0 }, Phase::Baking, Phase::Done, Phase::RolledBack, Phase::Promoting];
            let mut at_registry = Told { version: 2, ..Told::default() };
            for (phase, weight, reason) in phases {
                let wanted = told(PHASES[phase], f64::from(weight), &reason);
                if let Some(due) = due(&wanted, Some(&at_registry)) {
                    at_registry.tags.extend(due.tags);
                    at_registry.alias = due.alias.or(at_registry.alias);
                }
                let differs = wanted.tags.iter().filter(|(key, value)| at_registry.tags.get(*key) != Some(value));
                prop_assert!(differs.into_iter().all(|(key, _)| key == REASON_TAG));
                prop_assert!(due(&wanted, Some(&at_registry)).is_none());
            }
        }
    }
}
