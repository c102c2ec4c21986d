//! Distances over sketches equal what numpy and SciPy compute from the values themselves.
//!
//! Both sides get the same values, edges and groups. Python bins the values by itself, so an error in a slot shows just
//! as one in a formula does. SciPy's Kolmogorov-Smirnov statistic is of the unbinned values: binning can hide at most the
//! mass of one bin.

use crate::support::python;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tidegate::detect::Distances;
use tidegate::profile::{Column, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
use tidegate::sketch::{Live, SUMS};
use tidegate::tensor::DataType;

/// How a column's values are drawn.
#[derive(Clone, Copy, Debug)]
enum Law {
    Normal,
    Lognormal,
    Uniform,
    Count,
    Flag,
    Code,
    Constant,
    MostlyZero,
}

const LAWS: [Law; 8] =
    [Law::Normal, Law::Lognormal, Law::Uniform, Law::Count, Law::Flag, Law::Code, Law::Constant, Law::MostlyZero];
/// Shifts of the live values, in standard deviations or what comes close to it.
const SHIFTS: [f64; 6] = [0.0, 0.1, 0.3, 0.7, 1.3, 2.0];

struct Case {
    name: String,
    datatype: DataType,
    categorical: bool,
    reference: Vec<f64>,
    live: Vec<f64>,
}

fn normal(random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(1e-12..1.0), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn draw(law: Law, shift: f64, random: &mut StdRng) -> f64 {
    let moved = normal(random) + shift;
    match law {
        Law::Normal => 100.0 + 15.0 * moved,
        Law::Lognormal => (0.8 * moved).exp(),
        Law::Uniform => random.random_range(-1.0..1.0) + shift,
        Law::Count => (4.0 + 2.0 * moved).round().max(0.0),
        Law::Flag => f64::from(u8::from(moved > 1.0)),
        Law::Code => (3.0 * moved.abs()).floor().min(9.0),
        Law::Constant => {
            if shift > 1.0 {
                7.5
            } else {
                7.25
            }
        }
        Law::MostlyZero => (moved - 0.5).max(0.0),
    }
}

/// Values of which some are missing or infinite when `spoilt`.
fn values(law: Law, shift: f64, count: usize, spoilt: bool, random: &mut StdRng) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let value = draw(law, shift, random);
            match random.random_range(0..50) {
                0 if spoilt => f64::NAN,
                1 if spoilt => f64::INFINITY,
                2 if spoilt => f64::NEG_INFINITY,
                _ => value,
            }
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (seed, law) in (100_u64..).zip(LAWS) {
        for (step, shift) in SHIFTS.into_iter().enumerate() {
            let mut random = StdRng::seed_from_u64(seed * 10 + step as u64);
            let spoilt = step % 2 == 1;
            let datatype = if step % 3 == 2 { DataType::Fp64 } else { DataType::Fp32 };
            let size = [60, 4_000, 700][step % 3];
            cases.push(Case {
                name: format!("{law:?} shifted by {shift}, {size} rows, {datatype:?}, spoilt: {spoilt}"),
                datatype,
                categorical: matches!(law, Law::Code),
                reference: values(law, 0.0, 3_000, spoilt, &mut random),
                live: values(law, shift, size, spoilt, &mut random),
            });
        }
    }
    assert!(cases.len() >= 40);
    cases
}

fn column(case: &Case) -> Column {
    let mut options = ProfileOptions::default();
    if case.categorical {
        options.categorical.insert("x".to_owned());
    }
    let mut builder = ProfileBuilder::new(options);
    let spec = ColumnSpec {
        side: Side::Input,
        tensor: "features".to_owned(),
        index: 0,
        name: "x".to_owned(),
        datatype: case.datatype,
        statistic: None,
    };
    let key = builder.add_column(spec);
    builder.absorb_numbers(key, case.reference.iter().copied()).unwrap();
    builder.finish().unwrap().inputs.remove(0)
}

/// Our distances, and what Python needs to compute its own.
fn ours(case: &Case) -> (Distances, Value) {
    let column = column(case);
    let (layout, reference) = (column.layout(case.datatype).unwrap(), column.reference());
    let (mut counts, mut sums) = (vec![0; layout.slots()], [0; SUMS]);
    for &value in &case.live {
        let slot = layout.slot_f64(value);
        counts[slot] += 1;
        if let Some(sum) = layout.sum_index(slot) {
            sums[sum] += layout.quantize(value);
        }
    }
    let distances = Distances::between(&reference, &Live { counts: &counts, sums }).unwrap();
    let texts = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<String>>();
    let question = json!({
        "single": case.datatype == DataType::Fp32,
        "categorical": case.categorical,
        "reference": texts(&case.reference),
        "live": texts(&case.live),
        "edges": texts(&column.edges),
        "groups": reference.groups,
        "group_count": reference.group_count,
    });
    (distances, question)
}

#[test]
fn distances_equal_those_of_numpy_and_scipy() {
    let python = python::environment();
    let cases = cases();
    let (ours, questions): (Vec<Distances>, Vec<Value>) = cases.iter().map(ours).unzip();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&questions).unwrap()).unwrap();
    let answers = python.run_script("tests/python/distances.py", &[file.to_str().unwrap()]);
    let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
    assert_eq!(answers.len(), cases.len());
    let (mut moved, mut with_order) = (0, 0);
    for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&answers) {
        for (name, ours) in [("psi", ours.psi), ("js", ours.js), ("tv", ours.tv)] {
            let theirs = theirs[name].as_f64().unwrap();
            assert!((ours - theirs).abs() <= 1e-9, "{}: {name} is {ours}, numpy's {theirs}", case.name);
        }
        moved += usize::from(ours.psi > 0.1);
        match ours.ks {
            None => assert!(case.categorical, "{}", case.name),
            Some(ks) => {
                with_order += 1;
                let (theirs, bin) = (theirs["ks"].as_f64().unwrap(), theirs["largest_bin"].as_f64().unwrap());
                let hidden = theirs - ks;
                assert!(hidden > -1e-9, "{}: KS is {ks}, more than SciPy's {theirs}", case.name);
                assert!(hidden < bin + 1e-9, "{}: KS is {ks}, SciPy's {theirs}, largest bin {bin}", case.name);
            }
        }
    }
    assert!(moved > 15 && moved < cases.len() - 5 && with_order > 35, "{moved} moved, {with_order} with an order");
}
