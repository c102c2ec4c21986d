//! One prediction, from the request's head to its answer: the page to read first.
//!
//! The version is chosen after the body is here and before it is decoded, because only a version knows what its inputs
//! look like; from then on the request holds that version and nothing else. Decoding, running, recording and encoding
//! are one synchronous stretch on the worker that read the request: for the models that fit one core's caches a hop to
//! another thread would cost more than the work. Only a call that would keep the worker too long is made in the version's
//! lane (`call.rs`), while the worker goes on with other requests, and calls that are not brief take turns (`turns.rs`)
//! while there are more of them than the worker can make at once.
//!
//! Invariant: only a request that was answered with predictions reaches the sketches.

use super::call::{self, CallError};
use super::paths::{PredictCall, Protocol};
use super::respond::{self, Answer};
use super::timing::Stopwatch;
use super::trial::Visit;
use super::waiting::{Answered, Wait};
use super::worker::Worker;
use super::{body, copies, refusals};
use crate::catalog::{ArmLabel, Model, Picked, Place, Placement};
use crate::engine::EngineError;
use crate::error::{Blamed, Fault};
use crate::observe::trial::Outcome;
use crate::observe::{Evidence, Origin, Phase, Protocol as ProtocolLabel, RefusalKind, StatusLabel};
use crate::protocol::{AnswerHead, ProtocolError, oip, v1};
use crate::route;
use crate::tensor::Tensor;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes the split sticky: requests with the same key get the same version.
static ROUTING_KEY: HeaderName = HeaderName::from_static("tidegate-routing-key");

/// The longest request id that is echoed; longer ones are replaced.
const REQUEST_ID_LIMIT: usize = 128;

/// Why a version that was picked could not answer.
#[derive(Debug, thiserror::Error)]
enum PredictError {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("batch of {rows} rows is over the model's max_batch_size of {limit}")]
    BatchTooLarge { rows: usize, limit: NonZeroU32 },
    #[error("model \"{model}\" version {version} failed: {cause}")]
    Engine { model: String, version: u64, cause: Box<EngineError> },
    #[error("a bug ended this request: {0}")]
    Panicked(String),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Blamed for PredictError {
    fn fault(&self) -> Fault {
        match self {
            Self::Protocol(error) => error.fault(),
            Self::BatchTooLarge { .. } => Fault::InvalidRequest,
            Self::Engine { cause, .. } => cause.fault(),
            Self::Panicked(_) => Fault::Internal,
            Self::Call(error) => error.fault(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl PredictError {
    /// What it is to a rollout of the version, and how much longer it would have taken.
    fn end(&self) -> (Outcome, Duration) {
        let outcome = match self {
            Self::Panicked(_) => Outcome::Failed { panicked: true },
            Self::Engine { cause, .. } if matches!(**cause, EngineError::Panicked { .. }) => {
                Outcome::Failed { panicked: true }
            }
            Self::Call(CallError::Overdue { .. }) => Outcome::Overdue,
            Self::Call(CallError::Contended(refused)) => return (Outcome::TurnedAway, refused.retry_after),
            // No version would take that header.
            Self::Call(CallError::NoDuration { .. }) => Outcome::Unanswered,
            other if other.fault() == Fault::InvalidRequest => Outcome::Refused,
            _ => Outcome::Failed { panicked: false },
        };
        (outcome, Duration::ZERO)
    }
}

/// A whole request for a version that was picked.
struct Asked<'a> {
    protocol: Protocol,
    headers: &'a HeaderMap,
    body: &'a [u8],
    /// What its values are counted as; nothing if they are not counted.
    evidence: Option<Evidence>,
    /// Its part in a rollout, if it has one.
    visit: Option<&'a Visit>,
}

/// What a decoded request asks for.
struct Decoded {
    id: Option<String>,
    inputs: Vec<Tensor>,
    outputs: Vec<usize>,
    timeout: Option<Duration>,
}

/// Answers one call for predictions.
pub(super) async fn predict(
    worker: &Worker,
    call: &PredictCall<'_>,
    request: Request<Incoming>,
    wait: &Wait,
) -> Answer {
    let mut watch = Stopwatch::start(Instant::now());
    let _in_flight = worker.gate.recorder.enter(worker.index);
    let (head, body) = request.into_parts();
    let body = match body::read(&head.headers, body, &worker.gate.limits, wait).await {
        Ok(body) => body,
        Err(error) => return refuse(worker, call, &head.headers, &error),
    };
    if body.had_to_wait {
        watch.received(Instant::now());
    }
    let (answer, answered) = answer(worker, call, (&head.headers, &body.bytes), watch).await;
    if let Some(answered) = answered {
        wait.answered(answered);
    }
    answer
}

/// Answers a call whose body is whole; `watch` has seen it arrive. Beside the answer, what is known of it if its writing
/// is to be timed.
pub(super) async fn answer(
    worker: &Worker,
    call: &PredictCall<'_>,
    (headers, body): (&HeaderMap, &[u8]),
    mut watch: Stopwatch,
) -> (Answer, Option<Answered>) {
    let (point, evidence) = place_in_traffic(worker, call, headers);
    let picked = worker.gate.catalog.find(&call.model, |entry| match &call.version {
        Some(version) => entry.pinned(version),
        None => entry.pick(point),
    });
    let picked = match picked {
        Ok(picked) => picked,
        Err(error) => return (refuse(worker, call, headers, &error), None),
    };
    let visit = Visit::open(worker.index, &picked, evidence);
    let evidence = picked.is_monitored.then_some(evidence);
    let asked = Asked { protocol: call.protocol, headers, body, evidence, visit: visit.as_ref() };
    let outcome = answer_with(worker, &picked, &asked, &mut watch).await;
    let is_answered = outcome.is_ok();
    let end = outcome.as_ref().map_or_else(PredictError::end, |_| (Outcome::Predicted, Duration::ZERO));
    let mut answer = match outcome {
        Ok(body) => respond::json(StatusCode::OK, body),
        Err(error) => respond::refusal(&error),
    };
    let Picked { model, arm, .. } = picked;
    respond::name_version(&mut answer, &model.version_text, arm);
    set_request_id(worker, &mut answer, headers);
    let label = (arm as usize, label_of(call.protocol), StatusLabel::of(answer.status().as_u16()));
    let ended = Instant::now();
    if is_answered {
        watch.end(Phase::Encode, ended);
    }
    let phases = watch.finish(ended);
    model.recorder.record_answer(worker.index, label, &phases);
    if let Some(visit) = visit {
        visit.close(end, phases[Phase::Total as usize]);
    }
    let answered = label.2.is_timed().then(|| {
        let may_wait = model.is_brief();
        Answered { model, worker: worker.index, at: ended, may_wait }
    });
    (answer, answered)
}

/// Decode, run, record, encode: everything between a whole body and a whole answer.
async fn answer_with(
    worker: &Worker,
    picked: &Picked,
    asked: &Asked<'_>,
    watch: &mut Stopwatch,
) -> Result<Bytes, PredictError> {
    let model = &picked.model;
    call::check(&worker.turns, model.place(0), asked.headers, watch.started())?;
    let decoded = caught(|| decode_checked(worker, picked, asked))?;
    watch.end(Phase::Decode, Instant::now());
    let values = decoded.inputs.iter().map(|input| input.data().len()).sum();
    match model.place(values) {
        Place::AtOnce => {
            let answer = caught(|| run_here((worker, model), asked, &decoded, watch))?;
            copies::of_worker(worker, picked, decoded.inputs);
            Ok(answer)
        }
        Place::InTurn(placement) => {
            let timeout = call::timeout(asked.headers, decoded.timeout, placement.timeout)?;
            let turn = call::turn(&worker.turns, placement, (watch.started(), timeout)).await?;
            let turn = turn.map(|(turn, now)| {
                watch.end(Phase::Queue, now);
                turn
            });
            // Answers that were made before do not wait for a long call.
            worker.outbox.send();
            let answer = caught(|| run_here((worker, model), asked, &decoded, watch));
            worker.turns.ended(turn, watch.lasted(Phase::Compute), watch.mark());
            let answer = answer?;
            copies::of_worker(worker, picked, decoded.inputs);
            Ok(answer)
        }
        Place::Lane(placement) => run_in_lane((worker, picked), placement, asked, decoded, watch).await,
    }
}

/// Runs, records and encodes on this worker.
fn run_here(
    (worker, model): (&Worker, &Arc<Model>),
    asked: &Asked<'_>,
    decoded: &Decoded,
    watch: &mut Stopwatch,
) -> Result<Bytes, PredictError> {
    let mut outputs = worker.outputs.borrow_mut();
    let ran = model.run(worker.index, &decoded.inputs, &mut outputs);
    ran.map_err(|cause| failed(model, cause))?;
    watch.end(Phase::Compute, Instant::now());
    finish((worker, model), asked, decoded, &outputs)
}

/// Runs in the version's lane, while this worker goes on with other requests.
async fn run_in_lane(
    (worker, picked): (&Worker, &Picked),
    placement: &Placement,
    asked: &Asked<'_>,
    decoded: Decoded,
    watch: &mut Stopwatch,
) -> Result<Bytes, PredictError> {
    let model = &picked.model;
    let Decoded { id, inputs, outputs: wanted, timeout } = decoded;
    let timeout = call::timeout(asked.headers, timeout, placement.timeout)?;
    let reply = call::make(placement, inputs, (watch.started(), timeout)).await?;
    watch.end_after((Phase::Queue, reply.waited), Phase::Compute, Instant::now());
    let mut outputs = reply.outputs.map_err(|cause| failed(model, cause))?;
    let decoded = Decoded { id, inputs: reply.inputs, outputs: wanted, timeout: None };
    let answer = caught(|| finish((worker, model), asked, &decoded, &outputs))?;
    copies::hand_over(worker, picked, decoded.inputs, &mut outputs);
    Ok(answer)
}

fn decode_checked(worker: &Worker, picked: &Picked, asked: &Asked<'_>) -> Result<Decoded, PredictError> {
    let model = &picked.model;
    let refuse = |kind| model.recorder.record_refusal(worker.index, kind);
    let decoded =
        decode(model, asked.protocol, asked.body).inspect_err(|error| refuse(refusals::refusal_kind(error)))?;
    check_batch(model.signature().rows(&decoded.inputs), picked.max_batch_size)
        .inspect_err(|_| refuse(RefusalKind::WrongShape))?;
    Ok(decoded)
}

/// Writes the answer, and counts it.
fn finish(
    (worker, model): (&Worker, &Arc<Model>),
    asked: &Asked<'_>,
    decoded: &Decoded,
    outputs: &[Tensor],
) -> Result<Bytes, PredictError> {
    if let Some(visit) = asked.visit {
        visit.look((model.signature(), &decoded.inputs), outputs);
    }
    let answer = encode(model, asked.protocol, decoded, outputs)?;
    let Some(evidence) = asked.evidence else {
        model.recorder.count_prediction(worker.index, &decoded.inputs);
        return Ok(answer);
    };
    // What leaves with the others of its round is also counted with them.
    let is_noted = model.is_brief() && worker.outbox.note((model, worker.index), evidence, (&decoded.inputs, outputs));
    if !is_noted {
        let header = model.recorder.segment_header().and_then(|name| asked.headers.get(name));
        let origin = Origin { evidence, header: header.map(HeaderValue::as_bytes) };
        model.recorder.record_prediction(worker.index, origin, &decoded.inputs, outputs);
    }
    Ok(answer)
}

fn failed(model: &Model, cause: EngineError) -> PredictError {
    PredictError::Engine { model: model.name.clone(), version: model.version, cause: Box::new(cause) }
}

/// What `work` answers; a panic ends this request and nothing else.
fn caught<T>(work: impl FnOnce() -> Result<T, PredictError>) -> Result<T, PredictError> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| Err(PredictError::Panicked(panic_text(panic.as_ref()))))
}

fn decode(model: &Model, protocol: Protocol, body: &[u8]) -> Result<Decoded, ProtocolError> {
    match protocol {
        Protocol::OpenInference => {
            let oip::InferRequest { id, inputs, outputs, timeout } = oip::decode_infer(body, model.signature())?;
            Ok(Decoded { id, inputs, outputs, timeout })
        }
        Protocol::KserveV1 => {
            let inputs = v1::decode_predict(body, model.signature())?;
            Ok(Decoded { id: None, inputs, outputs: Vec::new(), timeout: None })
        }
    }
}

fn check_batch(rows: usize, limit: Option<NonZeroU32>) -> Result<(), PredictError> {
    match limit {
        Some(limit) if u32::try_from(rows).unwrap_or(u32::MAX) > limit.get() => {
            Err(PredictError::BatchTooLarge { rows, limit })
        }
        _ => Ok(()),
    }
}

fn encode(model: &Model, protocol: Protocol, decoded: &Decoded, outputs: &[Tensor]) -> Result<Bytes, ProtocolError> {
    let head = AnswerHead { id: decoded.id.as_deref(), model_name: &model.name, model_version: &model.version_text };
    let named = |index: usize| (model.signature().outputs[index].name.as_str(), &outputs[index]);
    let mut out = Vec::with_capacity(encoded_size_hint(outputs));
    match protocol {
        Protocol::OpenInference if decoded.outputs.is_empty() => {
            oip::encode_infer(&mut out, &head, (0..outputs.len()).map(named))?;
        }
        Protocol::OpenInference => oip::encode_infer(&mut out, &head, decoded.outputs.iter().copied().map(named))?,
        Protocol::KserveV1 => v1::encode_predict(&mut out, &head, (0..outputs.len()).map(named))?,
    }
    Ok(out.into())
}

/// Room for a typical answer, so that its buffer is allocated once: 12 characters a number, and the frame around.
fn encoded_size_hint(outputs: &[Tensor]) -> usize {
    outputs.iter().map(|output| 96 + 12 * output.data().len()).sum::<usize>() + 96
}

/// Where a request falls in the split, and what it is worth to an alarm. A request that names its version has no point.
fn place_in_traffic(worker: &Worker, call: &PredictCall<'_>, headers: &HeaderMap) -> (u16, Evidence) {
    if call.version.is_some() {
        return (0, Evidence::None);
    }
    let draw = worker.draw();
    match headers.get(&ROUTING_KEY) {
        Some(key) => {
            let key_hash = route::hash_of_key(&call.model, key.as_bytes());
            (route::point_of_draw(key_hash), Evidence::KeyGroup { draw, key_hash })
        }
        // The point takes the upper bits, the row the lower ones: given the version, all rows are still equally likely.
        None => (route::point_of_draw(draw), Evidence::Row { draw: draw.rotate_left(32) }),
    }
}

/// Refuses a call before a version of the model has anything to do with it.
pub(super) fn refuse(worker: &Worker, call: &PredictCall<'_>, headers: &HeaderMap, error: &dyn Blamed) -> Answer {
    let mut answer = respond::refusal(error);
    set_request_id(worker, &mut answer, headers);
    let status = StatusLabel::of(answer.status().as_u16());
    worker.gate.recorder.record_refusal(worker.index, label_of(call.protocol), status);
    answer
}

/// Echoes the client's request id, or gives the request one, so that both sides can name it.
fn set_request_id(worker: &Worker, answer: &mut Answer, headers: &HeaderMap) {
    let given = headers.get(&respond::REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_LIMIT);
    let id = given.cloned().or_else(|| HeaderValue::from_bytes(&hexadecimal(worker.draw())).ok());
    if let Some(id) = id {
        answer.headers_mut().insert(&respond::REQUEST_ID, id);
    }
}

/// Sixteen lower-case digits.
fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (index, digit) in digits.iter_mut().enumerate() {
        let value = (number >> (60 - 4 * index)) & 15;
        *digit = b"0123456789abcdef"[value as usize];
    }
    digits
}

fn label_of(protocol: Protocol) -> ProtocolLabel {
    match protocol {
        Protocol::OpenInference => ProtocolLabel::OpenInference,
        Protocol::KserveV1 => ProtocolLabel::KserveV1,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

// The label of an arm is its index in `ArmLabel::ALL`; the recorder's table is laid out by it.
const _: () = assert!(ArmLabel::ALL.len() == crate::observe::ARMS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hexadecimal(number).to_vec(), format!("{number:016x}").into_bytes());
        }
    }

    #[test]
    fn a_batch_over_the_models_limit_is_the_callers_fault() {
        let limit = NonZeroU32::new(64);
        assert!(
            check_batch(0, limit).is_ok() && check_batch(64, limit).is_ok() && check_batch(usize::MAX, None).is_ok()
        );
        let error = check_batch(65, limit).unwrap_err();
        assert_eq!(error.to_string(), "batch of 65 rows is over the model's max_batch_size of 64");
        assert_eq!(error.fault(), Fault::InvalidRequest);
        assert!(check_batch(usize::MAX, limit).is_err());
    }
}
