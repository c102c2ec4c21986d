//! Threads that answer copies of requests: one for each mirror, on leftover time.
//!
//! A thread ends with its mirror, but for one whose version hangs: that one never does. So they are counted, those that
//! hang among them, and when there are too many there is no further mirror until the process is started anew.
//!
//! Invariant: there are never more of these threads than [`MOST_MIRRORS`].

use super::AppError;
use super::background::{self, Share};
use crate::catalog::{Mirror, MirrorError, Model};
use crate::config::ShadowSettings;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Mirrors at a time. Each holds an instance of its version, which no memory budget counts.
pub const MOST_MIRRORS: usize = 16;

/// Why there is no mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirroringError {
    /// The versions do not go together.
    #[error(transparent)]
    Misfit(#[from] MirrorError),
    /// There are too many already.
    #[error("{MOST_MIRRORS} versions answer copies of requests already, or hang doing so")]
    TooMany,
    /// There is no thread to be had.
    #[error(transparent)]
    Thread(#[from] AppError),
}

/// Starts mirrors, and knows how many there are.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    running: Arc<AtomicUsize>,
}

/// Counts a thread for as long as it runs.
struct Running(Arc<AtomicUsize>);

impl Mirrors {
    /// A mirror of what `primary` is asked in `shadow`, whose far end runs from now on until the mirror is dropped.
    ///
    /// # Errors
    /// [`MirroringError`].
    pub fn start(
        &self,
        primary: &Model,
        shadow: &Model,
        settings: &ShadowSettings,
    ) -> Result<Arc<Mirror>, MirroringError> {
        let running = Running::enter(&self.running)?;
        let (mirror, runner) = Mirror::new(primary, shadow, settings)?;
        drop(background::start("tidegate-shadow", Share::Leftover, move || {
            runner.run();
            drop(running);
        })?);
        Ok(mirror)
    }

    /// Threads that run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Running {
    fn enter(running: &Arc<AtomicUsize>) -> Result<Self, MirroringError> {
        let entered = Self(Arc::clone(running));
        if running.fetch_add(1, Ordering::Relaxed) >= MOST_MIRRORS { Err(MirroringError::TooMany) } else { Ok(entered) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_threads_than_the_limit_and_one_that_ends_makes_room() {
        let running = Arc::new(AtomicUsize::new(0));
        let mut entered: Vec<Running> = (0..MOST_MIRRORS).map(|_| Running::enter(&running).unwrap()).collect();
        for _ in 0..3 {
            let refused = Running::enter(&running).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|text| text.starts_with("16 versions answer copies")));
        }
        entered.pop();
        assert!(Running::enter(&running).is_ok());
        drop(entered);
        assert_eq!(running.load(Ordering::Relaxed), 0);
    }
}
