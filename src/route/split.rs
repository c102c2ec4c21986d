//! The split itself: 10,000 points laid out over the versions of a model.
//!
//! The layout depends on version numbers and weights alone, never on roles, because roles change in the middle of a
//! rollout (a canary that passes 50 % is `stable`) and nobody may be moved by that.
//!
//! Invariant: the spans of a split cover 0 to 9,999 without gap or overlap.

use std::cmp::Reverse;
use std::fmt;

use super::weight::{FULL_WEIGHT, Weight};
use super::{RouteError, percent_text};

/// Most versions in one split; `pick` looks at them one by one.
pub const MAX_ARMS: usize = 64;

/// What an arm of a split is to its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArmRole {
    /// The version with the largest weight; of equals, the lowest version.
    Stable,
    /// Every other version of the split.
    Canary,
}

/// One version's part in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The version that answers.
    pub version: u64,
    /// Its share.
    pub weight: Weight,
    /// What it is to the model.
    pub role: ArmRole,
}

/// Points 0 to 9,999 laid out over versions: the highest version from point 0 upward, then the next lower one, and so
/// on; the lowest ends at 9,999.
///
/// What is guaranteed when weights change, for one routing key:
///
/// - **Two versions, any weights, either direction.** Raising a version's weight moves keys to it and never away from
///   it, also while the two exchange roles, and when one of them reaches 100 % and stands alone. Whoever was in at 1 %
///   is in at 5 %. This holds for the lower version as well: it owns the points from 9,999 downward.
/// - **Any number of versions.** A key is answered by version `v` or a higher one exactly when its point is below the
///   sum of the weights of all those. So if no such sum becomes smaller, no key moves to a lower version, and shifting
///   weight between two neighbours (no version with weight between them) moves keys between those two alone.
/// - **Not guaranteed:** that a version keeps its keys when weight moves between two others on either side of it. From
///   `{1: 80, 2: 10, 3: 10}` to `{1: 75, 2: 10, 3: 15}`, half of the keys of 2 go to 3, and as many come to it from 1.
/// - A version of weight 0 owns no point, wherever it stands; one of weight 100 % owns them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// In the order in which they came.
    arms: Vec<Arm>,
    /// In order of `end`; only arms that own points.
    spans: Vec<Span>,
}

/// The points of one arm: from the end of the span before up to `end`, which is not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    end: u16,
    arm: usize,
}

impl Split {
    /// A split of versions with their weights in hundredths of a percent, in any order.
    ///
    /// # Errors
    /// When there is no version, more than [`MAX_ARMS`], one twice, or when the weights do not add up to 10,000.
    pub fn try_new(weights: &[(u64, u16)]) -> Result<Self, RouteError> {
        check(weights)?;
        let stable = weights.iter().max_by_key(|(version, weight)| (*weight, Reverse(*version)));
        let role = |version: u64| match stable {
            Some((stable, _)) if *stable == version => ArmRole::Stable,
            _ => ArmRole::Canary,
        };
        let arms = weights.iter().map(|&(version, weight)| Arm {
            version,
            weight: Weight::from_checked_hundredths(weight),
            role: role(version),
        });
        Ok(Self { arms: arms.collect(), spans: lay_out(weights) })
    }

    /// The index in [`Self::arms`] of the arm that owns a point, 0 to 9,999. Larger points belong to the owner of 9,999.
    #[must_use]
    pub fn pick(&self, point: u16) -> usize {
        let last = self.spans.len() - 1;
        let before_last = self.spans[..last].iter().find(|span| point < span.end);
        before_last.unwrap_or(&self.spans[last]).arm
    }

    /// The arms in the order in which [`Self::try_new`] got them, those of weight 0 among them.
    #[must_use]
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }
}

impl ArmRole {
    /// The role's name in headers, labels and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for ArmRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Display for Split {
    /// `1: 90 %, 2: 10 %`, in the order of the arms.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arm) in self.arms.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let percent = percent_text(u64::from(arm.weight.hundredths()));
            write!(formatter, "{separator}{}: {percent} %", arm.version)?;
        }
        Ok(())
    }
}

/// Refuses what is no split.
fn check(weights: &[(u64, u16)]) -> Result<(), RouteError> {
    if weights.is_empty() {
        return Err(RouteError::NoArms);
    }
    if weights.len() > MAX_ARMS {
        return Err(RouteError::TooManyArms { found: weights.len() });
    }
    for (index, (version, _)) in weights.iter().enumerate() {
        if weights[..index].iter().any(|(earlier, _)| earlier == version) {
            return Err(RouteError::DuplicateVersion { version: *version });
        }
    }
    let found: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if found != u64::from(FULL_WEIGHT) {
        return Err(RouteError::WrongSum { found });
    }
    Ok(())
}

/// Spans for weights that add up to 10,000: highest version first.
fn lay_out(weights: &[(u64, u16)]) -> Vec<Span> {
    let mut order: Vec<usize> = (0..weights.len()).filter(|arm| weights[*arm].1 > 0).collect();
    order.sort_by_key(|arm| Reverse(weights[*arm].0));
    let mut end = 0;
    order
        .into_iter()
        .map(|arm| {
            end += weights[arm].1;
            Span { end, arm }
        })
        .collect()
}
