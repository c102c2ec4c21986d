//! Whether a new version is worse than the stable one: from counts of both to a verdict, with one stated rate of errors.
//!
//! Three looks, each a pure function of a plan and of counts, so that any of them can be repeated from what was written
//! down: [`judge_step`] compares the arms of a split, [`judge_guards`] ends what is plainly broken within a few answers,
//! [`judge_bake`] watches a version that has all of the traffic. [`Budget`] says what each may cost.
//!
//! # Theorem
//! Call a version *as good* if (1) whatever happened before, the outcome of a request does not depend on which arm answers
//! it, but for durations, which may be longer by what is discounted, and for failures, which may be fewer; and (2) once it
//! has all of the traffic, its events' outcomes have, given the past, rates and distributions within the tolerances of
//! those that the stable version's events had, or, in an hour of the week whose predictions have a reference, all of that
//! hour's predictions have distributions within the tolerance of what the reference was drawn from. A version that is as
//! good is rolled back with a probability of at most `false_abort_rate`, over the whole rollout, all metrics, shares,
//! guards and looks together, however often and whenever somebody looks.
//!
//! *Proof.* Every metric of a step is judged by evidence that is a test martingale, or a mean of such, under (1)
//! ([`two_arm`](crate::detect::two_arm)): the arm of an event is a draw of known probability given the past, because an
//! event is a request without a routing key, or the first request of a key whose point was not yet the canary's, and
//! points are hashes that nothing else depends on. Evidence of segments of different weight multiplies. A start at each
//! share, with weights of a half, a quarter, and so on, that are fixed in advance, makes a mixture of martingales again
//! (`starts`). Guards take the smaller one of two kinds of evidence, which is at most the one against (1). After promotion
//! the null is a rate or a distribution from the region that stable's finite counts leave possible: half of each share pays
//! for the chance that the region misses, half for evidence against all of the region (`bake`). Hours with a reference have
//! the smaller one of the evidence against stable's region and against the hour's, and multiply; the first half is then
//! divided over stable's region and all that references can have (`seasonal`). Ville's inequality bounds
//! each; the union bound adds up to the budget, which adds up to the rate. That a failure also needs an effect beyond the
//! tolerance only takes failures away. ∎
//!
//! # What is assumed, and where it may not hold
//! - A key whose place in the bitmap of first requests is taken is left out: by its hash alone, so (1) is untouched.
//! - Guards count every request, also repeated ones of a key. The arm of these is not drawn anew, so (1) does not hold for
//!   them one by one. The evidence must be there with any one of eight groups of keys left out, so one user with any
//!   number of failing requests ends no rollout; several heavy users whose requests fail more often than is allowed, all
//!   of them with the canary and in different groups, may. Where no request has a key there is nothing to leave out.
//! - Comparison with frozen counts is not randomised. A season that moves the traffic while a version bakes looks like the
//!   version's, unless it moves predictions alone and the hours' references know it. These were learned from rows of all
//!   requests and some weeks: a holiday is in none of them.
//! - Hours turn when they are read to have turned, which is up to two seconds late; what is counted in these two seconds is
//!   compared with the hour before.
//! - The region of a distribution rests on the chi-squared law of its likelihood ratio, good from some five events per
//!   cell on; that of a rate is exact (Clopper and Pearson 1934).
//! - One who rolls back by hand, or a timeout, a hook or a broken load, is nobody's statistics.
//!
//! # How soon
//! Guards, with the default plan, when the version's answers all have a NaN, or all fail, and stable's never: see the
//! table at [`judge_guards`]. Steps: `loadtest/results/rollout_statistics.md`.
//!
//! Invariant: a judgement is a function of the plan and the counts alone, finite whatever these are, and nothing in it
//! depends on which of the two versions has the larger share.

mod bake;
mod budget;
mod frozen;
mod guards;
mod history;
mod hours;
mod metric;
mod plan;
mod seasonal;
mod starts;
mod step;
#[cfg(test)]
mod tests;

pub use bake::judge_bake;
pub use budget::Budget;
pub use frozen::Frozen;
pub(super) use frozen::{add_arm, beyond, errors};
pub use guards::judge_guards;
pub use history::{GuardHistory, MAX_GUARD_PARTS};
pub use hours::HourHistory;
pub use plan::{AllowedRates, BorneDifferences, JudgingPlan};
pub use step::judge_step;
