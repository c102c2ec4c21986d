//! Whether state is being kept, for the admin port and the log.
//!
//! Invariant: an error is logged when it begins and then at most once a minute, however often it happens.

use super::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The least time between two lines about the same trouble.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// Whether state is being kept, and if not, why.
#[derive(Debug, Default)]
pub struct StateHealth {
    latest: Mutex<Health>,
    dropped: AtomicU64,
    dropped_deliveries: AtomicU64,
}

#[derive(Debug, Default)]
struct Health {
    trouble: Option<String>,
    said_at: Option<Duration>,
}

impl StateHealth {
    /// Why nothing is kept at the moment; none if it is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// How many writes were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many deliveries of webhooks were not kept because too many waited.
    #[must_use]
    pub fn dropped_deliveries(&self) -> u64 {
        self.dropped_deliveries.load(Ordering::Relaxed)
    }

    pub(super) fn note_dropped_delivery(&self) {
        self.dropped_deliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how an attempt ended, and says what is worth saying. `at` is the time now.
    pub fn note(&self, outcome: &Result<(), StoreError>, at: Duration) {
        let mut health = self.lock();
        match outcome {
            Ok(()) => {
                if health.trouble.take().is_some() {
                    tracing::info!("state is kept again");
                    health.said_at = None;
                }
            }
            Err(error) => {
                let is_quiet = health.said_at.is_some_and(|said| at.saturating_sub(said) < QUIET_FOR);
                if !is_quiet {
                    tracing::error!(cause = %error, "state is not kept; serving goes on, a restart forgets");
                    health.said_at = Some(at);
                }
                health.trouble = Some(error.to_string());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::CapturedLog;

    #[test]
    fn lasting_trouble_is_said_once_a_minute() {
        let log = CapturedLog::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let health = StateHealth::default();
        tracing::subscriber::with_default(subscriber, || {
            for second in 0..130 {
                let full = Err(StoreError::Late(Duration::from_secs(1)));
                health.note(&full, Duration::from_secs(second));
            }
            assert!(health.trouble().is_some_and(|trouble| trouble.contains("did not answer")));
            health.note(&Ok(()), Duration::from_secs(131));
        });
        assert_eq!(health.trouble(), None);
        let text = log.text();
        assert_eq!(text.matches("state is not kept").count(), 3, "{text}");
        assert_eq!(text.matches("state is kept again").count(), 1, "{text}");
    }
}
