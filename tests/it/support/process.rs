//! The real binary, as a user starts it.
//!
//! Its environment is empty but for what a test sets, so that neither a variable of the developer's shell nor a library
//! that happens to be installed decides a test.

use super::client::Client;
use super::wait::{PATIENCE, until};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A started gateway.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) client: Client,
}

/// A command with an empty environment, but for a directory of its own for what outlives it.
pub(crate) fn command(arguments: &[&str]) -> Command {
    static COMMANDS: AtomicUsize = AtomicUsize::new(0);
    let state = format!("state-{}-{}", std::process::id(), COMMANDS.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new(BINARY);
    command.env_clear().args(arguments).stdin(Stdio::null());
    command.env("TIDEGATE_STATE", Path::new(env!("CARGO_TARGET_TMPDIR")).join(state));
    command
}

impl Process {
    /// Starts the gateway on free ports and waits until it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        Self::start_command(command).await
    }

    /// Starts a command that serves on ports it says in its log, and waits until it is ready.
    pub(crate) async fn start_command(command: Command) -> Self {
        let process = Self::listening(command).await;
        process.client.wait_until_ready().await;
        process
    }

    /// Starts a command with a last argument and waits until it listens, whether or not it has anything to serve.
    pub(crate) async fn start_unready(mut command: Command, last: &Path) -> Self {
        command.arg(last);
        Self::listening(command).await
    }

    async fn listening(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = follow(child.stderr.take().unwrap());
        let addresses = until("the gateway says where it listens", async || {
            let text = log.lock().unwrap().clone();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("ended with {status}:\n{text}");
            }
            let line = text.lines().find(|line| line.contains("listening"))?;
            Some((address(line, "http=")?, address(line, "admin=")?))
        })
        .await;
        Self { child, log, client: Client::new(addresses.0, addresses.1) }
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by name: `TERM`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Kills it at once, as by the power going off.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the process ends", async || self.child.try_wait().unwrap()).await
    }

    /// Ends it as an operator would; it must agree.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that must end by itself: its success, standard output and standard error.
pub(crate) fn run(mut command: Command) -> (ExitStatus, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{command:?} did not end by itself:\n{}", err.lock().unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // The readers end with the pipes; their last bytes may still be on the way.
    while Arc::strong_count(&out) + Arc::strong_count(&err) > 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = |pipe: Arc<Mutex<String>>| pipe.lock().unwrap().clone();
    (status, text(out), text(err))
}

/// Reads a pipe into a string until it closes.
fn follow(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let writer = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            writer.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    text
}

fn address(line: &str, field: &str) -> Option<SocketAddr> {
    line.split_whitespace().find_map(|word| word.strip_prefix(field)?.parse().ok())
}
