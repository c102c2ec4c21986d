//! What is counted while serving: per worker, in integers, without a lock.
//!
//! ```text
//!  worker 0 ─▶ shard 0 ─┐
//!  worker 1 ─▶ shard 1 ─┴─▶ Totals (a sum) ─▶ Windows (newest minus older) ─▶ judge
//! ```
//! A worker writes its own shard; whoever wants to know sums the shards. Counters only grow, so every window is a
//! difference of two readings, and nothing has to be reset while it is written.
//!
//! Invariant: recording takes no lock, allocates nothing after a shard's first use, and never waits.

mod answers;
mod blocks;
mod cells;
pub mod codec;
mod columns;
mod counter;
mod decay;
mod evidence;
mod learning;
pub mod live;
mod marks;
mod notes;
mod reading;
mod recorder;
mod refusals;
mod ring;
mod seasons;
mod segments;
mod server;
pub mod shadow;
mod shard;
mod statistics;
#[cfg(test)]
mod tests;
mod tiles;
pub mod trial;
mod window;
mod windows;
mod windows_codec;
#[cfg(test)]
mod windows_tests;

pub use answers::{ARMS, AnswerTotals, PHASES, Phase, Protocol, StatusLabel};
pub use columns::{DEFECTS, RecordedColumn, STATISTICS, Side};
pub use evidence::Evidence;
pub use notes::Notes;
pub use reading::ReadingPlan;
pub use recorder::{Recorder, Totals};
pub use refusals::{REFUSAL_KINDS, RefusalKind};
pub use seasons::{HOURS, hour_of_week, hours_between};
pub use segments::{MAX_VALUE_BYTES, OTHER, Origin, SEGMENT_MEMORY, SegmentError, SegmentTotals};
pub use server::{InFlight, ServerRecorder};
pub use statistics::RowStatistics;
pub use window::Window;
pub use windows::{BlockCounts, WindowCounts, WindowSettings, Windows};
