//! How a version answers: how long it takes, how often it fails.
//!
//! One window over the durations' counters and three more: answers, failures of ours (5xx), refusals (4xx). Requests
//! beyond the latency limit are those whose bin lies above it, so the limit counts as up to 4 % longer than it is.
//!
//! Invariant: of every rate, events are at most its trials.

use super::latch::{Finding, Latch};
use crate::config::ModelSettings;
use crate::detect::{LatencyJudgement, LatencyRule, judge_latency};
use crate::observe::codec::{Malformed, Reader, Writer};
use crate::observe::{AnswerTotals, Phase, Window};
use crate::sketch::log_linear::nanoseconds;
use std::time::Duration;

/// Counters behind the durations: answers, failures, refusals.
const ANSWERED: usize = nanoseconds::COUNT;
const FAILED: usize = ANSWERED + 1;
const REFUSED: usize = ANSWERED + 2;
const COUNTERS: usize = ANSWERED + 3;

/// How often something happened that may happen seldom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateReport {
    /// How often it happened within the window.
    pub events: u64,
    /// Out of how many.
    pub trials: u64,
    /// The share of them that is allowed; none where nothing was said.
    pub allowed: Option<f64>,
    /// What set its alarm off, if it is on.
    pub finding: Option<Finding>,
}

/// What a version's answers look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerReport {
    /// Latency over its own window.
    pub latency: LatencyJudgement,
    /// Requests beyond the latency limit, of those that were timed.
    pub slow: RateReport,
    /// Failures of the server (5xx), of all answers.
    pub failed: RateReport,
    /// Refusals of requests (4xx), of all answers.
    pub refused: RateReport,
}

/// Counts since deploy that sequential alarms read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AnswerCounts {
    /// Requests that were timed.
    pub(super) timed: u64,
    /// Those beyond the limit.
    pub(super) slow: u64,
    /// Answers.
    pub(super) answered: u64,
    /// Failures of the server.
    pub(super) failed: u64,
    /// Refusals of requests.
    pub(super) refused: u64,
}

/// The windows and alarms over a version's answers.
#[derive(Debug)]
pub(super) struct AnswerWatch {
    window: Window,
    /// What was counted before the recorder that counts now.
    carried: AnswerCounts,
    /// The same with what it has counted.
    counts: AnswerCounts,
    slow: Latch,
    failed: Latch,
}

impl AnswerWatch {
    pub(super) fn new(settings: &ModelSettings) -> Self {
        Self {
            window: Window::new(settings.latency.window, vec![0; COUNTERS], Vec::new()),
            carried: AnswerCounts::default(),
            counts: AnswerCounts::default(),
            slow: Latch::default(),
            failed: Latch::default(),
        }
    }

    /// A window of another length starts anew, from what has been counted so far.
    pub(super) fn follow(&mut self, settings: &ModelSettings, totals: &AnswerTotals) {
        if self.window.length() != settings.latency.window {
            self.window = Window::new(settings.latency.window, reading(totals), Vec::new());
        }
    }

    /// Looks at the counts since deploy. Answers whether they set an alarm off.
    pub(super) fn glance(&mut self, _at: Duration, totals: &AnswerTotals, settings: &ModelSettings) -> bool {
        let live = AnswerCounts::of(&reading(totals), limit_ns(settings));
        self.counts = self.carried.plus(live);
        false
    }

    /// Rolls the window and looks at it.
    pub(super) fn look(&mut self, at: Duration, totals: &AnswerTotals, settings: &ModelSettings) -> AnswerReport {
        self.window.roll(at, &reading(totals), &[]);
        let counts = self.window.counts();
        let limit = limit_ns(settings);
        let rule = LatencyRule { p99_limit_ns: limit, min_requests: settings.latency.min_requests };
        let rates = AnswerCounts::of(&counts, limit);
        let rate = |events, trials, allowed, latch: Option<&Latch>| RateReport {
            events,
            trials,
            allowed,
            finding: latch.and_then(Latch::finding).copied(),
        };
        AnswerReport {
            latency: judge_latency(&counts[..nanoseconds::COUNT], &rule),
            slow: rate(rates.slow, rates.timed, Some(settings.latency.allowed_rate), Some(&self.slow)),
            failed: rate(rates.failed, rates.answered, Some(settings.errors.allowed_rate), Some(&self.failed)),
            refused: rate(rates.refused, rates.answered, None, None),
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.section(|writer| self.window.encode(writer));
        self.counts.to_array().into_iter().for_each(|count| writer.number(count));
        self.slow.encode(writer);
        self.failed.encode(writer);
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>, at: Duration) -> Result<(), Malformed> {
        let mut section = reader.section()?;
        let mut carried = [0; 5];
        for count in &mut carried {
            *count = reader.number()?;
        }
        let (slow, failed) = (Latch::decode(reader)?, Latch::decode(reader)?);
        self.window.restore(&mut section, at)?;
        self.carried = AnswerCounts::from_array(carried);
        (self.counts, self.slow, self.failed) = (self.carried, slow, failed);
        Ok(())
    }
}

impl AnswerCounts {
    /// From counters in the order of a reading.
    fn of(counts: &[u64], limit_ns: u64) -> Self {
        let durations = &counts[..nanoseconds::COUNT];
        let beyond = (0..nanoseconds::COUNT).filter(|&bin| nanoseconds::lower(bin) >= limit_ns);
        Self {
            timed: durations.iter().sum(),
            slow: beyond.map(|bin| durations[bin]).sum(),
            answered: counts[ANSWERED],
            failed: counts[FAILED],
            refused: counts[REFUSED],
        }
    }

    fn plus(self, other: Self) -> Self {
        let (mine, other) = (self.to_array(), other.to_array());
        Self::from_array(std::array::from_fn(|index| mine[index].wrapping_add(other[index])))
    }

    fn to_array(self) -> [u64; 5] {
        [self.timed, self.slow, self.answered, self.failed, self.refused]
    }

    fn from_array([timed, slow, answered, failed, refused]: [u64; 5]) -> Self {
        Self { timed, slow, answered, failed, refused }
    }
}

fn limit_ns(settings: &ModelSettings) -> u64 {
    u64::try_from(settings.latency.p99_limit.as_nanos()).unwrap_or(u64::MAX)
}

fn reading(totals: &AnswerTotals) -> Vec<u64> {
    let mut reading = totals.durations(Phase::Total).to_vec();
    reading.resize(COUNTERS, 0);
    for (_, _, status, count) in totals.statuses() {
        reading[ANSWERED] += count;
        match status {
            500.. => reading[FAILED] += count,
            400.. => reading[REFUSED] += count,
            _ => {}
        }
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::observe::{PHASES, Protocol, Recorder, StatusLabel};
    use crate::tensor::Signature;

    fn settings() -> ModelSettings {
        let mut settings = Config::default().model("m");
        settings.latency.p99_limit = Duration::from_millis(10);
        settings.latency.min_requests = 1;
        settings
    }

    fn answer(recorder: &Recorder, status: u16, milliseconds: u64) {
        let label = (0, Protocol::OpenInference, StatusLabel::of(status));
        recorder.record_answer(0, label, &[milliseconds * 1_000_000; PHASES]);
    }

    fn recorder() -> Recorder {
        Recorder::new(&Signature { inputs: Vec::new(), outputs: Vec::new() }, None, 512, 1)
    }

    #[test]
    fn slow_failed_and_refused_are_counted_apart() {
        let (recorder, mut watch) = (recorder(), AnswerWatch::new(&settings()));
        for (status, milliseconds) in [(200, 1), (200, 11), (200, 30), (400, 0), (404, 0), (500, 2), (503, 40)] {
            answer(&recorder, status, milliseconds);
        }
        let report = watch.look(Duration::from_secs(1), &recorder.totals().answers, &settings());
        let counts = |rate: &RateReport| (rate.events, rate.trials);
        assert_eq!((counts(&report.slow), counts(&report.failed), counts(&report.refused)), ((3, 5), (2, 7), (2, 7)));
        assert_eq!((report.slow.allowed, report.refused.allowed), (Some(0.01), None));
        let later = watch.look(Duration::from_secs(1_000), &recorder.totals().answers, &settings());
        assert_eq!((counts(&later.slow), later.latency.requests), ((0, 0), 0));
    }

    #[test]
    fn counts_go_on_after_a_restart() {
        let (recorder, mut watch) = (recorder(), AnswerWatch::new(&settings()));
        answer(&recorder, 500, 30);
        watch.glance(Duration::from_secs(1), &recorder.totals().answers, &settings());
        watch.look(Duration::from_secs(1), &recorder.totals().answers, &settings());
        let mut writer = Writer::default();
        watch.encode(&mut writer);
        let bytes = writer.finish();
        let (anew, mut watch) = (self::recorder(), AnswerWatch::new(&settings()));
        watch.restore(&mut Reader::new(&bytes), Duration::from_secs(2)).unwrap();
        answer(&anew, 200, 1);
        watch.glance(Duration::from_secs(3), &anew.totals().answers, &settings());
        assert_eq!(watch.counts, AnswerCounts { timed: 2, slow: 1, answered: 2, failed: 1, refused: 0 });
        let report = watch.look(Duration::from_secs(3), &anew.totals().answers, &settings());
        assert_eq!((report.slow.events, report.slow.trials), (1, 2));
    }
}
