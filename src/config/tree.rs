//! The file as a tree of sections, keys and values that remember where they come from.
//!
//! Between the TOML parser and the reader, because variables and flags have to be laid over the file's values *before*
//! anything is checked: a key holds all values that were given for it, lowest precedence first, and each of them is
//! checked, also those that are overridden.
//!
//! Invariant: the values of a key are ordered by precedence.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem, ProblemKind};

/// Longest piece of a value that a problem repeats, in characters.
const MAX_QUOTED: usize = 60;

/// Keys with all values that were given for each, lowest precedence first.
pub(super) type Section = BTreeMap<String, Vec<Entry>>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value before it is known what it should be.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A TOML string.
    Text(String),
    /// From a variable or flag: may stand for a string or a number.
    Untyped(OsString),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// What no setting accepts, described.
    Other(&'static str),
    List(Vec<Entry>),
    Table(Section),
}

impl Value {
    /// The text of a string, from the file or from elsewhere.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Untyped(text) => text.to_str(),
            _ => None,
        }
    }

    /// The value as a problem repeats it.
    pub(super) fn describe(&self) -> String {
        let quoted = |text: &str| match text.char_indices().nth(MAX_QUOTED) {
            Some((end, _)) => format!("{:?}…", &text[..end]),
            None => format!("{text:?}"),
        };
        match self {
            Self::Text(text) => quoted(text),
            Self::Untyped(text) => text.to_str().map_or_else(|| "text that is not UTF-8".to_owned(), quoted),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(flag) => flag.to_string(),
            _ => self.describe_type().to_owned(),
        }
    }

    /// What kind of value it is, for values that must not be repeated.
    pub(super) fn describe_type(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Other(description) => description,
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// The tree of a file, or all of its syntax errors.
pub(super) fn parse(text: &str) -> Result<Section, Vec<Problem>> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(section(table.into_inner(), &lines));
    }
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let origin = Origin::Line(lines.number(error.span().map_or(0, |span| span.start)));
        // One mistake makes the parser stumble several times; its first complaint about a line is the useful one.
        if problems.iter().all(|problem| problem.origin != origin) {
            let kind = ProblemKind::Syntax { reason: error.message().to_owned() };
            problems.push(Problem { origin, path: String::new(), kind });
        }
    }
    Err(problems)
}

/// A table with the line of each of its keys.
fn section(table: DeTable<'_>, lines: &Lines) -> Section {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = Origin::Line(lines.number(key.span().start));
            let entry = Entry { origin, value: convert(value.into_inner(), lines) };
            (key.into_inner().into_owned(), vec![entry])
        })
        .collect()
}

/// A value of the parser as one of ours.
fn convert(value: DeValue<'_>, lines: &Lines) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(digits) => match i128::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("an integer that is too large"),
        },
        DeValue::Float(digits) => match digits.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => Value::Other("an unreadable float"),
        },
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| list_entry(item, lines)).collect()),
        DeValue::Table(table) => Value::Table(section(table, lines)),
    }
}

/// One item of an array with the line on which it starts.
fn list_entry(item: Spanned<DeValue<'_>>, lines: &Lines) -> Entry {
    let origin = Origin::Line(lines.number(item.span().start));
    Entry { origin, value: convert(item.into_inner(), lines) }
}

/// Where the lines of a text start.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(newlines.map(|(place, _)| place + 1)).collect())
    }

    /// The number, from 1, of the line that holds a byte.
    fn number(&self, place: usize) -> usize {
        self.0.partition_point(|start| *start <= place)
    }
}
