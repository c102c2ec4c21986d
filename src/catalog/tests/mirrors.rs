//! Copies of requests: who is copied, what is compared, and that whatever the far end does stays there.

use super::*;
use crate::config::ShadowSettings;
use crate::engine::{EngineError, Instance};
use crate::observe::shadow::ShadowCounts;
use crate::tensor::{Shape, Tensor, TensorData};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

/// What a version does with the inputs of its n-th call.
type Does = fn(usize, &[Tensor], &mut Vec<Tensor>) -> Result<(), EngineError>;

/// An instance that does what a test says.
#[derive(Debug)]
struct Scripted {
    calls: Arc<AtomicUsize>,
    does: Does,
}

impl Instance for Scripted {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        outputs.clear();
        (self.does)(self.calls.fetch_add(1, Ordering::Relaxed), inputs, outputs)
    }
}

/// An instance that is inside a call until it is let go.
#[derive(Debug)]
struct Hanging(std::sync::Mutex<Receiver<()>>);

impl Instance for Hanging {
    fn run(&mut self, _inputs: &[Tensor], _outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        // Ends when the sender is dropped.
        let _ = self.0.lock().unwrap().recv();
        Err(failed())
    }
}

fn failed() -> EngineError {
    EngineError::RunFailed { engine: "test", reason: "as the test wants".into() }
}

fn settings_of(queue: usize) -> ShadowSettings {
    ShadowSettings { share: 10_000, queue, ..ShadowSettings::default() }
}

/// A mirror of a version in another one, which does as a test says; and how often an instance was opened.
fn mirror_that(does: Does, queue: usize) -> (Arc<Mirror>, MirrorRunner, Arc<AtomicUsize>) {
    let (opened, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&opened);
    let open = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Scripted { calls: Arc::clone(&calls), does }) as Box<dyn Instance>)
    };
    let (primary, shadow) = (model(1, 11), model(2, 12));
    let (mirror, runner) = Mirror::with_instances(&primary, &shadow, &settings_of(queue), Box::new(open)).unwrap();
    (mirror, runner, opened)
}

/// A request of the model and what it answers.
fn answered() -> (Vec<Tensor>, Vec<Tensor>) {
    let model = model(1, 11);
    let width = model.signature().inputs[0].row_width().unwrap();
    let values = (0..width).map(|index| index as f32 / 4.0).collect();
    let inputs = vec![Tensor::try_new(Shape::matrix(1, width), TensorData::Fp32(values)).unwrap()];
    let mut outputs = Vec::new();
    model.run(0, &inputs, &mut outputs).unwrap();
    (inputs, outputs)
}

/// Answers so many copies of one request, one after the other.
fn counts_of(mirror: &Mirror, runner: &mut MirrorRunner, copies: usize) -> ShadowCounts {
    let (inputs, outputs) = answered();
    for draw in 0..copies as u64 {
        assert!(mirror.offer(draw, inputs.clone(), &mut outputs.clone()));
        assert!(runner.step());
    }
    assert!(!runner.step(), "nothing is left");
    runner.post();
    mirror.counts()
}

#[test]
fn a_copy_is_answered_by_the_version_itself_and_compared() {
    let (primary, shadow) = (model(1, 11), model(2, 12));
    let (mirror, mut runner) = Mirror::new(&primary, &shadow, &settings_of(4)).unwrap();
    assert_eq!((mirror.version, mirror.counts()), (2, ShadowCounts::default()));
    let counts = counts_of(&mirror, &mut runner, 3);
    assert_eq!((counts.compared, counts.failed, counts.dropped, counts.disagreed), (3, 0, 0, 0));
    assert!(counts.numbers > 0 && counts.largest_difference <= 0.0, "{counts:?}");
}

#[test]
fn errors_panics_and_other_shapes_cost_their_copies_and_an_instance_that_panicked_is_replaced() {
    let does: Does = |call, _inputs, outputs| {
        match call {
            1 => return Err(failed()),
            2 => panic!("a panic that the test wants"),
            3 => outputs.push(Tensor::try_new(Shape::matrix(1, 77), TensorData::Fp32(vec![0.0; 77])).unwrap()),
            4 => {
                let doing = "running the model";
                return Err(EngineError::Panicked { engine: "test", doing, reason: String::new() });
            }
            _ => outputs.extend(answered().1),
        }
        Ok(())
    };
    let (mirror, mut runner, opened) = mirror_that(does, 4);
    let counts = counts_of(&mirror, &mut runner, 7);
    assert_eq!((counts.compared, counts.failed, counts.broken), (3, 4, 3));
    assert_eq!(opened.load(Ordering::Relaxed), 2);
}

#[test]
fn numbers_that_are_lost_are_seen() {
    let does: Does = |_call, _inputs, outputs| {
        let spoilt = |tensor: Tensor| match tensor.shape() {
            shape if tensor.datatype().name() == "FP32" => {
                let values = vec![f32::NAN; tensor.data().len()];
                Tensor::try_new(shape, TensorData::Fp32(values)).unwrap()
            }
            _ => tensor,
        };
        outputs.extend(answered().1.into_iter().map(spoilt));
        Ok(())
    };
    let (mirror, mut runner, _) = mirror_that(does, 4);
    assert_eq!(counts_of(&mirror, &mut runner, 5).non_finite, 5);
}

#[test]
fn an_instance_that_cannot_be_opened_fails_copies_until_it_can() {
    let tries = Arc::new(AtomicUsize::new(0));
    let open = move || match tries.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(failed()),
        _ => graph("models/churn/1/model.onnx").instance(),
    };
    let (primary, shadow) = (model(1, 11), model(2, 12));
    let (mirror, mut runner) = Mirror::with_instances(&primary, &shadow, &settings_of(4), Box::new(open)).unwrap();
    let counts = counts_of(&mirror, &mut runner, 4);
    assert_eq!((counts.failed, counts.broken, counts.compared), (2, 0, 2));
}

#[test]
fn a_version_that_hangs_fills_its_queue_and_nothing_else() {
    let (release, hung): (SyncSender<()>, _) = sync_channel(0);
    let hung = std::sync::Mutex::new(Some(hung));
    let open = move || {
        let hung = hung.lock().unwrap().take().expect("it is opened once");
        Ok(Box::new(Hanging(std::sync::Mutex::new(hung))) as Box<dyn Instance>)
    };
    let (primary, shadow) = (model(1, 11), model(2, 12));
    let (mirror, runner) = Mirror::with_instances(&primary, &shadow, &settings_of(8), Box::new(open)).unwrap();
    let (inputs, outputs) = answered();
    let thread = std::thread::spawn(|| runner.run());
    assert!(mirror.offer(0, inputs.clone(), &mut outputs.clone()));
    while mirror.waiting() > 0 {
        std::thread::yield_now();
    }
    // The far end is inside its call now.
    let taken = (0..100_u64).filter(|draw| mirror.offer(*draw, inputs.clone(), &mut outputs.clone())).count();
    assert_eq!((taken, mirror.waiting(), mirror.dropped(), mirror.counts().dropped), (8, 8, 92, 92));
    let mut kept = outputs.clone();
    assert!(!mirror.offer(0, inputs, &mut kept));
    assert_eq!(kept, outputs, "what finds no room is left alone");
    let shared = Arc::downgrade(&mirror);
    drop(mirror);
    assert!(shared.upgrade().is_none() && !thread.is_finished());
    drop(release);
    thread.join().unwrap();
}

#[test]
fn the_bytes_that_wait_are_limited_too() {
    let (inputs, outputs) = answered();
    let bytes: usize = inputs.iter().chain(&outputs).map(Tensor::bytes).sum();
    let settings = ShadowSettings { memory: 3 * bytes, ..settings_of(100) };
    let (mirror, _runner) = Mirror::new(&model(1, 11), &model(2, 12), &settings).unwrap();
    let taken = (0..9_u64).filter(|draw| mirror.offer(*draw, inputs.clone(), &mut outputs.clone())).count();
    assert_eq!((taken, mirror.dropped()), (3, 6));
}

#[test]
fn the_far_end_ends_with_the_near_one() {
    let (mirror, runner) = Mirror::new(&model(1, 11), &model(2, 12), &settings_of(4)).unwrap();
    let thread = std::thread::spawn(|| runner.run());
    let (inputs, mut outputs) = answered();
    assert!(mirror.offer(5, inputs, &mut outputs) && outputs.is_empty(), "what is copied is given away");
    while mirror.counts().compared < 1 {
        std::thread::yield_now();
    }
    drop(mirror);
    thread.join().unwrap();
}

#[test]
fn the_share_of_draws_that_are_copied_is_exact() {
    for share in [0, 1, 1_000, 10_000] {
        let settings = ShadowSettings { share, ..settings_of(4) };
        let (mirror, _runner) = Mirror::new(&model(1, 11), &model(2, 12), &settings).unwrap();
        let copied =
            (0..10_000_u64).filter(|step| mirror.wants(step * (u64::MAX / 10_000) + u64::MAX / 20_000)).count();
        assert_eq!(copied, usize::from(share));
    }
}

#[test]
fn a_version_of_another_signature_cannot_be_a_mirror() {
    let other = model_of("models/breast-cancer/2/model.onnx", 7, 17);
    let error = Mirror::new(&model(1, 11), &other, &settings_of(4)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("version 7 cannot answer copies of what version 1 is asked: "), "{text}");
}

#[test]
fn only_requests_of_the_stable_version_that_name_none_are_copied() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    let (mirror, _runner) = Mirror::new(&model(1, 11), &model(2, 12), &settings_of(4)).unwrap();
    let _reply = stage.ask(&[(1, 9_000), (2, 1_000)]);
    stage.load(&[]);
    let weights = vec![(1, 9_000), (2, 1_000)];
    let hold = RolloutHold { id: "r".into(), weights, trial: None, shadow: Some(Arc::clone(&mirror)) };
    stage.publisher.hold("m", hold, Box::new(|outcome| drop(outcome.unwrap())), stage.now);
    let copied = |stage: &Stage, point: u16| stage.entry().pick(point).unwrap().mirror.is_some();
    let by_version = |stage: &Stage| {
        let points = (0..10_000_u16).filter(|point| copied(stage, *point));
        points.map(|point| stage.entry().pick(point).unwrap().model.version).collect::<Vec<_>>()
    };
    assert_eq!(by_version(&stage), vec![1; 9_000]);
    assert!(stage.entry().pinned("1").unwrap().mirror.is_none());
    stage.publisher.release("m", None, stage.now);
    assert!(by_version(&stage).is_empty());
}
