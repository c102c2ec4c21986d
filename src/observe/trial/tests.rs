//! What is evidence, in which arm and cell it counts, and what guards see.

use super::*;
use crate::config::{GuardSettings, ToleranceSettings};
use crate::observe::{PHASES, Phase, Protocol, Recorder, StatusLabel};
use crate::profile::{ColumnSpec, Profile, ProfileBuilder, ProfileOptions, Side};
use crate::route::{FULL_WEIGHT, Split, point_of_draw};
use crate::sketch::KEY_GROUPS;
use crate::tensor::{ByteStrings, DataType, Dimension, Shape, TensorSpec};
use std::time::Duration;

pub(super) const SHARE: TrialShare = TrialShare { canary: 2, stable: 1, weight: 1_000, before: 0 };

pub(super) fn spec(name: &str, datatype: DataType, width: usize) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)] }
}

/// A feature; two scores and a word.
pub(super) fn signature() -> Signature {
    let outputs = vec![spec("score", DataType::Fp32, 2), spec("word", DataType::Bytes, 1)];
    Signature { inputs: vec![spec("x", DataType::Fp32, 1)], outputs }
}

pub(super) fn floats(width: usize, values: &[f32]) -> Tensor {
    Tensor::try_new(Shape::matrix(values.len() / width, width), TensorData::Fp32(values.to_vec())).unwrap()
}

pub(super) fn words(words: &[&str]) -> Tensor {
    let texts: ByteStrings = words.iter().collect();
    Tensor::try_new(Shape::matrix(words.len(), 1), TensorData::Bytes(texts)).unwrap()
}

/// Scores from 0 to 1, and the words yes and no.
pub(super) fn profile() -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    let column = |tensor: &str, index, datatype| ColumnSpec {
        side: Side::Output,
        tensor: tensor.into(),
        index,
        name: format!("{tensor} {index}"),
        datatype,
        statistic: None,
    };
    for index in 0..2 {
        let key = builder.add_column(column("score", index, DataType::Fp32));
        builder.absorb_numbers(key, (0..=1_000).map(|step| f64::from(step) / 1_000.0)).unwrap();
    }
    let key = builder.add_column(column("word", 0, DataType::Bytes));
    let texts = (0..1_001).map(|step| Some(if step % 3 == 0 { &b"yes"[..] } else { &b"no"[..] }));
    builder.absorb_strings(key, texts).unwrap();
    builder.finish().unwrap()
}

pub(super) fn plan_of(recorder: &Recorder, limit: Option<Duration>) -> Arc<TrialPlan> {
    let guards = GuardSettings { latency: limit, ..GuardSettings::default() };
    Arc::new(TrialPlan::new(recorder, &recorder.totals().answers, (&guards, &ToleranceSettings::default())))
}

/// A plan on the profile's edges, with a guard at a second.
pub(super) fn plan() -> Arc<TrialPlan> {
    plan_of(&Recorder::new(&signature(), Some(&profile()), 512, 1), Some(Duration::from_secs(1)))
}

pub(super) fn trial(share: TrialShare) -> Trial {
    Trial::new(plan(), share, 2)
}

pub(super) fn row(draw: u64) -> Evidence {
    Evidence::Row { draw }
}

pub(super) fn key(key_hash: u64) -> Evidence {
    Evidence::KeyGroup { draw: 7, key_hash }
}

/// The lowest hash of a point, with these low bits.
fn hash_at(point: u16, low: u64) -> u64 {
    let start = (u128::from(point) << 64).div_ceil(u128::from(FULL_WEIGHT)) as u64;
    (((start >> 24) + 1) << 24) | low
}

/// One request from its version to its end; the findings.
pub(super) fn request(trial: &Trial, version: u64, evidence: Evidence, outputs: &[Tensor]) -> Findings {
    let Some(entrant) = trial.enter(version, evidence) else { return Findings::default() };
    let rows = outputs.first().map_or(1, |output| output.shape().rows());
    let findings = trial.look(0, &entrant, (&signature(), &[floats(1, &vec![0.0; rows])]), outputs);
    trial.count(0, &entrant, (Outcome::Predicted, findings), 1_000_000);
    findings
}

pub(super) fn ordinary() -> [Tensor; 2] {
    [floats(2, &[0.25, 0.75]), words(&["yes"])]
}

pub(super) fn events(trial: &Trial) -> Vec<(bool, u64, u64)> {
    let segments = trial.counts().segments;
    segments.iter().map(|segment| (segment.keyed, segment.canary.events, segment.stable.events)).collect()
}

#[test]
fn a_trial_that_saw_nothing_has_no_segments_and_zero_guards() {
    let trial = trial(SHARE);
    let counts = trial.counts();
    assert_eq!((counts.segments.len(), &counts.guards), (0, &trial.guards()));
    assert_eq!(counts.guards, GuardSegment { weight: 0.1, ..GuardSegment::default() });
}

#[test]
fn requests_without_a_key_are_events_each_and_keys_once() {
    let trial = trial(SHARE);
    for repeat in 0..3 {
        request(&trial, 1, row(repeat), &ordinary());
        request(&trial, 2, row(repeat), &ordinary());
        request(&trial, 2, row(repeat), &ordinary());
        request(&trial, 2, key(11), &ordinary());
        request(&trial, 1, key(u64::MAX - 1), &ordinary());
    }
    assert_eq!(events(&trial), [(false, 6, 3), (true, 1, 1)]);
    let counts = trial.counts();
    assert_eq!(counts.segments.iter().map(|segment| segment.weight).collect::<Vec<_>>(), [0.1, 0.1]);
    let group = |hash: u64| 1 + hash as usize % KEY_GROUPS;
    let answers = |tallies: [GuardTally; GUARD_GROUPS], group: usize| tallies[group].answers;
    assert_eq!((answers(counts.guards.canary, 0), answers(counts.guards.canary, group(11))), (6, 3));
    assert_eq!((answers(counts.guards.stable, 0), answers(counts.guards.stable, group(u64::MAX - 1))), (3, 3));
}

#[test]
fn requests_that_name_their_version_and_other_versions_are_in_no_trial() {
    let trial = trial(SHARE);
    assert_eq!(trial.enter(2, Evidence::None), None);
    assert_eq!(trial.enter(3, row(1)), None);
    assert_eq!(trial.enter(3, key(1)), None);
    assert!(trial.enter(2, key(1)).unwrap().event.is_some(), "nothing of it was used up");
}

/// Over all points, at each share of a rollout: of the keys that are drawn anew exactly the weight's part is the canary's,
/// and none of those that were the canary's before.
#[test]
fn fresh_points_are_the_canarys_at_exactly_the_segments_weight_in_either_order_of_versions() {
    for (canary, stable) in [(2, 1), (1, 2), (7, 3)] {
        for pair in [0, 100, 500, 2_500, 5_000, 10_000].windows(2) {
            let share = TrialShare { canary, stable, weight: pair[1], before: pair[0] };
            let split = Split::try_new(&[(stable, FULL_WEIGHT - share.weight), (canary, share.weight)]).unwrap();
            let before = Split::try_new(&[(stable, FULL_WEIGHT - share.before), (canary, share.before)]).unwrap();
            let (mut fresh, mut fresh_canary) = (0_u32, 0_u32);
            for point in 0..FULL_WEIGHT {
                let hash = hash_at(point, 3);
                assert_eq!(point_of_draw(hash), point);
                let is_canary = |split: &Split| split.arms()[split.pick(point)].version == canary;
                if share.is_fresh(hash) {
                    fresh += 1;
                    fresh_canary += u32::from(is_canary(&split));
                    assert!(share.weight == FULL_WEIGHT || !is_canary(&before), "{share:?} at {point}");
                } else {
                    assert!(is_canary(&before), "{share:?} at {point}: a key that is left out for nothing");
                }
            }
            let weight = share.keyed_weight().unwrap();
            let expected = weight * f64::from(fresh);
            assert!((f64::from(fresh_canary) - expected).abs() < 1e-6, "{share:?}: {fresh_canary} of {fresh}");
        }
    }
}

#[test]
fn at_a_share_that_did_not_grow_no_key_is_drawn_anew() {
    let share = TrialShare { before: 1_000, ..SHARE };
    let trial = trial(share);
    assert_eq!(share.keyed_weight(), None);
    for point in 0..FULL_WEIGHT {
        request(&trial, 1, key(hash_at(point, point.into())), &ordinary());
    }
    assert_eq!(events(&trial), []);
    assert_eq!(trial.guards().stable.iter().map(|tally| tally.answers).sum::<u64>(), 10_000, "guards see them all");
}

#[test]
fn after_promotion_every_key_counts_once_for_the_canary() {
    let share = TrialShare { weight: 10_000, before: 10_000, ..SHARE };
    let trial = trial(share);
    for point in [0, 1, 5_000, 9_999, 0, 1] {
        request(&trial, 2, key(hash_at(point, point.into())), &ordinary());
    }
    request(&trial, 2, row(1), &ordinary());
    assert_eq!(events(&trial), [(false, 1, 0), (true, 4, 0)]);
    assert!(trial.counts().segments.iter().all(|segment| segment.weight.total_cmp(&1.0).is_eq()));
    assert!(trial.guards().weight.total_cmp(&1.0).is_eq());
}

#[test]
fn how_a_request_ended_is_counted_where_it_belongs() {
    let trial = trial(SHARE);
    let end = |outcome: Outcome, duration: u64| {
        let entrant = trial.enter(1, row(1)).unwrap();
        trial.count(0, &entrant, (outcome, Findings::default()), duration);
    };
    end(Outcome::Predicted, 1);
    end(Outcome::Failed { panicked: false }, 1);
    end(Outcome::Failed { panicked: true }, 2_000_000_000);
    end(Outcome::Refused, 1);
    end(Outcome::Overdue, 1);
    end(Outcome::Overdue, 2_000_000_000);
    end(Outcome::TurnedAway, 2_000_000_000);
    end(Outcome::Unanswered, 2_000_000_000);
    let counts = trial.counts();
    let arm = &counts.segments[0].stable;
    assert_eq!((arm.events, arm.errors, arm.refusals, arm.defects), (8, 2, 1, 0));
    assert_eq!((arm.latency.iter().sum::<u64>(), arm.latency[0]), (6, 3), "three of them two seconds");
    let guard = counts.guards.stable[0];
    assert_eq!(guard, GuardTally { answers: 4, errors: 2, broken: 1, non_finite: 0, slow: 2 });
}

#[test]
fn the_canarys_durations_are_discounted_for_evidence_and_not_for_the_guard() {
    let trial = trial(SHARE);
    let edge = trial.layout().latency_edges[3];
    assert_eq!(edge, 1_000_000);
    for (version, duration) in [(1, edge), (1, edge + 1), (2, edge), (2, 1_375_000), (2, 1_375_003), (2, 90_000)] {
        let entrant = trial.enter(version, row(1)).unwrap();
        trial.count(0, &entrant, (Outcome::Predicted, Findings::default()), duration);
    }
    let segment = &trial.counts().segments[0];
    let beyond = |arm: &ArmTally| arm.latency[4..].iter().sum::<u64>();
    assert_eq!((beyond(&segment.stable), beyond(&segment.canary)), (1, 1), "1.375 ms / 1.25 - 0.1 ms is the edge");
    assert_eq!(segment.canary.latency[0], 1);
    let entrant = trial.enter(2, row(1)).unwrap();
    trial.count(0, &entrant, (Outcome::Predicted, Findings::default()), 1_000_000_001);
    assert_eq!(trial.guards().canary[0].slow, 1);
}

#[test]
fn values_that_are_not_ordinary_are_defects_and_non_finite_ones_are_for_the_guard() {
    let cases: [(&str, [Tensor; 2], bool, bool); 8] = [
        ("ordinary", ordinary(), false, false),
        ("nan", [floats(2, &[f32::NAN, 0.5]), words(&["yes"])], true, true),
        ("infinite", [floats(2, &[0.5, f32::INFINITY]), words(&["yes"])], true, true),
        ("negative infinite", [floats(2, &[f32::NEG_INFINITY, 0.5]), words(&["yes"])], true, true),
        ("saturated", [floats(2, &[f32::MAX, 0.5]), words(&["yes"])], true, false),
        ("above", [floats(2, &[0.5, 1.5]), words(&["yes"])], true, false),
        ("below", [floats(2, &[-0.5, 0.5]), words(&["yes"])], true, false),
        ("unseen", [floats(2, &[0.5, 0.5]), words(&["perhaps"])], true, false),
    ];
    for (name, outputs, is_defective, is_non_finite) in cases {
        let trial = trial(SHARE);
        let findings = request(&trial, 2, row(1), &outputs);
        assert_eq!(findings, Findings { is_broken: false, is_non_finite, is_defective }, "{name}");
        let counts = trial.counts();
        let arm = &counts.segments[0].canary;
        assert_eq!((arm.events, arm.defects), (1, u64::from(is_defective)), "{name}");
        assert!(arm.outputs.iter().all(|cells| cells.iter().sum::<u64>() == 1), "{name}: {:?}", arm.outputs);
        assert_eq!(counts.guards.canary[0].non_finite, u64::from(is_non_finite), "{name}");
    }
}

#[test]
fn the_guard_sees_a_nan_in_any_row_and_in_requests_that_are_no_evidence() {
    let trial = trial(SHARE);
    let outputs = [floats(2, &[0.5, 0.5, f32::NAN, 0.5]), words(&["yes", "no"])];
    request(&trial, 2, key(5), &outputs);
    request(&trial, 2, key(5), &outputs);
    assert_eq!(trial.guards().canary[1 + 5].non_finite, 2);
    assert_eq!(trial.counts().segments[0].canary.defects, 0, "its row was the first");
}

#[test]
fn outputs_of_another_shape_than_is_declared_are_broken_and_their_values_missing() {
    let wide = [floats(3, &[0.1, 0.2, 0.3]), words(&["yes"])];
    let few = [floats(2, &[0.1, 0.2])];
    let rows = [floats(2, &[0.1, 0.2]), words(&["yes", "no"])];
    let none: [Tensor; 0] = [];
    for (outputs, missing) in [(&wide[..], 2), (&few[..], 1), (&rows[..], 0), (&none[..], 3)] {
        let trial = trial(SHARE);
        let findings = request(&trial, 2, row(0), outputs);
        assert!(findings.is_broken && findings.is_defective == (missing > 0), "{outputs:?}: {findings:?}");
        let counts = trial.counts();
        assert_eq!((counts.guards.canary[0].broken, counts.guards.canary[0].errors), (1, 0));
        assert_eq!(counts.segments[0].canary.outputs.iter().flatten().sum::<u64>(), 3, "each column has a cell");
    }
    let rows = [floats(2, &[0.1, 0.2, 0.3, 0.4]), words(&["yes", "no"])];
    assert!(!request(&trial(SHARE), 2, row(0), &rows).is_broken, "as many rows as the input has");
}

#[test]
fn outputs_are_found_by_their_names() {
    let swapped = Signature { outputs: signature().outputs.into_iter().rev().collect(), ..signature() };
    let trial = trial(SHARE);
    let entrant = trial.enter(2, row(0)).unwrap();
    let outputs: Vec<Tensor> = ordinary().into_iter().rev().collect();
    let findings = trial.look(0, &entrant, (&swapped, &[floats(1, &[0.0])]), &outputs);
    assert_eq!(findings, Findings::default());
    trial.count(0, &entrant, (Outcome::Predicted, findings), 1);
    request(&trial, 1, row(0), &ordinary());
    let segment = &trial.counts().segments[0];
    assert_eq!(segment.canary.outputs, segment.stable.outputs);
}

#[test]
fn an_answer_without_rows_is_an_event_and_shows_nothing() {
    let trial = trial(SHARE);
    let findings = request(&trial, 2, row(0), &[floats(2, &[]), words(&[])]);
    assert!(!findings.is_defective);
    let counts = trial.counts();
    assert_eq!((counts.segments[0].canary.events, counts.guards.canary[0].answers), (1, 1));
    assert_eq!(counts.segments[0].canary.outputs.iter().flatten().sum::<u64>(), 0);
}

#[test]
fn the_layout_is_of_the_stable_versions_reference_and_counts() {
    let layout = plan().layout().clone();
    let names: Vec<&str> = layout.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["score 0", "score 1", "word 0"]);
    assert!(layout.outputs.iter().all(|output| output.expected.iter().sum::<u64>() == 1_001));
    assert!(layout.outputs[0].ordered >= 8 && layout.outputs[2].ordered == 0);
    assert_eq!((layout.latency_limit, layout.latency_added, layout.latency_edges.len()), (1_000_000_000, 100_000, 16));
    let recorder = Recorder::new(&signature(), None, 512, 1);
    let mut phases = [0; PHASES];
    phases[Phase::Total as usize] = 3_000_000;
    for step in 0..1_000_u16 {
        let outputs = [floats(2, &[f32::from(step), -1.0]), words(&["yes"])];
        recorder.record_prediction(0, row(0), &[floats(1, &[0.0])], &outputs);
        let status = StatusLabel::of(if step % 100 == 0 { 500 } else { 200 });
        recorder.record_answer(0, (0, Protocol::OpenInference, status), &phases);
    }
    let layout = plan_of(&recorder, None).layout().clone();
    assert_eq!((layout.expected_errors, layout.latency_edges.len()), (0.01, 1));
    assert!(layout.latency_limit >= 30_000_000 && layout.latency_limit < 33_000_000, "{}", layout.latency_limit);
    assert!(layout.outputs[0].ordered >= 10 && layout.outputs[0].expected.iter().sum::<u64>() == 1_000);
}

#[test]
fn a_rollout_goes_on_with_its_layout_where_the_stable_version_has_its_references_still() {
    let layout = TrialLayout { latency_edges: vec![7], latency_beyond: vec![0.5], ..plan().layout().clone() };
    let recorder = Recorder::new(&signature(), Some(&profile()), 512, 1);
    let resumed = TrialPlan::resumed(&recorder, layout.clone()).unwrap();
    assert_eq!((resumed.layout(), resumed.cells), (&layout, plan().cells));
    let without = Recorder::new(&signature(), None, 512, 1);
    assert!(TrialPlan::resumed(&without, layout).is_none(), "others");
    assert!(
        TrialPlan::resumed(&without, plan_of(&without, None).layout().clone()).is_none(),
        "they were made of counts"
    );
}

#[test]
fn of_many_columns_the_first_are_compared() {
    let wide =
        Signature { inputs: Vec::new(), outputs: vec![spec("a", DataType::Fp32, 100), spec("b", DataType::Fp32, 1)] };
    let recorder = Recorder::new(&wide, None, 512, 1);
    let trial = Trial::new(plan_of(&recorder, None), SHARE, 1);
    assert_eq!(trial.layout().outputs.len(), MOST_OUTPUTS);
    let entrant = trial.enter(2, row(0)).unwrap();
    let findings = trial.look(0, &entrant, (&wide, &[]), &[floats(100, &[0.5; 100]), floats(1, &[0.5])]);
    trial.count(0, &entrant, (Outcome::Predicted, findings), 1);
    assert_eq!(trial.counts().segments[0].canary.outputs.iter().flatten().sum::<u64>(), MOST_OUTPUTS as u64);
}

#[test]
fn rows_that_are_too_wide_are_compared_by_their_statistics() {
    let wide = Signature { inputs: Vec::new(), outputs: vec![spec("a", DataType::Fp32, 40)] };
    let recorder = Recorder::new(&wide, None, 8, 1);
    let trial = Trial::new(plan_of(&recorder, None), SHARE, 1);
    assert_eq!(trial.layout().outputs.len(), 4);
    for values in [[0.5; 40], [900.0; 40]] {
        let entrant = trial.enter(2, row(0)).unwrap();
        let findings = trial.look(0, &entrant, (&wide, &[]), &[floats(40, &values)]);
        trial.count(0, &entrant, (Outcome::Predicted, findings), 1);
    }
    let counts = trial.counts();
    let used: Vec<usize> = counts.segments[0]
        .canary
        .outputs
        .iter()
        .map(|cells| cells.iter().filter(|count| **count > 0).count())
        .collect();
    assert_eq!(used, [2, 2, 1, 1], "norm and mean are others, zeros and non-finite values are not");
}
