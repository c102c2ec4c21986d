//! `tidegate merge`: what several replicas counted, or several parts of training data, as one file.
//!
//! Live profiles (of `GET /api/v1/models/{m}/profile`) are united part by part, so a file may come twice and in any order.
//! Reference profiles (`profile.json`) of parts of a data set on the same edges are added up. Which of the two a file is,
//! it says itself.
//!
//! Invariant: the output depends on what the files hold, never on their order; nothing is written unless all of them fit.

use super::{MergeArgs, say};
use crate::detect::Distances;
use crate::observe::Side;
use crate::observe::live::{ComparedColumn, LiveProfile, LiveProfileError, LiveVersion};
use crate::profile::Profile;
use crate::sketch::Live;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The largest file that is read: a thousand parts of 200 features are 50 MiB of text.
const FILE_LIMIT: u64 = 256 << 20;

/// A file's contents.
enum Document {
    Live(LiveProfile),
    Reference(Box<Profile>),
}

/// A version and, if it was counted on the reference at hand, its columns beside it.
type Compared<'a> = (&'a LiveVersion, Option<Vec<ComparedColumn>>);

/// What tells the kinds of documents apart.
#[derive(Deserialize)]
struct Peek {
    versions: Option<IgnoredAny>,
    inputs: Option<IgnoredAny>,
}

/// Merges the files.
pub(super) fn run(args: &MergeArgs) -> Result<(), String> {
    let (mut live, mut references) = (Vec::new(), Vec::new());
    for path in &args.files {
        match read(path)? {
            Document::Live(document) => live.push((path, document)),
            Document::Reference(profile) => references.push((path, *profile)),
        }
    }
    match (live.first(), references.first()) {
        (Some((live, _)), Some((reference, _))) => Err(format!(
            "{} is a live profile and {} a reference profile; they are compared with --reference, not merged",
            live.display(),
            reference.display()
        )),
        (_, None) => merge_live(args, &live),
        (None, _) if args.reference.is_some() => Err("--reference is for live profiles".to_owned()),
        (None, _) => deliver(args.output.as_deref(), &merge_references(&references)?),
    }
}

fn merge_live(args: &MergeArgs, documents: &[(&PathBuf, LiveProfile)]) -> Result<(), String> {
    // One by one, which gives the same document, so that the file that does not fit can be named.
    let mut merged = LiveProfile::new(Vec::new()).map_err(text)?;
    for (path, document) in documents {
        merged =
            LiveProfile::merge(&[merged, document.clone()]).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let bytes = merged.to_json().map_err(text)?;
    let Some(path) = &args.reference else { return deliver(args.output.as_deref(), &bytes) };
    let Document::Reference(reference) = read(path)? else {
        return Err(format!("{} is a live profile; --reference takes a profile.json", path.display()));
    };
    let shown = if args.json { compared_json(&merged, &reference)? } else { compared_text(&merged, &reference)? };
    if let Some(output) = &args.output {
        deliver(Some(output), &bytes)?;
    }
    say(shown.trim_end());
    Ok(())
}

fn merge_references(profiles: &[(&PathBuf, Profile)]) -> Result<Vec<u8>, String> {
    let all: Vec<Profile> = profiles.iter().map(|(_, profile)| profile.clone()).collect();
    let merged = Profile::merge(&all).map_err(|error| {
        // The first pair that does not fit says more than that something does not.
        let pairs = profiles
            .iter()
            .enumerate()
            .flat_map(|(index, one)| profiles[..index].iter().map(move |other| (other, one)));
        let mut refused = pairs.filter_map(|(one, other)| {
            let error = Profile::merge(&[one.1.clone(), other.1.clone()]).err()?;
            Some(format!("{} and {}: {error}", one.0.display(), other.0.display()))
        });
        refused.next().unwrap_or_else(|| error.to_string())
    })?;
    merged.to_json().map_err(text)
}

/// The versions that were counted on this reference, each with its compared columns.
fn compare<'a>(merged: &'a LiveProfile, reference: &Profile) -> Result<Vec<Compared<'a>>, String> {
    let of_version = |version: &'a LiveVersion| match version.compare(reference) {
        Ok(columns) => Ok((version, Some(columns))),
        // A file may hold several versions, and a reference belongs to one.
        Err(LiveProfileError::OtherReference { .. }) if merged.versions.len() > 1 => Ok((version, None)),
        Err(error) => Err(error.to_string()),
    };
    let compared = merged.versions.iter().map(of_version).collect::<Result<Vec<_>, String>>()?;
    if compared.iter().all(|(_, columns)| columns.is_none()) {
        return Err("no version in these files was counted on the reference profile".to_owned());
    }
    Ok(compared)
}

fn distances(column: &ComparedColumn) -> Option<Distances> {
    let live = Live { counts: &column.counts, sums: column.sums };
    column.reference.as_ref().and_then(|reference| Distances::between(reference, &live))
}

fn values(column: &ComparedColumn) -> u64 {
    column.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

fn side(column: &ComparedColumn) -> &'static str {
    if column.side == Side::Input { "input" } else { "output" }
}

/// A table for people.
fn compared_text(merged: &LiveProfile, reference: &Profile) -> Result<String, String> {
    let mut shown = String::new();
    for (version, columns) in compare(merged, reference)? {
        let (parts, rows) = (version.parts.len(), version.total().rows);
        shown.push_str(&format!("{} version {}: {parts} parts, {rows} rows\n", version.model, version.version));
        let Some(columns) = columns else {
            shown.push_str(&format!("counted on another profile, {:016x}\n\n", version.profile));
            continue;
        };
        let width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0).max("column".len());
        shown.push_str(&format!(
            "{:width$} {:6} {:>12} {:>9} {:>9} {:>9} {:>9}\n",
            "column", "side", "values", "psi", "js", "ks", "w1/std"
        ));
        columns.iter().for_each(|column| shown.push_str(&line(column, width)));
        shown.push('\n');
    }
    Ok(shown)
}

fn line(column: &ComparedColumn, width: usize) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.5}"));
    let distances = distances(column);
    format!(
        "{:width$} {:6} {:>12} {:>9} {:>9} {:>9} {:>9}\n",
        column.name,
        side(column),
        values(column),
        number(distances.map(|distances| distances.psi)),
        number(distances.map(|distances| distances.js)),
        number(distances.and_then(|distances| distances.ks)),
        number(distances.and_then(|distances| distances.wasserstein)),
    )
}

/// The same for programs, with every digit.
fn compared_json(merged: &LiveProfile, reference: &Profile) -> Result<String, String> {
    let of_column = |column: &ComparedColumn| {
        let distances = distances(column);
        json!({
            "name": column.name,
            "side": side(column),
            "values": values(column),
            "psi": distances.map(|distances| distances.psi),
            "js": distances.map(|distances| distances.js),
            "ks": distances.and_then(|distances| distances.ks),
            "wasserstein": distances.and_then(|distances| distances.wasserstein),
            "tv": distances.map(|distances| distances.tv),
        })
    };
    let versions = compare(merged, reference)?.into_iter().map(|(version, columns)| {
        let columns = columns.map(|columns| columns.iter().map(of_column).collect::<Vec<Value>>());
        json!({
            "model": version.model,
            "version": version.version.to_string(),
            "parts": version.parts.len(),
            "rows": version.total().rows,
            "columns": columns,
        })
    });
    serde_json::to_string(&json!({ "versions": versions.collect::<Vec<Value>>() })).map_err(text)
}

fn read(path: &Path) -> Result<Document, String> {
    let refused = |reason: String| format!("{}: {reason}", path.display());
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > FILE_LIMIT {
        return Err(refused(format!("{size} bytes are over the limit of {FILE_LIMIT}")));
    }
    let json = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    match serde_json::from_slice(&json) {
        Ok(Peek { versions: Some(_), .. }) => {
            LiveProfile::from_json(&json).map(Document::Live).map_err(|error| refused(error.to_string()))
        }
        Ok(Peek { inputs: Some(_), .. }) => Profile::from_json(&json)
            .map(|profile| Document::Reference(Box::new(profile)))
            .map_err(|error| refused(error.to_string())),
        Ok(_) => {
            Err(refused("neither a live profile (with versions) nor a reference profile (with inputs)".to_owned()))
        }
        Err(error) => Err(refused(format!("not a profile: {error}"))),
    }
}

/// Writes beside the target and renames, so that nobody reads half a file; to standard output without a target.
fn deliver(output: Option<&Path>, bytes: &[u8]) -> Result<(), String> {
    let Some(path) = output else {
        say(String::from_utf8_lossy(bytes).trim_end());
        return Ok(());
    };
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let written = std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
