//! Between which edges durations are counted: where the stable version's are thin, so that each edge says something.
//!
//! Invariant: edges grow, and there is at least one.

use crate::observe::{AnswerTotals, Phase};
use crate::sketch::log_linear::nanoseconds;

/// Which shares of the stable version's durations are to lie at or below an edge.
const QUANTILES: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
/// Durations that edges are made of, at least.
const ENOUGH: u64 = 200;
/// What is taken to lie beyond an edge where nothing is known.
const USUAL_BEYOND: f64 = 0.1;
/// How many times the stable version's 99th percentile is far too slow, where nothing else is said.
const FAR_TOO_SLOW: u64 = 10;
/// The longest edge where nothing is known, and what is then far too slow: 10 s.
const LONGEST: u64 = 10_000_000_000;

/// Edges of the latency cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LatencyEdges {
    /// Nanoseconds.
    pub(super) edges: Vec<u64>,
    /// Share of the stable version's durations beyond each.
    pub(super) beyond: Vec<f64>,
    /// What is far too slow by itself, nanoseconds.
    pub(super) limit: u64,
}

impl LatencyEdges {
    pub(super) fn of(answers: &AnswerTotals) -> Self {
        let counts = answers.durations(Phase::Total);
        let total: u64 = counts.iter().sum();
        if total < ENOUGH {
            return Self::usual();
        }
        let mut edges: Vec<u64> = QUANTILES.iter().map(|share| quantile(counts, total, *share)).collect();
        // What is longer than the last bin begins is counted in it, so that no edge may lie beyond.
        edges.iter_mut().for_each(|edge| *edge = (*edge).min(nanoseconds::lower(nanoseconds::COUNT - 1)));
        edges.dedup();
        let beyond = edges.iter().map(|edge| answers.over(Phase::Total, *edge).0 as f64 / total as f64).collect();
        Self { edges, beyond, limit: quantile(counts, total, 0.99).saturating_mul(FAR_TOO_SLOW) }
    }

    /// 1, 2, 5 times powers of ten, from 100 µs on.
    fn usual() -> Self {
        let edges: Vec<u64> = (2..=7)
            .flat_map(|power| [1, 2, 5].map(|part| part * 10_u64.pow(power) * 1_000))
            .take_while(|edge| *edge <= LONGEST)
            .collect();
        let beyond = vec![USUAL_BEYOND; edges.len()];
        Self { edges, beyond, limit: LONGEST }
    }
}

/// The longest duration of the bin that this share of durations ends in.
fn quantile(counts: &[u64], total: u64, share: f64) -> u64 {
    let wanted = (total as f64 * share).ceil() as u64;
    let mut below = 0;
    let bin = counts.iter().position(|count| {
        below += count;
        below >= wanted
    });
    nanoseconds::upper(bin.unwrap_or(counts.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Evidence, PHASES, Protocol, Recorder, StatusLabel};
    use crate::tensor::Signature;

    fn answers(durations: impl Iterator<Item = u64>) -> AnswerTotals {
        let recorder = Recorder::new(&Signature::default(), None, 4, 1);
        recorder.record_prediction(0, Evidence::None, &[], &[]);
        for duration in durations {
            let mut phases = [0; PHASES];
            phases[Phase::Total as usize] = duration;
            recorder.record_answer(0, (0, Protocol::OpenInference, StatusLabel::of(200)), &phases);
        }
        recorder.totals().answers
    }

    #[test]
    fn with_few_durations_the_scale_goes_from_100_microseconds_to_10_seconds() {
        let edges = LatencyEdges::of(&answers([1_000; 10].into_iter()));
        assert_eq!((edges.edges.len(), edges.edges[0], edges.edges[1]), (16, 100_000, 200_000));
        assert_eq!((edges.edges[15], edges.limit), (LONGEST, LONGEST));
        assert!(edges.edges.is_sorted() && edges.beyond.len() == 16);
    }

    #[test]
    fn edges_are_the_stable_versions_quantiles_and_say_what_is_beyond() {
        // Even in the logarithm, from 1 µs to 1 s.
        let duration = |step: u32| (1e3 * (f64::from(step) / 1e4 * 1e6_f64.ln()).exp()) as u64;
        let edges = LatencyEdges::of(&answers((1..=10_000).map(duration)));
        assert_eq!(edges.edges.len(), 6);
        for (found, wanted) in edges.beyond.iter().zip([0.5, 0.25, 0.1, 0.05, 0.01, 0.001]) {
            assert!(*found <= wanted && *found >= wanted - 0.005, "{found} beyond, about {wanted} expected");
        }
        let far_too_slow = duration(9_900) * 10;
        assert!(edges.limit >= far_too_slow && edges.limit < far_too_slow / 16 * 17, "{}", edges.limit);
    }

    #[test]
    fn durations_that_are_all_alike_make_one_edge() {
        let edges = LatencyEdges::of(&answers([5_000_000; 500].into_iter()));
        assert_eq!((edges.edges.len(), &edges.beyond), (1, &vec![0.0]));
        let endless = LatencyEdges::of(&answers([u64::MAX; 500].into_iter()));
        assert_eq!(endless.edges.len(), 1);
        assert!(endless.edges[0] < u64::MAX);
    }
}
