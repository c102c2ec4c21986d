//! Splits over the API: percent on the wire, hundredths of a percent inside.
//!
//! Invariant: a split is answered when it is live or refused, so a script that got 200 may rely on it.

use super::api::only;
use super::{AdminError, Command, Desk, body};
use crate::catalog::{SplitError, SplitView};
use crate::route::Weight;
use crate::serve::respond::{self, Answer};
use hyper::body::Incoming;
use hyper::{Method, Request};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitRequest {
    weights: BTreeMap<String, f64>,
}

/// Answers `PUT` and `DELETE` of a model's split.
pub(super) async fn answer(
    desk: &Desk,
    name: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Answer, AdminError> {
    let (reply, outcome) = oneshot::channel();
    let reply = Box::new(move |result: Result<SplitView, SplitError>| {
        // Nobody waits for the answer of a client that went away; the split is live all the same.
        let _ = reply.send(result);
    });
    let model = name.to_owned();
    let command = if request.method() == Method::DELETE {
        Command::ClearSplit { model, reply }
    } else {
        only(request.method(), &Method::PUT, path, "PUT or DELETE")?;
        Command::SetSplit { model, weights: read_weights(request).await?, reply }
    };
    desk.commands.try_send(command).map_err(|_full| AdminError::Busy)?;
    let view = outcome.await.map_err(|_gone| AdminError::Busy)??;
    let weights: BTreeMap<String, f64> =
        view.weights.iter().map(|(version, weight)| (version.to_string(), f64::from(*weight) / 100.0)).collect();
    Ok(respond::value(&serde_json::json!({ "model": name, "weights": weights, "generation": view.generation })))
}

async fn read_weights(request: Request<Incoming>) -> Result<Vec<(u64, u16)>, AdminError> {
    let bad = |reason: String| AdminError::BadBody { reason };
    let body = body::read(request).await?;
    let split: SplitRequest = serde_json::from_slice(&body)
        .map_err(|error| bad(format!("expected {{\"weights\":{{\"1\":90,\"2\":10}}}}: {error}")))?;
    split
        .weights
        .into_iter()
        .map(|(version, percent)| {
            // "01" would be a second name for version 1.
            let number = version.parse().ok().filter(|number: &u64| number.to_string() == version);
            let number = number.ok_or_else(|| bad(format!("version \"{version}\" is not a whole number")))?;
            let weight = Weight::from_percent(percent).map_err(|error| bad(error.to_string()))?;
            Ok((number, weight.hundredths()))
        })
        .collect()
}
