//! Takes keys out of sections, converts them, writes down what is wrong, and reports what is left over.
//!
//! By hand and not with serde's derive, because serde stops at the first error and forgets the line of the second. A
//! reader always yields a value, a default where there is none, so that the code that builds settings reads straight
//! through; whether the result may be used is decided once, by the list of problems.
//!
//! Invariant: a key that nobody asked for becomes a problem; [`Reader::finish`] is the only way out of a section.

use std::collections::BTreeSet;

use super::problem::{Origin, Problem, ProblemKind};
use super::source::Sources;
use super::suggest;
use super::tree::{Entry, Section, Value};
use super::values::{self, Parsed};

/// What every reader of one configuration writes to.
pub(super) struct Ledger<'s> {
    pub(super) problems: Vec<Problem>,
    /// Environment variables that settings name.
    pub(super) named_variables: BTreeSet<String>,
    /// For what settings only name: secrets.
    pub(super) sources: &'s Sources<'s>,
}

/// A section while its keys are taken.
pub(super) struct Reader<'r, 's> {
    /// Dotted path of the section, empty for the root.
    path: String,
    /// Where the section stands.
    origin: Option<Origin>,
    section: Section,
    /// Keys that were asked for.
    known: Vec<&'static str>,
    pub(super) ledger: &'r mut Ledger<'s>,
}

/// A value with its place.
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<'s> Ledger<'s> {
    pub(super) fn new(sources: &'s Sources<'s>) -> Self {
        Self { problems: Vec::new(), named_variables: BTreeSet::new(), sources }
    }

    fn record(&mut self, origin: Origin, path: String, kind: ProblemKind) {
        self.problems.push(Problem { origin, path, kind });
    }
}

impl<'r, 's> Reader<'r, 's> {
    pub(super) fn root(section: Section, ledger: &'r mut Ledger<'s>) -> Self {
        Self { path: String::new(), origin: None, section, known: Vec::new(), ledger }
    }

    /// Where this section stands in the file, if it does.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// Whether anything was given for a key; ask before taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.section.contains_key(key)
    }

    /// The value of a key, if it was given and is right.
    pub(super) fn value<T>(&mut self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        self.located(key, parse).map(|located| located.value)
    }

    /// As [`Self::value`], with the place. All values that were given are checked, the one of highest precedence wins.
    pub(super) fn located<T>(&mut self, key: &'static str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<Located<T>> {
        let mut chosen = None;
        for entry in self.take(key) {
            match parse(&entry.value) {
                Ok(value) => chosen = Some(Located { value, origin: entry.origin }),
                Err(kind) => self.problem(entry.origin, key, kind),
            }
        }
        chosen
    }

    /// A section below this one; read as empty when it was not given, so that its defaults come out.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Reader<'_, 's>) -> T) -> T {
        let (mut merged, mut origin) = (Section::new(), None);
        for entry in self.take(key) {
            match entry.value {
                Value::Table(section) => {
                    origin.get_or_insert(entry.origin);
                    for (key, mut entries) in section {
                        merged.entry(key).or_default().append(&mut entries);
                    }
                }
                other => self.problem(entry.origin, key, values::refused("a table", &other)),
            }
        }
        self.child(join(&self.path, key), origin, merged).finish(read)
    }

    /// A list of sections below this one.
    pub(super) fn tables<T>(&mut self, key: &'static str, read: impl Fn(&mut Reader<'_, 's>) -> T) -> Vec<T> {
        let expected = format!("a list of tables, [[{}]]", join(&self.path, key));
        let all = self.items(key, &expected, read, |value| Err(values::refused("a table", value)));
        all.into_iter().map(|located| located.value).collect()
    }

    /// A list of sections below this one, of which each may be something shorter. What is neither becomes a problem and is
    /// left out.
    pub(super) fn items<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&mut Reader<'_, 's>) -> T,
        short: impl Fn(&Value) -> Parsed<T>,
    ) -> Vec<Located<T>> {
        let mut all = Vec::new();
        for entry in self.take(key) {
            let Value::List(items) = entry.value else {
                self.problem(entry.origin, key, values::refused(expected, &entry.value));
                continue;
            };
            for (index, Entry { origin, value }) in items.into_iter().enumerate() {
                let path = format!("{}[{index}]", join(&self.path, key));
                match value {
                    Value::Table(section) => {
                        let value = self.child(path, Some(origin.clone()), section).finish(&read);
                        all.push(Located { value, origin });
                    }
                    other => match short(&other) {
                        Ok(value) => all.push(Located { value, origin }),
                        Err(kind) => self.ledger.record(origin, path, kind),
                    },
                }
            }
        }
        all
    }

    /// All sections below this one, whose keys are names chosen by the user.
    pub(super) fn named_tables<T>(
        &mut self,
        check_name: impl Fn(&str) -> Result<(), ProblemKind>,
        read: impl Fn(&mut Reader<'_, 's>) -> T,
    ) -> Vec<(String, T)> {
        let mut all = Vec::new();
        for (name, entry) in self.drain() {
            if let Err(kind) = check_name(&name) {
                self.problem(entry.origin.clone(), &name, kind);
            }
            match entry.value {
                Value::Table(section) => {
                    let value = self.below(&name, entry.origin, section).finish(&read);
                    all.push((name, value));
                }
                other => self.problem(entry.origin, &name, values::refused("a table", &other)),
            }
        }
        all
    }

    /// All keys of this section, where they are names chosen by the user.
    pub(super) fn drain(&mut self) -> Vec<(String, Entry)> {
        let flatten =
            |(name, entries): (String, Vec<Entry>)| entries.into_iter().map(move |entry| (name.clone(), entry));
        std::mem::take(&mut self.section).into_iter().flat_map(flatten).collect()
    }

    /// Writes down a problem of a key of this section.
    pub(super) fn problem(&mut self, origin: Origin, key: &str, kind: ProblemKind) {
        self.ledger.record(origin, join(&self.path, key), kind);
    }

    /// The dotted path of a key of this section.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Writes down a problem of this section as a whole. One that was not given has no place and no problems.
    pub(super) fn own_problem(&mut self, kind: ProblemKind) {
        if let Some(origin) = self.origin() {
            self.ledger.record(origin, self.path.clone(), kind);
        }
    }

    /// Reads the section, then reports every key that was not asked for.
    pub(super) fn finish<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let result = read(&mut self);
        for (name, entries) in std::mem::take(&mut self.section) {
            let hint = match suggest::closest(&name, self.known.iter().copied()) {
                Some(close) => format!("did you mean {close:?}?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            for entry in entries {
                let kind = ProblemKind::UnknownKey { name: name.clone(), hint: hint.clone() };
                self.ledger.record(entry.origin, self.path.clone(), kind);
            }
        }
        result
    }

    /// All values of a key, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Vec<Entry> {
        self.known.push(key);
        self.section.remove(key).unwrap_or_default()
    }

    /// A reader of a section below a key of this one.
    pub(super) fn below(&mut self, key: &str, entry_origin: Origin, section: Section) -> Reader<'_, 's> {
        self.child(join(&self.path, key), Some(entry_origin), section)
    }

    fn child(&mut self, path: String, origin: Option<Origin>, section: Section) -> Reader<'_, 's> {
        Reader { path, origin, section, known: Vec::new(), ledger: self.ledger }
    }
}

/// A dotted path, with quotes around keys that need them.
fn join(path: &str, key: &str) -> String {
    let is_bare = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if is_bare(key) && !key.is_empty() { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
