//! The data plane: socket to response.
//!
//! ```text
//!  acceptor ─▶ least busy worker ─▶ connection ─▶ paths ─▶ predict: body ▶ pick ▶ decode ▶ run ▶ record ▶ encode
//!                                     │ HTTP/1.1     └──▶ inspect: health, metadata
//!                                     ▼ HTTP/2
//!                                   http2: many requests at once ─▶ body ▶ least busy worker ─▶ predict: pick ▶ …
//! ```
//! Where a version is tried on copies, some of what the stable one was asked and answered is given to it afterwards
//! (`copies`).
//!
//! Every worker is one thread with a runtime of its own, its own instance of every model, and its own counters; a
//! connection stays on its worker, so nothing on this path is shared but the catalog cell, and what workers hand to each
//! other of the requests on HTTP/2 connections (`spread`). Read [`predict`] first.
//!
//! Invariant: a panic while answering one request costs that request a 500 and nothing else.

pub mod acceptor;
mod body;
mod budget;
mod call;
pub mod connection;
mod copies;
mod http2;
mod inspect;
mod outbox;
mod paths;
pub mod predict;
mod refusals;
pub mod respond;
mod round_notes;
mod socket;
pub mod spread;
mod timing;
mod trial;
mod turns;
mod waiting;
pub mod worker;

use crate::catalog::Catalog;
use crate::observe::ServerRecorder;
use std::sync::Arc;
use std::time::Duration;

/// What every worker shares.
#[derive(Debug)]
pub struct Gate {
    /// What is live.
    pub catalog: Arc<Catalog>,
    /// Counts that belong to no model.
    pub recorder: ServerRecorder,
    /// Limits on what clients may do.
    pub limits: Limits,
    /// Whether the process is on its way out: readiness answers no, work goes on.
    pub draining: std::sync::atomic::AtomicBool,
}

/// Limits on what clients may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body, bytes.
    pub max_body: usize,
    /// The longest wait for a whole body.
    pub body_timeout: Duration,
    /// The longest wait for a whole request head, from the end of the request before.
    pub idle_timeout: Duration,
}

impl Gate {
    /// Whether the process should get traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining.load(std::sync::atomic::Ordering::Relaxed) && self.catalog.snapshot().is_ready()
    }
}
