//! The script that trained the shipped models trains them again here, and the fresh ones answer as this machine's
//! scikit-learn does.
//!
//! Training takes minutes, so its result is kept below the target directory for as long as nothing that decides it
//! changes: the script, the generator of `churn`, and the packages.

use crate::answers::check_version;
use crate::support::library::onnxruntime;
use crate::support::process::{BINARY, Process};
use crate::support::python::{environment, hash_of, lock, run, say, target_directory};
use crate::support::repository::versions_in;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What decides the fresh models, besides Python itself.
const INPUTS: [&str; 3] = ["models/train.py", "models/requirements.txt", "src/cli/draws.rs"];

fn fresh_models() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = environment();
    let mut inputs: Vec<String> = INPUTS.iter().map(|input| fs::read_to_string(root.join(input)).unwrap()).collect();
    inputs.push(python.interpreter().display().to_string());
    let place = target_directory().join(format!("retrained-{}", hash_of(&inputs)));
    let _lock = lock("retrained.lock");
    if place.join("whole").exists() {
        return place;
    }
    say(&format!("training every model again in {}; this takes minutes, once", place.display()));
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    let mut train = Command::new(python.interpreter());
    train.arg(root.join("models/train.py")).arg("--out").arg(&place).args(["--tidegate", BINARY]);
    // The profile of a model that the embedded engine does not run needs ONNX Runtime, which is in the environment.
    train.env("ORT_DYLIB_PATH", onnxruntime(python));
    run(&mut train);
    fs::write(place.join("whole"), "").unwrap();
    say("the models are trained");
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_models_answer_as_this_machine_s_scikit_learn_does() {
    let fresh = tokio::task::block_in_place(fresh_models);
    let library = onnxruntime(environment());
    let process =
        Process::start(&["--onnxruntime", library.to_str().unwrap(), "--models", fresh.to_str().unwrap()]).await;
    let versions = versions_in(&fresh);
    let names: Vec<String> = versions.iter().map(|(model, version)| format!("{model}/{version}")).collect();
    assert_eq!(names, ["breast-cancer/1", "breast-cancer/2", "churn/1", "churn/2", "diabetes/1", "digits/1"]);
    for (model, version) in &versions {
        check_version(&process.client, &fresh, (model, version), "onnxruntime").await;
        let profile = &process.client.version(model, version).await["profile"];
        assert!(profile["rows"].as_u64().is_some_and(|rows| rows > 100), "{model} {version}: {profile}");
    }
    process.stop().await;
}
