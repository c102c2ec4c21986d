//! What a look may find, and the sums by which it decides.
//!
//! An alarm that is raised need not be raised again, but another kind of trouble in the same column is news: a feature that
//! has drifted for a week and then goes missing. So whoever keeps findings says at each look what may still be found.
//!
//! Invariant: what is not asked for adds nothing to any sum.

use super::finding::Cause;
use super::null::ln_sum;
use super::schedule::Since;

/// The most groups that a column may have: profiles make at most 24.
pub(super) const MAX_GROUPS: usize = 32;

/// What may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Drift.
    pub drift: bool,
    /// Defects, in the order of [`Cause::DEFECTS`].
    pub defects: [bool; Cause::DEFECTS.len()],
    /// A defect that is known: drift is then worth a page only by what the other values show.
    pub beside: Option<Cause>,
}

impl Default for Asked {
    /// Anything.
    fn default() -> Self {
        Self { drift: true, defects: [true; Cause::DEFECTS.len()], beside: None }
    }
}

/// What was counted since a start.
pub(super) struct Gained {
    pub(super) groups: [f64; MAX_GROUPS],
    pub(super) count: usize,
    pub(super) rows: f64,
    /// Below the first edge, and above the last.
    pub(super) outside: [f64; 2],
}

impl Gained {
    pub(super) fn groups(&self) -> &[f64] {
        &self.groups[..self.count]
    }
}

/// Evidence of one kind, over starts.
#[derive(Default)]
pub(super) struct Tally<'a> {
    terms: Vec<f64>,
    best: Option<(f64, usize, Since<'a>)>,
}

impl<'a> Tally<'a> {
    /// Adds the parts of a start of this weight, all in natural logarithms.
    pub(super) fn add(&mut self, ln_weight: f64, parts: &[f64], start: Since<'a>) {
        let weighted = ln_weight + ln_sum(parts);
        self.terms.push(weighted);
        if self.best.as_ref().is_none_or(|(most, ..)| weighted > *most) {
            let most = (0..parts.len()).max_by(|a, b| parts[*a].total_cmp(&parts[*b])).unwrap_or(0);
            self.best = Some((weighted, most, start));
        }
    }

    /// ln of the sum.
    pub(super) fn ln_evidence(&self) -> f64 {
        ln_sum(&self.terms)
    }

    /// The part and the start with most evidence.
    pub(super) fn best(&self) -> Option<(usize, Since<'a>)> {
        self.best.map(|(_, part, start)| (part, start))
    }
}
