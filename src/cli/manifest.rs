//! `tidegate manifest`: says what a version is made of, before it is copied anywhere.
//!
//! Invariant: a manifest that is there is whole; a command that is ended early leaves the one before.

use super::{ManifestArgs, say};
use crate::registry::MANIFEST_FILE;
use crate::registry::manifest::FileManifest;
use std::io::Write;

/// Reads all files of a version's directory, and writes their manifest beside them.
pub(super) fn run(args: &ManifestArgs) -> Result<(), String> {
    let target = args.directory.join(MANIFEST_FILE);
    let manifest = FileManifest::of_directory(&args.directory)
        .map_err(|error| format!("no manifest of {}: {error}", args.directory.display()))?;
    let written = || {
        let mut file = tempfile::NamedTempFile::with_prefix_in(".manifest", &args.directory)?;
        serde_json::to_writer_pretty(&mut file, &manifest)?;
        file.write_all(b"\n")?;
        file.as_file().set_permissions(permissions())?;
        file.persist(&target)?;
        Ok::<(), std::io::Error>(())
    };
    written().map_err(|error| format!("cannot write {}: {error}", target.display()))?;
    let bytes: u64 = manifest.files().iter().map(|file| file.size).sum();
    say(&format!("{}: {} files, {bytes} bytes", target.display(), manifest.files().len()));
    Ok(())
}

/// As of any file that is not secret; a temporary one is readable by its owner alone.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
