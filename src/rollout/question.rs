//! What a test with fixed shares has found so far: an effect, and an interval that may be looked at at any time.
//!
//! Whoever looks at an ordinary 95 % interval every day will one day see it miss. These are confidence sequences: with a
//! probability of 95 % they hold the truth at all times at once, so that a test can end when the answer is clear, or go on.
//!
//! | question | effect, and its unit | interval |
//! |---|---|---|
//! | `errors` | difference of the shares of events that are failures of ours | exact: of each arm the rates that the beta-binomial mixture has not refuted, at half of 5 % each (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021) |
//! | `latency` | difference of the shares of durations beyond the edge nearest to the 90th percentile that stable had when the test began; the unit names it | the same |
//! | `output/<column>` | difference of the means of the column, in its own unit | asymptotic: normal mixture with estimated variances (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", 2021, theorem 2.2) |
//!
//! # Means
//! They are of what was added up, one row of each event that was answered, and so the difference is that of the answers'
//! own numbers, however little they were moved; no cells are between. Of a label that is a number it is the mean of that
//! number, which for 0 and 1 is the share of ones. Strings have none, and are no question. What is no number (NaN,
//! infinite, missing) is in no mean: how many values each arm has is in the answer.
//!
//! There is an interval once a mean is nearly normal: from 100 values of each arm on, and from 25 times the square of the
//! skewness on (Cochran, "Sampling Techniques", 1977, 2.15). Of a label that is a one in a hundred answers that is some
//! 2,500, and while all of an arm's values are the same there is none, since nothing tells how seldom another one is.
//!
//! The exact ones hold where an arm's rate does not change, the asymptotic ones for the mean of what it was. Events are
//! those of a rollout's evidence, so heavy users count once; only those at the present share are taken, because arms of
//! different mixtures of hours differ without cause. The layout of a test must not discount the canary's durations.
//!
//! Invariant: an interval holds its effect, and both are finite.

use super::judging::{add_arm, beyond, errors};
use super::{OrderError, TestArm, TestPlan, TestView};
use crate::detect::Interval;
use crate::detect::two_arm::Effect;
use crate::observe::trial::{ArmTally, TrialCounts, TrialLayout, ValueSums};
use statrs::function::beta::ln_beta;
use std::time::Duration;

/// Probability that an interval holds the truth at all times at once.
const CONFIDENCE: f64 = 0.95;
/// The share of durations beyond the edge that is asked about.
const BEYOND: f64 = 0.1;
/// Both parameters of the beta prior: Jeffreys'.
const PRIOR: f64 = 0.5;
/// Events of both arms at which the interval of a mean is narrowest for what it is.
const TUNED_FOR: f64 = 2000.0;
/// Values of an arm from which on a mean may be nearly normal.
const ENOUGH: f64 = 100.0;
/// Times the square of the skewness: values from which on it is.
const ENOUGH_OF_SKEWED: f64 = 25.0;
/// What rounding of sums may make of a variance of nothing, for each value and as a part of the mean square.
const ROUNDING: f64 = 2.0 * f64::EPSILON;
/// Halvings of a bracket: more than a double has digits.
const HALVINGS: usize = 60;

/// The answer to a test's question from the counts at its shares, the present one last; no effect while an arm has too
/// little.
///
/// # Errors
/// [`OrderError::Invalid`] for a question that is none, or of a column that the layout has not or that is no number.
pub fn answer(test: &TestPlan, layout: &TrialLayout, counts: &[TrialCounts]) -> Result<TestView, OrderError> {
    let (canary, stable) = arms(counts);
    let (asked, unit) = asked(&test.question, layout)?;
    let by_rates = |rate: &dyn Fn(&ArmTally) -> (u64, u64)| {
        let (canary, stable) = (rate(&canary), rate(&stable));
        (rates(canary, stable), arm_of_rate(canary), arm_of_rate(stable))
    };
    let (effect, canary_arm, stable_arm) = match asked {
        Asked::Errors => by_rates(&errors),
        Asked::Beyond(edge) => by_rates(&|tally| beyond(tally, edge)),
        Asked::Mean { column, origin } => {
            let sums = |tally: &ArmTally| tally.values.get(column).copied().unwrap_or_default();
            let (canary, stable) = (sums(&canary), sums(&stable));
            (means(&canary, &stable), arm_of_sums(&canary, origin), arm_of_sums(&stable, origin))
        }
    };
    Ok(TestView {
        question: test.question.clone(),
        unit,
        effect,
        confidence: CONFIDENCE,
        canary: canary.events,
        stable: stable.events,
        canary_arm: Some(canary_arm),
        stable_arm: Some(stable_arm),
    })
}

/// What is asked.
enum Asked {
    Errors,
    /// The share of durations beyond an edge of the layout.
    Beyond(usize),
    /// The mean of a column of the layout's outputs, whose values are counted from an origin.
    Mean {
        column: usize,
        origin: f64,
    },
}

/// What is asked, and the unit of its answer.
fn asked(question: &str, layout: &TrialLayout) -> Result<(Asked, String), OrderError> {
    let invalid = |text: String| OrderError::Invalid(text);
    match question.split_once('/') {
        None if question == "errors" => Ok((Asked::Errors, "share of requests that failed".to_owned())),
        None if question == "latency" => {
            let far = |share: &f64| (share - BEYOND).abs();
            let edges = layout.latency_beyond.iter().zip(&layout.latency_edges).enumerate();
            let nearest = edges.min_by(|(_, (first, _)), (_, (second, _))| far(first).total_cmp(&far(second)));
            let none = || invalid("durations of this model are not counted".to_owned());
            let (edge, (_, nanoseconds)) = nearest.ok_or_else(none)?;
            let unit = format!("share of requests that took longer than {:?}", Duration::from_nanos(*nanoseconds));
            Ok((Asked::Beyond(edge), unit))
        }
        Some(("output", name)) => {
            let names = || layout.outputs.iter().map(|cells| cells.name.as_str());
            let unknown = || {
                let known = names().collect::<Vec<_>>().join(", ");
                invalid(format!("no column \"{name}\" of the outputs is counted, only: {known}"))
            };
            let column = names().position(|known| known == name).ok_or_else(unknown)?;
            let no_number = || invalid(format!("the column \"{name}\" of the outputs has no numbers, and so no mean"));
            let origin = layout.outputs[column].origin().ok_or_else(no_number)?;
            Ok((Asked::Mean { column, origin }, format!("mean of output/{name}")))
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

fn arm_of_rate((events, trials): (u64, u64)) -> TestArm {
    TestArm { mean: (trials > 0).then(|| events as f64 / trials as f64), values: trials }
}

fn arm_of_sums(sums: &ValueSums, origin: f64) -> TestArm {
    TestArm { mean: (sums.count > 0).then(|| origin + sums.sum / sums.count as f64), values: sums.count }
}

/// The difference of two means. What values are counted from is the same in both and falls out.
fn means(canary: &ValueSums, stable: &ValueSums) -> Option<Effect> {
    let ((n, mean, variance), (m, other_mean, other_variance)) = (moments(canary)?, moments(stable)?);
    let value = mean - other_mean;
    let (events, log) = (n + m, -2.0 * (1.0 - CONFIDENCE).ln());
    let spread = (log + log.ln_1p()) / TUNED_FOR * events + 1.0;
    let width = 2.0 * spread / (spread - 1.0) * (spread.sqrt() / (1.0 - CONFIDENCE)).ln();
    let reach = ((variance / n + other_variance / m) * width).sqrt();
    Some(Effect { value, interval: Interval { low: value - reach, high: value + reach } })
}

/// Count, mean from the origin and variance of one arm's values; none while their mean is not nearly normal.
fn moments(sums: &ValueSums) -> Option<(f64, f64, f64)> {
    let count = sums.count as f64;
    let (mean, square, cube) = (sums.sum / count, sums.squares / count, sums.cubes / count);
    let variance = square - mean * mean;
    let skewness = (cube - 3.0 * mean * square + 2.0 * mean.powi(3)) / variance.powf(1.5);
    let is_nearly_normal = count >= ENOUGH.max(ENOUGH_OF_SKEWED * skewness * skewness);
    (variance > ROUNDING * count * square && is_nearly_normal).then(|| (count, mean, variance * count / (count - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trial::{OutputCells, TrialSegment};
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    const WEIGHT: f64 = 0.3;
    const CENTER: f64 = 3.0;

    fn layout() -> TrialLayout {
        let column = |name: &str, center| OutputCells { name: name.to_owned(), center, ..OutputCells::default() };
        TrialLayout {
            latency_edges: vec![1_000, 2_500_000, 3_000_000],
            latency_beyond: vec![0.5, 0.11, 0.01],
            latency_ratio: 1.0,
            outputs: vec![column("word", None), column("score", Some(CENTER))],
            ..TrialLayout::default()
        }
    }

    fn ask(question: &str, segment: &TrialSegment) -> TestView {
        let test = TestPlan { weight: 100.0 * WEIGHT, question: question.to_owned() };
        let counts = TrialCounts { segments: vec![segment.clone()], ..TrialCounts::default() };
        answer(&test, &layout(), &[counts]).unwrap()
    }

    fn empty() -> TrialSegment {
        let mut segment = TrialSegment { weight: WEIGHT, ..TrialSegment::default() };
        for arm in [&mut segment.canary, &mut segment.stable] {
            (arm.latency, arm.values) = (vec![0; 4], vec![ValueSums::default(); 2]);
        }
        segment
    }

    fn add(arm: &mut ArmTally, value: f64) {
        let by = value - CENTER;
        arm.values[1].merge(&ValueSums { count: 1, sum: by, squares: by * by, cubes: by * by * by });
    }

    /// How many of the runs' intervals ever miss the truth, looking at every so many events.
    fn missed(question: &str, runs: u64, truth: f64, count: impl Fn(&mut StdRng, bool, &mut ArmTally)) -> usize {
        (0..runs)
            .filter(|&run| {
                let (mut random, mut segment) = (StdRng::seed_from_u64(run), empty());
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
        // The canary's is higher by one hundredth, and spread wider by another with four in ten.
        let by_mean = missed("output/score", runs, 0.014, |random, is_canary, arm| {
            let skewed = random.random::<f64>() * random.random::<f64>();
            let more = if is_canary { 0.01 + 0.01 * f64::from(u8::from(random.random_bool(0.4))) } else { 0.0 };
            add(arm, skewed + more);
        });
        // Exponential: a skewness of 2.
        let by_long_tail = missed("output/score", runs, -0.5, |random, is_canary, arm| {
            add(arm, -(1.0 - random.random::<f64>()).ln() * if is_canary { 0.5 } else { 1.0 });
        });
        // A label that is seldom one. With an interval from 100 values on, all the same or not, a third of the tests of the rarer
        // one would miss.
        let label = |random: &mut StdRng, rate: f64| f64::from(u8::from(random.random_bool(rate)));
        let by_label = missed("output/score", runs, 0.02, |random, is_canary, arm| {
            add(arm, label(random, if is_canary { 0.06 } else { 0.04 }));
        });
        let by_rare_label = missed("output/score", runs, 0.003, |random, is_canary, arm| {
            add(arm, label(random, if is_canary { 0.006 } else { 0.003 }));
        });
        let all = [by_errors, by_latency, by_mean, by_long_tail, by_label, by_rare_label];
        println!("{runs} tests of 4,000 events, 160 looks each: missed {all:?} times");
        // One in twenty may; 10 are expected at most, 19 and more have a chance below 1 %.
        assert!(all.iter().all(|missed| *missed <= 18), "{all:?}");
    }

    /// A shift that no cell would show, far from zero: the effect is the difference of the means, to rounding.
    #[test]
    fn the_effect_on_an_output_is_the_difference_of_the_means_in_its_own_unit() {
        // Three parts: one at another share, which is not looked at, and two at this one.
        let (mut random, mut segments) = (StdRng::seed_from_u64(1), [empty(), empty(), empty()]);
        let mut values = [Vec::new(), Vec::new()];
        for event in 0..4_500 {
            let (part, is_canary) = (event / 1_500, event % 3 == 0);
            let value = CENTER + 1e-4 * random.random::<f64>() + if is_canary { 2e-5 } else { 0.0 };
            let segment = &mut segments[part];
            let arm = if is_canary { &mut segment.canary } else { &mut segment.stable };
            arm.events += 1;
            add(arm, value);
            if part > 0 {
                values[usize::from(!is_canary)].push(value);
            }
        }
        segments[0].weight = WEIGHT / 2.0;
        let counts = segments.map(|segment| TrialCounts { segments: vec![segment], ..TrialCounts::default() });
        let test = TestPlan { weight: 100.0 * WEIGHT, question: "output/score".to_owned() };
        let view = answer(&test, &layout(), &counts).unwrap();
        let [canary, stable] = values.map(|values| values.iter().sum::<f64>() / values.len() as f64);
        let effect = view.effect.unwrap();
        assert!((effect.value - (canary - stable)).abs() < 1e-13, "{effect:?}");
        assert!(effect.interval.low > 1e-5 && effect.interval.high < 3e-5, "{effect:?}");
        assert_eq!(view.unit, "mean of output/score");
        let arms = [(view.canary_arm.unwrap(), canary, 1_000), (view.stable_arm.unwrap(), stable, 2_000)];
        for (arm, mean, count) in arms {
            assert!((arm.mean.unwrap() - mean).abs() < 1e-12 && arm.values == count, "{arm:?}, not {mean}");
        }
    }

    #[test]
    fn without_a_mean_that_is_nearly_normal_there_is_no_interval_and_the_arms_are_shown() {
        let (mut segment, mut random) = (empty(), StdRng::seed_from_u64(2));
        let values = |count: u64, segment: &mut TrialSegment, value: &mut dyn FnMut() -> f64| {
            for _ in 0..count {
                [&mut segment.canary, &mut segment.stable].into_iter().for_each(|arm| add(arm, value()));
            }
            ask("output/score", segment)
        };
        let view = values(99, &mut segment, &mut || random.random());
        assert!(view.effect.is_none() && view.canary_arm.unwrap().mean.is_some());
        assert!(values(1, &mut segment, &mut || random.random()).effect.is_some());
        let view = values(10_000, &mut empty(), &mut || 0.1);
        assert!(view.effect.is_none(), "all values are the same: {view:?}");
        assert!((view.stable_arm.unwrap().mean.unwrap() - 0.1).abs() < 1e-12);
        // One of a hundred is one: the skewness is 9.85, so that 2,426 are wanted.
        let (mut segment, mut count) = (empty(), 0);
        let mut seldom = || {
            count += 1;
            if count % 200 < 2 { 1.0 } else { 0.0 }
        };
        assert!(values(2_400, &mut segment, &mut seldom).effect.is_none());
        assert!(values(100, &mut segment, &mut seldom).effect.is_some());
    }

    #[test]
    fn a_clear_difference_is_outside_of_nothing() {
        let arm =
            |events: u64, errors: u64| ArmTally { events, errors, latency: vec![events, 0, 0, 0], ..empty().canary };
        let segment = TrialSegment { weight: WEIGHT, canary: arm(30_000, 900), stable: arm(70_000, 700), keyed: false };
        let view = ask("errors", &segment);
        let effect = view.effect.unwrap();
        assert!((effect.value - 0.02).abs() < 1e-12 && effect.interval.low > 0.012 && effect.interval.high < 0.028);
        assert_eq!((view.unit.as_str(), view.canary_arm.unwrap().values), ("share of requests that failed", 30_000));
        assert_eq!(ask("latency", &segment).unit, "share of requests that took longer than 2.5ms");
        assert_eq!(ask("errors", &empty()).effect, None);
    }

    #[test]
    fn a_question_that_is_none_is_refused() {
        for question in ["", "error", "output/", "output/other", "output/word", "latency/p99"] {
            let test = TestPlan { weight: 10.0, question: question.to_owned() };
            let found = answer(&test, &layout(), &[]);
            assert!(matches!(found, Err(OrderError::Invalid(_))), "{question}: {found:?}");
        }
    }

    #[test]
    fn of_counts_that_were_not_added_up_there_is_no_mean() {
        let arm = || ArmTally { events: 500, outputs: vec![vec![500], vec![500]], ..ArmTally::default() };
        let segment = TrialSegment { weight: WEIGHT, canary: arm(), stable: arm(), keyed: false };
        let view = ask("output/score", &segment);
        assert_eq!((view.effect, view.canary, view.canary_arm.unwrap().values), (None, 500, 0));
    }
}
