//! What the tests share: a repository, a gateway (in this process or the real binary), a client, a Python environment.
//!
//! Invariant: nothing here is shared between two tests but the Python environments, which are made once and only read.

pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod library;
pub(crate) mod load;
pub(crate) mod mlflow;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod repository;
pub(crate) mod s3;
pub(crate) mod sink;
pub(crate) mod table;
pub(crate) mod wait;
pub(crate) mod webhooks;
