//! Distances and verdicts against values worked out by hand, and their properties.

mod coverage;
mod degenerate;
mod rules;
mod totality;
mod two_arm;

use super::*;
use crate::profile::{Column, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
use crate::sketch::{Live, Reference, SUMS, log_linear::nanoseconds};
use crate::tensor::DataType;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

fn column(values: &[f64], bins: usize) -> Column {
    let mut builder = ProfileBuilder::new(ProfileOptions { bins, ..ProfileOptions::default() });
    let key = builder.add_column(ColumnSpec {
        side: Side::Input,
        tensor: "x".into(),
        index: 0,
        name: "a".into(),
        datatype: DataType::Fp64,
        statistic: None,
    });
    builder.absorb_numbers(key, values.iter().copied()).unwrap();
    builder.finish().unwrap().inputs.remove(0)
}

fn record(column: &Column, values: &[f64]) -> (Vec<u64>, [i64; SUMS]) {
    recorded(column, DataType::Fp64, values)
}

fn recorded(column: &Column, datatype: DataType, values: &[f64]) -> (Vec<u64>, [i64; SUMS]) {
    let layout = column.layout(datatype).unwrap();
    let (mut counts, mut sums) = (vec![0; layout.slots()], [0_i64; SUMS]);
    for &value in values {
        let slot = layout.slot_f64(value);
        counts[slot] += 1;
        if let Some(sum) = layout.sum_index(slot) {
            sums[sum] = sums[sum].wrapping_add(layout.quantize(value));
        }
    }
    (counts, sums)
}

fn distances(reference: &[f64], live: &[f64]) -> Distances {
    let column = column(reference, 64);
    let (counts, sums) = record(&column, live);
    Distances::between(&column.reference(), &Live { counts: &counts, sums }).unwrap()
}

fn uniform(seed: u64, count: usize) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| random.random::<f64>()).collect()
}

fn normal(seed: u64, count: usize) -> Vec<f64> {
    normals(&mut StdRng::seed_from_u64(seed), count)
}

/// Box-Muller.
fn normals(random: &mut StdRng, count: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let (u, angle): (f64, f64) = (random.random(), std::f64::consts::TAU * random.random::<f64>());
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        values.extend([radius * angle.cos(), radius * angle.sin()]);
    }
    values.truncate(count);
    values
}

/// Whether the tests that take minutes were asked for.
fn is_long() -> bool {
    std::env::var("TIDEGATE_LONG").is_ok_and(|value| value == "1")
}

/// Largest difference of the two empirical distribution functions, over all pooled points.
fn exact_ks(a: &[f64], b: &[f64]) -> f64 {
    let share = |values: &[f64], at: f64| values.iter().filter(|&&x| x <= at).count() as f64 / values.len() as f64;
    a.iter().chain(b).map(|&at| (share(a, at) - share(b, at)).abs()).fold(0.0, f64::max)
}

/// Area between the two empirical distribution functions.
fn exact_wasserstein(a: &[f64], b: &[f64]) -> f64 {
    let mut events: Vec<(f64, f64)> = a.iter().map(|&x| (x, 1.0 / a.len() as f64)).collect();
    events.extend(b.iter().map(|&x| (x, -1.0 / b.len() as f64)));
    events.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut height = 0.0;
    events.windows(2).fold(0.0, |area, pair| {
        height += pair[0].1;
        area + f64::abs(height) * (pair[1].0 - pair[0].0)
    })
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn verdict(reference: &[f64], live: &[f64]) -> ColumnVerdict {
    let column = column(reference, 64);
    let (counts, sums) = record(&column, live);
    judge_column(Some(&column.reference()), &Live { counts: &counts, sums }, &Rule::default())
}

#[test]
fn nothing_on_either_side_has_no_distance() {
    for (reference, live) in [(&[][..], &[][..]), (&[0, 0], &[1, 2]), (&[1, 2], &[0, 0])] {
        assert_eq!(psi(reference, live), None);
        assert_eq!(jensen_shannon(reference, live), None);
        assert_eq!(total_variation(reference, live), None);
        assert_eq!(kolmogorov_smirnov(reference, live), None);
    }
    let empty = Binned { counts: &[0, 0, 0], sums: None };
    assert_eq!(wasserstein(&[0.0, 1.0], empty, empty), None);
    assert_eq!(wasserstein(&[], Binned { counts: &[1], sums: None }, Binned { counts: &[1], sums: None }), None);
    assert_eq!(expected_psi(10, 0, 100), None);
    assert_eq!(expected_psi(0, 10, 100), Some(0.0));
}

#[test]
fn distances_of_a_sample_to_itself_are_zero() {
    let values = normal(1, 5000);
    let found = distances(&values, &values);
    assert!(found.psi.abs() < 1e-12 && found.js < 1e-8 && found.tv < 1e-12);
    assert!(found.ks.unwrap() < 1e-12);
    assert!(found.wasserstein.unwrap() < 1e-6);
}

#[test]
fn known_values() {
    // (0.5 - 0.75) ln(0.5 / 0.75) + (0.5 - 0.25) ln(0.5 / 0.25)
    assert!((psi(&[2, 2], &[3, 1]).unwrap() - 0.25 * 3_f64.ln()).abs() < 1e-15);
    assert!((jensen_shannon(&[1, 0], &[0, 1]).unwrap() - 2_f64.ln().sqrt()).abs() < 1e-15);
    assert!((total_variation(&[2, 2], &[3, 1]).unwrap() - 0.25).abs() < 1e-15);
    assert!((kolmogorov_smirnov(&[1, 0, 1], &[0, 2, 0]).unwrap() - 0.5).abs() < 1e-15);
    assert!((psi(&[1, 0], &[0, 1]).unwrap() - 2.0 * (1.0 - 1e-4) * 1e4_f64.ln()).abs() < 1e-12);
    assert_eq!(expected_psi(10, 1000, 10_000).map(|psi| (psi * 1e6).round()), Some(9900.0));
}

#[test]
fn missing_infinite_and_unseen_values_count_in_groups_and_not_along_the_line() {
    let values = normal(2, 4000);
    let mut live = values.clone();
    live.extend([f64::NAN; 1000]);
    live.extend([f64::INFINITY; 500]);
    let found = distances(&values, &live);
    assert!(found.psi > 0.5 && found.tv > 0.2);
    assert!(found.ks.unwrap() < 1e-12 && found.wasserstein.unwrap() < 1e-6);
    let all_missing = distances(&values, &[f64::NAN; 300]);
    assert_eq!((all_missing.ks, all_missing.wasserstein), (None, None));
    assert!(all_missing.psi > 5.0);
}

#[test]
fn a_constant_column_has_no_spread_and_still_drifts() {
    let constant = [4.0; 500];
    let same = verdict(&constant, &constant);
    assert_eq!((same.verdict, same.distances.unwrap().wasserstein), (Verdict::Ok, None));
    assert_eq!(verdict(&constant, &[4.5; 500]).verdict, Verdict::Drift);
    assert_eq!(verdict(&[0.0; 500], &[1.0; 500]).verdict, Verdict::Drift);
    assert_eq!(verdict(&[f64::NAN; 500], &[f64::NAN; 500]).verdict, Verdict::Ok);
    assert_eq!(verdict(&[f64::NAN; 500], &[1.0; 500]).verdict, Verdict::Drift);
    assert_eq!(verdict(&[f64::INFINITY; 500], &[f64::NEG_INFINITY; 500]).verdict, Verdict::Ok);
}

#[test]
fn a_shift_of_a_normal_feature_moves_every_distance_as_the_tables_say() {
    let reference = normal(3, 40_000);
    let live: Vec<f64> = normal(4, 40_000).into_iter().map(|value| value + 0.5).collect();
    let found = distances(&reference, &live);
    assert!((found.psi - 0.238).abs() < 0.025, "{}", found.psi);
    assert!((found.js - 0.173).abs() < 0.015, "{}", found.js);
    assert!((found.ks.unwrap() - 0.197).abs() < 0.015, "{:?}", found.ks);
    assert!((found.wasserstein.unwrap() - 0.5).abs() < 0.02, "{:?}", found.wasserstein);
}

#[test]
fn wasserstein_is_close_to_the_exact_distance() {
    let exponential = |seed| uniform(seed, 6000).into_iter().map(|value: f64| -(1.0 - value).ln()).collect::<Vec<_>>();
    for (name, reference, live) in [
        ("uniform", uniform(5, 6000), uniform(6, 4000)),
        ("normal", normal(7, 6000), normal(8, 4000)),
        ("exponential", exponential(9), exponential(10)),
    ] {
        for shift in [0.0, 0.1, -0.7, 3.0, 50.0] {
            let spread = deviation(&reference);
            let live: Vec<f64> = live.iter().map(|value| value + shift * spread).collect();
            let exact = exact_wasserstein(&reference, &live) / spread;
            let found = distances(&reference, &live).wasserstein.unwrap();
            assert!((found - exact).abs() < 0.01 + exact * 1e-3, "{name} {shift}: {found} and {exact}");
        }
    }
}

#[test]
fn values_far_beyond_the_edges_count_as_far_as_they_lie() {
    let reference = uniform(11, 1000);
    let mut live = reference.clone();
    live[0] = 1e4;
    let exact = exact_wasserstein(&reference, &live) / deviation(&reference);
    let found = distances(&reference, &live).wasserstein.unwrap();
    assert!((found / exact - 1.0).abs() < 1e-3, "{found} and {exact}");
}

#[test]
fn a_column_needs_rows_and_a_reference_for_a_verdict() {
    let reference = normal(12, 5000);
    let few = verdict(&reference, &normal(13, 199));
    assert_eq!((few.verdict, few.samples), (Verdict::NotEnoughData, 199));
    assert!(few.distances.is_some());
    assert_eq!(verdict(&reference, &[]).verdict, Verdict::NotEnoughData);
    assert_eq!(verdict(&[], &normal(14, 500)).verdict, Verdict::NoReference);
    let live = Live { counts: &[500, 1], sums: [0; SUMS] };
    assert_eq!(judge_column(None, &live, &Rule::default()).verdict, Verdict::NoReference);
    let of_another_layout = judge_column(Some(&column(&reference, 64).reference()), &live, &Rule::default());
    assert_eq!(of_another_layout.verdict, Verdict::NotEnoughData);
}

#[test]
fn fresh_draws_do_not_drift_and_a_shift_of_one_deviation_does() {
    let reference = normal(15, 20_000);
    for seed in 100..150 {
        let live = normal(seed, 300);
        let fresh = verdict(&reference, &live);
        assert_eq!(fresh.verdict, Verdict::Ok, "seed {seed}: {fresh:?}");
        let shifted: Vec<f64> = live.iter().map(|value| value + 1.0).collect();
        let found = verdict(&reference, &shifted);
        assert_eq!(found.verdict, Verdict::Drift, "seed {seed}: {found:?}");
    }
}

#[test]
fn a_version_drifts_with_half_of_its_judged_features_or_a_critical_one() {
    use Verdict::{Drift, NoReference, NotEnoughData, Ok};
    let judge = |verdicts: &[Verdict]| {
        let features: Vec<_> = verdicts.iter().map(|&verdict| FeatureVerdict { verdict, critical: false }).collect();
        judge_version(&features)
    };
    assert_eq!(judge(&[]), NoReference);
    assert_eq!(judge(&[NoReference, NoReference]), NoReference);
    assert_eq!(judge(&[NotEnoughData, NoReference]), NotEnoughData);
    assert_eq!(judge(&[Drift, Ok, Ok]), Ok);
    assert_eq!(judge(&[Drift, Ok, NoReference]), Drift);
    assert_eq!(judge(&[Drift, NotEnoughData, NotEnoughData]), NotEnoughData);
    assert_eq!(judge(&[Drift, Ok, NotEnoughData]), Drift);
    let critical = |verdict| FeatureVerdict { verdict, critical: true };
    let plain = |verdict| FeatureVerdict { verdict, critical: false };
    assert_eq!(judge_version(&[critical(Drift), plain(Ok), plain(Ok), plain(NotEnoughData)]), Drift);
    assert_eq!(judge_version(&[critical(Ok), plain(Ok), plain(Drift)]), Ok);
}

#[test]
fn verdicts_have_the_names_that_are_promised() {
    let names = [Verdict::Ok, Verdict::Drift, Verdict::NotEnoughData, Verdict::NoReference]
        .map(|verdict| serde_json::to_string(&verdict).unwrap());
    assert_eq!(names, ["\"ok\"", "\"drift\"", "\"not_enough_data\"", "\"no_reference\""]);
}

#[test]
fn latency_is_judged_on_its_99th_percentile_from_a_thousand_requests_on() {
    let rule = LatencyRule::new(50_000_000);
    let empty = judge_latency(&[], &rule);
    assert_eq!((empty.verdict, empty.p99_ns), (LatencyVerdict::NotEnoughData, None));
    let mut counts = vec![0; nanoseconds::COUNT];
    counts[nanoseconds::index(1_000_000)] = 980;
    counts[nanoseconds::index(100_000_000)] = 19;
    assert_eq!(judge_latency(&counts, &rule).verdict, LatencyVerdict::NotEnoughData);
    counts[nanoseconds::index(1_000_000)] += 1;
    let slow = judge_latency(&counts, &rule);
    assert_eq!((slow.verdict, slow.requests), (LatencyVerdict::Slow, 1000));
    assert!((slow.p50_ns.unwrap() as f64 / 1e6 - 1.0).abs() < 0.04);
    counts[nanoseconds::index(1_000_000)] += 2000;
    assert_eq!(judge_latency(&counts, &rule).verdict, LatencyVerdict::Ok);
}

fn counters(length: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0_u64), 0_u64..1000], length)
}

proptest! {
    #[test]
    fn distances_over_groups_equal_the_textbook_formulas(p in counters(12), q in counters(12)) {
        let shares = |counts: &[u64]| {
            let total: u64 = counts.iter().sum();
            counts.iter().map(|&count| count as f64 / total as f64).collect::<Vec<f64>>()
        };
        prop_assume!(p.iter().any(|&count| count > 0) && q.iter().any(|&count| count > 0));
        let (a, b) = (shares(&p), shares(&q));
        let (mut naive_psi, mut divergence, mut l1, mut largest) = (0.0, 0.0, 0.0, 0.0_f64);
        for i in 0..12 {
            let (x, y) = (if a[i] < 1e-4 { 1e-4 } else { a[i] }, if b[i] < 1e-4 { 1e-4 } else { b[i] });
            naive_psi += (y - x) * (y.ln() - x.ln());
            let m = (a[i] + b[i]) / 2.0;
            if a[i] > 0.0 { divergence += a[i] / 2.0 * (a[i].ln() - m.ln()); }
            if b[i] > 0.0 { divergence += b[i] / 2.0 * (b[i].ln() - m.ln()); }
            l1 += (a[i] - b[i]).abs();
            largest = largest.max((a[..=i].iter().sum::<f64>() - b[..=i].iter().sum::<f64>()).abs());
        }
        prop_assert!((psi(&p, &q).unwrap() - naive_psi).abs() < 1e-11);
        prop_assert!((jensen_shannon(&p, &q).unwrap().powi(2) - divergence).abs() < 1e-12);
        prop_assert!((total_variation(&p, &q).unwrap() - l1 / 2.0).abs() < 1e-12);
        prop_assert!((kolmogorov_smirnov(&p, &q).unwrap() - largest).abs() < 1e-12);
    }

    #[test]
    fn binned_ks_is_below_the_exact_one_by_at_most_the_largest_bin(
        seed in 0_u64..1000,
        shift in -1.0_f64..1.0,
        bins in 8_usize..100,
    ) {
        let reference = normal(seed, 300);
        let live: Vec<f64> = normal(seed + 5000, 200).into_iter().map(|value| value + shift).collect();
        let column = column(&reference, bins);
        let (counts, sums) = record(&column, &live);
        let found = Distances::between(&column.reference(), &Live { counts: &counts, sums }).unwrap().ks.unwrap();
        let exact = exact_ks(&reference, &live);
        let share = |counts: &[u64], rows: usize| *counts.iter().max().unwrap() as f64 / rows as f64;
        let largest = share(&column.counts, 300).max(share(&counts, 200));
        prop_assert!(found <= exact + 1e-12 && exact <= found + largest + 1e-12, "{found} {exact} {largest}");
    }

    #[test]
    fn no_counters_and_no_sums_make_a_distance_that_is_not_a_number(
        values in prop::collection::vec(prop_oneof![-1e3_f64..1e3, any::<f64>()], 0..60),
        counts in prop::collection::vec(prop_oneof![Just(0_u64), any::<u64>()], 300),
        sums in any::<[i64; SUMS]>(),
    ) {
        let reference: Reference = column(&values, 16).reference();
        let counts = &counts[..reference.counts.len()];
        let answer = judge_column(Some(&reference), &Live { counts, sums }, &Rule::default());
        if let Some(found) = answer.distances {
            let Distances { psi, ks, js, wasserstein, wasserstein_error, tv, hellinger, l_infinity } = found;
            let always = [psi, js, tv, hellinger, l_infinity].map(Some);
            for distance in always.into_iter().chain([ks, wasserstein, wasserstein_error]).flatten() {
                prop_assert!(distance.is_finite() && distance >= 0.0, "{distance}");
            }
        }
    }

    #[test]
    fn merged_shards_in_any_order_have_the_same_verdict(
        values in prop::collection::vec(-3.0_f64..3.0, 1..300),
        shards in 1_usize..5,
    ) {
        let column = column(&normal(77, 400), 32);
        let parts: Vec<_> = (0..shards)
            .map(|shard| record(&column, &values.iter().skip(shard).step_by(shards).copied().collect::<Vec<_>>()))
            .collect();
        let merge = |parts: &mut dyn Iterator<Item = &(Vec<u64>, [i64; SUMS])>| {
            let (mut counts, mut sums) = (vec![0_u64; column.slots().count()], [0_i64; SUMS]);
            for (more, addends) in parts {
                counts.iter_mut().zip(more).for_each(|(sum, count)| *sum += count);
                sums.iter_mut().zip(addends).for_each(|(sum, addend)| *sum = sum.wrapping_add(*addend));
            }
            (counts, sums)
        };
        let whole = record(&column, &values);
        prop_assert_eq!(&merge(&mut parts.iter()), &whole);
        prop_assert_eq!(&merge(&mut parts.iter().rev()), &whole);
    }
}
