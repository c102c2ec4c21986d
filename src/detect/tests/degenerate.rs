//! Columns without a spread, without values or without an end, on either side: nothing panics, nothing is NaN.

use super::*;
use crate::profile::{LearnedColumn, learn};
use crate::sketch::log_linear::floats;

const HUGE: f64 = 3e38;

fn spec(datatype: DataType) -> ColumnSpec {
    ColumnSpec { side: Side::Input, tensor: "x".into(), index: 0, name: "a".into(), datatype, statistic: None }
}

/// Three hundred values each, of one sort or two.
fn samples() -> Vec<(&'static str, Vec<f64>)> {
    let half = |first: f64, second: f64| [[first; 150], [second; 150]].concat();
    vec![
        ("constant", vec![2.5; 300]),
        ("zero", vec![0.0; 300]),
        ("missing", vec![f64::NAN; 300]),
        ("infinite", half(f64::INFINITY, f64::NEG_INFINITY)),
        ("largest", half(f64::MAX, f64::from(f32::MIN))),
        ("huge", half(HUGE, -HUGE)),
        ("tiny", half(1e-45, -1e-45)),
        ("constant or missing", half(7.0, f64::NAN)),
        ("constant or infinite", half(7.0, f64::INFINITY)),
        ("ordinary", normal(3, 300)),
        ("none", Vec::new()),
    ]
}

/// The reference of these values, built or learned.
fn references(values: &[f64], datatype: DataType) -> [Column; 3] {
    let mut builder = ProfileBuilder::default();
    let key = builder.add_column(spec(datatype));
    builder.absorb_numbers(key, values.iter().copied()).unwrap();
    let built = builder.finish().unwrap().inputs.remove(0);

    let options = ProfileOptions { categorical: ["a".to_owned()].into(), ..ProfileOptions::default() };
    let mut builder = ProfileBuilder::new(options);
    let key = builder.add_column(spec(datatype));
    builder.absorb_numbers(key, values.iter().copied()).unwrap();
    let codes = builder.into_counter().map(|mut counter| {
        counter.absorb_numbers(key, values.iter().copied(), &[]).unwrap();
        counter.finish().unwrap().inputs.remove(0)
    });

    let mut counts = vec![0; floats::COUNT];
    for &value in values {
        let single = value as f32;
        let slot = if datatype == DataType::Fp32 {
            crate::sketch::ColumnLayout::LogLinear.slot_f32(single)
        } else {
            floats::slot(value)
        };
        counts[slot] += 1;
    }
    let learned = LearnedColumn { spec: spec(datatype), counts, critical: false };
    let learned = learn(&[learned], values.len() as u64).unwrap().inputs.remove(0);
    [built, codes.unwrap(), learned]
}

#[test]
fn any_column_is_judged_against_any_other() {
    let rule = Rule::default();
    for datatype in [DataType::Fp32, DataType::Fp64] {
        for (name, values) in samples() {
            for column in references(&values, datatype) {
                let reference = column.reference();
                for (live_name, live) in samples() {
                    let (counts, sums) = recorded(&column, datatype, &live);
                    let found = judge_column(Some(&reference), &Live { counts: &counts, sums }, &rule);
                    let what = format!("{live_name} against {name}, {:?}: {found:?}", column.kind);
                    assert_eq!(found.samples, live.len() as u64, "{what}");
                    assert_eq!(found.distances.is_some(), !values.is_empty() && !live.is_empty(), "{what}");
                    for number in
                        found.distances.iter().flat_map(|d| [Some(d.psi), d.ks, Some(d.js), d.wasserstein, Some(d.tv)])
                    {
                        assert!(number.is_none_or(|number| number.is_finite() && number >= 0.0), "{what}");
                    }
                    assert!(found.excess.is_none_or(f64::is_finite), "{what}");
                    let expected = match (values.is_empty(), live.is_empty()) {
                        (true, _) => Verdict::NoReference,
                        (_, true) => Verdict::NotEnoughData,
                        _ if name == live_name => Verdict::Ok,
                        _ => found.verdict,
                    };
                    assert_eq!(found.verdict, expected, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_column_that_goes_missing_or_infinite_or_comes_alive_has_drifted() {
    let rule = Rule::default();
    let samples = samples();
    let values = |wanted: &str| samples.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    for (before, after) in [
        ("constant", "missing"),
        ("ordinary", "missing"),
        ("ordinary", "infinite"),
        ("missing", "constant"),
        ("infinite", "ordinary"),
        ("zero", "constant"),
        ("constant", "constant or missing"),
        ("constant or missing", "constant"),
    ] {
        for column in references(&values(before), DataType::Fp32) {
            let (counts, sums) = recorded(&column, DataType::Fp32, &values(after));
            let found = judge_column(Some(&column.reference()), &Live { counts: &counts, sums }, &rule);
            assert_eq!(found.verdict, Verdict::Drift, "{before} to {after}, {:?}: {found:?}", column.kind);
        }
    }
}
