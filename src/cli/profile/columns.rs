//! Which column of the file is which value of which input.
//!
//! A model with one input takes a row of numbers without names, so nothing would stop a file whose columns are in
//! another order from being profiled as nonsense. Where the names are known, from an earlier profile or from
//! `--features`, the file must therefore have just these columns in this order, and what differs is named. A model with
//! several inputs names them itself, and their order in the file does not matter.
//!
//! Invariant: every value of every input has exactly one column.

use super::text;
use crate::profile::Profile;
use crate::tensor::{Signature, TensorSpec};
use std::collections::HashSet;

/// Names in one list of an error; more are counted.
const LISTED: usize = 10;

/// What a column of the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Nothing,
    /// The time of the row.
    Time,
    /// A value of each row of an input.
    Value {
        input: usize,
        position: usize,
    },
}

/// The columns of a file, in the file's order.
#[derive(Debug)]
pub(super) struct FileColumns {
    pub(super) names: Vec<String>,
    pub(super) uses: Vec<Use>,
}

/// What the caller says of columns.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Names of the only input's values, and who says so.
    pub(super) features: Option<(&'a [String], &'static str)>,
    pub(super) ignored: &'a [String],
    pub(super) time: Option<&'a str>,
}

impl FileColumns {
    /// Matches the columns of a file, which are called `names`, to the inputs of a model.
    pub(super) fn new(signature: &Signature, names: Vec<String>, wanted: &Wanted<'_>) -> Result<Self, String> {
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(format!("the file has two columns \"{name}\""));
        }
        for name in wanted.ignored.iter().map(String::as_str).chain(wanted.time) {
            if !seen.contains(name) {
                return Err(format!("the file has no column \"{name}\"; it has {}", listed(&names)));
            }
        }
        let is_value = |name: &&String| !wanted.ignored.contains(name) && wanted.time != Some(name.as_str());
        let values: Vec<&String> = names.iter().filter(is_value).collect();
        let mut places = match signature.inputs.as_slice() {
            [spec] => of_single_input(spec, &values, wanted.features)?,
            specs => of_named_inputs(specs, &values, wanted.features.is_some())?,
        }
        .into_iter();
        let use_of = |name: &String| match wanted.time {
            Some(time) if time == name => Use::Time,
            _ if wanted.ignored.contains(name) => Use::Nothing,
            _ => places.next().map_or(Use::Nothing, |(input, position)| Use::Value { input, position }),
        };
        let uses = names.iter().map(use_of).collect();
        Ok(Self { names, uses })
    }

    /// Names of an input's values, in the order of a row.
    pub(super) fn names_of(&self, wanted: usize) -> Vec<String> {
        let of_input = |(name, used): (&String, &Use)| match used {
            Use::Value { input, .. } if *input == wanted => Some(name.clone()),
            _ => None,
        };
        self.names.iter().zip(&self.uses).filter_map(of_input).collect()
    }
}

/// Names of the only input's values in an earlier profile of this model.
pub(super) fn known_features(json: &[u8], signature: &Signature) -> Result<Option<Vec<String>>, String> {
    let profile = Profile::from_json(json).map_err(text)?;
    profile.check(signature).map_err(text)?;
    let [spec] = signature.inputs.as_slice() else { return Ok(None) };
    let mut columns: Vec<_> = profile.inputs.into_iter().filter(|column| column.statistic.is_none()).collect();
    columns.sort_by_key(|column| column.index);
    // A tensor reduced to statistics has no names of values.
    let complete = spec.row_width() == Some(columns.len());
    Ok(complete.then(|| columns.into_iter().map(|column| column.name).collect()))
}

fn of_single_input(
    spec: &TensorSpec,
    values: &[&String],
    features: Option<(&[String], &str)>,
) -> Result<Vec<(usize, usize)>, String> {
    let width = width_of(spec)?;
    if let Some((features, said_by)) = features {
        if features.len() != width {
            let (name, found) = (&spec.name, features.len());
            return Err(format!("input \"{name}\" takes {width} values per row; {said_by} names {found}"));
        }
        compare(values, features, said_by)?;
    } else if values.len() != width {
        return Err(format!(
            "input \"{}\" takes {width} values per row, the file has {} columns: {}; leave columns out with --ignore",
            spec.name,
            values.len(),
            listed(values)
        ));
    }
    Ok((0..width).map(|position| (0, position)).collect())
}

/// Says precisely how the columns of a file differ from what they should be.
fn compare(values: &[&String], features: &[String], said_by: &str) -> Result<(), String> {
    let missing: Vec<&String> = features.iter().filter(|name| !values.contains(name)).collect();
    let (known, extra): (Vec<&String>, Vec<&String>) = values.iter().copied().partition(|name| features.contains(name));
    let expected = features.iter().filter(|name| values.contains(name));
    let moved: Vec<String> = known
        .iter()
        .zip(expected)
        .filter(|(found, expected)| *found != expected)
        .map(|(found, expected)| format!("\"{found}\" where \"{expected}\" belongs"))
        .collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("missing {}", listed(&missing)));
    }
    if !extra.is_empty() {
        problems.push(format!("not a feature: {}", listed(&extra)));
    }
    if !moved.is_empty() {
        problems.push(format!("in another order: {}", shortened(&moved)));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the columns of the file are not the features that {said_by} names: {}; leave columns out with --ignore, or \
         name the features anew with --features",
        problems.join("; ")
    ))
}

fn of_named_inputs(specs: &[TensorSpec], values: &[&String], named: bool) -> Result<Vec<(usize, usize)>, String> {
    if named {
        return Err("--features names the values of a model with one input; this one has several".to_owned());
    }
    for spec in specs {
        if width_of(spec)? != 1 {
            return Err(format!("input \"{}\" has several values per row; only a single input may", spec.name));
        }
    }
    let missing: Vec<&String> = specs.iter().map(|spec| &spec.name).filter(|name| !values.contains(name)).collect();
    let input_of = |name: &&String| specs.iter().position(|spec| spec.name == **name);
    let extra: Vec<&String> = values.iter().copied().filter(|name| input_of(name).is_none()).collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("no column for the inputs {}", listed(&missing)));
    }
    if !extra.is_empty() {
        problems.push(format!("no input of the model: {}; leave columns out with --ignore", listed(&extra)));
    }
    if problems.is_empty() {
        Ok(values.iter().filter_map(input_of).map(|input| (input, 0)).collect())
    } else {
        Err(format!("the columns of the file are not the inputs of the model: {}", problems.join("; ")))
    }
}

fn width_of(spec: &TensorSpec) -> Result<usize, String> {
    spec.row_width().filter(|_| spec.is_batched()).ok_or_else(|| {
        format!("input \"{}\" {:?} has no rows of a fixed width and cannot be profiled", spec.name, spec.wire_shape())
    })
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    shortened(&names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>())
}

fn shortened(items: &[String]) -> String {
    let more = items.len().saturating_sub(LISTED);
    let shown = items[..items.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Dimension};

    fn signature(inputs: &[(&str, usize)]) -> Signature {
        let spec = |&(name, width): &(&str, usize)| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: vec![Dimension::Free("N".into()), Dimension::Fixed(width)],
        };
        Signature { inputs: inputs.iter().map(spec).collect(), outputs: Vec::new() }
    }

    fn names(list: &str) -> Vec<String> {
        list.split_whitespace().map(str::to_owned).collect()
    }

    fn single(file: &str, features: Option<&str>, ignored: &str, time: Option<&str>) -> Result<Vec<Use>, String> {
        let (features, ignored) = (features.map(names), names(ignored));
        let features = features.as_deref().map(|names| (names, "profile.json"));
        let wanted = Wanted { features, ignored: &ignored, time };
        FileColumns::new(&signature(&[("x", 3)]), names(file), &wanted).map(|columns| columns.uses)
    }

    #[test]
    fn columns_in_the_order_of_the_features_are_their_values() {
        let value = |position| Use::Value { input: 0, position };
        let expected = [Use::Nothing, value(0), Use::Time, value(1), value(2)];
        assert_eq!(single("id a t b c", Some("a b c"), "id", Some("t")).unwrap(), expected);
        assert_eq!(single("id a t b c", None, "id", Some("t")).unwrap(), expected);
    }

    #[test]
    fn missing_extra_and_reordered_columns_are_named() {
        let error = single("c a d", Some("a b c"), "", None).unwrap_err();
        for part in [
            "missing \"b\";",
            "not a feature: \"d\";",
            "in another order: \"c\" where \"a\" belongs, \"a\" where \"c\" belongs;",
            "that profile.json names",
        ] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        let error = single("a c b", Some("a b c"), "", None).unwrap_err();
        assert!(error.contains("\"c\" where \"b\" belongs") && !error.contains("missing"), "{error}");
        let error = single("a b", None, "", None).unwrap_err();
        assert!(error.contains("takes 3 values per row, the file has 2 columns: \"a\", \"b\""), "{error}");
        let many: String = (0..40).map(|index| format!("f{index} ")).collect();
        let error = single(&many, None, "", None).unwrap_err();
        assert!(error.contains("\"f9\" and 30 more"), "{error}");
    }

    #[test]
    fn columns_that_are_named_but_not_there_and_doubled_ones_are_refused() {
        for (error, part) in [
            (single("a b c", None, "label", None), "no column \"label\""),
            (single("a b c", None, "", Some("when")), "no column \"when\""),
            (single("a b b", None, "", None), "two columns \"b\""),
            (single("a b c", Some("a b"), "", None), "takes 3 values per row; profile.json names 2"),
        ] {
            let error = error.unwrap_err();
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn several_inputs_are_matched_by_name_in_any_order() {
        let model = signature(&[("a", 1), ("b", 1)]);
        let matched = |file: &str| FileColumns::new(&model, names(file), &Wanted::default());
        let value = |input| Use::Value { input, position: 0 };
        assert_eq!(matched("b a").unwrap().uses, [value(1), value(0)]);
        let error = matched("b d").unwrap_err();
        assert!(error.contains("inputs \"a\"") && error.contains("no input of the model: \"d\""), "{error}");
    }
}
