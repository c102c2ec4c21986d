//! Webhooks of registries: who sent one, and which models it is about.
//!
//! A webhook wakes, the registry's state decides: deliveries are lost, repeated and swapped, so none of what they say of
//! a version is believed. The order of a delivery through here, each step refusing before the next one runs:
//! ```text
//!  headers, raw body ─▶ verify ─▶ models_of ─▶ first_time ─▶ followers, one look at the registry each
//!                       401, 400   400          202, ignored   202
//! ```
//! [`ReplayGuard::first_time`] stands after whatever can be refused, because a sender repeats a refused delivery under
//! the same id. The contracts are those of MLflow 3.18 (`mlflow/webhooks`), [Standard Webhooks 1.0.0], GitHub, W&B
//! automations and the Hugging Face Hub. Everything is a function of its arguments: no sockets, no clock.
//!
//! Invariant: no error and no `Debug` here repeats a secret, or a signature that came.
//!
//! [Standard Webhooks 1.0.0]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

pub mod event;
mod followers;
mod header;
mod key;
pub mod replay;
mod signature;
#[cfg(test)]
mod tests;
pub mod verify;

pub use crate::config::HookKind;
pub use event::{Hint, models_of};
pub use followers::Followers;
pub use key::HookKey;
pub use replay::ReplayGuard;
pub use verify::{Delivery, verify};

use crate::error::{Blamed, Fault};
use header::{LONGEST_ID, LONGEST_VALUE};

/// Why a delivery is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The configured secret cannot be a key. Found when a [`HookKey`] is made, never by a delivery.
    #[error("the webhook's secret must be {expected}")]
    BadSecret {
        /// What it should be.
        expected: &'static str,
    },
    /// A header is not there.
    #[error("the header {header} is missing; is a secret set where the webhook is sent from?")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header is there more than once.
    #[error("the header {header} must come once, it came {found} times")]
    Repeated {
        /// Its name.
        header: &'static str,
        /// How often it came.
        found: usize,
    },
    /// A header is longer than it may be.
    #[error(
        "the header {header} has {found} bytes; an id may have {LONGEST_ID}, any other header of a webhook {LONGEST_VALUE}"
    )]
    TooLong {
        /// Its name.
        header: &'static str,
        /// How many bytes it has.
        found: usize,
    },
    /// A header is not of its form. What came is not repeated: it may be a secret or a signature.
    #[error("the header {header} must be {expected}; {found} bytes came that are not")]
    Malformed {
        /// Its name.
        header: &'static str,
        /// Its form.
        expected: &'static str,
        /// How many bytes it has.
        found: usize,
    },
    /// The signature or the secret in this header is a wrong one.
    #[error("the header {header} does not fit the secret and the request")]
    Forged {
        /// Its name.
        header: &'static str,
    },
    /// It was signed too long ago.
    #[error("signed at {at}, received at {now} (unix seconds): more than {} s late", verify::SKEW_BACK_SECONDS)]
    Stale {
        /// When it was signed, unix seconds.
        at: u64,
        /// When it came, unix seconds.
        now: u64,
    },
    /// It was signed in what is the future here.
    #[error(
        "signed at {at}, received at {now} (unix seconds): more than {} s ahead; compare the clocks",
        verify::SKEW_AHEAD_SECONDS
    )]
    Ahead {
        /// When it was signed, unix seconds.
        at: u64,
        /// When it came, unix seconds.
        now: u64,
    },
    /// The body says nothing that could be understood.
    #[error("the body must be a JSON object (content type application/json): {found}")]
    BadBody {
        /// What came.
        found: String,
    },
}

impl Blamed for HookError {
    fn fault(&self) -> Fault {
        match self {
            Self::BadSecret { .. } => Fault::Internal,
            Self::Missing { .. } | Self::Forged { .. } | Self::Stale { .. } | Self::Ahead { .. } => Fault::Unauthorized,
            Self::Repeated { .. } | Self::TooLong { .. } | Self::Malformed { .. } | Self::BadBody { .. } => {
                Fault::InvalidRequest
            }
        }
    }
}
