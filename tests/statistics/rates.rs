//! Latency and errors: a rate within what is allowed pages nobody, one above it is found.

use super::support::{generator, in_parallel, median, say, scale, upper_limit};
use rand_distr::{Binomial, Distribution};
use std::time::Duration;
use tidegate::detect::alarm::{AlarmPlan, AlarmSettings, RateAlarm, RateRule, WatchedRate};

const RULE: RateRule = RateRule { rate: WatchedRate::Latency, allowed: 0.01, min_samples: 100 };

fn alarm() -> RateAlarm {
    let mut alarm = RateAlarm::new(&AlarmPlan::new(&AlarmSettings::default(), 10), RULE);
    alarm.look(Duration::ZERO, 0, 0);
    alarm
}

/// Looks once per `seconds` at `requests` of which a share are events, until a page; its number.
fn looks_until_page(share: f64, requests: u64, looks: u64, seed: u64) -> Option<u64> {
    let (mut alarm, mut random) = (alarm(), generator(seed));
    let law = Binomial::new(requests, share).unwrap();
    let mut events = 0;
    (1..=looks).find(|look| {
        events += law.sample(&mut random);
        alarm.look(Duration::from_secs(*look), events, look * requests).is_some()
    })
}

#[test]
fn a_rate_at_its_limit_pages_no_more_often_than_its_share() {
    let (runs, looks) = scale((40, 86_400), (400, 2_592_000));
    let pages =
        in_parallel(runs, |run| looks_until_page(RULE.allowed, 20, looks, run as u64)).into_iter().flatten().count()
            as u64;
    let months = runs as f64 * looks as f64 / 2_592_000.0;
    let share = AlarmPlan::new(&AlarmSettings::default(), 10).rate_share(WatchedRate::Latency);
    say(&format!(
        "| rate at its limit of 1 %, 20 requests/s | {months:.0} months | {pages} pages | upper limit {:.4} a month, share {share:.4} |",
        upper_limit(pages) / months
    ));
    assert!(pages <= scale(1, (share * months).ceil() as u64 + 5), "{pages} pages in {months} months");
}

#[test]
fn a_rate_three_times_its_limit_is_found() {
    let found = in_parallel(scale(30, 300), |run| looks_until_page(3.0 * RULE.allowed, 10, 10_000, 900 + run as u64));
    let mut requests: Vec<u64> = found.into_iter().map(|look| look.unwrap() * 10).collect();
    let median = median(&mut requests);
    say(&format!("| rate 1 % allowed, 3 % seen | median {median} requests |"));
    assert!(median <= 1_000, "{median}");
}
