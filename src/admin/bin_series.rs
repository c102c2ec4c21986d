//! The counters of chosen features, bin by bin, so that Prometheus can add them up over replicas.
//!
//! Bins are the coarse groups of the reference, over which PSI is taken: with their shares in the reference beside them,
//! a recording rule gives the PSI of all replicas together. Fine bins would be five times the series and no other PSI.
//! Every group is exported from the start, also while nothing was counted in it: a share of nothing is part of the sum.
//!
//! Counters are those of the process, as all counters on the page are, and begin anew with it.
//!
//! Invariant: a feature has at most 24 series of each kind, and only features that somebody chose have any.

use crate::catalog::{Entry, Model};
use crate::detect::group_counts;
use crate::observe::{RecordedColumn, Totals};
use crate::profile::group_label;
use crate::sketch::Reference;
use crate::telemetry::{Telemetry, names};

/// Sets the series of a version.
pub(super) fn set(telemetry: &Telemetry, entry: &Entry, model: &Model, totals: &Totals) {
    for name in &entry.settings.drift.bins_exported {
        // Inputs come first: of an input and an output of one name, the input is the feature.
        let column = model.recorder.columns().iter().find(|column| column.name == *name);
        if let Some((column, reference)) = column.and_then(|column| Some((column, column.reference.as_ref()?))) {
            set_column(telemetry, model, (column, reference), totals);
        }
    }
}

fn set_column(
    telemetry: &Telemetry,
    model: &Model,
    (column, reference): (&RecordedColumn, &Reference),
    totals: &Totals,
) {
    let grouped = |counts: &[u64]| group_counts(counts, &reference.groups, reference.group_count);
    let expected = grouped(&reference.counts);
    let rows = expected.iter().fold(0_u64, |rows, &count| rows.saturating_add(count));
    if rows == 0 {
        return;
    }
    let found = grouped(&totals.slots[column.slots.clone()]);
    for (group, (&expected, &found)) in expected.iter().zip(&found).enumerate() {
        let bin = group_label(group, reference.group_count, reference.categorical);
        let labels = [
            ("model", model.name.as_str()),
            ("version", &model.version_text),
            ("feature", &column.name),
            ("bin", bin.as_ref()),
        ];
        telemetry.counter_total(&names::FEATURE_BIN, &labels, model.identity, found);
        telemetry.gauge(&names::FEATURE_BIN_REFERENCE, &labels, expected as f64 / rows as f64);
    }
}
