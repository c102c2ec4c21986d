//! The preset `evidently` says what Evidently says.
//!
//! Evidently itself judges the raw values, the preset their counters; both see the same columns, of both kinds, with
//! references on both sides of the thousand rows at which Evidently changes its tests. Scores within 20 % of their
//! threshold are left out: there the method of a p-value and the placement within bins decide.

use crate::support::python;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidegate::detect::{ColumnVerdict, Rule, Test, Verdict, judge_column};
use tidegate::profile::{Column, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
use tidegate::sketch::{Live, SUMS};
use tidegate::tensor::DataType;

/// How a column's values are drawn, from a normal variable and its shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    Normal,
    Lognormal,
    Uniform,
    MostlyZero,
    ManyCounts,
    ThreeCounts,
    FiveCounts,
    Flag,
    Constant,
    CodeOfTwo,
    CodeOfSix,
    StringOfTwo,
    StringOfTwelve,
}

const LAWS: [Law; 13] = [
    Law::Normal,
    Law::Lognormal,
    Law::Uniform,
    Law::MostlyZero,
    Law::ManyCounts,
    Law::ThreeCounts,
    Law::FiveCounts,
    Law::Flag,
    Law::Constant,
    Law::CodeOfTwo,
    Law::CodeOfSix,
    Law::StringOfTwo,
    Law::StringOfTwelve,
];
/// Shifts of the live values in standard deviations.
const SHIFTS: [f64; 7] = [0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0];
/// Rows of the reference and of the window.
const SIZES: [(usize, usize); 4] = [(500, 400), (1000, 1000), (1500, 500), (5000, 2000)];

struct Case {
    name: String,
    law: Law,
    reference: Vec<f64>,
    live: Vec<f64>,
}

fn draw(law: Law, shift: f64, random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(1e-12..1.0), random.random());
    let moved = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos() + shift;
    let among = |values: f64| (moved + values / 2.0).floor().clamp(0.0, values - 1.0);
    match law {
        Law::Normal => 40.0 + 3.0 * moved,
        Law::Lognormal => (0.7 * moved).exp(),
        // The deviation of a uniform variable of width 1 is 0.29.
        Law::Uniform => v + 0.29 * shift,
        Law::MostlyZero => (moved - 0.5).max(0.0),
        Law::ManyCounts => (20.0 + 4.0 * moved).round().max(0.0),
        Law::ThreeCounts => among(3.0),
        Law::FiveCounts => among(5.0),
        Law::Flag | Law::CodeOfTwo | Law::StringOfTwo => f64::from(u8::from(moved > 0.6)),
        Law::Constant => {
            if shift > 0.9 {
                2.5
            } else {
                2.25
            }
        }
        Law::CodeOfSix => among(6.0),
        Law::StringOfTwelve => (3.0 * moved.abs()).floor().min(11.0),
    }
}

impl Law {
    fn kind(self) -> &'static str {
        match self {
            Self::CodeOfTwo | Self::CodeOfSix => "code",
            Self::StringOfTwo | Self::StringOfTwelve => "string",
            _ => "number",
        }
    }

    fn datatype(self) -> DataType {
        if self.kind() == "string" { DataType::Bytes } else { DataType::Fp64 }
    }
}

/// A few values are missing, which both leave out; of strings none, because Evidently would have to be told how.
fn values(law: Law, shift: f64, count: usize, random: &mut StdRng) -> Vec<f64> {
    let may_miss = law.kind() == "number";
    (0..count)
        .map(|_| {
            let value = draw(law, shift, random);
            match random.random_range(0..100) {
                0 if may_miss => f64::NAN,
                1 if may_miss => f64::INFINITY,
                _ => value,
            }
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, live_rows) in SIZES {
        for law in LAWS {
            for shift in SHIFTS {
                let mut random = StdRng::seed_from_u64(7000 + cases.len() as u64);
                cases.push(Case {
                    name: format!("{law:?} {rows}/{live_rows} shifted by {shift}"),
                    law,
                    reference: values(law, 0.0, rows, &mut random),
                    live: values(law, shift, live_rows, &mut random),
                });
            }
        }
    }
    cases
}

fn text(law: Law, value: f64) -> String {
    if law.kind() == "string" { format!("category {value}") } else { value.to_string() }
}

fn column(case: &Case) -> Column {
    let mut options = ProfileOptions::default();
    if case.law.kind() == "code" {
        options.categorical.insert("x".to_owned());
    }
    let mut builder = ProfileBuilder::new(options);
    let key = builder.add_column(ColumnSpec {
        side: Side::Input,
        tensor: "features".to_owned(),
        index: 0,
        name: "x".to_owned(),
        datatype: case.law.datatype(),
        statistic: None,
    });
    if case.law.kind() == "string" {
        let strings: Vec<String> = case.reference.iter().map(|&value| text(case.law, value)).collect();
        builder.absorb_strings(key, strings.iter().map(|value| Some(value.as_bytes()))).unwrap();
    } else {
        builder.absorb_numbers(key, case.reference.iter().copied()).unwrap();
    }
    builder.finish().unwrap().inputs.remove(0)
}

fn ours(case: &Case) -> ColumnVerdict {
    let column = column(case);
    let (layout, reference) = (column.layout(case.law.datatype()).unwrap(), column.reference());
    let (mut counts, mut sums) = (vec![0; layout.slots()], [0; SUMS]);
    for &value in &case.live {
        let slot = match case.law.kind() {
            "string" => layout.slot_bytes(text(case.law, value).as_bytes()),
            _ => layout.slot_f64(value),
        };
        counts[slot] += 1;
        if let Some(sum) = layout.sum_index(slot) {
            sums[sum] += layout.quantize(value);
        }
    }
    let live = Live { counts: &counts, sums };
    judge_column(Some(&reference), &live, &Rule::Evidently { min_samples: 1 })
}

fn name_of(test: Test) -> &'static str {
    match test {
        Test::Ks => "K-S p_value",
        Test::ChiSquare => "chi-square p_value",
        Test::Proportions => "Z-test p_value",
        Test::Wasserstein => "Wasserstein distance (normed)",
        Test::JensenShannon => "Jensen-Shannon distance",
        other => panic!("{other:?} is not among Evidently's tests"),
    }
}

fn ask_evidently(cases: &[Case]) -> Vec<Value> {
    let texts = |case: &Case, values: &[f64]| values.iter().map(|&value| text(case.law, value)).collect::<Vec<_>>();
    let question = |case: &Case| {
        json!({
            "name": case.name,
            "kind": case.law.kind(),
            "reference": texts(case, &case.reference),
            "live": texts(case, &case.live),
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&cases.iter().map(question).collect::<Vec<_>>()).unwrap()).unwrap();
    let answers = python::environment().run_script("tests/python/evidently_verdicts.py", &[file.to_str().unwrap()]);
    serde_json::from_str(&answers).unwrap()
}

#[test]
fn the_preset_says_what_evidently_says() {
    let cases = cases();
    assert!(cases.len() >= 200);
    let answers = ask_evidently(&cases);
    assert_eq!(answers.len(), cases.len());
    let (mut compared, mut same, mut drifted, mut other_test) = (0, 0, 0, 0);
    let mut by_method: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (case, theirs) in cases.iter().zip(&answers) {
        let ours = ours(case);
        let outcome = ours.outcome.unwrap_or_else(|| panic!("{}: nothing found", case.name));
        let (score, threshold) = (theirs["score"].as_f64().unwrap(), theirs["threshold"].as_f64().unwrap());
        other_test += u32::from(theirs["method"] != name_of(outcome.test));
        if (score - threshold).abs() <= 0.2 * threshold {
            continue;
        }
        let agrees = (ours.verdict == Verdict::Drift) == theirs["drift"].as_bool().unwrap();
        if !agrees {
            println!("{}: {outcome:?}, Evidently {theirs}", case.name);
        }
        compared += 1;
        same += u32::from(agrees);
        drifted += u32::from(ours.verdict == Verdict::Drift);
        let counts = by_method.entry(name_of(outcome.test)).or_default();
        *counts = (counts.0 + u32::from(agrees), counts.1 + 1);
    }
    println!(
        "same verdict as Evidently: {same} of {compared} ({} data sets, {other_test} by another test)",
        cases.len()
    );
    for (method, (same, compared)) in &by_method {
        println!("  {method}: {same} of {compared}");
    }
    assert!(compared >= 200 && drifted > compared / 4 && drifted < compared * 3 / 4, "{drifted} of {compared} drift");
    assert!(f64::from(same) >= 0.95 * f64::from(compared), "{same} of {compared}");
    assert_eq!(by_method.len(), 5, "{by_method:?}");
    assert!(other_test * 50 <= cases.len() as u32, "{other_test} of {} by another test", cases.len());
}
