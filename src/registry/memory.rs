//! How much memory a version may take.
//!
//! What a session will hold is not known before it exists, so it is reckoned from the size of its files: the plan keeps
//! the weights once, reading and optimising holds a second copy for a moment, and an engine that shares nothing between
//! sessions holds them once per worker. Deliberately rough and on the safe side: the point is to refuse the load that
//! would take the machine down, before it does.
//!
//! # What a version gives back
//! An unloaded version is dropped on the retirer's thread ([`catalog`](crate::catalog)); what the process then has less
//! depends on who held the memory:
//!
//! * **ONNX Runtime** keeps what its sessions calculate with in an arena of each session's own (`BFCArena`; sessions
//!   share one only where an environment registers it, which is not done here). It begins with a block of 1 MiB, grows by
//!   powers of two to the largest call that there was and shrinks only where a run asks for that, so it is a part of the
//!   version's size for as long as it is loaded. With the session the whole arena goes back to the allocator. It is left on:
//!   without it every call allocates, which a call of 3 µs would feel. Weights are an allocation per tensor, once per
//!   session.
//! * **tract** holds weights in plain vectors, shared by all sessions, and what it calculates with from call to call.
//!   It has no arena.
//! * **The allocator** under both is jemalloc where the binary is for Linux with glibc (`main.rs`). It is Rust's, and since
//!   its functions have the names of the C library's and the binary exports them, also that of libraries that are opened
//!   later: ONNX Runtime's. An allocator for Rust alone would leave the larger part to glibc. Elsewhere, and in programs that
//!   embed this library, it is the system's.
//!
//! # Why not glibc's
//! An allocation of 128 KiB or more is a mapping of its own there, which is unmapped when it is freed; but glibc raises that
//! limit, up to 32 MiB, to the size of each mapping it frees (`M_MMAP_THRESHOLD` in mallopt(3)). After the first swap, arenas
//! of 1 MiB and weights of a few therefore come from heaps. A heap is given back from its top alone, so one small allocation
//! that outlives the version, made after it, keeps the pages below resident. `MALLOC_MMAP_THRESHOLD_` would fix the limit,
//! and so would a call into C, as `malloc_trim` would give back what is free; but a variable must be set before the process
//! starts, and this crate calls no C. jemalloc gives pages back wherever they lie, once they were unused for so long
//! (`.cargo/config.toml`): after a second, by a thread of its own, so that also the last version that went leaves nothing
//! behind when nobody allocates any more.
//!
//! All versions are loaded on one thread that stays (`app/background.rs`): allocators divide memory among threads, and with a
//! thread for each load, each of a dozen arenas of glibc's kept the size of a version.
//!
//! # Measured
//! `churn`, four swaps a second, baking for one, 500 requests a second, one worker; VmRSS in MB, of which 37 (ONNX Runtime) and
//! 26 (tract) are files. Without the state's database, whose pages in memory (`store/database.rs`) were most of what had
//! grown until they were limited: about 8 KiB with each version, up to 4 MB.
//!
//! | | engine | start | 10 swaps | 100 | 300 | 1,000 | over 10 |
//! |---|---|---|---|---|---|---|---|
//! | glibc, with the database as it was | ONNX Runtime | 50.6 | 64.3 | 69.0 | 70.8 | 77.4 | 1.20 |
//! | jemalloc, with the database as it was | ONNX Runtime | 52.5 | 58.5 | 61.3 | 63.0 | 68.8 | 1.18 |
//! | glibc | ONNX Runtime | 48.7 | 62.4 | 66.9 | 66.1 | 66.1 | 1.06 |
//! | glibc, `MALLOC_MMAP_THRESHOLD_=524288` | ONNX Runtime | 48.5 | 52.7 | 53.9 | 53.9 | | 1.02 |
//! | jemalloc as it comes (gives back within 10 s) | ONNX Runtime | 50.3 | 55.9 | 57.4 | 57.0 | | 1.02 |
//! | jemalloc with the settings here | ONNX Runtime | 50.2 | 53.9 | 55.7 | 55.8 | | 1.04 |
//! | glibc | tract | 28.6 | 32.7 | 33.2 | 33.8 | | 1.03 |
//!
//! jemalloc was preloaded into one and the same release build (`LD_PRELOAD`), so that nothing else differs. mimalloc 2.0
//! held 10 MB more than jemalloc. The budget counts reckoned sizes and not resident memory, so what an allocator keeps does
//! not refuse a load; the 20 % that the default leaves are for it.
//!
//! Invariant: the reckoning depends on file sizes and the number of sessions alone, so it is the same on every replica.

use std::path::Path;

/// What any session costs beside its weights: graph, arena, buffers. Measured on the shipped models: under 2 MiB.
const SESSION_OVERHEAD: u64 = 2 << 20;

/// The share of the machine's memory that versions may take when nothing else is set: 80 %.
const DEFAULT_SHARE_PERCENT: u64 = 80;

/// What loading `file_bytes` of graph and weights is reckoned to need, in bytes.
#[must_use]
pub fn reckon(file_bytes: u64, sessions: usize, shared_weights: bool) -> u64 {
    let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
    let copies = if shared_weights { 2 } else { sessions.saturating_add(1) };
    file_bytes.saturating_mul(copies).saturating_add(sessions.saturating_mul(SESSION_OVERHEAD))
}

/// The budget that holds when none is set: 80 % of the control group's limit, else of the machine's memory, in bytes.
#[must_use]
pub fn default_budget() -> u64 {
    let limit = cgroup_limit(Path::new("/sys/fs/cgroup/memory.max")).into_iter().chain(machine_memory()).min();
    limit.unwrap_or(u64::MAX) / 100 * DEFAULT_SHARE_PERCENT
}

fn cgroup_limit(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_share_nothing_are_reckoned_one_by_one() {
        assert_eq!(reckon(100, 4, true), 200 + 4 * SESSION_OVERHEAD);
        assert_eq!(reckon(100, 4, false), 500 + 4 * SESSION_OVERHEAD);
        assert_eq!(reckon(u64::MAX, 4, false), u64::MAX);
    }

    #[test]
    fn this_machine_has_a_budget_that_is_no_more_than_its_memory() {
        let budget = default_budget();
        assert!(budget > 0);
        assert!(machine_memory().is_none_or(|memory| budget < memory));
    }
}
