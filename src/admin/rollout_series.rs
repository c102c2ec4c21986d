//! The series of rollouts.
//!
//! Of each model the latest rollout: every phase as a series, 1 for the one it is in. They are written as they are now
//! and not handed to the exporter, so that a rollout that another one followed is gone from the page at once.
//!
//! Invariant: a model has one rollout here and one series of value 1 among its phases.

use crate::rollout::{Phase, Posted};
use crate::telemetry::names;
use crate::telemetry::present::{Sample, write_present};

/// Every phase; of a canary the step does not matter.
const PHASES: [Phase; 14] = [
    Phase::Pulling,
    Phase::Verifying,
    Phase::Loading,
    Phase::Warming,
    Phase::Shadow,
    Phase::Canary { step: 0 },
    Phase::Testing,
    Phase::Promoting,
    Phase::Baking,
    Phase::Done,
    Phase::Aborting,
    Phase::RolledBack,
    Phase::Failed,
    Phase::Superseded,
];

/// Writes all of them.
pub(super) fn write(page: &mut String, posted: &Posted) {
    let versions: Vec<String> = posted.rollouts.values().map(|rollout| rollout.target.to_string()).collect();
    let (mut states, mut weights, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
    for (rollout, version) in posted.rollouts.values().zip(&versions) {
        let labels = || vec![("model", rollout.model.as_str()), ("version", version.as_str())];
        let with = |label, value| [labels(), vec![(label, value)]].concat();
        for phase in PHASES {
            let value = f64::from(u8::from(phase.name() == rollout.phase.name()));
            states.push(Sample { labels: with("phase", phase.name()), value });
        }
        weights.push(Sample { labels: labels(), value: rollout.weight / 100.0 });
        if let Some(pause) = rollout.pause {
            pauses.push(Sample { labels: with("reason", pause.name()), value: 1.0 });
        }
    }
    write_present(page, &names::ROLLOUT_STATE, &states);
    write_present(page, &names::ROLLOUT_WEIGHT, &weights);
    write_present(page, &names::ROLLOUT_PAUSED, &pauses);
    write_figures(page, posted);
}

/// What became of all rollouts of each model.
#[expect(clippy::cast_precision_loss, reason = "nobody rolls out 2^53 versions")]
fn write_figures(page: &mut String, posted: &Posted) {
    let (mut totals, mut lead, mut restore) = (Vec::new(), Vec::new(), Vec::new());
    for (model, figures) in &posted.figures {
        let outcomes = [
            ("promoted", figures.promoted),
            ("rolled_back", figures.rolled_back),
            ("failed", figures.failed),
            ("superseded", figures.superseded),
        ];
        for (outcome, total) in outcomes {
            let labels = vec![("model", model.as_str()), ("outcome", outcome)];
            totals.push(Sample { labels, value: total as f64 });
        }
        lead.push(Sample { labels: vec![("model", model)], value: figures.lead_seconds });
        restore.push(Sample { labels: vec![("model", model)], value: figures.restore_seconds });
    }
    write_present(page, &names::ROLLOUTS, &totals);
    write_present(page, &names::ROLLOUT_LEAD, &lead);
    write_present(page, &names::ROLLOUT_RESTORE, &restore);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{DeliveryFigures, Pause, RolloutView};
    use std::sync::Arc;

    fn view(phase: Phase, pause: Option<Pause>) -> Arc<RolloutView> {
        Arc::new(RolloutView {
            id: String::new(),
            model: "churn".to_owned(),
            target: 2,
            digest: None,
            stable: 1,
            generation: 0,
            phase,
            pause,
            weight: 5.0,
            started_at: 0,
            since: 0,
            ended_at: None,
            reason: String::new(),
            progress: None,
            judgement: None,
            guards: None,
            shadow: None,
            test: None,
            problem: None,
        })
    }

    #[test]
    fn one_phase_of_a_rollout_is_one_and_all_others_are_zero() {
        for phase in PHASES.into_iter().chain([Phase::Canary { step: 3 }]) {
            let posted = Posted { rollouts: [("churn".to_owned(), view(phase, None))].into(), ..Posted::default() };
            let mut page = String::new();
            write(&mut page, &posted);
            let of_states: Vec<&str> =
                page.lines().filter(|line| line.starts_with("tidegate_rollout_state{")).collect();
            let present: Vec<&&str> = of_states.iter().filter(|line| line.ends_with(" 1")).collect();
            let name = phase.name();
            let expected = format!("tidegate_rollout_state{{model=\"churn\",version=\"2\",phase=\"{name}\"}} 1");
            assert_eq!((of_states.len(), present), (PHASES.len(), vec![&expected.as_str()]));
        }
    }

    #[test]
    fn shares_pauses_and_figures_are_shown_and_nothing_without_rollouts() {
        let mut page = String::new();
        write(&mut page, &Posted::default());
        assert!(page.is_empty());
        let figures = DeliveryFigures {
            since: Some(1),
            promoted: 3,
            rolled_back: 1,
            failed: 2,
            superseded: 0,
            lead_seconds: 10_800.5,
            restore_seconds: 0.125,
        };
        let rollouts = [("churn".to_owned(), view(Phase::Canary { step: 1 }, Some(Pause::Inconclusive)))].into();
        write(&mut page, &Posted { rollouts, figures: [("churn".to_owned(), figures)].into() });
        for line in [
            "tidegate_rollout_weight{model=\"churn\",version=\"2\"} 0.05",
            "tidegate_rollout_paused{model=\"churn\",version=\"2\",reason=\"inconclusive\"} 1",
            "tidegate_rollouts_total{model=\"churn\",outcome=\"promoted\"} 3",
            "tidegate_rollouts_total{model=\"churn\",outcome=\"superseded\"} 0",
            "tidegate_rollout_lead_seconds_total{model=\"churn\"} 10800.5",
            "tidegate_rollout_restore_seconds_total{model=\"churn\"} 0.125",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
