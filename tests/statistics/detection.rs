//! How many changed rows an alarm needs: on day one, and after thirty quiet days at a hundred rows a second.

use super::streams::{Dependence, Feature, Law, Stream, add_rows};
use super::support::{generator, in_parallel, median, say, scale};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;
use tidegate::detect::alarm::{AlarmPlan, AlarmSettings, Cause, ColumnAlarm};

/// Looks of the judge.
const LOOK: Duration = Duration::from_millis(250);
const ROWS_PER_LOOK: u64 = 25;
const REFERENCE_ROWS: usize = 10_000;
/// Looks after which a change counts as not found.
const PATIENCE: u64 = 8_000;

/// A feature under watch, some time into its life.
struct Watched {
    feature: Feature,
    alarm: ColumnAlarm,
    stream: Stream,
    at: Duration,
}

impl Watched {
    fn new(law: Law, columns: usize, random: &mut SmallRng) -> Self {
        let feature = Feature::new(law, REFERENCE_ROWS, random);
        let plan = AlarmPlan::new(&AlarmSettings::default(), columns);
        let mut alarm = ColumnAlarm::new(&plan, &feature.reference).unwrap();
        let stream = Stream::new(&feature, Dependence::Independent);
        alarm.look(Duration::ZERO, &stream.counts, &[]);
        Self { feature, alarm, stream, at: Duration::ZERO }
    }

    fn look(&mut self, step: Duration) -> Option<Cause> {
        self.at += step;
        self.alarm.look(self.at, &self.stream.counts, &[]).map(|finding| finding.cause)
    }

    /// Quiet traffic at a hundred rows a second. All but the end is looked at once a minute: starts older than
    /// that are a minute apart then, which is coarser than they would be.
    fn quiet(&mut self, days: u64, random: &mut SmallRng) {
        let minute = Duration::from_mins(1);
        let fine_seconds = scale(1_200, 7_200);
        for _ in 0..days * 1_440 - fine_seconds / 60 {
            self.stream.advance(6_000, random);
            self.step_quietly(minute);
        }
        for _ in 0..fine_seconds * 4 + random.random_range(0..1_000) {
            self.stream.advance(ROWS_PER_LOOK, random);
            self.step_quietly(LOOK);
        }
    }

    fn step_quietly(&mut self, step: Duration) {
        if self.look(step).is_some() {
            self.alarm.restart(self.at, &self.stream.counts);
        }
    }

    /// Rows after the change until the alarm, the change falling anywhere between two looks.
    fn rows_until_found(&mut self, changed: &[f64], random: &mut SmallRng) -> u64 {
        let unchanged = random.random_range(0..ROWS_PER_LOOK);
        self.stream.advance(unchanged, random);
        let mut rows = 0;
        for look in 0..PATIENCE {
            let more = if look == 0 { ROWS_PER_LOOK - unchanged } else { ROWS_PER_LOOK };
            add_rows(more, changed, &mut self.stream.counts, random);
            rows += more;
            if self.look(LOOK).is_some() {
                break;
            }
        }
        rows
    }
}

/// What changes.
#[derive(Clone, Copy)]
enum Change {
    Shift(f64),
    Missing(f64),
}

fn delay(change: Change, columns: usize, days: u64, run: usize) -> u64 {
    let mut random = generator(91 + run as u64);
    let law = if let Change::Missing(_) = change { Law::Gaps(0.01) } else { Law::Normal };
    let mut watched = Watched::new(law, columns, &mut random);
    if days > 0 {
        watched.quiet(days, &mut random);
    }
    let mut changed = watched.feature.cells(if let Change::Shift(shift) = change { shift } else { 0.0 });
    if let Change::Missing(share) = change {
        let missing = watched.feature.column.slots().missing();
        let cell = watched.feature.reference.cell_of_slot(missing);
        let before = changed[cell];
        changed.iter_mut().for_each(|chance| *chance *= (1.0 - share) / (1.0 - before));
        changed[cell] = share;
    }
    watched.rows_until_found(&changed, &mut random)
}

fn median_delay(change: Change, columns: usize, days: u64, runs: usize) -> u64 {
    let mut delays = in_parallel(runs, |run| delay(change, columns, days, run));
    median(&mut delays)
}

#[test]
fn shifts_are_found_on_day_one_and_after_a_quiet_month() {
    say("| change | columns | day one | after 30 quiet days at 100 rows/s |");
    say("|---|---|---|---|");
    let shifts = scale(vec![0.5, 1.0], vec![0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0]);
    for columns in scale(vec![10], vec![1, 10, 100]) {
        for &shift in &shifts {
            let medians = [0, 30].map(|days| median_delay(Change::Shift(shift), columns, days, scale(20, 200)));
            say(&format!("| shift by {shift} σ | {columns} | {} | {} |", medians[0], medians[1]));
            let limit =
                [(0.25, 4_000), (0.5, 500), (1.0, 130)].into_iter().find(|(size, _)| (size - shift).abs() < 1e-9);
            if let Some((_, limit)) = limit.filter(|_| columns <= 10) {
                // Of twenty runs the median is not yet the median.
                let limit = limit * scale(5, 4) / 4;
                assert!(
                    medians.iter().all(|median| *median <= limit),
                    "{shift} σ, {columns} columns: {medians:?} > {limit}"
                );
            }
        }
    }
}

#[test]
fn missing_values_that_triple_are_found() {
    for columns in scale(vec![1], vec![1, 10, 100]) {
        let medians = [0, 30].map(|days| median_delay(Change::Missing(0.03), columns, days, scale(20, 200)));
        say(&format!("| missing 1 % → 3 % | {columns} | {} | {} |", medians[0], medians[1]));
        if columns == 1 {
            assert!(medians[0] <= scale(1_250, 1_000), "{medians:?}");
        }
    }
}

/// Rows after the change until categories that the reference lacks are found, if such rows are `share` of all: ten columns,
/// after a quiet day.
fn rows_until_unseen(share: f64, run: usize) -> u64 {
    let mut random = generator(700 + run as u64);
    let mut watched = Watched::new(Law::Code, 10, &mut random);
    watched.quiet(1, &mut random);
    let mut changed: Vec<f64> = watched.feature.cells(0.0).iter().map(|chance| chance * (1.0 - share)).collect();
    let unseen = watched.feature.column.slots().unseen().unwrap();
    changed[watched.feature.reference.cell_of_slot(unseen)] += share;
    watched.rows_until_found(&changed, &mut random)
}

/// Alarms are looked at every 250 ms and reported every second, which is four looks here. Within that, unseen categories
/// are found from a fifth of all rows on; fewer take longer, because rows take longer to come.
#[test]
fn unseen_categories_in_a_fifth_of_rows_are_found_within_a_second() {
    say("| unseen categories in | rows until the alarm | looks | found within a second |");
    say("|---|---|---|---|");
    let (runs, second) = (scale(10, 100), 4);
    for share in scale(vec![0.5, 0.2], vec![1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01]) {
        let mut rows = in_parallel(runs, |run| rows_until_unseen(share, run));
        let in_time = rows.iter().filter(|rows| rows.div_ceil(ROWS_PER_LOOK) <= second).count();
        let median = median(&mut rows);
        let looks = median.div_ceil(ROWS_PER_LOOK);
        say(&format!("| {} % of rows | {median} | {looks} | {in_time} of {runs} |", 100.0 * share));
        // By what was measured, and a quarter more.
        let limits = [(0.2, second), (0.1, 5), (0.05, 12), (0.02, 46), (0.01, 115)];
        let limit = limits.into_iter().find(|(least, _)| share >= *least).map_or(0, |(_, limit)| limit);
        assert!(looks <= limit, "{share}: {looks} looks");
        assert!(share < 0.3 || in_time == runs, "{share}: {in_time} of {runs} within a second");
        assert!(share < 0.2 || in_time >= scale(8, 95), "{share}: {in_time} of {runs} within a second");
    }
}
