//! What the gateway promises, checked from outside: each module is one promise.
//!
//! One binary, because linking one takes longer than running most of what is in it. Tests run side by side, so every one
//! has ports, directories and processes of its own; none waits for a fixed time, they wait for conditions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails where it stands")]

mod ab_tests;
mod allocations;
mod answers;
mod bad_input;
mod bad_models;
mod clients;
mod deploy;
mod doctor;
mod drift;
mod evidently;
mod execution;
mod faults;
mod http2;
mod learn;
mod lifecycle;
mod merge;
mod metrics;
mod mlflow;
mod objects;
mod overwritten;
mod profiles;
mod quality;
mod reference_values;
mod report;
mod retrain;
mod rollout_command;
mod rollout_crashes;
mod rollouts;
mod rollouts_mlflow;
mod rollouts_without;
mod segments;
mod shadow;
mod shadow_phase;
mod split;
mod state;
mod support;
mod swap;
mod tidy;
mod trials;
mod verify;
mod webhooks;
mod write_back;
