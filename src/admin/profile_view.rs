//! What `/profile` shows: the live profiles of a model's versions, as `tidegate merge` takes them.
//!
//! Invariant: the answer is a [`LiveProfile`] document, also when nothing was counted yet.

use super::AdminError;
use crate::observe::live::{LiveProfile, LiveVersion};

/// A query that came is quoted in errors up to this many characters.
const QUOTED: usize = 100;

/// `GET /api/v1/models/{m}/profile`: every version, or the one that the query names.
pub(super) fn profile(name: &str, query: Option<&str>, live: &[LiveVersion]) -> Result<Vec<u8>, AdminError> {
    let wanted = query.filter(|query| !query.is_empty()).map(version).transpose()?;
    let is_wanted = |version: &&LiveVersion| wanted.is_none_or(|wanted| version.version == wanted);
    let versions: Vec<LiveVersion> =
        live.iter().filter(|version| version.model == name).filter(is_wanted).cloned().collect();
    if let (Some(version), true) = (wanted, versions.is_empty()) {
        let known: Vec<String> =
            live.iter().filter(|version| version.model == name).map(|version| version.version.to_string()).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        return Err(AdminError::UnknownVersion { name: name.to_owned(), version: version.to_string(), known });
    }
    LiveProfile::new(versions).and_then(|document| document.to_json()).map_err(AdminError::from)
}

fn version(query: &str) -> Result<u64, AdminError> {
    let number = query.strip_prefix("version=").and_then(|number| number.parse().ok());
    number.ok_or_else(|| AdminError::BadQuery {
        reason: format!(
            "the query \"{}\" is not known; expected none, or version=<number>",
            query.chars().take(QUOTED).collect::<String>()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(model: &str, version: u64) -> LiveVersion {
        LiveVersion { model: model.to_owned(), version, profile: 0, columns: Vec::new(), parts: Vec::new() }
    }

    fn shown(query: Option<&str>) -> Result<Vec<u64>, String> {
        let all = [live("m", 2), live("other", 3), live("m", 1)];
        let text = profile("m", query, &all).map_err(|error| error.to_string())?;
        Ok(LiveProfile::from_json(&text).unwrap().versions.iter().map(|version| version.version).collect())
    }

    #[test]
    fn without_a_query_every_version_of_the_model_is_shown_and_no_other() {
        assert_eq!(shown(None), Ok(vec![1, 2]));
        assert_eq!(shown(Some("")), Ok(vec![1, 2]));
        assert_eq!(profile("none", None, &[live("m", 1)]).unwrap(), b"{\"format\":1,\"versions\":[]}\n");
    }

    #[test]
    fn a_version_is_shown_alone_and_an_unknown_one_is_refused() {
        assert_eq!(shown(Some("version=2")), Ok(vec![2]));
        assert!(shown(Some("version=3")).unwrap_err().contains("version 3 of \"m\""));
        for query in ["version=", "version=x", "versions=2", "version=2&more"] {
            assert!(shown(Some(query)).unwrap_err().contains("expected none, or version="), "{query}");
        }
    }
}
