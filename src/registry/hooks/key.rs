//! What a sender and we both know.
//!
//! The secret is turned into key bytes once, when the configuration is read, so that a secret that cannot be a key is
//! found then and not at the first delivery.
//!
//! Invariant: never empty (an empty key lets anybody sign), and never printed.

use super::{HookError, HookKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Marks a symmetric secret of Standard Webhooks; what follows is base64.
const STANDARD_PREFIX: &str = "whsec_";

/// The key of one sender's webhooks.
#[derive(Clone)]
pub struct HookKey(Vec<u8>);

impl HookKey {
    /// The key that a secret, as the sender shows it, stands for: its UTF-8 bytes; for Standard Webhooks what its base64
    /// stands for, with or without `whsec_` before it.
    ///
    /// # Errors
    /// [`HookError::BadSecret`] for an empty secret, and for one of Standard Webhooks that is not base64.
    pub fn try_new(kind: HookKind, secret: &str) -> Result<Self, HookError> {
        let (bytes, expected) = match kind {
            HookKind::StandardWebhooks => {
                let text = secret.strip_prefix(STANDARD_PREFIX).unwrap_or(secret);
                (STANDARD.decode(text).unwrap_or_default(), "whsec_ and the base64 of a key that is not empty")
            }
            HookKind::Mlflow | HookKind::Github | HookKind::WeightsAndBiases | HookKind::HuggingFace => {
                (secret.as_bytes().to_vec(), "text that is not empty")
            }
        };
        if bytes.is_empty() { Err(HookError::BadSecret { expected }) } else { Ok(Self(bytes)) }
    }

    /// The key itself.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HookKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HookKey(redacted)")
    }
}
