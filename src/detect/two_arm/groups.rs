//! Evidence that no one key group makes by itself.
//!
//! Events that were drawn one by one ([`UNGROUPED`]) are nobody's in particular, and are never left out.
//!
//! Invariant: never more than the evidence of all groups together.

use super::odds::Logs;
use std::collections::BTreeMap;

/// The group of events whose arm was drawn for each by itself.
pub const UNGROUPED: u64 = u64::MAX;

/// The smallest evidence that is left when any one group is left out; that of all counts where there is but one group.
pub(super) fn least(parts: impl Iterator<Item = (u64, Logs)>, ln_evidence: impl Fn(&Logs) -> f64) -> f64 {
    let mut groups: BTreeMap<u64, Logs> = BTreeMap::new();
    let mut all = Logs::default();
    for (group, logs) in parts {
        all.add(&logs, 1.0);
        groups.entry(group).or_default().add(&logs, 1.0);
    }
    let mut least = ln_evidence(&all);
    if groups.len() > 1 {
        for logs in groups.iter().filter(|(group, _)| **group != UNGROUPED).map(|(_, logs)| logs) {
            let mut rest = all.clone();
            rest.add(logs, -1.0);
            least = least.min(ln_evidence(&rest));
        }
    }
    least
}
