//! Opens what outlives the process, or says why it cannot be kept.
//!
//! Invariant: whatever is wrong with the directory or the database, the gateway starts.

use super::clock::unix;
use super::replica;
use crate::alert::state::AlertBook;
use crate::config::StateSettings;
use crate::store::{Keeper, QuarantineRow, StateHealth, Store, StoreError, keep};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long opening may take: a disk that hangs must not keep the gateway from serving.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of a gateway.
pub(super) struct State {
    pub(super) health: Arc<StateHealth>,
    /// Alerts as they were when the last process ended.
    pub(super) alerts: AlertBook,
    /// Bytes that were refused until then.
    pub(super) quarantine: Vec<QuarantineRow>,
    /// The name under which this process counts, unless the settings name another.
    pub(super) replica: String,
    /// None when nothing can be kept.
    pub(super) kept: Option<Kept>,
}

/// What writes the state until there is nothing more to write.
pub(super) type Write = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store that is open.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) keeper: Keeper,
    /// Writes until every keeper is gone.
    pub(super) write: Write,
}

/// Opens the state that the settings name.
pub(super) async fn open(settings: &StateSettings) -> State {
    let health = Arc::new(StateHealth::default());
    let opened = tokio::time::timeout(PATIENCE, read(settings)).await;
    let opened = opened.unwrap_or(Err(StoreError::Late(PATIENCE)));
    match opened {
        Ok((store, alerts, quarantine)) => {
            tracing::debug!(path = %settings.path.display(), "state is kept");
            let (keeper, write) = keep(store.clone(), Arc::clone(&health));
            let replica = replica::name_in(&settings.path).await;
            State { health, alerts, quarantine, replica, kept: Some(Kept { store, keeper, write: Box::pin(write) }) }
        }
        Err(error) => {
            health.note(&Err(error), Duration::ZERO);
            let (alerts, replica) = (AlertBook::default(), replica::made_up().await);
            State { health, alerts, quarantine: Vec::new(), replica, kept: None }
        }
    }
}

async fn read(settings: &StateSettings) -> Result<(Store, AlertBook, Vec<QuarantineRow>), StoreError> {
    let store = Store::open(&settings.path, unix(SystemTime::now())).await?;
    let alerts = AlertBook::from_rows(&store.alerts().await?);
    let quarantine = store.quarantine().await?;
    Ok((store, alerts, quarantine))
}
