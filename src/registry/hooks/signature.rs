//! Computes, reads and compares signatures: HMAC-SHA256 and its spellings.
//!
//! A spelling is read strictly, one text for one signature: base64 with its padding and without stray bits, hexadecimal
//! in lower case. Every sender writes exactly that, and so no changed byte of a header is ever looked past.
//!
//! Invariant: comparing takes the same time wherever the first difference is, and however many signatures fit.

use super::key::HookKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// How long a signature is, bytes.
const LENGTH: usize = 32;

/// HMAC-SHA256 of something.
pub(super) type Signature = [u8; LENGTH];

/// The signature of `parts`, one after another.
pub(super) fn sign(key: &HookKey, parts: &[&[u8]]) -> Signature {
    let mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
}

/// Whether one of `given` is `right`.
pub(super) fn any_fits(right: &Signature, given: &[Signature]) -> bool {
    given.iter().fold(Choice::from(0), |any, one| any | right.ct_eq(one)).into()
}

/// Reads base64 with padding.
pub(super) fn from_base64(text: &str) -> Option<Signature> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Reads hexadecimal digits in lower case.
pub(super) fn from_hexadecimal(text: &str) -> Option<Signature> {
    if text.len() != 2 * LENGTH {
        return None;
    }
    let mut signature = [0; LENGTH];
    for (byte, pair) in signature.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(signature)
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}
