//! What holds of any traffic: what is an event, and that counts are those of all workers together.

use super::tests::{SHARE, events, floats, key, plan, row, signature, trial, words};
use super::*;
use proptest::prelude::*;

/// A request of a random traffic: version, hash of a key, what became of it.
fn traffic() -> impl Strategy<Value = Vec<(u64, Option<u64>, u8, f32)>> {
    let value = prop_oneof![8 => 0.0_f32..1.0, 1 => Just(f32::NAN), 1 => Just(3.0)];
    prop::collection::vec((1..=3_u64, prop::option::of(0..40_u64), 0..6_u8, value), 0..120)
}

fn run(trial: &Trial, worker: usize, (version, key_number, end, value): (u64, Option<u64>, u8, f32)) {
    let evidence = match key_number {
        Some(number) => key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        None => row(u64::MAX),
    };
    let Some(entrant) = trial.enter(version, evidence) else { return };
    let outputs = [floats(2, &[value, 0.5]), words(&["no"])];
    let findings = if end == 0 {
        trial.look(worker, &entrant, (&signature(), &[floats(1, &[0.0])]), &outputs)
    } else {
        Findings::default()
    };
    let outcomes = [
        Outcome::Predicted,
        Outcome::Failed { panicked: false },
        Outcome::Refused,
        Outcome::Overdue,
        Outcome::TurnedAway,
        Outcome::Unanswered,
    ];
    trial.count(worker, &entrant, (outcomes[usize::from(end)], findings), u64::from(end) * 1_000_000);
}

/// Takes the sums of all arms out, whose last digits depend on the order in which they were made.
fn sums(counts: &mut TrialCounts) -> Vec<ValueSums> {
    let arms = counts.segments.iter_mut().flat_map(|segment| [&mut segment.canary, &mut segment.stable]);
    arms.flat_map(|arm| std::mem::take(&mut arm.values)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn which_requests_are_events_does_not_depend_on_how_any_of_them_ends(requests in traffic(), ends in prop::collection::vec(0..6_u8, 120)) {
        let (as_it_was, otherwise) = (trial(SHARE), trial(SHARE));
        for (index, request) in requests.into_iter().enumerate() {
            run(&as_it_was, 0, request);
            run(&otherwise, 0, (request.0, request.1, ends[index], 1.0 - request.3));
        }
        prop_assert_eq!(events(&as_it_was), events(&otherwise));
    }

    #[test]
    fn however_requests_are_spread_over_workers_the_counts_are_the_same(requests in traffic(), workers in prop::collection::vec(0..4_usize, 120)) {
        let plan = plan();
        let (spread, alone) = (Trial::new(Arc::clone(&plan), SHARE, 4), Trial::new(plan, SHARE, 1));
        for (index, request) in requests.into_iter().enumerate() {
            run(&spread, workers[index], request);
            run(&alone, 0, request);
        }
        let (mut spread_counts, mut alone_counts) = (spread.counts(), alone.counts());
        for (spread, alone) in sums(&mut spread_counts).into_iter().zip(sums(&mut alone_counts)) {
            prop_assert_eq!(spread.count, alone.count);
            let is_near = |one: f64, other: f64| (one - other).abs() <= 1e-12 * (1.0 + other.abs());
            prop_assert!(is_near(spread.sum, alone.sum) && is_near(spread.squares, alone.squares), "{spread:?} {alone:?}");
            prop_assert!(is_near(spread.cubes, alone.cubes), "{spread:?} {alone:?}");
        }
        prop_assert_eq!(spread_counts, alone_counts);
        prop_assert_eq!(spread.guards(), alone.counts().guards);
    }

    #[test]
    fn tallies_add_up(requests in traffic()) {
        let trial = trial(SHARE);
        requests.iter().for_each(|request| run(&trial, 0, *request));
        let counts = trial.counts();
        for arm in counts.segments.iter().flat_map(|segment| [&segment.canary, &segment.stable]) {
            let predicted = arm.outputs[0].iter().sum::<u64>();
            prop_assert!(arm.outputs.iter().all(|cells| cells.iter().sum::<u64>() == predicted));
            prop_assert!(arm.values[..2].iter().all(|sums| sums.count <= predicted));
            prop_assert_eq!((arm.values[1].count, arm.values[2]), (predicted, ValueSums::default()), "a word is no number");
            prop_assert!(arm.defects <= predicted && arm.errors + arm.refusals + predicted <= arm.events);
            prop_assert!(arm.latency.iter().sum::<u64>() <= arm.events - arm.refusals);
        }
        for tally in counts.guards.canary.iter().chain(&counts.guards.stable) {
            prop_assert!([tally.errors, tally.broken, tally.non_finite, tally.slow].iter().all(|count| *count <= tally.answers));
        }
        let text = serde_json::to_string(&counts).unwrap();
        prop_assert_eq!(serde_json::from_str::<TrialCounts>(&text).unwrap(), counts);
    }
}
