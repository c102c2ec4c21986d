//! One reference profile of several that were counted on the same edges.
//!
//! Training data often lies in parts, one per day or per shard, and is profiled where it lies. Counters are integers and
//! add up exactly. Mean and standard deviation are floats, whose sum depends on the order of addition: parts are
//! therefore sorted by their text before anything is added, so that any order of files gives the same bytes.
//!
//! What cannot be known of the whole is left out: how many distinct values it has, unless every bin holds one, and hours
//! of the week where a part has other coarse groups than the whole. A category that a part does not list has no rows
//! there, unless that part has unlisted ones.
//!
//! Profiles have no name and no epoch, so the same one twice is refused instead of counted twice.
//!
//! Invariant: counters of the result are sums of those of the parts, and it is as consistent as they are.

use super::moments::{Moments, scale_of};
use super::{Category, Column, Kind, Profile, ProfileError, Source};
use std::collections::BTreeMap;

pub(super) fn merge(profiles: &[Profile]) -> Result<Profile, ProfileError> {
    let mut texts =
        profiles.iter().map(|profile| Ok((profile.to_json()?, profile))).collect::<Result<Vec<_>, ProfileError>>()?;
    texts.sort_by(|left, right| left.0.cmp(&right.0));
    if texts.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(ProfileError::SameProfileTwice);
    }
    let parts: Vec<&Profile> = texts.into_iter().map(|(_, profile)| profile).collect();
    let Some(first) = parts.first() else { return Err(ProfileError::NothingToMerge) };
    let merged = Profile {
        rows: sum(&parts, |part| part.rows).ok_or_else(|| too_many("rows"))?,
        source: merge_sources(&parts)?,
        created: parts.iter().filter_map(|part| part.created.clone()).max(),
        frozen_from_traffic: first.frozen_from_traffic,
        inputs: merge_side(&parts, "inputs", |part| &part.inputs)?,
        outputs: merge_side(&parts, "outputs", |part| &part.outputs)?,
        ..Profile::default()
    };
    merged.validate()?;
    Ok(merged)
}

/// Training data of several formats counts as CSV, which says no more than that it was given; traffic is another thing.
fn merge_sources(parts: &[&Profile]) -> Result<Source, ProfileError> {
    let first = parts[0].source;
    match parts.iter().find(|part| part.source != first) {
        None => Ok(first),
        Some(other) if first == Source::Live || other.source == Source::Live => Err(unmergeable(
            "source",
            format!("{first:?}").to_lowercase(),
            format!("{:?}", other.source).to_lowercase(),
        )),
        Some(_) => Ok(Source::Csv),
    }
}

fn merge_side(
    parts: &[&Profile],
    side: &'static str,
    columns: impl Fn(&Profile) -> &[Column],
) -> Result<Vec<Column>, ProfileError> {
    let wanted = columns(parts[0]).len();
    if let Some(other) = parts.iter().find(|part| columns(part).len() != wanted) {
        let count = |count: usize| format!("{count} columns");
        return Err(unmergeable(side, count(wanted), count(columns(other).len())));
    }
    (0..wanted)
        .map(|index| merge_columns(&parts.iter().map(|part| &columns(part)[index]).collect::<Vec<_>>()))
        .collect()
}

/// Merges the same column of every part.
fn merge_columns(parts: &[&Column]) -> Result<Column, ProfileError> {
    let first = parts[0];
    parts.iter().try_for_each(|part| check_alike(first, part))?;
    let total = |field: fn(&Column) -> u64| sum(parts, |part| field(part)).ok_or_else(|| too_many("counts"));
    let counts = (0..first.counts.len())
        .map(|bin| sum(parts, |part| part.counts[bin]).ok_or_else(|| too_many("counts")))
        .collect::<Result<Vec<u64>, _>>()?;
    let mut merged = Column {
        tensor: first.tensor.clone(),
        index: first.index,
        name: first.name.clone(),
        kind: first.kind,
        statistic: first.statistic,
        rows: total(|column| column.rows)?,
        missing: total(|column| column.missing)?,
        negative_infinite: total(|column| column.negative_infinite)?,
        positive_infinite: total(|column| column.positive_infinite)?,
        other: total(|column| column.other)?,
        outer_means: outer_means(parts, &counts),
        edges: first.edges.clone(),
        counts,
        categories: merge_categories(parts)?,
        critical: parts.iter().any(|part| part.critical),
        ..Column::default()
    };
    set_moments(&mut merged, parts);
    merged.distinct = if parts.len() == 1 { first.distinct } else { merged.distinct_values() };
    merged.hour_of_week = merge_hours(&merged, parts);
    Ok(merged)
}

/// Whether two parts describe the same column on the same edges.
fn check_alike(first: &Column, part: &Column) -> Result<(), ProfileError> {
    let unlike = |field, expected: String, found: String| {
        Err(ProfileError::Unmergeable { column: first.name.clone(), field, expected, found })
    };
    let place = |column: &Column| match column.statistic {
        None => format!("\"{}\" at {} of {}", column.name, column.index, column.tensor),
        Some(statistic) => format!("\"{}\", the {statistic} of {}", column.name, column.tensor),
    };
    if place(first) != place(part) {
        return unlike("its place", place(first), place(part));
    }
    if first.kind != part.kind {
        return unlike("its kind", first.kind.to_string(), part.kind.to_string());
    }
    if first.edges.len() != part.edges.len() {
        let bins = |column: &Column| format!("{} edges", column.edges.len());
        return unlike("what it was counted on", bins(first), bins(part));
    }
    let differing = first.edges.iter().zip(&part.edges).position(|(left, right)| left.total_cmp(right).is_ne());
    if let Some(edge) = differing {
        return unlike("an edge of its bins", first.edges[edge].to_string(), part.edges[edge].to_string());
    }
    Ok(())
}

/// All categories with their rows, the most frequent first, equal ones by name.
fn merge_categories(parts: &[&Column]) -> Result<Option<Vec<Category>>, ProfileError> {
    if parts[0].kind != Kind::String {
        return Ok(None);
    }
    let listed = |part: &Column| -> BTreeMap<String, u64> {
        part.categories.iter().flatten().map(|category| (category.value.clone(), category.count)).collect()
    };
    let of_parts: Vec<BTreeMap<String, u64>> = parts.iter().map(|part| listed(part)).collect();
    let mut rows = BTreeMap::<&String, u64>::new();
    for (value, count) in of_parts.iter().flatten() {
        let row = rows.entry(value).or_default();
        *row = row.checked_add(*count).ok_or_else(|| too_many("counts"))?;
    }
    for (part, listed) in parts.iter().zip(&of_parts) {
        if let Some(value) = rows.keys().find(|value| part.other > 0 && !listed.contains_key(**value)) {
            return Err(ProfileError::Unmergeable {
                column: part.name.clone(),
                field: "a category",
                expected: format!("{value:?}"),
                found: format!("not listed, beside {} rows of unlisted ones,", part.other),
            });
        }
    }
    let mut merged: Vec<Category> =
        rows.into_iter().map(|(value, count)| Category { value: value.clone(), count }).collect();
    merged.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.value.cmp(&right.value)));
    Ok(Some(merged))
}

/// Means of the outermost bins, if every part that has values there says so.
fn outer_means(parts: &[&Column], counts: &[u64]) -> Option<[f64; 2]> {
    if let [only] = parts {
        return only.outer_means;
    }
    let ends = [0, counts.len().checked_sub(1)?];
    let mut means = [0.0; 2];
    for (end, (mean, bin)) in means.iter_mut().zip(ends).enumerate() {
        let with_values = parts.iter().filter(|part| part.counts[bin] > 0);
        let known = with_values.map(|part| Some((part.outer_means?[end], part.counts[bin])));
        let known = known.collect::<Option<Vec<_>>>()?;
        let edges = (parts[0].edges[bin], parts[0].edges[bin + 1]);
        // An empty bin has no mean; none is better than one that was made up.
        let (&(only, _), scale) = (known.first()?, scale_of(edges));
        let mut moments = Moments::default();
        known.iter().for_each(|&(mean, count)| moments.merge(Moments::summarized(count, mean / scale, 0.0)));
        *mean = if known.len() == 1 { only } else { moments.finish(edges, scale).0 };
    }
    Some(means)
}

fn set_moments(merged: &mut Column, parts: &[&Column]) {
    let values = |part: &Column| part.counts.iter().fold(part.other, |sum, &count| sum.saturating_add(count));
    let known: Vec<(u64, [f64; 4])> = parts
        .iter()
        .filter_map(|part| Some((values(part), [part.minimum?, part.maximum?, part.mean?, part.std?])))
        .collect();
    let minimum = known.iter().map(|(_, [minimum, ..])| *minimum).reduce(f64::min);
    let maximum = known.iter().map(|(_, [_, maximum, ..])| *maximum).reduce(f64::max);
    (merged.minimum, merged.maximum) = (minimum, maximum);
    let (Some(minimum), Some(maximum)) = (minimum, maximum) else { return };
    let range = (minimum, maximum);
    let scale = scale_of(range);
    let mut moments = Moments::default();
    for &(count, [.., mean, std]) in &known {
        moments.merge(Moments::summarized(count, mean / scale, std / scale));
    }
    let (mean, std) = match known.as_slice() {
        // What is not added to anything stays as it is, to the last bit.
        [(_, [.., mean, std])] => (*mean, *std),
        _ => moments.finish(range, scale),
    };
    (merged.mean, merged.std) = (Some(mean), Some(std));
}

/// Counts by hour, where the groups of every part are those of the whole.
fn merge_hours(merged: &Column, parts: &[&Column]) -> Option<Vec<Vec<u64>>> {
    let groups = merged.groups();
    let hours: Vec<&Vec<Vec<u64>>> = parts.iter().map(|part| part.hour_of_week.as_ref()).collect::<Option<Vec<_>>>()?;
    let same_categories = parts.iter().all(|part| {
        let values = |column: &Column| -> Option<Vec<String>> {
            Some(column.categories.as_ref()?.iter().map(|category| category.value.clone()).collect())
        };
        values(part) == values(merged)
    });
    if !same_categories || parts.iter().any(|part| part.groups() != groups) {
        return None;
    }
    let of_hour = |hour: usize| (0..groups.count).map(|group| sum(&hours, |hours| hours[hour][group])).collect();
    (0..hours[0].len()).map(of_hour).collect()
}

fn sum<T>(parts: &[T], field: impl Fn(&T) -> u64) -> Option<u64> {
    parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(field(part)))
}

fn too_many(field: &'static str) -> ProfileError {
    unmergeable(field, "what fits 64 bits".to_owned(), "more together".to_owned())
}

fn unmergeable(field: &'static str, expected: String, found: String) -> ProfileError {
    ProfileError::UnmergeableProfiles { field, expected, found }
}
