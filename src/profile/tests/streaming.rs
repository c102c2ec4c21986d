//! Data that does not fit: two readings give exact counts, and what one reading gives where it does.

use super::*;
use crate::profile::seasons::HOURS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A profile of one column in two readings of the same values.
fn twice(datatype: DataType, values: &[f64], hours: &[u8], options: ProfileOptions) -> Column {
    let mut builder = ProfileBuilder::new(options);
    let key = builder.add_column(spec("a", datatype));
    values.chunks(1000).for_each(|piece| builder.absorb_numbers(key, piece.iter().copied()).unwrap());
    let mut counter = builder.into_counter().unwrap();
    for (index, piece) in values.chunks(777).enumerate() {
        let hours = hours.get(index * 777..).unwrap_or_default();
        counter.absorb_numbers(key, piece.iter().copied(), hours).unwrap();
    }
    counter.finish().unwrap().inputs.remove(0)
}

/// More distinct numbers than one column may keep, with an atom of 3 % and one of just below 1 %.
fn large() -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(7);
    (0..1_000_000)
        .map(|row| match row % 1000 {
            0..30 => 1e9,
            30..39 => 1e9 + 0.5,
            _ => 1e9 + random.random_range(-1.0..1.0) + random.random_range(-1.0..1.0),
        })
        .collect()
}

fn population(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().map(|value| value - 1e9).sum::<f64>() / values.len() as f64;
    let square = |value: &f64| (value - 1e9 - mean).powi(2);
    (1e9 + mean, (values.iter().map(square).sum::<f64>() / values.len() as f64).sqrt())
}

#[test]
fn counts_of_a_column_that_does_not_fit_are_exact_on_its_edges() {
    let mut values = large();
    let mut builder = ProfileBuilder::default();
    let key = builder.add_column(spec("a", DataType::Fp64));
    builder.absorb_numbers(key, values.iter().copied()).unwrap();
    assert!(builder.needs_second_reading());
    assert!(matches!(builder.finish(), Err(ProfileError::SecondReadingNeeded)));
    values.extend([f64::NAN, f64::NAN, f64::INFINITY]);
    let column = twice(DataType::Fp64, &values, &[], ProfileOptions::default());
    assert_eq!((column.kind, column.rows, column.distinct), (Kind::Numeric, 1_000_003, None));
    assert_eq!((column.missing, column.positive_infinite, column.negative_infinite), (2, 1, 0));
    assert_eq!(recorded(&column, DataType::Fp64, &values), column.reference().counts);
    assert!((60..=66).contains(&column.counts.len()), "{}", column.counts.len());
    values.truncate(1_000_000);
    let (lowest, highest) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    assert_eq!((column.minimum, column.maximum), (Some(lowest), Some(highest)));
    let (mean, std) = population(&values);
    assert!((column.mean.unwrap() - mean).abs() < 1e-6 && (column.std.unwrap() / std - 1.0).abs() < 1e-9);
}

#[test]
fn atoms_of_a_column_that_does_not_fit_are_those_of_more_than_a_hundredth() {
    let column = twice(DataType::Fp64, &large(), &[], ProfileOptions::default());
    let atoms: Vec<(f64, u64)> = (0..column.counts.len())
        .filter(|&bin| column.edges[bin + 1] <= column.edges[bin].next_up())
        .map(|bin| (column.edges[bin], column.counts[bin]))
        .collect();
    assert_eq!(atoms, [(1e9, 30_000)]);
    // Every other bin has its share of the rest, 15,400 of 970,000, give or take twice the error of a rank; but the atom
    // cuts one in two.
    let at = column.counts.iter().position(|&count| count == 30_000).unwrap();
    let mut others = column.counts.clone();
    others[at] = others[at - 1] + others[at + 1];
    others.drain(at + 1..at + 2);
    others.remove(at - 1);
    for (bin, count) in others.iter().enumerate() {
        assert!((12_400..18_400).contains(count), "{bin}: {count}");
    }
}

#[test]
fn two_readings_give_what_one_gives() {
    let values = [spread(5000), vec![0.25; 200], vec![f64::NAN; 3]].concat();
    let once = numbers(&values);
    let two = twice(DataType::Fp32, &values, &[], ProfileOptions::default());
    let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-13;
    assert!(close(once.mean, two.mean) && close(once.std, two.std));
    let outer = once.outer_means.unwrap().into_iter().zip(two.outer_means.unwrap());
    assert!(outer.into_iter().all(|(a, b)| close(Some(a), Some(b))));
    assert_eq!(Column { mean: once.mean, std: once.std, outer_means: once.outer_means, ..two }, once);
}

#[test]
fn memory_of_a_hundred_columns_does_not_grow_with_the_rows() {
    use crate::profile::edges::Grid;
    use crate::profile::survey::{COLUMN_BYTES, MEMORY_BYTES, NumberSurvey, column_budget};
    assert_eq!((column_budget(100) * 100).div_ceil(1 << 20), MEMORY_BYTES >> 20);
    assert_eq!(column_budget(1000), COLUMN_BYTES);
    let mut survey = NumberSurvey::new(Grid::Double);
    let mut most = 0;
    for row in 0..3_000_000_u64 {
        survey.push((row as f64 * 0.618_033_988_749_894_9).fract(), COLUMN_BYTES);
        if row % 1000 == 0 {
            most = most.max(survey.bytes());
        }
    }
    assert!(most <= COLUMN_BYTES, "{most}");
}

#[test]
fn strings_that_do_not_fit_are_listed_if_frequent_and_counted_exactly() {
    let name = |row: u32| match row % 10 {
        0 => "often".to_owned(),
        1 => format!("some {}", row / 10 % 40),
        _ => format!("once {row}"),
    };
    let rows: Vec<String> = (0..400_000).map(name).collect();
    let bytes = || rows.iter().map(|row| Some(row.as_bytes()));
    let mut builder = ProfileBuilder::default();
    let key = builder.add_column(spec("a", DataType::Bytes));
    builder.absorb_strings(key, bytes()).unwrap();
    builder.absorb_strings(key, [None, Some(&[b'x'; 2000][..])]).unwrap();
    assert!(builder.needs_second_reading());
    let mut counter = builder.into_counter().unwrap();
    counter.absorb_strings(key, bytes(), &[]).unwrap();
    counter.absorb_strings(key, [None, Some(&[b'x'; 2000][..])], &[]).unwrap();
    let column = counter.finish().unwrap().inputs.remove(0);
    let listed = column.categories.unwrap();
    assert_eq!((listed[0].value.as_str(), listed[0].count, column.missing), ("often", 40_000, 1));
    assert!(listed[1..41].iter().all(|category| category.value.starts_with("some ") && category.count == 1000));
    assert_eq!(column.distinct, None);
}

#[test]
fn rows_by_hour_of_the_week_are_counted_in_the_groups_of_the_column() {
    assert_eq!([0, 3600, -1, 4 * 86_400].map(hour_of_week), [72, 73, 71, 0]);
    let values: Vec<f64> =
        (0..33_600).map(|row| f64::from(row % 168) + if row % 5 == 0 { f64::NAN } else { 0.0 }).collect();
    let hours: Vec<u8> = (0..33_600_u32).map(|row| (row % 168) as u8).collect();
    let options = ProfileOptions { hours: true, ..ProfileOptions::default() };
    let column = twice(DataType::Fp32, &values, &hours, options);
    let reference = column.reference();
    let seasons = reference.seasons.as_ref().unwrap();
    assert_eq!(seasons.len(), HOURS);
    let layout = column.layout(DataType::Fp32).unwrap();
    for (hour, groups) in seasons.iter().enumerate() {
        let own = usize::from(reference.groups[layout.slot_f64(hour as f64)]);
        let missing = usize::from(reference.groups[layout.slot_missing()]);
        assert_eq!((groups[own], groups[missing], groups.iter().sum::<u64>()), (160, 40, 200), "{hour}");
    }
    let profile = profile_of(column);
    assert_eq!(Profile::from_json(&profile.to_json().unwrap()).unwrap(), profile);
    let mut changed = profile;
    changed.inputs[0].hour_of_week.as_mut().unwrap()[7][0] += 1;
    assert!(changed.validate().unwrap_err().to_string().contains("hour_of_week is"));
    changed.inputs[0].hour_of_week.as_mut().unwrap().pop();
    assert!(changed.validate().unwrap_err().to_string().contains("168 lists"));
}

#[test]
fn hours_need_a_second_reading_and_hours_of_strings_are_kept_too() {
    let mut builder = ProfileBuilder::new(ProfileOptions { hours: true, ..ProfileOptions::default() });
    let key = builder.add_column(spec("a", DataType::Bytes));
    builder.absorb_strings(key, [Some(&b"x"[..]), Some(b"y"), Some(b"y"), None]).unwrap();
    assert!(builder.needs_second_reading());
    let mut counter = builder.into_counter().unwrap();
    counter.absorb_strings(key, [Some(&b"x"[..]), Some(b"y"), Some(b"y"), None], &[0, 1, 1, 2]).unwrap();
    let column = counter.finish().unwrap().inputs.remove(0);
    let hours = column.hour_of_week.unwrap();
    assert_eq!([hours[0][1], hours[1][0], hours[2][3], hours[3].iter().sum()], [1, 2, 1, 0]);
}

#[test]
fn a_second_reading_that_differs_is_refused_or_widens_the_outermost_bins() {
    let second = |first: &[f64], then: &[f64]| {
        let mut builder = ProfileBuilder::default();
        let key = builder.add_column(spec("a", DataType::Fp32));
        builder.absorb_numbers(key, first.iter().copied()).unwrap();
        let mut counter = builder.into_counter().unwrap();
        counter.absorb_numbers(key, then.iter().copied(), &[]).unwrap();
        counter.finish()
    };
    assert_eq!(
        second(&[1.0, 2.5], &[1.0]).unwrap_err().to_string(),
        "column \"a\" changed between two readings: 2 values, then 1 values"
    );
    assert_eq!(
        second(&[f64::NAN], &[1.0]).unwrap_err().to_string(),
        "column \"a\" changed between two readings: no finite values, then 1 finite values"
    );
    let mut wider = spread(1000);
    (wider[0], wider[1]) = (-0.5, 1.5);
    let profile = second(&spread(1000), &wider).unwrap();
    let column = &profile.inputs[0];
    assert_eq!((column.edges[0], column.counts.iter().sum::<u64>()), (-0.5, 1000));
    assert_eq!(recorded(column, DataType::Fp32, &wider), column.reference().counts);
}

#[test]
fn moments_of_pieces_are_those_of_the_whole() {
    let values: Vec<f64> = (0..50_000).map(|row| 1e12 + (f64::from(row) * 0.618_033_988_749).fract()).collect();
    let column = twice(DataType::Fp64, &values, &[], ProfileOptions::default());
    let mean = values.iter().map(|value| value - 1e12).sum::<f64>() / 5e4;
    let std = (values.iter().map(|value| (value - 1e12 - mean).powi(2)).sum::<f64>() / 5e4).sqrt();
    assert!((column.mean.unwrap() - 1e12 - mean).abs() < 1e-3);
    assert!((column.std.unwrap() / std - 1.0).abs() < 1e-6, "{:?} {std}", column.std);
    let column = twice(DataType::Fp64, &[1e308, -1e308, 1e308, -1e308], &[], ProfileOptions::default());
    assert_eq!((column.mean, column.std), (Some(0.0), Some(1e308)));
    let column = twice(DataType::Fp64, &[1e-300, 3e-300], &[], ProfileOptions::default());
    assert!((column.std.unwrap() / 1e-300 - 1.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn two_readings_of_any_values_count_what_is_recorded(
        values in any_values(),
        bins in 2_usize..=256,
        categorical in any::<bool>(),
    ) {
        let categorical = if categorical { ["a".to_owned()].into() } else { Default::default() };
        let options = ProfileOptions { bins, categorical, ..ProfileOptions::default() };
        let column = twice(DataType::Fp32, &values, &[], options.clone());
        prop_assert_eq!(recorded(&column, DataType::Fp32, &values), column.reference().counts);
        let once = built(DataType::Fp32, &values, options);
        prop_assert_eq!((column.edges, column.counts, column.distinct), (once.edges, once.counts, once.distinct));
    }
}
