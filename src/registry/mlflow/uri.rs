//! What a model is called in a registry, `models:/…`, and where a registry says that artifacts are.
//!
//! Both are parsed by hand and not as URLs, because MLflow's are none: the name of a model may hold spaces, dots and `@`
//! as they are, `models:/a@b` has no authority, and an artifact's address may be a plain path. The grammar is that of
//! MLflow 3, `store/artifact/utils/models.py` and `store/artifact/mlflow_artifacts_repo.py`, and one form of our own:
//! `models:/name` alone, which is every version of a model that an alias gives a role.
//!
//! Invariant: a [`ModelUri`] that was parsed is written as the text that it was parsed from.

use crate::registry::objects::address::{self, ObjectAddress};
use crate::registry::source::{SourceError, checked_path};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What every name of a model begins with.
const SCHEME: &str = "models:/";
/// The longest alias, characters: `utils/validation.py`.
const LONGEST_ALIAS: usize = 255;
/// The longest name of a model, bytes: the width of the column that MLflow keeps it in.
const LONGEST_NAME: usize = 256;
/// The hexadecimal digits of a logged model's id, after `m-`.
const LOGGED_DIGITS: usize = 32;
/// The longest part of an address that an error repeats, characters.
const SHOWN: usize = 120;

/// What to serve of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModelUri {
    /// `models:/name`: the versions that the model's aliases point to.
    Model {
        /// The registered model.
        name: String,
    },
    /// `models:/name@alias`: the version that this alias points to.
    Alias {
        /// The registered model.
        name: String,
        /// The alias.
        alias: String,
    },
    /// `models:/name/7`: this version.
    Version {
        /// The registered model.
        name: String,
        /// The version.
        version: u64,
    },
    /// `models:/m-…`: a model that was logged and perhaps never registered.
    Logged {
        /// `m-` and 32 hexadecimal digits.
        id: String,
    },
}

/// Where the artifacts of a version are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactUri {
    /// Behind the proxy of the registry, `mlflow-artifacts:/path`, or of another server, `mlflow-artifacts://host/path`.
    Proxy {
        /// Host and port of another server.
        netloc: Option<String>,
        /// The path below the proxy's root, without a slash at either end; empty for the root itself.
        path: String,
    },
    /// In a directory, `file:///path` or a plain path.
    Local(PathBuf),
    /// In an object store: `s3:`, `gs:`, `abfss:`, `wasbs:`.
    Objects(ObjectAddress),
    /// Below the artifacts of a run, `runs:/run/path`.
    Run {
        /// The run.
        id: String,
        /// The path below its artifacts, without a slash at either end.
        path: String,
    },
    /// Where another model's are.
    Model(ModelUri),
}

impl FromStr for ModelUri {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let refused = |found: &str| not_understood(FORMS, found);
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refused(text))?;
        if let Some((name, version)) = rest.split_once('/') {
            let number = version.parse().ok().filter(|number: &u64| number.to_string() == version && *number > 0);
            return match number {
                Some(version) if is_name(name) => Ok(Self::Version { name: name.to_owned(), version }),
                _ => Err(refused(text)),
            };
        }
        // A name may hold an `@`, an alias may not.
        if let Some((name, alias)) = rest.rsplit_once('@') {
            let is_fine = is_name(name) && is_alias(alias);
            let uri = || Self::Alias { name: name.to_owned(), alias: alias.to_owned() };
            return is_fine.then(uri).ok_or_else(|| refused(text));
        }
        match rest {
            id if is_logged_id(id) => Ok(Self::Logged { id: id.to_owned() }),
            name if is_name(name) => Ok(Self::Model { name: name.to_owned() }),
            _ => Err(refused(text)),
        }
    }
}

impl fmt::Display for ModelUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model { name } => write!(formatter, "{SCHEME}{name}"),
            Self::Alias { name, alias } => write!(formatter, "{SCHEME}{name}@{alias}"),
            Self::Version { name, version } => write!(formatter, "{SCHEME}{name}/{version}"),
            Self::Logged { id } => write!(formatter, "{SCHEME}{id}"),
        }
    }
}

const FORMS: &str = "models:/name, models:/name@alias, models:/name/7 (stages and latest are not followed) or models:/m-<32 hexadecimal digits>";

fn not_understood(expected: &str, found: &str) -> SourceError {
    let shown: String = found.chars().take(SHOWN).collect();
    SourceError::Unexpected {
        place: "the address of a model".to_owned(),
        reason: format!("expected {expected}, found {shown:?}"),
    }
}

/// A name that MLflow registers: not blank, no `/` or `:`, and a part of a path that stays one.
fn is_name(name: &str) -> bool {
    let is_plain = !name.contains(['/', ':', '\\']) && !name.contains(char::is_control);
    is_plain && !name.trim().is_empty() && !matches!(name, "." | "..") && name.len() <= LONGEST_NAME
}

/// Python's `[\w\-]+`.
fn is_alias(alias: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || "_-".contains(character);
    !alias.is_empty() && alias.chars().count() <= LONGEST_ALIAS && alias.chars().all(is_word)
}

fn is_logged_id(id: &str) -> bool {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    id.strip_prefix("m-").is_some_and(|digits| digits.len() == LOGGED_DIGITS && digits.bytes().all(is_digit))
}

impl FromStr for ArtifactUri {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.starts_with('/') {
            return local(text);
        }
        match text.split_once(':') {
            Some(("mlflow-artifacts", rest)) => {
                let (netloc, path) = authority(rest);
                let netloc = netloc.filter(|netloc| !netloc.is_empty()).map(str::to_owned);
                Ok(Self::Proxy { netloc, path: below(&decoded(path)?)? })
            }
            Some(("file", rest)) => match authority(rest) {
                (None | Some("" | "localhost"), path) => local(&decoded(path)?),
                (Some(_), _) => Err(not_understood("a file: of this machine", text)),
            },
            Some(("runs", rest)) => {
                let rest = below(rest)?;
                let (id, path) = rest.split_once('/').unwrap_or((&rest, ""));
                let run = Self::Run { id: id.to_owned(), path: path.to_owned() };
                if id.is_empty() { Err(not_understood("runs:/run/path", text)) } else { Ok(run) }
            }
            Some(("models", _)) => text.parse().map(Self::Model),
            _ if address::is_of_a_store(text) => text.parse().map(Self::Objects),
            _ => Err(not_understood(
                "mlflow-artifacts:, an object store, file:, runs:, models: or an absolute path",
                text,
            )),
        }
    }
}

/// What stands between `//` and the next slash, and the rest.
fn authority(rest: &str) -> (Option<&str>, &str) {
    match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        None => (None, rest),
    }
}

fn decoded(path: &str) -> Result<String, SourceError> {
    let text = percent_decode_str(path).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_not_text| not_understood("a path in UTF-8", path))
}

/// A path below a root, without slashes at its ends; one that would leave the root is refused.
fn below(path: &str) -> Result<String, SourceError> {
    let path = path.trim_matches('/');
    if path.is_empty() { Ok(String::new()) } else { checked_path(path).map(str::to_owned) }
}

fn local(path: &str) -> Result<ArtifactUri, SourceError> {
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains('\0');
    is_plain.then(|| ArtifactUri::Local(PathBuf::from(path))).ok_or_else(|| not_understood("an absolute path", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(text: &str) -> Option<ModelUri> {
        text.parse().ok()
    }

    fn artifacts(text: &str) -> Option<ArtifactUri> {
        text.parse().ok()
    }

    #[test]
    fn every_form_of_a_model_is_told_apart() {
        let id = "m-0123456789abcdef0123456789abcdef";
        assert_eq!(model("models:/churn"), Some(ModelUri::Model { name: "churn".into() }));
        assert_eq!(model("models:/m-churn"), Some(ModelUri::Model { name: "m-churn".into() }));
        assert_eq!(model("models:/churn/7"), Some(ModelUri::Version { name: "churn".into(), version: 7 }));
        assert_eq!(model(&format!("models:/{id}")), Some(ModelUri::Logged { id: id.into() }));
        let alias = ModelUri::Alias { name: "a@b c".into(), alias: "champion".into() };
        assert_eq!(model("models:/a@b c@champion"), Some(alias));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        for text in [
            "churn",
            "models:",
            "models:/",
            "models:/ ",
            "models://host/churn",
            "models:/..",
            "models:/churn/",
            "models:/churn/latest",
            "models:/churn/Production",
            "models:/churn/07",
            "models:/churn/0",
            "models:/churn/-1",
            "models:/churn/7/8",
            "models:/churn@",
            "models:/@champion",
            "models:/churn@a b",
            "models:/a:b",
            "models:/a\nb",
        ] {
            assert_eq!(model(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_proxys_address_may_name_another_server() {
        let proxy = |netloc: Option<&str>, path: &str| {
            Some(ArtifactUri::Proxy { netloc: netloc.map(str::to_owned), path: path.to_owned() })
        };
        assert_eq!(artifacts("mlflow-artifacts:/0/models/m-1/artifacts"), proxy(None, "0/models/m-1/artifacts"));
        assert_eq!(artifacts("mlflow-artifacts:///0/x/"), proxy(None, "0/x"));
        assert_eq!(artifacts("mlflow-artifacts://other:5001/0/a%20b"), proxy(Some("other:5001"), "0/a b"));
        assert_eq!(artifacts("mlflow-artifacts:/"), proxy(None, ""));
        for text in ["mlflow-artifacts:/0/../1", "mlflow-artifacts:/0/%2e%2e/1", "mlflow-artifacts:/a//b"] {
            assert_eq!(artifacts(text), None, "{text}");
        }
    }

    #[test]
    fn files_are_of_this_machine_and_stay_where_they_are_said_to_be() {
        let local = |path: &str| Some(ArtifactUri::Local(PathBuf::from(path)));
        for text in ["/srv/a b", "file:/srv/a%20b", "file:///srv/a b", "file://localhost/srv/a b"] {
            assert_eq!(artifacts(text), local("/srv/a b"), "{text}");
        }
        for text in ["srv/x", "./x", "file://elsewhere/x", "file:x", "file:///srv/../etc", "file:///a%2F..%2Fb"] {
            assert_eq!(artifacts(text), None, "{text}");
        }
    }

    #[test]
    fn runs_and_other_models_are_followed_and_object_stores_are_told_apart() {
        let run = |id: &str, path: &str| Some(ArtifactUri::Run { id: id.to_owned(), path: path.to_owned() });
        assert_eq!(artifacts("runs:/abc/model/onnx"), run("abc", "model/onnx"));
        assert_eq!(artifacts("runs:/abc"), run("abc", ""));
        assert_eq!(artifacts("runs:/"), None);
        assert_eq!(artifacts("models:/churn/7"), model("models:/churn/7").map(ArtifactUri::Model));
        for text in ["s3://bucket/key", "gs://bucket/key", "wasbs://models@acc1.blob.core.windows.net/key"] {
            assert!(matches!(artifacts(text), Some(ArtifactUri::Objects(address)) if address.prefix.as_ref() == "key"));
        }
        assert_eq!(artifacts("s3://bucket/a/../b"), None);
        assert_eq!(artifacts("https://elsewhere/model"), None);
    }

    proptest! {
        #[test]
        fn a_model_is_written_as_it_was_read(
            name in "[a-zA-Z0-9 ._'\"%é-]{1,20}",
            at in "[a-z@]{1,5}",
            alias in "[a-zA-Z0-9_é-]{1,10}",
            version in 1_u64..,
        ) {
            prop_assume!(is_name(&name) && !is_logged_id(&name));
            let with_at = format!("{name}{at}");
            for uri in [
                ModelUri::Model { name },
                ModelUri::Alias { name: with_at.clone(), alias },
                ModelUri::Version { name: with_at, version },
                ModelUri::Logged { id: format!("m-{version:032x}") },
            ] {
                prop_assert_eq!(uri.to_string().parse::<ModelUri>().unwrap(), uri);
            }
        }

        #[test]
        fn no_text_is_too_odd_and_what_is_read_stays_below_its_root(text in any::<String>(), path in "[./%2eab]{0,12}") {
            if let Some(uri) = model(&text) {
                prop_assert_eq!(uri.to_string(), text);
            }
            if let Some(ArtifactUri::Proxy { path, .. }) = artifacts(&format!("mlflow-artifacts:/{path}")) {
                prop_assert!(path.split('/').all(|part| part != ".."));
            }
        }
    }
}
