//! The directories that are written to: the state's and the cache's, and what is free on their disks.
//!
//! A directory that is not there is not made: the gateway makes it, if it may write where it will be.
//!
//! Invariant: what is written is a file without a name that anybody looks for, and it is gone when the check is over.

use super::Look;
use super::finding::Finding;
use crate::app::cache_path;
use crate::registry::staging::{self, Cache};
use crate::store::Store;
use crate::telemetry::logs::sized;
use std::io::{self, Write};
use std::path::Path;

/// Below this the state is in danger: snapshots of a thousand features are some megabytes.
const LEAST_FREE: u64 = 100 << 20;

/// Looks at the state's directory.
pub(super) async fn check_state(look: &mut Look<'_>) {
    const CHECK: &str = "state";
    let path = &look.config.state.path;
    if let Some(finding) = not_writable(CHECK, path, "state.path") {
        return look.note(finding);
    }
    let finding = match Store::examine(path).await {
        Ok(true) => Finding::ok(CHECK, format!("{} is writable, and its database is whole", path.display())),
        Ok(false) => Finding::ok(CHECK, format!("{} is writable; the database is made at the start", path.display())),
        Err(error) => {
            let remedy = "use the release that wrote it, or another state.path; a database that is damaged is put \
                          aside at the next start and a new one begun";
            Finding::problem(CHECK, format!("{}: {error}", path.display()), remedy)
        }
    };
    look.note(finding);
    let finding = match free_bytes(path) {
        Ok(free) if free < LEAST_FREE => {
            let found = format!("{} are free where {} is", sized(free), path.display());
            Finding::warning("disk of the state", found, "make room, or set state.path to another disk")
        }
        Ok(free) => Finding::ok("disk of the state", format!("{} are free", sized(free))),
        Err(error) => Finding::skipped("disk of the state", format!("it cannot be asked: {error}")),
    };
    look.note(finding);
}

/// Looks at the cache's directory; `needed` bytes are still to be fetched.
pub(super) fn check_cache(look: &mut Look<'_>, needed: u64) {
    const CHECK: &str = "cache";
    if look.config.models.values().all(|model| model.source.is_none()) {
        return look.note(Finding::skipped(CHECK, "no model comes from a registry"));
    }
    let path = cache_path(look.config);
    if let Some(finding) = not_writable(CHECK, &path, "registry.cache.path") {
        return look.note(finding);
    }
    look.note(Finding::ok(CHECK, format!("{} is writable", path.display())));
    let room = Room {
        free: free_bytes(&path),
        used: Cache::bytes_in(&path),
        most: look.config.registry.cache.max_bytes,
        needed,
    };
    look.note(room.judge());
}

/// What there is room for.
struct Room {
    free: io::Result<u64>,
    used: u64,
    most: u64,
    needed: u64,
}

impl Room {
    fn judge(&self) -> Finding {
        const CHECK: &str = "disk of the cache";
        let free = match &self.free {
            Ok(free) => *free,
            Err(error) => return Finding::skipped(CHECK, format!("it cannot be asked: {error}")),
        };
        let (limit, needed) = (sized(self.most), sized(self.needed));
        if self.needed > self.most {
            let found = format!("versions that are to be fetched take {needed}, registry.cache.max_bytes is {limit}");
            return Finding::problem(CHECK, found, "raise registry.cache.max_bytes");
        }
        if self.needed > free {
            let found = format!("versions that are to be fetched take {needed}, {} are free", sized(free));
            return Finding::problem(CHECK, found, "make room, or set registry.cache.path to another disk");
        }
        let may_grow = self.most.saturating_sub(self.used);
        if may_grow > free {
            let found = format!("{} are free, and the cache may grow by {}", sized(free), sized(may_grow));
            let remedy = format!("set registry.cache.max_bytes to at most {}", sized(self.used.saturating_add(free)));
            return Finding::warning(CHECK, found, format!("{remedy}, or make room"));
        }
        Finding::ok(CHECK, format!("{} are free, the cache may grow by {}", sized(free), sized(may_grow)))
    }
}

/// What is wrong with a directory, if it cannot be written to.
fn not_writable(check: &str, path: &Path, setting: &str) -> Option<Finding> {
    let existing = existing(path);
    let mut builder = tempfile::Builder::new();
    let tried = builder.prefix(".tidegate-doctor").tempfile_in(existing).and_then(|mut file| file.write_all(b"doctor"));
    let cause = tried.err()?;
    let found = format!("{} cannot be written to: {cause}", existing.display());
    let remedy = format!("let the user that tidegate runs as write there, or set {setting} to another directory");
    Some(Finding::problem(check, found, remedy).expected("a directory that can be written to"))
}

/// The path itself, or what is there of it.
fn existing(path: &Path) -> &Path {
    let there = path.ancestors().find(|part| part.exists());
    there.filter(|part| !part.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn free_bytes(path: &Path) -> io::Result<u64> {
    staging::free_bytes(existing(path))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn judged(free: u64, used: u64, most: u64, needed: u64) -> Finding {
        Room { free: Ok(free), used, most, needed }.judge()
    }

    #[test]
    fn room_is_compared_with_what_is_needed_and_with_what_may_be() {
        let gibi = 1 << 30;
        assert_eq!(judged(30 * gibi, 0, 20 * gibi, gibi).status, Status::Ok);
        let growing = judged(5 * gibi, gibi, 20 * gibi, gibi);
        assert_eq!(growing.status, Status::Warning);
        assert!(growing.remedy.unwrap().contains("registry.cache.max_bytes to at most 6.0GiB"));
        let full = judged(gibi / 2, 0, 20 * gibi, gibi);
        assert!(full.status == Status::Problem && full.remedy.unwrap().contains("registry.cache.path"));
        let large = judged(30 * gibi, 0, gibi, 2 * gibi);
        assert!(large.status == Status::Problem && large.remedy.unwrap().contains("raise registry.cache.max_bytes"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_what_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        assert_eq!(existing(&deep), root.path());
        assert_eq!(existing(Path::new("no/such/place")), Path::new("."));
        assert!(not_writable("state", &deep, "state.path").is_none() && !deep.exists());
        assert!(free_bytes(&deep).unwrap() > 0);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left behind");
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let finding = not_writable("state", &file.join("state"), "state.path").unwrap();
        assert!(finding.remedy.unwrap().contains("state.path"));
    }
}
