//! The one task that drives rollouts: twenty times a second it reads the guards of every rollout, four times a second the
//! counts of its step, and does what follows.
//!
//! Nothing here waits for anything: what is live is changed by the control loop, the journal is written by a task of its
//! own, and both are asked in the next round what became of it. So a disk that hangs delays no guard, and a rollout that
//! cannot go on delays no other.
//!
//! Invariant: every rollout is moved by this task alone, one event after the other.

mod begin;
mod driven;
mod journal;
mod outside;

pub(super) use journal::{Journal, Recalled};
pub(super) use outside::Outside;

use super::clock::UnixClock;
use super::control::HoldCommand;
use super::mirroring::Mirrors;
use crate::catalog::{Catalog, Snapshot};
use crate::judge::Board;
use crate::rollout::course::Course;
use crate::rollout::explain::explain;
use crate::rollout::history::History;
use crate::rollout::state::State;
use crate::rollout::{Message, Order, OrderError, OrderRequest, Posted, RolloutDesk, RolloutView};
use driven::{Driven, Reach, view_of};
use journal::{chosen, milliseconds};
use outside::Heard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the guards are read.
const ROUND: Duration = Duration::from_millis(50);
/// How often what is shown is made anew.
const POST: Duration = Duration::from_millis(250);
/// How long a release that was sent may take.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);
/// How long the last counts may take to be written when the process ends.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Explanations that are made at once.
const MOST_EXPLANATIONS: usize = 8;

/// What is said where nothing can be written down.
const NO_JOURNAL: &str = "no state can be kept, and a rollout that nobody could take up again is not begun";

/// What the task is made of.
pub(super) struct Parts {
    pub(super) catalog: Arc<Catalog>,
    pub(super) desk: RolloutDesk,
    pub(super) holds: mpsc::Sender<HoldCommand>,
    pub(super) workers: usize,
    /// Where the judge says what hours of the week are like.
    pub(super) board: Arc<Board>,
    /// Where rollouts are written down, if anything can be.
    pub(super) journal: Option<Journal>,
    pub(super) recalled: Recalled,
    pub(super) outside: Outside,
}

/// What drives rollouts.
pub(super) struct Rollouts {
    catalog: Arc<Catalog>,
    desk: RolloutDesk,
    holds: mpsc::Sender<HoldCommand>,
    workers: usize,
    mirrors: Mirrors,
    board: Arc<Board>,
    outside: Outside,
    journal: Option<Journal>,
    clock: UnixClock,
    models: BTreeMap<String, Rolled>,
    /// The snapshot in which new targets were looked for last.
    seen: Option<u64>,
    posted: Option<Instant>,
    explaining: JoinSet<()>,
}

/// The rollouts of a model.
#[derive(Default)]
struct Rolled {
    history: History,
    /// The last one.
    last: Option<Driven>,
    /// A rollout of an earlier process, until the model is seen.
    recalled: Option<Course>,
    released: Option<Instant>,
}

impl Rollouts {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { catalog, desk, holds, workers, board, journal, recalled, outside } = parts;
        let clock = UnixClock::new(Instant::now(), SystemTime::now());
        let mut models: BTreeMap<String, Rolled> = BTreeMap::new();
        for (model, history) in recalled.histories {
            models.entry(model).or_default().history = history;
        }
        for (model, course) in recalled.courses {
            models.entry(model).or_default().recalled = Some(course);
        }
        let (seen, posted, explaining) = (None, None, JoinSet::new());
        Self {
            catalog,
            desk,
            holds,
            workers,
            mirrors: Mirrors::default(),
            board,
            outside,
            journal,
            clock,
            models,
            seen,
            posted,
            explaining,
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = rounds.tick() => {}
                Some(message) = messages.recv() => self.take(message),
                Some(_explained) = self.explaining.join_next() => continue,
                Some(heard) = self.outside.asking.join_next() => match heard {
                    Ok(heard) => self.hear(heard),
                    Err(cause) => tracing::error!(%cause, "a bug ended a question of a rollout"),
                },
            }
            self.round();
        }
        self.write_last().await;
    }

    fn now(&mut self) -> u64 {
        let now = Instant::now();
        milliseconds(self.clock.at(now, (now, SystemTime::now())))
    }

    /// Looks at everything once.
    fn round(&mut self) {
        let (now, snapshot) = (self.now(), self.catalog.snapshot());
        if let Some(journal) = self.journal.clone() {
            self.take_up(&snapshot);
            if self.seen != Some(snapshot.generation) {
                self.seen = Some(snapshot.generation);
                self.begin_wanted(&snapshot, now);
            }
            let reach = Reach {
                journal: &journal,
                holds: &self.holds,
                workers: self.workers,
                mirrors: &self.mirrors,
                board: &self.board,
                is_settled: snapshot.settled,
                now,
            };
            for (model, rolled) in &mut self.models {
                let Some(driven) = rolled.last.as_mut().filter(|driven| !driven.is_settled()) else { continue };
                let had_ended = driven.state().phase.is_ended();
                driven.drive(snapshot.models.get(model).map(Arc::as_ref), &reach);
                if driven.state().phase.is_ended() && !had_ended {
                    rolled.history.end(driven.state());
                    // Another version may be next.
                    self.seen = None;
                }
            }
            self.release_ended(&snapshot);
            self.ask(&snapshot);
        }
        self.answer();
        self.post();
    }

    /// Takes in what a hook or the registry said of a rollout, if it is that one still.
    fn hear(&mut self, heard: Heard) {
        let now = self.now();
        let driven = self.models.get_mut(&heard.model).and_then(|rolled| rolled.last.as_mut());
        if let Some(driven) = driven.filter(|driven| driven.state().beginning.id == heard.id) {
            driven.hear(heard.answer, now);
        }
    }

    /// Asks and tells what is due.
    fn ask(&mut self, snapshot: &Snapshot) {
        for (model, rolled) in &mut self.models {
            if let (Some(driven), Some(entry)) = (&mut rolled.last, snapshot.models.get(model)) {
                self.outside.ask(driven, entry);
            }
        }
    }

    /// Takes rollouts of an earlier process up, once their models are there.
    fn take_up(&mut self, snapshot: &Snapshot) {
        for (model, rolled) in self.models.iter_mut().filter(|(_, rolled)| rolled.recalled.is_some()) {
            let Some(entry) = snapshot.models.get(model) else { continue };
            if let Some(course) = rolled.recalled.take() {
                let settings = entry.settings.rollout.clone().unwrap_or_default();
                let ledger = rolled.history.ledger().clone();
                rolled.last = Some(Driven::new(model.clone(), course, settings, ledger));
            }
        }
    }

    /// Lets go of what rollouts held that have ended.
    fn release_ended(&mut self, snapshot: &Snapshot) {
        for (model, rolled) in &mut self.models {
            let Some(state) = rolled.last.as_ref().map(Driven::state).filter(|state| state.phase.is_ended()) else {
                continue;
            };
            let held = snapshot.models.get(model).and_then(|entry| entry.hold.as_ref());
            let is_early = rolled.released.is_some_and(|at| at.elapsed() < RELEASE_AGAIN);
            if held != Some(&state.beginning.id) || is_early {
                continue;
            }
            let stable = rolled.history.stable(None).unwrap_or(state.beginning.stable);
            let command = HoldCommand::Release { model: model.clone(), chosen: chosen(&rolled.history, stable) };
            if self.holds.try_send(command).is_ok() {
                rolled.released = Some(Instant::now());
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Order(request) => self.order(request),
            Message::Explain { model, id, reply } => {
                let found = self.view_of(&model).and_then(|view| {
                    let journal = self.journal.clone();
                    Ok((view, journal.ok_or_else(|| OrderError::Unavailable(NO_JOURNAL.to_owned()))?))
                });
                let (view, journal) = match found {
                    Ok(found) => found,
                    Err(error) => return drop(reply.send(Err(error))),
                };
                if self.explaining.len() >= MOST_EXPLANATIONS {
                    let busy = "too many explanations are being made; try again".to_owned();
                    return drop(reply.send(Err(OrderError::Unavailable(busy))));
                }
                self.explaining.spawn(async move { drop(reply.send(explained(&journal, view, id).await)) });
            }
        }
    }

    fn order(&mut self, request: OrderRequest) {
        let now = self.now();
        let OrderRequest { model, order, by, generation, reply } = request;
        if let Order::Start { target, test } = order {
            let outcome = self.begin_ordered(&model, (target, test), &by, now);
            return drop(reply.send(outcome));
        }
        let known = self.catalog.snapshot().models.contains_key(&model);
        let running = self.models.get_mut(&model).and_then(|rolled| rolled.last.as_mut());
        let Some(driven) = running else {
            let error = if known { OrderError::NoRollout(model) } else { OrderError::UnknownModel(model) };
            return drop(reply.send(Err(error)));
        };
        if order == Order::Promote {
            // What the new version is compared with from then on is all that stable did.
            driven.write_counts(now);
        }
        match driven.course.order(&order, &by, generation, now) {
            Ok(()) => {
                tracing::info!(model, ?order, by, "an order for a rollout");
                driven.replies.push(reply);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Answers orders that are carried out. One that raises a share is, once that is written down; if it cannot be, it is
    /// not.
    fn answer(&mut self) {
        let now = self.now();
        for driven in self.models.values_mut().filter_map(|rolled| rolled.last.as_mut()) {
            if driven.replies.is_empty() {
                continue;
            }
            let outcome = match (driven.course.is_raising(), driven.course.trouble()) {
                (true, None) => continue,
                (true, Some(cause)) => Err(OrderError::Unavailable(format!("it cannot be written down: {cause}"))),
                (false, _) => Ok(()),
            };
            if outcome.is_err() {
                driven.course.withdraw(now);
            }
            let view = driven.view();
            for reply in driven.replies.drain(..) {
                let _ = reply.send(outcome.clone().map(|()| view.clone()));
            }
        }
    }

    fn view_of(&self, model: &str) -> Result<RolloutView, OrderError> {
        let last = self.models.get(model).and_then(|rolled| rolled.last.as_ref());
        last.map(Driven::view).ok_or_else(|| match self.catalog.snapshot().models.contains_key(model) {
            true => OrderError::NoRollout(model.to_owned()),
            false => OrderError::UnknownModel(model.to_owned()),
        })
    }

    fn post(&mut self) {
        if self.posted.is_some_and(|at| at.elapsed() < POST) {
            return;
        }
        self.posted = Some(Instant::now());
        // What waited for the registry to be told of the one before need not be news of the catalog.
        self.seen = None;
        let mut posted = Posted::default();
        for (model, rolled) in &self.models {
            posted.figures.insert(model.clone(), rolled.history.figures());
            if let Some(driven) = &rolled.last {
                posted.rollouts.insert(model.clone(), Arc::new(driven.view()));
            }
        }
        self.desk.post(posted);
    }

    /// Writes down what was counted, so that the next process goes on from there.
    async fn write_last(&mut self) {
        let (now, Some(journal)) = (self.now(), self.journal.clone()) else { return };
        let reach = Reach {
            journal: &journal,
            holds: &self.holds,
            workers: self.workers,
            mirrors: &self.mirrors,
            board: &self.board,
            is_settled: false,
            now,
        };
        let mut driven: Vec<&mut Driven> = self.models.values_mut().filter_map(|rolled| rolled.last.as_mut()).collect();
        driven.iter_mut().for_each(|driven| driven.write_counts(now));
        let until = Instant::now() + LAST_WRITE;
        while driven.iter().any(|driven| !driven.course.is_written()) && Instant::now() < until {
            driven.iter_mut().for_each(|driven| driven.drive(None, &reach));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A journal in words; of a rollout that is not the last one the view is of its entries alone.
async fn explained(
    journal: &Journal,
    view: RolloutView,
    id: Option<String>,
) -> Result<crate::rollout::Explanation, OrderError> {
    let id = id.unwrap_or_else(|| view.id.clone());
    let records = journal.read(&id).await.map_err(OrderError::Unavailable)?;
    let all: Vec<_> = records.iter().map(|(_, record)| record.clone()).collect();
    let state = State::fold(&all).map_err(|_empty| OrderError::NoRollout(view.model.clone()))?;
    if state.beginning.model != view.model {
        return Err(OrderError::NoRollout(view.model));
    }
    let view = if id == view.id { view } else { view_of(&state) };
    Ok(explain(view, &records))
}
