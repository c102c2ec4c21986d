//! A version whose files are replaced, and failures that pass.

use super::*;

#[test]
fn a_version_with_a_share_that_is_replaced_under_its_number_must_be_able_to_stand_in_for_itself() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 12)]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let other = model_of("models/digits/1/model.onnx", order.version, order.fingerprint);
    stage.publisher.load_finished(&order, Ok(other), stage.now);
    assert_eq!(stage.entry().loaded[&1].facts.fingerprint, 11, "what served serves on");
    let VersionStatus::Loaded { note: Some(note), .. } = &stage.entry().versions[&1] else { panic!("it is loaded") };
    assert!(note.contains("it cannot stand in for what version 1 was before: "), "{note}");
    assert!(stage.publisher.next_load(stage.now).is_none(), "it is not tried again as it is");
    let permitted =
        |name: &str| Arc::new(ModelSettings { allow_signature_change: true, ..ModelSettings::clone(&settings(name)) });
    stage.publisher.configure(permitted, BAKE, stage.now);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let other = model_of("models/digits/1/model.onnx", order.version, order.fingerprint);
    stage.publisher.load_finished(&order, Ok(other), stage.now);
    assert_eq!(stage.entry().loaded[&1].facts.fingerprint, 12);
}

#[test]
fn a_failure_that_may_pass_is_tried_again_after_a_pause() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let reason = "the disk did not answer".to_owned();
    let failure = LoadFailure { reason, until_memory_is_freed: false, may_pass: true, quarantined: None };
    stage.publisher.load_finished(&order, Err(failure), stage.now);
    stage.later(Duration::from_secs(59));
    assert!(stage.load(&[]).is_empty());
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!(stage.live(), [(1, 10_000)]);
}

#[test]
fn files_that_were_replaced_by_corrupt_ones_are_spoken_of() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 99)]);
    stage.load(&[1]);
    assert_eq!(stage.live(), [(1, 10_000)]);
    let note = Some("its files were replaced and the new ones are refused: corrupt".to_owned());
    assert_eq!(stage.entry().versions[&1], VersionStatus::Loaded { note, quarantined: None });
}
