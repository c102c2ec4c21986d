//! Deliveries as their senders make them, and what becomes of them.
//!
//! Senders are made here with the room's own signature function; the vectors in [`accepted`], computed elsewhere, are what
//! ties that function to the world.
//!
//! Invariant: every clock is an argument and every seed is fixed.

mod accepted;
mod flood;
mod meaning;
mod memory;
mod refused;
mod waking;

use super::key::HookKey;
use super::signature::sign;
use super::{Delivery, HookError, HookKind, verify};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// When things happen, unix seconds.
const NOW: u64 = 1_767_225_600;
const ID: &str = "3f2b0c1e-6a3d-4c53-9a56-0b3f2f6f9d11";
const EVERY_KIND: [HookKind; 5] =
    [HookKind::Mlflow, HookKind::StandardWebhooks, HookKind::Github, HookKind::WeightsAndBiases, HookKind::HuggingFace];

/// Properties with a fixed seed.
fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(24), failure_persistence: None, ..ProptestConfig::default() }
}

/// A request as it arrives.
#[derive(Clone, Debug)]
struct Request {
    kind: HookKind,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn verify(&self, now: u64) -> Result<Delivery, HookError> {
        verify(self.kind, &key(self.kind), &self.headers, &self.body, now)
    }
}

fn secret(kind: HookKind) -> &'static str {
    match kind {
        HookKind::Mlflow => "s3cr3t-shared-with-gateway",
        HookKind::StandardWebhooks => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        HookKind::Github => "It's a Secret to Everybody",
        HookKind::WeightsAndBiases => "wandb-secret",
        HookKind::HuggingFace => "hugging-secret",
    }
}

fn key(kind: HookKind) -> HookKey {
    HookKey::try_new(kind, secret(kind)).unwrap()
}

/// The header that proves who sends.
fn proof(kind: HookKind) -> &'static str {
    match kind {
        HookKind::Mlflow => "X-MLflow-Signature",
        HookKind::StandardWebhooks => "webhook-signature",
        HookKind::Github => "X-Hub-Signature-256",
        HookKind::WeightsAndBiases => "X-Wandb-Signature",
        HookKind::HuggingFace => "X-Webhook-Secret",
    }
}

/// The header with the id, of those that send one.
fn id_header(kind: HookKind) -> Option<&'static str> {
    match kind {
        HookKind::Mlflow => Some("X-MLflow-Delivery-Id"),
        HookKind::StandardWebhooks => Some("webhook-id"),
        HookKind::Github => Some("X-GitHub-Delivery"),
        HookKind::WeightsAndBiases | HookKind::HuggingFace => None,
    }
}

/// The header with the time, of those that sign one.
fn time_header(kind: HookKind) -> Option<&'static str> {
    match kind {
        HookKind::Mlflow => Some("X-MLflow-Timestamp"),
        HookKind::StandardWebhooks => Some("webhook-timestamp"),
        HookKind::Github | HookKind::WeightsAndBiases | HookKind::HuggingFace => None,
    }
}

fn every_header(kind: HookKind) -> Vec<&'static str> {
    [Some(proof(kind)), id_header(kind), time_header(kind)].into_iter().flatten().collect()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the sender writes into its proof.
fn proof_value(kind: HookKind, (id, at): (&str, u64), body: &[u8]) -> String {
    let signed = |parts: &[&[u8]]| sign(&key(kind), parts);
    let time = at.to_string();
    match kind {
        HookKind::Mlflow | HookKind::StandardWebhooks => {
            format!("v1,{}", STANDARD.encode(signed(&[id.as_bytes(), b".", time.as_bytes(), b".", body])))
        }
        HookKind::Github => format!("sha256={}", hexadecimal(&signed(&[body]))),
        HookKind::WeightsAndBiases => hexadecimal(&signed(&[body])),
        HookKind::HuggingFace => secret(kind).to_owned(),
    }
}

/// A delivery of the sender.
fn delivery(kind: HookKind, (id, at): (&str, u64), body: &[u8]) -> Request {
    let mut pairs = vec![(proof(kind), proof_value(kind, (id, at), body))];
    pairs.extend(id_header(kind).map(|header| (header, id.to_owned())));
    pairs.extend(time_header(kind).map(|header| (header, at.to_string())));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Request { kind, headers: headers(&pairs), body: body.to_vec() }
}

/// A header with one byte changed; nothing if no header can have that byte.
fn changed(value: &HeaderValue, place: usize, by: u8) -> Option<HeaderValue> {
    let mut bytes = value.as_bytes().to_vec();
    let place = place % bytes.len();
    bytes[place] ^= by;
    HeaderValue::from_bytes(&bytes).ok()
}
