//! Requests for a known version that were refused because they do not fit its signature: a kind of bad data that leaves
//! no value to count.
//!
//! Invariant: a refused request is counted here, in its answer's status, and nowhere else.

/// How a request does not fit the version that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Dimensions, or the number of values or rows.
    WrongShape,
    /// A datatype, or a value that the datatype does not have.
    WrongType,
    /// No valid request at all, or names that the signature does not have.
    Malformed,
}

/// How many kinds there are.
pub const REFUSAL_KINDS: usize = 3;

impl RefusalKind {
    /// All of them, in the order of [`Totals::refusals`](super::Totals).
    pub const ALL: [Self; REFUSAL_KINDS] = [Self::WrongShape, Self::WrongType, Self::Malformed];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongShape => "wrong_shape",
            Self::WrongType => "wrong_type",
            Self::Malformed => "malformed",
        }
    }
}
