//! A process that is killed anywhere: the next one resumes or rolls back, no share is left that nobody knows of, and every
//! step is decided once.

use super::world::{Disk, NOON, Script, World};
use crate::rollout::journal::{Entry, Record, Subject};
use crate::rollout::state::State;
use crate::rollout::{Order, Phase};
use std::collections::BTreeMap;

/// Seconds in which every script comes to its end, also after a crash.
pub(super) const LONG: u64 = 8_000;

/// Everything that must hold of a journal, whatever happened.
pub(super) fn check(records: &[Record], what: &str) -> State {
    let state = State::fold(records).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut decided: BTreeMap<String, u64> = BTreeMap::new();
    let mut weight = 0;
    for (place, record) in records.iter().enumerate() {
        match &record.entry {
            Entry::Decision(decision) => {
                *decided.entry(format!("{:?} in {:?}", decision.subject, decision.phase)).or_default() += 1;
                let next = &records.get(place + 1).map(|record| &record.entry);
                assert!(
                    matches!(next, Some(Entry::Moved { .. } | Entry::Ended { .. })),
                    "{what}: a decision without a move: {next:?}"
                );
            }
            Entry::Moved { weight: to, .. } => weight = *to,
            Entry::Ended { outcome, .. } => assert!(
                weight == if *outcome == Phase::Done { 10_000 } else { 0 },
                "{what}: ended as {outcome:?} with a share of {weight}"
            ),
            _ => {}
        }
    }
    assert!(decided.values().all(|times| *times == 1), "{what}: decided twice: {decided:?}");
    state
}

/// Runs a script, killed at a point, to its end; whether it was killed at all.
fn killed_at(script: &Script, point: u64) -> bool {
    let what = format!("{} killed at {point}", script.name);
    let mut world = World::begin(script, point);
    if world.run(LONG).is_ok() {
        assert_eq!(check(&world.disk.records, &what).phase, script.outcome, "{what}");
        assert_eq!(world.live, world.course.state().weight, "{what}");
        return false;
    }
    let before = World::resume(world, u64::MAX);
    // Of what was killed before its beginning was written nothing is left, and it has no share.
    let Some(mut world) = before else { return true };
    let state = world.course.state();
    assert!(world.live <= state.weight, "{what}: a share of {} where {} is known", world.live, state.weight);
    world.run(LONG).expect("nobody kills it again");
    let state = check(&world.disk.records, &what);
    assert!(state.phase.is_ended(), "{what}: it stands at {:?}: {}", state.phase, state.reason);
    assert_eq!(&state, world.course.state(), "{what}: the state is the fold of the journal");
    assert_eq!(world.live, state.weight, "{what}");
    true
}

#[test]
fn a_process_that_is_killed_anywhere_is_taken_up_where_it_stood() {
    let mut points = 0;
    for script in Script::all() {
        let mut point = 0;
        while killed_at(&script, point) {
            point += 1;
        }
        assert!(point >= 8, "{}: only {point} points", script.name);
        points += point;
    }
    println!("killed at {points} points of {} scripts", Script::all().len());
    assert!(points >= 200, "{points}");
}

#[test]
fn a_process_that_is_killed_again_and_again_comes_to_an_end() {
    for script in Script::all() {
        for step in 1..12 {
            let mut world = World::begin(&script, step);
            let mut kills = 0;
            while world.run(LONG).is_err() {
                kills += 1;
                assert!(kills < 2_000, "{}: it never ends", script.name);
                let fresh = World::begin(&script, step + kills);
                world = World::resume(world, step + kills).unwrap_or(fresh);
            }
            let state = check(&world.disk.records, script.name);
            assert_eq!(world.live, state.weight, "{}", script.name);
        }
    }
}

#[test]
fn a_journal_that_is_cut_anywhere_is_a_state_with_the_share_it_says() {
    for script in Script::all() {
        let mut world = World::begin(&script, u64::MAX);
        world.run(LONG).expect("nobody kills it");
        let records = world.disk.records.clone();
        for length in 1..=records.len() {
            let text: Vec<String> = records[..length].iter().map(Record::to_json).collect();
            let again: Vec<Record> = text.iter().map(|text| Record::from_json(text).unwrap()).collect();
            assert_eq!(again, records[..length], "{}: entries are read back", script.name);
            let state = State::fold(&again).unwrap();
            let mut shares = again.iter().filter_map(|record| match &record.entry {
                Entry::Moved { weight, .. } => Some(*weight),
                _ => None,
            });
            assert_eq!(state.weight, shares.next_back().unwrap_or(0), "{}", script.name);
        }
    }
}

#[test]
fn a_full_disk_lets_no_share_grow_and_keeps_none_from_being_taken_away() {
    let script = Script { happenings: Vec::new(), ..Script::all().remove(0) };
    for until in [10, 70, 130, 170] {
        for is_guard in [true, false] {
            let mut world = World::begin(&script, u64::MAX);
            world.run(until).expect("nobody kills it");
            let (live, stood) = (world.live, world.course.state().phase);
            world.is_disk_full = true;
            world.run(300).expect("nobody kills it");
            assert_eq!(world.live, live, "no share grows from {stood:?}");
            let now = NOON + 1_000_000;
            if is_guard {
                let failed = super::world::look(Subject::Guards, crate::rollout::Verdict::Fail);
                world.course.happen(&failed, now);
            } else {
                world.course.order(&Order::Abort, "somebody", Some(0), now).unwrap();
            }
            assert_eq!(world.course.state().weight, 0, "at once, from {stood:?}");
            world.run(10).expect("nobody kills it");
            assert_eq!((world.live, world.course.state().phase), (0, Phase::RolledBack));
            world.is_disk_full = false;
            world.run(10).expect("nobody kills it");
            assert_eq!(&check(&world.disk.records, "a full disk"), world.course.state());
        }
    }
}

#[test]
fn of_a_journal_that_is_none_nothing_is_taken_up() {
    assert!(State::fold(&Disk::default().records).is_err());
    let entry = Entry::Restarted;
    assert!(State::fold(&[Record { generation: 1, at: 0, entry }]).unwrap_err().contains("restarted"));
    assert!(
        Record::from_json(r#"{"version":2,"record":{"generation":1}}"#).unwrap_err().to_string().contains("version 2")
    );
}
