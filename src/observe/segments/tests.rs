//! What a recorder counts by segment.

use super::WINDOW_BYTES;
use crate::config::{SegmentSettings, SegmentSource};
use crate::observe::{Evidence, OTHER, Origin, Recorder, SEGMENT_MEMORY, SegmentError, SegmentTotals, Side, Window};
use crate::profile::{self, ColumnSpec, Profile, ProfileBuilder, ProfileOptions};
use crate::tensor::{DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Features of `x`: a number, a code, another number; `city` is a string; one output that nothing is known of.
fn signature() -> Signature {
    let tensor = |name: &str, datatype, width| TensorSpec {
        name: name.into(),
        datatype,
        shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)],
    };
    let inputs = vec![tensor("x", DataType::Fp32, 3), tensor("city", DataType::Bytes, 1)];
    Signature { inputs, outputs: vec![tensor("y", DataType::Int64, 1)] }
}

/// Codes 0 to 4, code c as often as 5 − c, and with them cities.
fn profile() -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    let mut add = |tensor: &str, index, name: &str, datatype| {
        let side = profile::Side::Input;
        builder.add_column(ColumnSpec {
            side,
            tensor: tensor.into(),
            index,
            name: name.into(),
            datatype,
            statistic: None,
        })
    };
    let columns =
        [add("x", 0, "a", DataType::Fp32), add("x", 1, "code", DataType::Fp32), add("x", 2, "b", DataType::Fp32)];
    let city = add("city", 0, "city", DataType::Bytes);
    let codes = || (0..15 * 20).map(|row| [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4][row % 15]);
    builder.absorb_numbers(columns[0], (0..300).map(|row| f64::from(row) / 8.0)).unwrap();
    builder.absorb_numbers(columns[1], codes().map(f64::from)).unwrap();
    builder.absorb_numbers(columns[2], (0..300).map(|row| f64::from(row * 7 % 300) / 3.0_f64.exp2())).unwrap();
    let cities = ["Oslo", "other", "Łódź"];
    let city_of = |code: u8| Some(cities[usize::from(code).min(2)].as_bytes());
    builder.absorb_strings(city, codes().map(city_of)).unwrap();
    let mut profile = builder.finish().unwrap();
    // A code, whatever the builder makes of so few whole numbers.
    profile.inputs[1].kind = profile::Kind::Discrete;
    profile
}

fn by_feature(name: &str, max_values: usize) -> SegmentSettings {
    SegmentSettings { by: SegmentSource::Feature(name.into()), max_values }
}

fn by_header(max_values: usize) -> SegmentSettings {
    SegmentSettings { by: SegmentSource::Header("X-Tenant".into()), max_values }
}

fn divided(settings: &SegmentSettings, workers: usize) -> Recorder {
    let profile = profile();
    let mut recorder = Recorder::new(&signature(), Some(&profile), 512, workers);
    recorder.divide(Some(&profile), settings).unwrap();
    recorder
}

/// Rows of `x` and `city`, and as many labels.
fn request(rows: &[([f32; 3], &str)]) -> ([Tensor; 2], [Tensor; 1]) {
    let numbers = rows.iter().flat_map(|(numbers, _)| *numbers).collect();
    let x = Tensor::try_new(Shape::matrix(rows.len(), 3), TensorData::Fp32(numbers)).unwrap();
    let cities = TensorData::Bytes(rows.iter().map(|(_, city)| city.as_bytes()).collect());
    let city = Tensor::try_new(Shape::matrix(rows.len(), 1), cities).unwrap();
    let labels = TensorData::Int64(vec![0; rows.len()]);
    ([x, city], [Tensor::try_new(Shape::matrix(rows.len(), 1), labels).unwrap()])
}

fn rows_of(totals: &SegmentTotals) -> Vec<(String, u64)> {
    let names = totals.values.iter().cloned().chain([OTHER.to_owned()]).enumerate();
    names.map(|(index, value)| (value, *totals.counts_of(index).last().unwrap())).collect()
}

fn named(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|&(value, count)| (value.to_owned(), count)).collect()
}

#[test]
fn where_rows_are_not_divided_there_are_no_segments() {
    let recorder = Recorder::new(&signature(), Some(&profile()), 512, 1);
    let (inputs, outputs) = request(&[([1.0, 2.0, 3.0], "Oslo")]);
    recorder.record_prediction(0, Origin { evidence: Evidence::None, header: Some(b"a") }, &inputs, &outputs);
    assert_eq!((recorder.totals().segments, recorder.segment_header()), (SegmentTotals::default(), None));
}

#[test]
fn a_row_is_of_the_segment_of_its_own_value_and_the_most_frequent_values_are_told_apart() {
    let recorder = divided(&by_feature("code", 3), 2);
    assert_eq!(recorder.segment_header(), None);
    assert_eq!(rows_of(&recorder.totals().segments), named(&[("0", 0), ("1", 0), ("2", 0), (OTHER, 0)]));
    let codes = [0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.5, -1.0, f32::NAN, f32::INFINITY, 0.0];
    let rows: Vec<_> = codes.iter().map(|&code| ([1.0, code, 2.0], "Oslo")).collect();
    let (inputs, outputs) = request(&rows);
    recorder.record_prediction(1, Evidence::None, &inputs, &outputs);
    let totals = recorder.totals().segments;
    assert_eq!(rows_of(&totals), named(&[("0", 2), ("1", 2), ("2", 1), (OTHER, 7)]));
    assert_eq!((totals.column, totals.capacity()), (Some(1), 4));
}

#[test]
fn strings_divide_rows_as_numbers_do_and_none_passes_for_the_others() {
    let recorder = divided(&by_feature("city", 16), 1);
    let rows: Vec<_> = ["Oslo", "other", "Łódź", "Oslo", "Paris", ""].map(|city| ([1.0, 0.0, 2.0], city)).into();
    let (inputs, outputs) = request(&rows);
    recorder.record_prediction(0, Evidence::None, &inputs, &outputs);
    let found: BTreeMap<String, u64> = rows_of(&recorder.totals().segments).into_iter().collect();
    let expected = named(&[("Oslo", 2), ("%6Fther", 1), ("%C5%81%C3%B3d%C5%BA", 1), (OTHER, 2)]);
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn a_header_divides_requests_and_workers_agree_on_its_values() {
    let recorder = divided(&by_header(2), 2);
    assert_eq!(recorder.segment_header().map(|name| name.as_str()), Some("x-tenant"));
    let (inputs, outputs) = request(&[([1.0, 0.0, 2.0], "Oslo"), ([2.0, 1.0, 2.0], "Paris")]);
    let requests: [(usize, Option<&[u8]>); 7] = [
        (0, Some(b"a")),
        (1, Some(b"b")),
        (0, Some(b"b")),
        (1, Some(b"c")),
        (0, None),
        (1, Some(b"")),
        (1, Some(b"a")),
    ];
    for (worker, header) in requests {
        recorder.record_prediction(worker, Origin { evidence: Evidence::None, header }, &inputs, &outputs);
    }
    let totals = recorder.totals().segments;
    assert_eq!(rows_of(&totals), named(&[("a", 4), ("b", 4), (OTHER, 6)]));
    assert_eq!(totals.column, None);
}

#[test]
fn what_cannot_be_divided_says_why_and_is_recorded_undivided() {
    let profile = profile();
    let error = |profile: Option<&Profile>, settings: &SegmentSettings, workers| {
        let mut recorder = Recorder::new(&signature(), profile, 512, workers);
        let error = recorder.divide(profile, settings).unwrap_err();
        assert_eq!(recorder.totals().segments, SegmentTotals::default());
        error
    };
    assert_eq!(error(None, &by_header(4), 1), SegmentError::NoReference);
    assert_eq!(error(None, &by_feature("code", 4), 1), SegmentError::NoReference);
    let unknown = SegmentError::UnknownFeature { name: "plan".into() };
    assert_eq!(error(Some(&profile), &by_feature("plan", 4), 1), unknown);
    let many = error(Some(&profile), &by_feature("a", 4), 1).to_string();
    assert!(many.contains("\"a\" is numeric") && many.contains("categorical"), "{many}");
    let secret = SegmentSettings { by: SegmentSource::Header("Authorization".into()), max_values: 4 };
    assert!(matches!(error(Some(&profile), &secret, 1), SegmentError::SecretHeader { .. }));
    match error(Some(&profile), &by_header(64), 8_000) {
        SegmentError::OverMemory { needed, limit } => assert!(needed > limit && limit == SEGMENT_MEMORY),
        other => panic!("{other}"),
    }
}

#[test]
fn the_memory_that_is_foreseen_for_a_window_is_what_a_full_one_takes() {
    const COUNTERS: usize = 10_000;
    let bytes_per_counter = |length: u64| {
        let mut window = Window::new(Duration::from_secs(length), vec![0; COUNTERS], Vec::new());
        (0..2 * length).for_each(|second| window.roll(Duration::from_secs(second), &[second + 1; COUNTERS], &[]));
        window.resident_bytes().div_ceil(COUNTERS)
    };
    // One beyond the counters: what a window and its slices take themselves.
    assert!([20, 60, 100].map(bytes_per_counter).into_iter().max() <= Some(WINDOW_BYTES + 1));
    assert_eq!(bytes_per_counter(100), WINDOW_BYTES + 1, "more is foreseen than is taken");
}

#[test]
fn one_row_that_is_not_batched_stands_for_all() {
    let mut signature = signature();
    signature.inputs[1].shape = vec![Dimension::Fixed(1)];
    let profile = profile();
    let mut recorder = Recorder::new(&signature, Some(&profile), 512, 1);
    recorder.divide(Some(&profile), &by_feature("city", 4)).unwrap();
    let x = Tensor::try_new(Shape::matrix(40, 3), TensorData::Fp32(vec![1.0; 120])).unwrap();
    let city = Tensor::try_new(Shape::vector(1), TensorData::Bytes(["Oslo"].into_iter().collect()));
    recorder.record_prediction(0, Evidence::None, &[x, city.unwrap()], &[]);
    let totals = recorder.totals();
    let index = totals.segments.values.iter().position(|value| value == "Oslo").unwrap();
    let counts = totals.segments.counts_of(index);
    let of = |column: usize| counts[recorder.columns()[column].cells.clone()].iter().sum::<u64>();
    assert_eq!([of(0), of(1), of(2), of(3)], [40, 40, 40, 1]);
}

fn any_rows() -> impl Strategy<Value = Vec<([f32; 3], &'static str)>> {
    let number = || prop_oneof![8 => -5.0_f32..60.0, 1 => any::<f32>()];
    let code = prop_oneof![6 => (0_u8..7).prop_map(f32::from), 1 => any::<f32>()];
    let city = prop::sample::select(vec!["Oslo", "other", "Łódź", "Paris", ""]);
    prop::collection::vec(((number(), code, number()).prop_map(|(a, code, b)| [a, code, b]), city), 0..70)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn segments_add_up_to_the_columns_and_leave_everything_else_as_it_was(
        requests in prop::collection::vec((any_rows(), prop::option::of("[a-e]{0,2}"), 0_usize..2, any::<u64>()), 1..6),
        max_values in 1_usize..6,
        by in 0_u8..3,
    ) {
        let settings = match by {
            0 => by_feature("code", max_values),
            1 => by_feature("city", max_values),
            _ => by_header(max_values),
        };
        let (recorder, plain) = (divided(&settings, 2), Recorder::new(&signature(), Some(&profile()), 512, 2));
        for (rows, header, worker, draw) in &requests {
            let (inputs, outputs) = request(rows);
            let evidence = Evidence::KeyGroup { draw: *draw, key_hash: draw.rotate_left(5) };
            let origin = Origin { evidence, header: header.as_ref().map(String::as_bytes) };
            recorder.record_prediction(*worker, origin, &inputs, &outputs);
            plain.record_prediction(*worker, origin, &inputs, &outputs);
        }
        let mut totals = recorder.totals();
        let segments = std::mem::take(&mut totals.segments);
        prop_assert_eq!(&totals, &plain.totals());
        prop_assert_eq!(rows_of(&segments).iter().map(|(_, rows)| rows).sum::<u64>(), totals.rows);
        for column in recorder.columns() {
            let Some(reference) = &column.reference else { continue };
            let mut expected = vec![0; reference.cells()];
            for (slot, count) in totals.slots[column.slots.clone()].iter().enumerate() {
                expected[reference.cell_of_slot(slot)] += count;
            }
            let mut found = vec![0; reference.cells()];
            for counts in segments.counts.chunks(segments.stride) {
                counts[column.cells.clone()].iter().zip(&mut found).for_each(|(count, sum)| *sum += count);
            }
            prop_assert_eq!(found, expected, "{}", column.name);
            prop_assert!(column.side == Side::Input);
        }
    }
}
