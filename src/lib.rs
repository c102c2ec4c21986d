//! A model inference gateway with monitoring built in.
//!
//! tidegate serves ONNX models over HTTP, swaps and splits versions while it serves, sketches every feature and every
//! prediction in the thread that served it, and judges drift and latency in the same process. This page is the map; the
//! README says how to use it.
//!
//! # Three planes, two crossings
//! ```text
//!  CONTROL   registry (directory) ─▶ publisher ─▶ catalog (one ArcSwap cell) ◀──read── admin
//!                 admin: PUT …/split ─▶┘                  │ load once per request, clone one Arc<Model>
//!  DATA      socket ─▶ serve: body ▶ pick (route) ▶ decode (protocol) ▶ engine ▶ encode ▶ answer
//!                                                      └▶ observe: integers, this worker's shard
//!  JUDGE     judge: every second, newest minus older ─▶ detect ─▶ verdicts ─▶ alert ─▶ log, webhook, API
//! ```
//! Data never waits for control or for judging. Control reaches data through the catalog cell only; data reaches judging
//! through counters only. Whatever can be worked out when a version is published is not worked out per request.
//!
//! # Rooms, lowest first
//! A room imports only rooms above it in this list; a test holds that.
//!
//! | room | job |
//! |---|---|
//! | [`error`] | whose fault something is, and what the caller may read |
//! | [`tensor`] | typed n-dimensional values, shapes, a model's signature |
//! | [`sketch`] | exact, mergeable counters: bins, categories, log-linear |
//! | [`profile`] | the reference profile: format, building, matching to a signature |
//! | [`config`] | text to validated settings |
//! | [`route`] | the weighted, sticky, nested split |
//! | [`protocol`] | bytes to tensors and back: OIP v2 and KServe V1 in JSON |
//! | [`detect`] | reference and live counters to a verdict |
//! | [`telemetry`] | metric names, series, logs |
//! | [`engine`] | load and run a model; tract and ONNX Runtime hidden here |
//! | [`observe`] | per-worker shards and windows over them |
//! | [`catalog`] | what is live, the one swap cell, the publisher |
//! | [`store`] | what outlives the process: snapshots, alerts and webhooks in SQLite |
//! | [`judge`] | looks four times a second at alarms, once at everything |
//! | [`alert`] | rules, pending, firing, resolved, sinks |
//! | [`registry`] | where versions come from; loading and warming them |
//! | [`rollout`] | new versions get their traffic on evidence, or lose it |
//! | [`report`] | what a version looks like, as JSON and as a page with pictures |
//! | [`serve`] | the data plane; start reading at [`serve::predict`] |
//! | [`admin`] | admin API, metrics page, health |
//! | [`app`] | builds every room, owns every task, drains |
//! | [`cli`] | the commands |
//!
//! # Not here yet
//! A version without a profile counts in log-linear bins and, as the stable one,
//! learns a reference from them; of strings it learns no categories, so that a string column learned from traffic drifts
//! by its missing values alone.
//!
//! # What is deliberately absent
//! No queue between serving and judging, no sidecar, no lock and no shared counter on the request path, no sampling of
//! values, and no thread pool that steals work between workers: shards and engine instances have one owner.

pub mod admin;
pub mod alert;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod detect;
pub mod engine;
pub mod error;
pub mod judge;
pub mod observe;
pub mod profile;
pub mod protocol;
pub mod registry;
pub mod report;
pub mod rollout;
pub mod route;
pub mod serve;
pub mod sketch;
pub mod store;
pub mod telemetry;
pub mod tensor;
