//! How a version answers: how long it takes, how often it fails, how often requests do not fit it.
//!
//! One window over the durations' counters and four more. Requests beyond the latency limit are those whose bin lies
//! above it, so the limit counts as up to 6 % longer than it is. Each of the three rates has an alarm of its own over all
//! that was counted since deploy; the window decides whether what it found is still so: a burst that is over, or that
//! the window as a whole can bear, is no page.
//!
//! Invariant: of every rate, events are at most its trials.

use super::rate::RateWatch;
use crate::config::ModelSettings;
use crate::detect::alarm::{AlarmPlan, Finding, RateRule, WatchedRate};
use crate::detect::{LatencyJudgement, LatencyRule, judge_latency};
use crate::observe::codec::{Malformed, Reader, Writer};
use crate::observe::{Phase, Totals, Window};
use crate::sketch::log_linear::nanoseconds;
use std::time::Duration;

/// Counters behind the durations: predictions and failures of ours; the latter; requests and refusals; the latter.
const ANSWERED: usize = nanoseconds::COUNT;
const FAILED: usize = ANSWERED + 1;
const REQUESTED: usize = ANSWERED + 2;
const REFUSED: usize = ANSWERED + 3;
const COUNTERS: usize = ANSWERED + 4;

/// Requests that an alarm on a rate needs at least.
const MIN_SAMPLES: u64 = 100;

/// How often something happened that may happen seldom.
#[derive(Clone, Debug, PartialEq)]
pub struct RateReport {
    /// How often it happened within the window.
    pub events: u64,
    /// Out of how many.
    pub trials: u64,
    /// The share of them that is allowed.
    pub allowed: f64,
    /// What raised its alarm, while it is raised.
    pub finding: Option<Finding>,
}

/// What a version's answers look like.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerReport {
    /// Latency over its own window.
    pub latency: LatencyJudgement,
    /// Requests beyond the latency limit, of those that were timed.
    pub slow: RateReport,
    /// Failures of the server (5xx), of predictions and such failures; pinned requests left out.
    pub failed: RateReport,
    /// Requests refused because they do not fit the signature, of all requests for the version.
    pub refused: RateReport,
}

/// Events and trials of the three rates: slow, failed, refused.
type Rates = [(u64, u64); 3];

/// The windows and alarms over a version's answers.
#[derive(Debug)]
pub(super) struct AnswerWatch {
    window: Window,
    /// What was counted before the recorder that counts now, and the same with what it has counted.
    carried: Rates,
    counts: Rates,
    rates: [RateWatch; 3],
    limit_ns: u64,
    has_begun: bool,
}

impl AnswerWatch {
    pub(super) fn new(settings: &ModelSettings, plan: &AlarmPlan) -> Self {
        Self {
            window: Window::new(settings.latency.window, vec![0; COUNTERS], Vec::new()),
            carried: [(0, 0); 3],
            counts: [(0, 0); 3],
            rates: rules(settings).map(|rule| RateWatch::new(plan, rule)),
            limit_ns: limit_ns(settings),
            has_begun: false,
        }
    }

    /// A window of another length starts anew, from what has been counted so far; so does an alarm with another rule, and
    /// that on slow requests with another limit.
    pub(super) fn follow(&mut self, settings: &ModelSettings, plan: &AlarmPlan, totals: &Totals) {
        if self.window.length() != settings.latency.window {
            self.window = Window::new(settings.latency.window, reading(totals), Vec::new());
        }
        let has_other_limit = self.limit_ns != limit_ns(settings);
        for (index, (watch, rule)) in self.rates.iter_mut().zip(rules(settings)).enumerate() {
            if index == 0 && has_other_limit {
                *watch = RateWatch::new(plan, rule);
            } else {
                watch.follow(plan, rule);
            }
        }
        if has_other_limit {
            self.limit_ns = limit_ns(settings);
            self.carried[0] = (0, 0);
        }
    }

    /// Rolls the window and looks at it and at the alarms.
    pub(super) fn look(&mut self, at: Duration, totals: &Totals, settings: &ModelSettings) -> AnswerReport {
        let reading = reading(totals);
        self.window.roll(at, &reading, &[]);
        let live = rates(&reading, self.limit_ns);
        self.counts = std::array::from_fn(|rate| {
            let ((carried, of_carried), (events, trials)) = (self.carried[rate], live[rate]);
            (carried.wrapping_add(events), of_carried.wrapping_add(trials))
        });
        let counts = self.window.counts();
        let in_window = rates(&counts, self.limit_ns);
        if !std::mem::replace(&mut self.has_begun, true) {
            // What was answered before the first look belongs to the version as well.
            self.rates.iter_mut().for_each(|watch| watch.look(at, (0, 0), (0, 0), settings.latency.resolve_after));
        }
        for ((watch, counted), window) in self.rates.iter_mut().zip(self.counts).zip(in_window) {
            watch.look(at, counted, window, settings.latency.resolve_after);
        }
        let report = |rate: usize| RateReport {
            events: in_window[rate].0,
            trials: in_window[rate].1,
            allowed: self.rates[rate].allowed(),
            finding: self.rates[rate].finding().cloned(),
        };
        let rule = LatencyRule { p99_limit_ns: self.limit_ns, min_requests: settings.latency.min_requests };
        let latency = judge_latency(&counts[..nanoseconds::COUNT], &rule);
        AnswerReport { latency, slow: report(0), failed: report(1), refused: report(2) }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.section(|writer| self.window.encode(writer));
        for (events, trials) in self.counts {
            writer.number(events);
            writer.number(trials);
        }
        self.rates.iter().for_each(|watch| watch.encode(writer));
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>, at: Duration) -> Result<(), Malformed> {
        let mut section = reader.section()?;
        let mut carried = [(0, 0); 3];
        for (events, trials) in &mut carried {
            (*events, *trials) = (reader.number()?, reader.number()?);
        }
        self.rates.iter_mut().try_for_each(|watch| watch.restore(reader))?;
        self.window.restore(&mut section, at)?;
        (self.carried, self.counts, self.has_begun) = (carried, carried, true);
        Ok(())
    }
}

fn rules(settings: &ModelSettings) -> [RateRule; 3] {
    let rule = |rate, allowed| RateRule { rate, allowed, min_samples: MIN_SAMPLES };
    [
        rule(WatchedRate::Latency, settings.latency.allowed_rate),
        rule(WatchedRate::Errors, settings.errors.allowed_rate),
        rule(WatchedRate::Refusals, settings.errors.allowed_rate),
    ]
}

/// From counters in the order of a reading.
fn rates(counts: &[u64], limit_ns: u64) -> Rates {
    let durations = &counts[..nanoseconds::COUNT];
    let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, &count| sum.wrapping_add(count));
    let beyond = (0..nanoseconds::COUNT).find(|&bin| nanoseconds::lower(bin) > limit_ns).unwrap_or(nanoseconds::COUNT);
    [
        (sum(&durations[beyond..]), sum(durations)),
        (counts[FAILED], counts[ANSWERED]),
        (counts[REFUSED], counts[REQUESTED]),
    ]
}

fn limit_ns(settings: &ModelSettings) -> u64 {
    u64::try_from(settings.latency.p99_limit.as_nanos()).unwrap_or(u64::MAX)
}

fn reading(totals: &Totals) -> Vec<u64> {
    let mut reading = totals.answers.durations(Phase::Total).to_vec();
    reading.resize(COUNTERS, 0);
    (reading[FAILED], reading[ANSWERED]) = totals.answers.server_errors();
    reading[REFUSED] = totals.refusals.iter().sum();
    reading[REQUESTED] = totals.predictions + reading[REFUSED];
    reading
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::detect::alarm::AlarmSettings;
    use crate::observe::{Evidence, PHASES, Protocol, Recorder, RefusalKind, StatusLabel};
    use crate::tensor::Signature;

    fn settings() -> ModelSettings {
        let mut settings = Config::default().model("m");
        settings.latency.p99_limit = Duration::from_millis(10);
        settings.latency.min_requests = 1;
        settings.latency.resolve_after = Duration::from_secs(5);
        settings
    }

    fn watch() -> AnswerWatch {
        AnswerWatch::new(&settings(), &AlarmPlan::new(&AlarmSettings::default(), 1))
    }

    fn answer(recorder: &Recorder, status: u16, milliseconds: u64) {
        let label = (0, Protocol::OpenInference, StatusLabel::of(status));
        recorder.record_answer(0, label, &[milliseconds * 1_000_000; PHASES]);
    }

    fn recorder() -> Recorder {
        Recorder::new(&Signature { inputs: Vec::new(), outputs: Vec::new() }, None, 512, 1)
    }

    fn counts(rate: &RateReport) -> (u64, u64) {
        (rate.events, rate.trials)
    }

    #[test]
    fn slow_failed_and_refused_are_counted_apart() {
        let (recorder, mut watch) = (recorder(), watch());
        for (status, milliseconds) in [(200, 1), (200, 11), (200, 30), (400, 0), (404, 0), (500, 2), (503, 40)] {
            answer(&recorder, status, milliseconds);
        }
        (0..3).for_each(|_| recorder.record_prediction(0, Evidence::None, &[], &[]));
        recorder.record_refusal(0, RefusalKind::WrongType);
        let report = watch.look(Duration::from_secs(1), &recorder.totals(), &settings());
        let all = (counts(&report.slow), counts(&report.failed), counts(&report.refused));
        assert_eq!(all, ((3, 5), (2, 5), (1, 4)));
        let later = watch.look(Duration::from_secs(1_000), &recorder.totals(), &settings());
        assert_eq!((counts(&later.slow), later.latency.requests), ((0, 0), 0));
    }

    #[test]
    fn errors_above_what_is_allowed_raise_an_alarm_that_ends_with_them() {
        let (recorder, mut watch) = (recorder(), watch());
        let mut second = |from: u64, to: u64, failing: bool| {
            let mut raised = 0;
            for at in from..to {
                (0..20).for_each(|index| answer(&recorder, if failing && index == 0 { 500 } else { 200 }, 1));
                let report = watch.look(Duration::from_secs(at), &recorder.totals(), &settings());
                assert!(report.slow.finding.is_none() && report.refused.finding.is_none());
                raised = if report.failed.finding.is_some() { at } else { raised };
            }
            raised
        };
        assert_eq!(second(0, 100, false), 0);
        assert_eq!(second(100, 200, true), 199, "one in twenty fails");
        let last = second(200, 700, false);
        assert!((400..600).contains(&last), "the window of five minutes still held failures at {last}");
    }

    #[test]
    fn counts_and_alarms_go_on_after_a_restart() {
        let (recorder, mut watch) = (recorder(), watch());
        for second in 0..60 {
            (0..10).for_each(|_| answer(&recorder, 500, 30));
            watch.look(Duration::from_secs(second), &recorder.totals(), &settings());
        }
        let mut writer = Writer::default();
        watch.encode(&mut writer);
        let bytes = writer.finish();
        let (anew, mut watch) = (self::recorder(), self::watch());
        watch.restore(&mut Reader::new(&bytes), Duration::from_secs(61)).unwrap();
        answer(&anew, 200, 1);
        let report = watch.look(Duration::from_secs(62), &anew.totals(), &settings());
        assert_eq!(watch.counts[..2], [(600, 601), (600, 601)]);
        assert_eq!(counts(&report.slow), (600, 601));
        assert!(report.slow.finding.is_some() && report.failed.finding.is_some());
    }
}
