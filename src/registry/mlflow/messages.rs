//! What MLflow answers, as far as it is used here.
//!
//! Its answers are protocol buffers written as JSON: fields that are empty are absent, and 64-bit numbers come as numbers
//! or as text, whichever the route. So every field has a default and numbers are taken in both forms. Field names are
//! those of `protos/service.proto` and `protos/model_registry.proto` of MLflow 3.
//!
//! Invariant: a field that is not used here is never a reason to refuse an answer.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// `registered-models/get`.
#[derive(Debug, Deserialize)]
pub(super) struct RegisteredModelAnswer {
    pub(super) registered_model: RegisteredModel,
}

/// A registered model with its whole alias map.
#[derive(Debug, Deserialize)]
pub(super) struct RegisteredModel {
    #[serde(default)]
    pub(super) aliases: Vec<Alias>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
}

/// An alias and the version that it points to.
#[derive(Debug, Deserialize)]
pub(super) struct Alias {
    pub(super) alias: String,
    #[serde(deserialize_with = "number")]
    pub(super) version: u64,
}

/// A key and a value that somebody wrote on something.
#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// `model-versions/get` and `registered-models/alias`.
#[derive(Debug, Deserialize)]
pub(super) struct ModelVersionAnswer {
    pub(super) model_version: ModelVersion,
}

/// A version of a registered model.
#[derive(Debug, Deserialize)]
pub(super) struct ModelVersion {
    #[serde(deserialize_with = "number")]
    pub(super) version: u64,
    #[serde(default)]
    pub(super) source: String,
    /// Milliseconds since 1970. A model that was deleted and registered anew has the same numbers at other times.
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) creation_timestamp: Option<u64>,
    #[serde(default)]
    pub(super) run_id: String,
    /// `READY`, `PENDING_REGISTRATION` or `FAILED_REGISTRATION`.
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
}

/// `model-versions/get-download-uri`.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadUri {
    pub(super) artifact_uri: String,
}

/// `logged-models/{id}`.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedModelAnswer {
    pub(super) model: LoggedModel,
}

/// A logged model, of which its information is used and its parameters and metrics are not.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedModel {
    pub(super) info: LoggedModelInfo,
}

/// What is known of a logged model.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedModelInfo {
    pub(super) artifact_uri: String,
    #[serde(default)]
    pub(super) source_run_id: String,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
}

/// `runs/get`.
#[derive(Debug, Deserialize)]
pub(super) struct RunAnswer {
    pub(super) run: Run,
}

/// A run, of which its information is used and its data is not.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) info: RunInfo,
}

/// What is known of a run.
#[derive(Debug, Deserialize)]
pub(super) struct RunInfo {
    pub(super) artifact_uri: String,
}

/// A page of `mlflow-artifacts/artifacts`.
#[derive(Debug, Deserialize)]
pub(super) struct FileList {
    #[serde(default)]
    pub(super) files: Vec<FileInfo>,
    /// MLflow 3.18 has one page; a store that has more says so as the other lists do.
    #[serde(default)]
    pub(super) next_page_token: String,
}

/// A file or a directory, by its name in the directory that was listed.
#[derive(Debug, Deserialize)]
pub(super) struct FileInfo {
    pub(super) path: String,
    #[serde(default)]
    pub(super) is_dir: bool,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) file_size: Option<u64>,
}

/// `server-info`, as far as downloads go.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ServerInfo {
    #[serde(default)]
    multipart_downloads_enabled: bool,
    #[serde(default)]
    artifacts_presigned_only: bool,
}

impl ServerInfo {
    /// Whether artifacts may be had from the store itself.
    pub(super) fn offers_presigned(&self) -> bool {
        self.multipart_downloads_enabled || self.artifacts_presigned_only
    }
}

/// `mlflow-artifacts/presigned`.
#[derive(Deserialize)]
pub(super) struct Presigned {
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// A size that is not one counts as none: it is a hint.
fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()))
}

/// Tags as a map; of a key that comes twice the last value stands.
pub(super) fn tag_map(tags: Vec<Tag>) -> BTreeMap<String, String> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_absent_and_numbers_come_in_both_forms() {
        let answer = r#"{"model_version":{"name":"m","version":"7","creation_timestamp":1,"new_field":{"a":[]}}}"#;
        let version = serde_json::from_str::<ModelVersionAnswer>(answer).unwrap().model_version;
        assert_eq!((version.version, version.source.as_str(), version.aliases.len()), (7, "", 0));
        let list: FileList = serde_json::from_str(
            r#"{"files":[{"path":"a","is_dir":false,"file_size":3},{"path":"b","file_size":"4"},{"path":"d","is_dir":true}]}"#,
        )
        .unwrap();
        let sizes: Vec<_> = list.files.iter().map(|file| (file.is_dir, file.file_size)).collect();
        assert_eq!(sizes, [(false, Some(3)), (false, Some(4)), (true, None)]);
        assert!(serde_json::from_str::<FileList>("{}").unwrap().files.is_empty());
    }

    #[test]
    fn either_sign_of_presigned_downloads_counts() {
        let offers = |text| serde_json::from_str::<ServerInfo>(text).unwrap().offers_presigned();
        assert!(!offers("{}") && !offers(r#"{"multipart_downloads_enabled":false,"store_type":"SqlStore"}"#));
        assert!(offers(r#"{"multipart_downloads_enabled":true}"#) && offers(r#"{"artifacts_presigned_only":true}"#));
    }
}
