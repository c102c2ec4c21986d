//! The search of rows against the layout's own answer for a value.

use super::cell_map::{CellMap, LAST_CELL};
use super::*;
use proptest::prelude::*;

/// The counters, place by place, that a search of `width` equal columns and the layout itself say of a row of values.
fn places<T: Precision>(layout: &BinLayout<T>, width: usize, values: &[T]) -> (Vec<usize>, Vec<usize>) {
    let slots = layout.slots().count();
    let search = RowSearch::new(&vec![(slots, Some(layout)); width]);
    let mut found = Vec::new();
    let mut expected = Vec::new();
    for row in values.chunks_exact(width) {
        for (tile, values) in row.chunks(LANES).enumerate() {
            assert_eq!(search.searched(tile).count_ones() as usize, values.len());
            let mut block = [[T::NAN; LANES]];
            block[0][..values.len()].copy_from_slice(values);
            let mut seen = Seen((&search, tile), layout, values, Vec::new());
            search.find_rows(tile, &block, &mut seen);
            found.extend(seen.3);
            let first = |lane: usize| (tile * LANES + lane) * slots;
            expected.extend(values.iter().enumerate().map(|(lane, &value)| first(lane) + layout.slot(value)));
        }
    }
    (found, expected)
}

/// Takes places, and holds the marks for sums against the layout.
struct Seen<'a, T>((&'a RowSearch<T>, usize), &'a BinLayout<T>, &'a [T], Vec<usize>);

impl<T: Precision> VisitRow for Seen<'_, T> {
    fn visit<const WIDTH: usize>(&mut self, places: &[u32; WIDTH], tails: LaneFlags) {
        let Self((search, tile), layout, row, seen) = self;
        for (lane, &value) in row.iter().enumerate() {
            let sum = layout.sum_of(value);
            assert_eq!(sum, layout.sum_index(layout.slot(value)), "{value:?}");
            let marked = (tails >> lane) & 1 == 1;
            assert_eq!(marked.then(|| search.sum_of((*tile, lane), value)), sum, "{value:?}");
        }
        assert_eq!(u32::from(tails) >> row.len(), 0, "marks of lanes that no column has");
        seen.extend(places[..row.len()].iter().map(|&place| place as usize));
    }
}

fn layout<T: Precision>(edges: &[f64], categorical: bool) -> BinLayout<T> {
    BinLayout::try_new(edges, categorical, FixedPoint::new(0.0, 1.0)).unwrap()
}

/// Whether the edges spread enough to be searched in tiles.
fn is_searched<T: Precision>(layout: &BinLayout<T>) -> bool {
    RowSearch::new(&[(layout.slots().count(), Some(layout))]).searched(0) == 1
}

/// Extremes, and what lies around each edge; repeated to fill rows of `width`.
fn telling_values(edges: &[f32], width: usize) -> Vec<f32> {
    let mut values = vec![0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN];
    values.extend([f32::MAX.next_down(), f32::MIN.next_up(), f32::from_bits(1), -f32::from_bits(1), 1e30, -1e30]);
    values.extend(edges.iter().flat_map(|edge| [edge.next_down(), *edge, edge.next_up()]));
    let whole = values.len().next_multiple_of(width);
    values.iter().copied().cycle().take(whole).collect()
}

fn assert_same(edges: &[f32], categorical: bool) {
    let wide: Vec<f64> = edges.iter().map(|&edge| f64::from(edge)).collect();
    for width in [1, 2, 5, 9, 16, 33] {
        let values = telling_values(edges, width);
        let (found, expected) = places(&layout::<f32>(&wide, categorical), width, &values);
        assert_eq!(found, expected, "{width} columns");
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let (found, expected) = places(&layout::<f64>(&wide, categorical), width, &values);
        assert_eq!(found, expected, "{width} columns in double precision");
    }
}

#[test]
fn columns_without_edges_or_with_few_are_searched_like_any() {
    assert_same(&[], false);
    assert_same(&[0.0, 1.0], false);
    assert_same(&[2.5, 2.5_f32.next_up()], false);
    assert_same(&[-0.0, f32::from_bits(1), 1.0], false);
    assert_same(&[f32::MIN, -1.0, 0.0, f32::MAX], false);
}

#[test]
fn even_skewed_and_far_flung_edges_are_searched() {
    let of = |map: fn(f32) -> f32| (0..65).map(|step| map(step as f32 / 64.0)).collect::<Vec<f32>>();
    assert_same(&of(|share| share * 100.0 - 50.0), false);
    assert_same(&of(|share| (8.0 * share).exp()), false);
    assert_same(&of(|share| (80.0 * share - 40.0).exp()), false);
    assert_same(&of(|share| (3.1 * (share - 0.5)).tan()), false);
    let mut with_outliers = of(|share| share);
    (with_outliers[0], with_outliers[64]) = (-1e30, 1e30);
    assert_same(&with_outliers, false);
}

#[test]
fn probabilities_that_crowd_at_both_ends_are_searched() {
    let of_odds = |step: i32| 1.0 / (1.0 + (-f64::from(step) / 2.0).exp());
    let mut edges: Vec<f32> = (-32..=32).map(|step| of_odds(step) as f32).collect();
    edges.dedup();
    assert!(edges.len() > 60 && edges.last() > Some(&0.999_999_8), "{edges:?}");
    assert_same(&edges, false);
    // With the ends where they are, and few between them.
    assert_same(&[0.0, 1e-30, 1e-9, 1e-3, 0.4, 0.999, 0.999_999_9, 1.0], false);
}

#[test]
fn atoms_between_which_everything_is_unseen_are_searched() {
    let edges: Vec<f32> = (0..30).flat_map(|code| [code as f32, (code as f32).next_up()]).collect();
    assert_same(&edges, true);
    assert_same(&edges, false);
}

#[test]
fn edges_that_no_cells_tell_apart_are_left_to_the_layout() {
    // Three clusters, far apart in value and in bits.
    let cluster = |start: f32| (0..20_u32).map(move |step| f32::from_bits(start.to_bits() + step));
    let edges: Vec<f64> = [1e-30, 1.0, 1e30].into_iter().flat_map(cluster).map(f64::from).collect();
    let crowded = layout::<f32>(&edges, false);
    assert!(!is_searched(&crowded));
    let even = layout::<f32>(&[0.0, 1.0, 2.0], false);
    let search = RowSearch::new(&[(crowded.slots().count(), Some(&crowded)), (1028, None), (8, Some(&even))]);
    assert_eq!(search.searched(0), 0b100);
}

#[test]
fn columns_of_more_bins_than_a_table_can_count_are_left_to_the_layout() {
    let edges = |bins: u16| (0..=bins).map(f32::from).collect::<Vec<_>>();
    assert_same(&edges(254), false);
    assert_same(&edges(254), true);
    let wide: Vec<f64> = edges(255).into_iter().map(f64::from).collect();
    assert!(!is_searched(&layout::<f32>(&wide, false)));
}

#[test]
fn columns_of_a_tile_do_not_disturb_each_other() {
    let even = layout::<f32>(&(0..65).map(f64::from).collect::<Vec<_>>(), false);
    let codes = layout::<f32>(&[1.0, f64::from(1.0_f32.next_up())], true);
    let skewed =
        layout::<f32>(&(0..65).map(|power| f64::from((power as f32 - 30.0).exp2())).collect::<Vec<_>>(), false);
    let columns = [&skewed, &codes, &even, &codes, &skewed];
    let search = RowSearch::new(&columns.map(|column| (column.slots().count(), Some(column))));
    for value in telling_values(&[0.5, 1.0, 2.0, 31.0, 64.0], 1) {
        let mut first = 0;
        let expected = columns.map(|column| {
            let place = first + column.slot(value);
            first += column.slots().count();
            place as u32
        });
        let mut seen = Places(Vec::new());
        search.find_rows(0, &[[value; LANES]], &mut seen);
        assert_eq!(seen.0[..columns.len()], expected, "{value}");
    }
}

struct Places(Vec<u32>);

impl VisitRow for Places {
    fn visit<const WIDTH: usize>(&mut self, places: &[u32; WIDTH], _: LaneFlags) {
        self.0.extend_from_slice(places);
    }
}

fn sorted(mut edges: Vec<f32>) -> Vec<f32> {
    edges.retain(|edge| edge.is_finite());
    edges.sort_by(f32::total_cmp);
    edges.dedup_by(|a, b| *a <= *b);
    if edges.len() == 1 { Vec::new() } else { edges }
}

proptest! {
    #[test]
    fn rows_are_counted_as_the_layout_says(
        edges in prop::collection::vec(any::<f32>(), 0..257).prop_map(sorted),
        few in prop::collection::vec(-5_i32..5, 0..20),
        values in prop::collection::vec(any::<f32>(), 32),
        categorical in any::<bool>(),
    ) {
        let few = sorted(few.into_iter().flat_map(|code| [code as f32, (code as f32).next_up()]).collect());
        for edges in [edges, few] {
            let wide: Vec<f64> = edges.iter().map(|&edge| f64::from(edge)).collect();
            let layout = layout::<f32>(&wide, categorical);
            if is_searched(&layout) {
                let values: Vec<f32> = values.iter().copied().chain(telling_values(&edges, 16)).collect();
                let (found, expected) = places(&layout, 16, &values);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_higher_number_is_never_in_a_lower_cell_of_a_map(
        edges in prop::collection::vec(any::<f32>(), 2..40).prop_map(sorted),
        numbers in any::<[f32; 2]>(),
        indices in any::<[prop::sample::Index; 2]>(),
    ) {
        prop_assume!(edges.len() > 1);
        let near = |index: prop::sample::Index| *index.get(&edges);
        for [one, other] in [numbers, indices.map(near), [numbers[0], near(indices[0])]] {
            let (lower, higher) = (one.min(other), one.max(other));
            for map in CellMap::all(&edges) {
                let cells = (map.cell(lower), map.cell(higher));
                prop_assert!(cells.0 <= cells.1 && cells.1 <= LAST_CELL, "{lower:?} {higher:?} {cells:?} {map:?}");
            }
        }
    }

    #[test]
    fn a_higher_number_is_never_in_a_lower_cell(
        range in any::<[f32; 2]>(), numbers in any::<[f32; 2]>(),
    ) {
        let rising = |[one, other]: [f32; 2]| (one.min(other), one.max(other));
        let ((first, last), (left, right)) = (rising(range), rising(numbers));
        prop_assert_eq!((f32::scale(last, first, LAST_CELL), f32::scale(first, first, LAST_CELL)), (None, None));
        if let Some(scale) = f32::scale(first, last, LAST_CELL) {
            let cell = |value: f32| value.even_cell(first, scale, LAST_CELL as f32);
            prop_assert!(cell(left) <= cell(right) && cell(right) <= LAST_CELL as u32);
            prop_assert_eq!((cell(first), cell(last)), (0, LAST_CELL as u32));
        }
        prop_assert!(left.bit_rank() <= right.bit_rank());
    }
}
