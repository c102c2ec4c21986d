//! What the admin API shows, as JSON.
//!
//! Shapes are promises: fields are added, never renamed or removed.
//!
//! Invariant: what is not known is null, never left out or made up.

use super::StateView;
use crate::catalog::{Entry, Model, Placement, Quarantined, Snapshot, VersionStatus};
use crate::observe::{AnswerTotals, Phase};
use crate::registry::board::SourceView;
use crate::rollout::{Posted, RolloutView};
use crate::sketch::log_linear::nanoseconds;
use crate::tensor::TensorSpec;
use serde_json::{Value, json};

/// `GET /api/v1/models`.
pub(super) fn models(snapshot: &Snapshot, state: &StateView, posted: &Posted) -> Value {
    let entries = snapshot.names().into_iter().filter_map(|name| snapshot.models.get(name));
    let models: Vec<Value> = entries.map(|entry| model(entry, None, posted)).collect();
    let trouble = state.health.trouble();
    let state = json!({ "persistent": trouble.is_none(), "path": state.path, "reason": trouble });
    json!({ "generation": snapshot.generation, "models": models, "state": state })
}

/// `GET /api/v1/models/{m}`.
pub(super) fn model(entry: &Entry, source: Option<&SourceView>, posted: &Posted) -> Value {
    let followed = if entry.settings.source.is_some() { "registry" } else { "highest version" };
    let versions: Vec<Value> =
        entry.versions.iter().map(|(version, status)| version_view(entry, (*version, status), source)).collect();
    let mut view = json!({
        "name": entry.name,
        "ready": entry.serving.is_some(),
        "monitoring": entry.settings.monitoring,
        "split": if entry.explicit { "explicit" } else { followed },
        "version_policy": entry.config.version_policy.to_string(),
        "max_batch_size": entry.config.max_batch_size,
        "swaps": entry.swaps,
        "rollout": posted.rollouts.get(&entry.name).map(|rollout| rollout_view(rollout)),
        "versions": versions,
    });
    if let Some(source) = source {
        view["registry"] = json!(source);
    }
    if !entry.config.not_used.is_empty() {
        view["config_not_used"] = json!(entry.config.not_used);
    }
    if let Some(reason) = &entry.config_error {
        view["config_error"] = json!(reason);
    }
    view
}

/// The model's latest rollout in short; all of it is at `/api/v1/rollouts/{m}`.
fn rollout_view(rollout: &RolloutView) -> Value {
    json!({
        "id": rollout.id,
        "version": rollout.target.to_string(),
        "phase": rollout.phase,
        "pause": rollout.pause,
        "weight": rollout.weight,
        "generation": rollout.generation,
    })
}

fn version_view(entry: &Entry, (version, status): (u64, &VersionStatus), source: Option<&SourceView>) -> Value {
    let (state, reason) = match status {
        VersionStatus::OnDisk => ("on_disk", None),
        VersionStatus::Missing => {
            ("missing", Some("named by the split or by config.pbtxt, but not in the repository".to_owned()))
        }
        VersionStatus::Settling => ("settling", Some("its files are still changing".to_owned())),
        VersionStatus::Loading => ("loading", None),
        VersionStatus::Loaded { note, .. } => ("loaded", note.clone()),
        VersionStatus::Failed { reason, .. } => ("failed", Some(reason.clone())),
    };
    let quarantined = match status {
        VersionStatus::Failed { quarantined, .. } | VersionStatus::Loaded { quarantined, .. } => quarantined.as_ref(),
        _ => None,
    };
    let arm = entry.arm_of(version);
    let weight = arm.map_or(0.0, |arm| f64::from(arm.weight.hundredths()) / 100.0);
    let mut view = json!({
        "version": version.to_string(),
        "state": state,
        "reason": reason,
        "weight": weight,
        "arm": arm.map(|arm| arm.role.as_str()),
        "quarantine": quarantined.map(quarantine),
        "lineage": source.and_then(|source| source.lineage.get(&version)),
    });
    if let (Some(model), Some(view)) = (entry.loaded.get(&version), view.as_object_mut()) {
        view.extend(loaded_view(model));
    }
    view
}

/// Bytes that are not loaded again before another engine, or beside the same stable version, or a retry.
fn quarantine(held: &Quarantined) -> Value {
    let since = humantime::format_rfc3339_seconds(held.since).to_string();
    let instead_of = held.instead_of.map(|version| version.to_string());
    json!({ "digest": held.digest, "since": since, "engine": held.engine, "instead_of": instead_of })
}

fn loaded_view(model: &Model) -> serde_json::Map<String, Value> {
    let view = json!({
        "engine": model.engine_name(),
        "platform": model.platform(),
        "inputs": model.signature().inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": model.signature().outputs.iter().map(tensor).collect::<Vec<_>>(),
        "execution": model.placement().map(execution),
        "profile": profile(model),
        "memory_bytes": model.facts.memory,
        "load_seconds": model.facts.load_time.as_secs_f64(),
        "loaded_at": humantime::format_rfc3339_millis(model.facts.loaded_at).to_string(),
        "warmed_on": model.facts.warmed_on,
        "warnings": model.facts.warnings,
        "phases": phases(&model.counted().answers),
    });
    match view {
        Value::Object(view) => view,
        _ => serde_json::Map::new(),
    }
}

/// Where its calls are made. `from_values` is the number of values of a request from which on the executor makes them; null
/// if it makes none, however large.
fn execution(placement: &Placement) -> Value {
    let lane = placement.lane.settings();
    json!({
        "place": if placement.from_values == 0 { "executor" } else { "inline" },
        "from_values": (placement.from_values != usize::MAX).then_some(placement.from_values),
        "call_seconds": (!lane.call.is_zero()).then_some(lane.call.as_secs_f64()),
        "instances": lane.instances,
        "queue": lane.queue,
        "max_batch": lane.max_batch,
        "batch_delay_seconds": lane.delay.as_secs_f64(),
        "timeout_seconds": placement.timeout.as_secs_f64(),
        "waiting": placement.queue_length(),
    })
}

/// The reference. One that was learned here also says why there is no profile.
fn profile(model: &Model) -> Value {
    let profile = match &model.profile {
        Ok(profile) => profile,
        Err(reason) => return json!({ "missing": reason }),
    };
    let mut view = json!({
        "rows": profile.rows,
        "features": profile.inputs.len(),
        "source": profile.source,
        "created": profile.created,
        "learned": model.is_learned(),
    });
    if let Some(reason) = &model.learned_because {
        view["missing"] = json!(reason);
    }
    view
}

/// How long the phases of its requests have taken since it was loaded, from bins of a sixteenth of a value: the exported
/// histogram begins at 10 µs, where most of them end.
fn phases(answers: &AnswerTotals) -> serde_json::Map<String, Value> {
    Phase::ALL.into_iter().map(|phase| (phase.name().to_owned(), durations(answers, phase))).collect()
}

fn durations(answers: &AnswerTotals, phase: Phase) -> Value {
    let bins = nanoseconds::merged_histogram(answers.durations(phase));
    let requests = bins.len();
    let known = |value: f64| (requests > 0).then_some(value / 1e9);
    let quantile = |share: f64| known(bins.value_at_quantile(share) as f64);
    json!({
        "requests": requests,
        "mean_seconds": known(answers.duration_sum(phase) as f64 / requests as f64),
        "p50_seconds": quantile(0.5),
        "p99_seconds": quantile(0.99),
        "p999_seconds": quantile(0.999),
    })
}

fn tensor(spec: &TensorSpec) -> Value {
    json!({ "name": spec.name, "datatype": spec.datatype.name(), "shape": spec.wire_shape() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Listing, Present, PresentConfig, PresentModel, Publisher, TritonConfig};
    use crate::config::Config;
    use crate::observe::{PHASES, Protocol, Recorder, StatusLabel};
    use crate::tensor::Signature;
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    fn view(says: Result<TritonConfig, String>) -> Value {
        let (sender, _retired) = sync_channel(10);
        let mut publisher = Publisher::new(sender, Duration::ZERO);
        let config = PresentConfig { fingerprint: Some(1), settled: true, says: says.map(Arc::new) };
        let versions = BTreeMap::from([(1, Present { fingerprint: 1, settled: true, ..Present::default() })]);
        let listing = Listing::from([("m".to_owned(), PresentModel { versions, config, roles: None })]);
        publisher.observe(&listing, |name| Arc::new(Config::default().model(name)), Duration::ZERO);
        model(&publisher.catalog().snapshot().models["m"], None, &Posted::default())
    }

    #[test]
    fn phases_without_requests_are_null_and_others_within_a_bin_of_the_truth() {
        let signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
        let recorder = Recorder::new(&signature, None, 1, 2);
        let label = (0, Protocol::OpenInference, StatusLabel::of(200));
        for request in 1..=1_000 {
            let mut durations = [0; PHASES];
            durations[Phase::Own as usize] = request * 10;
            recorder.record_answer(request as usize % 2, label, &durations);
        }
        let view = phases(&recorder.totals().answers);
        assert_eq!(view.len(), PHASES);
        assert_eq!((&view["own"]["requests"], &view["write"]["requests"]), (&json!(1_000), &json!(0)));
        assert_eq!((&view["write"]["p50_seconds"], &view["write"]["mean_seconds"]), (&Value::Null, &Value::Null));
        for (name, truth) in
            [("mean_seconds", 5.005e-6), ("p50_seconds", 5e-6), ("p99_seconds", 9.9e-6), ("p999_seconds", 9.99e-6)]
        {
            let found = view["own"][name].as_f64().unwrap();
            assert!((found / truth - 1.0).abs() < 0.04, "{name}: expected {truth}, got {found}");
        }
    }

    #[test]
    fn a_model_without_a_configuration_shows_the_defaults_and_no_complaints() {
        let view = view(Ok(TritonConfig::default()));
        assert_eq!((&view["version_policy"], &view["max_batch_size"]), (&json!("latest 1"), &Value::Null));
        assert!(view.get("config_not_used").is_none() && view.get("config_error").is_none());
    }

    #[test]
    fn keys_without_effect_and_the_limit_are_shown() {
        let not_used = vec!["dynamic_batching".to_owned(), "instance_group".to_owned()];
        let config = TritonConfig { max_batch_size: NonZeroU32::new(8), not_used, ..TritonConfig::default() };
        let view = view(Ok(config));
        assert_eq!(view["config_not_used"], json!(["dynamic_batching", "instance_group"]));
        assert_eq!(view["max_batch_size"], json!(8));
    }

    #[test]
    fn a_broken_configuration_is_shown_for_the_model_and_its_versions() {
        let view = view(Err("config.pbtxt, line 3: broken".to_owned()));
        assert_eq!((&view["ready"], &view["config_error"]), (&json!(false), &json!("config.pbtxt, line 3: broken")));
        let version = &view["versions"][0];
        assert_eq!((&version["state"], &version["reason"]), (&json!("failed"), &view["config_error"]));
    }
}
