//! Alarms that may be looked at at any time, with a budget of false pages that a user sets.
//!
//! A test with a fixed threshold that is repeated every second raises a false alarm sooner or later, and one that is
//! corrected for the number of looks finds nothing. Evidence that is a supermartingale under "no drift" may be looked at
//! whenever one likes: it stays below any bound with a chance that the bound names.
//!
//! # Theorem
//! Let a column's counted rows be independent draws of a distribution that may change over time but always lies in
//! `Θ0` (see [`null`](self)), and let each defect be at most as frequent as its limit. For each start `s` let `E_s(t)`
//! be the evidence since `s`, 1 before it, and let its weight `w_s` be known when the start is made. Let
//! `M(t) = Σ_s w_s E_s(t)` over the starts that live. Then the expected number of alarms `N(T)`, an alarm being a look
//! with `M ≥ c` after which all starts are forgotten, is at most `W(T) / c`, where `W(T)` is all weight paid out until
//! `T`.
//!
//! *Proof.* `E_s` is an e-process from `s` on: a mixture of likelihoods over the supremum of likelihoods of the null is at
//! most the ratio against the true distribution, a nonnegative martingale with mean 1 ([`null`](self), [`rate`](self)).
//! So `M(t) − W(t)` is dominated by a process with nonpositive drift; forgetting starts only takes away. Stopping at the
//! successive alarms and at `T`: each alarm takes at least `c` out of `M`, which was paid in as weight, so
//! `c · E[N(T)] ≤ E[W(T)]`. ∎ (Shiryaev-Roberts e-detectors: Shin, Ramdas and Rinaldo 2022, arXiv 2203.03532. Universal
//! inference: Wasserman, Ramdas and Balakrishnan 2020. No looks are left out by assumption: between looks nothing can be
//! raised.)
//!
//! `W(T) ≤ max(1, T / 30 days)` ([`schedule`](self)), and `c` is `m / share` for `m` columns: over all columns and thirty
//! days at most `share` alarms are expected, however the columns depend on each other, because expectations add. Drift and
//! defects of a column are decided on apart, by parts of each weight that add up to it: the theorem holds for each with its
//! part, and the expectations add up to the column's. A column that raises the version's alert along with its own counts
//! twice in `m`.
//!
//! The distribution that the reference was drawn from is itself unknown. Over all columns the chance that one of them is
//! outside the region of `Θ0` is at most the reference's share of the budget; it is paid once in a version's life and
//! rests on the chi-squared law of the likelihood ratio, good from some five rows per group in use on; groups of categories,
//! which the reference's own counts decide on, are held to the law of the categories. Where hours of the week are compared
//! with, a column has 168 references, and each gets a 168th of the column's risk.
//!
//! # What is assumed, and what is done about it
//! - *Independent rows.* Rows of one request are not: one of them is counted. What repeats itself over a short time
//!   (retries, sessions, runs) is measured as a design effect, by which counts are divided ([`dispersion`](self)); the
//!   theorem then holds as far as the estimate does. Where requests have routing keys, evidence must hold with any one of
//!   eight groups of keys left out, so that one heavy user is no drift.
//! - *Effect.* A page needs, besides evidence, that the lower 95 % limit of the effect is above a floor. That only takes
//!   alarms away.
//! - *Tolerance.* A live distribution that differs from the reference's counts by no more than the radius never raises an
//!   alarm with more than the stated chance, however much traffic there is.
//!
//! # The pieces
//! [`AlarmPlan`] divides the budget; [`ColumnAlarm`] and [`RateAlarm`] look at counters; [`Latch`] keeps what was raised
//! until it is over. [`RateCeiling`] and [`ColumnRegion`] are the evidence alone, for whoever has thresholds of his own.
//!
//! Invariant: looking is a function of the counters and the time handed in, and nothing else.

mod alone;
mod asked;
mod budget;
mod column;
mod dispersion;
mod effect;
mod finding;
mod latch;
mod null;
mod numbers;
mod rate;
mod schedule;
#[cfg(test)]
mod tests;
mod watched;

pub use alone::{ColumnRegion, RateCeiling};
pub use asked::Asked;
pub use budget::{AlarmPlan, AlarmSettings, WatchedRate};
pub use column::ColumnAlarm;
pub use finding::{Cause, Finding};
pub use latch::Latch;
pub use watched::{RateAlarm, RateRule};
