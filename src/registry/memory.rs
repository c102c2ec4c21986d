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
//!   share one only where an environment registers it, which is not done here). It grows by powers of two to the
//!   largest call that there was and shrinks only where a run asks for that, so it is a part of the version's size for
//!   as long as it is loaded. With the session the whole arena goes back to the allocator. It is left on: without it
//!   every call allocates, which a call of 3 µs would feel. Weights are an allocation per tensor, once per session.
//! * **tract** holds weights in plain vectors, shared by all sessions, and what it calculates with from call to call.
//!   It has no arena.
//! * **The allocator** under both is the C library's. An allocation of 128 KiB or more is a mapping of its own, which
//!   is unmapped when it is freed; but glibc raises that limit, up to 32 MiB, to the size of each mapping it frees
//!   (`M_MMAP_THRESHOLD` in mallopt(3)). After the first swap, weights of a few megabytes therefore come from heaps. A
//!   heap is given back from its top alone, so one small allocation that outlives the version, made after its weights,
//!   keeps the pages below resident, though free for the next version. glibc has up to eight heaps (arenas) per core,
//!   and a thread takes the one that it used last, a new thread any that is free. So all versions are loaded on one
//!   thread that stays (`app/background.rs`): with a thread for each load, each of a dozen arenas kept the size of a
//!   version.
//!
//! Measured with ONNX Runtime and `churn`, three swaps a second (VmRSS, of which 38 MB are files): 60.4 MB after 11
//! swaps, 63.0 MB after 300, and 75.1 MB with a thread for each load. What is left is at a multiple of what is loaded at a
//! time, and does not go down to what it was before the first swap. `MALLOC_MMAP_THRESHOLD_=131072` keeps large weights in
//! mappings, which are always given back, at the price of page faults in calls that allocate as much; like
//! `MALLOC_TRIM_THRESHOLD_` it fixes the limit where it is. `malloc_trim` would give the rest back after each unload,
//! but is a call into C, which this crate, without unsafe code, does not make. The budget counts reckoned sizes and not
//! resident memory, so what an allocator keeps does not refuse a load; the 20 % that the default leaves are for it.
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
