//! Where a secret is kept, and how it is fetched.
//!
//! Secrets are named in the file and kept elsewhere, so that the file can be shown, committed and attached to a report.
//! They are fetched while settings are read, because a variable that is not set is a problem like any other. Only the
//! source that counts is fetched: whoever overrides it need not have the overridden one.
//!
//! Invariant: no problem recorded here repeats a secret.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::problem::ProblemKind;
use super::reader::Reader;
use super::secret::Secret;
use super::source::Sources;
use super::tree::Value;
use super::values;

const EXPECTED: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";

/// Where a secret is kept.
enum SecretSource {
    /// In the variable that is the setting.
    Given(OsString),
    /// In a variable of this name.
    Variable(String),
    /// In a file.
    File(String),
}

/// A secret: `{ env = "NAME" }` or `{ file = "PATH" }`; in the setting's own variable, the value itself.
pub(super) fn secret(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<Secret> {
    let mut chosen = None;
    for entry in reader.take(key) {
        let origin = entry.origin;
        let source = match entry.value {
            Value::Untyped(text) => Some(SecretSource::Given(text)),
            Value::Table(section) => reader.below(key, origin.clone(), section).finish(read_source),
            other => {
                let found = format!("{}; a secret does not stand in this file", other.describe_type());
                reader.problem(origin.clone(), key, ProblemKind::Invalid { expected: EXPECTED.to_owned(), found });
                None
            }
        };
        if let Some(SecretSource::Variable(name)) = &source {
            reader.ledger.named_variables.insert(name.clone());
        }
        chosen = source.map(|source| (origin, source)).or(chosen);
    }
    let (origin, source) = chosen?;
    match source.fetch(reader.ledger.sources) {
        Ok(secret) => Some(secret),
        Err(reason) => {
            reader.problem(origin, key, ProblemKind::Secret { place: source.to_string(), reason });
            None
        }
    }
}

fn read_source(reader: &mut Reader<'_, '_>) -> Option<SecretSource> {
    let text = |value: &Value| match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(values::refused("a name", other)),
    };
    let found = match (reader.has("env"), reader.has("file")) {
        (true, true) => Some("both"),
        (false, false) => Some("neither"),
        _ => None,
    };
    let (variable, file) = (reader.value("env", text), reader.value("file", text));
    if let Some(found) = found {
        reader.own_problem(ProblemKind::Invalid { expected: EXPECTED.to_owned(), found: found.to_owned() });
        return None;
    }
    variable.map(SecretSource::Variable).or(file.map(SecretSource::File))
}

impl SecretSource {
    fn fetch(&self, sources: &Sources<'_>) -> Result<Secret, String> {
        let readable = |text: &OsString| text.to_str().map(str::to_owned).ok_or("it is not UTF-8".to_owned());
        let text = match self {
            Self::Given(text) => readable(text)?,
            Self::Variable(name) => readable(sources.environment.get(name).ok_or("it is not set")?)?,
            Self::File(name) => (sources.read_secret)(Path::new(name)).map_err(|cause| cause.to_string())?,
        };
        checked(&text)
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => formatter.write_str("this variable"),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::File(name) => write!(formatter, "file {name}"),
        }
    }
}

/// A secret without the newline that editors leave at its end; it must fit into an HTTP header.
fn checked(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters other than visible ASCII".to_owned());
    }
    Ok(Secret::new(text))
}
