//! Series of copies of requests, by the version that answers them.
//!
//! A mirror that has ended has no series of its own any more; counters go on with the next one of the same version, and
//! what was counted after the last scrape is lost to them.
//!
//! Invariant: nothing here waits for the thread that answers copies.

use crate::catalog::Entry;
use crate::telemetry::{Telemetry, names};

/// Sets the series of a model's mirror, if there is one.
pub(super) fn set(telemetry: &Telemetry, entry: &Entry) {
    let Some(mirror) = entry.serving.as_ref().and_then(|serving| serving.mirror.as_ref()) else { return };
    let (counts, source) = (mirror.counts(), mirror.identity);
    let labels = [("model", entry.name.as_str()), ("version", mirror.version_text.as_str())];
    telemetry.counter_total(&names::SHADOW_COMPARED, &labels, source, counts.compared);
    telemetry.counter_total(&names::SHADOW_FAILED, &labels, source, counts.failed);
    if let Some(agreement) = counts.label_agreement() {
        telemetry.gauge(&names::SHADOW_AGREEMENT, &labels, agreement);
    }
    let labels = [("queue", "shadow"), ("model", entry.name.as_str())];
    telemetry.counter_total(&names::DROPPED, &labels, source, counts.dropped);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Listing, Mirror, Publisher, RolloutHold};
    use crate::config::{Config, EngineChoice, ShadowSettings};
    use crate::engine::{Engines, RuntimeSearch, synthesize_inputs};
    use crate::registry::directory;
    use crate::registry::load::Loader;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    /// A publisher of version 2 of a shipped model.
    fn publisher() -> Publisher {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut settings = Config::default().model("churn");
        (settings.engine, settings.split) = (EngineChoice::Tract, Some(BTreeMap::from([(2, 10_000)])));
        // However long a call takes here, worker 0 has an instance.
        settings.execution.inline_limit = Duration::MAX;
        let loader = Loader {
            repository: repository.clone(),
            fetched: repository.clone(),
            engines: Arc::new(Engines::discover(&RuntimeSearch::default())),
            workers: 1,
            executor: Arc::default(),
            memory_budget: u64::MAX,
            quarantine: Arc::default(),
        };
        let mut listing = directory::list(&repository, &Listing::new(), SystemTime::now()).unwrap();
        listing.retain(|name, _| name == "churn");
        let (retired, freed_at_once) = std::sync::mpsc::sync_channel(1);
        drop(freed_at_once);
        let (mut publisher, settings) = (Publisher::new(retired, Duration::ZERO), Arc::new(settings));
        publisher.observe(&listing, |_name| Arc::clone(&settings), Duration::ZERO);
        while let Some(order) = publisher.next_load(Duration::ZERO) {
            publisher.load_finished(&order, loader.load(&order), Duration::ZERO);
        }
        publisher
    }

    #[test]
    fn copies_are_counted_by_the_version_that_answers_them() {
        let mut publisher = publisher();
        let entry = Arc::clone(&publisher.catalog().snapshot().models["churn"]);
        let model = &entry.loaded[&2];
        let settings = ShadowSettings { share: 10_000, queue: 1, ..ShadowSettings::default() };
        let (mirror, runner) = Mirror::new(model, model, &settings).unwrap();
        let offer = || {
            let (inputs, mut outputs) = (synthesize_inputs(model.signature(), 1).unwrap(), Vec::new());
            model.run(0, &inputs, &mut outputs).unwrap();
            mirror.offer(0, inputs, &mut outputs)
        };
        assert!(offer() && !offer() && !offer());
        let far_end = std::thread::spawn(|| runner.run());
        while mirror.counts().compared == 0 {
            std::thread::yield_now();
        }
        let (id, weights, shadow) = ("r".to_owned(), vec![(2, 10_000)], Some(Arc::clone(&mirror)));
        let hold = RolloutHold { id, weights, trial: None, shadow };
        publisher.hold("churn", hold, Box::new(|outcome| drop(outcome.unwrap())), Duration::ZERO);
        let telemetry = Telemetry::new();
        set(&telemetry, &publisher.catalog().snapshot().models["churn"]);
        let page = telemetry.render();
        for line in [
            "tidegate_shadow_compared_total{model=\"churn\",version=\"2\"} 1",
            "tidegate_shadow_failed_total{model=\"churn\",version=\"2\"} 0",
            "tidegate_shadow_agreement{model=\"churn\",version=\"2\"} 1",
            "tidegate_dropped_total{queue=\"shadow\",model=\"churn\"} 2",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        publisher.release("churn", None, Duration::ZERO);
        drop((mirror, entry, publisher));
        far_end.join().unwrap();
    }
}
