//! Where a version's calls are made: on the worker that read the request, or in a lane of the executor.
//!
//! What a call costs is measured when the version is loaded, on the rows that warm it: once with one row and once with
//! eight, in processor time, the best of three each, which gives a cost per call and one per value. Handing a request
//! to another thread costs some microseconds and a wait for that thread, so what is short stays where it is; what would
//! keep a worker's other requests waiting for longer than `execution.inline_limit` goes to the lane. In between, calls
//! on a worker take turns once there are more than it can make in a round of its loop. A version whose shortest call is
//! too long has no instances on workers at all.
//!
//! Invariant: every instance that is handed out has answered.

use super::RegistryError;
use super::session::Sessions;
use super::trial::{PATIENCE, Trial, has_free_inner_dimension, processor_time};
use crate::catalog::{LoadOrder, Placement, TritonConfig};
use crate::config::ExecutionSettings;
use crate::engine::{EngineError, Executor, Instance, Lane, LaneSettings, LoadOptions, LoadedGraph, Opener};
use crate::tensor::{Signature, Tensor};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

/// Rows of the longer measured call.
const MEASURED_ROWS: usize = 8;
/// Calls of each measurement, of which the shortest counts: what is longer was disturbed.
const MEASURED_CALLS: usize = 3;
/// Calls that are expected to take no longer are made at once, however many requests there are: a worker takes up to 61 of
/// them between two looks at its sockets (as many as tokio's `LocalSet` polls), which are 3 ms of such calls, and refusing
/// one costs about as much as answering it. Their answers may wait for each other (`serve/outbox.rs`).
const BRIEF: Duration = Duration::from_micros(50);
/// Rows that are put together where it pays.
const USUAL_BATCH: usize = 64;
/// It pays if a row of the longer call costs at most this part of a call of one row.
const WORTHWHILE: f64 = 0.75;

/// A version that is ready to be run.
pub(super) struct Placed {
    pub(super) graph: LoadedGraph,
    /// One per worker; none if no call is made there.
    pub(super) instances: Vec<Box<dyn Instance>>,
    pub(super) placement: Placement,
    /// What is odd about it, for people.
    pub(super) warnings: Vec<String>,
}

/// How a version is loaded, and what it must show.
pub(super) struct Plan<'a> {
    /// The graph as it is for calls on workers.
    pub(super) graph: LoadedGraph,
    /// Loads it again.
    pub(super) load: &'a dyn Fn(LoadOptions) -> Result<LoadedGraph, EngineError>,
    pub(super) sessions: Sessions,
    pub(super) trial: Arc<Trial>,
}

/// What calls cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    one: Duration,
    /// Values of the call of one row.
    values: usize,
    per_value: f64,
    /// A row of the longer call, over a call of one row.
    row: f64,
}

/// Opens a version's instances, tries them, and decides where they run.
///
/// # Errors
/// What the engine says, and what the version does not show.
pub(super) fn place(
    plan: Plan<'_>,
    order: &LoadOrder,
    (workers, executor): (usize, &Arc<Executor>),
) -> Result<Placed, RegistryError> {
    let settings = &order.settings.execution;
    let Plan { mut graph, load, sessions, trial } = plan;
    let (mut instance, mut warnings) = open_proven(&trial, &graph)?;
    let cost = measure(instance.as_mut(), graph.signature(), (&trial, order.config.max_batch_size));
    let mut first = Some(instance);
    // Where nothing could be made up that the model takes, nobody knows how long it takes.
    let from_values = cost.map_or(0, |cost| cost.values_within(settings.inline_limit));
    let mut instances = Vec::new();
    if from_values > 0 {
        instances.extend(first.take());
        for _ in 1..workers {
            instances.push(trial.open(&graph)?);
        }
        if from_values < usize::MAX {
            // Its first request must not depend on what became of the files by then.
            first = Some(trial.open(&graph)?);
        }
    } else if sessions.in_lane != sessions.on_workers {
        graph = load(sessions.in_lane)?;
        // Threads add in another order, so what one session showed another must show again.
        let (instance, found) = open_proven(&trial, &graph)?;
        (first, warnings) = (Some(instance), found);
    }
    let of_lane = graph.clone();
    let opener = Opener::new(move || trial.open(&of_lane).map_err(|error| error.to_string()));
    let lane = Lane::new(executor, opener, lane_settings(settings, &order.config, cost), first);
    let in_turn_from = cost.map_or(0, |cost| cost.values_within(BRIEF));
    let placement = Placement { lane, from_values, in_turn_from, timeout: settings.timeout, waiting: Arc::default() };
    tracing::debug!(
        model = order.model,
        version = order.version,
        call = ?cost.map(|cost| cost.one),
        away_from_values = from_values,
        "calls are made on workers up to that many values"
    );
    Ok(Placed { graph, instances, placement, warnings })
}

/// An instance that has answered, and what is odd about its answers.
fn open_proven(trial: &Trial, graph: &LoadedGraph) -> Result<(Box<dyn Instance>, Vec<String>), RegistryError> {
    let mut instance = trial.open(graph)?;
    let warnings = trial.prove(instance.as_mut(), graph.signature())?;
    Ok((instance, warnings))
}

/// The lane's settings: ours, else what the directory says, else what was measured.
fn lane_settings(settings: &ExecutionSettings, config: &TritonConfig, cost: Option<Cost>) -> LaneSettings {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let usual = match cost {
        Some(cost) if cost.row <= WORTHWHILE => USUAL_BATCH,
        _ => 1,
    };
    let said = &config.execution;
    LaneSettings {
        instances: settings.instances.or(said.instances.map(count)).unwrap_or(cores),
        queue: settings.queue,
        max_batch: settings
            .max_batch
            .or(said.max_batch.map(count))
            .unwrap_or(usual)
            .min(rows_of(config.max_batch_size)),
        delay: settings.batch_delay.or(said.batch_delay).unwrap_or_default(),
        call: cost.map_or(Duration::ZERO, |cost| cost.one),
    }
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

fn rows_of(limit: Option<NonZeroU32>) -> usize {
    limit.map_or(usize::MAX, count)
}

impl Cost {
    /// Values of the smallest request whose call takes longer; 0 if every call does.
    fn values_within(self, limit: Duration) -> usize {
        let Some(left) = limit.checked_sub(self.one) else { return 0 };
        let more = left.as_secs_f64() / self.per_value;
        // An infinite or very large number is more than any request has.
        self.values.saturating_add(more as usize).saturating_add(1)
    }
}

/// What calls cost; nothing if it cannot be told from inputs that were made up.
fn measure(
    instance: &mut dyn Instance,
    signature: &Signature,
    (trial, limit): (&Trial, Option<NonZeroU32>),
) -> Option<Cost> {
    let rows = MEASURED_ROWS.min(rows_of(limit));
    let mut shortest = |rows| shortest(instance, trial.inputs(signature, rows).ok()?);
    let (one, values) = shortest(1)?;
    if one > PATIENCE {
        let per_value = one.as_secs_f64() / values.max(1) as f64;
        return Some(Cost { one, values, per_value, row: f64::INFINITY });
    }
    let (several, more_values) = shortest(rows)?;
    let seconds = (several.as_secs_f64() - one.as_secs_f64()).max(0.0);
    let row = several.as_secs_f64() / rows as f64 / one.as_secs_f64().max(f64::MIN_POSITIVE);
    let per_value = seconds / more_values.saturating_sub(values).max(1) as f64;
    let can_batch = rows > 1 && more_values > values && !has_free_inner_dimension(signature);
    Some(Cost { one, values, per_value, row: if can_batch { row } else { f64::INFINITY } })
}

/// The shortest of some calls on these inputs, and the values of them.
fn shortest(instance: &mut dyn Instance, inputs: Vec<Tensor>) -> Option<(Duration, usize)> {
    let mut outputs = Vec::new();
    let mut shortest = Duration::MAX;
    for _ in 0..MEASURED_CALLS {
        let before = processor_time();
        instance.run(&inputs, &mut outputs).ok()?;
        shortest = shortest.min(processor_time().saturating_sub(before));
        if shortest > PATIENCE {
            break;
        }
    }
    Some((shortest, inputs.iter().map(|input: &Tensor| input.data().len()).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TritonExecution;

    fn cost(one: u64, per_value: f64) -> Cost {
        Cost { one: Duration::from_micros(one), values: 30, per_value: per_value / 1e6, row: 1.0 }
    }

    #[test]
    fn calls_that_are_expected_to_be_too_long_are_made_elsewhere() {
        let limit = Duration::from_micros(500);
        assert_eq!(cost(501, 0.0).values_within(limit), 0);
        assert_eq!(cost(500, 1.0).values_within(limit), 31);
        assert_eq!(cost(100, 1.0).values_within(limit), 431);
        assert_eq!(cost(100, 0.0).values_within(limit), usize::MAX, "more values cost nothing");
        assert_eq!(cost(1, 0.0).values_within(Duration::ZERO), 0);
    }

    #[test]
    fn waiting_requests_are_put_together_where_it_pays_or_was_asked_for() {
        let batch = |row: f64, asked: Option<usize>, limit: Option<u32>| {
            let settings = ExecutionSettings { max_batch: asked, ..ExecutionSettings::default() };
            let config = TritonConfig { max_batch_size: limit.and_then(NonZeroU32::new), ..TritonConfig::default() };
            lane_settings(&settings, &config, Some(Cost { row, ..cost(1_000, 1.0) })).max_batch
        };
        assert_eq!((batch(0.3, None, None), batch(0.9, None, None), batch(f64::INFINITY, None, None)), (64, 1, 1));
        assert_eq!((batch(0.3, None, Some(16)), batch(0.9, Some(8), None), batch(0.3, Some(1), None)), (16, 8, 1));
        assert_eq!(lane_settings(&ExecutionSettings::default(), &TritonConfig::default(), None).max_batch, 1);
    }

    #[test]
    fn what_the_directory_says_holds_where_the_settings_are_silent() {
        let execution = TritonExecution {
            max_batch: NonZeroU32::new(16),
            batch_delay: Some(Duration::from_micros(100)),
            instances: NonZeroU32::new(3),
        };
        let config = TritonConfig { max_batch_size: NonZeroU32::new(32), execution, ..TritonConfig::default() };
        let of = |settings: &ExecutionSettings| {
            let lane = lane_settings(settings, &config, Some(cost(1_000, 1.0)));
            (lane.max_batch, lane.delay, lane.instances)
        };
        assert_eq!(of(&ExecutionSettings::default()), (16, Duration::from_micros(100), 3));
        let ours = ExecutionSettings {
            max_batch: Some(64),
            batch_delay: Some(Duration::ZERO),
            instances: Some(1),
            ..ExecutionSettings::default()
        };
        assert_eq!(of(&ours), (32, Duration::ZERO, 1), "no call has more rows than a request may have");
    }
}
