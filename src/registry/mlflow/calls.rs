//! The routes of MLflow that are used here, one function each.
//!
//! All of them are GET. `registered-models/get` is what tells the aliases: `model-versions/search` answers empty ones on
//! MLflow's own store (mlflow#9783, #16734).
//!
//! Invariant: a call asks one question, and asking it changes nothing.

use super::client::MlflowClient;
use super::messages::{
    DownloadUri, FileList, LoggedModelAnswer, LoggedModelInfo, ModelVersion, ModelVersionAnswer, RegisteredModel,
    RegisteredModelAnswer, RunAnswer, ServerInfo,
};
use crate::registry::source::SourceError;
use reqwest::Url;

/// The first parts of most routes.
pub(super) const API: [&str; 3] = ["api", "2.0", "mlflow"];
/// The first parts of the routes of the proxy of artifacts.
const ARTIFACTS: [&str; 3] = ["api", "2.0", "mlflow-artifacts"];

impl MlflowClient {
    fn route(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        self.url(&[&API, parts].concat(), query)
    }

    /// A model with its alias map.
    pub(super) async fn registered_model(&self, name: &str) -> Result<RegisteredModel, SourceError> {
        let url = self.route(&["registered-models", "get"], &[("name", name)]);
        let answer: RegisteredModelAnswer = self.json(url, &format!("model {name:?}")).await?;
        Ok(answer.registered_model)
    }

    /// The version that an alias points to.
    pub(super) async fn version_of_alias(&self, name: &str, alias: &str) -> Result<ModelVersion, SourceError> {
        let what = format!("alias {alias:?} of model {name:?}");
        let url = self.route(&["registered-models", "alias"], &[("name", name), ("alias", alias)]);
        match self.ask::<ModelVersionAnswer>(url).await? {
            Ok(answer) => Ok(answer.model_version),
            Err(failure) if failure.is_unknown_alias() => Err(SourceError::Absent { what, message: failure.message }),
            Err(failure) => Err(failure.into_error(&self.origin(), &what)),
        }
    }

    /// A version.
    pub(super) async fn version(&self, name: &str, version: u64) -> Result<ModelVersion, SourceError> {
        let url = self.route(&["model-versions", "get"], &[("name", name), ("version", &version.to_string())]);
        let answer: ModelVersionAnswer = self.json(url, &format!("version {version} of model {name:?}")).await?;
        if answer.model_version.version != version {
            let reason = format!("expected version {version} of {name:?}, found {}", answer.model_version.version);
            return Err(SourceError::Unexpected { place: self.origin(), reason });
        }
        Ok(answer.model_version)
    }

    /// Where the artifacts of a version are.
    pub(super) async fn download_uri(&self, name: &str, version: u64) -> Result<String, SourceError> {
        let query = [("name", name), ("version", &version.to_string())];
        let url = self.route(&["model-versions", "get-download-uri"], &query);
        let answer: DownloadUri = self.json(url, &format!("version {version} of model {name:?}")).await?;
        Ok(answer.artifact_uri)
    }

    /// A logged model.
    pub(super) async fn logged_model(&self, id: &str) -> Result<LoggedModelInfo, SourceError> {
        let url = self.route(&["logged-models", id], &[]);
        let answer: LoggedModelAnswer = self.json(url, &format!("logged model {id}")).await?;
        Ok(answer.model.info)
    }

    /// Where the artifacts of a run are.
    pub(super) async fn run_artifacts(&self, run: &str) -> Result<String, SourceError> {
        let url = self.route(&["runs", "get"], &[("run_id", run)]);
        let answer: RunAnswer = self.json(url, &format!("run {run}")).await?;
        Ok(answer.run.info.artifact_uri)
    }

    /// Whether the server hands out presigned URLs. Servers before MLflow 3 do not know the question.
    pub(super) async fn offers_presigned(&self) -> Result<bool, SourceError> {
        let url = self.url(&["api", "3.0", "mlflow", "server-info"], &[]);
        match self.ask::<ServerInfo>(url).await {
            Ok(Ok(info)) => Ok(info.offers_presigned()),
            Ok(Err(failure)) if matches!(failure.status, 400 | 403..=405 | 501) => Ok(false),
            Ok(Err(failure)) => Err(failure.into_error(&self.origin(), "what the server can do")),
            Err(SourceError::Unexpected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A page of what is in a directory behind a proxy; the first has no token.
    pub(super) async fn list(
        &self,
        netloc: Option<&str>,
        directory: &str,
        token: &str,
    ) -> Result<FileList, SourceError> {
        let pairs = [("path", directory), ("page_token", token)];
        let query: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let url = self.at(netloc, self.url(&[&ARTIFACTS[..], &["artifacts"]].concat(), &query))?;
        self.json(url, &format!("artifacts of {directory:?}")).await
    }

    /// The URL of a file behind a proxy: `kind` is `artifacts` for its bytes, `presigned` for another URL.
    pub(super) fn file_url(&self, netloc: Option<&str>, kind: &str, path: &str) -> Result<Url, SourceError> {
        let parts: Vec<&str> = ARTIFACTS.into_iter().chain([kind]).chain(path.split('/')).collect();
        self.at(netloc, self.url(&parts, &[]))
    }

    fn at(&self, netloc: Option<&str>, url: Url) -> Result<Url, SourceError> {
        netloc.map_or(Ok(url.clone()), |netloc| self.url_elsewhere(netloc, &url))
    }
}
