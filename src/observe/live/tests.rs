//! Merging in any order and any number of times is adding once; what is not a live profile is refused with the reason.

use super::*;
use crate::profile::{Category, Column, Kind, Profile, ProfileError};
use proptest::prelude::*;

const SLOTS: usize = 7;

fn column(name: &str, counters: usize) -> LiveColumn {
    LiveColumn { name: name.to_owned(), side: Side::Input, counters }
}

/// A version of two columns, one with sums and one that only counts its values.
fn version(parts: Vec<Part>) -> LiveVersion {
    let columns = vec![column("a", SLOTS), LiveColumn { side: Side::Output, ..column("a", 1) }];
    LiveVersion { model: "m".into(), version: 1, profile: 7, columns, parts }
}

fn document(parts: Vec<Part>) -> LiveProfile {
    LiveProfile::new(vec![version(parts)]).unwrap()
}

/// What one replica counted of these slots, a row each.
fn part(replica: &str, epoch: u64, slots: &[usize]) -> Part {
    let mut counts = ColumnCounts::zero(SLOTS);
    for &slot in slots {
        counts.counts[slot] += 1;
        counts.sums[slot % SUMS] -= 1_000_003;
    }
    let rows = slots.len() as u64;
    let values = ColumnCounts { counts: vec![rows], sums: [0; SUMS] };
    Part {
        replica: replica.into(),
        epoch,
        at: epoch + rows,
        rows,
        evidence_rows: rows / 2,
        counts: vec![counts, values],
    }
}

fn bytes(document: &LiveProfile) -> Vec<u8> {
    document.to_json().unwrap()
}

#[test]
fn a_document_of_nothing_merges_with_anything() {
    let empty = LiveProfile::new(Vec::new()).unwrap();
    assert_eq!(LiveProfile::from_json(&bytes(&empty)).unwrap(), empty);
    let other = document(vec![part("x", 1, &[0, 1])]);
    assert_eq!(LiveProfile::merge(&[empty.clone(), other.clone()]).unwrap(), other);
    assert_eq!(LiveProfile::merge(&[]).unwrap(), empty);
    let total = version(Vec::new()).total();
    assert_eq!((total.rows, total.counts[0].counts.as_slice()), (0, &[0; SLOTS][..]));
}

#[test]
fn text_has_the_documented_shape() {
    let text = String::from_utf8(bytes(&document(vec![part("gw-1", 5, &[2, 2, 3])]))).unwrap();
    let expected = concat!(
        "{\"format\":1,\"versions\":[\n",
        "{\"model\":\"m\",\"version\":\"1\",\"profile\":\"0000000000000007\",\n",
        "\"columns\":[{\"name\":\"a\",\"side\":\"input\",\"counters\":7},{\"name\":\"a\",\"side\":\"output\",\"counters\":1}],\n",
        "\"parts\":[\n",
        "{\"replica\":\"gw-1\",\"epoch\":5,\"at\":8,\"rows\":3,\"evidence_rows\":1,",
        "\"counts\":[\"BwAABAEBAAAAAIuS9AGFiXo=\",\"AQY=\"]}]}]}\n",
    );
    assert_eq!(text, expected);
}

#[test]
fn of_two_readings_of_one_part_the_one_with_more_rows_counts() {
    let (older, newer) = (part("x", 1, &[0, 1]), part("x", 1, &[0, 1, 2]));
    // Restored after a crash: read later, but with fewer rows.
    let behind = Part { at: 1_000, ..older.clone() };
    for order in [[&older, &newer, &behind], [&behind, &older, &newer], [&newer, &behind, &older]] {
        let documents = order.map(|part| document(vec![part.clone()]));
        assert_eq!(LiveProfile::merge(&documents).unwrap(), document(vec![newer.clone()]));
    }
    let later = Part { at: older.at + 1, ..older.clone() };
    let merged = LiveProfile::merge(&[document(vec![later.clone()]), document(vec![older])]).unwrap();
    assert_eq!(merged.versions[0].parts, [later]);
}

#[test]
fn the_same_replica_since_another_epoch_is_another_part() {
    let (before, after) = (part("x", 1, &[0, 1]), part("x", 90, &[5]));
    let merged = LiveProfile::merge(&[document(vec![before]), document(vec![after])]).unwrap();
    let total = merged.versions[0].total();
    assert_eq!((merged.versions[0].parts.len(), total.rows), (2, 3));
    assert_eq!(total.counts[0].counts, [1, 1, 0, 0, 0, 1, 0]);
    assert_eq!((total.epoch, total.at), (1, 91));
}

#[test]
fn counts_stay_at_the_highest_number_and_sums_wrap() {
    let mut most = part("x", 1, &[0]);
    most.counts[0].counts[0] = u64::MAX;
    most.counts[0].sums[0] = i64::MIN;
    let other = Part { replica: "y".into(), ..most.clone() };
    let total = version(vec![most, other]).total();
    assert_eq!((total.counts[0].counts[0], total.counts[0].sums[0]), (u64::MAX, 0));
}

#[test]
fn versions_stay_apart_and_other_edges_are_refused() {
    let one = version(vec![part("x", 1, &[0])]);
    let two = LiveVersion { version: 2, ..one.clone() };
    let documents = [LiveProfile::new(vec![two.clone()]).unwrap(), LiveProfile::new(vec![one.clone()]).unwrap()];
    let merged = LiveProfile::merge(&documents).unwrap();
    assert_eq!(merged.versions, [one.clone(), two]);
    let refused = |other: LiveVersion| {
        let documents = [LiveProfile::new(vec![one.clone()]).unwrap(), LiveProfile::new(vec![other]).unwrap()];
        LiveProfile::merge(&documents).unwrap_err().to_string()
    };
    let said = refused(LiveVersion { profile: 8, ..one.clone() });
    assert!(said.contains("0000000000000007 and 0000000000000008"), "{said}");
    let mut renamed = one.clone();
    renamed.columns[1].name = "b".into();
    let said = refused(renamed);
    assert!(said.contains("output \"b\" with 1 counters in one document where another has output \"a\""), "{said}");
    let mut shorter = one.clone();
    shorter.columns.pop();
    shorter.parts[0].counts.pop();
    let said = refused(shorter);
    assert!(said.contains("has 1 columns in one document where another has 2 columns"), "{said}");
}

#[test]
fn what_is_no_live_profile_is_refused_with_the_reason() {
    let text = String::from_utf8(bytes(&document(vec![part("x", 1, &[0, 3]), part("y", 1, &[0])]))).unwrap();
    let cases = [
        ("\"format\":1", "\"format\":2", "format 2 is not 1"),
        ("\"format\":1", "\"format\":0", "format 0 is not 1"),
        ("\"format\":1,", "", "missing field `format`"),
        ("\"rows\":2", "\"rows\":-2", "invalid value"),
        ("\"rows\":2", "\"rows\":0", "evidence_rows is 1, expected at most 0"),
        ("\"epoch\":1,\"at\":3", "\"epoch\":4,\"at\":3", "epoch is 4, expected at most 3"),
        ("\"replica\":\"y\"", "\"replica\":\"x\"", "a part is x since 1 twice"),
        ("\"replica\":\"y\"", "\"replica\":\"\\u0000\"", "replica is"),
        ("\"model\":\"m\"", "\"model\":\"../m\"", "model is ../m"),
        ("\"version\":\"1\"", "\"version\":\"01\"", "no whole number"),
        ("\"0000000000000007\"", "\"7\"", "sixteen hexadecimal digits"),
        ("\"input\"", "\"both\"", "neither input nor output"),
        ("\"counters\":7", "\"counters\":8", "counts is 7, expected input \"a\" with 8 counters"),
        ("\"counts\":[\"", "\"counts\":[\"A\",\"", "no Base64"),
        ("\"AQQ=\"", "\"AQQ=\",\"AQQ=\"", "counts is 3, expected counters of 2 columns"),
        ("\"AQQ=\"", "\"AQQEBAQ=\"", "cut off"),
        ("\"AQQ=\"", "\"/////////////w==\"", "cannot be read"),
        ("\"AQQ=\"", "5", "invalid type"),
        ("\"parts\"", "\"more\":1,\"parts\"", "unknown field"),
        ("]}\n", "", "EOF"),
    ];
    for (from, to, expected) in cases {
        assert!(text.contains(from), "{from} is not in {text}");
        let said = LiveProfile::from_json(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(said.contains(expected), "{to}: {said}");
    }
    let twice = vec![version(Vec::new()), version(Vec::new())];
    let said = LiveProfile::new(twice).unwrap_err().to_string();
    assert!(said.contains("a version is twice, expected each once"), "{said}");
}

#[test]
fn a_live_profile_is_compared_with_the_profile_that_it_was_counted_on_and_no_other() {
    let categories = vec![Category { value: "x".into(), count: 3 }];
    let known = Column {
        tensor: "t".into(),
        name: "a".into(),
        kind: Kind::String,
        rows: 3,
        categories: Some(categories),
        ..Column::default()
    };
    let profile = Profile { rows: 3, inputs: vec![known], ..Profile::default() };
    let profile_hash = profile.fingerprint().unwrap();
    let one = LiveVersion { profile: profile_hash, ..version(vec![part("x", 1, &[1, 1, 6]), part("y", 1, &[1])]) };
    let compared = one.compare(&profile).unwrap();
    assert_eq!((compared.len(), compared[0].counts.as_slice()), (2, &[0, 3, 0, 0, 0, 0, 1][..]));
    assert_eq!(compared[0].reference, Some(profile.inputs[0].reference()));
    assert_eq!(compared[1].reference, None, "the output is not in the profile");
    let other = Profile { rows: 4, ..profile.clone() };
    assert!(matches!(one.compare(&other), Err(LiveProfileError::OtherReference { .. })));
    let broken = Profile { rows: 1, ..profile };
    assert!(matches!(one.compare(&broken), Err(LiveProfileError::Reference(ProfileError::Inconsistent { .. }))));
}

#[test]
fn a_feature_of_64_bins_takes_less_than_300_bytes_however_much_traffic_it_had() {
    // A linear congruential generator (Knuth's MMIX) for counts that scatter as Poisson's do.
    let mut state = 5_u64;
    let mut scatter = |mean: f64| {
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (mean + normal * mean.sqrt()).max(0.0) as u64
    };
    for rows in [1e3, 1e5, 1e7, 1e9] {
        let mut counts = ColumnCounts::zero(69);
        counts.counts[1..65].fill_with(|| scatter(rows / 64.0));
        let tails = (rows / 64.0 * 2.0 * 1_048_576.0) as i64;
        counts.sums = [0, -tails, tails, 0];
        let text = String::from(counts.clone());
        assert!(text.len() <= 300, "{rows} rows: {} bytes", text.len());
        assert_eq!(ColumnCounts::try_from(text), Ok(counts));
    }
}

/// Readings of four replicas, some of them of the same part.
fn readings() -> impl Strategy<Value = Vec<LiveProfile>> {
    let reading = ("[a-d]", 0..3_u64, prop::collection::vec(0..SLOTS, 0..40));
    let documents = reading.prop_map(|(replica, epoch, slots)| document(vec![part(&replica, epoch, &slots)]));
    prop::collection::vec(documents, 0..8)
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent_to_the_byte(
        readings in readings(),
        seed in any::<prop::sample::Index>(),
    ) {
        let merged = bytes(&LiveProfile::merge(&readings).unwrap());
        let mut rotated = readings.clone();
        rotated.rotate_left(if readings.is_empty() { 0 } else { seed.index(readings.len()) });
        rotated.reverse();
        prop_assert_eq!(&bytes(&LiveProfile::merge(&rotated).unwrap()), &merged);
        let middle = seed.index(readings.len() + 1);
        let (left, right) = readings.split_at(middle);
        let halves = [LiveProfile::merge(left).unwrap(), LiveProfile::merge(right).unwrap()];
        prop_assert_eq!(&bytes(&LiveProfile::merge(&halves).unwrap()), &merged);
        let again: Vec<LiveProfile> = readings.iter().chain(&halves).chain(&readings).cloned().collect();
        prop_assert_eq!(&bytes(&LiveProfile::merge(&again).unwrap()), &merged);
        prop_assert_eq!(bytes(&LiveProfile::from_json(&merged).unwrap()), merged);
    }

    #[test]
    fn four_replicas_in_any_order_are_one_run(
        rows in prop::collection::vec((0..4_usize, 0..SLOTS), 0..200),
        order in Just([0, 1, 2, 3_usize]).prop_shuffle(),
    ) {
        let of = |replica: usize| -> Vec<usize> {
            rows.iter().filter(|(of, _)| *of == replica).map(|(_, slot)| *slot).collect()
        };
        let documents = order.map(|replica| document(vec![part(&format!("r{replica}"), 9, &of(replica))]));
        let total = LiveProfile::merge(&documents).unwrap().versions[0].total();
        let all: Vec<usize> = rows.iter().map(|(_, slot)| *slot).collect();
        let single = part("r", 9, &all);
        prop_assert_eq!(total.rows, single.rows);
        prop_assert_eq!(total.counts, single.counts);
    }

    #[test]
    fn counters_are_read_as_they_were_written(
        counts in prop::collection::vec(any::<u64>(), 0..80),
        sums in any::<[i64; SUMS]>(),
    ) {
        let counts = ColumnCounts { counts, sums };
        prop_assert_eq!(ColumnCounts::try_from(String::from(counts.clone())), Ok(counts));
    }

    #[test]
    fn any_text_is_refused_or_is_a_document_that_reads_as_itself(
        noise in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
    ) {
        let mut text = bytes(&document(vec![part("x", 1, &[0, 3])]));
        let at = at.index(text.len());
        text.splice(at..(at + noise.len() / 2).min(text.len()), noise);
        if let Ok(read) = LiveProfile::from_json(&text) {
            prop_assert_eq!(LiveProfile::from_json(&bytes(&read)).unwrap(), read);
        }
    }
}
