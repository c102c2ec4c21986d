//! One rollout as it is driven: the world on one side, its course on the other.
//!
//! ```text
//!  catalog, counters ─▶ events ─▶ course ─▶ state ─▶ hold (what is to be live) ─▶ control loop
//!                                    └─────▶ entries ─▶ journal
//! ```
//! Everything here is done again and again until it is so: what is to be live is compared with what is, and sent once more
//! if it is not there after a while. Nothing depends on an answer.
//!
//! Invariant: no version has a share without a trial that counts both arms, and guards are read of every trial.

mod before;
mod copies;
mod guards;
mod hours;
mod view;

use super::journal::{Journal, Written, digest};
use super::outside::{Answer, Asked};
use crate::app::control::HoldCommand;
use crate::app::mirroring::Mirrors;
use crate::catalog::{Entry, RolloutHold, VersionStatus};
use crate::config::RolloutSettings;
use crate::judge::Board;
use crate::observe::trial::{Trial, TrialCounts, TrialPlan, TrialShare};
use crate::rollout::course::Course;
use crate::rollout::hooks::HookAnswer;
use crate::rollout::journal::{Entry as JournalEntry, Subject};
use crate::rollout::judging::{JudgingPlan, judge_bake, judge_guards, judge_step};
use crate::rollout::ledger::Ledger;
use crate::rollout::machine::{Event, Look};
use crate::rollout::state::State;
use crate::rollout::{Judgement, OrderError, Phase, RolloutView, Seen, TestView, Verdict, answer};
use before::Before;
use copies::Mirrored;
use guards::Guards;
use hours::Hours;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
pub(super) use view::view_of;

/// How often a step's counts are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often counts are written down.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// How long what was sent may take to be live before it is sent again.
const SEND_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait after a write that failed.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What a rollout can reach.
pub(super) struct Reach<'a> {
    pub(super) journal: &'a Journal,
    pub(super) holds: &'a mpsc::Sender<HoldCommand>,
    pub(super) workers: usize,
    pub(super) mirrors: &'a Mirrors,
    /// Where the judge says what hours of the week are like.
    pub(super) board: &'a Board,
    /// Whether every model was tried once.
    pub(super) is_settled: bool,
    /// Unix milliseconds.
    pub(super) now: u64,
}

/// A rollout.
pub(super) struct Driven {
    pub(super) model: String,
    pub(super) course: Course,
    /// How the model was set up when it began; of an earlier process what is set up now.
    pub(super) settings: RolloutSettings,
    /// What hooks and the registry were asked and told.
    pub(super) asked: Asked,
    /// What was known of the model's rollouts that ended before this one.
    ledger: Ledger,
    plan: Option<Arc<TrialPlan>>,
    sent: Option<Sent>,
    guards: Guards,
    hours: Hours,
    before: Before,
    copies: Mirrored,
    judgement: Option<Judgement>,
    test: Option<TestView>,
    seen: Seen,
    /// Unix milliseconds of the last round.
    now: u64,
    write: Option<oneshot::Receiver<Written>>,
    write_after: Option<Instant>,
    looked: Option<Instant>,
    checkpointed: Instant,
    /// Orders that are answered once what they raise is written down.
    pub(super) replies: Vec<oneshot::Sender<Result<RolloutView, OrderError>>>,
}

/// What was sent to be live last.
struct Sent {
    part: u64,
    weights: Vec<(u64, u16)>,
    trial: Option<Arc<Trial>>,
    at: Instant,
}

impl Driven {
    pub(super) fn new(model: String, course: Course, settings: RolloutSettings, ledger: Ledger) -> Self {
        let guards = Guards::of(course.state().counts());
        Self {
            model,
            course,
            settings,
            asked: Asked::default(),
            ledger,
            plan: None,
            sent: None,
            guards,
            hours: Hours::default(),
            before: Before::default(),
            copies: Mirrored::default(),
            judgement: None,
            test: None,
            seen: Seen::default(),
            now: 0,
            write: None,
            write_after: None,
            looked: None,
            checkpointed: Instant::now(),
            replies: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> &State {
        self.course.state()
    }

    /// Whether there is nothing left to do about it.
    pub(super) fn is_settled(&self) -> bool {
        self.state().phase.is_ended() && self.course.is_written() && self.replies.is_empty()
    }

    /// Does all that is due. `entry` is what is live of the model.
    pub(super) fn drive(&mut self, entry: Option<&Entry>, reach: &Reach<'_>) {
        self.now = reach.now;
        self.take_written();
        if let Some(entry) = entry {
            self.read_guards(reach);
            self.see(entry, reach);
            self.see_before(entry, reach);
            self.make_live(entry, reach);
            self.look(entry, reach);
        }
        self.course.happen(&Event::Tick, reach.now);
        if let Some(entry) = entry {
            // Once more: what was decided above is not to wait for the next round.
            self.make_live(entry, reach);
        }
        self.keep_mirror(entry, reach);
        self.write_down(reach);
    }

    fn take_written(&mut self) {
        let Some(written) = &mut self.write else { return };
        let outcome = match written.try_recv() {
            Ok(outcome) => outcome,
            Err(oneshot::error::TryRecvError::Empty) => return,
            Err(oneshot::error::TryRecvError::Closed) => Err("nobody writes any more".to_owned()),
        };
        self.write = None;
        if let Err(cause) = &outcome {
            if self.course.trouble().is_none() {
                tracing::error!(
                    model = self.model,
                    cause,
                    "a rollout cannot be written down; no share grows until it can"
                );
            }
            self.write_after = Some(Instant::now() + WRITE_AGAIN);
        }
        self.course.written(outcome);
    }

    fn write_down(&mut self, reach: &Reach<'_>) {
        let is_early = self.write_after.is_some_and(|after| Instant::now() < after);
        if self.write.is_some() || is_early {
            return;
        }
        let id = self.state().beginning.id.clone();
        if let Some(records) = self.course.to_write() {
            let ledger = self.ledger.after(self.state(), &records);
            self.write = reach.journal.write((&self.model, &id), &records, ledger.as_ref());
            if self.write.is_none() {
                self.course.written(Err("too many entries wait to be written".to_owned()));
                self.write_after = Some(Instant::now() + WRITE_AGAIN);
            }
        }
    }

    /// What the catalog shows: how far the target is, whether another is wanted, what the registry says.
    fn see(&mut self, entry: &Entry, reach: &Reach<'_>) {
        let state = self.state();
        if state.phase.is_ended() {
            return;
        }
        let champion = entry.roles.as_ref().map(|roles| roles.stable);
        if let Some(champion) = champion.filter(|champion| *champion != state.champion) {
            // It may be the target, and then stable's counts are frozen as they are.
            self.write_counts(reach.now);
            self.course.happen(&Event::Champion(champion), reach.now);
        }
        let target = self.state().beginning.target;
        let replaced = entry.loaded.get(&target).map(|model| digest(model.facts.fingerprint));
        let replaced = replaced.filter(|found| *found != self.state().beginning.digest);
        let newer = entry.target.filter(|version| *version != target);
        // One that cannot be loaded takes nobody's place.
        let newer = newer.and_then(|version| Some((version, digest(entry.loaded.get(&version)?.facts.fingerprint))));
        for (version, digest) in replaced.map(|digest| (target, digest)).into_iter().chain(newer) {
            self.course.happen(&Event::Newer(version, digest), reach.now);
        }
        self.prepare(entry, reach);
    }

    /// Waits for the target, and fixes what is counted.
    fn prepare(&mut self, entry: &Entry, reach: &Reach<'_>) {
        let beginning = &self.state().beginning;
        let (target, stable) = (beginning.target, beginning.stable);
        let is_waiting = matches!(self.state().phase, Phase::Pulling | Phase::Verifying | Phase::Loading);
        let event = match entry.versions.get(&target) {
            Some(VersionStatus::Failed { reason, .. }) if is_waiting => Event::Unusable(reason.clone()),
            Some(VersionStatus::Settling) => Event::Preparing(Phase::Verifying),
            Some(VersionStatus::OnDisk | VersionStatus::Loading) => Event::Preparing(Phase::Loading),
            None if is_waiting => Event::Unusable("it is not there any more".to_owned()),
            Some(VersionStatus::Loaded { .. }) if is_waiting => match (entry.can_stand_in(target), self.arm(entry)) {
                (Err(difference), _) => {
                    Event::Unusable(format!("it cannot stand in for version {stable}: {difference}"))
                }
                (Ok(()), Ok(judging)) => Event::Ready(Box::new(judging)),
                (Ok(()), Err(reason)) => Event::Unusable(reason),
            },
            _ => return,
        };
        self.course.happen(&event, reach.now);
    }

    /// How it is counted and judged, from what the stable version is and did.
    fn arm(&mut self, entry: &Entry) -> Result<JudgingPlan, String> {
        let stable = self.state().beginning.stable;
        let model = entry.loaded.get(&stable).ok_or_else(|| format!("version {stable} is not loaded"))?;
        let answers = model.counted().answers;
        let mut tolerances = self.settings.tolerances.clone();
        if self.state().beginning.test.is_some() {
            // A test asks how far durations are apart, not whether more than is borne.
            (tolerances.latency_ratio, tolerances.latency_added) = (1.0, Duration::ZERO);
        }
        let plan = TrialPlan::new(&model.recorder, &answers, (&self.settings.guards, &tolerances));
        let judging = JudgingPlan::new(&self.settings, plan.layout().clone());
        if let Some(test) = &self.state().beginning.test {
            answer(test, plan.layout(), &[]).map_err(|error| error.to_string())?;
        }
        self.plan = Some(Arc::new(plan));
        Ok(judging)
    }

    /// Has what the state wants made live, if it is not.
    fn make_live(&mut self, entry: &Entry, reach: &Reach<'_>) {
        self.keep_mirror(Some(entry), reach);
        if self.state().phase.is_ended() {
            return;
        }
        self.arm_again(entry, reach);
        let Some(weights) = self.weights() else { return };
        let (part, has_share) = (self.state().part, self.state().weight > 0);
        let is_sent = self.sent.as_ref().is_some_and(|sent| sent.part == part && sent.weights == weights);
        if is_sent && (self.is_live(entry) || self.sent.as_ref().is_some_and(|sent| sent.at.elapsed() < SEND_AGAIN)) {
            if self.is_live(entry) && (self.plan.is_some() || !has_share) {
                self.course.happen(&Event::Live, reach.now);
            }
            return;
        }
        let target = self.state().beginning.target;
        // Whatever becomes of the version before, what is counted of the target goes on.
        let is_counted_on = |sent: &Sent| {
            let is_same = share_of(&sent.weights, target) == share_of(&weights, target);
            sent.part == part && sent.trial.is_some() && is_same
        };
        let trial = match self.sent.take().filter(|sent| is_sent || is_counted_on(sent)) {
            Some(sent) => sent.trial,
            None => self.trial(&weights, reach),
        };
        self.send(weights, trial, reach);
    }

    fn trial(&self, weights: &[(u64, u16)], reach: &Reach<'_>) -> Option<Arc<Trial>> {
        let state = self.state();
        let (canary, stable, before) = (state.beginning.target, state.beginning.stable, state.before);
        let weight = share_of(weights, canary);
        let plan = self.plan.as_ref().filter(|_| weight > 0)?;
        let share = TrialShare { canary, stable, weight, before };
        Some(Arc::new(Trial::new(Arc::clone(plan), share, reach.workers)))
    }

    fn send(&mut self, weights: Vec<(u64, u16)>, trial: Option<Arc<Trial>>, reach: &Reach<'_>) {
        let state = self.state();
        let (id, part) = (state.beginning.id.clone(), state.part);
        let hold = RolloutHold { id, weights: weights.clone(), trial: trial.clone(), shadow: self.copies.mirror() };
        if reach.holds.try_send(HoldCommand::Hold { model: self.model.clone(), hold }).is_ok() {
            self.sent = Some(Sent { part, weights, trial, at: Instant::now() });
        }
    }

    /// Whether what was sent last is live.
    fn is_live(&self, entry: &Entry) -> bool {
        let (Some(sent), Some(serving)) = (&self.sent, &entry.serving) else { return false };
        let is_ours = entry.hold.as_ref() == Some(&self.state().beginning.id);
        let has_weights = sent
            .weights
            .iter()
            .all(|(version, weight)| entry.arm_of(*version).map_or(0, |arm| arm.weight.hundredths()) == *weight);
        let is_counted = match (&sent.trial, &serving.trial) {
            (Some(sent), Some(live)) => Arc::ptr_eq(sent, live),
            (None, None) => true,
            _ => false,
        };
        is_ours && has_weights && is_counted && self.copies.is_live(serving.mirror.as_ref())
    }

    /// The trial that counts the present part.
    fn counting(&self) -> Option<&Arc<Trial>> {
        let sent = self.sent.as_ref().filter(|sent| sent.part == self.state().part)?;
        sent.trial.as_ref()
    }

    /// Reads the guards; they are armed in every state with a share.
    fn read_guards(&mut self, reach: &Reach<'_>) {
        let Some(trial) = self.counting().cloned() else { return };
        let Some(segments) = self.guards.read(self.course.state().part, &trial) else { return };
        let state = self.course.state();
        let Some(judging) = &state.judging else { return };
        let judgement = judge_guards(judging, &segments, state.frozen.as_ref());
        self.guards.judgement = Some(judgement.clone());
        if judgement.verdict == Verdict::Fail {
            let counted = self.counted(&trial);
            let counts = self.state().with_live(counted);
            let look = Look { subject: Subject::Guards, counts, guards: segments, copies: None, judgement };
            self.course.happen(&Event::Judged(Box::new(look)), reach.now);
        }
    }

    /// Looks at the step, at times.
    fn look(&mut self, entry: &Entry, reach: &Reach<'_>) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) || self.course.is_raising() || !self.is_live(entry) {
            return;
        }
        self.looked = Some(Instant::now());
        if self.state().phase == Phase::Shadow {
            return self.look_at_copies(reach);
        }
        let (Some(trial), Some(judging)) = (self.counting().cloned(), self.state().judging.clone()) else { return };
        self.see_hour(entry, reach.board);
        let counted = self.counted(&trial);
        let state = self.state();
        let counts = state.with_live(counted);
        let (subject, judgement) = match (state.phase, state.step(), &state.frozen) {
            (Phase::Canary { .. }, Some(step), _) => (Subject::Step, judge_step(&judging, &counts, step.min_samples)),
            (Phase::Baking, _, Some(frozen)) => (Subject::Bake, judge_bake(&judging, frozen, &counts)),
            (Phase::Testing, ..) => {
                let test = state.beginning.test.clone();
                self.test = test.and_then(|test| answer(&test, &judging.layout, &counts).ok());
                return self.checkpoint(counts, reach);
            }
            _ => return,
        };
        self.seen = Seen::of(state.part, &counts, Some(judgement.verdict));
        self.judgement = Some(judgement.clone());
        let look = Look { subject, counts: counts.clone(), guards: Vec::new(), copies: None, judgement };
        self.course.happen(&Event::Judged(Box::new(look)), reach.now);
        self.checkpoint(counts, reach);
    }

    /// Writes counts down, at times.
    fn checkpoint(&mut self, counts: Vec<TrialCounts>, reach: &Reach<'_>) {
        let is_due = self.checkpointed.elapsed() >= CHECKPOINT;
        let state = self.state();
        let is_same = counts == *state.counts() || self.counting().is_none();
        if is_due && self.course.is_written() && !is_same {
            self.checkpointed = Instant::now();
            self.course.take(vec![JournalEntry::Counted { counts }], reach.now);
        }
    }

    /// Takes in what somebody outside said.
    pub(super) fn hear(&mut self, answer: Answer, now: u64) {
        match answer {
            Answer::Hook { hook, name, answer } => {
                self.asked.hook_answered((hook, name.clone()));
                let yes = answer == HookAnswer::Yes;
                self.course.happen(&Event::Hook { hook, name, yes, text: answer.to_string() }, now);
            }
            Answer::Told { told, failed } => {
                if let Some(cause) = &failed {
                    tracing::warn!(model = self.model, cause, "the registry is not told of a rollout; it will be");
                }
                let what = self.asked.was_told(told, failed.as_ref());
                let entry = what.map(|what| JournalEntry::WriteBack { what, failed });
                // While a larger share waits to be written down nothing else is.
                let entry = entry.filter(|_| !self.course.is_raising());
                self.course.take(entry.into_iter().collect(), now);
            }
        }
    }

    /// Has what was counted of the present part written down: before the process ends, and before a promotion that no step
    /// decided on, which freezes what stable did.
    pub(super) fn write_counts(&mut self, now: u64) {
        if let Some(trial) = self.counting().cloned()
            && !self.state().phase.is_ended()
            && !self.course.is_raising()
        {
            let counted = self.counted(&trial);
            let counts = self.state().with_live(counted);
            self.course.take(vec![JournalEntry::Counted { counts }], now);
        }
    }
}

/// A version's share.
fn share_of(weights: &[(u64, u16)], version: u64) -> u16 {
    weights.iter().find(|(found, _)| *found == version).map_or(0, |(_, weight)| *weight)
}
