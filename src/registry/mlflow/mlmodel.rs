//! `MLmodel`: what MLflow wrote beside a model of what it is.
//!
//! Read leniently. Unknown keys are kept by MLflow itself (`models/model.py`), files are written by hand, and nothing
//! here is needed to serve: a graph says its own names and types. What is read is shown, compared with the graph, and
//! tells which file the graph is in.
//!
//! Invariant: a key of another kind than expected counts as absent; only what is no YAML, or no map, is refused.

use super::signature::MlSignature;
use crate::registry::source::{SourceError, checked_path};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest file, bytes; MLflow's own are about one thousand.
pub const LARGEST_MLMODEL: usize = 1 << 20;
/// Where a commit may be written, the first that is there.
const COMMIT_KEYS: [&str; 2] = ["mlflow.source.git.commit", "git_commit"];

/// What an `MLmodel` says, as far as it is used here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MlModel {
    /// The model as a graph, if it is one.
    pub onnx: Option<OnnxFlavor>,
    /// What it takes and gives.
    pub signature: Option<MlSignature>,
    /// `m-…`, MLflow 3.
    pub model_id: Option<String>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The version of MLflow that wrote the file.
    pub mlflow_version: Option<String>,
    /// The commit that it was made from, where its metadata or tags say so; see also [`git_commit`].
    pub git_commit: Option<String>,
}

/// The flavor `onnx`.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxFlavor {
    /// The path of the graph within the version.
    pub data: String,
    /// What the session is to be made with.
    pub session_options: SessionOptions,
    /// Execution providers in order of preference.
    pub providers: Vec<Provider>,
}

/// `onnx_session_options`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// The level of graph optimization, ONNX Runtime's number.
    pub graph_optimization_level: Option<u64>,
    /// Threads within an operator.
    pub intra_op_num_threads: Option<u64>,
    /// Threads between operators.
    pub inter_op_num_threads: Option<u64>,
    /// `sequential` or `parallel`.
    pub execution_mode: Option<String>,
}

/// An execution provider and its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its name, `CUDAExecutionProvider`.
    pub name: String,
    /// Its options, as they are written.
    pub options: BTreeMap<String, Value>,
}

impl MlModel {
    /// Reads the bytes of an `MLmodel`.
    ///
    /// # Errors
    /// [`SourceError::Unexpected`] when it is too long, no YAML or no map, or names a graph outside its version.
    pub fn parse(bytes: &[u8]) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::Unexpected { place: "the file MLmodel".to_owned(), reason };
        if bytes.len() > LARGEST_MLMODEL {
            return Err(wrong(format!("expected at most {LARGEST_MLMODEL} bytes, found {}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(format!("expected UTF-8, {error}")))?;
        let file: Value =
            serde_saphyr::from_str(text).map_err(|error| wrong(format!("expected YAML, {}", first_line(&error))))?;
        if !file.is_object() {
            return Err(wrong("expected a map of keys".to_owned()));
        }
        let text = |key: &str| file[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self {
            onnx: OnnxFlavor::read(&file["flavors"]["onnx"])?,
            signature: MlSignature::read(&file["signature"]),
            model_id: text("model_id"),
            run_id: text("run_id"),
            mlflow_version: text("mlflow_version"),
            git_commit: [&file["metadata"], &file["tags"]].into_iter().find_map(commit_in),
        })
    }
}

/// The commit that a version's tags name.
#[must_use]
pub fn git_commit(tags: &BTreeMap<String, String>) -> Option<&str> {
    COMMIT_KEYS.iter().find_map(|key| tags.get(*key)).map(String::as_str)
}

fn commit_in(map: &Value) -> Option<String> {
    COMMIT_KEYS.iter().find_map(|key| map.get(key)?.as_str()).map(str::to_owned)
}

/// Errors of the parser show the lines around them below their first.
fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl OnnxFlavor {
    fn read(flavor: &Value) -> Result<Option<Self>, SourceError> {
        if !flavor.is_object() {
            return Ok(None);
        }
        let data = flavor["data"].as_str().unwrap_or(crate::registry::MODEL_FILE);
        let options = &flavor["onnx_session_options"];
        let session_options = SessionOptions {
            graph_optimization_level: options["graph_optimization_level"].as_u64(),
            intra_op_num_threads: options["intra_op_num_threads"].as_u64(),
            inter_op_num_threads: options["inter_op_num_threads"].as_u64(),
            execution_mode: options["execution_mode"].as_str().map(str::to_owned),
        };
        let data = checked_path(data)?.to_owned();
        Ok(Some(Self { data, session_options, providers: providers(&flavor["providers"]) }))
    }
}

/// A list of names and pairs of a name and options; by hand also one bare name, or nothing.
fn providers(value: &Value) -> Vec<Provider> {
    match value {
        Value::String(name) => vec![Provider { name: name.clone(), options: BTreeMap::new() }],
        Value::Array(items) => items.iter().filter_map(provider).collect(),
        _ => Vec::new(),
    }
}

fn provider(item: &Value) -> Option<Provider> {
    let (name, options) = match item {
        Value::Array(pair) => (pair.first()?, pair.get(1)),
        name => (name, None),
    };
    let options = options.and_then(Value::as_object).into_iter().flatten();
    let options = options.map(|(key, value)| (key.clone(), value.clone())).collect();
    Some(Provider { name: name.as_str()?.to_owned(), options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As MLflow 3.17 writes it.
    const WRITTEN: &str = "\
artifact_path: mlflow-artifacts:/0/models/m-b159215421b24fa0a0f2cec57d169171/artifacts
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_session_options: null
    onnx_version: 1.23.2
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
  python_function:
    data: model.onnx
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.onnx
    python_version: 3.11.7
is_signature_from_type_hint: false
mlflow_version: 3.17.2
model_id: m-b159215421b24fa0a0f2cec57d169171
model_size_bytes: 19303
prompts: null
run_id: cd88d9f866d84aafadadb47da8ba37ea
signature:
  inputs: '[{\"name\": \"features\", \"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\",
    \"shape\": [-1, 30]}}]'
  outputs: null
  params: null
utc_time_created: '2026-11-27 04:37:21.529017'
";

    fn read(text: &str) -> MlModel {
        MlModel::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_mlflow_writes_is_read() {
        let model = read(WRITTEN);
        let onnx = model.onnx.unwrap();
        let names: Vec<_> = onnx.providers.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!((onnx.data.as_str(), names), ("model.onnx", vec!["CUDAExecutionProvider", "CPUExecutionProvider"]));
        assert_eq!(onnx.session_options, SessionOptions::default());
        assert_eq!(model.model_id.as_deref(), Some("m-b159215421b24fa0a0f2cec57d169171"));
        assert_eq!(model.run_id.as_deref(), Some("cd88d9f866d84aafadadb47da8ba37ea"));
        assert_eq!(model.mlflow_version.as_deref(), Some("3.17.2"));
        let inputs = model.signature.unwrap().inputs.unwrap();
        assert_eq!((inputs.len(), inputs[0].name.as_deref()), (1, Some("features")));
        assert_eq!(inputs[0].shape.as_deref(), Some(&[-1, 30][..]));
    }

    #[test]
    fn providers_come_in_every_form() {
        let named = |text: &str| {
            let providers = read(&format!("flavors: {{onnx: {{providers: {text}}}}}")).onnx.unwrap().providers;
            providers.into_iter().map(|provider| (provider.name, provider.options.len())).collect::<Vec<_>>()
        };
        let cpu = ("CPUExecutionProvider".to_owned(), 0);
        assert_eq!(named("CPUExecutionProvider"), std::slice::from_ref(&cpu));
        assert_eq!(named("[CPUExecutionProvider]"), std::slice::from_ref(&cpu));
        assert_eq!(named("null"), []);
        assert_eq!(named("{a: b}"), []);
        let mixed = "[[TensorrtExecutionProvider, {trt_fp16_enable: true, device_id: 0}], 7, CPUExecutionProvider, []]";
        assert_eq!(named(mixed), [("TensorrtExecutionProvider".to_owned(), 2), cpu]);
    }

    #[test]
    fn session_options_are_read_and_odd_ones_passed_over() {
        let options = |text: &str| {
            read(&format!("flavors: {{onnx: {{onnx_session_options: {text}}}}}")).onnx.unwrap().session_options
        };
        let read = options("{intra_op_num_threads: 2, execution_mode: parallel, graph_optimization_level: 99, x: 1}");
        assert_eq!((read.intra_op_num_threads, read.inter_op_num_threads), (Some(2), None));
        assert_eq!((read.graph_optimization_level, read.execution_mode.as_deref()), (Some(99), Some("parallel")));
        assert_eq!(options("[1, 2]"), SessionOptions::default());
    }

    #[test]
    fn a_model_of_another_flavor_has_no_graph_and_a_graph_elsewhere_is_refused() {
        assert_eq!(read("flavors: {sklearn: {pickled_model: model.pkl}}"), MlModel::default());
        assert_eq!(read("flavors: {onnx: {data: net/graph.onnx}}").onnx.unwrap().data, "net/graph.onnx");
        for text in ["flavors: {onnx: {data: ../../etc/passwd}}", "flavors: {onnx: {data: /etc/passwd}}"] {
            assert!(MlModel::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_commit_is_found_in_metadata_and_tags() {
        let model = read("metadata: {git_commit: abc}\nflavors: {}");
        assert_eq!(model.git_commit.as_deref(), Some("abc"));
        let tags = BTreeMap::from([("mlflow.source.git.commit".to_owned(), "def".to_owned())]);
        assert_eq!((git_commit(&tags), git_commit(&BTreeMap::new())), (Some("def"), None));
    }

    #[test]
    fn what_is_no_map_of_yaml_is_refused_in_one_line() {
        let large = "a: ".to_owned() + &"b".repeat(LARGEST_MLMODEL);
        for text in ["", "- a", "text", "a: [", "a: *b", "\t- :", &large] {
            let error = MlModel::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() < 400, "{error}");
        }
        assert!(MlModel::parse(b"a: \xff").is_err());
        // Aliases of aliases: a short text that would be a very large tree.
        let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
            let before = format!("*a{}, ", level - 1).repeat(9);
            format!("{text}a{level}: &a{level} [{before}]\n")
        });
        assert!(MlModel::parse(bomb.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_file_is_too_odd(bytes in any::<Vec<u8>>(), text in "[a-z:{}\\[\\]&*!|>\"' \n-]{0,60}") {
            let _ = MlModel::parse(&bytes);
            let _ = MlModel::parse(text.as_bytes());
        }
    }
}
