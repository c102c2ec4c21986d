//! A model below a prefix of an object store as a source of versions.
//!
//! ```text
//!  <prefix>/aliases.json            {"champion": 7, "challenger": 8}, if there is one
//!  <prefix>/7/model.onnx            and what lies beside it
//!  <prefix>/7/manifest.json         if there is one: see manifest
//! ```
//! With `aliases.json` its aliases are roles as MLflow's are. Without it the highest version that is whole is stable, as in
//! a directory. An object that is written is written whole, so the one file of aliases moves several at once.
//!
//! A version that is written over in place: what was fetched under its number stays until the listing is another *and*
//! whole; then its [`identity`] differs from what is in the cache, it is fetched anew, and swapped when all of it is here.
//! While it is half written over, it counts as what it was. What has been seen is kept in this process: a start in the
//! middle of that sees a version that is not whole, and takes the highest one that is.
//!
//! A version with a manifest whose bytes are wrong is found by fetching it, and refused then: what served before goes on.
//! A start with an empty cache has nothing before it, and serves nothing until the version is mended, removed or not named.
//!
//! Invariant: a file is opened as it was listed (`If-Match`), so that the bytes of two uploads are never mixed.

use super::listing::{QUIET, Seen, Top, Verdict, parse_aliases, small, top};
use super::read;
use super::store::Store;
use crate::registry::roles::{self, RoleKind};
use crate::registry::source::{Asked, Lineage, Offer, RemoteBytes, RemoteFile, Roles, Source, SourceError, identity};
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The file that says which version an alias points to.
pub const ALIASES_FILE: &str = "aliases.json";
/// The largest file of aliases that is read, bytes.
const LARGEST_ALIASES: u64 = 1 << 20;
/// The most versions that are looked at, from the highest down, for one that is whole.
pub const MOST_LOOKED_AT: usize = 16;

/// What says what time it is.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A model of an object store.
pub struct ObjectSource {
    store: Store,
    prefix: Path,
    kinds: BTreeMap<String, RoleKind>,
    clock: Clock,
    /// Whether aliases say what is wanted, as they did once since the start.
    has_aliases: AtomicBool,
    /// What is known of the versions that were last looked at.
    seen: Mutex<BTreeMap<u64, Seen>>,
}

impl fmt::Debug for ObjectSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ObjectSource").field(&self.store.name_of(&self.prefix)).finish_non_exhaustive()
    }
}

/// What one look finds.
#[derive(Default)]
struct Look {
    seen: BTreeMap<u64, Seen>,
    offer: Offer,
}

impl ObjectSource {
    /// The model below a prefix. `kinds` says what aliases mean, `clock` is compared with the times of objects.
    #[must_use]
    pub fn new(store: Store, prefix: Path, kinds: BTreeMap<String, RoleKind>, clock: Clock) -> Self {
        Self { store, prefix, kinds, clock, has_aliases: AtomicBool::new(false), seen: Mutex::default() }
    }

    async fn ask_offer(&self) -> Result<Offer, SourceError> {
        let top = top(&self.store, &self.prefix, ALIASES_FILE).await?;
        let look = match &top.aliases {
            Some(_) => {
                self.has_aliases.store(true, Ordering::Relaxed);
                self.by_aliases(&top).await?
            }
            // A tool that replaces the file may take it away first; the highest version, which nobody named, must not serve
            // meanwhile. Whoever takes it away for good starts the gateway anew.
            None if self.has_aliases.load(Ordering::Relaxed) => {
                let what = self.store.name_of(&self.prefix);
                let reason = format!("its {ALIASES_FILE} was there and is not; what it said last stays");
                return Err(SourceError::NotWhole { what, reason });
            }
            None => self.by_number(&top).await?,
        };
        *self.lock() = look.seen;
        Ok(look.offer)
    }

    async fn by_aliases(&self, top: &Top) -> Result<Look, SourceError> {
        let file = top.aliases.as_ref().expect("the file was listed");
        let text = small(&self.store, &file.location, (file.size, file.e_tag.clone()), LARGEST_ALIASES).await?;
        let said = |reason: String| self.store.unexpected(format!("{ALIASES_FILE}: {reason}"));
        let aliases = parse_aliases(&text).map_err(said)?;
        let pairs = aliases.iter().map(|(alias, version)| (alias.as_str(), *version));
        let roles = roles::assign(pairs, &self.kinds).map_err(said)?;
        let mut look = Look::default();
        for version in roles.named().collect::<BTreeSet<_>>() {
            // One that is not whole is offered all the same: it is wanted, and asking for its files says what it lacks.
            self.look_at(version, &mut look).await?;
            let named = aliases.iter().filter(|(_, number)| **number == version);
            let names = named.map(|(alias, _)| alias.clone()).collect();
            self.add(version, names, &mut look);
        }
        look.offer.roles = roles;
        Ok(look)
    }

    async fn by_number(&self, top: &Top) -> Result<Look, SourceError> {
        let mut look = Look::default();
        for &version in top.versions.iter().rev().take(MOST_LOOKED_AT) {
            let verdict = self.look_at(version, &mut look).await?;
            if look.seen[&version].last_whole().is_some() {
                self.add(version, Vec::new(), &mut look);
                look.offer.roles = Roles { stable: Some(version), ..Roles::default() };
            }
            if let Verdict::Lacking(reason) = verdict {
                look.offer.problems.push(self.not_whole(version, reason).to_string());
            }
            if look.offer.roles.stable.is_some() {
                return Ok(look);
            }
        }
        if top.versions.is_empty() {
            let message = "no directory below it is named by a number, and there is no aliases.json".to_owned();
            return Err(SourceError::Absent { what: self.store.name_of(&self.prefix), message });
        }
        Ok(look)
    }

    /// Looks at a version, and keeps what is seen.
    async fn look_at(&self, version: u64, look: &mut Look) -> Result<Verdict, SourceError> {
        let before = self.lock().get(&version).cloned();
        let now = (self.clock)();
        let seen = Seen::look(&self.store, &self.of(version), before.as_ref(), now).await?;
        let verdict = seen.judge(now);
        if verdict == Verdict::Waiting {
            look.offer.again = Some(QUIET);
        }
        look.seen.insert(version, seen);
        Ok(verdict)
    }

    fn add(&self, version: u64, aliases: Vec<String>, look: &mut Look) {
        let seen = &look.seen[&version];
        let identity = seen.last_whole().and_then(|files| identity(files));
        let (source, registered_at) = (self.store.name_of(&self.of(version)), seen.last_written());
        let lineage = Lineage { source, aliases, identity, registered_at, ..Lineage::default() };
        look.offer.versions.insert(version, lineage);
    }

    /// The files of a version as it was last whole.
    fn ask_files(&self, version: u64) -> Result<Vec<RemoteFile>, SourceError> {
        let seen = self.lock().get(&version).cloned();
        let reason = match seen {
            Some(seen) => match (seen.last_whole(), seen.judge((self.clock)())) {
                (Some(files), _) => return Ok(files.to_vec()),
                (None, Verdict::Lacking(reason)) => reason,
                (None, _) => format!("it must stay as it is for {QUIET:?}"),
            },
            None => "it was not looked at yet".to_owned(),
        };
        Err(self.not_whole(version, reason))
    }

    fn not_whole(&self, version: u64, reason: String) -> SourceError {
        SourceError::NotWhole { what: self.store.name_of(&self.of(version)), reason }
    }

    fn of(&self, version: u64) -> Path {
        self.prefix.clone().join(version.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for ObjectSource {
    fn place(&self) -> String {
        format!("{} below {:?}", self.store.asked.place, self.prefix.as_ref())
    }

    fn offer(&self) -> Asked<'_, Offer> {
        Box::pin(self.ask_offer())
    }

    fn files(&self, version: u64) -> Asked<'_, Vec<RemoteFile>> {
        Box::pin(async move { self.ask_files(version) })
    }

    fn open<'a>(&'a self, version: u64, file: &'a RemoteFile, start: u64) -> Asked<'a, Box<dyn RemoteBytes>> {
        Box::pin(async move { read::open(&self.store, &self.of(version), file, start).await })
    }
}
