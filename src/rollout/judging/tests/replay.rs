//! A judgement can be made again from what was written down, to the bit, and nothing that is written down breaks it.

use super::super::{Frozen, JudgingPlan, judge_bake, judge_guards, judge_step};
use crate::config::RolloutSettings;
use crate::observe::trial::{
    ArmTally, GUARD_GROUPS, GuardSegment, GuardTally, HourReference, OutputCells, TrialCounts, TrialLayout,
    TrialSegment, ValueSums,
};
use crate::rollout::Judgement;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const CELLS: usize = 5;

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..50, 4 => 0_u64..100_000, 1 => any::<u64>()]
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..1.0, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(0.01)]
}

fn cells(most: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(count(), 0..=most)
}

fn arm() -> impl Strategy<Value = ArmTally> {
    let outputs = prop::collection::vec(cells(CELLS), 0..3);
    let values = prop::collection::vec(sums(), 0..3);
    (count(), count(), count(), count(), cells(4), outputs, values).prop_map(
        |(events, errors, refusals, defects, latency, outputs, values)| ArmTally {
            events,
            errors,
            refusals,
            defects,
            latency,
            outputs,
            values,
        },
    )
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -10.0..10.0, 1 => any::<f32>().prop_map(f64::from).prop_filter("finite", |value| value.is_finite())]
}

fn sums() -> impl Strategy<Value = ValueSums> {
    (count(), number(), number(), number()).prop_map(|(count, sum, squares, cubes)| ValueSums {
        count,
        sum,
        squares,
        cubes,
    })
}

fn tally() -> impl Strategy<Value = GuardTally> {
    let numbers = (count(), count(), count(), count(), count());
    numbers.prop_map(|(answers, errors, broken, non_finite, slow)| GuardTally {
        answers,
        errors,
        broken,
        non_finite,
        slow,
    })
}

fn guards() -> impl Strategy<Value = GuardSegment> {
    let groups = || prop::collection::vec(tally(), GUARD_GROUPS).prop_map(|groups| groups.try_into().unwrap());
    (weight(), groups(), groups()).prop_map(|(weight, canary, stable)| GuardSegment { weight, canary, stable })
}

fn counts() -> impl Strategy<Value = TrialCounts> {
    let segment = (weight(), any::<bool>(), arm(), arm());
    let segment = segment.prop_map(|(weight, keyed, canary, stable)| TrialSegment { weight, keyed, canary, stable });
    let hour = prop::option::of(prop::collection::vec(cells(CELLS), 0..3));
    let hour = hour.prop_map(|outputs| outputs.map(|outputs| HourReference { hour: 7, outputs }));
    (prop::collection::vec(segment, 0..3), guards(), hour).prop_map(|(segments, guards, hour)| TrialCounts {
        segments,
        guards,
        hour,
    })
}

fn plan() -> impl Strategy<Value = JudgingPlan> {
    let column = (cells(CELLS), 0..=CELLS, prop::option::of(number()));
    let column =
        column.prop_map(|(expected, ordered, center)| OutputCells { name: "a".to_owned(), expected, ordered, center });
    let beyond = prop::collection::vec(0.0..1.0, 3);
    let layout = (prop::collection::vec(column, 0..3), beyond, 0.0..1.0);
    (layout, 0.0001..0.2).prop_map(|((outputs, latency_beyond, expected_errors), rate)| {
        let layout = TrialLayout {
            latency_edges: vec![1, 2, 3],
            latency_beyond,
            outputs,
            expected_errors,
            ..TrialLayout::default()
        };
        JudgingPlan::new(&RolloutSettings { false_abort_rate: rate, ..RolloutSettings::default() }, layout)
    })
}

fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// The text of a judgement, in which floats are exact.
fn written(judgement: &Judgement) -> String {
    for metric in &judgement.metrics {
        assert!(metric.ln_evidence.is_finite() && metric.ln_threshold.is_finite() && metric.tolerance.is_finite());
        let effect = metric.effect.iter();
        effect.for_each(|effect| {
            assert!(effect.value.is_finite() && effect.interval.low <= effect.interval.high, "{metric:?}");
        });
    }
    assert_eq!(&again(judgement), judgement);
    serde_json::to_string(judgement).unwrap()
}

proptest! {
    #[test]
    fn what_was_written_down_gives_the_same_judgement_to_the_bit(
        plan in plan(),
        counts in prop::collection::vec(counts(), 0..4),
        guards in prop::collection::vec(guards(), 0..4),
        needed in 0_u64..1000,
    ) {
        let frozen = Frozen::of(&counts);
        let (plan_again, counts_again, frozen_again) = (again(&plan), again(&counts), again(&frozen));
        prop_assert_eq!(
            written(&judge_step(&plan, &counts, needed)),
            written(&judge_step(&plan_again, &counts_again, needed))
        );
        prop_assert_eq!(
            written(&judge_bake(&plan, &frozen, &counts)),
            written(&judge_bake(&plan_again, &frozen_again, &counts_again))
        );
        for frozen in [None, Some(&frozen)] {
            prop_assert_eq!(
                written(&judge_guards(&plan, &guards, frozen)),
                written(&judge_guards(&plan_again, &again(&guards), frozen.map(again).as_ref()))
            );
        }
    }
}

#[test]
fn what_was_written_down_before_hours_were_kept_apart_is_read() {
    let frozen = Frozen { stable: ArmTally { events: 7, ..ArmTally::default() }, ..Frozen::default() };
    let mut written = serde_json::to_value(&frozen).unwrap();
    written.as_object_mut().unwrap().insert("season".to_owned(), serde_json::Value::Null);
    assert_eq!(serde_json::from_value::<Frozen>(written).unwrap(), frozen);
    let counts = TrialCounts::default();
    let written = serde_json::to_value(&counts).unwrap();
    assert_eq!(written.as_object().unwrap().keys().collect::<Vec<_>>(), ["guards", "segments"]);
    assert_eq!(serde_json::from_value::<TrialCounts>(written).unwrap(), counts);
}
