//! A process that is killed at a write of its rollouts' journal, again and again: it goes on or rolls back, gives no version
//! a share that was not written down, and decides once at each step.
//!
//! The journal is watched from outside, in the database that the process writes, so that nothing in the gateway knows of
//! it: some kills come moments after an entry is there, the others as soon as the database's log grows, which may be in the
//! middle of a write. How many were is told by what they leave: a rest in the log that is no whole write.

use crate::support::client::Client;
use crate::support::process::{Process, command};
use crate::support::python::environment;
use crate::support::wait::{PATIENCE, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MODEL: &str = "score";
/// Kills of an ordinary run, and with `TIDEGATE_LONG=1`.
const KILLS: (usize, usize) = (12, 200);
/// How long a process that writes nothing is left alone before it is killed all the same.
const LONGEST_QUIET: Duration = Duration::from_secs(1);
/// 10 and 50 %, as fast as they can be.
const SETTINGS: &str = "[repository]\npoll_interval = \"100ms\"\nbake = \"100ms\"\n[models.score]\nengine = \"tract\"\n\
    rollout = { steps = [10, 50], min_time = \"0s\", max_time = \"10m\", min_samples = 40, bake = \"300ms\" }\n";

/// An entry of the journal, as far as it matters here.
#[derive(Debug)]
struct Entry {
    rollout: String,
    generation: u64,
    kind: String,
    says: Value,
}

/// The journal as it lies on the disk.
struct Journal(SqlitePool);

impl Journal {
    async fn of(state: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(state.join("tidegate.db")).read_only(true);
        Self(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options))
    }

    /// How many entries were ever written; none while there is no journal.
    async fn length(&self) -> u64 {
        let newest = "SELECT COALESCE(MAX(sequence), 0) FROM rollout_journal";
        let found = sqlx::query(newest).fetch_one(&self.0).await;
        found.map_or(0, |row| row.get::<i64, _>(0).cast_unsigned())
    }

    /// All that is there; nothing while there is no journal.
    async fn entries_or_none(&self) -> Vec<Entry> {
        if self.length().await == 0 { Vec::new() } else { self.entries().await }
    }

    async fn entries(&self) -> Vec<Entry> {
        let all = "SELECT rollout, generation, kind, body FROM rollout_journal ORDER BY sequence";
        let rows = sqlx::query(AssertSqlSafe(all)).fetch_all(&self.0).await.unwrap();
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            let body: Value = serde_json::from_str(row.get("body")).unwrap();
            Entry {
                rollout: row.get("rollout"),
                generation: row.get::<i64, _>("generation").cast_unsigned(),
                kind: row.get("kind"),
                says: body["record"]["entry"]["says"].clone(),
            }
        };
        rows.iter().map(entry).collect()
    }
}

/// Everything that outlives the processes.
struct Place {
    directory: tempfile::TempDir,
    models: PathBuf,
    versions: u64,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let models = directory.path().join("models");
        for folder in ["files", "models/score", "state"] {
            fs::create_dir_all(directory.path().join(folder)).unwrap();
        }
        fs::write(directory.path().join("tidegate.toml"), SETTINGS).unwrap();
        let files = directory.path().join("files");
        environment().run_script("tests/python/rollout_models.py", &["write", files.to_str().unwrap()]);
        let mut place = Self { directory, models, versions: 0 };
        place.add("same");
        place
    }

    /// Puts the next version in its place: every one has bytes of its own.
    fn add(&mut self, file: &str) {
        self.versions += 1;
        let made = self.directory.path().join("made");
        fs::create_dir(&made).unwrap();
        let from = self.directory.path().join("files").join(format!("{file}.onnx"));
        fs::copy(from, made.join("model.onnx")).unwrap();
        fs::write(made.join("number"), self.versions.to_string()).unwrap();
        fs::rename(made, self.models.join(MODEL).join(self.versions.to_string())).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The database's log.
    fn log(&self) -> PathBuf {
        self.state().join("tidegate.db-wal")
    }

    async fn start(&self) -> Process {
        let path = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        let (config, models, state) = (path("tidegate.toml"), path("models"), path("state"));
        Process::start_command(Self::serving(&[&config, &models, &state])).await
    }

    fn serving(&[config, models, state]: &[&str; 3]) -> std::process::Command {
        let mut command = command(&["serve", "--config", config, "--models", models, "--state", state]);
        command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"]);
        command
    }
}

/// Rows of which every fifth is one that the bad version cannot answer; it ends with the value.
fn traffic(client: &Client) -> JoinSet<()> {
    let mut senders = JoinSet::new();
    for sender in 0..2 {
        let client = client.clone();
        senders.spawn(async move {
            let mut random = StdRng::seed_from_u64(sender);
            loop {
                // Nothing above 0.995, which every version fails at.
                let row: Vec<f32> = (0..8).map(|_| random.random_range(0.0..0.99)).collect();
                let body = serde_json::json!({"inputs": [
                    {"name": "features", "shape": [1, 8], "datatype": "FP32", "data": row}]});
                // The process is killed under it.
                let request = client.data("POST", "/v2/models/score/infer").body(body.to_string());
                if request.send().await.is_err() {
                    return;
                }
            }
        });
    }
    senders
}

/// Shares of the versions, percent, as the gateway says.
async fn shares(client: &Client) -> BTreeMap<u64, f64> {
    let shown = client.get_admin("/api/v1/models/score").await.ok().json();
    let versions = shown["versions"].as_array().unwrap();
    let share = |version: &Value| {
        Some((version["version"].as_str()?.parse().ok()?, version["weight"].as_f64().filter(|weight| *weight > 0.0)?))
    };
    versions.iter().filter_map(share).collect()
}

/// The rollout that the gateway shows, if there is one.
async fn rollout(client: &Client) -> Option<Value> {
    let answer = client.get_admin("/api/v1/rollouts/score").await;
    (answer.status == 200).then(|| answer.json())
}

/// What must hold of the journal whenever the process ends.
fn check_journal(entries: &[Entry]) {
    let mut decided = BTreeSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in entries {
        let before = last.insert(&entry.rollout, entry.generation).unwrap_or(0);
        assert!(entry.generation > before, "{entry:?} comes after {before}");
        if entry.kind == "decision" {
            let (subject, phase) = (entry.says["subject"].to_string(), entry.says["phase"].to_string());
            let verdict = entry.says["judgement"]["verdict"].to_string();
            let key = (entry.rollout.clone(), subject, phase, verdict);
            assert!(decided.insert(key), "decided twice: {entry:?}");
        }
    }
}

/// The largest share of each version that was ever written down, percent, the stable ones with all of it.
fn written_shares(entries: &[Entry]) -> BTreeMap<u64, f64> {
    let (mut targets, mut shares) = (BTreeMap::new(), BTreeMap::from([(1, 100.0)]));
    for entry in entries {
        match entry.kind.as_str() {
            "started" => {
                targets.insert(entry.rollout.as_str(), entry.says["target"].as_u64().unwrap());
                shares.insert(entry.says["stable"].as_u64().unwrap(), 100.0);
            }
            "moved" => {
                let (target, weight) =
                    (targets[entry.rollout.as_str()], entry.says["weight"].as_f64().unwrap() / 100.0);
                let largest: &mut f64 = shares.entry(target).or_insert(0.0);
                *largest = largest.max(weight);
            }
            _ => {}
        }
    }
    shares
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_writes_of_its_journal_goes_on_or_rolls_back() {
    let is_long = std::env::var_os("TIDEGATE_LONG").is_some_and(|value| value == "1");
    let kills = if is_long { KILLS.1 } else { KILLS.0 };
    let (mut place, mut random) = (Place::new(), StdRng::seed_from_u64(7));
    let journal = Journal::of(&place.state()).await;
    let (mut ended, mut cut) = (0, 0);
    for kill in 0..kills {
        let before = journal.length().await;
        let mut process = place.start().await;
        let senders = traffic(&process.client);
        // What runs by now was not begun by this process but for the first one.
        let shown = rollout(&process.client).await;
        if shown.is_none_or(|rollout| rollout["ended_at"].is_u64()) {
            ended += 1;
            place.add(if ended % 3 == 2 { "nan" } else { "same" });
        }
        // The first entry after a start says that it was one; those after it are what is to be interrupted.
        let length = before + random.random_range(1..=4);
        if kill % 3 == 0 {
            written(&journal, length, &process).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
            process.kill();
        } else {
            written(&journal, length - 1, &process).await;
            let delay = Duration::from_micros(random.random_range(0..40));
            tokio::task::block_in_place(|| kill_in_a_write(&place.log(), &mut process, delay));
        }
        drop(senders);
        drop(process);
        cut += usize::from(has_rest(&fs::read(place.log()).unwrap()));
        let entries = journal.entries_or_none().await;
        check_journal(&entries);
        eprintln!("kill {kill}: {} entries, the last one {:?}", entries.len(), entries.last().map(|entry| &entry.kind));
    }
    eprintln!("{cut} of {kills} kills left a part of a write");
    ends_well(&place, &journal).await;
}

/// Kills the process as soon as it writes, and a moment later.
fn kill_in_a_write(log: &Path, process: &mut Process, delay: Duration) {
    let look = || fs::metadata(log).ok().map(|found| (found.len(), found.modified().ok()));
    let (before, began) = (look(), Instant::now());
    while look() == before && began.elapsed() < LONGEST_QUIET {
        std::hint::spin_loop();
    }
    let seen = Instant::now();
    while seen.elapsed() < delay {
        std::hint::spin_loop();
    }
    process.kill();
}

/// Whether the database's log ends in frames that no commit follows, or in a part of one.
/// <https://www.sqlite.org/fileformat2.html#walformat>
fn has_rest(log: &[u8]) -> bool {
    const HEADER: usize = 32;
    const OF_FRAME: usize = 24;
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    if log.len() < HEADER {
        return !log.is_empty();
    }
    let (page, is_big_endian) = (number(8) as usize, number(0) & 1 == 1);
    let (mut at, mut sums, mut is_committed) = (HEADER, (number(24), number(28)), true);
    while at < log.len() {
        let (data, end) = (at + OF_FRAME, at + OF_FRAME + page);
        if log.len() < end {
            return true;
        }
        sums = checksum(&log[at..at + 8], sums, is_big_endian);
        sums = checksum(&log[data..end], sums, is_big_endian);
        // What an earlier round of the log left behind its end has other salts or sums.
        if log[at + 8..at + 16] != log[16..24] || (number(at + 16), number(at + 20)) != sums {
            break;
        }
        is_committed = number(at + 4) != 0;
        at = end;
    }
    !is_committed
}

/// SQLite's sums over the log, going on from those before.
fn checksum(bytes: &[u8], mut sums: (u32, u32), is_big_endian: bool) -> (u32, u32) {
    let read = if is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| read(pair[at..at + 4].try_into().unwrap());
        sums.0 = sums.0.wrapping_add(word(0)).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(word(4)).wrapping_add(sums.0);
    }
    sums
}

/// Waits until the journal is so long; meanwhile no version has a share that was not written down.
async fn written(journal: &Journal, length: u64, process: &Process) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // What is live was written down before: the shares are read first, and no rollout begins that is not written.
        let shares = shares(&process.client).await;
        let written = written_shares(&journal.entries_or_none().await);
        for (version, share) in shares {
            let most = written.get(&version).copied().unwrap_or(0.0);
            assert!(share <= most + 1e-9, "version {version} has {share} %, and {most} % was written down");
        }
        if journal.length().await >= length {
            break;
        }
        assert!(Instant::now() < deadline, "no {length} entries:\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The last process is left alone: what runs comes to an end, and one version has all of the traffic.
async fn ends_well(place: &Place, journal: &Journal) {
    let process = place.start().await;
    let senders = traffic(&process.client);
    let last = until("the last rollout ends", async || {
        rollout(&process.client).await.filter(|rollout| rollout["ended_at"].is_u64())
    })
    .await;
    let is_done = last["phase"]["name"] == "done";
    let serving = if is_done { &last["target"] } else { &last["stable"] }.as_u64().unwrap();
    until("one version serves", async || {
        (shares(&process.client).await == BTreeMap::from([(serving, 100.0)])).then_some(())
    })
    .await;
    check_journal(&journal.entries().await);
    drop(senders);
    process.stop().await;
}
