//! Distances over sketches equal what numpy and SciPy compute from the values themselves.
//!
//! Both sides get the same values, edges and groups. Python bins the values by itself, so an error in a slot shows just
//! as one in a formula does. SciPy's Kolmogorov-Smirnov statistic is of the unbinned values: binning can hide at most the
//! reference's mass in one bin that is wider than a number, and nothing of values that lie on edges.

use crate::support::python;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tidegate::detect::{
    Distances, TestResult, chi_square_fit, chi_square_p_value, chi_square_two_sample, group_counts, ks_p_value,
    kstwo_sf, two_proportions,
};
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
    Pareto,
}

const LAWS: [Law; 9] = [
    Law::Normal,
    Law::Lognormal,
    Law::Uniform,
    Law::Count,
    Law::Flag,
    Law::Code,
    Law::Constant,
    Law::MostlyZero,
    Law::Pareto,
];
/// Shifts of the live values, in standard deviations or what comes close to it.
const SHIFTS: [f64; 6] = [0.0, 0.1, 0.3, 0.7, 1.3, 2.0];

struct Case {
    name: String,
    law: Law,
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
        // Tail index 1.5: no variance.
        Law::Pareto => (1.0 - random.random::<f64>()).powf(-1.0 / 1.5) + shift,
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
                law,
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

/// What we compute of a case.
struct Ours {
    distances: Distances,
    fit: TestResult,
    table: TestResult,
}

/// Our distances, and what Python needs to compute its own.
fn ours(case: &Case) -> (Ours, Value) {
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
    let expected = group_counts(&reference.counts, &reference.groups, reference.group_count);
    let found = group_counts(&counts, &reference.groups, reference.group_count);
    let (fit, table) = (chi_square_fit(&expected, &found), chi_square_two_sample(&expected, &found));
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
    (Ours { distances, fit: fit.unwrap(), table: table.unwrap() }, question)
}

fn ask(arguments: &[&str], question: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("question.json");
    std::fs::write(&file, serde_json::to_vec(question).unwrap()).unwrap();
    let arguments = [arguments, &[file.to_str().unwrap()]].concat();
    let answer = python::environment().run_script("tests/python/distances.py", &arguments);
    serde_json::from_str(&answer).unwrap()
}

fn assert_equal(what: &str, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap_or_else(|| panic!("{what}: nothing to compare {ours} with"));
    let allowed = f64::max(1e-12, 1e-9 * theirs.abs());
    assert!((ours - theirs).abs() <= allowed, "{what} is {ours}, SciPy's {theirs}");
}

/// The distances along the line of one case; how far W1 is off and how far it may be.
fn compare_along_the_line(case: &Case, ours: &Distances, theirs: &Value) -> Option<(f64, f64)> {
    let ks = ours.ks.unwrap();
    let hidden = theirs["ks"].as_f64().unwrap() - ks;
    let bin = theirs["largest_bin"].as_f64().unwrap();
    assert!((-1e-12..=bin + 1e-12).contains(&hidden), "{}: KS hides {hidden}, largest bin {bin}", case.name);
    assert_equal(&format!("{}: KS on edges", case.name), ks, &theirs["ks_on_edges"][0]);
    let rows = |side: usize| theirs["rows"][side].as_u64().unwrap();
    let p_value = ks_p_value(ks, rows(0), rows(1)).unwrap();
    let expected = theirs["ks_on_edges"][1].as_f64().unwrap();
    assert!((p_value - expected).abs() <= 1e-9 + 1e-6 * expected, "{}: p {p_value} {expected}", case.name);
    let Some(wasserstein) = ours.wasserstein else {
        assert!(theirs["wasserstein"].is_null(), "{}", case.name);
        return None;
    };
    let truth = theirs["wasserstein"].as_f64().unwrap();
    let (off, bound) = ((wasserstein - truth).abs(), ours.wasserstein_error.unwrap());
    assert!(off <= bound, "{}: W1 is {wasserstein} ± {bound}, SciPy's {truth}", case.name);
    if !matches!(case.law, Law::Lognormal | Law::Pareto) {
        assert!(off <= f64::max(0.005, 0.02 * truth), "{}: W1 is {wasserstein}, SciPy's {truth}", case.name);
    }
    Some((off, bound))
}

#[test]
fn distances_equal_those_of_numpy_and_scipy() {
    let cases = cases();
    let (ours, questions): (Vec<Ours>, Vec<Value>) = cases.iter().map(ours).unzip();
    let answers = ask(&[], &Value::Array(questions));
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), cases.len());
    let (mut moved, mut with_order, mut with_fit) = (0, 0, 0);
    let (mut farthest, mut widest): (f64, f64) = (0.0, 0.0);
    for ((case, Ours { distances: ours, fit, table }), theirs) in cases.iter().zip(&ours).zip(answers) {
        let equal = |name: &str, ours, theirs: &Value| assert_equal(&format!("{}: {name}", case.name), ours, theirs);
        equal("PSI", ours.psi, &theirs["psi"]);
        equal("JS", ours.js, &theirs["js"]);
        equal("TV", ours.tv, &theirs["tv"]);
        equal("Hellinger", ours.hellinger, &theirs["hellinger"]);
        equal("L-infinity", ours.l_infinity, &theirs["l_infinity"]);
        let chi_square = &theirs["chi_square"];
        equal("chi-square of the table", table.statistic, &chi_square["table"][0]);
        equal("its p-value", table.p_value, &chi_square["table"][1]);
        if chi_square["fit"].is_array() {
            with_fit += 1;
            equal("chi-square of fit", fit.statistic, &chi_square["fit"][0]);
            equal("its p-value", fit.p_value, &chi_square["fit"][1]);
        } else {
            assert_eq!(fit.p_value.to_bits(), 0.0_f64.to_bits(), "{}", case.name);
        }
        moved += usize::from(ours.psi > 0.1);
        assert_eq!(ours.ks.is_none(), case.categorical, "{}", case.name);
        if !case.categorical {
            with_order += 1;
            let (off, bound) = compare_along_the_line(case, ours, theirs).unwrap_or_default();
            (farthest, widest) = (farthest.max(off), widest.max(bound));
        }
    }
    println!("{} cases; W1/sigma off by at most {farthest:.4}, bounds up to {widest:.4}", cases.len());
    assert!(moved > 15 && moved < cases.len() - 5, "{moved} moved");
    assert!(with_order > 40 && with_fit > 20, "{with_order} with an order, {with_fit} with a test of fit");
}

#[test]
fn tails_of_laws_equal_those_of_scipy() {
    let mut points = Vec::new();
    let sizes = [
        1,
        2,
        3,
        5,
        10,
        20,
        50,
        100,
        140,
        141,
        167,
        200,
        255,
        256,
        257,
        500,
        909,
        1000,
        2000,
        3000,
        3001,
        5000,
        9091,
        30_000,
        1_000_000_u64,
    ];
    for n in sizes {
        // SciPy adds up as many terms as there are rows.
        let stride = if n > 5000 { 17 } else { 1 };
        points.extend((2..90).step_by(stride).map(|step| (f64::from(step) * 0.05 / (n as f64).sqrt(), n)));
        points.extend([0.1, 0.499, 0.5, 0.501, 0.9, 1.0, 0.6 / n as f64, 1.0 / n as f64].map(|d| (d, n)));
    }
    let statistics = [1e-9, 0.1, 0.7, 2.0, 5.0, 11.0, 30.0, 70.0, 150.0, 600.0];
    let chi_squares: Vec<(f64, u64)> = [1, 2, 3, 9, 19, 63, 255]
        .iter()
        .flat_map(|&degrees| statistics.map(|statistic| (statistic, degrees)))
        .collect();
    let hits = [(0, 100), (1, 100), (30, 100), (50, 100), (55, 100), (99, 100), (100, 100_u64)];
    let results: Vec<TestResult> = hits.iter().map(|&live| two_proportions((500, 1000), live).unwrap()).collect();
    let normal: Vec<f64> = results.iter().map(|result| result.statistic).collect();
    let theirs = ask(&["--tails"], &json!({ "kstwo": points, "chi2": chi_squares, "normal": normal }));
    let mut far = 0;
    for (&(d, n), theirs) in points.iter().zip(theirs["kstwo"].as_array().unwrap()) {
        let (ours, theirs) = (kstwo_sf(d, n), theirs.as_f64().unwrap());
        far += u32::from(theirs > 0.0 && theirs < 1e-12);
        assert!((ours - theirs).abs() <= 1e-9, "d {d}, n {n}: {ours}, SciPy's {theirs}");
        assert!(theirs < 1e-15 || (ours / theirs - 1.0).abs() <= 1e-6, "d {d}, n {n}: {ours}, SciPy's {theirs}");
    }
    assert!(far > 50, "only {far} points in the far tail");
    for (&(statistic, degrees), theirs) in chi_squares.iter().zip(theirs["chi2"].as_array().unwrap()) {
        let what = format!("chi-square {statistic} with {degrees} degrees");
        assert_equal(&what, chi_square_p_value(statistic, degrees), theirs);
    }
    for (result, theirs) in results.iter().zip(theirs["normal"].as_array().unwrap()) {
        assert_equal(&format!("z {}", result.statistic), result.p_value, theirs);
    }
}
