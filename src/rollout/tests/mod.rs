//! Rollouts without a gateway: a course, a journal in memory, and whoever publishes.

mod crashes;
mod machine;
mod orders;
mod progress;
mod torn;
mod without;
mod world;
