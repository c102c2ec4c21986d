//! Which versions learn a reference from their own traffic, and how far they are.
//!
//! A version without a usable profile, that is the stable one of its model, is its own reference once it has served
//! enough rows: `drift.learn_rows` of them since it was loaded, with what it served before it became stable. Canaries and
//! versions without a share do not learn: what they see is a sample of somebody else's choosing, and they may be gone
//! tomorrow.
//!
//! Agreeing with one's own first rows says nothing about the training data, so a learned reference is always called one.
//! Nor are the first rows of a day those of a week; whoever knows the training data should make a profile of them.
//!
//! Invariant: a version with a reference never learns, and what is said of one that learns includes why it has to.

use super::version::VersionWatch;
use crate::catalog::{Entry, Model};
use crate::observe::codec::{Malformed, Reader, Writer};
use crate::telemetry::logs::grouped;
use std::fmt;
use std::time::Duration;

/// How far a version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Rows that it has served.
    pub(super) rows: u64,
    /// Rows that it needs.
    pub(super) needed: u64,
}

/// What has become of a version's learning, besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Rows are being counted.
    #[default]
    Counting,
    /// Its counts are being made into a reference.
    Taken,
    /// They cannot be, for this reason.
    Failed(String),
}

/// How far a loaded version is that has served so many rows; nothing if it does not learn.
pub(super) fn progress(entry: &Entry, model: &Model, rows: u64) -> Option<Progress> {
    let is_stable = entry.stable().is_some_and(|stable| stable.identity == model.identity);
    let needed = entry.settings.drift.learn_rows;
    (model.profile.is_err() && is_stable && needed > 0).then_some(Progress { rows, needed })
}

/// Why a version has no reference, with what it does about it.
pub(super) fn reason(lacking: &str, progress: Option<Progress>, stage: &Stage) -> String {
    match (stage, progress) {
        (Stage::Failed(cause), _) => format!("cannot learn from traffic: {cause}; {lacking}"),
        (_, Some(progress)) => format!("learning: {progress}; {lacking}"),
        (_, None) => lacking.to_owned(),
    }
}

/// What is to be said of a learned reference of so many rows.
pub(super) fn note(rows: u64, lacking: &str) -> String {
    format!("learned from the first {} rows; {lacking}", grouped(rows))
}

impl VersionWatch {
    /// Goes on with the windows and alarms over answers of the value before: other edges change nothing about how long
    /// answers take. `before` has seen all that its value counted, but for the last moments.
    pub(super) fn inherit_answers(&mut self, before: &Self, at: Duration) -> Result<(), Malformed> {
        let mut writer = Writer::default();
        before.answers.encode(&mut writer);
        self.answers.restore(&mut Reader::new(&writer.finish()), at)
    }
}

impl Progress {
    /// Whether there are rows enough.
    pub(super) fn is_complete(self) -> bool {
        self.rows >= self.needed
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} rows", grouped(self.rows), grouped(self.needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::observe::{PHASES, Protocol, Recorder, StatusLabel};
    use crate::tensor::Signature;
    use std::sync::Arc;

    #[test]
    fn windows_over_answers_go_on_with_the_next_value_and_those_over_columns_begin_anew() {
        let settings = Arc::new(Config::default().model("m"));
        let recorder = || Recorder::new(&Signature { inputs: Vec::new(), outputs: Vec::new() }, None, 512, 1);
        let answer = |recorder: &Recorder, status| {
            recorder.record_prediction(0, crate::observe::Evidence::None, &[], &[]);
            recorder.record_answer(0, (0, Protocol::OpenInference, StatusLabel::of(status)), &[1_000; PHASES]);
        };
        let (old, mut before) = (recorder(), VersionWatch::new(&[], &settings));
        [200, 200, 500].iter().for_each(|&status| answer(&old, status));
        let at = Duration::from_secs(1_790_000_000);
        assert_eq!(before.look(at, &[], &old.totals()).samples, 3);
        let (new, mut watch) = (recorder(), VersionWatch::new(&[], &settings));
        let later = at + Duration::from_secs(1);
        watch.inherit_answers(&before, later).unwrap();
        answer(&new, 200);
        let look = watch.look(later, &[], &new.totals());
        assert_eq!((look.answers.failed.events, look.answers.failed.trials, look.samples), (1, 4, 1));
    }

    #[test]
    fn what_is_said_names_the_progress_and_why_there_is_no_profile() {
        let progress = |rows| Some(Progress { rows, needed: 10_000 });
        let say = |progress, stage| reason("there is no profile.json beside the model", progress, &stage);
        assert_eq!(say(None, Stage::Counting), "there is no profile.json beside the model");
        let learning = "learning: 3,214 of 10,000 rows; there is no profile.json beside the model";
        assert_eq!(say(progress(3_214), Stage::Counting), learning);
        let failed = "cannot learn from traffic: two columns; there is no profile.json beside the model";
        assert_eq!(say(progress(10_001), Stage::Failed("two columns".into())), failed);
        assert_eq!(note(999, "it is refused"), "learned from the first 999 rows; it is refused");
    }

    #[test]
    fn rows_are_enough_from_the_first_that_is_needed_on() {
        let is_complete = |rows| Progress { rows, needed: 400 }.is_complete();
        assert_eq!([0, 399, 400, u64::MAX].map(is_complete), [false, false, true, true]);
    }
}
