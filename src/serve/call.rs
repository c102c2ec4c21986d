//! A call that is not made at once: when it is its turn on the worker, or in the version's lane, within the time that the
//! request has.
//!
//! A request names its time in the header `tidegate-timeout` (`250ms`, `2s`) or, in the Open Inference Protocol, as the
//! parameter `timeout` in microseconds; the shorter holds, and without either the version's setting. Time counts from the
//! whole body on. A caller that goes away takes its request along: the reply's channel closes, and the lane drops the job, or the turn goes to the next.
//!
//! Invariant: a request that was accepted is answered or its caller has gone.

use super::turns::{Turn, Turns};
use crate::catalog::{Place, Placement};
use crate::engine::{EngineError, Refused};
use crate::error::{Blamed, Fault};
use crate::tensor::Tensor;
use hyper::HeaderMap;
use hyper::header::HeaderName;
use std::time::{Duration, Instant};

/// How long a request may take.
static TIMEOUT: HeaderName = HeaderName::from_static("tidegate-timeout");

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// More requests came than the version can answer in time.
    #[error("the version has more requests than it can answer; try again in {:?}", .0.retry_after)]
    Contended(#[from] Refused),
    /// The time that the request had is over.
    #[error("the request was not answered within {limit:?}")]
    Overdue {
        /// Its time.
        limit: Duration,
    },
    /// The header is no duration.
    #[error("the header tidegate-timeout is \"{found}\", not a duration such as \"250ms\" or \"2s\"")]
    NoDuration {
        /// What came.
        found: String,
    },
    /// The lane gave the job up.
    #[error("the call was given up by a thread that ended")]
    GivenUp,
}

impl Blamed for CallError {
    fn fault(&self) -> Fault {
        match self {
            Self::Contended(_) => Fault::Contended,
            Self::Overdue { .. } => Fault::DeadlineExceeded,
            Self::NoDuration { .. } => Fault::InvalidRequest,
            Self::GivenUp => Fault::Internal,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Contended(refused) => Some(refused.retry_after),
            _ => None,
        }
    }
}

/// What a call came to.
pub(super) struct Called {
    /// The inputs, given back.
    pub(super) inputs: Vec<Tensor>,
    /// The outputs.
    pub(super) outputs: Result<Vec<Tensor>, EngineError>,
    /// How long it waited.
    pub(super) waited: Duration,
}

/// How long a request may take: as its header or its parameter says, at most `default`.
///
/// # Errors
/// [`CallError::NoDuration`].
pub(super) fn timeout(
    headers: &HeaderMap,
    parameter: Option<Duration>,
    default: Duration,
) -> Result<Duration, CallError> {
    let Some(header) = headers.get(&TIMEOUT) else { return Ok(parameter.unwrap_or(default).min(default)) };
    let duration = header.to_str().ok().and_then(|text| humantime::parse_duration(text.trim()).ok());
    let Some(duration) = duration.filter(|duration| !duration.is_zero()) else {
        let found = String::from_utf8_lossy(header.as_bytes()).chars().take(40).collect();
        return Err(CallError::NoDuration { found });
    };
    Ok(duration.min(parameter.unwrap_or(default)).min(default))
}

/// Refuses a request early whose call could not be made in time, before it is read: where more comes than can be served,
/// most of the work is refusing.
///
/// # Errors
/// [`CallError`].
pub(super) fn check(turns: &Turns, place: Place<'_>, headers: &HeaderMap, began: Instant) -> Result<(), CallError> {
    match place {
        Place::AtOnce => Ok(()),
        Place::InTurn(placement) => {
            let limit = timeout(headers, None, placement.timeout)?;
            check_turn(turns, placement, (began, limit))
        }
        Place::Lane(placement) => {
            let limit = timeout(headers, None, placement.timeout)?;
            Ok(placement.lane.check(Instant::now(), began + limit)?)
        }
    }
}

/// Whether a call that takes turns on the worker would be made in time.
fn check_turn(turns: &Turns, placement: &Placement, (began, limit): (Instant, Duration)) -> Result<(), CallError> {
    let call = placement.lane.settings().call;
    if turns.is_behind() {
        turns.check(call, Instant::now(), began + limit)?;
    } else if limit < call {
        return Err(Refused { retry_after: call, is_full: false }.into());
    }
    Ok(())
}

/// Waits until it is a request's turn on its worker, if it has to wait; answers the turn, and since when it is.
///
/// # Errors
/// [`CallError`].
pub(super) async fn turn(
    turns: &Turns,
    placement: &Placement,
    (began, limit): (Instant, Duration),
) -> Result<Option<(Turn, Instant)>, CallError> {
    check_turn(turns, placement, (began, limit))?;
    if !turns.is_behind() {
        return Ok(None);
    }
    let _waits = placement.wait();
    let deadline = began + limit;
    let turn = match tokio::time::timeout_at(deadline.into(), turns.enter()).await {
        Ok(turn) => turn.map_err(|_closed| CallError::GivenUp)?,
        Err(_elapsed) => return Err(CallError::Overdue { limit }),
    };
    let now = Instant::now();
    if now > deadline { Err(CallError::Overdue { limit }) } else { Ok(Some((turn, now))) }
}

/// Makes a call in the lane of the version; `began` is when the request's time began, and how long it is.
///
/// # Errors
/// [`CallError`].
pub(super) async fn make(
    placement: &Placement,
    inputs: Vec<Tensor>,
    (began, limit): (Instant, Duration),
) -> Result<Called, CallError> {
    let (now, deadline) = (Instant::now(), began + limit);
    let answer = placement.lane.submit(inputs, now, deadline)?;
    // What runs longer than the lane foresaw is late all the same.
    let reply = match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(reply) => reply.map_err(|_closed| CallError::GivenUp)?,
        Err(_elapsed) => return Err(CallError::Overdue { limit }),
    };
    let outputs = reply.outputs.ok_or(CallError::Overdue { limit })?;
    Ok(Called { inputs: reply.inputs, outputs, waited: reply.waited })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_shortest_time_that_was_named_holds() {
        let default = Duration::from_secs(30);
        let of = |header: Option<&'static str>, parameter: Option<u64>| {
            let mut headers = HeaderMap::new();
            header.into_iter().for_each(|text| drop(headers.insert(&TIMEOUT, HeaderValue::from_static(text))));
            timeout(&headers, parameter.map(Duration::from_micros), default).map_err(|error| error.to_string())
        };
        assert_eq!(of(None, None), Ok(default));
        assert_eq!(of(None, Some(5_000)), Ok(Duration::from_millis(5)));
        assert_eq!(of(Some("250ms"), None), Ok(Duration::from_millis(250)));
        assert_eq!(of(Some("2s"), Some(5_000)), Ok(Duration::from_millis(5)));
        assert_eq!(of(Some("2m"), None), Ok(default), "no longer than the version allows");
        for wrong in ["", "soon", "0s", "5"] {
            assert!(of(Some(wrong), None).unwrap_err().contains("tidegate-timeout"), "{wrong}");
        }
    }
}
