//! Traffic that is drawn as counts, by the rules by which a gateway counts: what is an event, of which arm, of which group.
//!
//! Invariant: everything follows from the seed.

use super::super::{JudgingPlan, starts};
use crate::config::RolloutSettings;
use crate::observe::trial::{ArmTally, GuardSegment, GuardTally, OutputCells, TrialCounts, TrialLayout, TrialSegment};
use crate::route::{FULL_WEIGHT, Split, hash_of_key, point_of_draw};
use crate::sketch::KEY_GROUPS;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{ContinuousCDF, Normal};

pub(super) const STABLE_ERRORS: f64 = 0.005;
/// Median and logarithmic spread of the stable version's durations, milliseconds.
const MEDIAN: f64 = 4.0;
const SPREAD: f64 = 0.4;
const BEYOND: [f64; 6] = [0.5, 0.25, 0.1, 0.05, 0.01, 0.001];
const CELLS: usize = 10;
/// Bits of the map of first requests.
const MAP_BITS: u32 = 20;
const STABLE: u64 = 1;
const CANARY: u64 = 2;

/// What the canary does otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) errors: f64,
    pub(super) latency: f64,
    pub(super) shift: f64,
    pub(super) non_finite: f64,
}

pub(super) const NONE: Change = Change { errors: 1.0, latency: 1.0, shift: 0.0, non_finite: 0.0 };

/// Who sends requests.
#[derive(Debug)]
pub(super) struct World {
    users: Vec<User>,
    /// Cumulative shares of the users.
    cumulative: Vec<f64>,
    edges: Vec<f64>,
    cells: Vec<f64>,
    limit: f64,
}

#[derive(Clone, Copy, Debug)]
struct User {
    errors: f64,
    latency: f64,
    score: f64,
}

impl World {
    /// Requests without keys, all alike.
    pub(super) fn alike() -> Self {
        let law = Normal::standard();
        let quantile = |share: f64| MEDIAN * (SPREAD * law.inverse_cdf(1.0 - share)).exp();
        Self {
            users: Vec::new(),
            cumulative: Vec::new(),
            edges: BEYOND.iter().map(|share| quantile(*share)).collect(),
            cells: (1..CELLS).map(|cell| law.inverse_cdf(cell as f64 / CELLS as f64)).collect(),
            limit: 10.0 * quantile(0.01),
        }
    }

    /// Users with keys, by Zipf's law, who differ: the worst tenth fail ten times as often as most, durations differ by a
    /// factor of two between users, scores by as much between users as within.
    pub(super) fn of_users(count: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(77);
        let user = |random: &mut SmallRng| User {
            errors: STABLE_ERRORS * if random.random_bool(0.1) { 5.5 } else { 0.5 },
            latency: (0.5 * normal(random)).exp(),
            score: std::f64::consts::FRAC_1_SQRT_2 * normal(random),
        };
        let users: Vec<User> = (0..count).map(|_| user(&mut random)).collect();
        let mut total = 0.0;
        let mut cumulative: Vec<f64> = (1..=count)
            .map(|rank| {
                total += (rank as f64).powf(-1.1);
                total
            })
            .collect();
        cumulative.iter_mut().for_each(|share| *share /= total);
        let mut world = Self { users, cumulative, ..Self::alike() };
        world.set_edges(&mut random);
        world
    }

    /// Edges of durations from a sample of the stable version's, as a gateway has them when a rollout begins.
    fn set_edges(&mut self, random: &mut SmallRng) {
        let mut sample: Vec<f64> = (0..200_000)
            .map(|_| {
                let user = self.users[self.user(random.random())];
                MEDIAN * (SPREAD * normal(random)).exp() * user.latency
            })
            .collect();
        sample.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| sample[((1.0 - share) * sample.len() as f64) as usize];
        self.edges = BEYOND.iter().map(|share| quantile(*share)).collect();
        self.limit = 10.0 * self.edges[4];
    }

    /// The user who sends a request.
    fn user(&self, draw: f64) -> usize {
        self.cumulative.partition_point(|share| *share < draw).min(self.users.len() - 1)
    }

    pub(super) fn plan(&self) -> JudgingPlan {
        self.plan_of(&RolloutSettings::default())
    }

    pub(super) fn plan_of(&self, settings: &RolloutSettings) -> JudgingPlan {
        let nanoseconds = |milliseconds: f64| (milliseconds * 1e6) as u64;
        let mut expected = vec![1000; CELLS];
        expected.extend([0, 0, 0]);
        let layout = TrialLayout {
            latency_edges: self.edges.iter().map(|edge| nanoseconds(*edge)).collect(),
            latency_beyond: BEYOND.to_vec(),
            latency_ratio: settings.tolerances.latency_ratio,
            latency_added: settings.tolerances.latency_added.as_nanos() as u64,
            latency_limit: nanoseconds(self.limit),
            outputs: vec![OutputCells { name: "score".to_owned(), expected, ordered: CELLS, center: Some(0.0) }],
            expected_errors: STABLE_ERRORS,
        };
        JudgingPlan::new(settings, layout)
    }

    /// A limit for thresholds on the 99th percentile: a quarter above what it is.
    fn far(&self) -> f64 {
        1.25 * self.edges[4]
    }
}

/// What a rule with thresholds sees of the canary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Beyond 1.25 times the 99th percentile of stable.
    pub(super) far: u64,
}

/// One rollout's traffic.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    world: &'a World,
    change: Change,
    random: SmallRng,
    hashes: Vec<u64>,
    split: Split,
    weight: u16,
    before: u16,
    seen: Vec<u64>,
    /// At the present share.
    pub(super) counts: TrialCounts,
    /// Requests of the canary, all of them.
    pub(super) canary: u64,
    pub(super) requests: u64,
    /// What rules with thresholds see.
    pub(super) checked: Checked,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(world: &'a World, change: Change, seed: u64, weight: u16) -> Self {
        let name = format!("model-{seed}");
        let hashes = (0..world.users.len()).map(|user| hash_of_key(&name, format!("user-{user}").as_bytes())).collect();
        let mut traffic = Self {
            world,
            change,
            random: SmallRng::seed_from_u64(seed),
            hashes,
            split: Split::try_new(&[(STABLE, FULL_WEIGHT)]).unwrap(),
            weight: 0,
            before: 0,
            seen: Vec::new(),
            counts: TrialCounts::default(),
            canary: 0,
            requests: 0,
            checked: Checked::default(),
        };
        traffic.begin(weight);
        traffic
    }

    /// A new share.
    pub(super) fn begin(&mut self, weight: u16) {
        (self.before, self.weight) = (self.weight, weight);
        self.split = Split::try_new(&[(STABLE, FULL_WEIGHT - weight), (CANARY, weight)]).unwrap();
        self.seen = vec![0; 1 << (MAP_BITS - 6)];
        let (all, before) = (f64::from(FULL_WEIGHT), f64::from(self.before));
        let keyed = !self.world.users.is_empty();
        let share = f64::from(weight) / all;
        let arm = || ArmTally {
            latency: vec![0; BEYOND.len() + 1],
            outputs: vec![vec![0; CELLS + 3]],
            ..ArmTally::default()
        };
        let segment = TrialSegment {
            weight: if keyed { (f64::from(weight) - before) / (all - before) } else { share },
            keyed,
            canary: arm(),
            stable: arm(),
        };
        let guards = GuardSegment { weight: share, ..GuardSegment::default() };
        self.counts = TrialCounts { segments: vec![segment], guards, ..TrialCounts::default() };
    }

    /// From now on the canary does this otherwise.
    pub(super) fn change_to(&mut self, change: Change) {
        self.change = change;
    }

    /// One request; whether the canary answered it.
    pub(super) fn request(&mut self) -> bool {
        let keyed = !self.hashes.is_empty();
        let (user, hash) = if keyed {
            let user = self.world.user(self.random.random());
            (self.world.users[user], self.hashes[user])
        } else {
            (User { errors: STABLE_ERRORS, latency: 1.0, score: 0.0 }, self.random.random())
        };
        let point = point_of_draw(hash);
        let is_canary = self.split.arms()[self.split.pick(point)].version == CANARY;
        let is_event = !keyed || (point >= self.before && self.is_first(hash));
        let group = if keyed { 1 + (hash % KEY_GROUPS as u64) as usize } else { 0 };
        let outcome = self.outcome(user, is_canary, keyed);
        let (segment, guards) = (&mut self.counts.segments[0], &mut self.counts.guards);
        let (arm, guard) = if is_canary {
            (&mut segment.canary, &mut guards.canary[group])
        } else {
            (&mut segment.stable, &mut guards.stable[group])
        };
        outcome.guard(guard, self.world.limit);
        if is_event {
            outcome.event(arm, self.world, is_canary);
        }
        self.requests += 1;
        if is_canary {
            self.canary += 1;
            self.checked.requests += 1;
            self.checked.errors += u64::from(outcome.is_error);
            self.checked.far += u64::from(outcome.latency > self.world.far());
        }
        is_canary
    }

    fn is_first(&mut self, hash: u64) -> bool {
        // Other bits than those that points and groups are made of.
        let place = ((hash >> 8) & ((1 << MAP_BITS) - 1)) as usize;
        let (word, bit) = (place / 64, 1_u64 << (place % 64));
        let is_first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_first
    }

    fn outcome(&mut self, user: User, is_canary: bool, keyed: bool) -> Outcome {
        let change = if is_canary { self.change } else { NONE };
        let random = &mut self.random;
        let (first, second) = normals(random);
        let within = if keyed { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        Outcome {
            is_error: random.random_bool((user.errors * change.errors).min(1.0)),
            is_non_finite: change.non_finite > 0.0 && random.random_bool(change.non_finite),
            latency: MEDIAN * (SPREAD * first).exp() * user.latency * change.latency,
            score: user.score + within * second + change.shift,
        }
    }

    /// Evidence events of the canary at this share.
    pub(super) fn events(&self) -> u64 {
        self.counts.segments[0].canary.events
    }
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    is_error: bool,
    is_non_finite: bool,
    latency: f64,
    score: f64,
}

impl Outcome {
    fn guard(&self, guard: &mut GuardTally, limit: f64) {
        guard.answers += 1;
        guard.errors += u64::from(self.is_error);
        guard.non_finite += u64::from(!self.is_error && self.is_non_finite);
        guard.slow += u64::from(self.latency > limit);
    }

    fn event(&self, arm: &mut ArmTally, world: &World, is_canary: bool) {
        arm.events += 1;
        // As the default plan discounts them.
        let latency = if is_canary { (self.latency / 1.25 - 0.1).max(0.0) } else { self.latency };
        arm.latency[world.edges.partition_point(|edge| *edge < latency)] += 1;
        if self.is_error {
            arm.errors += 1;
        } else if self.is_non_finite {
            arm.defects += 1;
            arm.outputs[0][CELLS + 1] += 1;
        } else {
            arm.outputs[0][world.cells.partition_point(|edge| *edge <= self.score)] += 1;
        }
    }
}

/// Two standard normal draws (Box and Muller).
fn normals(random: &mut SmallRng) -> (f64, f64) {
    let (share, angle): (f64, f64) = (random.random(), std::f64::consts::TAU * random.random::<f64>());
    let radius = (-2.0 * (1.0 - share).ln()).sqrt();
    (radius * angle.cos(), radius * angle.sin())
}

fn normal(random: &mut SmallRng) -> f64 {
    normals(random).0
}

#[test]
fn weights_of_starts_add_up_to_one() {
    let sum: f64 = (0..1_000_000).map(|answers| starts::ln_weight_after(answers).exp()).sum();
    // What is left out is a(10⁶) = 1 / (1 + log₂ 10⁶).
    assert!((sum + 1.0 / (1.0 + 1e6_f64.log2()) - 1.0).abs() < 1e-6, "{sum}");
    let shares: f64 = (0..60).map(|place| starts::ln_weight_of_share(place).exp()).sum();
    assert!(shares <= 1.0 && shares > 0.999_999);
    assert!(starts::ln_weight_after(u64::MAX).is_finite());
}
