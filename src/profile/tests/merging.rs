//! Profiles of parts merge to the profile of the whole, in any order to the same byte; what are no parts is refused.

use super::*;

/// The profile of a part, on the edges of the whole.
fn part_of(whole: &Column, values: &[f64]) -> Profile {
    let counts = recorded(whole, DataType::Fp32, values);
    let slots = whole.slots();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let in_bin = |bin: usize| -> Vec<f64> {
        values.iter().copied().filter(|value| (whole.edges[bin]..whole.edges[bin + 1]).contains(value)).collect()
    };
    let outer = [in_bin(0), in_bin(whole.counts.len() - 1)];
    let outer_means = outer.iter().all(|values| !values.is_empty());
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let column = Column {
        rows: values.len() as u64,
        counts: counts[slots.bin(0)..slots.above()].to_vec(),
        minimum: values.iter().copied().reduce(f64::min),
        maximum: values.iter().copied().reduce(f64::max),
        mean: Some(mean),
        std: Some(variance.sqrt()),
        distinct: None,
        outer_means: outer_means.then(|| [mean_of(&outer[0]), mean_of(&outer[1])]),
        ..whole.clone()
    };
    profile_of(column)
}

fn bytes_of(profiles: &[Profile]) -> Vec<u8> {
    Profile::merge(profiles).unwrap().to_json().unwrap()
}

#[test]
fn one_profile_merges_to_itself_and_none_to_nothing() {
    for column in [numbers(&[]), numbers(&[f64::NAN, 1.0]), numbers(&spread(500)), strings(&[b"x", b"y", b"x"])] {
        let profile = profile_of(column);
        assert_eq!(Profile::merge(std::slice::from_ref(&profile)).unwrap(), profile);
    }
    assert!(matches!(Profile::merge(&[]), Err(ProfileError::NothingToMerge)));
}

#[test]
fn the_same_profile_twice_is_refused() {
    let profile = profile_of(numbers(&spread(500)));
    assert!(matches!(Profile::merge(&[profile.clone(), profile]), Err(ProfileError::SameProfileTwice)));
}

#[test]
fn parts_of_normal_data_are_the_whole_in_any_order() {
    let values = spread(3_000);
    let whole = numbers(&values);
    let parts: Vec<Profile> = values.chunks(1_000).map(|values| part_of(&whole, values)).collect();
    let merged = Profile::merge(&parts).unwrap();
    let column = &merged.inputs[0];
    assert_eq!((merged.rows, &column.counts, &column.edges), (3_000, &whole.counts, &whole.edges));
    assert_eq!((column.minimum, column.maximum), (whole.minimum, whole.maximum));
    let close = |left: Option<f64>, right: Option<f64>| (left.unwrap() - right.unwrap()).abs() < 1e-12;
    assert!(close(column.mean, whole.mean) && close(column.std, whole.std), "{column:?}");
    let (found, expected) = (column.outer_means.unwrap(), whole.outer_means.unwrap());
    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(bytes_of(&order.map(|index| parts[index].clone())), merged.to_json().unwrap(), "{order:?}");
    }
}

#[test]
fn a_part_without_values_changes_rows_alone() {
    let whole = numbers(&[1.0, 2.0, 1.0, 4.0, 2.0]);
    let empty = Column {
        rows: 2,
        missing: 2,
        counts: vec![0; whole.counts.len()],
        minimum: None,
        maximum: None,
        mean: None,
        std: None,
        outer_means: None,
        distinct: None,
        ..whole.clone()
    };
    let merged = Profile::merge(&[profile_of(empty), profile_of(whole.clone())]).unwrap();
    let column = &merged.inputs[0];
    assert_eq!((column.rows, column.missing, &column.counts), (7, 2, &whole.counts));
    assert_eq!((column.mean, column.std, column.minimum), (whole.mean, whole.std, whole.minimum));
}

#[test]
fn categories_of_parts_are_united_unless_a_part_has_rows_of_unlisted_ones() {
    let (one, two) = (profile_of(strings(&[b"x", b"y", b"x"])), profile_of(strings(&[b"z", b"y", b"y", b"y"])));
    let merged = Profile::merge(&[one.clone(), two.clone()]).unwrap();
    let category = |value: &str, count| Category { value: value.into(), count };
    let column = &merged.inputs[0];
    assert_eq!(column.categories, Some(vec![category("y", 4), category("x", 2), category("z", 1)]));
    assert_eq!((column.rows, column.distinct), (7, Some(3)));
    let mut with_other = two;
    with_other.inputs[0].other = 1;
    with_other.inputs[0].rows += 1;
    with_other.rows += 1;
    let said = Profile::merge(&[one, with_other]).unwrap_err().to_string();
    assert!(said.contains("column \"a\"") && said.contains("\"x\"") && said.contains("1 rows of unlisted"), "{said}");
}

#[test]
fn what_differs_is_named() {
    let profile = profile_of(numbers(&spread(500)));
    let changed = |change: fn(&mut Profile)| {
        let mut other = profile_of(numbers(&spread(500)));
        change(&mut other);
        let both = [Profile::merge(&[profile.clone(), other.clone()]), Profile::merge(&[other, profile.clone()])];
        both.map(|refused| refused.unwrap_err().to_string())
    };
    type Case = (&'static str, fn(&mut Profile));
    let cases: [Case; 5] = [
        ("column \"a\" cannot be merged: an edge", |other| other.inputs[0].edges[30] += 1e-9),
        ("column \"a\" cannot be merged: its kind", |other| other.inputs[0].kind = Kind::Discrete),
        ("cannot be merged: its place", |other| other.inputs[0].name = "b".into()),
        ("inputs is", |other| other.inputs.clear()),
        ("source is", |other| (other.source, other.frozen_from_traffic) = (Source::Live, true)),
    ];
    for (expected, change) in cases {
        for said in changed(change) {
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[test]
fn hours_of_the_week_are_kept_where_the_groups_are_the_same() {
    let values = spread(1_000);
    let whole = numbers(&values);
    let timed = |values: &[f64], hour: usize| {
        let mut part = part_of(&whole, values);
        let reference = part.inputs[0].reference();
        let mut hours = vec![vec![0; reference.group_count]; HOURS];
        for (&count, &group) in reference.counts.iter().zip(&reference.groups) {
            hours[hour][usize::from(group)] += count;
        }
        part.inputs[0].hour_of_week = Some(hours);
        part
    };
    let parts = [timed(&values, 3), timed(&values, 5)];
    let merged = Profile::merge(&parts).unwrap();
    let hours = merged.inputs[0].hour_of_week.as_ref().unwrap();
    assert_eq!((hours[3].iter().sum::<u64>(), hours[5].iter().sum::<u64>()), (1_000, 1_000));
    let untimed =
        Profile { inputs: vec![Column { hour_of_week: None, ..parts[1].inputs[0].clone() }], ..parts[1].clone() };
    assert_eq!(Profile::merge(&[parts[0].clone(), untimed]).unwrap().inputs[0].hour_of_week, None);
}

proptest! {
    #[test]
    fn parts_merge_to_the_same_bytes_in_any_order(
        values in prop::collection::vec(0..40_u8, 8..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        rotation in any::<prop::sample::Index>(),
    ) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let whole = numbers(&values);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len())).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<Profile> = cuts.windows(2).map(|cut| part_of(&whole, &values[cut[0]..cut[1]])).collect();
        // Parts of equal content are the same part to whoever reads them.
        let texts: std::collections::HashSet<Vec<u8>> = parts.iter().map(|part| part.to_json().unwrap()).collect();
        prop_assume!(texts.len() == parts.len());
        let merged = bytes_of(&parts);
        parts.reverse();
        let middle = rotation.index(parts.len());
        parts.rotate_left(middle);
        prop_assert_eq!(bytes_of(&parts), merged.clone());
        let merged = Profile::from_json(&merged).unwrap();
        prop_assert_eq!(&merged.inputs[0].counts, &whole.counts);
        prop_assert!((merged.inputs[0].std.unwrap() - whole.std.unwrap()).abs() < 1e-9);
    }
}

#[test]
fn groups_have_names() {
    let names = |count: usize, categorical: bool| -> Vec<String> {
        (0..count).map(|group| group_label(group, count, categorical).into_owned()).collect()
    };
    assert_eq!(names(5, false), ["0", "1", "rare", "missing", "infinite"]);
    assert_eq!(names(5, true), ["0", "rare", "missing", "infinite", "unseen"]);
    let column = numbers(&spread(3_000));
    let (reference, slots) = (column.reference(), column.slots());
    let label = |slot: usize| group_label(usize::from(reference.groups[slot]), reference.group_count, false);
    assert_eq!((label(slots.below()).as_ref(), label(slots.missing()).as_ref()), ("0", "missing"));
    assert_eq!(label(slots.positive_infinite()), "infinite");
    let column = strings(&[b"x", b"y"]);
    let (reference, slots) = (column.reference(), column.slots());
    let unseen = usize::from(reference.groups[slots.unseen().unwrap()]);
    assert_eq!(group_label(unseen, reference.group_count, true), "unseen");
}
