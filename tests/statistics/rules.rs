//! How often rules that people use page on traffic without drift: on the streams that the alarms are held to.
//!
//! Window rules look once at each five minutes of all rows, as a scheduled job does; a page is a window that they call
//! drifted after one that they did not. River's detectors see every value of one stream and are asked after each; a page
//! is each time they call drift. Rates are for a model of a hundred features, as in the table of the alarms.

#[path = "../it/support/python.rs"]
mod python;

use super::streams::{Dependence, Feature, Law, add_rows, batch_tables};
use super::support::{generator, in_parallel, say, scale, upper_limit};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, StandardNormal};
use tidegate::detect::{Rule, Verdict, judge_column, ks_p_value};
use tidegate::sketch::{Live, SUMS};

const WINDOW_SECONDS: f64 = 300.0;
const WINDOWS_PER_MONTH: f64 = 30.0 * 86_400.0 / WINDOW_SECONDS;
const FEATURES_PER_MODEL: f64 = 100.0;
/// Evidently takes a Kolmogorov-Smirnov test up to a thousand rows, and a Wasserstein distance beyond.
const REFERENCES: [usize; 2] = [1_000, 10_000];

const RULES: [&str; 3] = ["PSI > 0.1", "KS p < 0.05", "Evidently's default"];

/// What each rule says of a window.
fn called(feature: &Feature, counts: &[u64]) -> [bool; 3] {
    let live = Live { counts, sums: [0; SUMS] };
    let judged = judge_column(Some(&feature.reference), &live, &Rule::Evidently { min_samples: 1 });
    let Some(distances) = judged.distances else { return [false; 3] };
    let rows: u64 = counts.iter().sum();
    let p_value = distances.ks.and_then(|ks| ks_p_value(ks, feature.reference.rows, rows));
    [distances.psi > 0.1, p_value.is_some_and(|p_value| p_value < 0.05), judged.verdict == Verdict::Drift]
}

/// Pages of each rule in so many windows of one feature.
fn pages(rows: u64, dependence: Dependence, windows: usize, seed: u64) -> [u64; 3] {
    let mut random = generator(seed);
    let feature = Feature::new(Law::Normal, REFERENCES[seed as usize % REFERENCES.len()], &mut random);
    let chances = feature.slots(0.0);
    let batches = (dependence == Dependence::Batches).then(|| batch_tables(&feature));
    let (mut pages, mut before) = ([0; 3], [false; 3]);
    for _ in 0..windows {
        let mut counts = vec![0; chances.len()];
        match &batches {
            None => add_rows(rows, &chances, &mut counts, &mut random),
            Some(tables) => {
                for _ in 0..rows / 64 {
                    let table = &tables[random.random_range(0..tables.len())];
                    (0..64).for_each(|_| counts[usize::from(table[random.random_range(0..table.len())])] += 1);
                }
            }
        }
        let now = called(&feature, &counts);
        for rule in 0..RULES.len() {
            pages[rule] += u64::from(now[rule] && !before[rule]);
        }
        before = now;
    }
    pages
}

#[test]
fn known_rules_page_on_traffic_without_drift() {
    say("| rule, each 5 minutes | rows | per second | pages per model-month of 100 features | upper 95 % limit |");
    say("|---|---|---|---|---|");
    let conditions = [
        ("independent", Dependence::Independent, 1_u64),
        ("independent", Dependence::Independent, 100),
        ("independent", Dependence::Independent, 10_000),
        ("batches of 64", Dependence::Batches, 1),
        ("batches of 64", Dependence::Batches, 100),
    ];
    let (features, windows) = scale((2, 60), (20, 2_880));
    let mut most = [0; 3];
    for (name, dependence, rate) in conditions {
        let all = in_parallel(features, |feature| pages(rate * 300, dependence, windows, 31 * rate + feature as u64));
        let months = (features * windows) as f64 / WINDOWS_PER_MONTH / FEATURES_PER_MODEL;
        for (rule, text) in RULES.iter().enumerate() {
            let sum: u64 = all.iter().map(|pages| pages[rule]).sum();
            most[rule] = most[rule].max(sum);
            let (rate_seen, limit) = (sum as f64 / months, upper_limit(sum) / months);
            say(&format!("| {text} | {name} | {rate} | {rate_seen:.0} | {limit:.0} |"));
        }
    }
    // A test at 5 % that looks at every window cannot but page; this is what the alarms are compared with.
    assert!(most[1] > 0, "{most:?}");
}

/// A stream of values as the reference has them.
fn stream(rows: usize, random: &mut SmallRng) -> Vec<u8> {
    (0..rows).map(|_| -> f32 { StandardNormal.sample(random) }).flat_map(f32::to_le_bytes).collect()
}

#[test]
fn rivers_detectors_page_on_a_stream_without_drift() {
    let (rows, for_kswin) = scale((20_000, 3_000), (2_592_000, 60_000));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), stream(rows, &mut generator(5))).unwrap();
    let arguments = [file.path().to_str().unwrap(), &for_kswin.to_string()];
    let printed = python::environment().run_script("tests/python/river_detectors.py", &arguments);
    let found: serde_json::Value = serde_json::from_str(&printed).unwrap();
    for detector in ["ADWIN", "KSWIN"] {
        let (rows, calls) = (found[detector]["rows"].as_u64().unwrap(), found[detector]["calls"].as_u64().unwrap());
        // A month of one row a second.
        let months = rows as f64 / 2_592_000.0 / FEATURES_PER_MODEL;
        say(&format!(
            "| {detector}, river's defaults, asked after every row | independent | 1 | {:.0} | {:.0} |",
            calls as f64 / months,
            upper_limit(calls) / months
        ));
    }
    assert_eq!(found["ADWIN"]["rows"].as_u64(), Some(rows as u64));
}
