//! Where artifacts come from, behind one small trait.
//!
//! A source says which versions of one model are wanted and as what, lists the files of a version, and hands out their
//! bytes from any place on, so that a download that broke off goes on. It decides nothing and keeps nothing: staging
//! checks and keeps the bytes, and the reconciler compares what is wanted with what there is. OCI and Hugging Face fit the
//! same three questions.
//!
//! Invariant: asking a source changes nothing, neither here nor there.

use super::manifest::Digest;
pub use crate::catalog::Roles;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The most characters of an answer that an error repeats.
pub(super) const SHOWN: usize = 300;

/// The most files of a version, directories among them not counted.
pub const MOST_FILES: usize = 10_000;
/// The longest path of a file within a version, bytes.
pub const LONGEST_PATH: usize = 1_024;

/// The longest that a source may take to say what is wanted or what the files of a version are, or to begin with one. The
/// parts of such an answer have limits of their own, which a source that sends a byte a second never reaches.
pub const LONGEST_ANSWER: Duration = Duration::from_mins(10);

/// What a source answers, when it does.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Where the versions of one model come from.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Which model of which registry it is, without secrets. Version 7 of one is not version 7 of another: what was fetched
    /// from one place is never taken for what is at another.
    fn place(&self) -> String;

    /// Which versions are wanted now, and as what.
    fn offer(&self) -> Asked<'_, Offer>;

    /// The files of a version.
    fn files(&self, version: u64) -> Asked<'_, Vec<RemoteFile>>;

    /// Opens a file of a version, if possible from the byte `start` on.
    fn open<'a>(&'a self, version: u64, file: &'a RemoteFile, start: u64) -> Asked<'a, Box<dyn RemoteBytes>>;
}

/// The bytes of a file, piece by piece.
pub trait RemoteBytes: Send {
    /// Where the next piece begins: 0 where the source cannot begin anywhere else.
    fn position(&self) -> u64;

    /// The next piece; nothing at the end.
    fn next(&mut self) -> Asked<'_, Option<Bytes>>;
}

/// What a source says of a model at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Every version that has a role, with where it comes from.
    pub versions: BTreeMap<u64, Lineage>,
    /// What they are wanted as.
    pub roles: Roles,
    /// What is wrong with versions that would have a role otherwise.
    pub problems: Vec<String>,
    /// When it should be asked again, if sooner than usual: something is about to be whole.
    pub again: Option<Duration>,
}

/// Where a version comes from, as its registry knows it: shown with the model, and interpreted by nobody but for what its
/// files are and when it was registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lineage {
    /// Where its files are.
    pub source: String,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The names that point to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Whatever else is written on it: git commit, data version, who approved it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What its files are now, see [`identity`]; nothing where the source cannot tell before they are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Digest>,
    /// Unix milliseconds when it was registered with these files, by the registry's clock: in a store, when the newest of
    /// them was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<u64>,
}

/// A file of a version at its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path within the version, parts divided by `/`; see [`checked_path`].
    pub path: String,
    /// How long it is, if the source knows.
    pub size: Option<u64>,
    /// What its bytes are, if the source says so: staging refuses others.
    pub sha256: Option<Digest>,
    /// What changes whenever its bytes do, if the source has such a thing: HTTP's entity tag.
    pub e_tag: Option<String>,
}

/// What these files are, by their paths, sizes and tags, in any order; nothing if one of them has no tag.
#[must_use]
pub fn identity(files: &[RemoteFile]) -> Option<Digest> {
    let line = |file: &RemoteFile| Some(format!("{}\n{:?}\n{}\n", file.path, file.size, file.e_tag.as_ref()?));
    let mut lines = files.iter().map(line).collect::<Option<Vec<String>>>()?;
    lines.sort();
    Some(Digest::of(lines.concat().as_bytes()))
}

/// Why a source did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached, or broke off.
    #[error("{place} cannot be reached: {cause}")]
    Unreachable {
        /// Which part of it.
        place: String,
        /// What the system says.
        cause: String,
    },
    /// It is busy or broken, and says so.
    #[error("{place} answered {status}: {message}")]
    Failing {
        /// Which part of it.
        place: String,
        /// Its status.
        status: u16,
        /// What it says.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It does not let us in.
    #[error("{place} refuses us ({status}): {message}")]
    Refused {
        /// Which part of it.
        place: String,
        /// Its status.
        status: u16,
        /// What it says, and what may help.
        message: String,
    },
    /// What was asked for is not there.
    #[error("{what} is not there: {message}")]
    Absent {
        /// What was asked for.
        what: String,
        /// What the source says.
        message: String,
    },
    /// It is there, but not all of it, or no longer as it was listed.
    #[error("{what} is not whole: {reason}")]
    NotWhole {
        /// What was asked for.
        what: String,
        /// What is lacking.
        reason: String,
    },
    /// What it answers makes no sense, or is more than may be.
    #[error("{place} answered what is not understood: {reason}")]
    Unexpected {
        /// Which part of it.
        place: String,
        /// What was expected and what came.
        reason: String,
    },
}

impl SourceError {
    /// Whether asking again later may help without anybody's doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failing { .. } | Self::NotWhole { .. })
    }
}

/// Waits for an answer no longer than `limit`. `what` is it, for people.
///
/// # Errors
/// [`SourceError::Unreachable`] when it is not whole by then, and what the source says.
pub(super) async fn in_time<T>(limit: Duration, what: &str, asked: Asked<'_, T>) -> Result<T, SourceError> {
    let late = |_elapsed| SourceError::Unreachable {
        place: what.to_owned(),
        cause: format!("no whole answer within {limit:?}"),
    };
    tokio::time::timeout(limit, asked).await.map_err(late)?
}

/// The beginning of a text, as one line.
pub(super) fn shown(text: &str) -> String {
    let plain = text.trim().chars().take(SHOWN);
    plain.map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The path of a file within a version: relative, without `.`, `..`, empty parts, backslashes or anything that is not
/// plain text, so that it stays within whatever it is put into.
///
/// # Errors
/// What is wrong with it.
pub fn checked_path(path: &str) -> Result<&str, SourceError> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']);
    let is_fine = path.len() <= LONGEST_PATH && path.split('/').all(is_plain) && !path.contains(char::is_control);
    let refused = || SourceError::Unexpected {
        place: "the list of files".to_owned(),
        reason: format!("expected paths within the version, found {path:?}"),
    };
    is_fine.then_some(path).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_version() {
        for path in ["model.onnx", "data/model.onnx", "a b/c.data", "…", ".hidden"] {
            assert_eq!(checked_path(path), Ok(path));
        }
        let long = "a/".repeat(600) + "b";
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\\b", "c:x", "a\nb", "a\0", &long] {
            assert!(checked_path(path).is_err(), "{path:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_is_not_waited_for() {
        let never: Asked<'_, ()> = Box::pin(std::future::pending());
        let error = in_time(Duration::ZERO, "the list of files", never).await.unwrap_err();
        assert_eq!(error.to_string(), "the list of files cannot be reached: no whole answer within 0ns");
        assert!(error.may_pass());
        assert_eq!(in_time(Duration::ZERO, "it", Box::pin(async { Ok(7) })).await, Ok(7));
    }

    #[test]
    fn what_is_down_may_come_back_and_what_is_refused_stays_refused() {
        let place = || "the registry".to_owned();
        assert!(SourceError::Unreachable { place: place(), cause: String::new() }.may_pass());
        assert!(!SourceError::Refused { place: place(), status: 403, message: String::new() }.may_pass());
    }
}
