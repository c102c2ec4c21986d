//! Counts since promotion, those of each hour of the week apart.
//!
//! Counters only grow, and a counter says nothing of when. Whoever reads them a few times a second hands each reading on to
//! here with the reference of the present hour; what was gained belongs to the hour that was present at the reading before,
//! so that an hour has at most what was counted between two readings of the next. Hours that are not known are one.
//!
//! An hour that comes again a week later is the same hour: there are no more parts than the week has hours, and each is
//! judged by itself however long a version bakes.
//!
//! Invariant: the parts add up to what was read last; no two of them have the same hour.

use super::frozen::{add_gain, add_guards};
use super::history::less;
use crate::observe::trial::{GuardSegment, HourReference, TrialCounts, TrialSegment};

/// Counts since promotion, by hour.
#[derive(Clone, Debug, Default)]
pub struct HourHistory {
    parts: Vec<TrialCounts>,
    /// Where the present hour is among them.
    present: usize,
    /// The reading before.
    last: TrialCounts,
}

impl HourHistory {
    /// Takes a reading of the counters, all of them since counting began, and the reference of the present hour, if it has
    /// one. Answers the parts, in the order in which their hours first came.
    pub fn read(&mut self, counters: &TrialCounts, hour: Option<&HourReference>) -> &[TrialCounts] {
        if self.parts.is_empty() {
            self.turn_to(counters.guards.weight, hour);
        }
        let part = &mut self.parts[self.present];
        for segment in &counters.segments {
            let before = self.last.segments.iter().find(|before| before.keyed == segment.keyed);
            add_segment(part, segment, before.unwrap_or(&TrialSegment::default()));
        }
        let (guards, before) = (&counters.guards, &self.last.guards);
        add_guards(&mut part.guards.canary, &less(&guards.canary, &before.canary));
        add_guards(&mut part.guards.stable, &less(&guards.stable, &before.stable));
        self.last.clone_from(counters);
        if self.parts[self.present].hour.as_ref() != hour {
            self.turn_to(counters.guards.weight, hour);
        }
        &self.parts
    }

    fn turn_to(&mut self, weight: f64, hour: Option<&HourReference>) {
        let known = self.parts.iter().position(|part| part.hour.as_ref() == hour);
        self.present = known.unwrap_or_else(|| {
            let guards = GuardSegment { weight, ..GuardSegment::default() };
            self.parts.push(TrialCounts { guards, hour: hour.cloned(), ..TrialCounts::default() });
            self.parts.len() - 1
        });
    }
}

/// Adds what a segment gained to the part's of its kind.
fn add_segment(part: &mut TrialCounts, segment: &TrialSegment, before: &TrialSegment) {
    let has_gained = segment.canary != before.canary || segment.stable != before.stable;
    let place = part.segments.iter().position(|known| known.keyed == segment.keyed);
    if place.is_none() && !has_gained {
        return;
    }
    let place = place.unwrap_or_else(|| {
        part.segments.push(TrialSegment { weight: segment.weight, keyed: segment.keyed, ..TrialSegment::default() });
        part.segments.len() - 1
    });
    let known = &mut part.segments[place];
    add_gain(&mut known.canary, &segment.canary, &before.canary);
    add_gain(&mut known.stable, &segment.stable, &before.stable);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trial::{ArmTally, GuardTally};

    fn hour(hour: usize) -> HourReference {
        HourReference { hour, outputs: vec![vec![5_000, 5_000]] }
    }

    /// As many events since counting began, a quarter of them of keys.
    fn counters(events: u64) -> TrialCounts {
        let arm = |events: u64| ArmTally {
            events,
            errors: events / 10,
            latency: vec![events, 0],
            outputs: vec![vec![events / 2, events - events / 2]],
            ..ArmTally::default()
        };
        let segment = |keyed, events| TrialSegment { weight: 1.0, keyed, canary: arm(events), stable: arm(0) };
        let segments = vec![segment(false, events - events / 4), segment(true, events / 4)];
        let mut guards = GuardSegment { weight: 1.0, ..GuardSegment::default() };
        guards.canary[0] = GuardTally { answers: events, errors: events / 10, ..GuardTally::default() };
        TrialCounts { segments, guards, hour: None }
    }

    fn events(parts: &[TrialCounts]) -> Vec<(Option<usize>, u64)> {
        let of_part = |part: &TrialCounts| part.segments.iter().map(|segment| segment.canary.events).sum();
        parts.iter().map(|part| (part.hour.as_ref().map(|hour| hour.hour), of_part(part))).collect()
    }

    #[test]
    fn each_hour_has_what_was_counted_in_it_and_the_same_hour_comes_again() {
        let mut history = HourHistory::default();
        let (ten, eleven) = (hour(10), hour(11));
        for (counted, present) in [(40, &ten), (100, &ten), (160, &eleven), (400, &eleven), (480, &ten), (880, &ten)] {
            history.read(&counters(counted), Some(present));
        }
        let parts = history.read(&counters(1_000), Some(&ten)).to_vec();
        // The first reading of another hour is what was counted before it.
        assert_eq!(events(&parts), [(Some(10), 160 + 520), (Some(11), 320)]);
        let guards: Vec<u64> = parts.iter().map(|part| part.guards.canary[0].answers).collect();
        assert_eq!(guards, [680, 320]);
        let sums = |count: &dyn Fn(&ArmTally) -> u64| -> u64 {
            parts.iter().flat_map(|part| &part.segments).map(|segment| count(&segment.canary)).sum()
        };
        assert_eq!([sums(&|arm| arm.errors), sums(&|arm| arm.latency[0])], [75 + 25, 1_000]);
        assert_eq!(sums(&|arm| arm.outputs[0].iter().sum()), 1_000);
        assert!(parts.iter().all(|part| part.segments.len() == 2 && part.guards.weight >= 1.0));
    }

    #[test]
    fn without_hours_the_counts_are_what_was_read() {
        let mut history = HourHistory::default();
        history.read(&counters(70), None);
        assert_eq!(history.read(&counters(1_000), None), [counters(1_000)]);
        let known = hour(3);
        history.read(&counters(1_100), Some(&known));
        assert_eq!(events(history.read(&counters(1_500), Some(&known))), [(None, 1_100), (Some(3), 400)]);
    }
}
