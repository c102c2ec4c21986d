//! What a version has counted since it was deployed, as a part of a live profile.
//!
//! Taken from the windows and not from the recorder, whose counters begin anew with every process: these go on from a
//! snapshot, and so does the time at which they began.
//!
//! Invariant: a part has as many counters per column as its column says.

use super::version::VersionWatch;
use crate::observe::RecordedColumn;
use crate::observe::live::{ColumnCounts, LiveColumn, LiveVersion, Part};
use crate::sketch::SUMS;
use crate::store::SnapshotKey;
use std::time::Duration;

impl VersionWatch {
    /// The counters since deploy as of the last look, under the key of its snapshots. `columns` are those it was made for.
    #[must_use]
    pub fn live(&self, key: &SnapshotKey, columns: &[RecordedColumn]) -> LiveVersion {
        let (plan, (counts, sums)) = (self.windows.plan(), self.windows.since_deploy());
        let of_column = |index: usize| {
            let mut live_sums = [0; SUMS];
            for (live, sum) in live_sums.iter_mut().zip(&sums[plan.column_sums(index)]) {
                *live = sum.cast_signed();
            }
            ColumnCounts { counts: counts[plan.column(index)].to_vec(), sums: live_sums }
        };
        let rows = counts.last().copied().unwrap_or(0);
        let epoch = milliseconds(self.windows.began());
        LiveVersion {
            model: key.model.clone(),
            version: key.version,
            profile: key.profile_hash,
            columns: columns
                .iter()
                .enumerate()
                .map(|(index, column)| LiveColumn {
                    name: column.name.clone(),
                    side: column.side,
                    counters: plan.column(index).len(),
                })
                .collect(),
            parts: vec![Part {
                replica: key.replica.clone(),
                epoch,
                // The clock may have been ahead when counting began, a start ago.
                at: milliseconds(self.windows.read_at()).max(epoch),
                rows,
                // Counters are read one after the other while they grow.
                evidence_rows: self.windows.evidence_since_deploy().min(rows),
                counts: (0..columns.len()).map(of_column).collect(),
            }],
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
