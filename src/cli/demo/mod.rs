//! `tidegate demo`: the whole job in about a minute, on free ports, with nothing to set up.
//!
//! A real gateway serves `churn` from a temporary repository; fresh draws of customers arrive over HTTP at 40 a second.
//! What a team does in weeks happens in acts: traffic, a 10 % canary, a swap, a shift of one feature, its end. Each act
//! says what must have happened and checks it by the gateway's own answers, so the demo is a test that people can watch.
//!
//! The alarm finds the shift within some hundred shifted rows, by evidence that has counted since version 3 went live. It
//! names the feature, and it may name predictions as well, which do change with it. The window of 10 s holds some 420
//! rows and decides when the alarm is over.
//!
//! Invariant: the exit code is 0 only if every check passed.

mod stage;
mod traffic;

use super::draws::{Customer, Draws, FEATURE_NAMES};
use super::{DemoArgs, say};
use crate::app::{self, ConfigSource, Running};
use crate::telemetry::logs;
use serde_json::{Value, json};
use stage::Stage;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Traffic, string_at};

/// The feature that is shifted.
const SHIFTED_FEATURE: &str = "order_value";
/// Rows of a second.
pub(super) const ROWS_PER_SECOND: usize = 40;
/// The shift must be found within this many shifted rows.
const SHIFTED_ROWS_LIMIT: usize = 300;
/// Requests of the canary act.
const CANARY_REQUESTS: usize = 500;
/// A 10 % canary over 500 requests gets 50 ± 6.7; within five standard deviations in all but one of a million runs.
const CANARY_SHARE: std::ops::RangeInclusive<u64> = 17..=83;
/// The longest wait for the alert to resolve: the window, twice, and then some.
const RESOLVE_SECONDS: usize = 30;

/// Plays every act and checks it.
pub(super) fn run(args: &DemoArgs) -> Result<(), String> {
    logs::start(logs::LogFormat::Text, "error");
    super::serve::control_runtime()?.block_on(play(args.seed))
}

async fn play(seed: u64) -> Result<(), String> {
    let stage = Stage::build()?;
    let config = stage.config()?;
    let reloaded = config.clone();
    let source: ConfigSource = Arc::new(move || Ok(reloaded.clone()));
    let gateway = app::start(config, source).await.map_err(|error| error.to_string())?;
    let mut show = Show::new(&gateway, seed)?;
    let played = show.acts(&stage).await;
    let drained = gateway.stop().await;
    show.check(drained, "the gateway drained and stopped");
    played?;
    if show.failures == 0 {
        say("Everything happened as it should.");
        return Ok(());
    }
    Err(format!("{} of {} checks failed", show.failures, show.checks))
}

/// What the acts share.
struct Show {
    traffic: Traffic,
    draws: Draws,
    started: Instant,
    checks: usize,
    failures: usize,
}

impl Show {
    fn new(gateway: &Running, seed: u64) -> Result<Self, String> {
        let show = Self {
            traffic: Traffic::new(gateway.http(), gateway.admin())?,
            draws: Draws::new(seed),
            started: Instant::now(),
            checks: 0,
            failures: 0,
        };
        let (http, admin) = (gateway.http(), gateway.admin());
        show.tell(&format!("gateway on {http}, admin on {admin}, draws with seed {seed}"));
        Ok(show)
    }

    async fn acts(&mut self, stage: &Stage) -> Result<(), String> {
        self.traffic.wait_until_ready().await?;
        self.plain_traffic().await?;
        self.canary().await?;
        self.swap(stage).await?;
        let fired = self.shift(stage.deviation(SHIFTED_FEATURE)?).await?;
        if fired {
            self.end_of_shift().await?;
        }
        let (sent, failed) = (self.traffic.sent, self.traffic.failed);
        self.check(failed == 0, &format!("{sent} requests were answered, {failed} failed"));
        Ok(())
    }

    async fn plain_traffic(&mut self) -> Result<(), String> {
        self.tell("act 1: version 1 serves customers as it was trained on");
        let customer = self.customer();
        let answer = self.traffic.predict(&customer.features, None).await?;
        let probability = answer.body["outputs"][1]["data"][1].as_f64().unwrap_or(f64::NAN);
        self.tell(&format!(
            "  a customer with {} {} leaves with probability {probability:.3}, says version {}",
            SHIFTED_FEATURE, customer.features[0], answer.version
        ));
        self.send_seconds(11).await?;
        let drift = self.traffic.drift().await?;
        let version = &drift["versions"][0];
        let samples = version["samples"].as_u64().unwrap_or(0);
        let verdict = string_at(version, "verdict");
        self.check(verdict == "ok", &format!("10 features over {samples} rows of the window: verdict {verdict}"));
        self.check_no_alert().await
    }

    async fn canary(&mut self) -> Result<(), String> {
        self.tell("act 2: version 2 gets 10 % of the traffic");
        self.traffic.split(&json!({ "weights": { "1": 90, "2": 10 } })).await?;
        self.traffic.served.clear();
        for _ in 0..CANARY_REQUESTS {
            self.send_one(0.0).await?;
        }
        let stable = self.traffic.served_by("1", "stable");
        let canary = self.traffic.served_by("2", "canary");
        self.check(
            CANARY_SHARE.contains(&canary) && stable + canary == CANARY_REQUESTS as u64,
            &format!(
                "of {CANARY_REQUESTS} requests {stable} went to stable version 1 and {canary} to canary version 2"
            ),
        );
        let moved = self.count_moved_customers().await?;
        self.check(moved == 0, "20 customers with a routing key got the same version three times each");
        self.check_no_alert().await
    }

    async fn count_moved_customers(&mut self) -> Result<usize, String> {
        let mut moved = 0;
        for customer in 0..20 {
            let key = format!("customer-{customer}");
            let mut versions = Vec::new();
            for _ in 0..3 {
                let row = self.customer();
                versions.push(self.traffic.predict(&row.features, Some(&key)).await?.version);
            }
            moved += usize::from(versions.iter().any(|version| *version != versions[0]));
        }
        Ok(moved)
    }

    async fn swap(&mut self, stage: &Stage) -> Result<(), String> {
        self.tell("act 3: version 2 is promoted, then version 3 is renamed into place and swaps in");
        self.traffic.split(&json!({ "weights": { "2": 100 } })).await?;
        self.traffic.follow_highest().await?;
        stage.publish_third()?;
        let before = self.traffic.failed;
        for _ in 0..5 {
            self.send_seconds(1).await?;
            if self.traffic.latest_version == "3" {
                break;
            }
        }
        let latest = self.traffic.latest_version.clone();
        let failed = self.traffic.failed - before;
        self.check(
            latest == "3" && failed == 0,
            &format!("version {latest} serves, {failed} requests failed meanwhile"),
        );
        self.send_seconds(11).await?;
        self.check_no_alert().await
    }

    /// Shifts one feature until its alert fires; answers whether it did.
    async fn shift(&mut self, deviation: f32) -> Result<bool, String> {
        self.tell(&format!("act 4: every {SHIFTED_FEATURE} rises by one standard deviation, {deviation:.2}"));
        let mut fired_after = None;
        for shifted in 1..=SHIFTED_ROWS_LIMIT {
            self.send_one(deviation).await?;
            if fired_after.is_none() && shifted % 10 == 0 && !self.firing().await?.is_empty() {
                fired_after = Some(shifted);
                for alert in self.firing().await? {
                    self.tell(&format!("  ALERT after {shifted} shifted rows: {}", string_at(&alert, "summary")));
                }
            }
        }
        let firing = self.firing().await?;
        // Predictions may well drift with what they are made of.
        let of_features = firing.iter().filter(|alert| alert["evidence"]["side"] == "feature");
        let names: Vec<String> = of_features.map(|alert| string_at(alert, "feature")).collect();
        let rows = fired_after.map_or("never".to_owned(), |rows| format!("after {rows} shifted rows"));
        self.check(
            names == [SHIFTED_FEATURE] && fired_after.is_some(),
            &format!("the alert fired {rows} and names {}", names.join(", ")),
        );
        Ok(fired_after.is_some())
    }

    async fn end_of_shift(&mut self) -> Result<(), String> {
        self.tell("act 5: the shift ends");
        for second in 1..=RESOLVE_SECONDS {
            self.send_seconds(1).await?;
            if self.firing().await?.is_empty() {
                self.check(true, &format!("the alert resolved {second} s after the shift ended"));
                return Ok(());
            }
        }
        self.check(false, &format!("the alert resolved within {RESOLVE_SECONDS} s"));
        Ok(())
    }

    async fn send_seconds(&mut self, seconds: usize) -> Result<(), String> {
        for _ in 0..seconds * ROWS_PER_SECOND {
            self.send_one(0.0).await?;
        }
        Ok(())
    }

    async fn send_one(&mut self, shift: f32) -> Result<(), String> {
        let mut row = self.customer().features;
        let position = FEATURE_NAMES.iter().position(|name| *name == SHIFTED_FEATURE);
        row[position.expect("the shifted feature is one of the customer's")] += shift;
        self.traffic.send_paced(&row).await
    }

    fn customer(&mut self) -> Customer {
        self.draws.next().expect("draws never end")
    }

    async fn firing(&self) -> Result<Vec<Value>, String> {
        let alerts = self.traffic.alerts().await?;
        Ok(alerts.into_iter().filter(|alert| string_at(alert, "state") == "firing").collect())
    }

    async fn check_no_alert(&mut self) -> Result<(), String> {
        let alerts = self.traffic.alerts().await?;
        let raised: Vec<String> = alerts
            .iter()
            .filter(|alert| string_at(alert, "state") != "pending")
            .map(|alert| string_at(alert, "summary"))
            .collect();
        self.check(raised.is_empty(), &format!("no alert so far{}", raised.join("; ")));
        Ok(())
    }

    fn check(&mut self, passed: bool, what: &str) {
        self.checks += 1;
        self.failures += usize::from(!passed);
        self.tell(&format!("  {} {what}", if passed { "ok:" } else { "FAILED:" }));
    }

    fn tell(&self, text: &str) {
        say(&format!("[{:5.1} s] {text}", self.started.elapsed().as_secs_f64()));
    }
}

/// The time between two rows.
pub(super) const PACE: Duration = Duration::from_millis(1000 / ROWS_PER_SECOND as u64);
