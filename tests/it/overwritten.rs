//! Files are written over while a version of them serves on ONNX Runtime, which reads them again or maps them: what was
//! loaded goes on answering as it did.

use crate::support::client::send;
use crate::support::library::onnxruntime;
use crate::support::process::Process;
use crate::support::python::environment;
use crate::support::repository::Repository;
use serde_json::Value;
use std::fs;
use tokio::task::{JoinSet, block_in_place};

/// The directory of a version that a script writes.
fn written(model: &str, script: &str, arguments: &[&str]) -> (Repository, std::path::PathBuf) {
    let repository = Repository::empty();
    let directory = repository.path().join(model).join("1");
    fs::create_dir_all(directory.parent().unwrap()).unwrap();
    let directory_text = directory.to_str().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|text| text.replace("{}", directory_text)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if script.ends_with("slow_model.py") {
        fs::create_dir_all(&directory).unwrap();
    }
    environment().run_script(script, &arguments);
    (repository, directory)
}

/// The real binary, since it has an ONNX Runtime of its own and is what a fault kills.
async fn serving(repository: &Repository, model: &str) -> Process {
    let library = block_in_place(|| onnxruntime(environment()));
    let process =
        Process::start(&["--onnxruntime", library.to_str().unwrap(), "--models", repository.path().to_str().unwrap()])
            .await;
    process.client.wait_until_serving(model, "1").await;
    process
}

/// A request of one row of ones.
fn ones(size: usize) -> String {
    let values = vec!["1"; size].join(",");
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{size}],"data":[{values}]}}]}}"#)
}

fn first(answer: &Value) -> Option<f64> {
    answer["outputs"][0]["data"][0].as_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_because_the_graph_of_what_serves_was_written_over() {
    const SIZE: usize = 256;
    let arguments = ["{}/model.onnx", "256", "200"];
    let (repository, directory) = block_in_place(|| written("slow", "tests/python/slow_model.py", &arguments));
    let process = serving(&repository, "slow").await;
    fs::write(directory.join("model.onnx"), [7; 300]).unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..12 {
        let request = process.client.data("POST", "/v2/models/slow/infer").header("tidegate-timeout", "10m");
        requests.spawn(send(request.body(ones(SIZE))));
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(first(&answer.unwrap().ok().json()), Some(SIZE as f64));
    }
    process.stop().await;
}
