//! A process that is killed at a write of its rollouts' journal, again and again: it goes on or rolls back, gives no version
//! a share that was not written down, and decides once at each step.
//!
//! The journal is watched from outside, in the database that the process writes, so that nothing in the gateway knows of
//! it: as soon as an entry is there, and some moments later, the process is killed as by the power going off.

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
    let mut ended = 0;
    for kill in 0..kills {
        let before = journal.length().await;
        let process = place.start().await;
        let senders = traffic(&process.client);
        // What runs by now was not begun by this process but for the first one.
        let shown = rollout(&process.client).await;
        if shown.is_none_or(|rollout| rollout["ended_at"].is_u64()) {
            ended += 1;
            place.add(if ended % 3 == 2 { "nan" } else { "same" });
        }
        // The first entry after a start says that it was one; those after it are what is to be interrupted.
        killed_after(&journal, before + random.random_range(1..=4), &process, random.random_range(0..3)).await;
        drop(senders);
        drop(process);
        let entries = journal.entries().await;
        check_journal(&entries);
        eprintln!("kill {kill}: {} entries, the last one {:?}", entries.len(), entries.last().map(|entry| &entry.kind));
    }
    ends_well(&place, &journal).await;
}

/// Kills the process once the journal is so long, after so many milliseconds more.
async fn killed_after(journal: &Journal, length: u64, process: &Process, delay: u64) {
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
    tokio::time::sleep(Duration::from_millis(delay)).await;
    process.signal("KILL");
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
