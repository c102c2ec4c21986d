//! Rollouts that own a model's weights, what they leave behind, and models whose newer versions wait for one.

use super::*;
use crate::config::{GuardSettings, RolloutSettings, ToleranceSettings};
use crate::observe::trial::{Trial, TrialPlan, TrialShare};
use proptest::prelude::*;

type Answer = Arc<Mutex<Option<Result<SplitView, SplitError>>>>;

impl Stage {
    /// A model whose newer versions wait for a rollout, with these versions on disk.
    fn managed(versions: &[(u64, u64)]) -> Self {
        let mut stage = Self::new();
        stage.disk(versions);
        stage.manage();
        stage
    }

    fn manage(&mut self) {
        let managed = |name: &str| {
            Arc::new(ModelSettings {
                rollout: Some(RolloutSettings::default()),
                ..ModelSettings::clone(&settings(name))
            })
        };
        self.publisher.configure(managed, BAKE, self.now);
    }

    /// What a process after this one has: the same files, and what the journal says.
    fn restarted(&self, chosen: Chosen) -> Self {
        let mut next = Self::new();
        next.publisher.remember(BTreeMap::from([("m".to_owned(), chosen)]));
        next.listing = self.listing.clone();
        next.observe();
        next.manage();
        next
    }

    fn hold(&mut self, id: &str, weights: &[(u64, u16)]) -> Answer {
        let answer: Answer = Arc::default();
        let reply = Arc::clone(&answer);
        let hold = RolloutHold { id: id.into(), weights: weights.to_vec(), trial: None, shadow: None };
        self.publisher.hold("m", hold, Box::new(move |outcome| *reply.lock().unwrap() = Some(outcome)), self.now);
        answer
    }

    fn want_canary(&mut self, stable: u64, canary: Option<u64>) {
        let warm = canary.into_iter().collect();
        let roles = Roles { stable: Some(stable), canary, shadow: None, warm };
        self.listing.entry("m".to_owned()).or_default().roles = Some(roles);
        self.observe();
    }
}

fn answered(answer: &Answer) -> Result<Vec<(u64, u16)>, SplitError> {
    answer.lock().unwrap().take().expect("it was answered").map(|view| view.weights)
}

fn chosen(stable: u64, refused: &[(u64, u64)]) -> Chosen {
    Chosen { stable, refused: refused.iter().copied().collect(), instead_of: None }
}

#[test]
fn without_a_hold_nothing_belongs_to_a_rollout() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let entry = stage.entry();
    assert_eq!((&entry.hold, &entry.roles, entry.target), (&None, &None, None));
    assert!(entry.serving.as_ref().unwrap().trial.is_none());
    stage.publisher.release("m", None, stage.now);
    stage.publisher.release("unknown", Some(chosen(1, &[])), stage.now);
    assert_eq!(stage.live(), [(1, 10_000)]);
}

#[test]
fn the_first_version_serves_at_once_and_a_newer_one_waits_warm_as_the_target() {
    let mut stage = Stage::managed(&[(1, 11)]);
    assert_eq!((stage.load(&[]), stage.live(), stage.entry().target), (vec![1], vec![(1, 10_000)], None));
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.entry().target, Some(2), "before it is loaded");
    assert_eq!(stage.load(&[]), [2]);
    stage.later(BAKE * 3);
    assert_eq!((stage.live(), stage.loaded(), stage.entry().target), (vec![(1, 10_000)], vec![1, 2], Some(2)));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert_eq!((stage.load(&[3]), stage.entry().target), (vec![3], Some(2)), "a corrupt one is no target");
}

#[test]
fn weights_of_a_hold_are_live_and_a_split_is_refused_meanwhile() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    let held = stage.hold("r1", &[(1, 9_900), (2, 100)]);
    assert!(held.lock().unwrap().is_none(), "not before it is loaded");
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!(answered(&held), Ok(vec![(1, 9_900), (2, 100)]));
    assert_eq!((stage.live(), stage.entry().hold.clone()), (vec![(1, 9_900), (2, 100)], Some("r1".into())));
    let refused = answered(&stage.ask(&[(2, 10_000)])).unwrap_err();
    assert_eq!(refused.to_string(), "the weights of model \"m\" belong to the rollout r1; abort it first");
    let cleared: Answer = Arc::default();
    let reply = Arc::clone(&cleared);
    stage.publisher.clear_split("m", Box::new(move |outcome| *reply.lock().unwrap() = Some(outcome)), stage.now);
    assert!(matches!(answered(&cleared), Err(SplitError::RolloutOwns { .. })));
    assert_eq!(stage.live(), [(1, 9_900), (2, 100)]);
}

#[test]
fn weights_are_taken_back_before_the_call_returns_and_the_version_before_stays_loaded() {
    let mut stage = Stage::managed(&[(1, 11), (2, 12)]);
    stage.load(&[2]);
    stage.disk(&[(1, 11), (2, 22)]);
    stage.load(&[]);
    assert_eq!(answered(&stage.hold("r1", &[(2, 10_000), (1, 0)])), Ok(vec![(2, 10_000), (1, 0)]));
    stage.vanish();
    stage.later(BAKE * 5);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000), (1, 0)], vec![1, 2]));
    assert_eq!(answered(&stage.hold("r1", &[(1, 10_000), (2, 0)])), Ok(vec![(1, 10_000), (2, 0)]));
    assert_eq!(stage.live(), [(1, 10_000), (2, 0)]);
}

#[test]
fn a_hold_that_cannot_be_is_refused_and_leaves_the_one_before() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    let unknown = RolloutHold { id: "r".into(), weights: vec![(1, 10_000)], trial: None, shadow: None };
    let reply: SplitReply = Box::new(|outcome| assert!(matches!(outcome, Err(SplitError::UnknownModel { .. }))));
    stage.publisher.hold("other", unknown, reply, stage.now);
    assert!(matches!(answered(&stage.hold("r", &[(1, 9_000)])), Err(SplitError::Invalid { .. })));
    assert!(matches!(answered(&stage.hold("r", &[(9, 10_000)])), Err(SplitError::UnknownVersion { version: 9, .. })));
    stage.hold("r", &[(1, 10_000)]);
    let failing = stage.hold("r", &[(1, 9_000), (2, 1_000)]);
    stage.load(&[2]);
    assert!(matches!(answered(&failing), Err(SplitError::LoadFailed { version: 2, .. })));
    assert_eq!((stage.live(), stage.entry().hold.clone()), (vec![(1, 10_000)], Some("r".into())));
}

#[test]
fn a_hold_wins_over_a_split_that_was_set_and_over_one_that_waits() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.ask(&[(1, 10_000)]);
    stage.disk(&[(1, 11), (2, 12)]);
    let waiting = stage.ask(&[(2, 10_000)]);
    stage.hold("r", &[(1, 10_000)]);
    assert!(matches!(answered(&waiting), Err(SplitError::RolloutOwns { .. })));
    stage.load(&[]);
    assert_eq!(stage.live(), [(1, 10_000)]);
    stage.publisher.release("m", None, stage.now);
    assert!(stage.entry().explicit, "it has its say again");
    stage.hold("r", &[(1, 0), (2, 10_000)]);
    stage.publisher.release("m", Some(chosen(2, &[])), stage.now);
    stage.later(BAKE);
    assert_eq!((stage.live(), stage.entry().explicit), (vec![(2, 10_000)], false));
}

#[test]
fn what_was_chosen_stays_and_what_was_rolled_back_is_no_target_until_its_files_change() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.hold("r", &[(1, 9_900), (2, 100)]);
    stage.hold("r", &[(1, 10_000), (2, 0)]);
    stage.publisher.release("m", Some(chosen(1, &[(2, 12)])), stage.now);
    assert_eq!((stage.live(), stage.entry().target, stage.entry().hold.clone()), (vec![(1, 10_000)], None, None));
    stage.later(BAKE * 2);
    assert_eq!((stage.load(&[]), stage.loaded()), (vec![], vec![1]));
    stage.disk(&[(1, 11), (2, 13)]);
    assert_eq!((stage.load(&[]), stage.entry().target), (vec![2], Some(2)), "other files are another try");
    assert_eq!(stage.live(), [(1, 10_000)]);
}

#[test]
fn a_rollback_holds_also_where_newer_versions_swap_in_by_themselves() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.hold("r", &[(1, 10_000)]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.hold("r", &[(1, 10_000), (2, 0)]);
    stage.publisher.release("m", Some(chosen(1, &[(2, 12)])), stage.now);
    stage.later(BAKE * 2);
    assert_eq!((stage.load(&[]), stage.live(), stage.loaded()), (vec![], vec![(1, 10_000)], vec![1]));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert_eq!((stage.load(&[]), stage.live()), (vec![3], vec![(3, 10_000)]));
}

#[test]
fn a_canary_keeps_no_share_when_its_hold_ends() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.hold("r", &[(1, 7_500), (2, 2_500)]);
    stage.publisher.release("m", None, stage.now);
    assert_eq!((stage.live(), stage.entry().target), (vec![(1, 10_000)], Some(2)));
}

#[test]
fn a_split_that_is_cleared_leaves_a_managed_model_with_its_stable_version() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.ask(&[(1, 6_000), (2, 4_000)]);
    stage.publisher.clear_split("m", Box::new(drop), stage.now);
    assert_eq!((stage.live(), stage.entry().target), (vec![(1, 10_000)], Some(2)));
}

#[test]
fn a_target_that_takes_other_inputs_says_so() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.entry().can_stand_in(2), Ok(()), "nothing is known yet");
    let order = stage.publisher.next_load(stage.now).unwrap();
    let other = model_of("models/digits/1/model.onnx", order.version, order.fingerprint);
    stage.publisher.load_finished(&order, Ok(other), stage.now);
    let entry = stage.entry();
    assert_eq!((entry.target, entry.can_stand_in(1)), (Some(2), Ok(())));
    assert!(entry.can_stand_in(2).unwrap_err().contains("\"features\" was FP32 [-1, 10]"));
}

#[test]
fn after_a_restart_the_chosen_version_serves_if_it_can_be_had() {
    let stage = Stage::managed(&[(1, 11), (2, 12), (3, 13)]);
    let mut next = stage.restarted(chosen(2, &[(3, 13)]));
    assert_eq!((next.load(&[]), next.live(), next.entry().target), (vec![2], vec![(2, 10_000)], None));
    let mut next = stage.restarted(chosen(1, &[]));
    assert_eq!((next.load(&[]), next.live(), next.entry().target), (vec![1, 3], vec![(1, 10_000)], Some(3)));
    let mut next = stage.restarted(chosen(2, &[(3, 13)]));
    assert_eq!((next.load(&[2]), next.live()), (vec![2, 1], vec![(1, 10_000)]), "never what was rolled back");
}

#[test]
fn a_stable_version_whose_files_are_gone_serves_on_and_what_is_left_is_the_target() {
    let mut stage = Stage::managed(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    assert_eq!(stage.live(), [(2, 10_000)]);
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    assert_eq!((stage.live(), stage.entry().target, stage.loaded()), (vec![(2, 10_000)], Some(1), vec![1, 2]));
}

#[test]
fn of_a_registry_the_canary_is_the_target_and_a_moved_stable_alias_swaps() {
    let mut stage = Stage::managed(&[(1, 11), (2, 12), (3, 13)]);
    stage.want_canary(1, Some(2));
    stage.load(&[]);
    let entry = stage.entry();
    assert_eq!(
        (stage.live(), entry.target, entry.roles.as_ref().unwrap().canary),
        (vec![(1, 10_000)], Some(2), Some(2))
    );
    stage.want_canary(1, Some(3));
    assert_eq!(stage.entry().target, Some(3));
    stage.want_canary(3, Some(3));
    stage.load(&[]);
    assert_eq!((stage.live(), stage.entry().target), (vec![(3, 10_000)], None));
}

#[test]
fn what_was_chosen_counts_until_the_registry_says_something_else() {
    let mut stage = Stage::managed(&[(1, 11), (2, 12), (3, 13)]);
    stage.want_canary(1, Some(2));
    stage.load(&[]);
    stage.hold("r", &[(1, 0), (2, 10_000)]);
    stage.want_canary(1, None);
    assert_eq!(stage.live(), [(1, 0), (2, 10_000)]);
    stage.publisher.release("m", Some(chosen(2, &[])), stage.now);
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![1, 2]), "the alias has not moved yet");
    let restarted = Chosen { instead_of: Some(1), ..chosen(2, &[]) };
    let mut next = stage.restarted(restarted);
    assert_eq!((next.load(&[]), next.live()), (vec![2, 1], vec![(2, 10_000)]));
    stage.want_canary(3, None);
    stage.load(&[]);
    assert_eq!(stage.live(), [(3, 10_000)]);
    stage.want_canary(1, None);
    stage.load(&[]);
    assert_eq!(stage.live(), [(1, 10_000)], "moved back is moved");
}

#[test]
fn a_trial_is_picked_with_both_arms_and_never_by_name() {
    let mut stage = Stage::managed(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let recorder = &stage.entry().loaded[&1].recorder;
    let settings = (&GuardSettings::default(), &ToleranceSettings::default());
    let plan = Arc::new(TrialPlan::new(recorder, &recorder.totals().answers, settings));
    let trial = |weight| {
        let share = TrialShare { canary: 2, stable: 1, weight, before: 0 };
        Some(Arc::new(Trial::new(Arc::clone(&plan), share, 1)))
    };
    let hold = |trial: &Option<Arc<Trial>>| RolloutHold {
        id: "r".into(),
        weights: vec![(1, 9_000), (2, 1_000)],
        trial: trial.clone(),
        shadow: None,
    };
    let first = trial(1_000);
    stage.publisher.hold("m", hold(&first), Box::new(|outcome| drop(outcome.unwrap())), stage.now);
    let entry = stage.entry();
    for point in [0, 9_999] {
        assert!(Arc::ptr_eq(entry.pick(point).unwrap().trial.as_ref().unwrap(), first.as_ref().unwrap()));
    }
    assert!(entry.pinned("2").unwrap().trial.is_none());
    let second = trial(1_000);
    stage.publisher.hold("m", hold(&second), Box::new(|outcome| drop(outcome.unwrap())), stage.now);
    let live = stage.entry().serving.as_ref().unwrap().trial.clone();
    assert!(Arc::ptr_eq(live.as_ref().unwrap(), second.as_ref().unwrap()), "also at the same weights");
}

#[test]
fn no_more_refused_versions_are_remembered_than_the_limit() {
    let mut stage = Stage::managed(&[(1_000, 11)]);
    let refused: Vec<(u64, u64)> = (1..=MOST_REFUSED as u64 + 5).map(|version| (version, 1)).collect();
    stage.publisher.release("m", Some(chosen(1_000, &refused)), stage.now);
    stage.load(&[]);
    assert_eq!(stage.live(), [(1_000, 10_000)]);
    assert_eq!(chosen(1, &refused).bounded().refused.first_key_value(), Some((&6, &1)));
}

/// Something that happens to a model.
#[derive(Clone, Debug)]
enum Event {
    Disk(Vec<(u64, u64)>),
    Want(u64, Option<u64>),
    Load(Vec<u64>),
    Hold(u64, u64, u16),
    Release(Option<(u64, u64)>),
    Ask(u64),
    Clear,
    Later(u64),
    Manage,
}

fn event() -> impl Strategy<Value = Event> {
    let version = 1..5_u64;
    prop_oneof![
        prop::collection::btree_map(version.clone(), 1..3_u64, 0..4)
            .prop_map(|versions| Event::Disk(versions.into_iter().collect())),
        (version.clone(), prop::option::of(version.clone())).prop_map(|(stable, canary)| Event::Want(stable, canary)),
        prop::collection::vec(version.clone(), 0..2).prop_map(Event::Load),
        (version.clone(), version.clone(), 0..=10_000_u16)
            .prop_map(|(one, other, weight)| Event::Hold(one, other, weight)),
        prop::option::of((version.clone(), version.clone())).prop_map(Event::Release),
        version.prop_map(Event::Ask),
        Just(Event::Clear),
        (0..300_u64).prop_map(Event::Later),
        Just(Event::Manage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_what_is_live_is_loaded_and_the_weights_of_a_hold_are_the_live_ones(
        events in prop::collection::vec(event(), 1..25),
    ) {
        let mut stage = Stage::new();
        let mut held = None;
        for event in events {
            match event {
                Event::Disk(versions) => stage.disk(&versions),
                Event::Want(stable, canary) => stage.want_canary(stable, canary.filter(|canary| *canary != stable)),
                Event::Load(corrupt) => drop(stage.load(&corrupt)),
                Event::Hold(one, other, weight) => {
                    let weights = if one == other { vec![(one, 10_000)] } else { vec![(one, 10_000 - weight), (other, weight)] };
                    stage.hold("r", &weights);
                }
                Event::Release(left) => {
                    let left = left.map(|(stable, refused)| chosen(stable, &[(refused, 1)]));
                    stage.publisher.release("m", left, stage.now);
                }
                Event::Ask(version) => drop(stage.ask(&[(version, 10_000)])),
                Event::Clear => stage.publisher.clear_split("m", Box::new(drop), stage.now),
                Event::Later(seconds) => stage.later(Duration::from_secs(seconds)),
                Event::Manage => stage.manage(),
            }
            let snapshot = stage.publisher.catalog().snapshot();
            let Some(entry) = snapshot.models.get("m") else { continue };
            if let Some(serving) = &entry.serving {
                prop_assert!(serving.split.arms().iter().all(|arm| entry.loaded.contains_key(&arm.version)));
            }
            if let Some(hold) = stage.publisher.held_weights("m") {
                prop_assert_eq!(&stage.live(), &hold);
                held = Some(hold);
            } else if held.take().is_some() {
                prop_assert!(stage.live().len() <= 1 || entry.explicit, "no share is left behind: {:?}", stage.live());
            }
            prop_assert!(entry.target.is_none() || entry.serving.is_some());
        }
    }
}
