//! Exact, mergeable summaries of what flows through: counters, never samples.
//!
//! A value becomes the number of a counter ("slot") and nothing else is kept, so that the serving path does one
//! search and one increment, merging threads, windows and replicas is addition in any order, and the summary adds no
//! error of its own to what detectors compute. Quantile sketches were considered and left: their rank error is above
//! the Kolmogorov-Smirnov critical value after about 125,000 rows, and they allocate and sort while serving.
//!
//! - [`BinLayout`]: numbers on the edges of a reference, with slots for what is not a number inside them;
//! - [`RowSearch`]: the same for whole rows, as the serving path counts them;
//! - [`CategoryLayout`]: strings of a reference;
//! - [`log_linear`]: durations, and numbers without a reference;
//! - [`ColumnLayout`]: one of these, as a recorder holds it;
//! - [`Reference`] and [`Live`]: counters of both sides, as a detector reads them.
//!
//! Invariant: for a given layout the slot of a value depends on the value alone, and every value has a slot.

mod bins;
mod categories;
mod cell_map;
mod column;
mod fixed_point;
pub mod log_linear;
mod precision;
mod reference;
mod row_search;
#[cfg(test)]
mod row_search_tests;
mod slots;
#[cfg(test)]
mod tests;
mod tile;

pub use bins::{BinLayout, MAX_BINS};
pub use categories::CategoryLayout;
pub use column::ColumnLayout;
pub use fixed_point::{FixedPoint, SUMS};
pub use precision::Precision;
pub use reference::{KEY_GROUPS, Live, Reference};
pub use row_search::{LANES, LaneFlags, RowSearch};
pub use slots::Slots;

/// Why a layout cannot be made. The fault of whoever wrote the edges: a profile, in practice.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// More bins or categories than a layout may have.
    #[error("{found} bins are over the limit of {MAX_BINS}")]
    TooManyBins {
        /// Bins that came.
        found: usize,
    },
    /// A single edge encloses nothing.
    #[error("one edge makes no bin; expected none, or at least two")]
    SingleEdge,
    /// Edges must rise strictly.
    #[error("edge {index} is {found}, expected more than {previous}")]
    UnsortedEdges {
        /// Position of the edge that is too small.
        index: usize,
        /// The edge before it.
        previous: f64,
        /// The edge.
        found: f64,
    },
    /// An edge is NaN, infinite, or not a value of the tensor's precision.
    #[error("edge {index} is {found}, expected a finite value of {precision} precision")]
    InexactEdge {
        /// Position of the edge.
        index: usize,
        /// The edge.
        found: f64,
        /// `FP32` or `FP64`.
        precision: &'static str,
    },
    /// The same category is listed twice.
    #[error("category \"{name}\" is listed twice")]
    DuplicateCategory {
        /// The category.
        name: String,
    },
}
