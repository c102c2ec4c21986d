//! What the admin API shows, as JSON.
//!
//! Shapes are promises: fields are added, never renamed or removed.
//!
//! Invariant: nothing that is not finite is written; a distance that does not exist is null.

use crate::catalog::{Entry, Model, Snapshot, VersionStatus};
use crate::judge::{ColumnReport, VersionReport};
use crate::observe::Side;
use crate::tensor::TensorSpec;
use serde_json::{Value, json};

/// `GET /api/v1/models`.
pub(super) fn models(snapshot: &Snapshot) -> Value {
    let models: Vec<Value> =
        snapshot.names().iter().filter_map(|name| snapshot.models.get(*name)).map(|entry| model(entry)).collect();
    json!({ "generation": snapshot.generation, "models": models })
}

/// `GET /api/v1/models/{m}`.
pub(super) fn model(entry: &Entry) -> Value {
    let versions: Vec<Value> =
        entry.versions.iter().map(|(version, status)| version_view(entry, *version, status)).collect();
    json!({
        "name": entry.name,
        "ready": entry.serving.is_some(),
        "split": if entry.explicit { "explicit" } else { "highest version" },
        "swaps": entry.swaps,
        "versions": versions,
    })
}

/// `GET /api/v1/models/{m}/drift`.
pub(super) fn drift(name: &str, reports: &[VersionReport]) -> Value {
    let versions: Vec<Value> = reports.iter().filter(|report| report.model == name).map(version_drift).collect();
    json!({ "model": name, "versions": versions })
}

fn version_view(entry: &Entry, version: u64, status: &VersionStatus) -> Value {
    let (state, reason) = match status {
        VersionStatus::OnDisk => ("on_disk", None),
        VersionStatus::Missing => ("missing", Some("named by the split, but not in the repository".to_owned())),
        VersionStatus::Settling => ("settling", Some("its files are still changing".to_owned())),
        VersionStatus::Loading => ("loading", None),
        VersionStatus::Loaded { on_disk: true } => ("loaded", None),
        VersionStatus::Loaded { on_disk: false } => {
            ("loaded", Some("its files are gone; it is served from memory".to_owned()))
        }
        VersionStatus::Failed { reason } => ("failed", Some(reason.clone())),
    };
    let arm = entry.arm_of(version);
    let weight = arm.map_or(0.0, |arm| f64::from(arm.weight.hundredths()) / 100.0);
    let mut view = json!({
        "version": version.to_string(),
        "state": state,
        "reason": reason,
        "weight": weight,
        "arm": arm.map(|arm| arm.role.as_str()),
    });
    if let (Some(model), Some(view)) = (entry.loaded.get(&version), view.as_object_mut()) {
        view.extend(loaded_view(model));
    }
    view
}

fn loaded_view(model: &Model) -> serde_json::Map<String, Value> {
    let view = json!({
        "engine": model.engine_name(),
        "platform": model.platform(),
        "inputs": model.signature().inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": model.signature().outputs.iter().map(tensor).collect::<Vec<_>>(),
        "profile": match &model.profile {
            Ok(profile) => json!({ "rows": profile.rows, "features": profile.inputs.len() }),
            Err(reason) => json!({ "missing": reason }),
        },
        "memory_bytes": model.facts.memory,
        "load_seconds": model.facts.load_time.as_secs_f64(),
        "loaded_at": humantime::format_rfc3339_millis(model.facts.loaded_at).to_string(),
    });
    match view {
        Value::Object(view) => view,
        _ => serde_json::Map::new(),
    }
}

fn tensor(spec: &TensorSpec) -> Value {
    json!({ "name": spec.name, "datatype": spec.datatype.name(), "shape": spec.wire_shape() })
}

fn version_drift(report: &VersionReport) -> Value {
    let of_side = |side: Side| -> Vec<Value> {
        report.columns.iter().filter(|column| column.side == side).map(column_drift).collect()
    };
    json!({
        "version": report.version.to_string(),
        "arm": report.arm,
        "window": humantime::format_duration(report.window).to_string().replace(' ', ""),
        "samples": report.samples,
        "verdict": report.verdict,
        "reason": report.no_reference,
        "features": of_side(Side::Input),
        "outputs": of_side(Side::Output),
    })
}

fn column_drift(column: &ColumnReport) -> Value {
    let distances = column.distances;
    json!({
        "name": column.name,
        "samples": column.samples,
        "psi": distances.map(|distances| distances.psi),
        "ks": distances.and_then(|distances| distances.ks),
        "js": distances.map(|distances| distances.js),
        "wasserstein": distances.and_then(|distances| distances.wasserstein),
        "tv": distances.map(|distances| distances.tv),
        "psi_excess": column.excess,
        "verdict": column.verdict,
    })
}
