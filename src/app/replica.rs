//! The name under which this replica counts.
//!
//! Counters of several replicas are merged by name, so no two may share one, and a replica should keep its own: its
//! snapshots lie under it. The host's name is neither: two gateways may run on one host, and a pod that is replaced gets
//! another one while its volume stays. So a name is made up once, of the host's for people and of random digits, and kept
//! beside the state that it names. Where state cannot be kept, counters begin anew with every start, and so does the name.
//!
//! Invariant: a name has 1 to 128 letters, digits, `.`, `_` and `-`.

use std::path::Path;

/// The file in the state directory.
const FILE: &str = "replica";

/// Where Linux says what the host is called.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// Longest part of a name that is the host's.
const HOST_LENGTH: usize = 64;

/// The name in a state directory that is there; a new one is written into it.
pub(super) async fn name_in(directory: &Path) -> String {
    let path = directory.join(FILE);
    let kept = tokio::fs::read_to_string(&path).await.unwrap_or_default();
    if is_name(kept.trim_end()) {
        return kept.trim_end().to_owned();
    }
    let name = made_up().await;
    if let Err(cause) = tokio::fs::write(&path, format!("{name}\n")).await {
        tracing::warn!(%cause, path = %path.display(), "the replica's name cannot be kept; set server.replica");
    }
    name
}

/// A name that no other replica has.
pub(super) async fn made_up() -> String {
    let host = tokio::fs::read_to_string(HOSTNAME).await.unwrap_or_default();
    let plain = host.trim().chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
    let mut name: String = plain.take(HOST_LENGTH).collect();
    if name.is_empty() {
        name.push_str("tidegate");
    }
    format!("{name}-{:08x}", rand::random::<u32>())
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_made_up_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let name = name_in(directory.path()).await;
        assert!(is_name(&name), "{name}");
        assert_eq!(name_in(directory.path()).await, name);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(name_in(other.path()).await, name);
    }

    #[tokio::test]
    async fn a_file_that_holds_no_name_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "\n", "two names", "a/b\n", "\u{e9}"] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let name = name_in(directory.path()).await;
            assert!(is_name(&name));
            assert_eq!(name_in(directory.path()).await, name);
        }
        std::fs::write(directory.path().join(FILE), "gateway-1\n").unwrap();
        assert_eq!(name_in(directory.path()).await, "gateway-1");
    }

    #[tokio::test]
    async fn where_nothing_can_be_kept_there_is_a_name_all_the_same() {
        assert!(is_name(&name_in(Path::new("/nowhere/at/all")).await));
    }
}
