//! Where a rollout stands, which follows from its journal alone.
//!
//! Nothing changes a state but an entry: whoever wants something changed makes an entry, has it applied and written down.
//! So the state after a restart is the state before it.
//!
//! What was counted comes in parts: one for each share and for each time that the process ran. The last one is the one
//! that is being counted; those before it are closed. After a restart counting begins anew, and the part that was written
//! down last is closed with what it had, but for the events of keys: a key that asks again would count twice. Once it is
//! promoted, a part is one for each hour of the week in which it was counted, where hours have references.
//!
//! Invariant: the state is the fold of the entries; the target's share is nothing in every state without one.

use super::journal::{Beginning, Decision, Entry, Record, Subject};
use super::judging::{Frozen, JudgingPlan};
use super::plan::Step;
use super::{Judgement, Order, Pause, Phase};
use crate::config::{Newer, RolloutHookKind};
use crate::observe::trial::TrialCounts;
use std::collections::BTreeSet;

/// All of the traffic, hundredths of a percent.
pub const ALL: u16 = 10_000;

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What it began with.
    pub beginning: Beginning,
    /// How it is judged, once that is fixed.
    pub judging: Option<JudgingPlan>,
    /// The place of the last entry.
    pub generation: u64,
    /// The place of the last entry that changed more than counts: what an order may be bound to.
    pub changed: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Why it waits there.
    pub pause: Option<Pause>,
    /// The target's share, hundredths of a percent.
    pub weight: u16,
    /// The target's share before it grew to this one.
    pub before: u16,
    /// Unix milliseconds when it began.
    pub started_at: u64,
    /// Unix milliseconds when it came to where it stands, or the process began anew there.
    pub since: u64,
    /// Unix milliseconds when it was promoted.
    pub promoted_at: Option<u64>,
    /// Unix milliseconds when it first had all traffic.
    pub all_at: Option<u64>,
    /// Unix milliseconds when it ended.
    pub ended_at: Option<u64>,
    /// The entry with which it ended.
    pub ended: Option<Entry>,
    /// Why it stands there.
    pub reason: String,
    /// Whether somebody said that it may go on past a gate or without a verdict.
    pub go_on: bool,
    /// The moments at which a hook has agreed to the next share.
    pub confirmed: BTreeSet<(RolloutHookKind, String)>,
    /// The hooks that do not agree to what was seen last.
    pub disagreed: BTreeSet<String>,
    /// Whether it ever had a share.
    pub had_share: bool,
    /// What it is about to end as.
    pub ends: Option<Phase>,
    /// What the registry said last is stable.
    pub champion: Option<u64>,
    /// What was wanted last.
    pub wanted: Option<(u64, String)>,
    /// The versions that were to be left alone.
    pub rejected: BTreeSet<(u64, String)>,
    /// What was counted before promotion, by part.
    pub canary_counts: Vec<TrialCounts>,
    /// What was counted since, by part.
    pub bake_counts: Vec<TrialCounts>,
    /// How many parts of the present phase are closed.
    pub closed: usize,
    /// The place of the entry with which the part began that is being counted.
    pub part: u64,
    /// Stable's counts before promotion.
    pub frozen: Option<Frozen>,
    /// What was decided last.
    pub decided: Option<Judgement>,
    /// What the registry was told last.
    pub told: Option<String>,
    /// What keeps it from going on.
    pub problem: Option<String>,
}

impl State {
    /// The state of a journal: its entries in their order.
    ///
    /// # Errors
    /// What is wrong with it: it is empty, does not begin with a beginning, or has gaps that were no counts.
    pub fn fold(records: &[Record]) -> Result<Self, String> {
        let (first, rest) = records.split_first().ok_or("it is empty")?;
        let Entry::Started(beginning) = &first.entry else {
            return Err(format!("its first entry is {}, not a beginning", first.entry.kind()));
        };
        let mut state = Self::begin(beginning, first.generation, first.at);
        for record in rest {
            if record.generation <= state.generation {
                return Err(format!("entry {} comes after entry {}", record.generation, state.generation));
            }
            state.apply(record);
        }
        Ok(state)
    }

    fn begin(beginning: &Beginning, generation: u64, at: u64) -> Self {
        Self {
            judging: None,
            generation,
            changed: generation,
            phase: Phase::Pulling,
            pause: None,
            weight: 0,
            before: 0,
            started_at: at,
            since: at,
            promoted_at: None,
            all_at: None,
            ended_at: None,
            ended: None,
            reason: format!("started by {}", beginning.by),
            go_on: false,
            confirmed: BTreeSet::new(),
            disagreed: BTreeSet::new(),
            had_share: false,
            ends: None,
            champion: beginning.champion,
            wanted: beginning.wanted.clone(),
            rejected: BTreeSet::new(),
            canary_counts: Vec::new(),
            bake_counts: Vec::new(),
            closed: 0,
            part: generation,
            frozen: None,
            decided: None,
            told: None,
            problem: None,
            beginning: beginning.clone(),
        }
    }

    /// Takes in the next entry.
    pub fn apply(&mut self, record: &Record) {
        self.generation = record.generation;
        match &record.entry {
            // A beginning is the first entry and no other.
            Entry::Started(_) | Entry::Problem { .. } => {}
            Entry::Armed { judging } => {
                if let (Some(before), Some(frozen)) = (&self.judging, &self.frozen) {
                    self.frozen = Some(frozen.on(&before.layout, &judging.layout));
                }
                self.judging = Some((**judging).clone());
                (self.canary_counts, self.bake_counts, self.closed) = (Vec::new(), Vec::new(), 0);
            }
            Entry::Moved { to, weight, reason, ends } => {
                self.move_to((*to, *weight), record.at);
                (self.reason, self.ends) = (reason.clone(), *ends);
            }
            Entry::Paused { pause, reason } => (self.pause, self.reason) = (Some(*pause), reason.clone()),
            Entry::Continued { reason } => (self.pause, self.reason) = (None, reason.clone()),
            Entry::Decision(decision) => self.decide(decision),
            Entry::Counted { counts } => self.counts_mut().clone_from(counts),
            Entry::Ordered { order, by } => self.ordered(order, by),
            Entry::Hook { hook, name, yes, .. } => self.answered((*hook, name), *yes),
            Entry::Newer { version, digest, action } => {
                self.wanted = Some((*version, digest.clone()));
                if *action == Newer::Reject {
                    self.rejected.insert((*version, digest.clone()));
                }
            }
            Entry::Champion { version } => self.champion = *version,
            Entry::WriteBack { what, failed } => {
                if failed.is_none() {
                    self.told = Some(what.clone());
                }
            }
            Entry::Restarted => self.restart(record.at),
            Entry::Ended { outcome, reason, .. } => {
                let weight = if *outcome == Phase::Done { ALL } else { 0 };
                self.move_to((*outcome, weight), record.at);
                (self.ended_at, self.reason, self.ends) = (Some(record.at), reason.clone(), None);
                self.ended = Some(record.entry.clone());
            }
        }
        if !matches!(record.entry, Entry::Counted { .. } | Entry::WriteBack { .. } | Entry::Hook { .. }) {
            self.changed = record.generation;
        }
        self.problem = match &record.entry {
            Entry::Problem { what } => Some(what.clone()),
            Entry::Armed { .. } | Entry::Counted { .. } | Entry::WriteBack { .. } | Entry::Hook { .. } => {
                self.problem.take()
            }
            // Nothing about it changes when what is promoted is live.
            Entry::Moved { to: Phase::Baking, .. } => self.problem.take(),
            _ => None,
        };
    }

    fn move_to(&mut self, (to, weight): (Phase, u16), at: u64) {
        // What was promoted is counted on: nothing about its traffic changes.
        let is_counted_on = (self.phase, to) == (Phase::Promoting, Phase::Baking);
        if (to, weight) == (self.phase, self.weight) {
            self.leave_out_keys();
        }
        if weight > self.weight {
            self.before = self.weight;
        }
        self.had_share |= weight > 0;
        if to == Phase::Promoting {
            self.frozen = Some(Frozen::of(&self.canary_counts));
            self.promoted_at = Some(at);
            self.bake_counts.clear();
        }
        if to == Phase::Baking {
            self.all_at.get_or_insert(at);
        }
        (self.phase, self.weight, self.since) = (to, weight, at);
        (self.pause, self.go_on) = (None, false);
        self.confirmed.clear();
        if !is_counted_on {
            self.closed = self.counts().len();
            self.part = self.generation;
        }
    }

    fn decide(&mut self, decision: &Decision) {
        self.decided = Some(decision.judgement.clone());
        if decision.subject != Subject::Guards && decision.subject != Subject::Shadow {
            self.counts_mut().clone_from(&decision.counts);
        }
    }

    fn ordered(&mut self, order: &Order, by: &str) {
        match order {
            Order::Resume => {
                self.go_on = matches!(self.pause, Some(Pause::Gate | Pause::Inconclusive));
                (self.pause, self.reason) = (None, format!("resumed by {by}"));
            }
            Order::Pause => (self.pause, self.reason) = (Some(Pause::Operator), format!("paused by {by}")),
            // The entry that follows says what it came to.
            Order::Start { .. } | Order::Promote | Order::Abort => {}
        }
    }

    fn answered(&mut self, (hook, name): (RolloutHookKind, &str), yes: bool) {
        match (hook, yes) {
            (RolloutHookKind::Rollout, true) => drop(self.disagreed.remove(name)),
            (RolloutHookKind::Rollout, false) => drop(self.disagreed.insert(name.to_owned())),
            (_, true) => drop(self.confirmed.insert((hook, name.to_owned()))),
            (_, false) => {}
        }
    }

    /// Closes what was written down last. A part without any events says nothing and is left out.
    fn restart(&mut self, at: u64) {
        if self.phase != Phase::Aborting {
            self.since = at;
        }
        self.leave_out_keys();
        let closed = self.closed;
        let counts = self.counts_mut();
        let is_empty = |part: &TrialCounts| {
            *part == TrialCounts { guards: empty_as(part), hour: part.hour.clone(), ..TrialCounts::default() }
        };
        while counts.len() > closed && counts.last().is_some_and(is_empty) {
            counts.pop();
        }
        self.closed = self.counts().len();
        self.part = self.generation;
    }

    /// Of the part that was written down last, where counting begins anew at the same share.
    fn leave_out_keys(&mut self) {
        let closed = self.closed;
        let parts = self.counts_mut().iter_mut().skip(closed);
        parts.for_each(|part| part.segments.retain(|segment| !segment.keyed));
    }

    /// What was counted in this phase, by part.
    #[must_use]
    pub fn counts(&self) -> &Vec<TrialCounts> {
        if self.is_promoted() { &self.bake_counts } else { &self.canary_counts }
    }

    fn counts_mut(&mut self) -> &mut Vec<TrialCounts> {
        if self.is_promoted() { &mut self.bake_counts } else { &mut self.canary_counts }
    }

    /// The closed parts of this phase and what is being counted: one part, or one for each hour.
    #[must_use]
    pub fn with_live(&self, live: impl IntoIterator<Item = TrialCounts>) -> Vec<TrialCounts> {
        self.counts().iter().take(self.closed).cloned().chain(live).collect()
    }

    /// Whether it had all of the traffic already.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.promoted_at.is_some()
    }

    /// What every version is to have, in the order of their numbers; nothing where it ended.
    #[must_use]
    pub fn weights(&self) -> Option<Vec<(u64, u16)>> {
        if self.phase.is_ended() {
            return None;
        }
        let (stable, target) = (self.beginning.stable, self.beginning.target);
        let mut weights = vec![(stable, ALL - self.weight), (target, self.weight)];
        weights.sort_unstable();
        Some(weights)
    }

    /// The rules of the step at which it stands; of copies of requests too.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        match self.phase {
            Phase::Canary { step } => self.beginning.plan.steps.get(step),
            Phase::Shadow => self.beginning.plan.shadow.as_ref().map(|shadow| &shadow.step),
            _ => None,
        }
    }
}

fn empty_as(part: &TrialCounts) -> crate::observe::trial::GuardSegment {
    crate::observe::trial::GuardSegment { weight: part.guards.weight, ..Default::default() }
}
