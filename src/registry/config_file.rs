//! The `config.pbtxt` beside a model's versions, as listings carry it.
//!
//! A listing is made every second, so the file is read only when its size or its time changed. A file that is being
//! written may be cut off in the middle and still read well, with a policy missing at its end; so a changed file waits
//! until it has settled, as versions do, and until then what was said before holds and nothing new is loaded.
//!
//! A file that cannot be read is no reason to fall back to a default: the default might serve the version that the file
//! was written to hold back. It is reported, and the model stays as it is until the file is mended.
//!
//! Invariant: what a file says and what is wrong with it are logged once per change of the file.

use super::directory::QUIET;
use super::{CONFIG_FILE, RegistryError, pbtxt, triton};
use crate::catalog::{PresentConfig, TritonConfig};
use std::fs::{self, File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use twox_hash::XxHash64;

/// What the file of the model in `directory` says now. `previous` is what the last listing held of it.
pub(super) fn look(directory: &Path, model: &str, previous: Option<&PresentConfig>, now: SystemTime) -> PresentConfig {
    let path = directory.join(CONFIG_FILE);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return PresentConfig::default(),
        Err(cause) => {
            let says = Err(RegistryError::Unreadable { path, cause }.to_string());
            return PresentConfig { fingerprint: None, settled: true, says };
        }
    };
    let fingerprint = fingerprint(&metadata);
    let unchanged = previous.filter(|previous| previous.fingerprint == Some(fingerprint));
    if let Some(known) = unchanged.filter(|known| known.settled) {
        return known.clone();
    }
    let is_old = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
    if unchanged.is_none() && is_old.is_none_or(|age| age < QUIET) {
        let says = previous.map_or_else(|| PresentConfig::default().says, |previous| previous.says.clone());
        return PresentConfig { fingerprint: Some(fingerprint), settled: false, says };
    }
    let says = read(&path, &metadata, model).map(Arc::new).map_err(|error| error.to_string());
    log(model, &says);
    PresentConfig { fingerprint: Some(fingerprint), settled: true, says }
}

fn fingerprint(metadata: &Metadata) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    (metadata.is_file(), metadata.len(), metadata.modified().ok()).hash(&mut hasher);
    hasher.finish()
}

fn read(path: &Path, metadata: &Metadata, model: &str) -> Result<TritonConfig, RegistryError> {
    let unreadable = |cause| RegistryError::Unreadable { path: path.to_owned(), cause };
    // Opening a pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    let mut text = Vec::new();
    let limit = u64::try_from(pbtxt::SIZE_LIMIT).unwrap_or(u64::MAX);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut text)).map_err(unreadable)?;
    Ok(triton::interpret(&pbtxt::parse(&text)?, model)?)
}

fn log(model: &str, says: &Result<Arc<TritonConfig>, String>) {
    match says {
        Ok(config) if config.not_used.is_empty() => {}
        Ok(config) => {
            tracing::info!(model, keys = config.not_used.join(", "), "these keys of {CONFIG_FILE} are not used");
        }
        Err(reason) => tracing::error!(model, reason, "the model stays as it is until its {CONFIG_FILE} is mended"),
    }
}
