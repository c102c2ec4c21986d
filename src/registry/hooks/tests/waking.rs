//! Whom a delivery wakes.
//!
//! Invariant: what is expected is written out, name by name.

use super::*;
use crate::registry::hooks::{Followers, Hint};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;

/// Model here, and its registry's name; the last one comes from a place that names nothing.
const FOLLOWED: [(&str, Option<&str>); 4] = [
    ("churn", Some("customer churn")),
    ("churn-eu", Some("customer churn")),
    ("fraud", Some("fraud")),
    ("digits", None),
];

/// The models that are woken.
fn woken(kind: HookKind, only: Option<&[&str]>, hint: &Hint) -> Vec<&'static str> {
    let mut followers = Followers::default();
    let wakes: Vec<Arc<Notify>> = FOLLOWED.iter().map(|_| Arc::default()).collect();
    for ((model, registered), wake) in FOLLOWED.iter().zip(&wakes) {
        followers.add(model, registered.map(str::to_owned), Arc::clone(wake));
    }
    let only: Option<BTreeSet<String>> = only.map(|only| only.iter().map(|&name| name.to_owned()).collect());
    let count = followers.wake(kind, only.as_ref(), hint);
    let is_woken = |wake: &Notify| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(wake.notified()).poll(&mut context).is_ready()
    };
    let names: Vec<&str> =
        FOLLOWED.iter().zip(&wakes).filter(|(_, wake)| is_woken(wake)).map(|((model, _), _)| *model).collect();
    assert_eq!(names.len(), count);
    names
}

fn named(names: &[&str]) -> Hint {
    Hint::Models(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn whoever_follows_a_named_model_is_woken_by_either_name() {
    for kind in EVERY_KIND {
        let woken = |hint: &Hint| woken(kind, None, hint);
        assert_eq!(woken(&named(&["customer churn"])), ["churn", "churn-eu"]);
        assert_eq!(woken(&named(&["digits", "fraud", "example_model"])), ["fraud", "digits"]);
        assert_eq!(woken(&named(&["example_model"])), [""; 0]);
        assert_eq!(woken(&Hint::Any), ["churn", "churn-eu", "fraud", "digits"]);
        assert_eq!(woken(&Hint::Nothing), [""; 0]);
    }
}

#[test]
fn a_sender_for_some_models_wakes_no_others() {
    let only: Option<&[&str]> = Some(&["churn", "digits"]);
    for kind in EVERY_KIND {
        assert_eq!(woken(kind, only, &Hint::Any), ["churn", "digits"]);
        assert_eq!(woken(kind, only, &Hint::Nothing), [""; 0]);
    }
    for kind in [HookKind::Mlflow, HookKind::StandardWebhooks] {
        assert_eq!(woken(kind, only, &named(&["customer churn", "fraud"])), ["churn"], "it knows what it names");
        assert_eq!(woken(kind, only, &named(&["fraud"])), [""; 0]);
    }
    for kind in [HookKind::Github, HookKind::WeightsAndBiases, HookKind::HuggingFace] {
        assert_eq!(woken(kind, only, &named(&["team/churn-net"])), ["churn", "digits"], "its names are its own");
        assert_eq!(woken(kind, only, &named(&["fraud"])), ["churn", "digits"]);
    }
}
