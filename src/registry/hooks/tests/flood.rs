//! A million deliveries, most of them copies, none in order, some late, some forged: the same models as one of each.
//!
//! GitHub is left out, since one of its deliveries means all models and would hide the rest.
//!
//! Invariant: each distinct request is verified and read at each second of the flood; only the answer is kept for the
//! picks, which it may be because verifying is a function of its arguments.

use super::*;
use crate::registry::hooks::{Hint, ReplayGuard, models_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;

/// How many deliveries come.
const PICKS: usize = 1_000_000;
/// How many distinct true ones there are among them; as many forged ones, and half as many stale ones.
const DISTINCT: usize = 200;
/// How many models they are about.
const MODELS: usize = 60;
/// When they come, seconds after the first; every time signed is good for all of them.
const SECONDS: [u64; 5] = [0, 50, 100, 150, 200];
/// How far apart true times are signed, seconds.
const SPREAD: u64 = 50;

const KINDS: [HookKind; 4] =
    [HookKind::Mlflow, HookKind::StandardWebhooks, HookKind::WeightsAndBiases, HookKind::HuggingFace];

fn body(kind: HookKind, model: &str, n: usize) -> Vec<u8> {
    match kind {
        HookKind::Mlflow | HookKind::StandardWebhooks | HookKind::Github => format!(
            r#"{{"entity": "model_version_alias", "action": "created", "data": {{"name": "{model}", "version": "{n}"}}}}"#
        ),
        HookKind::WeightsAndBiases => format!(r#"{{"artifact_collection_name": "{model}", "artifact_version": "v{n}"}}"#),
        HookKind::HuggingFace => format!(
            r#"{{"event": {{"action": "update", "scope": "repo.content"}}, "repo": {{"type": "model", "name": "{model}", "headSha": "{n:040}"}}}}"#
        ),
    }
    .into_bytes()
}

fn true_ones() -> Vec<Request> {
    let one = |n: usize| {
        let kind = KINDS[n % KINDS.len()];
        let at = NOW + n as u64 % SPREAD;
        delivery(kind, (&format!("id-{n}"), at), &body(kind, &format!("model-{}", n % MODELS), n))
    };
    (0..DISTINCT).map(one).collect()
}

/// True ones of long ago, about models that nothing else is about.
fn stale_ones() -> Vec<Request> {
    let one = |n: usize| {
        let kind = KINDS[n % 2];
        delivery(kind, (&format!("stale-{n}"), NOW - 301), &body(kind, &format!("stale-{n}"), n))
    };
    (0..DISTINCT / 2).map(one).collect()
}

/// Somebody else's: the body is another one than was signed, or the secret is wrong.
fn forged_ones() -> Vec<Request> {
    let one = |n: usize| {
        let kind = KINDS[n % KINDS.len()];
        let mut request = delivery(kind, (&format!("id-{n}"), NOW), b"{}");
        request.body = body(kind, &format!("forged-{n}"), n);
        if kind == HookKind::HuggingFace {
            request.headers.insert(proof(kind), "hugging-guess".parse().unwrap());
        }
        request
    };
    (0..DISTINCT).map(one).collect()
}

/// Id and meaning of a request, if it is taken.
fn read(request: &Request, now: u64) -> Option<(String, Hint)> {
    let delivery = request.verify(now).ok()?;
    Some((delivery.id, models_of(request.kind, &request.body).ok()?))
}

#[derive(Default)]
struct Inbox {
    guard: ReplayGuard,
    woken: BTreeSet<String>,
    taken: usize,
}

impl Inbox {
    fn deliver(&mut self, source: &str, (id, hint): &(String, Hint), now: u64) {
        if self.guard.first_time(source, id, now) {
            self.taken += 1;
            match hint {
                Hint::Models(names) => self.woken.extend(names.iter().cloned()),
                other => panic!("every delivery here names its models: {other:?}"),
            }
        }
    }
}

fn source(request: &Request) -> &'static str {
    proof(request.kind)
}

#[test]
fn a_million_copies_in_disorder_with_late_and_forged_ones_wake_the_same_models_as_one_of_each() {
    let mut orderly = Inbox::default();
    for request in &true_ones() {
        orderly.deliver(source(request), &read(request, NOW).unwrap(), NOW);
    }
    let expected: BTreeSet<String> = (0..MODELS).map(|n| format!("model-{n}")).collect();
    assert_eq!((orderly.woken, orderly.taken), (expected.clone(), DISTINCT));

    let requests = [true_ones(), stale_ones(), forged_ones()].concat();
    let mut random = StdRng::seed_from_u64(0x7469_6465);
    let mut flood = Inbox::default();
    for now in SECONDS.map(|second| NOW + second) {
        let read: Vec<_> = requests.iter().map(|request| read(request, now)).collect();
        for _ in 0..PICKS / SECONDS.len() {
            let pick = random.random_range(0..requests.len());
            if let Some(taken) = &read[pick] {
                flood.deliver(source(&requests[pick]), taken, now);
            }
        }
    }
    assert_eq!((flood.woken, flood.taken), (expected, DISTINCT));
}
