//! Fresh rows for `churn`, and senders that keep a pace.

use super::client::Client;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate::cli::draws::{Draws, FEATURES};
use tokio::task::JoinSet;

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

/// A sender of fresh rows in batches, as fast as they are answered, until it is dropped.
pub(crate) struct Stream {
    shift: Arc<Mutex<Option<(usize, f32)>>>,
    _sending: JoinSet<()>,
}

impl Stream {
    /// Rows of one request.
    const BATCH: usize = 40;
    /// The pause after each.
    const PAUSE: Duration = Duration::from_millis(25);

    pub(crate) fn start(client: &Client, seed: u64) -> Self {
        let shift = Arc::new(Mutex::new(None));
        let mut sending = JoinSet::new();
        let (client, wanted, mut customers) = (client.clone(), Arc::clone(&shift), Customers::new(seed));
        sending.spawn(async move {
            loop {
                customers.shift = *wanted.lock().unwrap();
                client.post("/v2/models/churn/infer", customers.body(Self::BATCH)).await.ok();
                tokio::time::sleep(Self::PAUSE).await;
            }
        });
        Self { shift, _sending: sending }
    }

    /// From now on adds `by` to the feature of this index.
    pub(crate) fn shift(&self, feature: usize, by: f32) {
        *self.shift.lock().unwrap() = Some((feature, by));
    }

    /// From now on leaves rows as they are drawn.
    pub(crate) fn stop_shifting(&self) {
        *self.shift.lock().unwrap() = None;
    }
}
