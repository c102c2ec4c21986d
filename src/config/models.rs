//! Reads `[models.<name>]`: names, engines, splits, and what differs from the settings for all models.
//!
//! A model named here need not exist yet; whether it does is for the repository to say, at any time, and not for the
//! text of a file.
//!
//! Invariant: a split that is read adds up to 10,000 hundredths of a percent.

use std::collections::BTreeMap;

use super::execution::{self, ExecutionSettings};
use super::judging::{self, Layer};
use super::judging_settings::{ErrorSettings, LatencySettings};
use super::problem::ProblemKind;
use super::reader::Reader;
use super::registry;
use super::rollout;
use super::settings::{EngineChoice, ModelSettings};
use super::values::{flag, hundredths_of_a_percent, one_of};

/// Longest name of a model, in bytes: half of what a file name may have, so that names derived from it fit as well.
pub(super) const MAX_NAME: usize = 128;

/// 100 % in hundredths of a percent.
const FULL_WEIGHT: u32 = 10_000;

/// What holds for models that do not say otherwise: `[execution]`, `[drift]`, `[latency]`, `[errors]`.
type ForAll<'a> = (&'a ExecutionSettings, &'a Layer, &'a LatencySettings, &'a ErrorSettings);

/// All models that have a section.
pub(super) fn models(
    reader: &mut Reader<'_, '_>,
    for_all: ForAll<'_>,
    has_mlflow: bool,
) -> BTreeMap<String, ModelSettings> {
    let check = |name: &str| check_plain("a model's name", name);
    reader.named_tables(check, |reader| model(reader, for_all, has_mlflow)).into_iter().collect()
}

fn model(reader: &mut Reader<'_, '_>, for_all: ForAll<'_>, has_mlflow: bool) -> ModelSettings {
    let (execution, drift, latency, errors) = for_all;
    const ENGINES: &[(&str, EngineChoice)] =
        &[("auto", EngineChoice::Auto), ("tract", EngineChoice::Tract), ("onnxruntime", EngineChoice::OnnxRuntime)];
    let has_split = reader.has("split");
    ModelSettings {
        engine: reader.value("engine", one_of(ENGINES)).unwrap_or_default(),
        monitoring: reader.value("monitoring", flag).unwrap_or(true),
        execution: reader.table("execution", |reader| execution::execution(reader, execution)),
        allow_signature_change: reader.value("allow_signature_change", flag).unwrap_or(false),
        source: registry::source(reader, has_mlflow),
        split: reader.table("split", split),
        drift: reader.table("drift", |reader| judging::model_drift(reader, drift)),
        latency: reader.table("latency", |reader| judging::latency(reader, latency)),
        errors: reader.table("errors", |reader| judging::errors(reader, errors)),
        rollout: reader.table("rollout", |reader| rollout::rollout(reader, has_split)),
    }
}

/// Names become directories and parts of addresses, so they are held to letters that are plain in both.
pub(super) fn check_plain(what: &str, name: &str) -> Result<(), ProblemKind> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_fine =
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) && name.bytes().any(|byte| byte != b'.');
    let expected = format!("{what} of 1 to {MAX_NAME} letters, digits, \".\", \"_\" or \"-\"");
    if is_fine { Ok(()) } else { Err(ProblemKind::Invalid { expected, found: format!("{name:?}") }) }
}

/// Percent by version, as hundredths of a percent. `None` when it was not given or is not right.
fn split(reader: &mut Reader<'_, '_>) -> Option<BTreeMap<u64, u16>> {
    reader.origin()?;
    let (mut weights, mut sum, mut is_complete) = (BTreeMap::new(), 0_u32, true);
    for (name, entry) in reader.drain() {
        let parsed = version(&name).and_then(|version| Ok((version, hundredths_of_a_percent(&entry.value)?)));
        match parsed {
            Ok((version, weight)) => {
                sum += u32::from(weight);
                weights.insert(version, weight);
            }
            Err(kind) => {
                is_complete = false;
                reader.problem(entry.origin, &name, kind);
            }
        }
    }
    if is_complete && sum != FULL_WEIGHT {
        let reason = format!("the weights must add up to 100 %, these add up to {} %", f64::from(sum) / 100.0);
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    (is_complete && sum == FULL_WEIGHT).then_some(weights)
}

/// A version as its directory is called: a positive number without leading zeros.
fn version(name: &str) -> Result<u64, ProblemKind> {
    let number = name.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == name);
    let expected = || "a version, such as \"1\", as the key".to_owned();
    number.ok_or_else(|| ProblemKind::Invalid { expected: expected(), found: format!("{name:?}") })
}
