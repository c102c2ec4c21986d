//! Alerts to a URL, off the serving path.
//!
//! One task per sink reads a bounded queue and posts each alert as JSON, waiting longer after every failure. The judge
//! never waits for it: a full queue drops the alert and counts it, because a late page about an old state is worth less
//! than a judge that keeps judging.
//!
//! Invariant: at most `queue` alerts wait, each is tried at most `retries` + 1 times, and no log line shows more of the
//! sink's address than scheme, host and port.

use super::Alert;
use crate::config::WebhookUrl;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// The wait after the first failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where to send alerts and how hard to try.
#[derive(Clone, Debug)]
pub struct WebhookTarget {
    /// The URL that takes a POST of one alert as JSON. Logged as its Display, which leaves out what may be a secret.
    pub url: WebhookUrl,
    /// The limit on one try.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Alerts that may wait.
    pub queue: usize,
}

/// The judge's end of a sink's queue.
#[derive(Clone, Debug)]
pub struct WebhookSender {
    queue: mpsc::Sender<Arc<Alert>>,
    dropped: Arc<AtomicU64>,
}

impl WebhookSender {
    /// Queues an alert, or drops and counts it when the queue is full.
    pub fn send(&self, alert: &Arc<Alert>) {
        if self.queue.try_send(Arc::clone(alert)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(id = alert.id, "alert dropped because the webhook's queue is full");
        }
    }

    /// How many alerts were dropped, on a full queue or after the last try.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A sink's two ends: the sender, and the future that delivers until every sender is gone.
///
/// # Errors
/// When the HTTP client cannot be built.
pub fn webhook(
    target: WebhookTarget,
) -> Result<(WebhookSender, impl Future<Output = ()> + Send + 'static), reqwest::Error> {
    let client = reqwest::Client::builder().timeout(target.timeout).build()?;
    let (queue, mut alerts) = mpsc::channel::<Arc<Alert>>(target.queue.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    let sender = WebhookSender { queue, dropped: Arc::clone(&dropped) };
    let deliver = async move {
        while let Some(alert) = alerts.recv().await {
            if !deliver_one(&client, &target, &alert).await {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    Ok((sender, deliver))
}

async fn deliver_one(client: &reqwest::Client, target: &WebhookTarget, alert: &Alert) -> bool {
    let mut wait = FIRST_WAIT;
    for attempt in 0..=target.retries {
        match client.post(target.url.expose().clone()).json(alert).send().await {
            Ok(answer) if answer.status().is_success() => return true,
            // A refusal other than "later" will not change by asking again.
            Ok(answer) if answer.status().is_client_error() && !retryable(answer.status()) => {
                tracing::error!(url = %target.url, status = answer.status().as_u16(), id = alert.id, "alert refused");
                return false;
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                tracing::warn!(url = %target.url, status, attempt, id = alert.id, "alert not taken");
            }
            Err(error) => {
                let cause = error.without_url().to_string();
                tracing::warn!(url = %target.url, cause, attempt, id = alert.id, "alert not delivered");
            }
        }
        if attempt < target.retries {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
    tracing::error!(url = %target.url, id = alert.id, "alert given up");
    false
}

fn retryable(status: reqwest::StatusCode) -> bool {
    status == reqwest::StatusCode::TOO_MANY_REQUESTS || status == reqwest::StatusCode::REQUEST_TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::super::{AlertPhase, Rule, Severity};
    use super::*;
    use crate::config::{Config, Environment, Overrides, SourceFile, Sources};
    use crate::telemetry::captured::CapturedLog;
    use std::time::SystemTime;

    fn target(url: &str) -> WebhookTarget {
        let text = format!("[[alerts.sinks]]\ntype = \"webhook\"\nurl = \"{url}\"\n");
        let config = Config::load(&Sources {
            file: Some(SourceFile { name: "test", text: &text }),
            environment: &Environment::default(),
            overrides: &Overrides::default(),
            read_secret: &|path| std::fs::read_to_string(path),
        });
        let url = config.unwrap().alerts.sinks[0].url.clone();
        WebhookTarget { url, timeout: Duration::from_secs(5), retries: 0, queue: 1 }
    }

    fn alert() -> Alert {
        Alert {
            id: "latency-churn-2-0".into(),
            rule: Rule::Latency,
            severity: Severity::Critical,
            state: AlertPhase::Firing,
            model: "churn".into(),
            version: "2".into(),
            feature: None,
            value: 1.0,
            threshold: 0.5,
            samples: 1000,
            window: "1m".into(),
            started_at: SystemTime::UNIX_EPOCH,
            resolved_at: None,
            summary: "slow".into(),
            evidence: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn an_alert_that_cannot_be_delivered_does_not_log_the_path_of_its_sink() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A port that was free a moment ago: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target = target(&format!("http://user:pass@127.0.0.1:{port}/services/T000/sesame?key=sesame"));
        let log = CapturedLog::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let delivered = deliver_one(&reqwest::Client::new(), &target, &alert()).await;
        drop(guard);
        assert!(!delivered);
        let lines = log.text();
        assert!(lines.contains("alert given up") && lines.contains(&format!("http://127.0.0.1:{port}")), "{lines}");
        for secret in ["sesame", "services", "pass"] {
            assert!(!lines.contains(secret) && !format!("{target:?}").contains(secret), "{secret} in: {lines}");
        }
    }
}
