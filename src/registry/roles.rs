//! What the aliases of a registry mean here: words that people choose, and champion is the usual one for what serves.
//!
//! Invariant: one version at most is stable, and it is neither the canary nor the shadow nor among the warm ones.

use super::source::Roles;
use std::collections::BTreeMap;

/// The most versions of one model that aliases may give roles to.
pub const MOST_ROLES: usize = 64;

/// What an alias wants of the version that it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// That it serves.
    Stable,
    /// That it is kept loaded and warm, and is the next to get traffic.
    Canary,
    /// That it is kept loaded and warm, to answer copies of requests.
    Shadow,
}

/// Aliases and what they want where nothing else is said: champion serves, challenger is the next to get traffic, shadow
/// is kept warm.
#[must_use]
pub fn default_roles() -> BTreeMap<String, RoleKind> {
    let named = [("champion", RoleKind::Stable), ("challenger", RoleKind::Canary), ("shadow", RoleKind::Shadow)];
    named.into_iter().map(|(alias, role)| (alias.to_owned(), role)).collect()
}

/// What versions are wanted as, by the aliases that point to them. Where several are the canary, or the shadow, the highest
/// is, and the others are kept warm.
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
            (Some(RoleKind::Canary), _) => {
                roles.canary = roles.canary.max(Some(version));
                roles.warm.insert(version);
            }
            (Some(RoleKind::Shadow), _) => {
                roles.shadow = roles.shadow.max(Some(version));
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
    let stable = stable.map(|(_, version)| version);
    roles = Roles { stable, ..roles.only(|version| stable != Some(version)) };
    if roles.warm.len() >= MOST_ROLES {
        return Err(format!("expected fewer than {MOST_ROLES} warm versions, found {}", roles.warm.len()));
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(aliases: &[(&'static str, u64)]) -> Result<Roles, String> {
        let kinds = default_roles().into_iter().chain([("next".to_owned(), RoleKind::Canary)]).collect();
        assign(aliases.iter().copied(), &kinds)
    }

    #[test]
    fn no_alias_wants_nothing() {
        assert_eq!(assigned(&[]), Ok(Roles::default()));
        assert_eq!(assigned(&[("production", 3)]), Ok(Roles::default()), "a word without a meaning");
    }

    #[test]
    fn each_alias_gives_its_role_and_what_is_no_stable_is_warm() {
        let roles = assigned(&[("shadow", 5), ("challenger", 4), ("champion", 3)]).unwrap();
        assert_eq!(roles, Roles { stable: Some(3), canary: Some(4), shadow: Some(5), warm: [4, 5].into() });
    }

    #[test]
    fn the_highest_of_several_canaries_is_the_one_and_a_stable_canary_is_none() {
        let roles = assigned(&[("next", 6), ("challenger", 4), ("champion", 3)]).unwrap();
        assert_eq!((roles.canary, roles.warm), (Some(6), [4, 6].into()));
        let roles = assigned(&[("challenger", 3), ("shadow", 3), ("champion", 3)]).unwrap();
        assert_eq!(roles, Roles { stable: Some(3), ..Roles::default() });
    }

    #[test]
    fn what_was_written_down_before_there_were_canaries_is_read() {
        let roles: Roles = serde_json::from_str(r#"{"stable":4,"warm":[5,6]}"#).unwrap();
        assert_eq!(roles, Roles { stable: Some(4), warm: [5, 6].into(), ..Roles::default() });
        let whole = Roles { canary: Some(5), shadow: Some(6), ..roles };
        assert_eq!(serde_json::from_str::<Roles>(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
    }
}
