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

#[test]
fn a_stable_version_that_takes_other_inputs_waits_until_that_is_allowed() {
    let mut stage = Stage::new();
    stage.want(Some(1), &[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.want(Some(2), &[]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let other = model_of("models/digits/1/model.onnx", order.version, order.fingerprint);
    stage.publisher.load_finished(&order, Ok(other), stage.now);
    assert_eq!(stage.live(), [(1, 10_000)]);
    let allowing =
        |name: &str| Arc::new(ModelSettings { allow_signature_change: true, ..ModelSettings::clone(&settings(name)) });
    stage.publisher.configure(allowing, BAKE, stage.now);
    assert_eq!(stage.live(), [(2, 10_000)]);
}
