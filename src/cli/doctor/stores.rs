//! The models that come from object stores: whether they can be listed, which versions are whole, and whether bytes come.
//!
//! A quiet time can only be told by looking twice, so that a version without a manifest that was uploaded just now counts as
//! not whole here, as it does at the gateway's first look.
//!
//! Invariant: nothing is kept of what is fetched.

use super::Look;
use super::finding::Finding;
use super::sources::{first_bytes, of_roles};
use crate::app::object_source;
use crate::registry::objects::Stores;
use crate::registry::source::{Source, SourceError};
use crate::telemetry::logs::sized;

/// Looks at every model of a store.
pub(super) async fn check(look: &mut Look<'_>) {
    let stores = Stores::new(look.config.registry.objects.clone());
    let models = look.config.models.iter();
    let sourced = models.filter_map(|(model, settings)| Some((model.clone(), settings.source.clone()?)));
    let of_stores: Vec<_> = sourced.filter(|(_, source)| !source.is_of_mlflow()).collect();
    for (model, settings) in of_stores {
        let check = format!("source {model}");
        let source = match object_source(&settings, &stores) {
            Ok(source) => source,
            Err(error) => {
                let remedy = format!("correct models.{model}.source or the table of its store");
                look.note(Finding::problem(check, error.to_string(), remedy));
                continue;
            }
        };
        match source.offer().await {
            Ok(offer) => {
                look.note(of_roles(&check, &offer, (&model, &settings)));
                for problem in &offer.problems {
                    let remedy =
                        "complete the upload, or correct the manifest; a version that is not whole is not fetched";
                    look.note(Finding::warning(check.clone(), problem.clone(), remedy));
                }
                for version in offer.versions.keys() {
                    let finding = of_version(format!("source {model}/{version}"), &*source, *version).await;
                    look.note(finding);
                }
            }
            Err(error) => look.note(of_error(check, &error)),
        }
    }
}

/// Whether a version can be fetched.
async fn of_version(check: String, source: &dyn Source, version: u64) -> Finding {
    let files = match source.files(version).await {
        Ok(files) => files,
        Err(error) => return of_error(check, &error),
    };
    if let Some(small) = files.iter().min_by_key(|file| file.size)
        && let Err(error) = first_bytes(source, version, small).await
    {
        return of_error(check, &error);
    }
    let bytes: u64 = files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
    Finding::ok(check, format!("{} files, {}, can be fetched", files.len(), sized(bytes)))
}

fn of_error(check: String, error: &SourceError) -> Finding {
    let remedy = match error {
        SourceError::Unreachable { .. } | SourceError::Failing { .. } => {
            "check the store's endpoint, that it answers, and that this machine may reach it"
        }
        SourceError::Refused { .. } => "check the store's keys, what they may read, and this machine's clock",
        SourceError::Absent { .. } => "check the bucket and the prefix of models.<name>.source, and what was uploaded",
        SourceError::NotWhole { .. } => "wait for the upload to end, or complete it",
        SourceError::Unexpected { .. } => "check models.<name>.source and the table of its store",
    };
    Finding::problem(check, error.to_string(), remedy)
}
