//! Reads a request's body, within a size and a time.
//!
//! Most bodies arrive in one piece, which is then used as it is; only longer ones are put together. The size is checked
//! before anything is read when the client declares it, and while reading when it does not.
//!
//! Invariant: no more than `max_body` bytes are ever held for one request.

use super::Limits;
use super::waiting::{Phase, Wait};
use crate::error::{Blamed, Fault};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// Larger than the limit.
    #[error("the body is larger than the limit of {limit} bytes (server.max_body)")]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// Not whole in time.
    #[error("the body did not arrive whole within {limit:?} (server.body_timeout)")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// Other bodies of its connection leave no room for it.
    #[error("the requests in hand on this connection hold the {limit} bytes that a connection may; send fewer at once")]
    TooManyAtOnce {
        /// The limit, bytes.
        limit: usize,
    },
    /// The connection ended, or its framing broke.
    #[error("the body ended early")]
    Broken,
    /// Compressed, or encoded in another way.
    #[error("content encoding \"{encoding}\" is not read here; send the body as it is")]
    Encoded {
        /// What the client declared.
        encoding: String,
    },
}

impl Blamed for BodyError {
    fn fault(&self) -> Fault {
        match self {
            Self::TooLarge { .. } => Fault::TooLarge,
            Self::TooSlow { .. } => Fault::TooSlow,
            Self::TooManyAtOnce { .. } => Fault::Contended,
            Self::Broken => Fault::InvalidRequest,
            Self::Encoded { .. } => Fault::UnsupportedMedia,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        // As soon as some are answered; the header has whole seconds.
        matches!(self, Self::TooManyAtOnce { .. }).then_some(Duration::from_secs(1))
    }
}

impl From<hyper::Error> for BodyError {
    fn from(_broken: hyper::Error) -> Self {
        Self::Broken
    }
}

/// A whole body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether some of it had not come yet when its head had.
    pub(super) had_to_wait: bool,
}

/// Reads the whole body.
///
/// # Errors
/// [`BodyError`] when it is too large, too slow, cut off or encoded.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, limits: &Limits, wait: &Wait) -> Result<Body, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    BodyError: From<B::Error>,
{
    if let Some(encoding) =
        headers.get(CONTENT_ENCODING).filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect();
        return Err(BodyError::Encoded { encoding });
    }
    let declared = body.size_hint().lower();
    if usize::try_from(declared).map_or(true, |declared| declared > limits.max_body) {
        return Err(BodyError::TooLarge { limit: limits.max_body });
    }
    wait.enter(Phase::Body);
    let mut collecting = pin!(collect(body, limits.max_body));
    let mut had_to_wait = false;
    let outcome = poll_fn(|context| match collecting.as_mut().poll(context) {
        Poll::Pending if wait.is_overdue(Phase::Body) => {
            Poll::Ready(Err(BodyError::TooSlow { limit: limits.body_timeout }))
        }
        outcome => {
            had_to_wait |= outcome.is_pending();
            outcome
        }
    });
    let outcome = outcome.await;
    wait.enter(Phase::Ours);
    outcome.map(|bytes| Body { bytes, had_to_wait })
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    BodyError: From<B::Error>,
{
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
