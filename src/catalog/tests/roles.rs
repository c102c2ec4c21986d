//! Models whose registry says which version is what.

use super::*;

impl Stage {
    /// What a registry wants.
    fn want(&mut self, stable: Option<u64>, warm: &[u64]) {
        let roles = Roles { stable, warm: warm.iter().copied().collect(), ..Roles::default() };
        self.listing.entry("m".to_owned()).or_default().roles = Some(roles);
        self.observe();
    }
}

#[test]
fn the_stable_version_serves_and_the_others_that_are_named_are_warm() {
    let mut stage = Stage::new();
    stage.want(Some(2), &[3]);
    stage.disk(&[(1, 11), (2, 12), (3, 13), (9, 19)]);
    assert_eq!(stage.load(&[]), [2, 3], "neither the highest nor the lowest");
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![2, 3]));
}

#[test]
fn a_moved_alias_swaps_once_the_version_is_loaded_and_also_to_a_lower_one() {
    let mut stage = Stage::new();
    stage.want(Some(3), &[]);
    stage.disk(&[(1, 11), (3, 13)]);
    stage.load(&[]);
    stage.want(Some(1), &[]);
    assert_eq!(stage.live(), [(3, 10_000)], "not before it is loaded");
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!((stage.live(), stage.loaded()), (vec![(1, 10_000)], vec![1, 3]));
    stage.later(BAKE);
    assert_eq!(stage.loaded(), [1]);
}

#[test]
fn a_stable_version_that_is_refused_or_not_here_leaves_the_one_before() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.want(Some(2), &[7]);
    assert_eq!(stage.load(&[2]), [2]);
    assert_eq!(stage.load(&[2]), [] as [u64; 0], "it is not tried again as it is");
    assert_eq!(stage.live(), [(1, 10_000)]);
    let entry = stage.entry();
    assert!(matches!(entry.versions[&2], VersionStatus::Failed { .. }));
    assert!(matches!(entry.versions[&7], VersionStatus::Missing));
    stage.later(BAKE * 2);
    assert_eq!(stage.loaded(), [1], "what serves is never given up");
}

#[test]
fn an_alias_that_is_gone_leaves_what_serves() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[2]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.want(None, &[]);
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(1, 10_000)], vec![1]), "the warm one is unloaded");
}

#[test]
fn a_split_that_somebody_sets_wins_over_roles() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[2]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let reply = stage.ask(&[(1, 9_000), (2, 1_000)]);
    assert!(matches!(*reply.lock().unwrap(), Some(Ok(_))));
    stage.want(Some(2), &[]);
    assert_eq!(stage.live(), [(1, 9_000), (2, 1_000)]);
    stage.publisher.clear_split("m", Box::new(|_| {}), stage.now);
    assert_eq!(stage.live(), [(2, 10_000)]);
}

/// A model that takes other inputs than the usual one.
fn other(order: &LoadOrder) -> Arc<Model> {
    model_of("models/digits/1/model.onnx", order.version, order.fingerprint)
}

/// As the loader refuses what cannot stand in for a version.
fn misfit(instead_of: u64) -> Result<Arc<Model>, LoadFailure> {
    let (digest, engine, since) = ("d".to_owned(), "e".to_owned(), SystemTime::UNIX_EPOCH);
    let quarantined = Some(Quarantined { digest, engine, since, instead_of: Some(instead_of) });
    Err(LoadFailure { reason: "a misfit".into(), until_memory_is_freed: false, may_pass: false, quarantined })
}

fn allowing(name: &str) -> Arc<ModelSettings> {
    Arc::new(ModelSettings { allow_signature_change: true, ..ModelSettings::clone(&settings(name)) })
}

impl Stage {
    fn next(&mut self) -> Option<LoadOrder> {
        self.publisher.next_load(self.now)
    }

    fn finish(&mut self, order: &LoadOrder, outcome: Result<Arc<Model>, LoadFailure>) {
        self.publisher.load_finished(order, outcome, self.now);
    }

    /// The version that is to be compared with, of the next load.
    fn compared_with(order: &LoadOrder) -> Option<u64> {
        match &order.predecessor {
            Predecessor::Serving { version, .. } => Some(*version),
            Predecessor::Nobody | Predecessor::Any(_) => None,
        }
    }
}

#[test]
fn a_version_is_compared_with_what_serves_unless_that_is_allowed_or_of_a_directory() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[2]);
    stage.disk(&[(1, 11), (2, 12)]);
    let first = stage.next().unwrap();
    assert_eq!(first.predecessor, Predecessor::Any(vec![2]), "nothing serves yet");
    stage.finish(&first, Ok(model(1, 11)));
    let second = stage.next().unwrap();
    assert_eq!((second.version, Stage::compared_with(&second)), (2, Some(1)), "a warm one, too");
    stage.publisher.configure(allowing, BAKE, stage.now);
    stage.finish(&second, Ok(other(&second)));
    assert_eq!(stage.loaded(), [1, 2], "it was allowed meanwhile");
    stage.disk(&[(1, 11), (2, 13)]);
    assert_eq!(stage.next().unwrap().predecessor, Predecessor::Nobody);

    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.next().unwrap().predecessor, Predecessor::Nobody);
}

#[test]
fn a_version_that_cannot_stand_in_is_refused_until_that_is_allowed_and_the_stable_one_stays() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.want(Some(2), &[]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(other(&order)));
    assert_eq!((stage.live(), stage.loaded()), (vec![(1, 10_000)], vec![1]), "it is not even kept loaded");
    let VersionStatus::Failed { reason, .. } = &stage.entry().versions[&2] else { panic!("it is refused") };
    assert!(reason.starts_with("it cannot stand in for version 1: input "), "{reason}");
    assert!(stage.next().is_none(), "it is not tried again as it is");
    let reply = stage.ask(&[(1, 5_000), (2, 5_000)]);
    assert!(matches!(*reply.lock().unwrap(), Some(Err(SplitError::LoadFailed { version: 2, .. }))));
    stage.publisher.configure(allowing, BAKE, stage.now);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(other(&order)));
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn a_refused_version_is_tried_again_when_something_else_serves() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[2]);
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(model(1, 11)));
    let order = stage.next().unwrap();
    stage.finish(&order, misfit(1));
    stage.later(BAKE);
    assert!(stage.next().is_none(), "the same serves");
    stage.want(Some(3), &[2]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(model(3, 13)));
    let again = stage.next().unwrap();
    assert_eq!((again.version, Stage::compared_with(&again)), (2, Some(3)));
    stage.finish(&again, misfit(3));
    stage.disk(&[(1, 11), (2, 12), (3, 99)]);
    let replaced = stage.next().unwrap();
    stage.finish(&replaced, Ok(model(3, 99)));
    assert_eq!(stage.next().map(|order| order.version), Some(2), "the files of what serves are others");
}

#[test]
fn what_was_loaded_before_the_stable_version_is_compared_once_that_serves() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[2]);
    stage.disk(&[(2, 12)]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(other(&order)));
    assert_eq!((stage.live(), stage.loaded()), (vec![], vec![2]));
    stage.disk(&[(1, 11), (2, 12)]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(model(1, 11)));
    assert_eq!((stage.live(), stage.loaded()), (vec![(1, 10_000)], vec![1]));
    let order = stage.next().unwrap();
    assert_eq!((order.version, Stage::compared_with(&order)), (2, Some(1)));
    stage.finish(&order, misfit(1));
    assert!(stage.next().is_none());
}

#[test]
fn after_a_restart_what_could_not_be_replaced_serves_on() {
    let mut stage = Stage::new();
    stage.want(Some(2), &[]);
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    let order = stage.next().unwrap();
    assert_eq!((order.version, &order.predecessor), (2, &Predecessor::Any(vec![1, 3])));
    stage.finish(&order, misfit(1));
    let order = stage.next().unwrap();
    assert_eq!(order.version, 1, "what served before the restart");
    stage.finish(&order, Ok(model(1, 11)));
    assert_eq!(stage.live(), [(1, 10_000)]);
    let order = stage.next().unwrap();
    assert_eq!((order.version, Stage::compared_with(&order)), (2, Some(1)));
    stage.finish(&order, misfit(1));
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.next().is_none()), (vec![(1, 10_000)], true));

    let mut stage = Stage::new();
    stage.want(Some(2), &[]);
    stage.disk(&[(1, 11), (2, 12)]);
    let order = stage.next().unwrap();
    stage.finish(&order, misfit(1));
    assert_eq!(stage.load(&[1]), [1, 2], "what it was refused for cannot be had any more");
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn a_version_that_bakes_stays_although_it_could_not_come_back() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.publisher.configure(allowing, BAKE, stage.now);
    stage.want(Some(2), &[]);
    let order = stage.next().unwrap();
    stage.finish(&order, Ok(other(&order)));
    stage.publisher.configure(settings, BAKE, stage.now);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![1, 2]));
    stage.want(Some(1), &[]);
    assert_eq!(
        (stage.live(), stage.loaded()),
        (vec![(2, 10_000)], vec![2]),
        "wanted back, it is compared as any other"
    );
    assert_eq!(stage.next().map(|order| Stage::compared_with(&order)), Some(Some(2)));
}

#[test]
fn the_cache_keeps_what_is_loaded_is_being_loaded_or_is_named_by_the_settings() {
    let mut stage = Stage::new();
    stage.configured = Some(BTreeMap::from([(2, 10_000)]));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    let needed = |stage: &Stage| [1, 2, 3].map(|version| stage.entry().needs(version));
    assert_eq!(needed(&stage), [false, true, false]);
    let reply = stage.ask(&[(3, 10_000)]);
    let order = stage.next().unwrap();
    assert_eq!((order.version, needed(&stage)), (3, [false, true, true]), "before it is loaded");
    stage.finish(&order, Ok(model(3, 13)));
    assert!(matches!(*reply.lock().unwrap(), Some(Ok(_))));
    assert_eq!(needed(&stage), [false, true, true]);
}
