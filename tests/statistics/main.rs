//! What the alarms promise, by simulation: how often they are false, and how soon they are true.
//!
//! Everything is seeded, so a failure repeats. The ordinary run is small and can still fail; with `TIDEGATE_LONG=1` in the
//! environment (`loadtest/statistics.sh`) the same tests draw as much as the figures in the README rest on, and print the
//! tables. Simulated time costs nothing here: streams are drawn as counts, and the alarms are handed the time.
//!
//! Rates come with upper 95 % confidence limits (Clopper-Pearson for shares, Garwood for counts): no page in `n` months
//! is a rate of at most `3 / n`, not of zero.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails where it stands")]

mod budget;
mod detection;
mod names;
mod rates;
mod rules;
mod seasons;
mod split;
mod streams;
mod support;
