//! What a recorder counts, column by column, and what its windows keep.

use super::recorder::RowStatistics;
use super::*;
use crate::profile::{ColumnSpec, Profile, ProfileBuilder, ProfileOptions};
use crate::tensor::{DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use std::time::Duration;

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn signature(width: usize) -> Signature {
    let tensor = |name: &str, datatype, width| TensorSpec {
        name: name.into(),
        datatype,
        shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)],
    };
    Signature { inputs: vec![tensor("x", DataType::Fp32, width)], outputs: vec![tensor("y", DataType::Int64, 1)] }
}

fn floats(rows: usize, values: &[f32]) -> Tensor {
    Tensor::try_new(Shape::matrix(rows, values.len() / rows), TensorData::Fp32(values.to_vec())).unwrap()
}

fn profile_of_second_feature() -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    let spec = ColumnSpec {
        side: crate::profile::Side::Input,
        tensor: "x".into(),
        index: 1,
        name: "second".into(),
        datatype: DataType::Fp32,
        statistic: None,
    };
    let column = builder.add_column(spec);
    builder.absorb_numbers(column, (0..100).map(|value| f64::from(value) / 8.0)).unwrap();
    builder.finish().unwrap()
}

fn labels(values: &[i64]) -> Tensor {
    Tensor::try_new(Shape::matrix(values.len(), 1), TensorData::Int64(values.to_vec())).unwrap()
}

#[test]
fn a_recorder_that_saw_nothing_has_zero_counts() {
    let totals = Recorder::new(&signature(2), None, 512, 2).totals();
    assert_eq!(totals.rows, 0);
    assert!(totals.slots.iter().all(|&count| count == 0));
    assert_eq!(totals.answers.statuses().count(), 0);
}

#[test]
fn every_value_is_counted_once_over_all_workers() {
    let recorder = Recorder::new(&signature(2), None, 512, 2);
    recorder.record_prediction(0, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    recorder.record_prediction(1, &[floats(1, &[f32::INFINITY, 0.0])], &[labels(&[1])]);
    let totals = recorder.totals();
    assert_eq!(totals.rows, 3);
    assert_eq!(recorder.columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["x[0]", "x[1]", "y"]);
    for column in recorder.columns() {
        assert_eq!(totals.slots[column.slots.clone()].iter().sum::<u64>(), 3, "{}", column.name);
    }
    assert_eq!(recorder.columns()[0].defects(&totals.slots), [("missing", 0), ("infinite", 1)]);
    assert_eq!(recorder.columns()[1].defects(&totals.slots), [("missing", 1), ("infinite", 0)]);
}

#[test]
fn wide_tensors_are_reduced_to_four_statistics_of_a_row() {
    let recorder = Recorder::new(&signature(5), None, 4, 1);
    let names: Vec<&str> = recorder.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["x.norm", "x.mean", "x.zeros", "x.nonfinite", "y"]);
    recorder.record_prediction(0, &[floats(2, &[1.0; 10])], &[labels(&[0, 1])]);
    let totals = recorder.totals();
    assert_eq!(totals.slots[recorder.columns()[0].slots.clone()].iter().sum::<u64>(), 2);
}

#[test]
fn statistics_of_a_row_leave_non_finite_values_out_of_norm_and_mean() {
    let close =
        |left: [f64; 4], right: [f64; 4]| left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-12);
    let of = |values: &[f64]| {
        let mut row = RowStatistics::default();
        values.iter().for_each(|&value| row.add(value));
        row.finish()
    };
    assert!(close(of(&[]), [0.0; 4]));
    assert!(close(of(&[3.0, 4.0, 0.0, f64::NAN]), [5.0, 7.0 / 3.0, 0.25, 0.25]));
}

#[test]
fn answers_are_counted_by_arm_protocol_and_status() {
    let recorder = Recorder::new(&signature(2), None, 512, 1);
    let label = (1, Protocol::OpenInference, StatusLabel::of(503));
    recorder.record_answer(0, label, &[9_000, 5_000, 1_000, 0, 0]);
    let totals = recorder.totals().answers;
    assert_eq!(totals.statuses().collect::<Vec<_>>(), [(1, Protocol::OpenInference, 503, 1)]);
    assert_eq!(totals.durations(Phase::Total).iter().sum::<u64>(), 1);
    assert_eq!(totals.durations(Phase::Compute).iter().sum::<u64>(), 0);
    assert_eq!(totals.duration_sum(Phase::Decode), 1_000);
}

#[test]
fn only_predictions_and_our_own_failures_are_timed() {
    let recorder = Recorder::new(&signature(2), None, 512, 1);
    for status in [200, 400, 404, 413, 500, 503] {
        recorder.record_answer(0, (0, Protocol::KserveV1, StatusLabel::of(status)), &[1_000; PHASES]);
    }
    let totals = recorder.totals().answers;
    assert_eq!(totals.statuses().map(|(.., count)| count).sum::<u64>(), 6);
    for phase in Phase::ALL {
        assert_eq!(totals.durations(phase).iter().sum::<u64>(), 3, "{}", phase.name());
    }
}

#[test]
fn a_column_without_a_reference_is_one_counter_of_a_window_and_still_counts_its_values() {
    let recorder = Recorder::new(&signature(2), None, 512, 1);
    let plan = ReadingPlan::new(recorder.columns());
    assert_eq!(plan.read(&recorder.totals()), [0; 4]);
    recorder.record_prediction(0, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    assert_eq!(plan.read(&recorder.totals()), [2; 4]);
    assert_eq!((plan.column(0), plan.column(2)), (0..1, 2..3));
}

#[test]
fn a_column_with_a_reference_is_windowed_counter_by_counter() {
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 1);
    recorder.record_prediction(0, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    let (totals, plan) = (recorder.totals(), ReadingPlan::new(recorder.columns()));
    let reading = plan.read(&totals);
    let column = &recorder.columns()[1];
    assert_eq!(reading[plan.column(1)], totals.slots[column.slots.clone()]);
    assert_eq!((reading[0], reading.len()), (2, 1 + column.slots.len() + 1 + 1));
}

#[test]
fn a_window_forgets_what_is_older_than_it() {
    let mut window = Window::new(seconds(10), vec![0], vec![0]);
    for second in 0..30_u64 {
        window.roll(seconds(second), &[second + 1], &[(second + 1) * 2]);
    }
    // One count a second; the newest slice is second 29, the oldest kept second 19.
    assert_eq!(window.counts(), [11]);
    assert_eq!(window.sums(), [22]);
}

#[test]
fn a_window_that_was_not_rolled_for_long_is_empty_but_for_the_newest() {
    let mut window = Window::new(seconds(10), vec![0], Vec::new());
    window.roll(seconds(1), &[100], &[]);
    window.roll(seconds(1_000), &[103], &[]);
    assert_eq!(window.counts(), [3]);
}

#[test]
fn sums_that_wrap_still_have_the_right_difference() {
    let mut window = Window::new(seconds(2), Vec::new(), vec![0]);
    window.roll(seconds(0), &[], &[u64::MAX - 1]);
    window.roll(seconds(10), &[], &[3]);
    assert_eq!(window.sums(), [5]);
}

proptest! {
    #[test]
    fn a_window_equals_a_naive_sum_over_the_same_slices(steps in prop::collection::vec((0_u64..4_000, 0_u64..100), 1..80)) {
        let width = seconds(20) / 20;
        let mut window = Window::new(seconds(20), vec![0], Vec::new());
        let (mut now, mut total, mut seen) = (Duration::ZERO, 0, Vec::new());
        for (milliseconds, count) in steps {
            now += Duration::from_millis(milliseconds);
            total += count;
            seen.push((now.as_nanos() / width.as_nanos(), count));
            window.roll(now, &[total], &[]);
            let newest = now.as_nanos() / width.as_nanos();
            let expected: u64 = seen.iter().filter(|(index, _)| index + 20 >= newest).map(|(_, count)| count).sum();
            prop_assert_eq!(window.counts(), vec![expected]);
        }
    }
}
