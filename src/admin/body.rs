//! Bodies of admin requests: small, and there soon.
//!
//! Invariant: no more than [`BODY_LIMIT`] bytes are held of a body, for no longer than [`BODY_TIMEOUT`] while it comes.

use super::AdminError;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use std::time::Duration;

/// The largest body of an admin request.
const BODY_LIMIT: usize = 64 << 10;
/// The longest wait for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body.
pub(super) async fn read(request: Request<Incoming>) -> Result<Bytes, AdminError> {
    let bad = |reason: String| AdminError::BadBody { reason };
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(request.into_body(), BODY_LIMIT).collect())
        .await
        .map_err(|_elapsed| bad(format!("the body did not arrive within {BODY_TIMEOUT:?}")))?
        .map_err(|error| bad(format!("the body could not be read, or is over {BODY_LIMIT} bytes: {error}")))?;
    Ok(body.to_bytes())
}
