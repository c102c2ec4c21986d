//! Comparison: what is the same is the same, what is not is counted once, and nothing that is counted is infinite.

use super::*;
use crate::observe::Recorder;
use crate::tensor::{ByteStrings, DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;

fn spec(name: &str, datatype: DataType, width: Option<usize>) -> TensorSpec {
    let inner = width.map_or(Dimension::Free("width".into()), Dimension::Fixed);
    TensorSpec { name: name.into(), datatype, shape: vec![Dimension::Free("N".into()), inner] }
}

fn signature(outputs: Vec<TensorSpec>) -> Signature {
    Signature { inputs: vec![spec("x", DataType::Fp32, Some(1))], outputs }
}

/// A tally of a model with these outputs, both of whose versions have the same.
fn tally(outputs: Vec<TensorSpec>) -> ShadowTally {
    let signature = signature(outputs);
    let recorder = Recorder::new(&signature, None, 512, 1);
    ShadowTally::new(ShadowPlan::new(&recorder, &signature, &signature).unwrap())
}

fn scores(width: usize) -> ShadowTally {
    tally(vec![spec("scores", DataType::Fp32, Some(width))])
}

fn matrix(width: usize, values: &[f32]) -> Tensor {
    Tensor::try_new(Shape::matrix(values.len() / width, width), TensorData::Fp32(values.to_vec())).unwrap()
}

fn counts(tally: &ShadowTally) -> ShadowCounts {
    tally.counts(crate::detect::kolmogorov_smirnov)
}

/// Compares two answers of one tensor each.
fn compare(tally: &mut ShadowTally, given: Tensor, tried: Tensor) {
    tally.compare(0, &[given], &[tried]);
}

/// Any float, the odd ones among them.
fn number() -> impl Strategy<Value = f32> {
    let odd = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0]);
    prop_oneof![3 => -2.0_f32..2.0, 1 => odd, 1 => any::<f32>()]
}

/// What a row's label is, by a plain loop over the definition.
fn largest(row: &[f32]) -> Option<usize> {
    let real: Vec<f32> = row.iter().copied().filter(|value| !value.is_nan()).collect();
    let most = real.iter().copied().reduce(f32::max)?;
    row.iter().position(|value| *value >= most)
}

proptest! {
    #[test]
    fn the_same_answers_differ_in_nothing(
        answers in prop::collection::vec(prop::collection::vec(number(), 3..12), 1..8),
        draw in any::<u64>(),
    ) {
        let mut tally = scores(3);
        for answer in &answers {
            let tensor = matrix(3, &answer[..answer.len() / 3 * 3]);
            tally.compare(draw, std::slice::from_ref(&tensor), std::slice::from_ref(&tensor));
        }
        let counts = counts(&tally);
        prop_assert_eq!((counts.compared, counts.labelled), (answers.len() as u64, answers.len() as u64));
        prop_assert_eq!((counts.failed, counts.non_finite, counts.disagreed, counts.rows_disagreed), (0, 0, 0, 0));
        prop_assert_eq!(counts.label_agreement(), Some(1.0));
        prop_assert_eq!((counts.largest_difference.to_bits(), counts.mean_difference().to_bits()), (0, 0));
        prop_assert!(counts.columns.iter().all(|column| column.score_distance.is_none_or(|distance| distance.abs() < 1e-12)));
    }

    #[test]
    fn whatever_is_answered_is_counted_once_in_finite_numbers_that_can_be_written_down(
        pairs in prop::collection::vec((prop::collection::vec((number(), number()), 2..9), any::<u64>()), 0..12),
    ) {
        let mut tally = scores(2);
        let (mut rows, mut disagreed, mut lost) = (0_u64, 0_u64, 0_u64);
        for (pair, draw) in &pairs {
            let pair = &pair[..pair.len() / 2 * 2];
            let (given, tried): (Vec<f32>, Vec<f32>) = pair.iter().copied().unzip();
            tally.compare(*draw, &[matrix(2, &given)], &[matrix(2, &tried)]);
            rows += (pair.len() / 2) as u64;
            disagreed += given.chunks(2).zip(tried.chunks(2)).filter(|(given, tried)| largest(given) != largest(tried)).count() as u64;
            lost += u64::from(pair.iter().any(|(given, tried)| given.is_finite() && !tried.is_finite()));
        }
        let counts = counts(&tally);
        prop_assert_eq!((counts.compared, counts.failed), (pairs.len() as u64, 0));
        prop_assert_eq!((counts.rows, counts.rows_disagreed, counts.non_finite), (rows, disagreed, lost));
        prop_assert!(counts.labelled == counts.compared && counts.disagreed <= counts.labelled);
        prop_assert!(counts.largest_difference.is_finite() && counts.mean_difference().is_finite());
        prop_assert!(counts.mean_difference() <= counts.largest_difference * (1.0 + 1e-9));
        let distances: Vec<f64> = counts.columns.iter().filter_map(|column| column.score_distance).collect();
        prop_assert!(distances.iter().all(|distance| (0.0..=1.0).contains(distance)), "{:?}", distances);
        let text = serde_json::to_string(&counts).unwrap();
        prop_assert_eq!(serde_json::from_str::<ShadowCounts>(&text).unwrap(), counts, "{}", text);
    }

    #[test]
    fn the_order_of_copies_does_not_matter(
        pairs in prop::collection::vec((prop::array::uniform2(number()), any::<u64>()), 1..20),
    ) {
        let count = |pairs: &mut dyn Iterator<Item = &([f32; 2], u64)>| {
            let mut tally = scores(1);
            pairs.for_each(|(pair, draw)| tally.compare(*draw, &[matrix(1, &pair[..1])], &[matrix(1, &pair[1..])]));
            counts(&tally)
        };
        let (forward, backward) = (count(&mut pairs.iter()), count(&mut pairs.iter().rev()));
        // A sum of floats is the one thing that an order shows in.
        let same_sum = |counts: ShadowCounts| ShadowCounts { difference_sum: 0.0, ..counts };
        prop_assert!((forward.difference_sum - backward.difference_sum).abs() <= 1e-9 * forward.difference_sum);
        prop_assert_eq!(same_sum(forward), same_sum(backward));
    }
}

#[test]
fn of_several_columns_the_label_is_the_place_of_the_largest() {
    let mut tally = scores(3);
    let nan = f32::NAN;
    for (given, tried) in [
        ([0.1, 0.7, 0.2], [0.2, 0.6, 0.2]),
        ([0.5, 0.5, 0.0], [0.6, 0.4, 0.0]),
        ([nan, 0.2, 0.1], [nan, 0.9, 0.1]),
        ([nan; 3], [nan; 3]),
    ] {
        compare(&mut tally, matrix(3, &given), matrix(3, &tried));
    }
    assert_eq!(counts(&tally).rows_disagreed, 0);
    for (given, tried) in [([0.1, 0.7, 0.2], [0.7, 0.1, 0.2]), ([0.1, 0.2, 0.3], [nan; 3]), ([nan; 3], [0.1, 0.2, 0.3])]
    {
        compare(&mut tally, matrix(3, &given), matrix(3, &tried));
    }
    let counts = counts(&tally);
    assert_eq!((counts.rows, counts.rows_disagreed, counts.disagreed), (7, 3, 3));
    assert_eq!(counts.non_finite, 1, "numbers turned into NaN, and NaN that were NaN before");
}

#[test]
fn integers_and_strings_are_labels_themselves() {
    let mut tally = tally(vec![spec("label", DataType::Int64, Some(1))]);
    let integers =
        |values: Vec<i64>| Tensor::try_new(Shape::matrix(values.len(), 1), TensorData::Int64(values)).unwrap();
    compare(&mut tally, integers(vec![1, 2, 3]), integers(vec![1, 2, 4]));
    let counted = counts(&tally);
    assert_eq!((counted.rows, counted.rows_disagreed, counted.numbers), (3, 1, 3));
    assert!(counted.label_agreement().is_some_and(|share| (share - 2.0 / 3.0).abs() < 1e-12));
    let mut tally = self::tally(vec![spec("label", DataType::Bytes, Some(1))]);
    let texts = |texts: [&str; 2]| {
        let values: ByteStrings = texts.iter().collect();
        Tensor::try_new(Shape::matrix(2, 1), TensorData::Bytes(values)).unwrap()
    };
    compare(&mut tally, texts(["yes", "no"]), texts(["yes", "yes"]));
    let counted = counts(&tally);
    assert_eq!((counted.rows, counted.rows_disagreed, counted.numbers), (2, 1, 0));
    assert_eq!((counted.score_distance(), counted.largest_difference), (None, 0.0));
}

#[test]
fn a_single_probability_has_a_side_and_a_number_that_is_none_has_no_label() {
    let mut tally = scores(1);
    compare(&mut tally, matrix(1, &[0.2, 0.5, 0.9]), matrix(1, &[0.3, 0.49, f32::NAN]));
    let counted = counts(&tally);
    assert_eq!((counted.rows, counted.rows_disagreed), (3, 2), "0.5 is above, and NaN is on no side");
    compare(&mut tally, matrix(1, &[0.4, 17.0]), matrix(1, &[0.4, 17.0]));
    compare(&mut tally, matrix(1, &[0.4]), matrix(1, &[0.6]));
    let counted = counts(&tally);
    assert_eq!(
        (counted.compared, counted.rows, counted.labelled),
        (3, 0, 0),
        "it is no probability, and was none before"
    );
    assert_eq!(counted.label_agreement(), None);
}

#[test]
fn the_first_output_of_scores_has_the_label_before_any_other() {
    let outputs = vec![
        spec("value", DataType::Fp32, Some(1)),
        spec("label", DataType::Int64, Some(1)),
        spec("scores", DataType::Fp32, Some(2)),
    ];
    let mut tally = tally(outputs);
    let answer = |label: i64, scores: [f32; 2]| {
        let label = Tensor::try_new(Shape::matrix(1, 1), TensorData::Int64(vec![label])).unwrap();
        [matrix(1, &[5.0]), label, matrix(2, &scores)]
    };
    tally.compare(0, &answer(0, [0.6, 0.4]), &answer(1, [0.7, 0.3]));
    tally.compare(0, &answer(0, [0.6, 0.4]), &answer(0, [0.3, 0.7]));
    assert_eq!((counts(&tally).labelled, counts(&tally).disagreed), (2, 1));
}

#[test]
fn one_row_of_a_copy_is_evidence_and_all_are_shown() {
    let mut tally = scores(2);
    let (given, tried) = (matrix(2, &[0.9, 0.1, 0.9, 0.1]), matrix(2, &[0.9, 0.1, 0.1, 0.9]));
    tally.compare(0, std::slice::from_ref(&given), std::slice::from_ref(&tried));
    let counted = counts(&tally);
    assert_eq!((counted.labelled, counted.disagreed, counted.rows, counted.rows_disagreed), (1, 0, 2, 1));
    tally.compare(u64::MAX, &[given], &[tried]);
    let counted = counts(&tally);
    assert_eq!((counted.labelled, counted.disagreed, counted.rows, counted.rows_disagreed), (2, 1, 4, 2));
}

#[test]
fn a_shift_shows_in_the_distance_of_scores_and_noise_does_not() {
    let (mut shifted, mut noisy) = (scores(1), scores(1));
    for index in 0..400_u16 {
        let score = f32::from(index) / 400.0;
        compare(&mut shifted, matrix(1, &[score]), matrix(1, &[score + 0.25]));
        let noise = if index % 2 == 0 { 0.01 } else { -0.01 };
        compare(&mut noisy, matrix(1, &[score]), matrix(1, &[score + noise]));
    }
    let (shifted, noisy) = (counts(&shifted), counts(&noisy));
    assert!(shifted.score_distance().is_some_and(|distance| distance > 0.2), "{shifted:?}");
    assert!(noisy.score_distance().is_some_and(|distance| distance < 0.03), "{noisy:?}");
    assert!((shifted.mean_difference() - 0.25).abs() < 1e-6 && (noisy.largest_difference - 0.01).abs() < 1e-6);
}

#[test]
fn wide_outputs_are_compared_by_the_statistics_that_they_are_recorded_by() {
    let outputs = signature(vec![spec("embedding", DataType::Fp32, Some(3))]);
    let recorder = Recorder::new(&outputs, None, 2, 1);
    let mut tally = ShadowTally::new(ShadowPlan::new(&recorder, &outputs, &outputs).unwrap());
    compare(&mut tally, matrix(3, &[1.0, 0.0, 0.0]), matrix(3, &[0.0, 1.0, 0.0]));
    compare(&mut tally, matrix(3, &[3.0, 4.0, 0.0]), matrix(3, &[6.0, 8.0, 0.0]));
    let counts = counts(&tally);
    let distances: Vec<_> = counts.columns.iter().map(|column| (column.name.as_str(), column.score_distance)).collect();
    let same = Some(0.0);
    assert_eq!(distances[0], ("embedding.norm", Some(0.5)), "5 became 10, 1 stayed");
    assert_eq!(distances[2..], [("embedding.zeros", same), ("embedding.nonfinite", same)]);
}

#[test]
fn outputs_are_paired_by_name_and_inputs_put_in_order() {
    let two = |first: &str, second: &str| Signature {
        inputs: vec![spec(first, DataType::Fp32, Some(1)), spec(second, DataType::Fp32, Some(1))],
        outputs: vec![spec(first, DataType::Fp32, Some(1)), spec(second, DataType::Fp32, Some(1))],
    };
    let (primary, mut shadow) = (two("a", "b"), two("b", "a"));
    shadow.outputs.insert(0, spec("new", DataType::Int64, Some(1)));
    let recorder = Recorder::new(&primary, None, 512, 1);
    let plan = ShadowPlan::new(&recorder, &primary, &shadow).unwrap();
    assert_eq!(plan.in_order(vec!["a", "b"]), ["b", "a"]);
    let mut tally = ShadowTally::new(plan);
    let new = Tensor::try_new(Shape::matrix(1, 1), TensorData::Int64(vec![9])).unwrap();
    let (a, b) = (matrix(1, &[1.0]), matrix(1, &[2.0]));
    tally.compare(0, &[a.clone(), b.clone()], &[new, b, a]);
    assert_eq!((counts(&tally).compared, counts(&tally).largest_difference), (1, 0.0));
    let missing = ShadowPlan::new(&recorder, &primary, &signature(Vec::new())).unwrap_err();
    assert!(missing.contains("is gone"), "{missing}");
}

#[test]
fn an_answer_of_another_shape_is_broken_and_compared_with_nothing() {
    let mut tally = scores(2);
    let given = || [matrix(2, &[0.5, 0.5])];
    tally.compare(0, &given(), &[matrix(2, &[0.5, 0.5, 0.5, 0.5])]);
    tally.compare(0, &given(), &[matrix(1, &[0.5, 0.5])]);
    tally.compare(0, &given(), &[]);
    let integers = Tensor::try_new(Shape::matrix(1, 2), TensorData::Int64(vec![0, 1])).unwrap();
    tally.compare(0, &given(), &[integers]);
    tally.fail(false);
    tally.fail(true);
    let counts = counts(&tally);
    assert_eq!((counts.compared, counts.failed, counts.broken, counts.rows, counts.calls()), (0, 6, 5, 0, 6));
}

#[test]
fn an_answer_of_no_rows_is_compared_and_says_nothing() {
    let mut tally = scores(2);
    compare(&mut tally, matrix(2, &[]), matrix(2, &[]));
    let counts = counts(&tally);
    assert_eq!((counts.compared, counts.labelled, counts.rows, counts.numbers), (1, 0, 0, 0));
    assert_eq!((counts.label_agreement(), counts.score_distance()), (None, None));
}
