//! What a `config.pbtxt` means here.
//!
//! Directories that Triton serves are served as they are, so its configuration is read for what has an effect here:
//! `max_batch_size`, `version_policy`, `dynamic_batching` and `instance_group`. Keys that only repeat what the graph says itself are passed over; every other
//! key is named, so that nobody believes in a setting that does nothing. Field names and defaults are those of
//! <https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto>.
//!
//! Strict where a key is used: a misspelt field within `version_policy` is a problem and not a key without effect,
//! because a policy that is half understood would load the wrong versions.
//!
//! Invariant: what is not used is either identity or listed.

mod execution;

use super::MODEL_FILE;
use super::pbtxt::{Field, Message, Problem, Value};
use crate::catalog::{TritonConfig, VersionPolicy};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// Keys that say what the graph and its place say as well.
const IDENTITY: [&str; 5] = ["name", "platform", "backend", "input", "output"];
/// Keys that are read.
const USED: [&str; 4] = ["max_batch_size", "version_policy", "dynamic_batching", "instance_group"];
/// The most versions that a policy may name, as many as a listing looks at.
const SPECIFIC_LIMIT: usize = super::directory::VERSIONS_LIMIT;
/// Longest text of the file that a problem repeats, in characters.
const SHOWN: usize = 80;

/// Reads the configuration of the model in the directory `model`.
///
/// # Errors
/// A [`Problem`] when a key that is used has a value of another kind, or when the name is not the directory's.
pub fn interpret(message: &Message, model: &str) -> Result<TritonConfig, Problem> {
    if let Some(field) = message.single("name")? {
        check_name(field, model)?;
    }
    let max_batch_size = message.single("max_batch_size")?.map(max_batch_size).transpose()?.flatten();
    let version_policy = message.single("version_policy")?.map(version_policy).transpose()?.unwrap_or_default();
    let mut not_used: Vec<String> = Vec::new();
    let execution = execution::execution(message, max_batch_size, &mut not_used)?;
    for field in message.fields.iter().filter(|field| !is_used(field)) {
        if !not_used.contains(&field.name) {
            not_used.push(field.name.clone());
        }
    }
    Ok(TritonConfig { max_batch_size, version_policy, execution, not_used })
}

fn is_used(field: &Field) -> bool {
    let name = field.name.as_str();
    // Another file's name would have an effect in Triton; here the graph has one name.
    let names_the_graph = name == "default_model_filename" && matches!(text(field), Ok("" | MODEL_FILE));
    IDENTITY.contains(&name) || USED.contains(&name) || names_the_graph
}

/// An absent and an empty name are the same to protobuf.
fn check_name(field: &Field, model: &str) -> Result<(), Problem> {
    let name = text(field)?;
    if name.is_empty() || name == model {
        return Ok(());
    }
    let shown: String = name.chars().take(SHOWN).collect();
    Err(field.problem(format!("the name is {shown:?}, but the model's directory is {model:?}")))
}

/// Nothing for 0, by which Triton means that the model does not batch on its own, not that it takes no rows.
fn max_batch_size(field: &Field) -> Result<Option<NonZeroU32>, Problem> {
    let size = whole_number(field, &field.value)?;
    let size = i32::try_from(size).ok().and_then(|size| u32::try_from(size).ok());
    size.map(NonZeroU32::new).ok_or_else(|| field.problem(format!("expected max_batch_size from 0 to {}", i32::MAX)))
}

fn version_policy(field: &Field) -> Result<VersionPolicy, Problem> {
    let policy = message(field)?;
    let [choice] = policy.fields.as_slice() else {
        return Err(field.problem("expected one of latest, all and specific in version_policy".to_owned()));
    };
    match choice.name.as_str() {
        "latest" => latest(choice),
        "all" => only_fields(message(choice)?, &[]).map(|()| VersionPolicy::All),
        "specific" => specific(choice),
        _ => Err(unknown_field(choice, &["latest", "all", "specific"])),
    }
}

/// One version when it does not say how many.
fn latest(field: &Field) -> Result<VersionPolicy, Problem> {
    let latest = message(field)?;
    only_fields(latest, &["num_versions"])?;
    let Some(field) = latest.single("num_versions")? else { return Ok(VersionPolicy::default()) };
    let count = u32::try_from(whole_number(field, &field.value)?).ok().and_then(NonZeroU32::new);
    count
        .map(VersionPolicy::Latest)
        .ok_or_else(|| field.problem(format!("expected num_versions from 1 to {}", u32::MAX)))
}

fn specific(field: &Field) -> Result<VersionPolicy, Problem> {
    let specific = message(field)?;
    only_fields(specific, &["versions"])?;
    let mut versions = BTreeSet::new();
    for field in &specific.fields {
        for value in field.values() {
            let version = u64::try_from(whole_number(field, value)?);
            versions.insert(version.map_err(|_negative| field.problem("a version is negative".to_owned()))?);
        }
    }
    match versions.len() {
        0 => Err(field.problem("version_policy.specific names no versions".to_owned())),
        count if count > SPECIFIC_LIMIT => {
            Err(field.problem(format!("version_policy.specific names {count} versions; the limit is {SPECIFIC_LIMIT}")))
        }
        _ => Ok(VersionPolicy::Specific(versions)),
    }
}

fn only_fields(message: &Message, known: &[&str]) -> Result<(), Problem> {
    match message.fields.iter().find(|field| !known.contains(&field.name.as_str())) {
        Some(field) => Err(unknown_field(field, known)),
        None => Ok(()),
    }
}

fn unknown_field(field: &Field, known: &[&str]) -> Problem {
    let name: String = field.name.chars().take(SHOWN).collect();
    let known = if known.is_empty() { "no field".to_owned() } else { known.join(", ") };
    field.problem(format!("expected {known} here, found {name:?}"))
}

fn text(field: &Field) -> Result<&str, Problem> {
    match &field.value {
        Value::Text(text) => Ok(text),
        value => Err(wrong_kind(field, "a string", value)),
    }
}

fn message(field: &Field) -> Result<&Message, Problem> {
    match &field.value {
        Value::Message(message) => Ok(message),
        value => Err(wrong_kind(field, "a message in braces", value)),
    }
}

fn whole_number(field: &Field, value: &Value) -> Result<i128, Problem> {
    match value {
        Value::Integer(number) => Ok(*number),
        value => Err(wrong_kind(field, "a whole number", value)),
    }
}

fn wrong_kind(field: &Field, expected: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Text(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Name(_) => "an identifier",
        Value::Message(_) => "a message",
        Value::List(_) => "a list",
    };
    field.problem(format!("expected {expected} for {}, found {found}", field.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TritonConfig, String> {
        text.parse().and_then(|message| interpret(&message, "m")).map_err(|problem: Problem| problem.to_string())
    }

    fn policy(text: &str) -> VersionPolicy {
        read(text).unwrap().version_policy
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(read(""), Ok(TritonConfig::default()));
        assert_eq!(policy(""), VersionPolicy::Latest(NonZeroU32::MIN));
    }

    #[test]
    fn a_batch_size_of_zero_is_no_limit() {
        assert_eq!(read("max_batch_size: 0").unwrap().max_batch_size, None);
        assert_eq!(read("max_batch_size: 64").unwrap().max_batch_size, NonZeroU32::new(64));
        for wrong in ["-1", "2147483648", "1.5", "\"8\"", "[8]", "many"] {
            assert!(
                read(&format!("\nmax_batch_size: {wrong}")).unwrap_err().starts_with("line 2: expected "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn every_policy_is_read_in_every_form() {
        let two = VersionPolicy::Latest(NonZeroU32::new(2).unwrap());
        assert_eq!(policy("version_policy: { latest: { num_versions: 2 } }"), two);
        assert_eq!(policy("version_policy { latest { } }"), VersionPolicy::default());
        assert_eq!(policy("version_policy: { all {} }"), VersionPolicy::All);
        let specific = VersionPolicy::Specific(BTreeSet::from([1, 3]));
        assert_eq!(policy("version_policy: { specific: { versions: [3, 1] } }"), specific);
        assert_eq!(policy("version_policy { specific { versions: 1 versions: 3 } }"), specific);
        assert_eq!([two, specific].map(|policy| policy.to_string()), ["latest 2", "specific 1, 3"]);
    }

    #[test]
    fn a_policy_that_is_half_understood_is_refused() {
        for (text, expected) in [
            ("version_policy {}", "line 1: expected one of latest, all and specific in version_policy"),
            (
                "version_policy { all {} latest {} }",
                "line 1: expected one of latest, all and specific in version_policy",
            ),
            ("version_policy { newest {} }", "line 1: expected latest, all, specific here, found \"newest\""),
            ("version_policy { latest { num: 2 } }", "line 1: expected num_versions here, found \"num\""),
            ("version_policy { latest { num_versions: 0 } }", "line 1: expected num_versions from 1 to 4294967295"),
            ("version_policy { all { x: 1 } }", "line 1: expected no field here, found \"x\""),
            ("version_policy { specific {} }", "line 1: version_policy.specific names no versions"),
            ("version_policy { specific { versions: -1 } }", "line 1: a version is negative"),
            ("version_policy: ALL", "line 1: expected a message in braces for version_policy, found an identifier"),
            ("version_policy {all{}}\nversion_policy {all{}}", "line 2: version_policy is given twice"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_name_must_be_the_directorys() {
        assert!(read("name: \"m\"").is_ok() && read("name: \"\"").is_ok());
        let error = read("\n\nname: \"other\"").unwrap_err();
        assert_eq!(error, "line 3: the name is \"other\", but the model's directory is \"m\"");
    }

    #[test]
    fn keys_without_effect_are_listed_once_and_identity_is_not() {
        let text = "name: \"m\" platform: \"onnxruntime_onnx\" backend: \"onnxruntime\" input [{name: \"x\"}] output []\n\
                    default_model_filename: \"model.onnx\" instance_group [{count: 2}] dynamic_batching {}\n\
                    parameters {key: \"a\"} parameters {key: \"b\"} max_batch_size: 4";
        assert_eq!(read(text).unwrap().not_used, ["parameters"]);
        assert_eq!(read("default_model_filename: \"net.onnx\"").unwrap().not_used, ["default_model_filename"]);
    }
}
