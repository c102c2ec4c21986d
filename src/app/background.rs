//! Work that must not be felt by whoever sends requests: threads that get what workers leave.
//!
//! Loading a version, warming it, hashing what was downloaded and giving memory back take seconds of a processor, and they
//! are wanted exactly when requests are served. With a fifth of the machine idle such work is done in about the time that
//! it takes anyway, and on a machine without any idle time it takes long, which is what whoever is served would choose. A
//! priority cannot be raised again without rights, so that these are threads of their own and none of a pool. Threads that
//! they start (an engine's, a runtime's) have their priority.
//!
//! The lowest priority alone is not enough: Linux lets a thread that runs finish its slice of some milliseconds before a
//! worker that wakes gets the core, whatever their priorities (since 6.6, `RUN_TO_PARITY`). At four fifths of what one core
//! can do, the median of requests while a version was loaded was 6 and 112 ms so, and 0.05 and 0.13 ms with the policy
//! for idle time, which yields at once (`loadtest/swaps.sh`, two runs each).
//!
//! Invariant: nothing that a request waits for runs here, but for calls that are long anyway (the executor's).

use super::AppError;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

/// The lowest priority of threads that have a share at all: about a seventieth of a core that a worker wants as well.
const NICENESS: i32 = 19;

/// Stack of such a thread: engines recurse over a graph's depth.
const STACK_BYTES: usize = 8 << 20;

/// What a thread gets of a core that a worker wants as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// A little: somebody waits for what it does.
    Little,
    /// Next to nothing (a 340th), and a worker that wakes takes the core at once.
    Leftover,
}

/// Starts a thread with a share of the cores, and answers what its work comes to; nothing if the work panicked.
///
/// # Errors
/// [`AppError::Thread`] when there is no thread to be had.
pub(super) fn start<T: Send + 'static>(
    name: &str,
    share: Share,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, AppError> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let work = move || {
        share.take();
        // Whoever asked may have gone.
        let _ = done.send(work());
    };
    thread.spawn(work).map_err(AppError::Thread)?;
    Ok(outcome)
}

/// A thread on leftover time that does one thing after the other and stays. An allocator divides memory among threads:
/// each that loads a model leaves some of its own behind, and a new one for every load would find the last one's only by
/// chance (measured: 13 such places after a thousand loads, for one that would do).
pub(super) struct Background {
    queue: SyncSender<Work>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Background {
    /// Starts the thread, which ends with this.
    ///
    /// # Errors
    /// [`AppError::Thread`] when there is no thread to be had.
    pub(super) fn new(name: &str) -> Result<Self, AppError> {
        let (queue, work) = sync_channel::<Work>(1);
        drop(start(name, Share::Leftover, move || {
            for piece in work {
                // Said by the hook for panics, and by the outcome that never comes.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(piece));
            }
        })?);
        Ok(Self { queue })
    }

    /// Has the thread do something, and answers what that comes to; nothing if it panicked. Waits while two other things are
    /// waiting.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, outcome) = oneshot::channel();
        // Whoever asked may have gone.
        let work = Box::new(move || drop(done.send(work())));
        self.queue.send(work).expect("the thread goes on as long as there is somebody who asks");
        outcome
    }
}

/// As [`start`], for what is to be awaited: on a runtime of its own, which ends with it.
///
/// # Errors
/// [`AppError::Thread`] when there is no thread or no runtime to be had.
pub(super) fn start_async<F: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<oneshot::Receiver<()>, AppError> {
    let (made, is_made) = sync_channel(1);
    let done = start(name, Share::Leftover, move || {
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

impl Share {
    /// Gives the thread that calls it this share.
    fn take(self) {
        if let Err(cause) = self.try_take() {
            tracing::warn!(cause, "work in the background runs at the priority of requests");
        }
    }

    fn try_take(self) -> Result<(), String> {
        if self == Self::Leftover && idle_time_only() {
            return Ok(());
        }
        // On Linux priorities are of threads, whatever POSIX says of processes.
        let lowered = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        lowered.map_err(|error| error.to_string())
    }
}

/// Whether the thread has only idle time from now on. Its niceness then means nothing.
#[cfg(target_os = "linux")]
fn idle_time_only() -> bool {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_ok()
}

/// Other systems have no such policy.
#[cfg(not(target_os = "linux"))]
fn idle_time_only() -> bool {
    false
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    /// What the thread has: its niceness, and field 41 of `/proc/…/stat`, the policy (proc_pid_stat(5)).
    fn share() -> (i32, u32) {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = text.rsplit_once(')').unwrap();
        let policy = fields.split_whitespace().nth(38).unwrap().parse().unwrap();
        (rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap(), policy)
    }

    const USUAL_POLICY: u32 = 0;
    const IDLE_POLICY: u32 = 5;

    #[tokio::test]
    async fn work_and_the_threads_that_it_starts_have_no_more_than_their_share() {
        let before = share();
        let work = || (share(), std::thread::spawn(share).join().unwrap());
        let little = (NICENESS, USUAL_POLICY);
        assert_eq!(start("test", Share::Little, work).unwrap().await, Ok((little, little)));
        let leftover = start("test", Share::Leftover, work).unwrap().await.unwrap();
        assert_eq!((leftover.0.1, leftover.1.1), (IDLE_POLICY, IDLE_POLICY));
        let (said, mut heard) = tokio::sync::mpsc::channel(1);
        let done = start_async("test", move || async move {
            let of_pool = tokio::task::spawn_blocking(share).await.unwrap();
            said.send((share().1, of_pool.1)).await.unwrap();
        });
        assert_eq!(done.unwrap().await, Ok(()));
        assert_eq!(heard.recv().await, Some((IDLE_POLICY, IDLE_POLICY)));
        assert_eq!(share(), before, "who asked is as before");
    }

    #[tokio::test]
    async fn work_that_panics_comes_to_nothing_and_the_next_is_done_on_the_same_thread() {
        let background = Background::new("test").unwrap();
        let thread = || (std::thread::current().id(), share().1);
        let first = background.run(thread).await.unwrap();
        let failed = background.run(|| assert_eq!(NICENESS, 0, "a panic that the test wants"));
        assert!(failed.await.is_err());
        assert_eq!((background.run(thread).await.unwrap(), first.1), (first, IDLE_POLICY));
    }
}
