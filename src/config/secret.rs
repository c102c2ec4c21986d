//! Values that must not be seen: tokens, and addresses that carry one.
//!
//! Types of their own and not strings, so that a derived `Debug` anywhere above them cannot print them; to get at the
//! value one has to ask for it by a name that shows in review.
//!
//! Invariant: neither `Debug` here shows more than a scheme, a host and a port.

use std::fmt;

use reqwest::Url;

/// A token or password. Debug shows that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The address of a webhook, `http` or `https`. Its path, query or user part may be what authorises the sender, so Debug
/// and Display show scheme, host and port.
///
/// It is the HTTP client's own type inside, so that an address accepted here cannot be refused when an alert is due.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl Secret {
    pub(super) fn new(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The value itself, visible ASCII without spaces, never empty.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl WebhookUrl {
    /// Reads an address; the error says what is wrong without repeating it.
    pub(super) fn try_new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|cause| format!("text that is none ({cause})"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            other => Err(format!("one of scheme {other:?}")),
        }
    }

    /// The whole address.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebhookUrl({self}/…)")
    }
}
