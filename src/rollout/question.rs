//! What a test with fixed shares has found so far: an effect, and an interval that may be looked at at any time.
//!
//! Whoever looks at an ordinary 95 % interval every day will one day see it miss. These are confidence sequences: with a
//! probability of 95 % they hold the truth at all times at once, so that a test can end when the answer is clear, or go on.
//!
//! | question | effect | interval |
//! |---|---|---|
//! | `errors` | difference of the shares of events that are failures of ours | exact: of each arm the rates that the beta-binomial mixture has not refuted, at half of 5 % each (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021) |
//! | `latency` | difference of the shares of durations beyond the edge nearest to the 90th percentile that stable had when the test began | the same |
//! | `output/<column>` | difference of the means of the column, by cells: each counts as its `values` says, or, where the layout has none, as its middle rank among what is expected, from 0 to 1 | asymptotic: normal mixture with estimated variances (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", 2021, theorem 2.2), from 100 events of each arm on |
//!
//! The exact ones hold where an arm's rate does not change, the asymptotic ones for the mean of what it was. Events are
//! those of a rollout's evidence, so heavy users count once; only those at the present share are taken, because arms of
//! different mixtures of hours differ without cause. The layout of a test must not discount the canary's durations.
//!
//! Invariant: an interval holds its effect, and both are finite.

use super::judging::{add_arm, beyond, errors, output};
use super::{OrderError, TestPlan, TestView};
use crate::detect::Interval;
use crate::detect::two_arm::Effect;
use crate::observe::trial::{ArmTally, OutputCells, TrialCounts, TrialLayout};
use statrs::function::beta::ln_beta;

/// Probability that an interval holds the truth at all times at once.
const CONFIDENCE: f64 = 0.95;
/// The share of durations beyond the edge that is asked about.
const BEYOND: f64 = 0.1;
/// Both parameters of the beta prior: Jeffreys'.
const PRIOR: f64 = 0.5;
/// Events of both arms at which the interval of a mean is narrowest for what it is.
const TUNED_FOR: f64 = 2000.0;
/// Events of an arm from which on means are taken as nearly normal.
const ENOUGH: u64 = 100;
/// Halvings of a bracket: more than a double has digits.
const HALVINGS: usize = 60;

/// The answer to a test's question from the counts at its shares, the present one last; no effect while an arm has too
/// little.
///
/// # Errors
/// [`OrderError::Invalid`] for a question that is none, or of a column that the layout has not.
pub fn answer(test: &TestPlan, layout: &TrialLayout, counts: &[TrialCounts]) -> Result<TestView, OrderError> {
    let (canary, stable) = arms(counts);
    let effect = match asked(&test.question, layout)? {
        Asked::Errors => rates(errors(&canary), errors(&stable)),
        Asked::Beyond(edge) => rates(beyond(&canary, edge), beyond(&stable, edge)),
        Asked::Output(column) => {
            let values = values(&layout.outputs[column]);
            means((output(&canary, column), output(&stable, column)), &values)
        }
    };
    Ok(TestView {
        question: test.question.clone(),
        effect,
        confidence: CONFIDENCE,
        canary: canary.events,
        stable: stable.events,
    })
}

/// What is asked.
enum Asked {
    Errors,
    /// The share of durations beyond an edge of the layout.
    Beyond(usize),
    /// The mean of a column of the layout's outputs.
    Output(usize),
}

fn asked(question: &str, layout: &TrialLayout) -> Result<Asked, OrderError> {
    let invalid = |text: String| OrderError::Invalid(text);
    match question.split_once('/') {
        None if question == "errors" => Ok(Asked::Errors),
        None if question == "latency" => {
            let far = |share: &f64| (share - BEYOND).abs();
            let edges = layout.latency_beyond.iter().take(layout.latency_edges.len()).enumerate();
            let nearest = edges.min_by(|(_, first), (_, second)| far(first).total_cmp(&far(second)));
            let none = || invalid("durations of this model are not counted".to_owned());
            nearest.map(|(edge, _)| Asked::Beyond(edge)).ok_or_else(none)
        }
        Some(("output", name)) => {
            let names = || layout.outputs.iter().map(|cells| cells.name.as_str());
            let unknown = || {
                let known = names().collect::<Vec<_>>().join(", ");
                invalid(format!("no column \"{name}\" of the outputs is counted, only: {known}"))
            };
            names().position(|known| known == name).map(Asked::Output).ok_or_else(unknown)
        }
        _ => Err(invalid(format!("expected \"errors\", \"latency\" or \"output/<column>\", found \"{question}\""))),
    }
}

/// Both arms' events at the present share.
fn arms(counts: &[TrialCounts]) -> (ArmTally, ArmTally) {
    let (mut canary, mut stable) = (ArmTally::default(), ArmTally::default());
    let segments = || counts.iter().flat_map(|counts| &counts.segments);
    let present = segments().last().map(|segment| segment.weight.to_bits());
    for segment in segments().filter(|segment| Some(segment.weight.to_bits()) == present) {
        add_arm(&mut canary, &segment.canary);
        add_arm(&mut stable, &segment.stable);
    }
    (canary, stable)
}

/// The difference of two rates, each of events among trials.
fn rates(canary: (u64, u64), stable: (u64, u64)) -> Option<Effect> {
    let (canary, stable) = (rate(canary)?, rate(stable)?);
    let interval =
        Interval { low: canary.interval.low - stable.interval.high, high: canary.interval.high - stable.interval.low };
    Some(Effect { value: canary.value - stable.value, interval })
}

/// A rate, and the rates that are not refuted at half of what may be missed.
fn rate((events, trials): (u64, u64)) -> Option<Effect> {
    if trials == 0 {
        return None;
    }
    let (events, others) = (events.min(trials) as f64, trials.saturating_sub(events) as f64);
    let value = events / (events + others);
    let mixture = ln_beta(PRIOR + events, PRIOR + others) - ln_beta(PRIOR, PRIOR);
    let refuted = (2.0 / (1.0 - CONFIDENCE)).ln();
    let part = |count: f64, share: f64| if count > 0.0 { count * share.ln() } else { 0.0 };
    let is_refuted = |rate: f64| mixture - part(events, rate) - part(others, 1.0 - rate) >= refuted;
    let end = |end: f64| {
        if !is_refuted(end) {
            return end;
        }
        let (mut outside, mut inside) = (end, value);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(outside, inside);
            if is_refuted(middle) { outside = middle } else { inside = middle }
        }
        outside
    };
    Some(Effect { value, interval: Interval { low: end(0.0), high: end(1.0) } })
}

/// What an event in each of the ordered cells counts as.
fn values(cells: &OutputCells) -> Vec<f64> {
    if cells.values.len() == cells.ordered && cells.values.iter().all(|value| value.is_finite()) {
        return cells.values.clone();
    }
    let counts: Vec<f64> = cells.expected.iter().take(cells.ordered).map(|&count| count as f64).collect();
    let total: f64 = counts.iter().sum();
    let mut below = 0.0;
    let rank = |count: f64| {
        let middle = if total > 0.0 { (below + count / 2.0) / total } else { 0.5 };
        below += count;
        middle
    };
    counts.into_iter().map(rank).collect()
}

/// The difference of two means, by cells.
fn means((canary, stable): (&[u64], &[u64]), values: &[f64]) -> Option<Effect> {
    let ((n, mean, variance), (m, other_mean, other_variance)) = (moments(canary, values)?, moments(stable, values)?);
    let value = mean - other_mean;
    let (events, log) = (n + m, -2.0 * (1.0 - CONFIDENCE).ln());
    let spread = (log + log.ln_1p()) / TUNED_FOR * events + 1.0;
    let width = 2.0 * spread / (spread - 1.0) * (spread.sqrt() / (1.0 - CONFIDENCE)).ln();
    let reach = ((variance / n + other_variance / m) * width).sqrt();
    Some(Effect { value, interval: Interval { low: value - reach, high: value + reach } })
}

/// Count, mean and variance of one arm's cells; none of too few.
fn moments(counts: &[u64], values: &[f64]) -> Option<(f64, f64, f64)> {
    let pairs = || counts.iter().zip(values).map(|(&count, &value)| (count as f64, value));
    let rows = counts.iter().zip(values).fold(0_u64, |sum, (count, _)| sum.saturating_add(*count));
    let count = rows as f64;
    let mean = pairs().map(|(count, value)| count * value).sum::<f64>() / count;
    let squares = pairs().map(|(count, value)| count * (value - mean).powi(2)).sum::<f64>();
    (rows >= ENOUGH).then(|| (count, mean, squares / (count - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trial::TrialSegment;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    const WEIGHT: f64 = 0.3;
    const CELLS: usize = 8;

    fn layout() -> TrialLayout {
        TrialLayout {
            latency_edges: vec![1_000, 2_000, 3_000],
            latency_beyond: vec![0.5, 0.11, 0.01],
            latency_ratio: 1.0,
            outputs: vec![OutputCells {
                name: "score".to_owned(),
                expected: vec![100; CELLS],
                ordered: CELLS,
                values: (0..CELLS).map(|cell| cell as f64).collect(),
            }],
            ..TrialLayout::default()
        }
    }

    fn ask(question: &str, segment: &TrialSegment) -> TestView {
        let test = TestPlan { weight: 100.0 * WEIGHT, question: question.to_owned() };
        let counts = TrialCounts { segments: vec![segment.clone()], ..TrialCounts::default() };
        answer(&test, &layout(), &[counts]).unwrap()
    }

    /// How many of the runs' intervals ever miss the truth, looking at every so many events.
    fn missed(question: &str, runs: u64, truth: f64, count: impl Fn(&mut StdRng, bool, &mut ArmTally)) -> usize {
        (0..runs)
            .filter(|&run| {
                let mut random = StdRng::seed_from_u64(run);
                let mut segment = TrialSegment { weight: WEIGHT, ..TrialSegment::default() };
                for arm in [&mut segment.canary, &mut segment.stable] {
                    (arm.latency, arm.outputs) = (vec![0; 4], vec![vec![0; CELLS]]);
                }
                (0..4000).any(|event| {
                    let is_canary = random.random_bool(WEIGHT);
                    let arm = if is_canary { &mut segment.canary } else { &mut segment.stable };
                    arm.events += 1;
                    count(&mut random, is_canary, arm);
                    let look = event % 25 == 0;
                    look && ask(question, &segment)
                        .effect
                        .is_some_and(|effect| effect.interval.low > truth || effect.interval.high < truth)
                })
            })
            .count()
    }

    #[test]
    fn intervals_hold_the_truth_at_all_times_at_once_in_nineteen_of_twenty_tests() {
        let runs = 200;
        let by_errors = missed("errors", runs, 0.02, |random, is_canary, arm| {
            arm.errors += u64::from(random.random_bool(if is_canary { 0.03 } else { 0.01 }));
        });
        let by_latency = missed("latency", runs, 0.3, |random, is_canary, arm| {
            let is_slow = random.random_bool(if is_canary { 0.4 } else { 0.1 });
            arm.latency[if is_slow { 2 } else { 0 }] += 1;
        });
        let by_mean = missed("output/score", runs, 1.4, |random, is_canary, arm| {
            let skewed = random.random::<f64>() * random.random::<f64>() * (CELLS - 2) as f64;
            // The canary's is higher by one, and by another with four in ten.
            let more = if is_canary { 1 + usize::from(random.random_bool(0.4)) } else { 0 };
            arm.outputs[0][skewed as usize + more] += 1;
        });
        println!("{runs} tests of 4,000 events, 160 looks each: missed {by_errors} {by_latency} {by_mean} times");
        // One in twenty may; 10 are expected at most, 19 and more have a chance below 1 %.
        assert!(by_errors <= 18 && by_latency <= 18 && by_mean <= 18);
    }

    #[test]
    fn a_clear_difference_is_outside_of_nothing() {
        let arm = |events: u64, errors: u64| ArmTally {
            events,
            errors,
            latency: vec![events, 0, 0, 0],
            outputs: vec![vec![events / 8; CELLS]],
            ..ArmTally::default()
        };
        let segment = TrialSegment { weight: WEIGHT, canary: arm(30_000, 900), stable: arm(70_000, 700), keyed: false };
        let effect = ask("errors", &segment).effect.unwrap();
        assert!((effect.value - 0.02).abs() < 1e-12 && effect.interval.low > 0.012 && effect.interval.high < 0.028);
        let effect = ask("output/score", &segment).effect.unwrap();
        assert!(effect.value.abs() < 1e-12 && effect.interval.low < 0.0 && effect.interval.high < 0.1);
        assert_eq!(ask("errors", &TrialSegment { weight: WEIGHT, ..TrialSegment::default() }).effect, None);
    }

    #[test]
    fn a_question_that_is_none_is_refused() {
        for question in ["", "error", "output/", "output/other", "latency/p99"] {
            let test = TestPlan { weight: 10.0, question: question.to_owned() };
            let found = answer(&test, &layout(), &[]);
            assert!(matches!(found, Err(OrderError::Invalid(_))), "{question}: {found:?}");
        }
    }

    #[test]
    fn cells_without_values_count_as_their_middle_ranks() {
        let cells = OutputCells { expected: vec![100, 200, 100, 7], ordered: 3, ..OutputCells::default() };
        assert_eq!(values(&cells), [0.125, 0.5, 0.875]);
    }
}
