//! Which values are added up, from where, and what was written down before any were.

use super::tests::{SHARE, floats, key, ordinary, plan, plan_of, profile, request, row, signature, spec, trial, words};
use super::*;
use crate::observe::Recorder;
use crate::tensor::DataType;

/// Sums of an arm's column in the first segment, as mean and variance from the layout's origin.
fn moments(trial: &Trial, arm: fn(&TrialSegment) -> &ArmTally, column: usize) -> (u64, f64, f64) {
    let counts = trial.counts();
    let sums = arm(&counts.segments[0]).values[column];
    let origin = trial.layout().outputs[column].origin().unwrap();
    let (count, mean) = (sums.count as f64, sums.sum / sums.count as f64);
    (sums.count, origin + mean, sums.squares / count - mean * mean)
}

#[test]
fn the_values_of_the_row_that_is_evidence_are_added_up_by_arm_and_column() {
    let trial = trial(SHARE);
    let rows = [floats(2, &[0.25, 0.5, 0.75, 0.5]), words(&["yes", "no"])];
    // The first row and the last one of two.
    request(&trial, 2, row(0), &rows);
    request(&trial, 2, row(u64::MAX), &rows);
    request(&trial, 1, row(u64::MAX), &rows);
    let is = |found: (u64, f64, f64), (count, mean, variance): (u64, f64, f64)| {
        let is_near = |one: f64, other: f64| (one - other).abs() < 1e-12;
        assert!(found.0 == count && is_near(found.1, mean) && is_near(found.2, variance), "{found:?}");
    };
    is(moments(&trial, |segment| &segment.canary, 0), (2, 0.5, 0.0625));
    is(moments(&trial, |segment| &segment.canary, 1), (2, 0.5, 0.0));
    is(moments(&trial, |segment| &segment.stable, 0), (1, 0.75, 0.0));
    let counts = trial.counts();
    let canary = &counts.segments[0].canary.values;
    assert_eq!((canary.len(), canary[2]), (3, ValueSums::default()), "words have no numbers");
    let center = trial.layout().outputs[0].center.unwrap();
    let cubes = (0.25 - center).powi(3) + (0.75 - center).powi(3);
    assert!((canary[0].cubes - cubes).abs() < 1e-12, "{canary:?}");
}

#[test]
fn what_is_out_of_range_is_a_number_and_what_saturates_or_is_missing_is_none() {
    let trial = trial(SHARE);
    let wide = [floats(3, &[0.1, 0.2, 0.3]), words(&["yes"])];
    request(&trial, 2, row(0), &wide);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 7.0, -1.0] {
        request(&trial, 2, row(0), &[floats(2, &[value, 0.5]), words(&["yes"])]);
    }
    let (count, mean, variance) = moments(&trial, |segment| &segment.canary, 0);
    assert!(count == 2 && (mean - 3.0).abs() < 1e-12 && (variance - 16.0).abs() < 1e-9, "{count} {mean} {variance}");
    assert_eq!(moments(&trial, |segment| &segment.canary, 1).0, 7);
}

#[test]
fn further_requests_of_a_key_are_in_no_mean() {
    let trial = trial(SHARE);
    for _ in 0..3 {
        request(&trial, 2, key(11), &ordinary());
    }
    assert_eq!(moments(&trial, |segment| &segment.canary, 0).0, 1);
}

/// Where there is no reference the origin is near what was answered, so that a spread of half a millionth is not lost in rounding.
#[test]
fn small_differences_far_from_zero_are_kept() {
    let one = Signature { inputs: Vec::new(), outputs: vec![spec("a", DataType::Fp64, 1)] };
    let output = |value: f64| {
        let shape = crate::tensor::Shape::matrix(1, 1);
        [Tensor::try_new(shape, TensorData::Fp64(vec![value])).unwrap()]
    };
    let recorder = Recorder::new(&one, None, 512, 1);
    let value = |step: u64| 1e6 + 0.3 + (step % 2) as f64;
    (0..500).for_each(|step| recorder.record_prediction(0, row(step), &[], &output(value(step))));
    let trial = Trial::new(plan_of(&recorder, None), SHARE, 1);
    for step in 0..1_000 {
        let entrant = trial.enter(2, row(step)).unwrap();
        let findings = trial.look(0, &entrant, (&one, &[]), &output(value(step)));
        trial.count(0, &entrant, (Outcome::Predicted, findings), 1);
    }
    let (count, mean, variance) = moments(&trial, |segment| &segment.canary, 0);
    assert_eq!(
        (count, trial.counts().segments[0].canary.outputs[0].iter().filter(|cell| **cell > 0).count()),
        (1_000, 1)
    );
    assert!((mean - (1e6 + 0.8)).abs() < 1e-9 && (variance - 0.25).abs() < 1e-4, "{mean} {variance}");
}

#[test]
fn what_was_written_down_before_values_were_added_up_is_read_and_counted_on_from_zero() {
    let old = r#"{"events":3,"errors":0,"refusals":0,"defects":0,"latency":[3,0],"outputs":[[1,2]]}"#;
    let tally: ArmTally = serde_json::from_str(old).unwrap();
    assert_eq!((tally.events, tally.values.len()), (3, 0));
    assert_eq!(serde_json::to_string(&tally).unwrap(), old, "nothing that an earlier release would not know");
    let mut layout = serde_json::to_value(plan().layout()).unwrap();
    for output in layout["outputs"].as_array_mut().unwrap() {
        let output = output.as_object_mut().unwrap();
        output.remove("center");
        output.insert("values".to_owned(), serde_json::json!([]));
    }
    let layout: TrialLayout = serde_json::from_value(layout).unwrap();
    assert_eq!(layout.outputs.iter().map(OutputCells::origin).collect::<Vec<_>>(), [Some(0.0), Some(0.0), None]);
    let recorder = Recorder::new(&signature(), Some(&profile()), 512, 1);
    let plan = TrialPlan::resumed(&recorder, layout).unwrap();
    let trial = Trial::new(Arc::new(plan), SHARE, 1);
    request(&trial, 2, row(0), &ordinary());
    let values = trial.counts().segments[0].canary.values.clone();
    assert_eq!(values[0], ValueSums { count: 1, sum: 0.25, squares: 0.0625, cubes: 0.015_625 });
}
