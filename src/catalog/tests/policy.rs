//! The version policies of config.pbtxt: what is kept loaded and which version is stable.

use super::*;
use std::num::NonZeroU32;

impl Stage {
    /// What the model's configuration says, or why it cannot be read; holds from the next look at the disk.
    fn say(&mut self, says: Result<TritonConfig, &str>) {
        let says = says.map(Arc::new).map_err(str::to_owned);
        let model = self.listing.entry("m".to_owned()).or_default();
        model.config = PresentConfig { fingerprint: Some(1), settled: true, says };
    }

    fn say_policy(&mut self, version_policy: VersionPolicy) {
        self.say(Ok(TritonConfig { version_policy, ..TritonConfig::default() }));
    }
}

fn latest(count: u32) -> VersionPolicy {
    VersionPolicy::Latest(NonZeroU32::new(count).unwrap())
}

fn specific(versions: &[u64]) -> VersionPolicy {
    VersionPolicy::Specific(versions.iter().copied().collect())
}

#[test]
fn the_latest_two_are_loaded_the_highest_first_and_the_other_has_no_share() {
    let mut stage = Stage::new();
    stage.say_policy(latest(2));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert_eq!(stage.load(&[]), [3, 2]);
    assert_eq!(stage.live(), [(3, 10_000)]);
    stage.later(BAKE * 2);
    assert_eq!(stage.loaded(), [2, 3], "warm for as long as the policy keeps it");
    assert_eq!(stage.entry().pinned("2").unwrap().arm, ArmLabel::Pinned);
    assert!(stage.entry().pinned("1").is_err());
}

#[test]
fn with_the_latest_two_a_new_version_swaps_in_and_the_third_bakes() {
    let mut stage = Stage::new();
    stage.say_policy(latest(2));
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert_eq!(stage.load(&[]), [3]);
    assert_eq!((stage.live(), stage.loaded()), (vec![(3, 10_000)], vec![1, 2, 3]));
    stage.later(BAKE);
    assert_eq!(stage.loaded(), [2, 3]);
}

#[test]
fn a_corrupt_version_does_not_take_the_place_of_a_good_one() {
    let mut stage = Stage::new();
    stage.say_policy(latest(2));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert_eq!(stage.load(&[3]), [3, 2, 1]);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![1, 2]));
}

#[test]
fn a_loaded_version_whose_new_files_are_corrupt_is_kept_and_nothing_is_loaded_in_its_place() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 99)]);
    assert_eq!(stage.load(&[2]), [2]);
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![2]));
}

#[test]
fn all_keeps_every_version() {
    let mut stage = Stage::new();
    stage.say_policy(VersionPolicy::All);
    let versions: Vec<(u64, u64)> = (1..=70).map(|version| (version, version)).collect();
    stage.disk(&versions[..5]);
    assert_eq!(stage.load(&[4]), [5, 4, 3, 2, 1]);
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(5, 10_000)], vec![1, 2, 3, 5]));
    stage.disk(&versions);
    assert_eq!(stage.load(&[4]).len(), 65);
    assert_eq!((stage.live(), stage.loaded().len()), (vec![(70, 10_000)], 69), "more than a split may have");
}

#[test]
fn specific_versions_alone_are_considered_and_an_absent_one_is_missing() {
    let mut stage = Stage::new();
    stage.say_policy(specific(&[1, 3, 9]));
    stage.disk(&[(1, 11), (2, 12), (3, 13), (4, 14)]);
    assert_eq!(stage.load(&[]), [3, 1]);
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(3, 10_000)], vec![1, 3]));
    let statuses = &stage.entry().versions;
    assert_eq!((&statuses[&4], &statuses[&9]), (&VersionStatus::OnDisk, &VersionStatus::Missing));
}

#[test]
fn a_policy_that_excludes_the_stable_version_swaps_to_an_older_one_once_it_is_loaded() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.say_policy(specific(&[1]));
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.live(), [(2, 10_000)], "not before it is loaded");
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!((stage.live(), stage.loaded()), (vec![(1, 10_000)], vec![1, 2]));
    stage.later(BAKE);
    assert_eq!(stage.loaded(), [1]);
}

#[test]
fn versions_that_a_new_policy_drops_bake_and_go() {
    let mut stage = Stage::new();
    stage.say_policy(VersionPolicy::All);
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    stage.load(&[]);
    stage.say_policy(latest(1));
    stage.later(Duration::ZERO);
    assert_eq!(stage.loaded(), [1, 2, 3]);
    stage.later(BAKE);
    assert_eq!(stage.loaded(), [3]);
}

#[test]
fn an_explicit_split_wins_over_the_policy_until_it_is_cleared() {
    let mut stage = Stage::new();
    stage.say_policy(specific(&[1, 2]));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    stage.load(&[]);
    stage.ask(&[(3, 10_000)]);
    assert_eq!(stage.load(&[]), [3]);
    stage.later(BAKE);
    assert_eq!((stage.live(), stage.loaded()), (vec![(3, 10_000)], vec![3]));
    stage.publisher.clear_split("m", Box::new(drop), stage.now);
    assert_eq!(stage.load(&[]), [2, 1]);
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn a_broken_configuration_keeps_a_new_model_from_loading_and_says_why() {
    let mut stage = Stage::new();
    stage.say(Err("config.pbtxt, line 3: broken"));
    stage.disk(&[(1, 11)]);
    assert!(stage.load(&[]).is_empty());
    let reason = "config.pbtxt, line 3: broken".to_owned();
    assert_eq!(stage.entry().versions[&1], VersionStatus::Failed { reason: reason.clone(), quarantined: None });
    assert_eq!(stage.entry().config_error, Some(reason));
    let error = stage.entry().pick(0).unwrap_err();
    assert_eq!(error.to_string(), "model \"m\" is not ready: config.pbtxt, line 3: broken");
    let refused = stage.ask(&[(1, 10_000)]).lock().unwrap().take().unwrap().unwrap_err();
    assert!(matches!(refused, SplitError::LoadFailed { version: 1, .. }));
    stage.say(Ok(TritonConfig::default()));
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!((stage.live(), stage.entry().config_error.clone()), (vec![(1, 10_000)], None));
}

#[test]
fn a_configuration_that_breaks_leaves_a_serving_model_as_it_was() {
    let mut stage = Stage::new();
    let before = TritonConfig {
        max_batch_size: NonZeroU32::new(8),
        execution: crate::catalog::TritonExecution::default(),
        version_policy: latest(2),
        not_used: vec!["optimization".into()],
    };
    stage.say(Ok(before.clone()));
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.say(Err("broken"));
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    assert!(stage.load(&[]).is_empty());
    stage.later(BAKE * 2);
    assert_eq!((stage.live(), stage.loaded()), (vec![(2, 10_000)], vec![1, 2]));
    assert_eq!((*stage.entry().config).clone(), before);
    assert!(stage.ask(&[(1, 10_000)]).lock().unwrap().take().unwrap().is_ok(), "what is loaded may be chosen");
}

#[test]
fn a_limit_on_batches_holds_at_once_without_loading_anew() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    assert_eq!(stage.entry().pick(0).unwrap().max_batch_size, None);
    stage.say(Ok(TritonConfig { max_batch_size: NonZeroU32::new(64), ..TritonConfig::default() }));
    stage.later(Duration::from_secs(1));
    assert!(stage.load(&[]).is_empty());
    assert_eq!(stage.entry().pick(0).unwrap().max_batch_size, NonZeroU32::new(64));
    assert_eq!(stage.entry().pinned("1").unwrap().max_batch_size, NonZeroU32::new(64));
}

#[test]
fn a_model_that_does_not_serve_yet_is_loaded_before_further_versions_of_another() {
    let mut stage = Stage::new();
    stage.say_policy(VersionPolicy::All);
    stage.disk(&[(1, 11), (2, 12)]);
    let other = PresentModel { config: PresentConfig::default(), ..stage.listing["m"].clone() };
    stage.listing.insert("z".to_owned(), other);
    stage.later(Duration::ZERO);
    let order = |stage: &mut Stage| {
        let order = stage.publisher.next_load(stage.now).unwrap();
        stage.publisher.load_finished(&order, Ok(model(order.version, order.fingerprint)), stage.now);
        (order.model, order.version)
    };
    let orders = [order(&mut stage), order(&mut stage), order(&mut stage)];
    assert_eq!(orders, [("m".to_owned(), 2), ("z".to_owned(), 2), ("m".to_owned(), 1)]);
}
