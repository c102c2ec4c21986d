//! Work that must not be felt by whoever sends requests: threads at the lowest priority.
//!
//! Loading a version, warming it, hashing what was downloaded and giving memory back take seconds of a processor, and they
//! are wanted exactly when requests are served. At the lowest priority such work gets what workers leave: with a fifth of
//! the machine idle it is done in about the time that it takes anyway, and on a machine without any idle time it takes
//! long, which is what whoever is served would choose. A priority cannot be raised again without rights, so that these are
//! threads of their own and none of a pool. Threads that they start (an engine's, a runtime's) have their priority.
//!
//! Invariant: nothing that a request waits for runs here, but for calls that are long anyway (the executor's).

use super::AppError;
use std::future::Future;
use std::sync::mpsc::sync_channel;
use tokio::sync::oneshot;

/// The lowest priority that Linux has: such a thread gets about a seventieth of a core that a worker wants as well, and a
/// worker that wakes up takes the core from it.
const NICENESS: i32 = 19;

/// Stack of such a thread: engines recurse over a graph's depth.
const STACK_BYTES: usize = 8 << 20;

/// Starts a thread at the lowest priority, and answers what its work comes to; nothing if the work panicked.
///
/// # Errors
/// [`AppError::Thread`] when there is no thread to be had.
pub(super) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, AppError> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let work = move || {
        lower_priority();
        // Whoever asked may have gone.
        let _ = done.send(work());
    };
    thread.spawn(work).map_err(AppError::Thread)?;
    Ok(outcome)
}

/// The same for what is to be awaited there: on a runtime of its own, which ends with it.
///
/// # Errors
/// [`AppError::Thread`] when there is no thread or no runtime to be had.
pub(super) fn start_async<F: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<oneshot::Receiver<()>, AppError> {
    let (made, is_made) = sync_channel(1);
    let done = start(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let _ = made.send(Ok(()));
                runtime.block_on(work());
            }
            Err(error) => drop(made.send(Err(error))),
        }
    })?;
    is_made.recv().unwrap_or(Ok(())).map_err(AppError::Thread)?;
    Ok(done)
}

/// On Linux priorities are of threads, whatever POSIX says of processes.
fn lower_priority() {
    let lowered = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    if let Err(error) = lowered {
        tracing::warn!(cause = %error, "work in the background runs at the priority of requests");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority() -> i32 {
        rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap()
    }

    #[tokio::test]
    async fn work_and_the_threads_that_it_starts_have_the_lowest_priority() {
        let before = priority();
        let work = || (priority(), std::thread::spawn(priority).join().unwrap());
        assert_eq!(start("test", work).unwrap().await, Ok((NICENESS, NICENESS)));
        let (said, mut heard) = tokio::sync::mpsc::channel(1);
        let done = start_async("test", move || async move {
            let of_pool = tokio::task::spawn_blocking(priority).await.unwrap();
            said.send((priority(), of_pool)).await.unwrap();
        });
        assert_eq!(done.unwrap().await, Ok(()));
        assert_eq!(heard.recv().await, Some((NICENESS, NICENESS)));
        assert_eq!(priority(), before, "who asked is as before");
    }

    #[tokio::test]
    async fn work_that_panics_comes_to_nothing() {
        let outcome = start("test", || assert_eq!(NICENESS, 0, "a panic that the test wants")).unwrap();
        assert!(outcome.await.is_err());
    }
}
