//! Rollouts over the API: what they are, why, and what they are told to do.
//!
//! Views are read where they were posted. An order goes to the task that drives rollouts and is answered when it is carried
//! out or refused, so that a script that got 200 may rely on it. An order may be bound to the generation that its sender
//! saw; of an abort that is not asked, because it always wins.
//!
//! Invariant: what an order is journalled under names who sent it and never a token.

use super::api::{only, unknown_model, unknown_path};
use super::server::Peer;
use super::{AdminError, Desk, body};
use crate::rollout::{
    DeliveryFigures, Explanation, Message, Order, OrderError, OrderRequest, Posted, RolloutDesk, RolloutView, TestPlan,
};
use crate::route::Weight;
use crate::serve::respond::{self, Answer};
use hyper::body::Incoming;
use hyper::{Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an order may take to be carried out before its sender is told that it is under way.
const ORDER_PATIENCE: Duration = Duration::from_secs(30);
/// How long reading a journal may take.
const EXPLAIN_PATIENCE: Duration = Duration::from_secs(10);
/// What came is quoted in errors up to this many characters.
const QUOTED: usize = 100;

/// The latest rollout of a model, with the figures of all of them.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    rollout: &'a RolloutView,
    figures: DeliveryFigures,
}

/// What may be said with an order.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct OrderBody {
    generation: Option<u64>,
}

/// What may be said with an order to begin.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StartBody {
    generation: Option<u64>,
    version: Option<Number>,
    test: Option<TestPlan>,
}

/// A version as a number, or as the text that every answer has it as.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

/// Answers what is asked of rollouts; `rest` is what follows `/api/v1/rollouts` in the path.
pub(super) async fn answer(
    desk: &Desk,
    (rest, path): (&[&str], &str),
    request: Request<Incoming>,
) -> Result<Answer, AdminError> {
    let method = request.method().clone();
    match rest {
        [] => only(&method, &Method::GET, path, "GET").map(|()| respond::value(&list(&desk.rollouts.posted()))),
        [model] => {
            only(&method, &Method::GET, path, "GET")?;
            known(desk, model)?;
            let posted = desk.rollouts.posted();
            let rollout = posted.rollouts.get(*model).ok_or_else(|| OrderError::NoRollout((*model).to_owned()))?;
            Ok(respond::value(&shown(&posted, rollout)))
        }
        [model, "explain"] => {
            only(&method, &Method::GET, path, "GET")?;
            known(desk, model)?;
            let id = id_of(request.uri().query())?;
            Ok(respond::value(&explain(&desk.rollouts, model, id).await?))
        }
        [model, order @ ("start" | "pause" | "resume" | "promote" | "abort")] => {
            only(&method, &Method::POST, path, "POST")?;
            known(desk, model)?;
            let peer = request.extensions().get::<Peer>().map_or("an unknown address".to_owned(), Peer::text);
            let by = format!("{} at {peer}", desk.access.kind_of_operator());
            let (order, generation) = read_order(order, &body::read(request).await?)?;
            let view = send(&desk.rollouts, model, (order, generation), by, ORDER_PATIENCE).await?;
            Ok(respond::value(&view))
        }
        _ => Err(unknown_path(path)),
    }
}

/// `GET /api/v1/rollouts`.
fn list(posted: &Posted) -> Value {
    let rollouts: Vec<Shown<'_>> = posted.rollouts.values().map(|rollout| shown(posted, rollout)).collect();
    json!({ "rollouts": rollouts })
}

fn shown<'a>(posted: &Posted, rollout: &'a RolloutView) -> Shown<'a> {
    Shown { rollout, figures: posted.figures.get(&rollout.model).copied().unwrap_or_default() }
}

/// Whether there is such a model; one that is no longer served still has its rollouts.
fn known(desk: &Desk, model: &str) -> Result<(), AdminError> {
    let is_served = desk.gate.catalog.snapshot().models.contains_key(model);
    let is_known = is_served || desk.rollouts.posted().rollouts.contains_key(model);
    if is_known { Ok(()) } else { Err(unknown_model(model)) }
}

/// What an order and its body say, and the generation that it is for.
fn read_order(order: &str, body: &[u8]) -> Result<(Order, Option<u64>), AdminError> {
    if order == "start" {
        let body: StartBody =
            read(body, "{\"version\":2,\"test\":{\"weight\":50,\"question\":\"errors\"},\"generation\":7}")?;
        let target = body.version.map(version).transpose()?;
        body.test.as_ref().map_or(Ok(()), check_test)?;
        return Ok((Order::Start { target, test: body.test }, body.generation));
    }
    let body: OrderBody = read(body, "{\"generation\":7}")?;
    let order = match order {
        "pause" => Order::Pause,
        "resume" => Order::Resume,
        "promote" => Order::Promote,
        _ => Order::Abort,
    };
    Ok((order, body.generation))
}

/// A body that may be left out.
fn read<T: Default + for<'de> Deserialize<'de>>(body: &[u8], example: &str) -> Result<T, AdminError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| AdminError::BadBody { reason: format!("expected no body, or members of {example}: {error}") })
}

fn version(number: Number) -> Result<u64, AdminError> {
    match number {
        Number::Number(version) => Ok(version),
        // "01" would be a second name for version 1.
        Number::Text(text) => {
            let version = text.parse().ok().filter(|version: &u64| version.to_string() == text);
            let quoted: String = text.chars().take(QUOTED).collect();
            version.ok_or_else(|| AdminError::BadBody { reason: format!("version \"{quoted}\" is not a whole number") })
        }
    }
}

/// A test gives both versions something, and asks what can be answered.
fn check_test(test: &TestPlan) -> Result<(), AdminError> {
    let bad = |reason: String| AdminError::BadBody { reason };
    let weight = Weight::from_percent(test.weight).map_err(|error| bad(format!("test.weight: {error}")))?;
    if !(1..10_000).contains(&weight.hundredths()) {
        return Err(bad(format!("test.weight: expected a percentage above 0 and below 100, found {}", test.weight)));
    }
    let is_known = matches!(test.question.as_str(), "errors" | "latency")
        || test.question.strip_prefix("output/").is_some_and(|column| !column.is_empty());
    let quoted: String = test.question.chars().take(QUOTED).collect();
    let reason = || format!("test.question: expected errors, latency or output/<column>, found \"{quoted}\"");
    is_known.then_some(()).ok_or_else(|| bad(reason()))
}

/// Hands an order on and waits until it is carried out or refused.
async fn send(
    rollouts: &RolloutDesk,
    model: &str,
    (order, generation): (Order, Option<u64>),
    by: String,
    patience: Duration,
) -> Result<RolloutView, OrderError> {
    let (reply, outcome) = oneshot::channel();
    let model = model.to_owned();
    tracing::info!(model, ?order, by, "a rollout is told what to do");
    rollouts.send(Message::Order(OrderRequest { model: model.clone(), order, by, generation, reply }))?;
    let under_way = || {
        let text =
            format!("the order is not carried out after {patience:?}; GET /api/v1/rollouts/{model} says whether it is");
        OrderError::Unavailable(text)
    };
    let outcome = tokio::time::timeout(patience, outcome).await.map_err(|_elapsed| under_way())?;
    outcome.map_err(|_gone| OrderError::Unavailable("the order was not taken, because this process ends".to_owned()))?
}

async fn explain(rollouts: &RolloutDesk, model: &str, id: Option<String>) -> Result<Explanation, OrderError> {
    let (reply, outcome) = oneshot::channel();
    rollouts.send(Message::Explain { model: model.to_owned(), id, reply })?;
    let late = || OrderError::Unavailable(format!("the journal could not be read within {EXPLAIN_PATIENCE:?}"));
    let outcome = tokio::time::timeout(EXPLAIN_PATIENCE, outcome).await.map_err(|_elapsed| late())?;
    outcome.map_err(|_gone| OrderError::Unavailable("the journal is not read, because this process ends".to_owned()))?
}

/// Which rollout is asked for; the latest if the query does not say.
fn id_of(query: Option<&str>) -> Result<Option<String>, AdminError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let is_plain = |id: &&str| (1..=QUOTED).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let id = query.strip_prefix("id=").filter(is_plain);
    id.map(|id| Some(id.to_owned())).ok_or_else(|| {
        let quoted: String = query.chars().take(QUOTED).collect();
        AdminError::BadQuery {
            reason: format!("the query \"{quoted}\" is not known; expected none, or id=<of a rollout>"),
        }
    })
}

#[cfg(test)]
mod tests;
