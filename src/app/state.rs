//! Opens what outlives the process, or says why it cannot be kept.
//!
//! Invariant: whatever is wrong with the directory or the database, the gateway starts.

use super::clock::unix;
use super::replica;
use crate::alert::state::AlertBook;
use crate::config::StateSettings;
use crate::registry::hooks::replay::REMEMBERED_SECONDS;
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
    /// Source, id and time of webhooks that came so lately that a copy of one would be taken; the oldest first.
    pub(super) deliveries: Vec<(String, String, Duration)>,
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
    let opened = tokio::time::timeout(PATIENCE, open_and_read(settings, &health)).await;
    let opened = opened.unwrap_or(Err(StoreError::Late(PATIENCE)));
    match opened {
        Ok(state) => {
            tracing::debug!(path = %settings.path.display(), "state is kept");
            state
        }
        Err(error) => {
            health.note(&Err(error), Duration::ZERO);
            let (alerts, deliveries) = (AlertBook::default(), Vec::new());
            let (quarantine, replica) = (Vec::new(), replica::made_up().await);
            State { health, alerts, quarantine, replica, deliveries, kept: None }
        }
    }
}

async fn open_and_read(settings: &StateSettings, health: &Arc<StateHealth>) -> Result<State, StoreError> {
    let now = unix(SystemTime::now());
    let store = Store::open(&settings.path, now).await?;
    let alerts = AlertBook::from_rows(&store.alerts().await?);
    let quarantine = store.quarantine().await?;
    let lately = now.saturating_sub(Duration::from_secs(REMEMBERED_SECONDS + 1));
    let deliveries = store.deliveries_since(lately).await?;
    let replica = replica::name_in(&settings.path).await;
    let (keeper, write) = keep(store.clone(), Arc::clone(health));
    let kept = Kept { store, keeper, write: Box::pin(write) };
    Ok(State { health: Arc::clone(health), alerts, quarantine, replica, deliveries, kept: Some(kept) })
}
