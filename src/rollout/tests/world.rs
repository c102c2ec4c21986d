//! A gateway in small: what is written down, what is live, and a script of what happens.
//!
//! It does with a course what the task that drives rollouts does, but that it may stop anywhere: before a write, after it,
//! after what it allowed was published. What it does is counted in *points*, and a world may be told to end at one.

use crate::config::{OnTimeout, RolloutSettings};
use crate::observe::trial::{ArmTally, TrialCounts, TrialLayout, TrialSegment};
use crate::rollout::course::Course;
use crate::rollout::journal::{Beginning, Record, Subject};
use crate::rollout::judging::{JudgingPlan, judge_bake, judge_step};
use crate::rollout::machine::{Event, Look};
use crate::rollout::plan::Plan;
use crate::rollout::state::State;
use crate::rollout::{Judgement, MetricJudgement, Order, Phase, Verdict, test_support};
use std::time::Duration;

/// When everything begins, unix milliseconds: a Monday, 12:00.
pub(super) const NOON: u64 = 1_795_435_200_000;
/// Milliseconds between two rounds.
pub(super) const ROUND: u64 = 1_000;

/// A plan of two steps and a minute each.
pub(super) fn settings() -> RolloutSettings {
    let mut settings = RolloutSettings::default();
    settings.steps.truncate(2);
    settings.bake = Duration::from_secs(60);
    settings
}

pub(super) fn beginning(settings: &RolloutSettings) -> Beginning {
    let plan = Plan::of(settings);
    Beginning {
        id: plan.id("churn", "two"),
        digest: "two".to_owned(),
        stable_digest: "one".to_owned(),
        wanted: Some((2, "two".to_owned())),
        sighted_at: NOON,
        ..test_support::beginning(plan)
    }
}

/// How it is judged, on edges that nothing was counted on yet.
pub(super) fn judging() -> JudgingPlan {
    let layout = TrialLayout {
        latency_edges: vec![1_000_000],
        latency_beyond: vec![0.5],
        latency_ratio: 1.25,
        latency_limit: u64::MAX,
        expected_errors: 0.01,
        ..TrialLayout::default()
    };
    JudgingPlan::new(&settings(), layout)
}

/// As many good events of the canary.
pub(super) fn counts(events: u64) -> TrialCounts {
    let arm = || ArmTally { events, latency: vec![events, 0], ..ArmTally::default() };
    let segment = TrialSegment { weight: 0.5, keyed: false, canary: arm(), stable: arm() };
    TrialCounts { segments: vec![segment], ..TrialCounts::default() }
}

pub(super) fn judgement(verdict: Verdict) -> Judgement {
    let metric = MetricJudgement {
        metric: "errors".to_owned(),
        verdict,
        ln_evidence: 0.0,
        ln_threshold: 4.0,
        effect: None,
        tolerance: 0.0,
        canary: 1,
        stable: 1,
        summary: format!("errors: {}", verdict.name()),
    };
    Judgement::of(vec![metric])
}

pub(super) fn look(subject: Subject, verdict: Verdict) -> Event {
    let look = Look { subject, counts: Vec::new(), guards: Vec::new(), copies: None, judgement: judgement(verdict) };
    Event::Judged(Box::new(look))
}

/// What happens at a second of a script.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Order(Order),
    Newer(u64),
    Champion(u64),
    /// The guards fail.
    Broken,
}

/// What happens, second by second.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) settings: RolloutSettings,
    pub(super) happenings: Vec<(u64, Happening)>,
    /// What it comes to if nothing crashes.
    pub(super) outcome: Phase,
}

impl Script {
    pub(super) fn all() -> Vec<Self> {
        let plain = |name, happenings, outcome| Self { name, settings: settings(), happenings, outcome };
        let mut gated = settings();
        gated.steps[0].gate = true;
        gated.gate = true;
        let mut impatient = settings();
        impatient.steps[1].min_samples = u64::MAX;
        impatient.steps[1].on_timeout = OnTimeout::Abort;
        let order = Happening::Order;
        vec![
            plain("good", vec![], Phase::Done),
            plain("bad at the first step", vec![(20, Happening::Broken)], Phase::RolledBack),
            plain("bad at the second step", vec![(90, Happening::Broken)], Phase::RolledBack),
            plain("bad while baking", vec![(150, Happening::Broken)], Phase::RolledBack),
            plain("paused and resumed", vec![(20, order(Order::Pause)), (100, order(Order::Resume))], Phase::Done),
            plain("bad while paused", vec![(20, order(Order::Pause)), (100, Happening::Broken)], Phase::RolledBack),
            plain("superseded", vec![(80, Happening::Newer(3))], Phase::Superseded),
            plain("promoted by hand", vec![(20, order(Order::Promote))], Phase::Done),
            plain(
                "promoted by hand and aborted",
                vec![(20, order(Order::Promote)), (40, order(Order::Abort))],
                Phase::RolledBack,
            ),
            plain("aborted while baking", vec![(150, order(Order::Abort))], Phase::RolledBack),
            plain("another champion", vec![(80, Happening::Champion(7))], Phase::Superseded),
            plain(
                "paused at the second step, then promoted",
                vec![(80, order(Order::Pause)), (300, order(Order::Promote))],
                Phase::Done,
            ),
            plain("the registry's champion", vec![(20, Happening::Champion(2))], Phase::Done),
            Self {
                name: "gated",
                settings: gated,
                // Whoever looks at it now and then: a restart gives a step its time anew.
                happenings: (1..40).map(|time| (100 * time, order(Order::Resume))).collect(),
                outcome: Phase::Done,
            },
            Self { name: "impatient", settings: impatient, happenings: vec![], outcome: Phase::RolledBack },
        ]
    }
}

/// What is left of a world that ended, and where the next begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Record>,
    /// How many there were after each write.
    pub(super) writes: Vec<usize>,
}

/// A gateway in small.
pub(super) struct World<'a> {
    script: &'a Script,
    pub(super) course: Course,
    pub(super) disk: Disk,
    /// The target's share that is live.
    pub(super) live: u16,
    /// Seconds since the script began.
    pub(super) second: u64,
    /// What may still be done before the process is killed.
    points_left: u64,
    /// Whether writes fail.
    pub(super) is_disk_full: bool,
    counted: u64,
}

/// The process was killed.
#[derive(Debug)]
pub(super) struct Killed;

impl<'a> World<'a> {
    /// A rollout that begins, in a process that is killed after so many points.
    pub(super) fn begin(script: &'a Script, points_left: u64) -> Self {
        let course = Course::begin(beginning(&script.settings), NOON);
        Self { script, course, disk: Disk::default(), live: 0, second: 0, points_left, is_disk_full: false, counted: 0 }
    }

    /// The process after the one that was killed, if that left anything.
    pub(super) fn resume(killed: Self, points_left: u64) -> Option<Self> {
        let World { script, disk, second, .. } = killed;
        let course = Course::resume(&disk.records, NOON + second * ROUND).ok()?;
        // A process that begins serves the stable version, but for a target that had all traffic.
        let live = if course.state().weight == crate::rollout::state::ALL { course.state().weight } else { 0 };
        Some(Self { script, course, disk, live, second, points_left, is_disk_full: false, counted: 0 })
    }

    fn point(&mut self) -> Result<(), Killed> {
        self.points_left = self.points_left.checked_sub(1).ok_or(Killed)?;
        Ok(())
    }

    /// Goes on until the rollout has ended and is written down, for so many seconds at most.
    pub(super) fn run(&mut self, seconds: u64) -> Result<(), Killed> {
        for _ in 0..seconds {
            self.round()?;
            if self.course.state().phase.is_ended() && self.course.is_written() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn round(&mut self) -> Result<(), Killed> {
        let now = NOON + self.second * ROUND;
        let due: Vec<Happening> =
            self.script.happenings.iter().filter(|(at, _)| *at == self.second).map(|(_, due)| due.clone()).collect();
        for happening in due {
            self.happen(&happening, now);
            self.publish()?;
        }
        self.see(now);
        self.publish()?;
        self.write()?;
        self.publish()?;
        self.second += 1;
        Ok(())
    }

    fn happen(&mut self, happening: &Happening, now: u64) {
        match happening {
            Happening::Order(order) => drop(self.course.order(order, "somebody", None, now)),
            Happening::Newer(version) => self.course.happen(&Event::Newer(*version, "three".to_owned()), now),
            Happening::Champion(version) => self.course.happen(&Event::Champion(Some(*version)), now),
            Happening::Broken => self.course.happen(&look(Subject::Guards, Verdict::Fail), now),
        }
    }

    fn see(&mut self, now: u64) {
        let state = self.course.state();
        let phase = state.phase;
        self.counted += 50;
        let counts = state.with_live(Some(counts(self.counted)));
        let event = match phase {
            Phase::Pulling => Event::Preparing(Phase::Loading),
            Phase::Loading => Event::Ready(Box::new(judging())),
            Phase::Canary { .. } => {
                let needed = state.step().expect("a canary has a step").min_samples;
                let judgement = judge_step(&judging(), &counts, needed);
                Event::Judged(Box::new(Look {
                    subject: Subject::Step,
                    counts,
                    guards: Vec::new(),
                    copies: None,
                    judgement,
                }))
            }
            Phase::Baking => {
                let frozen = state.frozen.clone().expect("what is promoted is frozen");
                let judgement = judge_bake(&judging(), &frozen, &counts);
                Event::Judged(Box::new(Look {
                    subject: Subject::Bake,
                    counts,
                    guards: Vec::new(),
                    copies: None,
                    judgement,
                }))
            }
            _ => Event::Tick,
        };
        let part = state.part;
        self.course.happen(&event, now);
        if self.live == self.course.state().weight {
            self.course.happen(&Event::Live, now);
        }
        self.course.happen(&Event::Tick, now);
        if self.course.state().part != part {
            self.counted = 0;
        }
    }

    /// Has live what the state wants.
    fn publish(&mut self) -> Result<(), Killed> {
        let wanted = self.course.state().weight;
        if wanted != self.live {
            self.point()?;
            assert!(
                wanted <= self.written_weight() || wanted < self.live,
                "a larger share is live before it is written"
            );
            self.live = wanted;
            self.point()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Killed> {
        while let Some(records) = self.course.to_write() {
            self.point()?;
            if self.is_disk_full {
                self.course.written(Err("no space is left".to_owned()));
                break;
            }
            let known = self.disk.records.last().map_or(0, |record| record.generation);
            self.disk.records.extend(records.into_iter().filter(|record| record.generation > known));
            self.disk.writes.push(self.disk.records.len());
            self.point()?;
            self.course.written(Ok(()));
        }
        Ok(())
    }

    /// The share that the journal says the target has.
    pub(super) fn written_weight(&self) -> u16 {
        State::fold(&self.disk.records).map_or(0, |state| state.weight)
    }
}
