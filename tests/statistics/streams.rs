//! Features whose laws are known, their references, and streams of live rows drawn as counts.
//!
//! References are made by the real profile builder from a sample, edges and all; the true chance of every cell then
//! follows from the law. So what is simulated is what happens: the alarm never sees the law, only a sample of it.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Binomial, Distribution, StandardNormal, Zipf};
use statrs::distribution::{ContinuousCDF, DiscreteCDF, Normal, Poisson};
use std::sync::LazyLock;
use tidegate::profile::{Column, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
use tidegate::sketch::{KEY_GROUPS, Reference};
use tidegate::tensor::DataType;

/// Share of missing values where there are any.
pub(crate) const GAPS: f64 = 0.01;
/// Codes of a categorical column: the rarest are in few references.
const CODES: usize = 50;
/// Mean of a count.
const COUNT_MEAN: f64 = 4.0;

/// How a feature's values are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Standard normal, moved by the shift.
    Normal,
    /// As `Normal`, with a share of missing values.
    Gaps(f64),
    /// Poisson.
    Count,
    /// Codes by Zipf's law.
    Code,
    /// 0 or 1.
    Flag,
    /// Normal around an offset of the user's own; a user is drawn by activity.
    OfUsers,
}

impl Law {
    pub(crate) const ALL: [Self; 5] = [Self::Normal, Self::Gaps(GAPS), Self::Count, Self::Code, Self::Flag];

    pub(crate) fn sample(self, random: &mut SmallRng) -> f64 {
        let normal: f64 = StandardNormal.sample(random);
        match self {
            Self::Normal => normal,
            Self::Gaps(share) => {
                if random.random::<f64>() < share {
                    f64::NAN
                } else {
                    normal
                }
            }
            Self::Count => rand_distr::Poisson::new(COUNT_MEAN).unwrap().sample(random),
            Self::Code => Zipf::new(CODES as f64, 1.0).unwrap().sample(random),
            Self::Flag => f64::from(u8::from(random.random::<f64>() < 0.3)),
            Self::OfUsers => {
                let activity = activity();
                offset(kind_of(activity[random.random_range(0..activity.len())])) + normal * WITHIN.sqrt()
            }
        }
    }

    /// Values and their chances, for laws of few values.
    fn values(self) -> Vec<(f64, f64)> {
        match self {
            Self::Count => {
                let law = Poisson::new(COUNT_MEAN).unwrap();
                (0..60)
                    .map(|value| (value as f64, law.cdf(value) - if value == 0 { 0.0 } else { law.cdf(value - 1) }))
                    .collect()
            }
            Self::Code => {
                let total: f64 = (1..=CODES).map(|code| 1.0 / code as f64).sum();
                (1..=CODES).map(|code| (code as f64, 1.0 / code as f64 / total)).collect()
            }
            Self::Flag => vec![(0.0, 0.7), (1.0, 0.3)],
            Self::Normal | Self::Gaps(_) | Self::OfUsers => Vec::new(),
        }
    }

    /// The chance of values below `edge`, for laws of many values.
    fn below(self, edge: f64) -> f64 {
        let normal = Normal::standard();
        if self != Self::OfUsers {
            return normal.cdf(edge);
        }
        let (activity, mut of_kind) = (activity(), [0.0; KINDS]);
        activity.iter().for_each(|&user| of_kind[kind_of(user)] += 1.0 / activity.len() as f64);
        let chance = |kind: usize| of_kind[kind] * normal.cdf((edge - offset(kind)) / WITHIN.sqrt());
        (0..KINDS).map(chance).sum()
    }
}

/// A feature with its reference.
pub(crate) struct Feature {
    pub(crate) law: Law,
    pub(crate) column: Column,
    pub(crate) reference: Reference,
}

impl Feature {
    /// A feature whose reference is a sample of so many rows.
    pub(crate) fn new(law: Law, rows: usize, random: &mut SmallRng) -> Self {
        let categorical = law == Law::Code;
        let options = ProfileOptions {
            categorical: categorical.then(|| "x".to_owned()).into_iter().collect(),
            ..ProfileOptions::default()
        };
        let mut builder = ProfileBuilder::new(options);
        let key = builder.add_column(ColumnSpec {
            side: Side::Input,
            tensor: "x".into(),
            index: 0,
            name: "x".into(),
            datatype: DataType::Fp64,
            statistic: None,
        });
        builder.absorb_numbers(key, (0..rows).map(|_| law.sample(random))).unwrap();
        let column = builder.finish().unwrap().inputs.remove(0);
        Self { law, reference: column.reference(), column }
    }

    /// The chance of each slot, values moved by `shift`.
    pub(crate) fn slots(&self, shift: f64) -> Vec<f64> {
        let slots = self.column.slots();
        let mut chances = vec![0.0; slots.count()];
        let values = self.law.values();
        let layout = self.column.layout(DataType::Fp64).unwrap();
        for &(value, chance) in &values {
            chances[layout.slot_f64(value)] += chance;
        }
        if values.is_empty() {
            let missing = if let Law::Gaps(share) = self.law { share } else { 0.0 };
            let mut below = 0.0;
            for (slot, edge) in
                self.column.edges.iter().map(|&edge| self.law.below(edge - shift)).chain([1.0]).enumerate()
            {
                chances[slot] = (edge - below) * (1.0 - missing);
                below = edge;
            }
            chances[slots.missing()] = missing;
        }
        chances
    }

    /// The chance of each alarm cell.
    pub(crate) fn cells(&self, shift: f64) -> Vec<f64> {
        let mut cells = vec![0.0; self.reference.cells()];
        for (slot, chance) in self.slots(shift).into_iter().enumerate() {
            cells[self.reference.cell_of_slot(slot)] += chance;
        }
        cells
    }
}

/// Adds the counts of `rows` independent rows.
pub(crate) fn add_rows(rows: u64, chances: &[f64], counts: &mut [u64], random: &mut SmallRng) {
    let (mut left, mut mass) = (rows, 1.0_f64);
    for (count, &chance) in counts.iter_mut().zip(chances) {
        if left == 0 {
            return;
        }
        let share = if mass > 0.0 { (chance / mass).clamp(0.0, 1.0) } else { 1.0 };
        let drawn = if chance <= 0.0 {
            0
        } else if share >= 1.0 {
            left
        } else {
            Binomial::new(left, share).unwrap().sample(random)
        };
        *count += drawn;
        left -= drawn;
        mass -= chance;
    }
}

/// How rows depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependence {
    /// Not at all.
    Independent,
    /// Requests of 64 rows that are alike (intraclass correlation 0.2).
    Batches,
    /// One request in twenty is sent twice.
    Retries,
    /// Users of very different activity who differ from each other (intraclass correlation 0.2) and send ten requests in
    /// a row, with a routing key.
    Users,
}

/// Rows of a batch.
const BATCH: u64 = 64;
/// Requests that a user sends in a row.
const RUN: u64 = 10;
/// More runs than this are drawn by class, which takes as long as this many.
const RUNS_DRAWN_ONE_BY_ONE: u64 = 2_000;
/// Share of the variance that is between users, and that is within one.
const BETWEEN: f64 = 0.2;
const WITHIN: f64 = 1.0 - BETWEEN;
const USERS: usize = 1000;
/// Kinds of users: their offsets are quantiles of a normal law.
const KINDS: usize = 32;
/// Entries of a table of quantiles.
const TABLE: usize = 4096;

/// What an alarm counts of a stream.
pub(crate) struct Stream {
    dependence: Dependence,
    cells: Vec<f64>,
    /// Rows that are owed: batches are whole.
    owed: u64,
    users: Option<Users>,
    pub(crate) counts: Vec<u64>,
    pub(crate) keyed: Vec<u64>,
}

struct Users {
    activity: &'static [u16],
    /// For each kind of user, cells by quantile.
    cells: Vec<Vec<u8>>,
    /// The same as chances.
    chances: Vec<Vec<f64>>,
    /// The share of runs that are of each kind of user, and within it of each group of keys.
    classes: Vec<f64>,
}

/// For each kind of cluster, slots by quantile: rows of a batch that are alike (intraclass correlation 0.2).
pub(crate) fn batch_tables(feature: &Feature) -> Vec<Vec<u8>> {
    let layout = feature.column.layout(DataType::Fp64).unwrap();
    quantile_tables(|value| layout.slot_f64(value) as u8)
}

/// What `find` makes of the values of each kind of cluster, by quantile.
fn quantile_tables(find: impl Fn(f64) -> u8) -> Vec<Vec<u8>> {
    let normal = Normal::standard();
    let within = |index: usize| normal.inverse_cdf((index as f64 + 0.5) / TABLE as f64) * WITHIN.sqrt();
    let of_kind = |kind: usize| (0..TABLE).map(|index| find(offset(kind) + within(index))).collect();
    (0..KINDS).map(of_kind).collect()
}

/// Users, each as often as its share of all requests: by Zipf's law.
fn activity() -> &'static [u16] {
    static ACTIVITY: LazyLock<Vec<u16>> = LazyLock::new(draw_activity);
    &ACTIVITY
}

fn draw_activity() -> Vec<u16> {
    let total: f64 = (1..=USERS).map(|rank| 1.0 / rank as f64).sum();
    let entries = |user: usize| (4096.0 / total / (user + 1) as f64).round().max(1.0) as usize;
    (0..USERS).flat_map(|user| std::iter::repeat_n(user as u16, entries(user))).collect()
}

/// Users of all kinds are among the active ones.
fn kind_of(user: u16) -> usize {
    (usize::from(user) * 11 + 13) % KINDS
}

/// The group of a user's key.
fn group_of(user: u16) -> usize {
    usize::from(user) % KEY_GROUPS
}

fn offset(kind: usize) -> f64 {
    Normal::standard().inverse_cdf((kind as f64 + 0.5) / KINDS as f64) * BETWEEN.sqrt()
}

impl Stream {
    pub(crate) fn new(feature: &Feature, dependence: Dependence) -> Self {
        let cells = feature.cells(0.0);
        let users = (dependence == Dependence::Users).then(|| Users::new(feature));
        let keyed = if users.is_some() { vec![0; cells.len() * KEY_GROUPS] } else { Vec::new() };
        Self { dependence, counts: vec![0; cells.len()], keyed, cells, owed: 0, users }
    }

    /// Adds what an alarm counts of the next `rows`.
    pub(crate) fn advance(&mut self, rows: u64, random: &mut SmallRng) {
        match self.dependence {
            Dependence::Independent => add_rows(rows, &self.cells, &mut self.counts, random),
            Dependence::Batches => {
                // One row of a request is counted, and requests are independent.
                self.owed += rows;
                add_rows(self.owed / BATCH, &self.cells, &mut self.counts, random);
                self.owed %= BATCH;
            }
            Dependence::Retries => {
                let sent = Binomial::new(rows, 1.0 / 1.05).unwrap().sample(random);
                let mut once = vec![0; self.cells.len()];
                add_rows(sent, &self.cells, &mut once, random);
                for (count, sent) in self.counts.iter_mut().zip(once) {
                    *count += sent + Binomial::new(sent, 0.05).unwrap().sample(random);
                }
            }
            Dependence::Users => {
                self.owed += rows;
                let runs = self.owed / RUN;
                self.owed %= RUN;
                if runs > RUNS_DRAWN_ONE_BY_ONE {
                    self.runs_of_users(runs, random);
                } else {
                    (0..runs).for_each(|_| self.run_of_a_user(random));
                }
            }
        }
    }

    /// Many runs at once: how many are of users of each kind and group of keys, then the cells of all their rows, which
    /// has the law of drawing them one by one.
    fn runs_of_users(&mut self, runs: u64, random: &mut SmallRng) {
        let users = self.users.as_ref().expect("a stream of users has them");
        let mut of_class = vec![0; users.classes.len()];
        add_rows(runs, &users.classes, &mut of_class, random);
        let cells = self.counts.len();
        for (class, runs) in of_class.into_iter().enumerate().filter(|(_, runs)| *runs > 0) {
            let mut drawn = vec![0; cells];
            add_rows(runs * RUN, &users.chances[class / KEY_GROUPS], &mut drawn, random);
            let group = &mut self.keyed[class % KEY_GROUPS * cells..][..cells];
            for (cell, drawn) in drawn.into_iter().enumerate() {
                self.counts[cell] += drawn;
                group[cell] += drawn;
            }
        }
    }

    fn run_of_a_user(&mut self, random: &mut SmallRng) {
        let users = self.users.as_ref().expect("a stream of users has them");
        let user = users.activity[random.random_range(0..users.activity.len())];
        let cells = &users.cells[kind_of(user)];
        let group = &mut self.keyed[group_of(user) * self.counts.len()..][..self.counts.len()];
        for _ in 0..RUN {
            let cell = usize::from(cells[random.random_range(0..TABLE)]);
            self.counts[cell] += 1;
            group[cell] += 1;
        }
    }
}

impl Users {
    fn new(feature: &Feature) -> Self {
        assert_eq!(feature.law, Law::OfUsers, "the reference is of the same users");
        let layout = feature.column.layout(DataType::Fp64).unwrap();
        let cells = quantile_tables(|value| feature.reference.cell_of_slot(layout.slot_f64(value)) as u8);
        let chances_of = |table: &Vec<u8>| {
            let mut chances = vec![0.0; feature.reference.cells()];
            table.iter().for_each(|&cell| chances[usize::from(cell)] += 1.0 / TABLE as f64);
            chances
        };
        let chances = cells.iter().map(chances_of).collect();
        let (activity, mut classes) = (activity(), vec![0.0; KINDS * KEY_GROUPS]);
        for &user in activity {
            classes[kind_of(user) * KEY_GROUPS + group_of(user)] += 1.0 / activity.len() as f64;
        }
        Self { activity, cells, chances, classes }
    }
}

#[test]
fn chances_add_up_and_agree_with_samples() {
    let mut random = super::support::generator(1);
    for law in Law::ALL.into_iter().chain([Law::OfUsers]) {
        let feature = Feature::new(law, 2_000, &mut random);
        let cells = feature.cells(0.0);
        assert!((cells.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{law:?}");
        let layout = feature.column.layout(DataType::Fp64).unwrap();
        let mut counts = vec![0.0; cells.len()];
        for _ in 0..20_000 {
            counts[feature.reference.cell_of_slot(layout.slot_f64(law.sample(&mut random)))] += 1.0;
        }
        for (count, chance) in counts.iter().zip(&cells) {
            let deviation = (20_000.0 * chance * (1.0 - chance)).sqrt();
            assert!((count - 20_000.0 * chance).abs() <= 5.0 * deviation + 1.0, "{law:?}: {counts:?} {cells:?}");
        }
    }
}

#[test]
fn a_stream_of_users_is_like_the_law_that_its_reference_is_drawn_from() {
    let mut random = super::support::generator(2);
    let feature = Feature::new(Law::OfUsers, 10_000, &mut random);
    // One by one, and many at once.
    for step in [RUNS_DRAWN_ONE_BY_ONE * RUN, 1_000_000] {
        let mut stream = Stream::new(&feature, Dependence::Users);
        (0..2_000_000 / step).for_each(|_| stream.advance(step, &mut random));
        assert_eq!(stream.counts.iter().sum::<u64>(), 2_000_000);
        assert_eq!(stream.keyed.iter().sum::<u64>(), 2_000_000);
        for (count, chance) in stream.counts.iter().zip(feature.cells(0.0)) {
            assert!((*count as f64 / 2e6 - chance).abs() < 0.005, "{step}: {:?}", stream.counts);
        }
        // A hundred users or so of Zipf's law make an eighth of the keys very uneven.
        let of_groups: Vec<u64> = stream.keyed.chunks(stream.counts.len()).map(|group| group.iter().sum()).collect();
        for (group, &rows) in of_groups.iter().enumerate() {
            let share: f64 = Users::new(&feature).classes.iter().skip(group).step_by(KEY_GROUPS).sum();
            assert!((rows as f64 / 2e6 - share).abs() < 0.005, "{step}: {of_groups:?}");
        }
    }
}
