//! `tidegate profile`, as a user runs it, and what the gateway makes of its profiles.

use crate::support::gateway::Gateway;
use crate::support::process::{command, run};
use crate::support::repository::{Repository, held_out};

use std::path::Path;

fn profile(repository: &Repository, version: &str, more: &[&str]) -> (bool, String) {
    let directory = repository.path().join(version);
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits/heldout.csv");
    let mut arguments = vec!["profile", "--model", directory.to_str().unwrap(), "--data", rows.to_str().unwrap()];
    arguments.extend(more);
    let (status, out, error) = run(command(&arguments));
    (status.success(), out + &error)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_too_wide_is_profiled_and_judged_by_statistics_of_its_rows() {
    let repository = Repository::of(&["digits/1"]);
    let (done, said) = profile(&repository, "digits/1", &["--max-features", "20"]);
    assert!(done && said.contains("450 rows, 4 features, 11 outputs"), "{said}");
    let gateway = Gateway::start(repository, |config| {
        config.drift.max_features = 20;
        config.drift.min_samples = 100;
    })
    .await;
    gateway.client.post("/v2/models/digits/infer", held_out("digits").infer_body(0..450)).await.ok();
    let version = crate::support::wait::until("the rows are judged", async || {
        let version = gateway.client.drift("digits", "1").await;
        (version["verdict"] == "ok").then_some(version)
    })
    .await;
    let names: Vec<&str> =
        version["features"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["features.norm", "features.mean", "features.zeros", "features.nonfinite"]);
    assert_eq!(version["samples"], 450);
    gateway.stop().await;
}

#[test]
fn rows_that_do_not_fit_the_model_are_named_and_nothing_is_written() {
    let repository = Repository::of(&["churn/1"]);
    let before = std::fs::read(repository.path().join("churn/1/profile.json")).unwrap();
    let (done, said) = profile(&repository, "churn/1", &[]);
    assert!(!done && said.contains("takes 10 values per row, the file has 64 columns"), "{said}");
    assert_eq!(std::fs::read(repository.path().join("churn/1/profile.json")).unwrap(), before);
}
