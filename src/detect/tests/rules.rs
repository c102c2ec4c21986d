//! Which test a rule takes, and what it says of easy and of degenerate columns.

use super::{column, normal, record};
use crate::detect::{ColumnVerdict, Rule, Test, Verdict, judge_column, judge_version_by_share};
use crate::profile::Column;
use crate::sketch::{Live, Reference};

fn judge(reference: &[f64], live: &[f64], rule: Rule) -> ColumnVerdict {
    judge_on(&column(reference, 64), live, rule)
}

fn judge_on(column: &Column, live: &[f64], rule: Rule) -> ColumnVerdict {
    let (counts, sums) = record(column, live);
    judge_column(Some(&column.reference()), &Live { counts: &counts, sums }, &rule)
}

const CLASSIC: Rule = Rule::Classic { min_samples: 200 };
const EVIDENTLY: Rule = Rule::Evidently { min_samples: 1 };

fn cycle(values: &[f64], count: usize) -> Vec<f64> {
    values.iter().copied().cycle().take(count).collect()
}

fn test_of(reference: &[f64], live: &[f64]) -> Test {
    judge(reference, live, EVIDENTLY).outcome.unwrap().test
}

#[test]
fn evidently_chooses_by_rows_of_the_reference_and_by_different_values() {
    assert_eq!(test_of(&normal(1, 1000), &normal(2, 300)), Test::Ks);
    assert_eq!(test_of(&normal(1, 1001), &normal(2, 300)), Test::Wasserstein);
    for (values, small) in [(&[1.0, 2.0][..], Test::Proportions), (&[1.0, 2.0, 3.0], Test::ChiSquare)] {
        assert_eq!(test_of(&cycle(values, 1000), &cycle(values, 300)), small);
        assert_eq!(test_of(&cycle(values, 1002), &cycle(values, 300)), Test::JensenShannon);
    }
    // A third value that only the window has counts as one.
    assert_eq!(test_of(&cycle(&[1.0, 2.0], 500), &cycle(&[1.0, 2.0, 3.0], 300)), Test::ChiSquare);
    assert_eq!(test_of(&cycle(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 600), &cycle(&[1.0], 300)), Test::Ks);
    // Rows without a value make no reference large.
    let mut mostly_missing = normal(3, 900);
    mostly_missing.extend([f64::NAN; 400]);
    mostly_missing.extend([f64::INFINITY; 400]);
    assert_eq!(test_of(&mostly_missing, &normal(4, 300)), Test::Ks);
}

#[test]
fn evidently_leaves_missing_and_infinite_values_out() {
    let values = normal(5, 3000);
    let mut live = values.clone();
    live.extend([f64::NAN; 3000]);
    let found = judge(&values, &live, EVIDENTLY);
    assert_eq!(found.verdict, Verdict::Ok);
    assert!(found.outcome.unwrap().statistic < 1e-6);
    assert_eq!(judge(&values, &[f64::NAN; 500], EVIDENTLY).verdict, Verdict::NotEnoughData);
    assert_eq!(judge(&[f64::NAN; 500], &values, EVIDENTLY).verdict, Verdict::NotEnoughData);
}

#[test]
fn evidently_on_constant_columns() {
    for (rows, test) in [(500, Test::Proportions), (5000, Test::JensenShannon)] {
        let same = judge(&vec![4.0; rows], &[4.0; 300], EVIDENTLY);
        assert_eq!((same.verdict, same.outcome.unwrap().test), (Verdict::Ok, test));
        assert_eq!(judge(&vec![4.0; rows], &[5.0; 300], EVIDENTLY).verdict, Verdict::Drift);
    }
}

#[test]
fn classic_needs_both_a_large_psi_and_a_small_p() {
    let reference = normal(6, 5000);
    let shifted = |seed, count, shift: f64| normal(seed, count).iter().map(|x| x + shift).collect::<Vec<_>>();
    let far = judge(&reference, &shifted(7, 1000, 0.8), CLASSIC);
    assert_eq!((far.verdict, far.outcome.unwrap().test), (Verdict::Drift, Test::PsiAndKs));
    // Significant, and too small to matter.
    let small = judge(&reference, &shifted(8, 20_000, 0.15), CLASSIC);
    assert!(small.outcome.unwrap().p_value.unwrap() < 1e-6);
    assert_eq!(small.verdict, Verdict::Ok);
    assert_eq!(judge(&reference, &shifted(9, 199, 2.0), CLASSIC).verdict, Verdict::NotEnoughData);
    let vanished = judge(&reference, &[f64::NAN; 300], CLASSIC);
    assert_eq!((vanished.verdict, vanished.outcome.unwrap().test), (Verdict::Drift, Test::PsiAndChiSquare));
}

#[test]
fn the_default_rule_is_psi_in_excess_of_chance() {
    let found = judge(&normal(10, 5000), &normal(11, 1000), Rule::default());
    let outcome = found.outcome.unwrap();
    assert_eq!((found.verdict, outcome.test), (Verdict::Ok, Test::ExcessPsi));
    assert_eq!((Some(outcome.statistic), outcome.threshold, outcome.p_value), (found.excess, 0.1, None));
}

#[test]
fn a_version_drifts_by_share_when_half_of_all_its_columns_do() {
    use Verdict::{Drift, NoReference, NotEnoughData, Ok};
    assert_eq!(judge_version_by_share(&[]), NoReference);
    assert_eq!(judge_version_by_share(&[NoReference]), NoReference);
    assert_eq!(judge_version_by_share(&[Drift, Ok]), Drift);
    assert_eq!(judge_version_by_share(&[Drift, Ok, Ok]), Ok);
    assert_eq!(judge_version_by_share(&[Drift, Ok, NoReference]), Drift);
    assert_eq!(judge_version_by_share(&[Drift, NotEnoughData, NotEnoughData]), NotEnoughData);
}

#[test]
fn distinct_values_are_known_where_each_has_a_counter() {
    let distinct = |values: &[f64]| column(values, 64).reference().distinct;
    assert_eq!(distinct(&cycle(&[1.0, 2.0, 5.5], 90)), Some(3));
    assert_eq!(distinct(&[4.0; 10]), Some(1));
    assert_eq!(distinct(&normal(12, 5000)), None);
    let Reference { rows, categorical, .. } = column(&[1.0, f64::NAN, 2.0], 64).reference();
    assert_eq!((rows, categorical), (3, false));
}
