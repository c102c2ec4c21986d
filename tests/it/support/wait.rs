//! Waiting for conditions instead of for time.
//!
//! Invariant: a deadline is generous, so that only a condition that never comes true meets it.

use std::time::{Duration, Instant};

/// How long anything may take on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` answers, and gives that answer. `what` is what did not happen otherwise.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "this did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
