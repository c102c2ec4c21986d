//! tidegate: a model inference gateway with monitoring built in.

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
pub mod route;
pub mod serve;
pub mod sketch;
pub mod telemetry;
pub mod tensor;
