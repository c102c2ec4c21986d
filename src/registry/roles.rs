//! What the aliases of a registry mean here: words that people choose, and champion is the usual one for what serves.
//!
//! Invariant: one version at most is stable, and it is not among the warm ones.

use super::source::Roles;
use std::collections::BTreeMap;

/// The most versions of one model that aliases may give roles to.
pub const MOST_ROLES: usize = 64;

/// What an alias wants of the version that it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// That it serves.
    Stable,
    /// That it is kept loaded and warm without a share.
    Warm,
}

/// Aliases and what they want where nothing else is said: champion serves, challenger and shadow are kept warm.
#[must_use]
pub fn default_roles() -> BTreeMap<String, RoleKind> {
    let named = [("champion", RoleKind::Stable), ("challenger", RoleKind::Warm), ("shadow", RoleKind::Warm)];
    named.into_iter().map(|(alias, role)| (alias.to_owned(), role)).collect()
}

/// What versions are wanted as, by the aliases that point to them.
///
/// # Errors
/// What was expected and found: two stable versions, or more versions than may be.
pub fn assign<'a>(
    aliases: impl IntoIterator<Item = (&'a str, u64)>,
    kinds: &BTreeMap<String, RoleKind>,
) -> Result<Roles, String> {
    let mut roles = Roles::default();
    let mut stable: Option<(&str, u64)> = None;
    for (alias, version) in aliases {
        match (kinds.get(alias), stable) {
            (None, _) => {}
            (Some(RoleKind::Warm), _) => {
                roles.warm.insert(version);
            }
            (Some(RoleKind::Stable), Some((other, number))) if number != version => {
                return Err(format!(
                    "expected one stable version, found {number} ({other:?}) and {version} ({alias:?})"
                ));
            }
            (Some(RoleKind::Stable), Some(_)) => {}
            (Some(RoleKind::Stable), None) => stable = Some((alias, version)),
        }
    }
    roles.stable = stable.map(|(_, version)| version);
    roles.warm.retain(|version| roles.stable != Some(*version));
    if roles.warm.len() >= MOST_ROLES {
        return Err(format!("expected fewer than {MOST_ROLES} warm versions, found {}", roles.warm.len()));
    }
    Ok(roles)
}
