//! Reads a file that lies beside a graph, if it is there.
//!
//! Whoever made the version made the file too, so it may be anything: of any length, a directory, a pipe. Each reader
//! says how long the file may be that it understands.
//!
//! Invariant: nothing longer than its limit is read, and nothing that is no file.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Why a file that is there is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BesideError {
    /// It is a directory, or something else that cannot be read to its end.
    #[error("it is no file")]
    NoFile,
    /// It is too long.
    #[error("it has over {limit} bytes, the limit")]
    TooLong {
        /// What its reader takes, bytes.
        limit: u64,
    },
    /// The system does not hand it out.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// The bytes of `name` in `directory`; nothing if it is not there.
///
/// # Errors
/// [`BesideError`] when it is there and cannot be read, or has more than `limit` bytes.
pub fn read(directory: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, BesideError> {
    let path = directory.join(name);
    let unreadable = |error: std::io::Error| BesideError::Unreadable(error.to_string());
    let found = match fs::metadata(&path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !found.is_file() {
        return Err(BesideError::NoFile);
    }
    let mut bytes = Vec::new();
    // One more than may be: a file may grow between a look at its length and its end.
    File::open(&path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > limit { Err(BesideError::TooLong { limit }) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_the_limit_are_read() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("short"), "abc").unwrap();
        fs::create_dir(directory.path().join("folder")).unwrap();
        let read = |name, limit| read(directory.path(), name, limit);
        assert_eq!(read("short", 3), Ok(Some(b"abc".to_vec())));
        assert_eq!(read("short", 2), Err(BesideError::TooLong { limit: 2 }));
        assert_eq!(read("folder", 9), Err(BesideError::NoFile));
        assert_eq!((read("absent", 9), read("short/below", 9)), (Ok(None), Ok(None)));
    }
}
