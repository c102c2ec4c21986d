//! Evidence that no one key group makes by itself.
//!
//! Invariant: never more than the evidence of all groups together.

use super::odds::Logs;
use std::collections::BTreeMap;

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
        for logs in groups.values() {
            let mut rest = all.clone();
            rest.add(logs, -1.0);
            least = least.min(ln_evidence(&rest));
        }
    }
    least
}
