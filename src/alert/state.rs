//! How long conditions have held: the state machine of every alert.
//!
//! ```text
//!            breach            breach held for pending_for
//!   (quiet) ───────▶ pending ─────────────────────────────▶ firing
//!              ▲        │ anything but breach                  │ clear held for resolve_after, or the version is gone
//!              └────────┘                                      ▼
//!                                                           resolved (kept for the record)
//! ```
//! Two thresholds and two durations, because a value that dances around one threshold would page somebody at every
//! step. Time is an argument: the machine is tested without waiting.
//!
//! When traffic stops there is nothing to measure, and no measurement is neither good news nor bad. A firing alert then
//! stays as it was measured last, and ends with the first traffic that is clear for long enough or with the version.
//! Resolving it on silence would report as mended what broke so badly that its callers went away.
//!
//! Invariant: at most one open alert per [`Subject`]; a list of ended ones of at most [`ENDED_LIMIT`].

use super::{Alert, AlertPhase, Severity, Subject};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

/// How many resolved alerts the API still shows.
pub const ENDED_LIMIT: usize = 256;

/// What a rule makes of the latest measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Above the threshold.
    Breach,
    /// Neither above the threshold nor below the clearing one.
    Between,
    /// Below the clearing threshold.
    Clear,
    /// Not enough data to say.
    Unknown,
}

/// One rule's view of the latest measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What it is about.
    pub subject: Subject,
    /// What the rule makes of it.
    pub condition: Condition,
    /// How much it matters.
    pub severity: Severity,
    /// What was measured.
    pub value: f64,
    /// The limit.
    pub threshold: f64,
    /// Samples behind the value.
    pub samples: u64,
    /// The window's length.
    pub window: Duration,
    /// How long a breach must hold before the alert fires.
    pub pending_for: Duration,
    /// How long it must be clear before the alert resolves.
    pub resolve_after: Duration,
    /// One sentence for people, while the condition holds.
    pub summary: String,
    /// One sentence for people, should the alert resolve by this observation.
    pub resolved_summary: String,
    /// The numbers behind it.
    pub evidence: serde_json::Value,
}

/// Every open alert, and the latest ended ones.
#[derive(Debug, Default)]
pub struct AlertBook {
    pub(super) open: BTreeMap<Subject, Open>,
    pub(super) ended: VecDeque<Alert>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) alert: Alert,
    pub(super) breach_since: Duration,
    pub(super) clear_since: Option<Duration>,
}

impl AlertBook {
    /// Takes in one round of observations and returns the alerts that fired or resolved by it.
    ///
    /// `now` is monotonic time since any fixed start, `wall` the same moment for people. A round covers everything that
    /// is served: an open alert whose subject is not in it resolves, because its version is gone.
    pub fn absorb(&mut self, round: &[Observation], now: Duration, wall: SystemTime) -> Vec<Alert> {
        let mut changed = self.absorb_part(round, now, wall);
        changed.extend(self.close_absent(round, wall));
        changed
    }

    /// As [`Self::absorb`], while not everything that is to be served has been loaded: what is missing from the round may
    /// yet come, so nothing resolves by it.
    pub fn absorb_part(&mut self, round: &[Observation], now: Duration, wall: SystemTime) -> Vec<Alert> {
        round.iter().filter_map(|observation| self.step(observation, now, wall)).collect()
    }

    /// Open alerts, then ended ones, newest first.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.open.values().map(|open| &open.alert).chain(self.ended.iter())
    }

    fn step(&mut self, observation: &Observation, now: Duration, wall: SystemTime) -> Option<Alert> {
        let Some(open) = self.open.get_mut(&observation.subject) else {
            if observation.condition == Condition::Breach {
                let alert = new_alert(observation, wall);
                self.open.insert(observation.subject.clone(), Open { alert, breach_since: now, clear_since: None });
                return self.fire_if_due(observation, now);
            }
            return None;
        };
        // Of too little data there is nothing to show; what was measured last says more.
        if observation.condition != Condition::Unknown {
            refresh(&mut open.alert, observation);
        }
        match (open.alert.state, observation.condition) {
            (AlertPhase::Pending, Condition::Breach) => self.fire_if_due(observation, now),
            (AlertPhase::Pending, _) => {
                self.open.remove(&observation.subject);
                None
            }
            (_, Condition::Clear) => {
                let since = *open.clear_since.get_or_insert(now);
                if now.saturating_sub(since) < observation.resolve_after {
                    return None;
                }
                open.alert.summary.clone_from(&observation.resolved_summary);
                self.resolve(&observation.subject, wall)
            }
            (_, Condition::Breach | Condition::Between | Condition::Unknown) => {
                open.clear_since = None;
                None
            }
        }
    }

    fn fire_if_due(&mut self, observation: &Observation, now: Duration) -> Option<Alert> {
        let open = self.open.get_mut(&observation.subject)?;
        if now.saturating_sub(open.breach_since) < observation.pending_for {
            return None;
        }
        open.alert.state = AlertPhase::Firing;
        Some(open.alert.clone())
    }

    fn resolve(&mut self, subject: &Subject, wall: SystemTime) -> Option<Alert> {
        let mut alert = self.open.remove(subject)?.alert;
        alert.state = AlertPhase::Resolved;
        alert.resolved_at = Some(wall);
        self.ended.push_front(alert.clone());
        self.ended.truncate(ENDED_LIMIT);
        Some(alert)
    }

    fn close_absent(&mut self, round: &[Observation], wall: SystemTime) -> Vec<Alert> {
        let absent: Vec<Subject> = self
            .open
            .keys()
            .filter(|subject| round.iter().all(|observation| observation.subject != **subject))
            .cloned()
            .collect();
        absent
            .iter()
            .filter_map(|subject| {
                if self.open.get(subject).is_some_and(|open| open.alert.state == AlertPhase::Pending) {
                    self.open.remove(subject);
                    return None;
                }
                self.open.get_mut(subject)?.alert.summary.insert_str(0, "resolved, as it is no longer watched; last: ");
                self.resolve(subject, wall)
            })
            .collect()
    }
}

fn new_alert(observation: &Observation, wall: SystemTime) -> Alert {
    let subject = &observation.subject;
    let started = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let feature = subject.feature.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
    let mut alert = Alert {
        id: format!("{}-{}-{}{feature}-{}", subject.rule.name(), subject.model, subject.version, started.as_millis()),
        rule: subject.rule,
        severity: observation.severity,
        state: AlertPhase::Pending,
        model: subject.model.clone(),
        version: subject.version.to_string(),
        feature: subject.feature.clone(),
        value: 0.0,
        threshold: 0.0,
        samples: 0,
        window: humantime::format_duration(observation.window).to_string().replace(' ', ""),
        started_at: wall,
        resolved_at: None,
        summary: String::new(),
        evidence: serde_json::Value::Null,
    };
    refresh(&mut alert, observation);
    alert
}

fn refresh(alert: &mut Alert, observation: &Observation) {
    alert.value = observation.value;
    alert.threshold = observation.threshold;
    alert.samples = observation.samples;
    alert.summary.clone_from(&observation.summary);
    alert.evidence.clone_from(&observation.evidence);
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    fn observed(condition: Condition) -> Observation {
        Observation {
            subject: Subject {
                rule: Rule::FeatureDrift,
                model: "churn".into(),
                version: 2,
                feature: Some("order_value".into()),
            },
            condition,
            severity: Severity::Warning,
            value: 0.3,
            threshold: 0.1,
            samples: 500,
            window: seconds(300),
            pending_for: seconds(2),
            resolve_after: seconds(3),
            summary: "drift".into(),
            resolved_summary: "no drift any more".into(),
            evidence: serde_json::Value::Null,
        }
    }

    fn run(book: &mut AlertBook, steps: &[(u64, Condition)]) -> Vec<(u64, AlertPhase)> {
        let wall = SystemTime::UNIX_EPOCH;
        steps
            .iter()
            .flat_map(|&(at, condition)| {
                book.absorb(&[observed(condition)], seconds(at), wall).into_iter().map(move |alert| (at, alert.state))
            })
            .collect()
    }

    #[test]
    fn an_empty_round_changes_nothing() {
        assert!(AlertBook::default().absorb(&[], seconds(0), SystemTime::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn a_breach_fires_only_after_it_held() {
        let steps = [(0, Condition::Breach), (1, Condition::Breach), (2, Condition::Breach), (3, Condition::Breach)];
        assert_eq!(run(&mut AlertBook::default(), &steps), [(2, AlertPhase::Firing)]);
    }

    #[test]
    fn an_interrupted_breach_starts_over() {
        let steps = [(0, Condition::Breach), (1, Condition::Between), (2, Condition::Breach), (3, Condition::Breach)];
        let mut book = AlertBook::default();
        assert!(run(&mut book, &steps).is_empty());
        assert_eq!(book.all().next().unwrap().state, AlertPhase::Pending);
    }

    #[test]
    fn a_dancing_value_neither_resolves_nor_fires_again() {
        let mut steps = vec![(0, Condition::Breach), (2, Condition::Breach)];
        steps.extend((3..20).map(|at| (at, if at % 2 == 0 { Condition::Clear } else { Condition::Between })));
        assert_eq!(run(&mut AlertBook::default(), &steps), [(2, AlertPhase::Firing)]);
    }

    #[test]
    fn it_resolves_after_it_was_clear_for_long_enough_and_keeps_its_id() {
        let mut book = AlertBook::default();
        let fired = [(0, Condition::Breach), (2, Condition::Breach)];
        run(&mut book, &fired);
        let id = book.all().next().unwrap().id.clone();
        let cleared = [(3, Condition::Clear), (5, Condition::Clear), (6, Condition::Clear), (7, Condition::Clear)];
        assert_eq!(run(&mut book, &cleared), [(6, AlertPhase::Resolved)]);
        assert_eq!(book.all().map(|alert| &alert.id).collect::<Vec<_>>(), [&id]);
    }

    #[test]
    fn missing_data_holds_a_firing_alert() {
        let mut book = AlertBook::default();
        let mut steps = vec![(0, Condition::Breach), (2, Condition::Breach)];
        steps.extend((3..50).map(|at| (at, Condition::Unknown)));
        assert_eq!(run(&mut book, &steps), [(2, AlertPhase::Firing)]);
    }

    #[test]
    fn missing_data_does_not_overwrite_what_was_measured() {
        let mut book = AlertBook::default();
        run(&mut book, &[(0, Condition::Breach), (2, Condition::Breach)]);
        let unknown = Observation {
            value: 0.0,
            samples: 0,
            summary: "p99 of 0 requests is 0.0".into(),
            ..observed(Condition::Unknown)
        };
        book.absorb(&[unknown], seconds(3), SystemTime::UNIX_EPOCH);
        let alert = book.all().next().unwrap();
        assert_eq!((alert.state, alert.samples, alert.summary.as_str()), (AlertPhase::Firing, 500, "drift"));
    }

    #[test]
    fn a_resolved_alert_says_that_it_resolved() {
        let mut book = AlertBook::default();
        run(&mut book, &[(0, Condition::Breach), (2, Condition::Breach), (3, Condition::Clear)]);
        assert_eq!(book.all().next().unwrap().summary, "drift");
        run(&mut book, &[(6, Condition::Clear)]);
        assert_eq!(book.all().next().unwrap().summary, "no drift any more");
    }

    #[test]
    fn a_version_that_is_gone_resolves_its_alerts_and_forgets_pending_ones() {
        let mut book = AlertBook::default();
        run(&mut book, &[(0, Condition::Breach), (2, Condition::Breach)]);
        let changed = book.absorb(&[], seconds(3), SystemTime::UNIX_EPOCH);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].state, AlertPhase::Resolved);
        assert_eq!(changed[0].summary, "resolved, as it is no longer watched; last: drift");
        run(&mut book, &[(4, Condition::Breach)]);
        assert!(book.absorb(&[], seconds(5), SystemTime::UNIX_EPOCH).is_empty());
        assert_eq!(book.all().count(), 1);
    }

    #[test]
    fn a_book_that_was_written_down_goes_on_with_the_same_ids() {
        let mut book = AlertBook::default();
        run(&mut book, &[(0, Condition::Breach), (2, Condition::Breach)]);
        book.absorb(&[], seconds(3), SystemTime::UNIX_EPOCH);
        run(&mut book, &[(10, Condition::Breach), (12, Condition::Breach), (13, Condition::Clear)]);
        let rows = book.rows();
        let mut restored = AlertBook::from_rows(&rows);
        assert_eq!(restored.rows(), rows);
        assert_eq!(restored.all().collect::<Vec<_>>(), book.all().collect::<Vec<_>>());
        let id = restored.all().next().unwrap().id.clone();
        assert!(restored.absorb_part(&[], seconds(14), SystemTime::UNIX_EPOCH).is_empty(), "it may yet be loaded");
        let resolved = restored.absorb(&[observed(Condition::Clear)], seconds(16), SystemTime::UNIX_EPOCH);
        assert_eq!(resolved.iter().map(|alert| &alert.id).collect::<Vec<_>>(), [&id], "clear since 13");
        let broken = crate::store::AlertRow { body: "{".into(), ..rows[0].clone() };
        assert_eq!(AlertBook::from_rows(&[broken]).all().count(), 0);
    }

    #[test]
    fn the_record_of_ended_alerts_is_bounded() {
        let mut book = AlertBook::default();
        for round in 0..(ENDED_LIMIT as u64 + 10) {
            let start = round * 10;
            run(&mut book, &[(start, Condition::Breach), (start + 2, Condition::Breach)]);
            book.absorb(&[], seconds(start + 3), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(book.all().count(), ENDED_LIMIT);
    }
}
