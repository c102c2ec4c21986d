//! Whether a delivery is the configured sender's.
//!
//! The senders differ in what their proof covers, and that decides what may be believed:
//!
//! | sender | proof | body | id | time |
//! |---|---|---|---|---|
//! | MLflow, Standard Webhooks | HMAC of `id.time.body` | proved | proved | proved |
//! | GitHub | HMAC of the body | proved | as sent | none |
//! | Weights & Biases | HMAC of the body | proved | hash of the body | none |
//! | Hugging Face | the secret itself | as sent | hash of the body | none |
//!
//! Where there is no time, somebody who recorded a delivery may send it again for ever. That is bearable because a
//! delivery is a hint and nothing else: it costs one look at the registry, and waking a follower twice makes one look of both.
//!
//! Invariant: a time is judged only after the signature over it, so that "stale" is always the true sender's clock.

use super::header;
use super::key::HookKey;
use super::signature::{Signature, any_fits, from_base64, from_hexadecimal, sign};
use super::{HookError, HookKind};
use hyper::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How long after its time a delivery is taken, seconds. MLflow repeats with the first time, at most 128 s later by its
/// defaults (four tries of 30 s and their pauses); five minutes are what Standard Webhooks' libraries allow.
pub const SKEW_BACK_SECONDS: u64 = 300;
/// How long before its time a delivery is taken, seconds: clocks of machines that keep them.
pub const SKEW_AHEAD_SECONDS: u64 = 60;

const GITHUB_ID: &str = "X-GitHub-Delivery";
const GITHUB_SIGNATURE: &str = "X-Hub-Signature-256";
const WANDB_SIGNATURE: &str = "X-Wandb-Signature";
const HUGGING_FACE_SECRET: &str = "X-Webhook-Secret";
/// Before hexadecimal signatures.
const ALGORITHM: &str = "sha256=";
/// Before a symmetric signature of MLflow and of Standard Webhooks.
const SYMMETRIC: &str = "v1,";

/// A delivery that is the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, or `sha256:` and the hash of its body where the sender gives none.
    pub id: String,
    /// When it was signed, unix seconds, where the sender says so.
    pub at: Option<u64>,
}

/// The headers of a sender that signs id, time and body.
struct Signed {
    id: &'static str,
    time: &'static str,
    signature: &'static str,
    /// What comes in `signature`, read.
    read: fn(&str) -> Option<Vec<Signature>>,
    expected: &'static str,
}

/// `mlflow/webhooks/delivery.py`: Standard Webhooks under other names, with one signature.
const MLFLOW: Signed = Signed {
    id: "X-MLflow-Delivery-Id",
    time: "X-MLflow-Timestamp",
    signature: "X-MLflow-Signature",
    read: |text| symmetric(text).map(|signature| vec![signature]),
    expected: "v1, and the base64 of 32 bytes",
};

/// Standard Webhooks: several signatures while a secret is replaced.
const STANDARD: Signed = Signed {
    id: "webhook-id",
    time: "webhook-timestamp",
    signature: "webhook-signature",
    read: several,
    expected: "signatures with a space between them, at least one of them v1, and the base64 of 32 bytes",
};

/// Tells whether a request is a delivery of the sender `kind` that holds `key`, which was made for the same kind. `body` is
/// as it came, not yet read as JSON, `now` in unix seconds.
///
/// # Errors
/// A header that is missing, there twice, too long or not of its form; [`HookError::Forged`]; [`HookError::Stale`] and
/// [`HookError::Ahead`] outside of [`SKEW_BACK_SECONDS`] and [`SKEW_AHEAD_SECONDS`].
pub fn verify(
    kind: HookKind,
    key: &HookKey,
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
) -> Result<Delivery, HookError> {
    match kind {
        HookKind::Mlflow => MLFLOW.verify(key, headers, body, now),
        HookKind::StandardWebhooks => STANDARD.verify(key, headers, body, now),
        HookKind::Github => github(key, headers, body),
        HookKind::WeightsAndBiases => weights_and_biases(key, headers, body),
        HookKind::HuggingFace => hugging_face(key, headers, body),
    }
}

impl Signed {
    fn verify(&self, key: &HookKey, headers: &HeaderMap, body: &[u8], now: u64) -> Result<Delivery, HookError> {
        let id = header::signed_id(headers, self.id)?;
        let (time, at) = header::time(headers, self.time)?;
        let text = header::value(headers, self.signature)?;
        let given = (self.read)(text).ok_or(HookError::Malformed {
            header: self.signature,
            expected: self.expected,
            found: text.len(),
        })?;
        let right = sign(key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        if !any_fits(&right, &given) {
            return Err(HookError::Forged { header: self.signature });
        }
        check_time(at, now)?;
        Ok(Delivery { id: id.to_owned(), at: Some(at) })
    }
}

fn check_time(at: u64, now: u64) -> Result<(), HookError> {
    if now > at.saturating_add(SKEW_BACK_SECONDS) {
        return Err(HookError::Stale { at, now });
    }
    if at > now.saturating_add(SKEW_AHEAD_SECONDS) {
        return Err(HookError::Ahead { at, now });
    }
    Ok(())
}

fn symmetric(text: &str) -> Option<Signature> {
    from_base64(text.strip_prefix(SYMMETRIC)?)
}

/// The symmetric ones among several; the others (`v1a`, and versions to come) are for keys that are not held here.
fn several(text: &str) -> Option<Vec<Signature>> {
    let signatures: Option<Vec<_>> = text.split(' ').filter(|one| one.starts_with(SYMMETRIC)).map(symmetric).collect();
    signatures.filter(|signatures| !signatures.is_empty())
}

fn github(key: &HookKey, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, HookError> {
    let id = header::id(headers, GITHUB_ID)?;
    let read = |text: &str| from_hexadecimal(text.strip_prefix(ALGORITHM)?);
    let expected = "sha256= and 64 hexadecimal digits in lower case";
    check_body(key, (headers, GITHUB_SIGNATURE), body, (read, expected))?;
    Ok(Delivery { id: id.to_owned(), at: None })
}

/// Its documents do not say how the signature is written: its test script shows base64, receivers compare hexadecimal
/// digits, some with `sha256=` before them.
fn weights_and_biases(key: &HookKey, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, HookError> {
    let read = |text: &str| {
        let text = text.strip_prefix(ALGORITHM).unwrap_or(text);
        from_hexadecimal(text).or_else(|| from_base64(text))
    };
    let expected = "64 hexadecimal digits in lower case or the base64 of 32 bytes, with or without sha256=";
    check_body(key, (headers, WANDB_SIGNATURE), body, (read, expected))?;
    Ok(Delivery { id: id_of(body), at: None })
}

/// Checks a signature over nothing but the body.
fn check_body(
    key: &HookKey,
    (headers, header): (&HeaderMap, &'static str),
    body: &[u8],
    (read, expected): (impl Fn(&str) -> Option<Signature>, &'static str),
) -> Result<(), HookError> {
    let text = header::value(headers, header)?;
    let given = read(text).ok_or(HookError::Malformed { header, expected, found: text.len() })?;
    if any_fits(&sign(key, &[body]), &[given]) { Ok(()) } else { Err(HookError::Forged { header }) }
}

/// How long the secret is may be learned from how long this takes; what it is may not.
fn hugging_face(key: &HookKey, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, HookError> {
    let given = header::value(headers, HUGGING_FACE_SECRET)?;
    if bool::from(given.as_bytes().ct_eq(key.expose())) {
        Ok(Delivery { id: id_of(body), at: None })
    } else {
        Err(HookError::Forged { header: HUGGING_FACE_SECRET })
    }
}

fn id_of(body: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(body))
}
