//! What a request is told whose model does not serve: 503 while the model is known, 404 for what there is not.

use super::*;
use crate::error::{Blamed, Fault};

/// Whose fault it is that a request without a version is not served, and why.
fn refusal(stage: &Stage) -> (Fault, String) {
    let error = stage.publisher.catalog().find("m", |entry| entry.pick(0)).unwrap_err();
    (error.fault(), error.to_string())
}

#[test]
fn a_model_that_is_known_and_does_not_serve_is_unavailable_with_the_reason() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    assert_eq!(refusal(&stage), (Fault::Unavailable, "model \"m\" is not ready: version 1 has no traffic".into()));
    let order = stage.publisher.next_load(stage.now).unwrap();
    let loading = "model \"m\" is not ready: version 1 is being loaded";
    assert_eq!(refusal(&stage), (Fault::Unavailable, loading.into()));
    let failure =
        LoadFailure { reason: "corrupt".into(), until_memory_is_freed: false, may_pass: false, quarantined: None };
    stage.publisher.load_finished(&order, Err(failure), stage.now);
    let failed = "model \"m\" is not ready: version 1: corrupt";
    assert_eq!(refusal(&stage), (Fault::Unavailable, failed.into()));
    stage.vanish();
    assert_eq!(refusal(&stage).0, Fault::NotFound, "nothing is known of it any more");
}

#[test]
fn a_version_that_was_unloaded_is_not_found_and_the_model_goes_on_serving() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let pinned = |stage: &Stage| stage.entry().pinned("1").map(|picked| picked.model.version);
    assert_eq!(pinned(&stage), Ok(1), "it bakes");
    stage.later(BAKE);
    let error = pinned(&stage).unwrap_err();
    assert_eq!((error.fault(), stage.live()), (Fault::NotFound, vec![(2, 10_000)]));
    assert_eq!(error.to_string(), "version 1 of model \"m\" is not loaded; loaded: 2");
}
