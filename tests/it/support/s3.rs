//! A real S3 server: versitygw with a directory behind it, a process with a port, keys and files of its own.
//!
//! Built once with Go, of one version, below the target directory, and kept.
//!
//! Invariant: the process ends with the value, and its keys are in no text.

use super::python::{lock, run, say, target_directory};
use super::wait::until;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tidegate::registry::manifest::FileManifest;

const VERSION: &str = "v1.8.0";
/// The one bucket.
pub(crate) const BUCKET: &str = "models";
/// Whose key it is.
pub(crate) const KEY_ID: &str = "gateway";
/// The key. It opens a server that ends with the test.
pub(crate) const KEY: &str = "correct-horse-battery";

/// The server's program, built if it is not there yet.
fn program() -> &'static PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = target_directory().join(format!("tools/versitygw-{VERSION}"));
        let program = folder.join("versitygw");
        let _lock = lock("versitygw.lock");
        if !program.exists() {
            say("building an S3 server; this takes some minutes, once");
            let package = format!("github.com/versity/versitygw/cmd/versitygw@{VERSION}");
            run(Command::new("go").args(["install", &package]).env("GOBIN", &folder));
        }
        program
    })
}

/// A started server with an empty bucket.
pub(crate) struct S3Server {
    child: Child,
    port: u16,
    /// A client that may do everything.
    pub(crate) client: AmazonS3,
    directory: tempfile::TempDir,
}

impl S3Server {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::create_dir_all(directory.path().join("files").join(BUCKET)).unwrap();
        fs::create_dir(directory.path().join("sidecar")).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.args(["--quiet", "--health", "/health", "--port", &format!("127.0.0.1:{port}"), "posix"]);
        // What an object is called beside its bytes is in files of its own: not every file system has attributes.
        command.arg("--sidecar").arg(directory.path().join("sidecar")).arg(directory.path().join("files"));
        command.env_clear().env("ROOT_ACCESS_KEY", KEY_ID).env("ROOT_SECRET_KEY", KEY);
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let requests = reqwest::Client::builder().no_proxy().build().unwrap();
        until("the S3 server answers", async || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(directory.path().join("log")).unwrap();
                panic!("the S3 server ended with {status}:\n{log}");
            }
            let answer = requests.get(format!("http://127.0.0.1:{port}/health")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
        let client = AmazonS3Builder::new().with_endpoint(format!("http://127.0.0.1:{port}")).with_allow_http(true);
        let client = client.with_access_key_id(KEY_ID).with_secret_access_key(KEY).with_bucket_name(BUCKET);
        Self { child, port, client: client.build().unwrap(), directory }
    }

    /// `[registry.s3]`, with the key in a file.
    pub(crate) fn settings(&self, key: &str) -> String {
        let (id_file, key_file) = (self.directory.path().join("id"), self.directory.path().join("key"));
        fs::write(&id_file, KEY_ID).unwrap();
        fs::write(&key_file, key).unwrap();
        format!(
            "[registry.objects]\npoll_interval = \"1s\"\n[registry.s3]\nendpoint = \"http://127.0.0.1:{}\"\n\
             allow_http = true\naccess_key_id = {{ file = {id_file:?} }}\nsecret_access_key = {{ file = {key_file:?} }}\n",
            self.port
        )
    }

    /// Writes an object.
    pub(crate) async fn put(&self, path: &str, bytes: impl Into<PutPayload>) {
        self.client.put(&Path::from(path), bytes.into()).await.unwrap();
    }

    /// Writes the files of a directory below a prefix, each as `change` makes it, and at last their manifest as it would
    /// be of the directory.
    pub(crate) async fn put_version(
        &self,
        directory: &std::path::Path,
        prefix: &str,
        change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
    ) {
        let manifest = FileManifest::of_directory(directory).unwrap();
        for file in manifest.files() {
            let bytes = change(&file.path, fs::read(directory.join(&file.path)).unwrap());
            self.put(&format!("{prefix}/{}", file.path), bytes).await;
        }
        self.put(&format!("{prefix}/manifest.json"), serde_json::to_vec(&manifest).unwrap()).await;
    }

    /// Ends it and waits for its end.
    pub(crate) async fn stop(mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        until("the S3 server ends", async || self.child.try_wait().unwrap()).await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
