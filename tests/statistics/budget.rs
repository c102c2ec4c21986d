//! Null traffic: no more pages than the budget, whatever the rate, the size of the reference and the dependence of rows.
//!
//! A model has a hundred features of five laws. Pages are counted per model and thirty days, one alarm resolving at once
//! and starting anew, which is the most pages there can be.

use super::streams::{Dependence, Feature, Law, Stream};
use super::support::{generator, in_parallel, is_long, say, scale, upper_limit};
use std::time::Duration;
use tidegate::detect::alarm::{AlarmPlan, AlarmSettings, ColumnAlarm};

const FEATURES: usize = 100;
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;
/// Rows of references, by feature in turn.
const REFERENCES: [usize; 3] = [1_000, 10_000, 100_000];
/// The largest takes a second to draw without optimisation.
const REFERENCES_OF_A_SHORT_RUN: [usize; 3] = [1_000, 2_000, 5_000];

/// One stretch of null traffic.
#[derive(Clone, Copy)]
struct Condition {
    rate: f64,
    dependence: Dependence,
    days: f64,
    /// Seconds between two looks.
    look: f64,
}

/// Pages of one feature.
fn pages(condition: Condition, feature: usize, seed: u64) -> u64 {
    let mut random = generator(seed);
    let law = if condition.dependence == Dependence::Users { Law::OfUsers } else { Law::ALL[feature % Law::ALL.len()] };
    let sizes = scale(REFERENCES_OF_A_SHORT_RUN, REFERENCES);
    let reference = Feature::new(law, sizes[feature / Law::ALL.len() % sizes.len()], &mut random);
    let plan = AlarmPlan::new(&AlarmSettings::default(), FEATURES);
    let mut alarm = ColumnAlarm::new(&plan, &reference.reference).unwrap();
    let mut stream = Stream::new(&reference, condition.dependence);
    let (mut pages, mut owed) = (0, 0.0);
    alarm.look(Duration::ZERO, &stream.counts, &stream.keyed);
    for look in 1..=(condition.days * 86_400.0 / condition.look) as u64 {
        owed += condition.rate * condition.look;
        let rows = owed as u64;
        owed -= rows as f64;
        stream.advance(rows, &mut random);
        let at = Duration::from_secs_f64(look as f64 * condition.look);
        if let Some(finding) = alarm.look(at, &stream.counts, &stream.keyed) {
            say(&format!(
                "  page: {law:?}, {} reference rows, {:?} at {at:?}: {finding:?}",
                reference.reference.counts.iter().sum::<u64>(),
                condition.dependence
            ));
            pages += 1;
            alarm.restart(at, &stream.counts);
        }
    }
    pages
}

/// Pages in so many model-periods.
fn pages_of_models(condition: Condition, models: usize, seed: u64) -> u64 {
    let feature = |index: usize| pages(condition, index % FEATURES, seed + index as u64);
    in_parallel(models * FEATURES, feature).into_iter().sum()
}

fn check(name: &str, condition: Condition, models: usize, seed: u64) -> (u64, f64) {
    let pages = pages_of_models(condition, models, seed);
    let months = models as f64 * condition.days * 86_400.0 / MONTH_SECONDS;
    say(&format!(
        "| {name} | {} | {:.0} | {} | {pages} | {:.3} | {:.3} |",
        condition.rate,
        months * FEATURES as f64,
        condition.look,
        pages as f64 / months,
        upper_limit(pages) / months
    ));
    (pages, months)
}

#[test]
fn null_traffic_pages_no_more_often_than_the_budget_allows() {
    say(
        "| rows | per second | feature-months | seconds between looks | pages | pages per model-month | upper 95 % limit |",
    );
    say("|---|---|---|---|---|---|---|");
    let kinds = [
        ("independent", Dependence::Independent),
        ("batches of 64, one row counted", Dependence::Batches),
        ("5 % retries", Dependence::Retries),
        ("heavy users, runs of 10, keys", Dependence::Users),
    ];
    let budget = AlarmSettings::default().false_pages_per_month;
    let (mut all_pages, mut all_months) = (0, 0.0);
    for rate in [1.0_f64, 100.0, 10_000.0] {
        let (mut of_rate, mut months_of_rate) = (0, 0.0);
        for (index, (name, dependence)) in kinds.into_iter().enumerate() {
            let (days, look) = scale((0.4 / rate.sqrt(), (20.0 / rate.sqrt()).max(0.25)), (30.0, 60.0));
            let condition = Condition { rate, dependence, days, look };
            // Users take some twenty times as long to draw.
            let models = if dependence == Dependence::Users { 1 } else { 10 };
            let (pages, months) =
                check(name, condition, scale(1, models), 1_000_000 * (index as u64 + 1) + rate as u64 * 7);
            of_rate += pages;
            months_of_rate += months;
        }
        say(&format!(
            "| all | {rate} | | | {of_rate} | {:.3} | {:.3} |",
            of_rate as f64 / months_of_rate,
            upper_limit(of_rate) / months_of_rate
        ));
        if is_long() {
            assert!(
                upper_limit(of_rate) / months_of_rate <= budget,
                "{of_rate} pages in {months_of_rate} model-months"
            );
        }
        all_pages += of_rate;
        all_months += months_of_rate;
    }
    if !is_long() {
        // The first start alone has half of a month's budget, so a short run sees much of what a month could.
        assert!(all_pages <= 1, "{all_pages} pages in {all_months} model-months");
    }
}

#[test]
fn looking_four_times_a_second_pages_no_more_often() {
    let (rate, days) = (100.0, scale(0.02, 1.0));
    let condition = Condition { rate, dependence: Dependence::Independent, days, look: 0.25 };
    let (pages, months) = check("independent, as often as the judge looks", condition, scale(1, 6), 77_000_000);
    // Each of these days is a version's first, with half of a month's budget and all of the references' risk.
    assert!(pages <= scale(1, 2), "{pages} pages in {months} model-months");
}
