//! What came back so far: what is known to be right, counts, times.
//!
//! An answer that names its version is held against what that version must say, and against nothing else: numbers that
//! are right for the other version alone are a *mixed* answer, and so is one whose header and body name two versions.
//! Answers of two versions of equal parity differ in their number alone, so that the one that was right once is
//! compared byte by byte but for that. Once a version has answered, whatever leaves later must not be answered by an
//! older one.
//!
//! The timeline has eight bytes for each right answer, two little-endian numbers of 32 bits: microseconds from the
//! start until its request left, or should have, and how long it took, in tenths of microseconds. All of them and no
//! histogram, because only afterwards is it known between which moments quantiles are wanted.
//!
//! Invariant: a mixed answer is also one that failed.

use crate::answer::{Answer, Named};
use crate::{Case, Outcome};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest load with a timeline, seconds: what 32 bits of microseconds hold, rounded down.
const LONGEST_TIMELINE: f64 = 4_200.0;

#[derive(Serialize)]
pub(crate) struct Report {
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    refused: u64,
    failed: u64,
    /// Answers of one version with the numbers or the name of another.
    mixed: u64,
    /// Answers of an older version than had answered when the request left.
    older: u64,
    first_failure: Option<String>,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Over time, how many requests were answered rightly so far: seconds since 1970, requests.
    counts: Vec<(f64, u64)>,
    /// When each version answered first, and how often in all.
    versions: BTreeMap<u64, Seen>,
}

/// What was seen of a version.
#[derive(Clone, Serialize)]
struct Seen {
    /// When its first answer came: seconds from the start, and since 1970.
    at: f64,
    unix: f64,
    answers: u64,
}

/// A request's times.
pub(crate) struct Moment {
    /// When it left, or should have.
    pub(crate) left: Instant,
    pub(crate) taken: Duration,
    /// The highest version that had answered by then.
    pub(crate) newest: u64,
}

pub(crate) struct Tally {
    started: Instant,
    pub(crate) end: Instant,
    /// The next body.
    next: usize,
    /// The answers that were right, by body, without their version: of even versions, and of all others.
    known: [Vec<Option<Vec<u8>>>; 2],
    latency: Histogram<u64>,
    /// Requests that were sent so far.
    sent: u64,
    refused: u64,
    failed: u64,
    mixed: u64,
    older: u64,
    first_failure: Option<String>,
    counts: Vec<(f64, u64)>,
    versions: BTreeMap<u64, Seen>,
    /// The highest version that has answered.
    pub(crate) newest: u64,
    timeline: Option<BufWriter<File>>,
}

impl Tally {
    pub(crate) fn new(case: &Case) -> Outcome<Self> {
        let settings = &case.settings;
        if settings.timeline.is_some() && settings.seconds > LONGEST_TIMELINE {
            return Err(format!("a timeline has at most {LONGEST_TIMELINE} s, not {}", settings.seconds).into());
        }
        let timeline = settings.timeline.as_ref().map(File::create).transpose()?.map(BufWriter::new);
        let started = Instant::now();
        Ok(Self {
            started,
            end: started + Duration::from_secs_f64(settings.seconds),
            next: 0,
            known: [vec![None; case.requests.len()], vec![None; case.requests.len()]],
            latency: Histogram::new_with_bounds(1, 600_000_000_000, 3)?,
            sent: 0,
            refused: 0,
            failed: 0,
            mixed: 0,
            older: 0,
            first_failure: None,
            counts: Vec::new(),
            versions: BTreeMap::new(),
            newest: 0,
            timeline,
        })
    }

    /// The next body, and when its request should leave; nothing when there are to be no more.
    pub(crate) fn next_request(&mut self, case: &Case) -> Option<(usize, Instant)> {
        let now = Instant::now();
        let rate = case.settings.rate.filter(|rate| *rate > 0.0);
        let due = rate.map_or(now, |rate| self.started + Duration::from_secs_f64(self.sent as f64 / rate));
        if now.max(due) >= self.end || case.settings.requests.is_some_and(|requests| self.sent >= requests) {
            return None;
        }
        let body = self.next;
        self.next = (body + 1) % case.requests.len();
        self.sent += 1;
        Some((body, due))
    }

    /// Counts an answer, or what is wrong with it.
    pub(crate) fn note(&mut self, case: &Case, body: usize, answer: Result<Answer, (u16, String)>, moment: Moment) {
        let fault = match answer {
            Err((status, _)) if case.settings.refusals.contains(&status) => {
                self.refused += 1;
                return;
            }
            Err((_, text)) => Some(text),
            Ok(answer) => self.check(case, body, answer, &moment).err(),
        };
        if let Some(fault) = fault {
            return self.fail(fault);
        }
        self.latency.saturating_record(u64::try_from(moment.taken.as_nanos()).unwrap_or(u64::MAX));
        let at = moment.left.duration_since(self.started).as_micros();
        let pair = [at, moment.taken.as_nanos() / 100].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        if let Some(Err(error)) =
            self.timeline.as_mut().map(|file| file.write_all(pair.map(u32::to_le_bytes).as_flattened()))
        {
            self.fail(format!("the timeline: {error}"));
        }
    }

    /// # Errors
    /// What is wrong with an answer.
    fn check(&mut self, case: &Case, body: usize, answer: Answer, moment: &Moment) -> Result<(), String> {
        let named = case.is_versioned().then(|| answer.named()).transpose().inspect_err(|_| self.mixed += 1)?;
        let is_odd = named.as_ref().is_none_or(|named| named.version % 2 == 1);
        let bytes = &answer.body;
        let place = named.as_ref().map_or(bytes.len()..bytes.len(), |named| named.place.clone());
        let (before, after) = (&bytes[..place.start], &bytes[place.end..]);
        let known = &mut self.known[usize::from(is_odd)][body];
        let is_known = known.as_ref().and_then(|known| known.split_at_checked(before.len())) == Some((before, after));
        if !is_known && let Some(fault) = case.fault(is_odd, body, bytes) {
            if named.is_some() && case.fault(!is_odd, body, bytes).is_none() {
                self.mixed += 1;
                return Err(format!("numbers of another version: {fault}"));
            }
            return Err(fault);
        }
        known.get_or_insert_with(|| [before, after].concat());
        named.map_or(Ok(()), |named| self.is_in_order(&named, moment))
    }

    /// # Errors
    /// Says that an older version answered than had before.
    fn is_in_order(&mut self, named: &Named, moment: &Moment) -> Result<(), String> {
        let Named { version, .. } = *named;
        if version < moment.newest {
            self.older += 1;
            return Err(format!("version {version} answered after {} had", moment.newest));
        }
        let seen = self.versions.entry(version).or_insert_with(|| Seen {
            at: self.started.elapsed().as_secs_f64(),
            unix: since_1970(),
            answers: 0,
        });
        seen.answers += 1;
        self.newest = self.newest.max(version);
        Ok(())
    }

    pub(crate) fn fail(&mut self, text: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(text);
    }

    /// Writes down how many were answered by now.
    pub(crate) fn count(&mut self) {
        self.counts.push((since_1970(), self.latency.len()));
    }

    /// What there is to be said in the end.
    pub(crate) fn report(&mut self) -> Outcome<Report> {
        self.timeline.as_mut().map(BufWriter::flush).transpose()?;
        let seconds = self.started.elapsed().as_secs_f64();
        let milliseconds = |quantile: f64| self.latency.value_at_quantile(quantile) as f64 / 1e6;
        Ok(Report {
            requests: self.latency.len(),
            seconds,
            requests_per_second: self.latency.len() as f64 / seconds,
            refused: self.refused,
            failed: self.failed,
            mixed: self.mixed,
            older: self.older,
            first_failure: self.first_failure.clone(),
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
            p999_ms: milliseconds(0.999),
            max_ms: self.latency.max() as f64 / 1e6,
            counts: self.counts.clone(),
            versions: self.versions.clone(),
        })
    }
}

fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
