//! Profiles from values and from text: degenerate columns first, then what is refused.

mod format;
mod learning;
mod merging;
mod streaming;

use super::*;
use crate::sketch::ColumnLayout;
use crate::tensor::{DataType, Dimension, TensorSpec};
use proptest::prelude::*;

fn spec(name: &str, datatype: DataType) -> ColumnSpec {
    ColumnSpec { side: Side::Input, tensor: "x".into(), index: 0, name: name.into(), datatype, statistic: None }
}

fn built(datatype: DataType, values: &[f64], options: ProfileOptions) -> Column {
    let mut builder = ProfileBuilder::new(options);
    let key = builder.add_column(spec("a", datatype));
    builder.absorb_numbers(key, values.iter().copied()).unwrap();
    builder.finish().unwrap().inputs.remove(0)
}

fn numbers(values: &[f64]) -> Column {
    built(DataType::Fp32, values, ProfileOptions::default())
}

fn strings(values: &[&[u8]]) -> Column {
    let mut builder = ProfileBuilder::default();
    let key = builder.add_column(spec("a", DataType::Bytes));
    builder.absorb_strings(key, values.iter().map(|value| Some(*value))).unwrap();
    builder.finish().unwrap().inputs.remove(0)
}

/// Spread evenly over 0..1 without repetition, irrationally ordered.
fn spread(count: u32) -> Vec<f64> {
    (0..count).map(|index| f64::from((f64::from(index) * 0.618_033_988_749_894_9).fract() as f32)).collect()
}

fn profile_of(column: Column) -> Profile {
    Profile { rows: column.rows, inputs: vec![column], ..Profile::default() }
}

fn signature(datatype: DataType, width: usize) -> Signature {
    let shape = vec![Dimension::Free("N".into()), Dimension::Fixed(width)];
    Signature { inputs: vec![TensorSpec { name: "x".into(), datatype, shape }], outputs: Vec::new() }
}

/// A tensor as its four statistics.
fn reduced() -> Profile {
    let mut builder = ProfileBuilder::default();
    for statistic in [Statistic::Norm, Statistic::Mean, Statistic::Zeros, Statistic::Nonfinite] {
        let column = ColumnSpec { statistic: Some(statistic), ..spec(&format!("x.{statistic}"), DataType::Fp32) };
        let key = builder.add_column(column);
        builder.absorb_numbers(key, [0.1, 0.2, 0.3]).unwrap();
    }
    builder.finish().unwrap()
}

/// The counters that live values of the reference itself give.
fn recorded(column: &Column, datatype: DataType, values: &[f64]) -> Vec<u64> {
    let layout = column.layout(datatype).unwrap();
    let mut counts = vec![0; layout.slots()];
    values.iter().for_each(|&value| counts[layout.slot_f64(value)] += 1);
    counts
}

#[test]
fn a_column_without_values_has_no_bins_and_reads_back() {
    let column = numbers(&[]);
    assert_eq!((column.kind, column.rows, column.edges.len(), column.mean), (Kind::Numeric, 0, 0, None));
    let profile = profile_of(column);
    assert_eq!(Profile::from_json(&profile.to_json().unwrap()).unwrap(), profile);
}

#[test]
fn columns_of_only_missing_or_infinite_values_have_no_moments() {
    let column = numbers(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::from(f32::MIN)]);
    assert_eq!((column.missing, column.positive_infinite, column.negative_infinite), (2, 2, 2));
    assert_eq!((column.minimum, column.std, column.counts.len()), (None, None, 0));
    let reference = column.reference();
    assert_eq!(reference.counts, [0, 0, 2, 2, 2]);
    assert_eq!(reference.groups, [0, 0, 1, 2, 2]);
    assert_eq!(reference.group_count, 3);
}

#[test]
fn a_constant_is_one_atom_and_nothing_joins_its_group() {
    let column = numbers(&[2.5; 300]);
    assert_eq!((column.kind, column.counts.as_slice(), column.std), (Kind::Numeric, &[300_u64][..], Some(0.0)));
    let reference = column.reference();
    assert_eq!(reference.groups, [1, 0, 1, 2, 3, 3]);
    assert!(reference.positions.is_empty());
}

#[test]
fn a_flag_that_was_never_set_has_a_bin_for_when_it_is() {
    let column = numbers(&[0.0; 500]);
    assert_eq!((column.kind, column.counts.as_slice()), (Kind::Boolean, &[500_u64, 0, 0][..]));
    let reference = column.reference();
    let slot = column.layout(DataType::Fp32).unwrap().slot_f32(1.0);
    assert_ne!(reference.groups[slot], reference.groups[1]);
}

#[test]
fn a_rare_flag_is_not_lost_in_the_group_of_the_common_one() {
    let mut values = vec![0.0; 997];
    values.extend([1.0; 3]);
    let groups = numbers(&values).groups().of_slot;
    assert_ne!(groups[1], groups[3]);
}

#[test]
fn kinds_follow_from_datatypes_marks_and_values() {
    let kind = |datatype, values: &[f64]| built(datatype, values, ProfileOptions::default()).kind;
    assert_eq!(kind(DataType::Bool, &[1.0, 1.0]), Kind::Boolean);
    assert_eq!(kind(DataType::Fp32, &[0.0, 1.0, f64::NAN]), Kind::Boolean);
    assert_eq!(kind(DataType::Fp32, &[0.0, 1.0, 2.0]), Kind::Discrete);
    assert_eq!(kind(DataType::Int64, &(0..64).map(f64::from).collect::<Vec<_>>()), Kind::Discrete);
    assert_eq!(kind(DataType::Int64, &(0..65).map(f64::from).collect::<Vec<_>>()), Kind::Numeric);
    assert_eq!(kind(DataType::Fp32, &[0.5, 1.0]), Kind::Numeric);
    let marked = ProfileOptions { categorical: ["a".to_owned()].into(), ..ProfileOptions::default() };
    assert_eq!(built(DataType::Fp32, &[0.0, 1.0], marked).kind, Kind::Categorical);
}

#[test]
fn an_atom_among_continuous_values_gets_its_own_bin_and_group() {
    let mut values = spread(3000);
    values.extend([0.25; 1000]);
    let column = numbers(&values);
    assert!((60..=68).contains(&column.counts.len()), "{}", column.counts.len());
    let slot = column.layout(DataType::Fp32).unwrap().slot_f32(0.25);
    assert_eq!(column.counts[slot - 1], 1000);
    let groups = column.groups();
    assert_eq!(groups.of_slot.iter().filter(|group| **group == groups.of_slot[slot]).count(), 1);
}

#[test]
fn many_quantile_bins_make_about_ten_groups_of_at_least_a_twentieth() {
    let column = numbers(&spread(10_000));
    assert_eq!(column.counts.len(), 64);
    let reference = column.reference();
    let ordinary = reference.group_count - 3;
    assert!((8..=10).contains(&ordinary), "{ordinary}");
    for group in 0..ordinary {
        let slots = reference.groups.iter().zip(&reference.counts).filter(|(of, _)| usize::from(**of) == group);
        assert!(slots.map(|(_, count)| count).sum::<u64>() >= 500);
    }
    assert_eq!(reference.groups[0], 0);
    assert_eq!(usize::from(reference.groups[65]), ordinary - 1);
}

#[test]
fn codes_without_an_order_are_atoms_and_what_is_too_rare_is_one_group() {
    let marked = ProfileOptions { categorical: ["a".to_owned()].into(), ..ProfileOptions::default() };
    let mut values = vec![3.0; 600];
    values.extend([7.0; 397]);
    values.extend([5.0, 9.0, 11.0]);
    let column = built(DataType::Int64, &values, marked);
    let layout = column.layout(DataType::Int64).unwrap();
    let reference = column.reference();
    let group = |value: f64| reference.groups[layout.slot_f64(value)];
    assert_eq!([3.0, 7.0].map(group), [0, 1]);
    assert_eq!([5.0, 9.0, 11.0].map(group), [2; 3]);
    assert_eq!([4.0, -1.0, 100.0].map(group), [5; 3]);
    assert_eq!((reference.ordered, reference.group_count), (None, 6));
}

#[test]
fn too_many_codes_and_strings_are_counted_as_other() {
    let marked = ProfileOptions { categorical: ["a".to_owned()].into(), ..ProfileOptions::default() };
    let codes: Vec<f64> = (0..1000).map(|row| f64::from(row % 200)).chain([7.0; 50]).collect();
    let column = built(DataType::Int64, &codes, marked);
    assert_eq!((column.counts.iter().filter(|&&count| count > 0).count(), column.other), (128, 72 * 5));
    assert_eq!(recorded(&column, DataType::Int64, &codes), column.reference().counts);

    let words: Vec<String> = (0..300).map(|word| format!("w{word:03}")).collect();
    let mut rows: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    rows.push(b"\xff");
    let column = strings(&rows);
    assert_eq!((column.categories.as_ref().unwrap().len(), column.other), (256, 45));
    assert!(column.groups().count <= 24);
}

#[test]
fn strings_are_listed_by_frequency_and_an_empty_one_is_a_string() {
    let column = strings(&[b"b", b"a", b"", b"b"]);
    let listed: Vec<_> = column.categories.iter().flatten().map(|c| (c.value.as_str(), c.count)).collect();
    assert_eq!(listed, [("b", 2), ("", 1), ("a", 1)]);
    assert_eq!(column.reference().counts, [0, 2, 1, 1, 0, 0, 0, 0, 0]);
    let layout = column.layout(DataType::Bytes).unwrap();
    assert_eq!((layout.slot_bytes(b""), layout.slot_bytes(b"z")), (2, 8));
}

#[test]
fn moments_do_not_overflow() {
    let column = built(DataType::Fp64, &[1e308, -1e308, 1e308, -1e308], ProfileOptions::default());
    assert_eq!((column.mean, column.std), (Some(0.0), Some(1e308)));
}

#[test]
fn a_builder_says_which_column_is_wrong() {
    let mut builder = ProfileBuilder::default();
    let key = builder.add_column(spec("a", DataType::Fp32));
    let wrong = builder.absorb_strings(key, [Some(&b"x"[..])]).unwrap_err();
    assert_eq!(wrong.to_string(), "column \"a\" takes numbers, strings came");
    builder.absorb_numbers(key, [1.0, 2.0]).unwrap();
    let other = builder.add_column(ColumnSpec { index: 1, ..spec("b", DataType::Fp32) });
    builder.absorb_numbers(other, [1.0]).unwrap();
    assert_eq!(
        builder.finish().unwrap_err().to_string(),
        "column \"b\" has 1 values, expected 2 as in the first column"
    );

    let options = ProfileOptions { critical: ["aeg".to_owned()].into(), ..ProfileOptions::default() };
    let mut builder = ProfileBuilder::new(options);
    builder.add_column(spec("age", DataType::Fp32));
    assert_eq!(
        builder.finish().unwrap_err().to_string(),
        "there is no column \"aeg\" to mark as critical; the columns are age"
    );
    let builder = ProfileBuilder::new(ProfileOptions { bins: 257, ..ProfileOptions::default() });
    assert!(matches!(builder.finish(), Err(ProfileError::BinsOutOfRange { found: 257, .. })));
}

#[test]
fn a_truncated_or_newer_or_misspelt_profile_is_refused() {
    let text = profile_of(numbers(&spread(500))).to_json().unwrap();
    for end in 0..text.len() - 1 {
        assert!(matches!(Profile::from_json(&text[..end]), Err(ProfileError::Json(_))), "cut at {end}");
    }
    let newer = Profile::from_json(br#"{"format": 3, "tables": {}}"#).unwrap_err();
    assert_eq!(newer.to_string(), "profile format 3 is newer than 2, the newest that is read here");
    let misspelt = String::from_utf8(text).unwrap().replace("\"critical\"", "\"critcal\"");
    assert!(matches!(Profile::from_json(misspelt.as_bytes()), Err(ProfileError::Json(_))));
}

#[test]
fn every_inconsistency_is_refused() {
    type Change = fn(&mut Profile);
    let changes: [(&str, Change); 14] = [
        ("add up to", |p| p.inputs[0].counts[3] += 1),
        ("edges and", |p| _ = p.inputs[0].counts.pop()),
        ("edge 3 is", |p| p.inputs[0].edges.swap(2, 3)),
        ("edge 0 is NaN", |p| p.inputs[0].edges[0] = f64::NAN),
        ("mean is", |p| p.inputs[0].mean = Some(f64::INFINITY)),
        ("mean is None", |p| p.inputs[0].mean = None),
        ("std is -1", |p| p.inputs[0].std = Some(-1.0)),
        ("minimum is 2", |p| p.inputs[0].minimum = Some(2.0)),
        ("encloses", |p| p.inputs[0].maximum = Some(2.0)),
        ("there twice", |p| p.inputs.push(p.inputs[0].clone())),
        ("has no name", |p| p.inputs[0].name.clear()),
        ("rows is 500", |p| p.rows = 400),
        ("outer_means is", |p| p.inputs[0].outer_means = Some([0.5, 0.5])),
        ("finite values for 64 bins", |p| {
            let column = &mut p.inputs[0];
            column.counts.iter_mut().for_each(|count| *count = 0);
            (column.counts[0], column.missing) = (1, 499);
        }),
    ];
    let profile = profile_of(numbers(&spread(500)));
    assert!(profile.validate().is_ok());
    for (expected, change) in changes {
        let mut changed = profile.clone();
        change(&mut changed);
        let error = changed.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
        assert!(changed.to_json().is_err());
    }
}

#[test]
fn a_profile_is_checked_against_the_model() {
    let profile = profile_of(numbers(&spread(500)));
    assert!(profile.check(&signature(DataType::Fp32, 1)).is_ok());
    assert!(profile.check(&signature(DataType::Fp64, 1)).is_ok());
    assert_eq!(
        profile.check(&signature(DataType::Bytes, 1)).unwrap_err().to_string(),
        "column \"a\" is numeric but tensor \"x\" has datatype BYTES"
    );
    let mut moved = profile.clone();
    moved.inputs[0].index = 3;
    assert_eq!(
        moved.check(&signature(DataType::Fp32, 3)).unwrap_err().to_string(),
        "column \"a\" has index 3 in tensor \"x\"; expected less than 3"
    );
    moved.inputs[0].tensor = "y".into();
    assert_eq!(
        moved.check(&signature(DataType::Fp32, 3)).unwrap_err().to_string(),
        "column \"a\" is of tensor \"y\"; the model has \"x\" FP32 [-1, 3]"
    );
    let double = profile_of(built(DataType::Fp64, &[0.1, 0.2, 0.3], ProfileOptions::default()));
    assert!(matches!(double.check(&signature(DataType::Fp32, 1)), Err(ProfileError::Layout { .. })));
}

#[test]
fn a_derived_column_is_searched_in_double_precision() {
    let profile = reduced();
    assert!(matches!(profile.inputs[0].layout(DataType::Fp32), Ok(ColumnLayout::F64(_))));
    assert!(profile.check(&signature(DataType::Fp32, 784)).is_ok());
}

/// Columns of all sorts: continuous, whole, few values, with special ones mixed in.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        8 => (-1e3_f64..1e3).prop_map(|value| f64::from(value as f32)),
        4 => (0_i32..90).prop_map(f64::from),
        2 => prop::sample::select(vec![0.0, -0.0, 1.0, 0.5]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from(f32::MAX)]),
        1 => any::<f32>().prop_map(f64::from),
    ];
    prop::collection::vec(value, 0..400)
}

proptest! {
    #[test]
    fn live_counters_of_the_reference_data_equal_the_reference(
        values in any_values(),
        bins in 2_usize..=256,
        categorical in any::<bool>(),
        datatype in prop::sample::select(vec![DataType::Fp32, DataType::Fp64]),
    ) {
        let categorical = if categorical { ["a".to_owned()].into() } else { Default::default() };
        let column = built(datatype, &values, ProfileOptions { bins, categorical, ..ProfileOptions::default() });
        let reference = column.reference();
        prop_assert_eq!(recorded(&column, datatype, &values), &reference.counts[..]);
        prop_assert_eq!(reference.groups.len(), reference.counts.len());
        prop_assert!(reference.groups.iter().all(|&group| usize::from(group) < reference.group_count));
        prop_assert!(reference.group_count <= 24);
        let profile = profile_of(column);
        prop_assert_eq!(Profile::from_json(&profile.to_json().unwrap()).unwrap(), profile);
    }

    #[test]
    fn pieces_make_the_same_profile_as_the_whole(values in any_values(), cut in 0_usize..400) {
        let cut = cut.min(values.len());
        let mut builder = ProfileBuilder::default();
        let key = builder.add_column(spec("a", DataType::Fp32));
        builder.absorb_numbers(key, values[cut..].iter().copied()).unwrap();
        builder.absorb_numbers(key, values[..cut].iter().copied()).unwrap();
        prop_assert_eq!(builder.finish().unwrap().inputs.remove(0), numbers(&values));
    }

    #[test]
    fn ordinary_groups_are_contiguous_and_heavy_enough(
        counts in prop::collection::vec(prop_oneof![Just(0_u64), 0_u64..50, 0_u64..5000], 0..256),
        atoms in prop::collection::vec(any::<bool>(), 256),
    ) {
        let groups = ordered_groups(&counts, |bin| atoms[bin]);
        let ordinary = groups.count - 3;
        prop_assert!(ordinary <= 20);
        let total: u64 = counts.iter().sum();
        for group in 0..ordinary {
            let members: Vec<usize> =
                (0..counts.len() + 2).filter(|&slot| usize::from(groups.of_slot[slot]) == group).collect();
            prop_assert_eq!(members.last().unwrap() - members[0] + 1, members.len());
            let mass: u64 = members.iter().filter_map(|&slot| counts.get(slot.wrapping_sub(1))).sum();
            prop_assert!(mass * 200 >= total);
        }
    }
}
