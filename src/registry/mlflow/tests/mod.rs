//! The client and the source against a server in this process.
//!
//! Invariant: every test has a server of its own.

mod answers;
mod downloads;
mod offers;
mod server;
mod writes;

use super::{MlflowAccess, MlflowClient, MlflowSource, default_roles};
use crate::registry::source::{Source, SourceError};
use server::Server;
use std::sync::Arc;
use std::time::Duration;

fn access(url: &str) -> MlflowAccess {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = url.parse().unwrap();
    MlflowAccess { url, credentials: None, certificate_authority: None, timeout: Duration::from_secs(30) }
}

fn client(server: &Server) -> Arc<MlflowClient> {
    Arc::new(MlflowClient::new(access(&server.url)).unwrap())
}

fn source(server: &Server, uri: &str) -> MlflowSource {
    MlflowSource::new(client(server), uri.parse().unwrap(), default_roles())
}

/// All bytes of a file from `start` on, after the place where they begin.
async fn download(source: &MlflowSource, path: &str, start: u64) -> Result<(u64, Vec<u8>), SourceError> {
    let files = source.files(1).await?;
    let file = files.into_iter().find(|file| file.path == path).unwrap();
    let mut bytes = source.open(1, &file, start).await?;
    let (begins, mut found) = (bytes.position(), Vec::new());
    while let Some(piece) = bytes.next().await? {
        found.extend_from_slice(&piece);
        assert_eq!(bytes.position(), begins + found.len() as u64);
    }
    Ok((begins, found))
}
