//! Slots of every kind of value, against a linear search.

use super::*;
use proptest::prelude::*;

fn f32_layout(edges: &[f32]) -> BinLayout<f32> {
    let edges: Vec<f64> = edges.iter().map(|&edge| f64::from(edge)).collect();
    BinLayout::try_new(&edges, false, FixedPoint::new(0.0, 1.0)).unwrap()
}

fn f64_layout(edges: &[f64]) -> BinLayout<f64> {
    BinLayout::try_new(edges, false, FixedPoint::new(0.0, 1.0)).unwrap()
}

/// The documented rule, one edge after the other.
fn naive_slot(edges: &[f64], value: f64, largest: f64) -> usize {
    let bins = edges.len().saturating_sub(1);
    if value.is_nan() {
        return bins + 2;
    }
    if value <= -largest {
        return bins + 3;
    }
    if value >= largest {
        return bins + 4;
    }
    let mut slot = 0;
    for &edge in edges {
        if edge <= value {
            slot += 1;
        }
    }
    if edges.is_empty() { 0 } else { slot }
}

fn sorted_f32(mut edges: Vec<f32>) -> Vec<f32> {
    edges.retain(|edge| edge.is_finite());
    edges.sort_by(f32::total_cmp);
    edges.dedup_by(|a, b| *a <= *b);
    if edges.len() == 1 { Vec::new() } else { edges }
}

fn sorted_f64(mut edges: Vec<f64>) -> Vec<f64> {
    edges.retain(|edge| edge.is_finite());
    edges.sort_by(f64::total_cmp);
    edges.dedup_by(|a, b| *a <= *b);
    if edges.len() == 1 { Vec::new() } else { edges }
}

fn extremes_f32(edges: &[f32]) -> Vec<f32> {
    let mut values = vec![
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MAX.next_down(),
        f32::from_bits(1),
        -f32::from_bits(1),
        f32::MIN_POSITIVE,
    ];
    values.extend(edges.iter().flat_map(|edge| [edge.next_down(), *edge, edge.next_up()]));
    values
}

#[test]
fn a_layout_without_edges_counts_numbers_below_and_the_rest_by_kind() {
    let layout = f32_layout(&[]);
    let slots = layout.slots();
    assert_eq!(slots.count(), 5);
    assert_eq!(layout.slot(3.0), slots.below());
    assert_eq!(layout.slot(f32::NAN), slots.missing());
    assert_eq!(layout.slot(f32::NEG_INFINITY), slots.negative_infinite());
    assert_eq!(layout.slot(f32::INFINITY), slots.positive_infinite());
}

#[test]
fn a_constant_is_one_atom_between_below_and_above() {
    let layout = f32_layout(&[2.5, 2.5_f32.next_up()]);
    assert_eq!(layout.slot(2.5), layout.slots().bin(0));
    assert_eq!(layout.slot(2.5_f32.next_down()), layout.slots().below());
    assert_eq!(layout.slot(2.5_f32.next_up()), layout.slots().above());
}

#[test]
fn the_largest_finite_numbers_are_counted_with_the_infinities() {
    let layout = f64_layout(&[0.0, 1.0]);
    assert_eq!(layout.slot(f64::MAX), layout.slots().positive_infinite());
    assert_eq!(layout.slot(f64::MIN), layout.slots().negative_infinite());
    assert_eq!(layout.slot(f64::MAX.next_down()), layout.slots().above());
}

#[test]
fn both_zeros_are_one_value_and_subnormals_are_not_zero() {
    let layout = f32_layout(&[0.0, f32::from_bits(1), 1.0]);
    assert_eq!((layout.slot(0.0), layout.slot(-0.0)), (1, 1));
    assert_eq!((layout.slot(f32::from_bits(1)), layout.slot(-f32::from_bits(1))), (2, 0));
}

#[test]
fn edges_that_make_no_layout_are_refused_with_their_position() {
    let new = |edges: &[f64]| BinLayout::<f32>::try_new(edges, false, FixedPoint::new(0.0, 1.0)).map(|_| ());
    assert_eq!(new(&[1.0]), Err(LayoutError::SingleEdge));
    assert_eq!(new(&[1.0, 1.0]), Err(LayoutError::UnsortedEdges { index: 1, previous: 1.0, found: 1.0 }));
    assert_eq!(new(&[0.0, 0.1]), Err(LayoutError::InexactEdge { index: 1, found: 0.1, precision: "FP32" }));
    assert!(matches!(new(&[0.0, f64::NAN]), Err(LayoutError::InexactEdge { index: 1, .. })));
    assert!(matches!(new(&[0.0, 1e300]), Err(LayoutError::InexactEdge { index: 1, .. })));
    let many: Vec<f64> = (0..=257).map(f64::from).collect();
    assert_eq!(new(&many), Err(LayoutError::TooManyBins { found: 257 }));
    assert_eq!(new(&many[..257]), Ok(()));
}

#[test]
fn whatever_lies_between_the_atoms_of_a_categorical_column_is_unseen() {
    let edges: Vec<f64> = [1.0_f64, 2.0, 5.0].iter().flat_map(|value| [*value, value.next_up()]).collect();
    let layout = BinLayout::<f64>::try_new(&edges, true, FixedPoint::new(0.0, 1.0)).unwrap();
    let unseen = layout.slots().unseen().unwrap();
    assert_eq!(unseen + 1, layout.slots().count());
    assert_eq!([1.0, 2.0, 5.0].map(|value| layout.slot(value)), [1, 3, 5]);
    assert_eq!([0.0, 1.5, 4.0, 6.0].map(|value| layout.slot(value)), [unseen; 4]);
    assert_eq!(layout.slot(f64::NAN), layout.slots().missing());
    assert!((0..layout.slots().count()).all(|slot| layout.sum_index(slot).is_none()));
}

#[test]
fn only_tails_and_outermost_bins_have_sums_and_atoms_have_none() {
    let layout = f64_layout(&[0.0, 1.0, 2.0, 3.0]);
    let indices: Vec<_> = (0..layout.slots().count()).map(|slot| layout.sum_index(slot)).collect();
    assert_eq!(indices, [Some(0), Some(1), None, Some(2), Some(3), None, None, None]);
    let atom = f64_layout(&[1.0, 1.0_f64.next_up()]);
    assert_eq!([0, 1, 2, 3].map(|slot| atom.sum_index(slot)), [Some(0), None, Some(3), None]);
    let single = f64_layout(&[1.0, 2.0]);
    assert_eq!([0, 1, 2, 3].map(|slot| single.sum_index(slot)), [Some(0), Some(1), Some(3), None]);
    let none = f64_layout(&[]);
    assert_eq!([0, 1, 2].map(|slot| none.sum_index(slot)), [Some(0), Some(3), None]);
}

#[test]
fn fixed_point_is_clamped_and_total() {
    let fixed = FixedPoint::new(10.0, 2.0);
    assert_eq!(fixed.quantize(12.0), 1 << 20);
    assert_eq!(fixed.quantize(f64::MAX), 1 << 40);
    assert_eq!(fixed.quantize(f64::MIN), -(1 << 40));
    assert_eq!(FixedPoint::new(1.0, 0.0).quantize(3.0), 2 << 20);
    assert_eq!(FixedPoint::new(f64::NAN, f64::NAN).quantize(f64::NAN), 0);
}

#[test]
fn categories_have_slots_in_their_order_and_anything_else_is_unseen() {
    let layout = CategoryLayout::try_new([&b"basic"[..], b"", b"pro"]).unwrap();
    assert_eq!([&b"basic"[..], b"", b"pro"].map(|name| layout.slot(name)), [1, 2, 3]);
    assert_eq!(layout.slot(b"Pro"), layout.slots().unseen().unwrap());
    assert_eq!(layout.slots().count(), 9);
    let twice = CategoryLayout::try_new([&b"a"[..], b"a"]).unwrap_err();
    assert_eq!(twice, LayoutError::DuplicateCategory { name: "a".into() });
    let none = CategoryLayout::try_new([]).unwrap();
    assert_eq!(none.slot(b"x"), none.slots().unseen().unwrap());
}

#[test]
fn a_value_of_the_wrong_type_is_counted_as_missing() {
    let strings = ColumnLayout::Strings(CategoryLayout::try_new([&b"a"[..]]).unwrap());
    assert_eq!(strings.slot_f32(1.0), strings.slot_missing());
    let numbers = ColumnLayout::F32(f32_layout(&[0.0, 1.0]));
    assert_eq!(numbers.slot_bytes(b"a"), numbers.slot_missing());
    assert_eq!(numbers.slot_f64(1e300), numbers.slot_f32(f32::INFINITY));
    assert_eq!(ColumnLayout::LogLinear.slot_f32(0.0), log_linear::floats::ZERO);
    let extremes = [f32::MIN, f32::MAX, f32::INFINITY].map(|value| ColumnLayout::LogLinear.slot_f32(value));
    assert_eq!(extremes, [1026, 1027, 1027]);
}

#[test]
fn alarm_cells_are_the_groups_and_one_on_either_side_of_the_edges() {
    let reference = Reference {
        counts: vec![0; 7],
        groups: vec![0, 0, 1, 1, 2, 3, 3],
        group_count: 4,
        ordered: Some(0..4),
        ..Reference::default()
    };
    assert_eq!(reference.cells(), 6);
    assert_eq!(reference.cell_of_each_slot().collect::<Vec<_>>(), [4, 0, 1, 5, 2, 3, 3]);
    let unordered = Reference { ordered: None, ..reference };
    assert_eq!(unordered.cell_of_each_slot().collect::<Vec<_>>(), [0, 0, 1, 1, 2, 3, 3]);
    assert_eq!((Reference::default().cells(), Reference::default().cell_of_each_slot().count()), (2, 0));
}

#[test]
fn quantizing_rounds_to_the_nearest_unit_on_both_sides_of_the_mean() {
    let fixed = FixedPoint::new(0.0, 1_048_576.0);
    assert_eq!([-1.6, -1.4, -0.4, 0.0, 0.4, 0.6, 1.4].map(|value| fixed.quantize(value)), [-2, -1, 0, 0, 0, 1, 1]);
    let tiny = FixedPoint::new(1.0, f64::from_bits(1));
    assert_eq!([1.0, 2.0, 0.0].map(|value| tiny.quantize(value)), [0, 1 << 40, -(1 << 40)]);
}

proptest! {
    #[test]
    fn the_search_equals_a_linear_scan_in_f32(
        edges in prop::collection::vec(any::<f32>(), 0..257).prop_map(sorted_f32),
        values in prop::collection::vec(any::<f32>(), 0..40),
    ) {
        let layout = f32_layout(&edges);
        let wide: Vec<f64> = edges.iter().map(|&edge| f64::from(edge)).collect();
        for value in values.into_iter().chain(extremes_f32(&edges)) {
            prop_assert_eq!(layout.slot(value), naive_slot(&wide, f64::from(value), f64::from(f32::MAX)), "{}", value);
        }
    }

    #[test]
    fn the_search_equals_a_linear_scan_in_f64(
        edges in prop::collection::vec(any::<f64>(), 0..257).prop_map(sorted_f64),
        values in prop::collection::vec(any::<f64>(), 0..40),
    ) {
        let layout = f64_layout(&edges);
        let around = edges.iter().flat_map(|edge| [edge.next_down(), *edge, edge.next_up()]).collect::<Vec<_>>();
        let extremes = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::from_bits(1)];
        for value in values.into_iter().chain(around).chain(extremes) {
            prop_assert_eq!(layout.slot(value), naive_slot(&edges, value, f64::MAX), "{}", value);
        }
    }

    #[test]
    fn sums_are_the_same_in_any_order_and_their_difference_survives_wrapping(
        values in prop::collection::vec(-1e9_f64..1e9, 1..60),
        start in any::<i64>(),
        turn in 0_usize..60,
    ) {
        let fixed = FixedPoint::new(3.0, 0.7);
        let sum = |values: &[f64]| values.iter().fold(start, |sum, value| sum.wrapping_add(fixed.quantize(*value)));
        let mut turned = values.clone();
        turned.rotate_left(turn % values.len());
        prop_assert_eq!(sum(&values), sum(&turned));
        let direct: i64 = values.iter().map(|value| fixed.quantize(*value)).sum();
        prop_assert_eq!(sum(&values).wrapping_sub(start), direct);
    }

    #[test]
    fn dequantizing_returns_within_half_a_unit(value in -1e5_f64..1e5) {
        let fixed = FixedPoint::new(-4.0, 2.5);
        let half_a_unit = 2.5 / 1_048_576.0 / 2.0;
        prop_assert!((fixed.dequantize(fixed.quantize(value)) - value).abs() <= half_a_unit * 1.001);
    }
}
