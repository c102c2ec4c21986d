//! Fresh rows for `churn`, and senders that keep a pace.

use tidegate::cli::draws::{Draws, FEATURES};

/// Endless fresh rows of the population that `churn` was trained on.
#[derive(Clone, Debug)]
pub(crate) struct Customers {
    draws: Draws,
    /// Added to a feature, by its index.
    pub(crate) shift: Option<(usize, f32)>,
}

impl Customers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws::new(seed), shift: None }
    }

    /// The next row.
    pub(crate) fn row(&mut self) -> Vec<f32> {
        let customer = self.draws.next().unwrap();
        let mut row = customer.features.to_vec();
        assert_eq!(row.len(), FEATURES);
        if let Some((feature, by)) = self.shift {
            row[feature] += by;
        }
        row
    }

    /// The next rows as one request's body.
    pub(crate) fn body(&mut self, rows: usize) -> String {
        let rows: Vec<Vec<f32>> = (0..rows).map(|_| self.row()).collect();
        super::table::infer_body(&rows)
    }
}
