//! Whether a profile is consistent in itself.
//!
//! Everything that later arithmetic relies on is checked here once, because a profile is a file that anything may have
//! written: after this no reader has to ask again whether counts fit edges or whether a mean is a number.
//!
//! Invariant: of a profile that passes, layouts, groups and distances can be computed without a division by zero or an
//! index out of range.

use super::{Column, FORMAT, HOURS, Kind, Profile, ProfileError, Source};
use crate::sketch::{BinLayout, CategoryLayout, FixedPoint};
use std::collections::HashSet;

pub(super) fn validate(profile: &Profile) -> Result<(), ProfileError> {
    if profile.format > FORMAT {
        return Err(ProfileError::NewerFormat { found: profile.format });
    }
    validate_head(profile)?;
    for columns in [&profile.inputs, &profile.outputs] {
        let (mut names, mut places) = (HashSet::new(), HashSet::new());
        for column in columns {
            if column.name.is_empty() {
                return Err(ProfileError::UnnamedColumn { tensor: column.tensor.clone(), index: column.index });
            }
            if !names.insert(&column.name) || !places.insert((&column.tensor, column.index, column.statistic)) {
                return Err(ProfileError::DuplicateColumn { column: column.name.clone() });
            }
            validate_column(column, profile.rows)?;
        }
    }
    Ok(())
}

fn validate_head(profile: &Profile) -> Result<(), ProfileError> {
    let wrong = |field, expected: &str, found: String| {
        Err(ProfileError::InconsistentProfile { field, expected: expected.to_owned(), found })
    };
    if profile.format == 0 {
        return wrong("format", "1 or 2", "0".to_owned());
    }
    if profile.frozen_from_traffic != (profile.source == Source::Live) {
        return wrong(
            "frozen_from_traffic",
            "true exactly if the source is live",
            profile.frozen_from_traffic.to_string(),
        );
    }
    match &profile.created {
        Some(created) if !is_rfc_3339(created) => wrong("created", "a time in RFC 3339", format!("{created:?}")),
        _ => Ok(()),
    }
}

/// Whether a text has the form of a time as RFC 3339 has it; whether that day existed is not asked.
fn is_rfc_3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let form = b"0000-00-00T00:00:00";
    let Some((time, rest)) = bytes.split_at_checked(form.len()) else { return false };
    let matches = |form: &[u8], text: &[u8]| {
        let fits = |(form, byte): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { form == byte };
        form.len() == text.len() && form.iter().zip(text).all(fits)
    };
    let fraction = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let (fraction, zone) = rest.split_at(fraction);
    let fraction_fits =
        fraction.is_empty() || fraction.len() > 1 && fraction.iter().filter(|b| **b == b'.').count() == 1;
    let zone_fits = zone == b"Z" || matches(b"+00:00", zone) || matches(b"-00:00", zone);
    matches(form, time) && fraction_fits && zone_fits
}

fn validate_column(column: &Column, profile_rows: u64) -> Result<(), ProfileError> {
    if column.rows > profile_rows {
        return Err(inconsistent(column, "rows", format!("at most {profile_rows}, the profile's"), column.rows));
    }
    if column.statistic.is_some() && column.index > 0 {
        return Err(inconsistent(column, "index", "0 for a derived column", column.index));
    }
    if column.kind == Kind::String {
        validate_strings(column)?;
    } else {
        validate_numbers(column)?;
    }
    if column.other > 0 && column.kind.is_ordered() {
        return Err(inconsistent(column, "other", format!("0 for a {} column", column.kind), column.other));
    }
    validate_distinct(column)?;
    validate_rows(column)?;
    validate_hours(column)
}

fn validate_distinct(column: &Column) -> Result<(), ProfileError> {
    let present = column.rows - column.missing.min(column.rows);
    match column.distinct {
        Some(found) if found > present => Err(inconsistent(column, "distinct", format!("at most {present}"), found)),
        _ => Ok(()),
    }
}

/// Counters by hour add up to no more than those of all hours: not every row needs a time.
fn validate_hours(column: &Column) -> Result<(), ProfileError> {
    let Some(hours) = &column.hour_of_week else { return Ok(()) };
    let reference = column.reference();
    if hours.len() != HOURS || hours.iter().any(|groups| groups.len() != reference.group_count) {
        let expected = format!("{HOURS} lists of {} counts", reference.group_count);
        return Err(inconsistent(column, "hour_of_week", expected, "other lengths"));
    }
    for group in 0..reference.group_count {
        let sum = hours.iter().map(|groups| u128::from(groups[group])).sum::<u128>();
        let slots = reference.groups.iter().zip(&reference.counts).filter(|(of, _)| usize::from(**of) == group);
        let expected = slots.map(|(_, count)| u128::from(*count)).sum::<u128>();
        if sum > expected {
            return Err(inconsistent(column, "hour_of_week", format!("at most {expected} in group {group}"), sum));
        }
    }
    Ok(())
}

fn validate_rows(column: &Column) -> Result<(), ProfileError> {
    let categories = column.categories.iter().flatten().map(|category| category.count);
    let others = [column.missing, column.negative_infinite, column.positive_infinite, column.other];
    let found = column.counts.iter().copied().chain(categories).chain(others).map(u128::from).sum::<u128>();
    if found == u128::from(column.rows) {
        Ok(())
    } else {
        Err(ProfileError::RowsDoNotAddUp { column: column.name.clone(), expected: column.rows, found })
    }
}

fn validate_strings(column: &Column) -> Result<(), ProfileError> {
    let Some(categories) = &column.categories else {
        return Err(inconsistent(column, "categories", "a list, as for every string column", "absent"));
    };
    let numbers = column.edges.len() + column.counts.len();
    if numbers > 0 || column.outer_means.is_some() {
        return Err(inconsistent(column, "edges", "no edges, counts or outer_means in a string column", numbers));
    }
    if column.statistic.is_some() {
        return Err(inconsistent(column, "kind", "a kind of numbers for a derived column", column.kind));
    }
    for (field, value) in statistics(column) {
        if let Some(value) = value {
            return Err(inconsistent(column, field, "null for a string column", value));
        }
    }
    if column.negative_infinite > 0 || column.positive_infinite > 0 {
        return Err(inconsistent(column, "positive_infinite", "no infinities in a string column", "more than 0"));
    }
    CategoryLayout::try_new(categories.iter().map(|category| category.value.as_bytes()))
        .map(|_| ())
        .map_err(|source| ProfileError::Layout { column: column.name.clone(), source })
}

fn validate_numbers(column: &Column) -> Result<(), ProfileError> {
    if column.categories.is_some() {
        return Err(inconsistent(column, "categories", format!("none for a {} column", column.kind), "a list"));
    }
    let (edges, counts) = (column.edges.len(), column.counts.len());
    if edges != counts + 1 && (edges, counts) != (0, 0) {
        return Err(ProfileError::CountsDoNotFitEdges { column: column.name.clone(), edges, counts });
    }
    BinLayout::<f64>::try_new(&column.edges, false, FixedPoint::new(0.0, 1.0))
        .map_err(|source| ProfileError::Layout { column: column.name.clone(), source })?;
    let found = column.counts.iter().fold(column.other, |sum, &count| sum.saturating_add(count));
    validate_statistics(column, found)?;
    validate_outer_means(column)?;
    // Quantiles of fewer values than bins are no quantiles.
    if column.kind == Kind::Numeric && found < counts as u64 {
        return Err(ProfileError::TooFewRows { column: column.name.clone(), bins: counts, found });
    }
    Ok(())
}

fn validate_statistics(column: &Column, finite_rows: u64) -> Result<(), ProfileError> {
    for (field, value) in statistics(column) {
        let expected = if finite_rows > 0 { "a finite number" } else { "null without finite values" };
        if value.is_some() != (finite_rows > 0) || value.is_some_and(|value| !value.is_finite()) {
            return Err(inconsistent(column, field, expected, format!("{value:?}")));
        }
    }
    let (Some(minimum), Some(maximum), Some(std)) = (column.minimum, column.maximum, column.std) else {
        return Ok(());
    };
    if minimum > maximum {
        return Err(inconsistent(column, "minimum", format!("at most the maximum, {maximum}"), minimum));
    }
    if std < 0.0 {
        return Err(inconsistent(column, "std", "0 or more", std));
    }
    let [first, .., last] = *column.edges else {
        return Err(inconsistent(column, "edges", "edges around the values", "none"));
    };
    let encloses = first <= minimum && maximum < last;
    // The values of unlisted codes are in the statistics, but not between the edges.
    if encloses || column.other > 0 {
        Ok(())
    } else {
        let expected = format!("a range that encloses {minimum} and {maximum}");
        Err(inconsistent(column, "edges", expected, format!("{first} to {last}")))
    }
}

fn validate_outer_means(column: &Column) -> Result<(), ProfileError> {
    let Some(means) = column.outer_means else { return Ok(()) };
    let bins: Vec<&[f64]> = column.edges.windows(2).collect();
    let within = |bin: Option<&&[f64]>, mean: f64| bin.is_some_and(|bin| bin[0] <= mean && mean <= bin[1]);
    if within(bins.first(), means[0]) && within(bins.last(), means[1]) {
        Ok(())
    } else {
        Err(inconsistent(column, "outer_means", "within the first and the last bin", format!("{means:?}")))
    }
}

fn statistics(column: &Column) -> [(&'static str, Option<f64>); 4] {
    [("minimum", column.minimum), ("maximum", column.maximum), ("mean", column.mean), ("std", column.std)]
}

fn inconsistent(column: &Column, field: &'static str, expected: impl ToString, found: impl ToString) -> ProfileError {
    ProfileError::Inconsistent {
        column: column.name.clone(),
        field,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
