//! The models that come from the registry: whether they are there, with the aliases that are needed and files that can
//! be fetched.
//!
//! The same source is asked as the gateway asks, up to the first bytes of one small file, so that what passes here
//! passes there.
//!
//! Invariant: nothing is kept of what is fetched.

use super::Look;
use super::answers::{Server, of_error};
use super::finding::Finding;
use crate::app::{cache_path, mlflow::Mlflow};
use crate::config::{Role, SourceSettings};
use crate::registry::objects::Stores;
use crate::registry::source::{Lineage, Offer, RemoteFile, Source, SourceError};
use crate::registry::staging::Cache;
use crate::registry::{MLMODEL_FILE, MODEL_FILE};
use crate::telemetry::logs::sized;
use std::sync::Arc;

/// Names that a finding repeats.
const SHOWN: usize = 20;

/// Looks at every model of the registry; bytes that are still to be fetched.
pub(super) async fn check(look: &mut Look<'_>, mlflow: &Mlflow, server: &Server) -> u64 {
    let mut needed = 0_u64;
    let stores = Arc::new(Stores::new(look.config.registry.objects.clone()));
    for (model, settings) in look.sourced() {
        let check = format!("source {model}");
        let source = match mlflow.source(&settings, &stores) {
            Ok(source) => source,
            Err(error) => {
                let remedy = format!("set models.{model}.source to models:/name, models:/name@alias or models:/name/7");
                look.note(Finding::problem(check, error.to_string(), remedy));
                continue;
            }
        };
        let offer = match source.offer().await {
            Ok(offer) => offer,
            Err(error) => {
                look.note(of_offer(&check, &error, (&model, &settings), server));
                continue;
            }
        };
        look.note(of_roles(&check, &offer, (&model, &settings)));
        for (version, lineage) in &offer.versions {
            let (finding, bytes) = of_version(look, (&model, *version), (&settings, lineage), (&*source, server)).await;
            needed = needed.saturating_add(bytes);
            look.note(finding);
        }
    }
    needed
}

/// What a refused question for a model means.
fn of_offer(check: &str, error: &SourceError, (model, settings): (&str, &SourceSettings), server: &Server) -> Finding {
    let SourceError::Absent { what, .. } = error else { return of_error(check, error, server) };
    let remedy = if what.starts_with("alias") {
        "set the alias in MLflow (MlflowClient().set_registered_model_alias(name, alias, version)), or correct \
         it in the settings"
    } else {
        "register it in MLflow, or correct it in the settings"
    };
    let remedy = format!("{remedy}: models.{model}.source is {:?}", settings.uri);
    Finding::problem(check, error.to_string(), remedy).expected(what.clone())
}

/// Whether some version serves.
pub(super) fn of_roles(check: &str, offer: &Offer, (model, settings): (&str, &SourceSettings)) -> Finding {
    match offer.roles.stable {
        Some(stable) => {
            let warm: Vec<String> = offer.roles.warm.iter().map(ToString::to_string).collect();
            let warm = if warm.is_empty() { String::new() } else { format!(", kept warm: {}", warm.join(", ")) };
            Finding::ok(check, format!("{} serves version {stable}{warm}", settings.uri))
        }
        None => {
            let stable = settings.roles.iter().find(|(_, role)| **role == Role::Stable);
            let alias = stable.map_or("champion", |(alias, _)| alias.as_str());
            let remedy = format!(
                "{}, or say in models.{model}.roles which alias is \"stable\"",
                if settings.is_of_mlflow() {
                    format!(
                        "set the alias in MLflow (MlflowClient().set_registered_model_alias(name, {alias:?}, version))"
                    )
                } else {
                    format!("upload a whole version, or name one as {alias:?} in its aliases.json")
                }
            );
            let found = format!("{} has no alias {alias:?}, so that nothing of it serves", settings.uri);
            Finding::problem(check, found, remedy).expected(format!("the alias {alias:?}"))
        }
    }
}

/// Whether a version may be fetched and can be; its bytes, if they are not here yet.
async fn of_version(
    look: &Look<'_>,
    (model, version): (&str, u64),
    (settings, lineage): (&SourceSettings, &Lineage),
    (source, server): (&dyn Source, &Server),
) -> (Finding, u64) {
    let check = format!("source {model}/{version}");
    let missing: Vec<&String> = settings.require_tags.iter().filter(|tag| !lineage.tags.contains_key(*tag)).collect();
    if !missing.is_empty() {
        let remedy = format!("set them on the version in MLflow, or take them out of models.{model}.require_tags");
        let found = format!("it lacks the tags {missing:?}, without which it is not fetched");
        return (Finding::warning(check, found, remedy), 0);
    }
    let files = match source.files(version).await {
        Ok(files) => files,
        Err(SourceError::Absent { message, .. }) => return (without_model(check, &message), 0),
        Err(error) => return (of_error(&check, &error, server), 0),
    };
    if files.iter().all(|file| file.path != MODEL_FILE) {
        return (without_model(check, &format!("it has {}", names(&files))), 0);
    }
    // The smallest, because a proxy may fetch all of a file to hand out its beginning.
    let small = files.iter().min_by_key(|file| (file.path != MLMODEL_FILE, file.size)).expect("there is a model");
    if let Err(error) = first_bytes(source, version, small).await {
        return (of_error(&check, &error, server), 0);
    }
    let bytes: u64 = files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
    let is_here = Cache::view_of(&cache_path(look.config)).join(model).join(version.to_string()).is_dir();
    let place = if is_here { "here already" } else { "can be fetched" };
    let found = format!("{} files, {}, {place}", files.len(), sized(bytes));
    (Finding::ok(check, found), if is_here { 0 } else { bytes })
}

/// Asks for a file and takes what comes first.
pub(super) async fn first_bytes(source: &dyn Source, version: u64, file: &RemoteFile) -> Result<(), SourceError> {
    source.open(version, file, 0).await?.next().await.map(drop)
}

fn without_model(check: String, found: &str) -> Finding {
    let remedy = "upload the version's files, or log it again with mlflow.onnx.log_model: MLflow calls a version READY \
                  when it is registered, whether or not its files are there";
    Finding::problem(check, format!("it is READY and has no {MODEL_FILE}: {found}"), remedy).expected(MODEL_FILE)
}

fn names(files: &[RemoteFile]) -> String {
    let names: Vec<&str> = files.iter().take(SHOWN).map(|file| file.path.as_str()).collect();
    if names.is_empty() { "no files".to_owned() } else { names.join(", ") }
}
