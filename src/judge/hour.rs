//! What a version's outputs are like in the present hour of the week, for whoever compares another version with it that has
//! all of the traffic.
//!
//! What was learned here comes first, because it is of this gateway's traffic; where nothing was, what the profile says of
//! its rows. Rows that were learned come several to a request, and those of one request may be all alike. They are thinned
//! to as many as there were requests, over all of the version's time: what they leave uncertain is then never called known.
//!
//! Invariant: a column has as many counts as its reference has groups, or none.

use super::VersionWatch;
use super::column::profile_season;
use crate::observe::trial::HourReference;
use crate::observe::{RecordedColumn, hour_of_week};
use std::time::Duration;

impl VersionWatch {
    /// What is known of the hour in which `at` is, unix time. `columns` are those that the watch was made for.
    pub(super) fn hour(&self, at: Duration, columns: &[RecordedColumn]) -> Option<HourReference> {
        let hour = hour_of_week(at);
        let learned = self.windows.season_of_hour(hour);
        let rows = self.windows.since_deploy().0.last().copied().unwrap_or(0);
        let requests = self.windows.evidence_since_deploy().min(rows);
        let plan = self.windows.plan();
        HourReference::new(hour, columns, |place, column| {
            let reference = column.reference.as_ref()?;
            let of_traffic =
                learned.as_ref().map(|season| thinned(&season[plan.column_groups(place)], (requests, rows)));
            let of_traffic = of_traffic.filter(|groups| groups.iter().any(|count| *count > 0));
            of_traffic.or_else(|| profile_season(reference, &[(hour, 1.0)]))
        })
    }
}

/// Counts of rows as if there were as many as `requests` among so many `rows`.
fn thinned(counts: &[u64], (requests, rows): (u64, u64)) -> Vec<u64> {
    let share = u128::from(requests);
    let of = |count: u64| (u128::from(count) * share + u128::from(rows / 2)) / u128::from(rows.max(1));
    counts.iter().map(|&count| u64::try_from(of(count)).unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::observe::{HOURS, Side, Totals};
    use crate::sketch::Reference;
    use std::sync::Arc;

    /// Monday, 21 September 2026, 14:00 UTC, hour 14 of the week.
    const START: u64 = 1_789_999_200;
    const WEEK: u64 = 7 * 24 * 3_600;

    /// An output of two groups that has, or has not, hours in its profile.
    fn output(seasons: Option<Vec<Vec<u64>>>) -> RecordedColumn {
        let reference =
            Reference { counts: vec![50, 50], groups: vec![0, 1], group_count: 2, seasons, ..Reference::default() };
        RecordedColumn {
            name: "score".to_owned(),
            side: Side::Output,
            slots: 0..2,
            sums: 0..0,
            cells: 0..4,
            reference: Some(reference),
            order: None,
            critical: false,
        }
    }

    /// A week of requests of ten rows each, 90 rows of the first group and 10 of the second in an hour, the other way about in
    /// the hour after.
    fn after_a_week(columns: &[RecordedColumn], is_learned: bool) -> (VersionWatch, Duration) {
        let mut settings = Config::default().model("m");
        (settings.drift.seasonal, settings.drift.seasonal_weeks) = (is_learned, 1);
        let mut watch = VersionWatch::new(columns, &Arc::new(settings));
        let mut totals = Totals { slots: vec![0; 2], cells: vec![0; 4], ..Totals::default() };
        for hour in 0..HOURS as u64 {
            let first = if hour % 2 == 0 { 90 } else { 10 };
            totals.slots = vec![totals.slots[0] + first, totals.slots[1] + 100 - first];
            (totals.rows, totals.evidence_rows) = (totals.rows + 100, totals.evidence_rows + 10);
            watch.look(Duration::from_secs(START + hour * 3_600), columns, &totals);
        }
        let at = Duration::from_secs(START + WEEK);
        watch.look(at, columns, &totals);
        (watch, at)
    }

    #[test]
    fn an_hour_that_was_learned_is_told_in_requests() {
        let columns = [output(None)];
        let (watch, at) = after_a_week(&columns, true);
        let hour = |at| watch.hour(at, &columns).unwrap();
        assert_eq!(hour(at), HourReference { hour: 14, outputs: vec![vec![9, 1]] });
        let next = at + Duration::from_secs(3_600);
        assert_eq!(hour(next), HourReference { hour: 15, outputs: vec![vec![1, 9]] });
    }

    #[test]
    fn where_nothing_was_learned_the_profile_has_its_say_as_it_is() {
        let hours = (0..HOURS as u64).map(|hour| vec![hour, 2 * hour]).collect();
        let columns = [output(Some(hours))];
        let (watch, at) = after_a_week(&columns, false);
        assert_eq!(watch.hour(at, &columns), Some(HourReference { hour: 14, outputs: vec![vec![14, 28]] }));
        let (learned, at) = after_a_week(&columns, true);
        assert_eq!(learned.hour(at, &columns).unwrap().outputs, [vec![9, 1]], "what was learned comes first");
        let columns = [output(None)];
        let (watch, at) = after_a_week(&columns, false);
        assert_eq!(watch.hour(at, &columns), None);
    }

    #[test]
    fn rows_are_thinned_to_requests_and_keep_their_shares() {
        assert_eq!(thinned(&[300, 600, 0, 1], (100, 900)), [33, 67, 0, 0]);
        assert_eq!(thinned(&[5, 7], (12, 12)), [5, 7]);
        assert_eq!(thinned(&[5, 7], (0, 12)), [0, 0]);
        assert_eq!(thinned(&[u64::MAX], (u64::MAX, u64::MAX)), [u64::MAX]);
        assert_eq!(thinned(&[3], (0, 0)), [0]);
    }
}
