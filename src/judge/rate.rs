//! The alarm on one rate, and what lets it go.
//!
//! Invariant: it is raised only while the window's share is above what is allowed, and let go only after that share was
//! well below it for as long as was asked for.

use super::alarm::{read_numbers, write_numbers};
use crate::detect::alarm::{AlarmPlan, Finding, Latch, RateAlarm, RateRule};
use crate::observe::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// A rate is clear below this part of what is allowed: a rate that dances around it would page somebody at every step.
const CLEAR_SHARE: f64 = 0.9;

/// One watched rate.
#[derive(Debug)]
pub(super) struct RateWatch {
    plan: AlarmPlan,
    alarm: RateAlarm,
    latch: Latch,
}

impl RateWatch {
    pub(super) fn new(plan: &AlarmPlan, rule: RateRule) -> Self {
        Self { plan: *plan, alarm: RateAlarm::new(plan, rule), latch: Latch::default() }
    }

    /// Goes on by this plan and rule. Another rule starts anew; by another plan what was counted is weighed anew, and what
    /// is raised stays raised.
    pub(super) fn follow(&mut self, plan: &AlarmPlan, rule: RateRule) {
        if self.alarm.rule() != rule {
            *self = Self::new(plan, rule);
        } else if self.plan != *plan {
            let state = self.alarm.state();
            (self.plan, self.alarm) = (*plan, RateAlarm::new(plan, rule));
            self.alarm.resume(&state);
        }
    }

    /// Share that is allowed.
    pub(super) fn allowed(&self) -> f64 {
        self.alarm.rule().allowed
    }

    /// What raised it, while it is raised.
    pub(super) fn finding(&self) -> Option<&Finding> {
        self.latch.finding()
    }

    /// Looks at events and trials since deploy, and at those in the window.
    pub(super) fn look(&mut self, at: Duration, counted: (u64, u64), window: (u64, u64), hold: Duration) {
        let share = (window.1 > 0).then(|| window.0 as f64 / window.1 as f64);
        if self.latch.finding().is_none() {
            let found = self.alarm.look(at, counted.0, counted.1);
            if let Some(finding) = found.filter(|_| share.is_some_and(|share| share > self.allowed())) {
                self.latch.raise(finding);
            }
            return;
        }
        let clear = share.map(|share| share < CLEAR_SHARE * self.allowed());
        if self.latch.settle(at, clear, hold) {
            self.alarm.restart(at, counted.0, counted.1);
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        write_numbers(writer, &self.latch.state());
        write_numbers(writer, &self.alarm.state());
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let (latch, state) = (read_numbers(reader)?, read_numbers(reader)?);
        self.latch = Latch::of_state(&latch);
        self.alarm.resume(&state);
        Ok(())
    }
}
