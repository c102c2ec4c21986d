//! The shadow phase of a rollout: a mirror for as long as it lasts, and looks at what its copies came to.
//!
//! What was compared is not written down before something is decided from it: after a restart copies begin anew.
//!
//! Invariant: there is a mirror in the shadow phase alone; what the last one came to is shown afterwards.

use super::{Driven, Reach};
use crate::catalog::{Entry, Mirror};
use crate::config::ShadowSettings;
use crate::observe::shadow::ShadowCounts;
use crate::rollout::journal::{Copies, Subject};
use crate::rollout::machine::{Event, Look};
use crate::rollout::{Phase, Seen, ShadowRule, ShadowView, judge_shadow};
use std::sync::Arc;

/// A rollout's copies of requests.
#[derive(Default)]
pub(super) struct Mirrored {
    mirror: Option<Arc<Mirror>>,
    /// Why there is none, where there should be one.
    refused: Option<String>,
    /// What the mirror before came to.
    last: Option<ShadowCounts>,
}

impl Mirrored {
    pub(super) fn mirror(&self) -> Option<Arc<Mirror>> {
        self.mirror.clone()
    }

    /// Whether the mirror that is live is this one.
    pub(super) fn is_live(&self, live: Option<&Arc<Mirror>>) -> bool {
        match (&self.mirror, live) {
            (Some(mirror), Some(live)) => Arc::ptr_eq(mirror, live),
            (None, None) => true,
            _ => false,
        }
    }

    pub(super) fn view(&self) -> Option<ShadowView> {
        let now = self.mirror.as_ref().map(|mirror| mirror.counts());
        now.as_ref().or(self.last.as_ref()).map(ShadowView::from)
    }

    fn end(&mut self) {
        if let Some(mirror) = self.mirror.take() {
            self.last = Some(mirror.counts());
        }
        self.refused = None;
    }
}

impl Driven {
    /// Has a mirror while the phase wants one, and none else.
    pub(super) fn keep_mirror(&mut self, entry: Option<&Entry>, reach: &Reach<'_>) {
        if self.state().phase != Phase::Shadow {
            return self.copies.end();
        }
        if self.copies.mirror.is_some() || self.copies.refused.is_some() {
            return;
        }
        let beginning = &self.state().beginning;
        let Some(plan) = &beginning.plan.shadow else { return };
        let version = |version: u64| entry.and_then(|entry| entry.loaded.get(&version));
        // Of an earlier process: they may still be loading.
        let (Some(stable), Some(target)) = (version(beginning.stable), version(beginning.target)) else { return };
        let (share, queue, memory) = (plan.share, plan.queue, plan.memory);
        let settings = ShadowSettings { share, queue, memory, ..ShadowSettings::default() };
        match reach.mirrors.start(stable, target, &settings) {
            Ok(mirror) => self.copies.mirror = Some(mirror),
            Err(error) => self.copies.refused = Some(error.to_string()),
        }
    }

    /// Judges what was compared so far.
    pub(super) fn look_at_copies(&mut self, reach: &Reach<'_>) {
        if let Some(reason) = self.copies.refused.clone() {
            let reason = format!("requests cannot be copied: {reason}");
            return self.course.happen(&Event::Unmirrored(reason), reach.now);
        }
        let rule = ShadowRule::of(&self.state().beginning.plan);
        let (Some(mirror), Some(rule)) = (&self.copies.mirror, rule) else { return };
        let counts = mirror.counts();
        let judgement = judge_shadow(&rule, &counts);
        let part = self.state().part;
        self.seen = Seen { part, requests: counts.compared, verdict: Some(judgement.verdict) };
        self.judgement = Some(judgement.clone());
        let copies = Some(Box::new(Copies { rule, counts }));
        let look = Look { subject: Subject::Shadow, counts: Vec::new(), guards: Vec::new(), copies, judgement };
        self.course.happen(&Event::Judged(Box::new(look)), reach.now);
    }
}
