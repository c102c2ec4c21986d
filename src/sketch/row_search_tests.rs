//! The search of rows against the layout's own answer for a value.

use super::cell_map::{CellMap, LAST_CELL, TABLE};
use super::*;
use proptest::prelude::*;
use std::cell::Cell;

/// The slots that a search of `width` equal columns and the layout itself say of rows of values.
fn slots<T: Precision>(layout: &BinLayout<T>, width: usize, values: &[T]) -> (Vec<usize>, Vec<usize>) {
    let search = RowSearch::new(&vec![(layout.slots().count(), Some(layout)); width]);
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for rows in values.chunks(width * search.rows_in_line()) {
        for tile in 0..width.div_ceil(LANES) {
            let columns = LANES.min(width - tile * LANES);
            let of_tile = rows.chunks(width).flat_map(|row| &row[tile * LANES..tile * LANES + columns]);
            let of_tile: Vec<T> = of_tile.copied().collect();
            let mut line = [T::NAN; LANES];
            line[..of_tile.len()].copy_from_slice(&of_tile);
            assert_flags(&search, (tile, &line, of_tile.len()), layout);
            let first = |lane: usize| search.first_place(tile * LANES + lane % columns);
            let places = search.find(tile, &line, of_tile.len());
            let lanes = || places.iter().enumerate().take(of_tile.len());
            found.extend(lanes().map(|(lane, place)| layout.slot_of_interval(place - first(lane))));
            expected.extend(of_tile.iter().map(|&value| layout.slot(value)));
            if of_tile.len() == columns * search.rows_in_line() {
                line = line.map(|value| if value.is_ordinary() { value } else { T::ZERO });
                assert_counted(&search, (tile, &line, of_tile.len()));
            }
        }
    }
    (found, expected)
}

/// Holds the counters of a full line's first lanes, after it was counted three times, against the places that are found.
fn assert_counted<T: Precision>(search: &RowSearch<T>, (tile, line, lanes): (usize, &[T; LANES], usize)) {
    let counters = vec![Cell::new(0); search.places()];
    search.count(tile, &[*line; 3], &counters, |counter| counter.set(counter.get() + 1));
    let places = &search.find(tile, line, lanes)[..lanes];
    for (place, value) in places.iter().zip(line) {
        let lanes_there = places.iter().filter(|other| *other == place).count();
        assert_eq!(counters[*place].get(), 3 * lanes_there, "{value:?}");
    }
}

/// Holds what is flagged of a line's first lanes against the layout: what belongs to a sum, and what is no ordinary number.
fn assert_flags<T: Precision>(
    search: &RowSearch<T>,
    (tile, line, lanes): (usize, &[T; LANES], usize),
    layout: &BinLayout<T>,
) {
    let mut outside = [0];
    search.find_outside(tile, &[*line], &mut outside);
    for (lane, &value) in line.iter().enumerate().take(lanes) {
        let sum = layout.sum_of(value);
        assert_eq!(sum, layout.sum_index(layout.slot(value)), "{value:?}");
        let is_flagged = (outside[0] >> lane) & 1 == 1;
        assert_eq!(is_flagged, sum.is_some() || !value.is_ordinary(), "{value:?}");
        if let Some(sum) = sum {
            assert_eq!(search.sum_of((tile, lane), value), sum, "{value:?}");
        }
    }
}

fn layout<T: Precision>(edges: &[f64], categorical: bool) -> BinLayout<T> {
    BinLayout::try_new(edges, categorical, FixedPoint::new(0.0, 1.0)).unwrap()
}

/// Whether the edges spread enough to be searched in tiles.
fn is_searched<T: Precision>(layout: &BinLayout<T>) -> bool {
    RowSearch::new(&[(layout.slots().count(), Some(layout))]).searched(0) & 1 == 1
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
        let (found, expected) = slots(&layout::<f32>(&wide, categorical), width, &values);
        assert_eq!(found, expected, "{width} columns");
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let (found, expected) = slots(&layout::<f64>(&wide, categorical), width, &values);
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
    assert_eq!(search.searched(0) & 0b111, 0b100);
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
        let expected = columns.map(|column| column.slot(value));
        let found = search.find(0, &[value; LANES], columns.len());
        let slots = std::array::from_fn(|lane| columns[lane].slot_of_interval(found[lane] - search.first_place(lane)));
        assert_eq!(slots, expected, "{value}");
    }
}

#[test]
fn columns_that_are_not_searched_have_places_that_no_search_leads_to() {
    let of_bins = |bins: u16| layout::<f32>(&(0..=bins).map(f64::from).collect::<Vec<_>>(), false);
    for (bins, others) in [64, 200].into_iter().flat_map(|bins| (0..40).map(move |others| (bins, others))) {
        let searched = of_bins(bins);
        let mut columns = vec![(searched.slots().count(), Some(&searched)); others];
        columns.insert(others / 2, (1028, None));
        let search = RowSearch::new(&columns);
        let counters = vec![Cell::new(0); search.places()];
        for tile in 0..columns.len().div_ceil(LANES) {
            search.count(tile, &[[f32::NAN; LANES], [3.5; LANES], [1e9; LANES]], &counters, |counter| counter.set(1));
        }
        let own = search.first_place(others / 2)..search.first_place(others / 2) + 1028;
        assert!(counters[own].iter().all(|counter| counter.get() == 0), "beside {others} columns of {bins} bins");
        let mut firsts: Vec<_> = (0..columns.len()).map(|column| search.first_place(column)).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= searched.slots().count()), "{firsts:?}");
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
                let (found, expected) = slots(&layout, 16, &values);
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
            let cell = |value: f32| value.even_cell(first, scale, LAST_CELL as f32) % TABLE as u32;
            prop_assert!(cell(left) <= cell(right) && cell(right) <= LAST_CELL as u32);
            prop_assert_eq!((cell(first), cell(last)), (0, LAST_CELL as u32));
        }
        prop_assert!(left.bit_rank() <= right.bit_rank());
    }
}
