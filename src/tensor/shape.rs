//! The dimensions of a tensor, inline.
//!
//! A `Vec` would cost every request one allocation per tensor for a handful of numbers; a fixed array of
//! [`MAX_RANK`] costs none and is `Copy`.
//!
//! Invariant: dimensions past the rank are zero, so that equality is plain equality.

use super::TensorError;
use std::fmt;

/// The most dimensions a tensor may have. ONNX models in the field stay below six; eight leaves room.
pub const MAX_RANK: usize = 8;

/// The dimensions of a tensor, outermost first. Rank 0 is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    dimensions: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// A shape of these dimensions.
    ///
    /// # Errors
    /// [`TensorError::RankOverLimit`] for more than [`MAX_RANK`] dimensions.
    pub fn try_new(dimensions: &[usize]) -> Result<Self, TensorError> {
        let mut shape = Self::default();
        for &dimension in dimensions {
            shape.try_push(dimension)?;
        }
        Ok(shape)
    }

    /// A list of `length` values.
    #[must_use]
    pub fn vector(length: usize) -> Self {
        let mut dimensions = [0; MAX_RANK];
        dimensions[0] = length;
        Self { dimensions, rank: 1 }
    }

    /// A table of `rows` × `columns` values.
    #[must_use]
    pub fn matrix(rows: usize, columns: usize) -> Self {
        let mut dimensions = [0; MAX_RANK];
        dimensions[0] = rows;
        dimensions[1] = columns;
        Self { dimensions, rank: 2 }
    }

    /// Appends an innermost dimension.
    ///
    /// # Errors
    /// [`TensorError::RankOverLimit`] when the shape is full.
    pub fn try_push(&mut self, dimension: usize) -> Result<(), TensorError> {
        let rank = usize::from(self.rank);
        if rank == MAX_RANK {
            return Err(TensorError::RankOverLimit { rank: rank + 1 });
        }
        self.dimensions[rank] = dimension;
        self.rank += 1;
        Ok(())
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dimensions(&self) -> &[usize] {
        &self.dimensions[..usize::from(self.rank)]
    }

    /// How many dimensions there are.
    #[must_use]
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// The number of elements: the product of the dimensions, 1 for a scalar.
    ///
    /// # Errors
    /// [`TensorError::TooManyElements`] when the product overflows.
    pub fn element_count(&self) -> Result<usize, TensorError> {
        self.dimensions()
            .iter()
            .try_fold(1_usize, |product, &dimension| product.checked_mul(dimension))
            .ok_or_else(|| TensorError::TooManyElements { shape: self.to_string() })
    }

    /// The size of the outermost dimension, 1 for a scalar: how many rows a batch has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.dimensions().first().copied().unwrap_or(1)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.dimensions())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.dimensions())
    }
}
