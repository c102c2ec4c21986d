//! The object stores that are configured, as places that sources come from.
//!
//! Invariant: a model's address is looked at before anything starts, and a store before anything is asked of it.

use super::AppError;
use crate::config::{Role, SourceSettings};
use crate::registry::objects::{ObjectAddress, ObjectSource, Stores};
use crate::registry::roles::RoleKind;
use crate::registry::source::Source;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// One model of a store.
///
/// # Errors
/// [`AppError::Objects`] when its address is none, or its store cannot be asked as it is configured.
pub fn source(settings: &SourceSettings, stores: &Stores) -> Result<Arc<dyn Source>, AppError> {
    let address: ObjectAddress = settings.uri.parse().map_err(AppError::Objects)?;
    let store = stores.open(&address.store).map_err(AppError::Objects)?;
    Ok(Arc::new(ObjectSource::new(store, address.prefix, kinds(settings), Arc::new(SystemTime::now))))
}

/// What the model's aliases mean.
pub(super) fn kinds(settings: &SourceSettings) -> BTreeMap<String, RoleKind> {
    let kind = |role: Role| match role {
        Role::Stable => RoleKind::Stable,
        Role::Canary => RoleKind::Canary,
        Role::Shadow => RoleKind::Shadow,
    };
    settings.roles.iter().map(|(alias, role)| (alias.clone(), kind(*role))).collect()
}
