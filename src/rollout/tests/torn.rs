//! A write that only a part of reached the disk: the end of the database's log torn off or spoiled anywhere. The next
//! process finds the journal as it was after one of the writes, never in between, and goes on from there to one end.
//!
//! A process that is killed leaves what it has handed to the system; a machine that loses its power may leave any part of
//! what was written last. Here is every such rest: of each script all of its writes are in the log, which is cut at many
//! places, within headers, pages and checksums.

use super::crashes::{LONG, check};
use super::world::{NOON, ROUND, Script, World};
use crate::rollout::journal::Record;
use crate::store::{RolloutRow, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Places at which the log of a script is cut.
const CUTS: usize = 36;
/// The header of the log, bytes.
const HEADER: usize = 32;
/// The database and its log.
const FILES: [&str; 2] = ["tidegate.db", "tidegate.db-wal"];

/// What becomes of the bytes from the cut on.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Gone,
    Zeros,
    Noise,
}

/// A script's journal as it lies on the disk when its process is killed at the end.
struct Left {
    records: Vec<Record>,
    /// How many entries there were after each write.
    writes: BTreeSet<usize>,
    database: Vec<u8>,
    log: Vec<u8>,
}

async fn open(directory: &Path) -> Store {
    Store::open(directory, Duration::ZERO).await.unwrap()
}

fn row(record: &Record) -> RolloutRow {
    RolloutRow {
        rollout: "one".to_owned(),
        generation: record.generation,
        model: "churn".to_owned(),
        at: record.at,
        kind: record.entry.kind().to_owned(),
        is_replaced: false,
        body: record.to_json(),
        ledger: None,
    }
}

async fn read(store: &Store) -> Vec<Record> {
    let rows = store.rollout_rows("one").await.unwrap();
    rows.iter().map(|kept| Record::from_json(&kept.row.body).unwrap()).collect()
}

async fn left_by(script: &Script) -> Left {
    let mut world = World::begin(script, u64::MAX);
    world.run(LONG).expect("nobody kills it");
    let directory = tempfile::tempdir().unwrap();
    // Closed once, so that the tables are in the file and the log has nothing but the journal.
    open(directory.path()).await.close().await;
    let store = open(directory.path()).await;
    let mut from = 0;
    for to in &world.disk.writes {
        let rows: Vec<RolloutRow> = world.disk.records[from..*to].iter().map(row).collect();
        store.append_rollout(&rows).await.unwrap();
        from = *to;
    }
    let [database, log] = FILES.map(|name| fs::read(directory.path().join(name)).unwrap());
    assert!(log.len() > HEADER + 4_096 * world.disk.writes.len(), "{}: every write is in the log", script.name);
    Left { records: world.disk.records, writes: world.disk.writes.into_iter().collect(), database, log }
}

/// The log with its end from a place on gone or spoiled.
fn torn(log: &[u8], (at, rest): (usize, Rest), random: &mut StdRng) -> Vec<u8> {
    let mut torn = log.to_vec();
    match rest {
        Rest::Gone => torn.truncate(at),
        Rest::Zeros => torn[at..].fill(0),
        Rest::Noise => torn[at..].iter_mut().for_each(|byte| *byte = random.random()),
    }
    torn
}

/// A process that finds these files: how many entries it finds, and whether it came to an end.
async fn found_by_the_next(
    script: &Script,
    left: &Left,
    log: &[u8],
    what: &str,
    is_news: impl Fn(usize) -> bool,
) -> usize {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in FILES.into_iter().zip([&left.database[..], log]) {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let store = open(directory.path()).await;
    let records = read(&store).await;
    let count = records.len();
    assert!(count == 0 || left.writes.contains(&count), "{what}: {count} entries are a part of a write");
    assert_eq!(records, left.records[..count], "{what}");
    let is_put_aside = fs::read_dir(directory.path()).unwrap().count() > 3;
    assert!(!is_put_aside, "{what}: what can be read is no damage");
    if count > 0 && is_news(count) {
        let all = goes_on(script, records, what);
        let rows: Vec<RolloutRow> = all.iter().map(row).collect();
        store.append_rollout(&rows).await.unwrap();
        store.close().await;
        assert_eq!(read(&open(directory.path()).await).await, all, "{what}: it is written on");
    }
    count
}

/// The journal once the next process has gone on from these entries to the end.
fn goes_on(script: &Script, records: Vec<Record>, what: &str) -> Vec<Record> {
    let mut killed = World::begin(script, u64::MAX);
    let last = records.last().expect("there are some").at;
    (killed.second, killed.disk.records) = ((last - NOON) / ROUND + 1, records);
    let mut world = World::resume(killed, u64::MAX).expect("what begins with a beginning is taken up");
    let state = world.course.state();
    assert!(world.live <= state.weight, "{what}: a share of {} where {} is known", world.live, state.weight);
    world.run(LONG).expect("nobody kills it");
    let state = check(&world.disk.records, what);
    assert!(state.phase.is_ended(), "{what}: it stands at {:?}", state.phase);
    assert_eq!((&state, world.live), (world.course.state(), state.weight), "{what}");
    world.disk.records
}

#[tokio::test]
async fn whatever_part_of_the_last_writes_reached_the_disk_the_next_process_goes_on_from_a_whole_one() {
    let mut random = StdRng::seed_from_u64(11);
    let (mut cuts, mut found, mut writes) = (0, 0, 0);
    for script in Script::all() {
        let left = left_by(&script).await;
        let mut seen = BTreeSet::new();
        for number in 0..CUTS {
            // Somewhere in each part of it, and once not at all.
            let part = |number: usize| left.log.len() * number / CUTS;
            let at = if number == 0 { left.log.len() } else { random.random_range(part(number)..part(number + 1)) };
            let rest = [Rest::Gone, Rest::Zeros, Rest::Noise][number % 3];
            let what = format!("{}, {rest:?} from byte {at} of {} on", script.name, left.log.len());
            let log = torn(&left.log, (at, rest), &mut random);
            let count = found_by_the_next(&script, &left, &log, &what, |count| !seen.contains(&count)).await;
            assert!(number > 0 || count == left.records.len(), "{what}: all of it is there");
            seen.insert(count);
            cuts += 1;
        }
        seen.remove(&0);
        (found, writes) = (found + seen.len(), writes + left.writes.len());
    }
    println!("{cuts} torn logs, after which the next process went on from {found} of {writes} writes");
    assert!(cuts >= 500 && found >= 70, "{cuts} and {found}");
}
