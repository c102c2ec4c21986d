//! Lanes: what is accepted is answered once and in time, with its own rows; the rest is refused or dropped.

use super::*;
use crate::engine::onnx::samples::{Folder, affine};
use crate::engine::{EngineChoice, Engines, LoadOptions, LoadedGraph, RuntimeSearch};
use crate::tensor::{Shape, Tensor, TensorData};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn graph() -> LoadedGraph {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &affine().bytes());
    let engines = Engines::discover(&RuntimeSearch::default());
    engines.load(&path, EngineChoice::Tract, &LoadOptions::default()).unwrap()
}

fn lane(executor: &Arc<Executor>, settings: LaneSettings) -> Arc<Lane> {
    Lane::new(executor, graph().into(), settings, None)
}

fn settings() -> LaneSettings {
    LaneSettings { instances: 1, queue: 8, max_batch: 1, delay: Duration::ZERO, call: Duration::ZERO }
}

fn request(first: f32) -> Vec<Tensor> {
    vec![Tensor::try_new(Shape::matrix(1, 3), TensorData::Fp32(vec![first, 0.0, 0.0])).unwrap()]
}

/// What the model answers to [`request`].
fn expected(first: f32) -> TensorData {
    TensorData::Fp32(vec![first + 0.5, -0.5])
}

fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

/// Runs everything that is queued, on this thread.
fn work_off(executor: &Executor) {
    executor.close();
    executor.work();
}

fn data_of(reply: Reply) -> TensorData {
    let mut outputs = reply.outputs.expect("it was not late").unwrap();
    assert_eq!(outputs.len(), 1);
    outputs.remove(0).into_data()
}

#[test]
fn every_job_gets_the_answer_to_its_own_rows_together_or_alone() {
    for max_batch in [1, 3, 64] {
        let executor = Arc::new(Executor::default());
        let lane = lane(&executor, LaneSettings { max_batch, ..settings() });
        let replies: Vec<_> = (0..8_u8)
            .map(|index| lane.submit(request(f32::from(index)), Instant::now(), in_an_hour()).unwrap())
            .collect();
        assert_eq!(lane.waiting(), 8);
        work_off(&executor);
        for (index, reply) in (0..8_u8).zip(replies) {
            let reply = reply.blocking_recv().unwrap();
            assert_eq!(reply.inputs, request(f32::from(index)), "inputs are given back");
            assert_eq!(data_of(reply), expected(f32::from(index)), "{max_batch} rows a call");
        }
    }
}

#[test]
fn requests_of_other_shapes_are_not_put_together() {
    let executor = Arc::new(Executor::default());
    let lane = lane(&executor, LaneSettings { max_batch: 64, ..settings() });
    let wrong = vec![Tensor::try_new(Shape::matrix(1, 2), TensorData::Fp32(vec![1.0, 2.0])).unwrap()];
    let jobs = [request(1.0), wrong, request(2.0)];
    let replies = jobs.map(|inputs| lane.submit(inputs, Instant::now(), in_an_hour()).unwrap());
    work_off(&executor);
    let [first, wrong, last] = replies.map(|reply| reply.blocking_recv().unwrap());
    assert!(wrong.outputs.unwrap().is_err(), "the model refuses it, and it alone");
    assert_eq!((data_of(first), data_of(last)), (expected(1.0), expected(2.0)));
}

#[test]
fn a_full_queue_refuses_and_callers_that_have_gone_make_room() {
    let executor = Arc::new(Executor::default());
    let lane = lane(&executor, LaneSettings { queue: 2, ..settings() });
    let submit = |first: f32| lane.submit(request(first), Instant::now(), in_an_hour());
    let (kept, gone) = (submit(1.0).unwrap(), submit(2.0).unwrap());
    assert!(submit(3.0).is_err_and(|refused| refused.is_full));
    drop(gone);
    let last = submit(4.0).unwrap();
    work_off(&executor);
    assert_eq!(data_of(kept.blocking_recv().unwrap()), expected(1.0));
    assert_eq!(data_of(last.blocking_recv().unwrap()), expected(4.0));
}

#[test]
fn what_cannot_be_answered_in_time_is_refused_and_what_became_late_is_not_run() {
    let executor = Arc::new(Executor::default());
    let lane = lane(&executor, LaneSettings { call: Duration::from_secs(10), ..settings() });
    let now = Instant::now();
    let within = |seconds| lane.submit(request(1.0), now, now + Duration::from_secs(seconds));
    let refused = within(9).unwrap_err();
    assert_eq!((refused.is_full, refused.retry_after), (false, Duration::from_secs(10)));
    let first = within(11).unwrap();
    assert!(within(19).is_err(), "behind the first it would take twenty seconds");
    // Its deadline passes before its turn comes.
    let lane = Lane::new(&executor, graph().into(), settings(), None);
    let late = lane.submit(request(1.0), now, Instant::now()).unwrap();
    std::thread::sleep(Duration::from_millis(2));
    work_off(&executor);
    assert!(late.blocking_recv().unwrap().outputs.is_none());
    assert!(first.blocking_recv().unwrap().outputs.is_some());
}

#[test]
fn versions_take_turns_and_no_version_runs_more_calls_than_it_has_instances() {
    let executor = Arc::new(Executor::default());
    let lanes = [(); 3].map(|()| lane(&executor, LaneSettings { instances: 2, queue: 100, ..settings() }));
    let replies: Vec<_> = (0..50_u8)
        .flat_map(|index| lanes.each_ref().map(|lane| (index, lane)))
        .map(|(index, lane)| (index, lane.submit(request(f32::from(index)), Instant::now(), in_an_hour()).unwrap()))
        .collect();
    executor.close();
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| executor.work())));
    });
    for (index, reply) in replies {
        assert_eq!(data_of(reply.blocking_recv().unwrap()), expected(f32::from(index)));
    }
}

#[test]
fn a_call_that_is_put_off_keeps_no_thread_from_other_lanes_and_is_made_once_it_has_its_rows() {
    let executor = Arc::new(Executor::default());
    // Longer than the test may take: what is answered was not waiting for the delay.
    let hour = Duration::from_secs(3_600);
    let patient = lane(&executor, LaneSettings { max_batch: 3, delay: hour, instances: 2, ..settings() });
    let other = lane(&executor, settings());
    let in_a_day = Instant::now() + 24 * hour;
    let submit = |lane: &Arc<Lane>, first: f32| lane.submit(request(first), Instant::now(), in_a_day).unwrap();
    let (one, two) = (submit(&patient, 1.0), submit(&patient, 2.0));
    std::thread::scope(|scope| {
        scope.spawn(|| executor.work());
        let answered = submit(&other, 7.0).blocking_recv().unwrap();
        assert_eq!(data_of(answered), expected(7.0), "the only thread does not wait for the rows of the first lane");
        assert_eq!(patient.waiting(), 2, "each is company for the other");
        let three = submit(&patient, 3.0);
        for (reply, first) in [(one, 1.0), (two, 2.0), (three, 3.0)] {
            assert_eq!(data_of(reply.blocking_recv().unwrap()), expected(first));
        }
        // They were together a moment ago, so another one may have company; it is run all the same when no more will come.
        let last = submit(&patient, 4.0);
        assert_eq!(patient.waiting(), 1);
        executor.close();
        assert_eq!(data_of(last.blocking_recv().unwrap()), expected(4.0));
    });
}

#[test]
fn a_delay_ends() {
    let executor = Arc::new(Executor::default());
    let lane = lane(&executor, LaneSettings { max_batch: 64, delay: Duration::from_millis(2), ..settings() });
    let submit = |first: f32| lane.submit(request(first), Instant::now(), in_an_hour()).unwrap();
    std::thread::scope(|scope| {
        // Two threads: whoever takes other work leaves the watch over what was put off to the other.
        (0..2).for_each(|_| drop(scope.spawn(|| executor.work())));
        for round in 0..5_u8 {
            let replies = [0.0, 1.0, 2.0].map(|first| (first, submit(first + f32::from(round))));
            for (first, reply) in replies {
                assert_eq!(data_of(reply.blocking_recv().unwrap()), expected(first + f32::from(round)));
            }
        }
        executor.close();
    });
}

/// A lane of four instances with one to begin with, whose further ones cannot be opened; how often that was tried.
fn lane_that_opens_none(executor: &Arc<Executor>, first: bool) -> (Arc<Lane>, Arc<AtomicUsize>) {
    let tried = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tried);
    let opener = Opener::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Err("its file was replaced".to_owned())
    });
    let first = first.then(|| graph().instance().unwrap());
    (Lane::new(executor, opener, LaneSettings { instances: 4, queue: 100, max_batch: 2, ..settings() }, first), tried)
}

#[test]
fn requests_wait_for_the_instances_there_are_where_no_further_one_can_be_opened() {
    let executor = Arc::new(Executor::default());
    let (lane, tried) = lane_that_opens_none(&executor, true);
    // All instances but one are missing while this call runs, so the second thread has to open one.
    let busy = lane.hold_idle();
    let replies: Vec<_> =
        (0..20_u8).map(|index| lane.submit(request(f32::from(index)), Instant::now(), in_an_hour()).unwrap()).collect();
    Arc::clone(&lane).run_once(&executor, true);
    assert_eq!((lane.waiting(), tried.load(Ordering::Relaxed)), (20, 1), "they were put back");
    lane.give_back(busy);
    work_off(&executor);
    for (index, reply) in (0..20_u8).zip(replies) {
        assert_eq!(data_of(reply.blocking_recv().unwrap()), expected(f32::from(index)));
    }
    assert_eq!(tried.load(Ordering::Relaxed), 1, "the lane does not try again and again");
}

#[test]
fn a_lane_without_any_instance_says_why() {
    let executor = Arc::new(Executor::default());
    let (lane, _tried) = lane_that_opens_none(&executor, false);
    let reply = lane.submit(request(1.0), Instant::now(), in_an_hour()).unwrap();
    work_off(&executor);
    let error = reply.blocking_recv().unwrap().outputs.unwrap().unwrap_err();
    assert!(error.to_string().contains("no instance: its file was replaced"), "{error}");
}
