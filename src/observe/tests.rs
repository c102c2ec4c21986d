//! What a recorder counts, column by column, and what its windows keep.

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
    recorder.record_prediction(0, Evidence::None, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    recorder.record_prediction(1, Evidence::None, &[floats(1, &[f32::INFINITY, 0.0])], &[labels(&[1])]);
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
    recorder.record_prediction(0, Evidence::None, &[floats(2, &[1.0; 10])], &[labels(&[0, 1])]);
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
    recorder.record_answer(0, label, &[9_000, 5_000, 1_000, 0, 0, 0, 0, 0]);
    let totals = recorder.totals().answers;
    assert_eq!(totals.statuses().collect::<Vec<_>>(), [(1, Protocol::OpenInference, 503, 1)]);
    assert_eq!(totals.durations(Phase::Total).iter().sum::<u64>(), 1);
    assert_eq!(totals.durations(Phase::Compute).iter().sum::<u64>(), 0);
    assert_eq!(totals.duration_sum(Phase::Decode), 1_000);
}

#[test]
fn a_prediction_without_its_values_is_counted_and_leaves_no_other_trace() {
    let recorder = Recorder::new(&signature(2), None, 512, 2);
    let rows = Tensor::try_new(Shape::matrix(3, 2), TensorData::Fp32(vec![1.0; 6])).unwrap();
    recorder.count_prediction(1, &[rows]);
    let totals = recorder.totals();
    let untouched = Totals { predictions: 1, unrecorded_rows: 3, ..recorder.no_totals() };
    assert_eq!(totals, untouched);
    let mut sum = totals.clone();
    sum.add_requests(&totals);
    assert_eq!((sum.predictions, sum.unrecorded_rows, sum.rows), (2, 6, 0));
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
    recorder.record_prediction(0, Evidence::None, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    assert_eq!(plan.read(&recorder.totals()), [2; 4]);
    assert_eq!((plan.column(0), plan.column(2)), (0..1, 2..3));
}

#[test]
fn a_column_with_a_reference_is_windowed_counter_by_counter() {
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 1);
    recorder.record_prediction(0, Evidence::None, &[floats(2, &[1.0, f32::NAN, 3.0, 4.0])], &[labels(&[0, 1])]);
    let (totals, plan) = (recorder.totals(), ReadingPlan::new(recorder.columns()));
    let reading = plan.read(&totals);
    let column = &recorder.columns()[1];
    assert_eq!(reading[plan.column(1)], totals.slots[column.slots.clone()]);
    assert_eq!((reading[0], reading.len()), (2, 1 + column.slots.len() + 1 + 1));
}

#[test]
fn one_row_of_a_request_at_most_enters_the_alarm_cells() {
    let profile = profile_of_second_feature();
    let recorder = Recorder::new(&signature(2), Some(&profile), 512, 2);
    let column = &recorder.columns()[1];
    let reference = column.reference.clone().unwrap();
    assert_eq!((column.cells.len(), recorder.columns()[0].cells.len()), (reference.cells(), 0));
    let values: Vec<f32> = (0..200).map(|position| position as f32 / 16.0).collect();
    let (inputs, outputs) = ([floats(100, &values)], [labels(&[0; 100])]);
    for (count, draw) in [0, 1 << 63, u64::MAX].into_iter().enumerate() {
        recorder.record_prediction(count % 2, Evidence::Row { draw }, &inputs, &outputs);
        recorder.record_prediction(1, Evidence::None, &inputs, &outputs);
    }
    let totals = recorder.totals();
    let mut expected = vec![0; reference.cells()];
    let slots = totals.slots[column.slots.clone()].to_vec();
    for row in [0, 50, 99] {
        let layout = profile.inputs[0].layout(DataType::Fp32).unwrap();
        expected[reference.cell_of_slot(layout.slot_f32(values[row * 2 + 1]))] += 1;
    }
    assert_eq!(totals.cells[column.cells.clone()], expected);
    assert_eq!((totals.evidence_rows, totals.rows, totals.predictions), (3, 600, 6));
    assert_eq!(slots.iter().sum::<u64>(), 600);
}

#[test]
fn a_request_without_rows_is_no_evidence() {
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 1);
    let empty = Tensor::try_new(Shape::matrix(0, 2), TensorData::Fp32(Vec::new())).unwrap();
    recorder.record_prediction(0, Evidence::KeyGroup { draw: 7, key_hash: 7 }, &[empty], &[labels(&[])]);
    assert_eq!(recorder.totals().evidence_rows, 0);
    recorder.record_prediction(
        0,
        Evidence::KeyGroup { draw: 7, key_hash: 7 },
        &[floats(1, &[0.0; 2])],
        &[labels(&[0])],
    );
    assert_eq!(recorder.totals().evidence_rows, 1);
}

#[test]
fn evidence_with_a_routing_key_is_counted_for_its_group_of_keys_as_well() {
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 2);
    assert!(recorder.totals().keyed.is_empty());
    let record = |worker, evidence| {
        recorder.record_prediction(worker, evidence, &[floats(1, &[1.0, 2.0])], &[labels(&[0])]);
    };
    let key = |key_hash| Evidence::KeyGroup { draw: 1, key_hash };
    for (worker, evidence) in [(0, key(3)), (1, key(3)), (1, key(4)), (0, Evidence::Row { draw: 1 })] {
        record(worker, evidence);
    }
    let (totals, column) = (recorder.totals(), &recorder.columns()[1]);
    assert_eq!(totals.evidence_rows, 4);
    assert_eq!(totals.cells[column.cells.clone()].iter().sum::<u64>(), 4);
    let keyed = &totals.keyed[column.keyed()];
    let of_groups: Vec<u64> = keyed.chunks(column.cells.len()).map(|group| group.iter().sum()).collect();
    assert_eq!(of_groups, [0, 0, 0, 2, 1, 0, 0, 0]);
    assert_eq!(recorder.evidence(), (totals.cells, totals.keyed));
}

#[test]
fn values_beyond_the_edges_have_alarm_cells_of_their_own() {
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 1);
    let column = &recorder.columns()[1];
    let groups = column.reference.as_ref().unwrap().group_count;
    for value in [-1.0, 1e9, f32::NAN, 3.0] {
        recorder.record_prediction(0, Evidence::Row { draw: 0 }, &[floats(1, &[0.0, value])], &[labels(&[0])]);
    }
    let cells = recorder.totals().cells[column.cells.clone()].to_vec();
    assert_eq!((cells[groups], cells[groups + 1], cells[..groups].iter().sum::<u64>()), (1, 1, 2));
}

#[test]
fn refusals_are_counted_by_kind_and_nowhere_else() {
    let recorder = Recorder::new(&signature(2), None, 512, 2);
    for (worker, kind) in [(0, RefusalKind::WrongShape), (1, RefusalKind::Malformed), (0, RefusalKind::Malformed)] {
        recorder.record_refusal(worker, kind);
    }
    let totals = recorder.totals();
    assert_eq!(totals.refusals, [1, 0, 2]);
    assert_eq!(Totals { refusals: [0; REFUSAL_KINDS], ..totals }, recorder.no_totals());
}

/// What a recorder counts of a tensor, of which one row is evidence, value by value through the layouts alone.
fn counted_one_by_one(recorder: &Recorder, profile: &Profile, (tensor, evidence): (&Tensor, usize)) -> Totals {
    let mut totals = recorder.no_totals();
    tensor.data().visit_numbers(|position, value| {
        let (row, index) = (position / profile.inputs.len(), position % profile.inputs.len());
        let (column, layout) = (&recorder.columns()[index], profile.inputs[index].layout(tensor.datatype()).unwrap());
        let slot = layout.slot_f64(value);
        totals.slots[column.slots.start + slot] += 1;
        if let Some(sum) = layout.sum_index(slot) {
            let total = &mut totals.sums[column.sums.start + sum];
            *total = total.wrapping_add(layout.quantize(value).cast_unsigned());
        }
        if row == evidence {
            let cell = column.reference.as_ref().unwrap().cell_of_slot(slot);
            totals.cells[column.cells.start + cell] += 1;
        }
    });
    totals
}

/// A profile of `width` features whose reference values are skewed, more from column to column.
fn skewed_profile(width: usize, datatype: DataType) -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    for index in 0..width {
        let (side, name) = (crate::profile::Side::Input, format!("f{index}"));
        let spec = ColumnSpec { side, tensor: "x".into(), index, name, datatype, statistic: None };
        let column = builder.add_column(spec);
        let power = 1.0 + index as f64 / 4.0;
        let value = |step: i32| f64::from((f64::from(step) / 40.0).powf(power) as f32).round_ties_even();
        builder.absorb_numbers(column, (0..400).map(value)).unwrap();
    }
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn batches_of_any_shape_and_type_are_counted_value_by_value(
        width in 1_usize..40,
        rows in 0_usize..150,
        seed in prop::collection::vec(prop_oneof![8 => -20.0_f32..2_000.0, 1 => any::<f32>()], 97),
        doubles in any::<bool>(),
    ) {
        let datatype = if doubles { DataType::Fp64 } else { DataType::Fp32 };
        let mut signature = signature(width);
        signature.inputs[0].datatype = datatype;
        let profile = skewed_profile(width, datatype);
        let recorder = Recorder::new(&signature, Some(&profile), 512, 1);
        let values: Vec<f32> = seed.iter().copied().cycle().take(width * rows).collect();
        let data = match datatype {
            DataType::Fp64 => TensorData::Fp64(values.iter().map(|&value| f64::from(value)).collect()),
            _ => TensorData::Fp32(values),
        };
        let tensor = Tensor::try_new(Shape::matrix(rows, width), data).unwrap();
        let draw = (rows as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        recorder.record_prediction(0, Evidence::Row { draw }, std::slice::from_ref(&tensor), &[]);
        let totals = recorder.totals();
        let evidence = (u128::from(draw) * rows as u128) >> 64;
        let expected = counted_one_by_one(&recorder, &profile, (&tensor, evidence as usize));
        prop_assert_eq!(totals.slots, expected.slots);
        prop_assert_eq!(totals.sums, expected.sums);
        prop_assert_eq!(totals.cells, expected.cells);
    }
}

/// What a request is worth to alarms, by a number.
fn some_evidence(draw: u64) -> Evidence {
    match draw % 3 {
        0 => Evidence::None,
        1 => Evidence::Row { draw },
        _ => Evidence::KeyGroup { draw, key_hash: draw.rotate_left(9) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_noted_and_settled_is_what_would_have_been_counted_at_once(
        width in 1_usize..40,
        requests in prop::collection::vec((0_usize..30, any::<u64>(), prop::bool::weighted(0.1)), 1..40),
        seed in prop::collection::vec(prop_oneof![8 => -20.0_f32..2_000.0, 1 => any::<f32>()], 97),
    ) {
        let (signature, profile) = (signature(width), skewed_profile(width, DataType::Fp32));
        let recorders = [0, 1].map(|_| Recorder::new(&signature, Some(&profile), 512, 1));
        let [at_once, noted] = &recorders;
        let mut notes = Notes::default();
        for (rows, draw, is_settled) in requests {
            let values: Vec<f32> = seed.iter().copied().cycle().skip(draw as usize % 97).take(width * rows).collect();
            let inputs = [Tensor::try_new(Shape::matrix(rows, width), TensorData::Fp32(values)).unwrap()];
            let outputs = [labels(&vec![1; rows])];
            let evidence = some_evidence(draw);
            at_once.record_prediction(0, evidence, &inputs, &outputs);
            if !noted.note((0, &mut notes), evidence, &inputs, &outputs) {
                noted.record_prediction(0, evidence, &inputs, &outputs);
            }
            if is_settled {
                noted.settle(0, &mut notes);
            }
        }
        noted.settle(0, &mut notes);
        prop_assert_eq!(at_once.totals(), noted.totals());
        noted.settle(0, &mut notes);
        prop_assert_eq!(at_once.totals(), noted.totals(), "settled twice");
    }
}

#[test]
fn only_small_requests_of_rows_that_fit_are_noted() {
    let mut notes = Notes::default();
    let recorder = Recorder::new(&signature(2), Some(&profile_of_second_feature()), 512, 1);
    let mut is_noted = |recorder: &Recorder, rows: usize, labelled: usize, width: usize| {
        let inputs = [Tensor::try_new(Shape::matrix(rows, width), TensorData::Fp32(vec![0.5; rows * width])).unwrap()];
        recorder.note((0, &mut notes), Evidence::None, &inputs, &[labels(&vec![0; labelled])])
    };
    assert!(is_noted(&recorder, 1, 1, 2) && is_noted(&recorder, 16, 16, 2));
    assert!(!is_noted(&recorder, 17, 17, 2), "large enough to be counted as it comes");
    assert!(!is_noted(&recorder, 0, 0, 2), "nothing to note");
    assert!(!is_noted(&recorder, 2, 1, 2), "an output has other rows");
    assert_eq!(recorder.totals().rows, 0, "noted is not yet counted");
    for _ in 0..100 {
        assert!(is_noted(&recorder, 16, 16, 2));
    }
    let waiting = 17 + 100 * 16 - recorder.totals().rows;
    assert!(waiting <= 64, "{waiting} rows wait to be counted, without anybody's settling them");
    let wide = Recorder::new(&signature(2_000), None, 4_096, 1);
    assert!(!is_noted(&wide, 1, 1, 2_000), "hardly two would fit");
    let reduced = Recorder::new(&signature(5), None, 4, 1);
    assert!(!is_noted(&reduced, 1, 1, 5), "statistics of a row are not noted");
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
        let width = seconds(15) / 15;
        let mut window = Window::new(seconds(15), vec![0], Vec::new());
        let (mut now, mut total, mut seen) = (Duration::ZERO, 0, Vec::new());
        for (milliseconds, count) in steps {
            now += Duration::from_millis(milliseconds);
            total += count;
            seen.push((now.as_nanos() / width.as_nanos(), count));
            window.roll(now, &[total], &[]);
            let newest = now.as_nanos() / width.as_nanos();
            let expected: u64 = seen.iter().filter(|(index, _)| index + 15 >= newest).map(|(_, count)| count).sum();
            prop_assert_eq!(window.counts(), vec![expected]);
        }
    }
}
