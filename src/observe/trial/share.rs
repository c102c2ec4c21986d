//! Which share of a rollout is counted, and which keys are drawn anew at it.
//!
//! A split grows from one end of its points: whoever was the canary's at the share before is so still. Of these keys the
//! arm is no draw any more, so they are no evidence; of the others it is, and the weight is what the canary gained of
//! them. The end is that of the higher version number, see [`Split`](crate::route::Split).
//!
//! Invariant: among the fresh points exactly the share that [`TrialShare::keyed_weight`] says is the canary's.

use crate::route::{FULL_WEIGHT, point_of_draw};

/// One share of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialShare {
    /// The version that is rolled out.
    pub canary: u64,
    /// The version that it is compared with.
    pub stable: u64,
    /// The canary's share now, hundredths of a percent.
    pub weight: u16,
    /// Its largest share before, hundredths of a percent.
    pub before: u16,
}

impl TrialShare {
    /// The canary's share of requests without a key, 0 to 1.
    #[must_use]
    pub fn weight(&self) -> f64 {
        f64::from(self.weight) / f64::from(FULL_WEIGHT)
    }

    /// The canary's share of the keys that are drawn anew, 0 to 1; none where no key is. At all of the traffic every key
    /// counts, and is the canary's.
    #[must_use]
    pub fn keyed_weight(&self) -> Option<f64> {
        if self.weight >= FULL_WEIGHT {
            return Some(1.0);
        }
        let gained = self.weight.checked_sub(self.before).filter(|gained| *gained > 0)?;
        Some(f64::from(gained) / f64::from(FULL_WEIGHT - self.before))
    }

    /// Whether the arm of a key is a draw at this share, by the key's hash.
    pub(super) fn is_fresh(&self, key_hash: u64) -> bool {
        let point = point_of_draw(key_hash);
        if self.weight >= FULL_WEIGHT {
            true
        } else if self.weight <= self.before {
            false
        } else if self.canary > self.stable {
            point >= self.before
        } else {
            point < FULL_WEIGHT - self.before
        }
    }
}
