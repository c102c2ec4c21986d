//! Downloads from registries, shown on the terminal while they are under way: a line for each.
//!
//! Invariant: whoever downloads waits for nobody here, and what was drawn is taken away in the end.

use crate::registry::board::SourceBoard;
use crate::registry::staging::ProgressView;
use crate::telemetry::bars::{self, MOST_LINES};
use crate::telemetry::logs::sized;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Time between two looks: often enough to seem to move.
const INTERVAL: Duration = Duration::from_millis(200);
/// Letters of a bar.
const BAR: u64 = 20;

/// When a download was first seen, and how far it was then: what an earlier process fetched was not fetched now.
type Began = BTreeMap<(String, u64), (Instant, u64)>;

/// Draws what the board says until `stop` says so.
pub(super) async fn run(board: Arc<SourceBoard>, stop: CancellationToken) {
    let mut began = Began::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => bars::show(lines(&board.downloads(), &mut began, Instant::now())),
            () = stop.cancelled() => return bars::show(Vec::new()),
        }
    }
}

/// A line for each download, and one for those that there is no room for.
fn lines(downloads: &[(String, ProgressView)], began: &mut Began, now: Instant) -> Vec<String> {
    let key = |(model, view): &(String, ProgressView)| (model.clone(), view.version);
    began.retain(|known, _| downloads.iter().any(|download| key(download) == *known));
    let widest = downloads.iter().map(|(model, view)| title(model, view).chars().count()).max().unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    for download in downloads {
        let (model, view) = download;
        let (since, already) = *began.entry(key(download)).or_insert((now, view.bytes_done));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let rate = view.bytes_done.saturating_sub(already) as f64 / seconds.max(INTERVAL.as_secs_f64());
        lines.push(line(&format!("{:<widest$}", title(model, view)), view, rate as u64));
    }
    if lines.len() > MOST_LINES {
        let more = lines.len() - (MOST_LINES - 1);
        lines.truncate(MOST_LINES - 1);
        lines.push(format!("and {more} more downloads"));
    }
    lines
}

fn title(model: &str, view: &ProgressView) -> String {
    format!("{model}/{}", view.version)
}

/// How far one is. Without a size there is nothing to be a part of.
fn line(title: &str, view: &ProgressView, rate: u64) -> String {
    let ProgressView { bytes, bytes_done, .. } = *view;
    let rate = sized(rate);
    if bytes == 0 {
        return format!("{title}  {} {rate}/s", sized(bytes_done));
    }
    let done = bytes_done.min(bytes);
    let part = |of: u64| u64::try_from(u128::from(done) * u128::from(of) / u128::from(bytes)).unwrap_or(of);
    let filled = usize::try_from(part(BAR)).unwrap_or_default();
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(BAR as usize - filled));
    format!("{title}  [{bar}] {:>3} %  {} of {}  {rate}/s", part(100), sized(done), sized(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(version: u64, bytes: u64, bytes_done: u64) -> ProgressView {
        ProgressView { version, files: 2, files_done: 1, bytes, bytes_done }
    }

    #[test]
    fn a_line_says_what_how_much_and_how_fast() {
        let said = line("churn/7", &view(7, 200 << 20, 50 << 20), 3 << 19);
        assert_eq!(said, "churn/7  [#####---------------]  25 %  50.0MiB of 200.0MiB  1.5MiB/s");
        assert_eq!(line("churn/7", &view(7, 0, 1024), 0), "churn/7  1.0KiB 0B/s");
        assert!(line("m/1", &view(1, 10, 30), 0).contains("[####################] 100 %  10B of 10B"));
        assert!(line("m/1", &view(1, u64::MAX, u64::MAX), 0).contains("100 %"));
    }

    #[test]
    fn what_was_there_before_does_not_count_as_fast() {
        let (mut began, start) = (Began::new(), Instant::now());
        let at = |done| vec![("churn".to_owned(), view(1, 100 << 20, done))];
        assert!(lines(&at(40 << 20), &mut began, start)[0].ends_with(" 0B/s"));
        let later = lines(&at(60 << 20), &mut began, start + Duration::from_secs(10));
        assert!(later[0].ends_with(" 2.0MiB/s"), "{later:?}");
        assert!(lines(&[], &mut began, start).is_empty() && began.is_empty());
    }

    #[test]
    fn titles_are_of_one_width_and_many_downloads_are_counted() {
        let of = |name: &str| (name.to_owned(), view(1, 100, 1));
        let said = lines(&[of("a"), of("a longer one")], &mut Began::new(), Instant::now());
        assert_eq!(said[0].find('['), said[1].find('['));
        let many: Vec<_> = (0..20).map(|number| of(&number.to_string())).collect();
        let said = lines(&many, &mut Began::new(), Instant::now());
        assert_eq!((said.len(), said[MOST_LINES - 1].as_str()), (MOST_LINES, "and 13 more downloads"));
    }
}
