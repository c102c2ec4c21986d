//! Rows made up from a reference profile.
//!
//! Each value is one that its column had: an atom, a category, or the middle of a bin. The ranks at which a row takes
//! its values are shifted from column to column, so that the rows differ and none is all minima. How columns go
//! together a profile does not say, so a row may be one that nobody would send; but each of its values is.
//!
//! Invariant: the same profile gives the same rows, and they fit the signature.

use crate::profile::{Column, Kind, Profile};
use crate::tensor::{ByteStrings, DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};

/// Rows that are made up.
pub(super) const ROWS: usize = 8;

/// Rows for every input; nothing where the profile does not describe an input value by value, as with wide ones.
pub(super) fn rows(profile: &Profile, signature: &Signature) -> Option<Vec<Tensor>> {
    signature.inputs.iter().map(|spec| tensor(profile, spec)).collect()
}

fn tensor(profile: &Profile, spec: &TensorSpec) -> Option<Tensor> {
    let width = spec.row_width()?;
    let is_value = |column: &&Column| column.tensor == spec.name && column.statistic.is_none();
    let mut columns: Vec<&Column> = profile.inputs.iter().filter(is_value).collect();
    columns.sort_by_key(|column| column.index);
    if !columns.iter().enumerate().all(|(index, column)| column.index == index) || columns.len() != width {
        return None;
    }
    let rows = if spec.is_batched() { ROWS } else { 1 };
    let mut shape = Shape::default();
    for dimension in &spec.shape {
        let size = match dimension {
            Dimension::Fixed(size) => *size,
            Dimension::Free(_) => rows,
        };
        shape.try_push(size).ok()?;
    }
    let cells =
        || (0..rows).flat_map(|row| columns.iter().enumerate().map(move |(index, column)| (row + index, *column)));
    let data = if spec.datatype == DataType::Bytes {
        TensorData::Bytes(cells().map(|(step, column)| text(column, step)).collect::<ByteStrings>())
    } else {
        let is_whole = is_whole(spec.datatype);
        numbers(spec.datatype, cells().map(|(step, column)| number(column, step, is_whole)).collect())
    };
    Tensor::try_new(shape, data).ok()
}

/// One of the most frequent strings.
fn text(column: &Column, step: usize) -> &[u8] {
    let categories = column.categories.as_deref().unwrap_or_default();
    let used = categories.len().clamp(1, ROWS);
    categories.get(step % used).map_or(b"", |category| category.value.as_bytes())
}

/// The value at a rank that depends on the step; zero in a column without a finite value.
fn number(column: &Column, step: usize, is_whole: bool) -> f64 {
    let total: u64 = column.counts.iter().sum();
    // The middle of each eighth, in an order in which neighbours are far apart.
    let rank = ((step * 3 % ROWS) as f64 + 0.5) / ROWS as f64;
    let below = (rank * total as f64) as u64;
    let mut passed = 0;
    let at_rank = column.counts.iter().position(|&count| {
        passed += count;
        passed > below
    });
    let Some(bin) = at_rank else { return 0.0 };
    let (Some(&lower), Some(&upper)) = (column.edges.get(bin), column.edges.get(bin + 1)) else { return 0.0 };
    if column.is_atom(bin) || matches!(column.kind, Kind::Boolean | Kind::Categorical | Kind::Discrete) {
        return lower;
    }
    // Halves first: the difference of two finite numbers need not be finite.
    let middle = lower / 2.0 + upper / 2.0;
    match is_whole {
        true if middle.floor() >= lower => middle.floor(),
        true => lower.ceil(),
        false => middle,
    }
}

fn is_whole(datatype: DataType) -> bool {
    !matches!(datatype, DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64)
}

/// The values as the type has them; what is beyond its range is its nearest end.
fn numbers(datatype: DataType, values: Vec<f64>) -> TensorData {
    macro_rules! cast {
        ($variant:ident, $element:ty) => {
            TensorData::$variant(values.into_iter().map(|value| value as $element).collect())
        };
    }
    match datatype {
        DataType::Bool => TensorData::Bool(values.into_iter().map(|value| value.abs() > 0.0).collect()),
        DataType::Uint8 => cast!(Uint8, u8),
        DataType::Uint16 => cast!(Uint16, u16),
        DataType::Uint32 => cast!(Uint32, u32),
        DataType::Uint64 => cast!(Uint64, u64),
        DataType::Int8 => cast!(Int8, i8),
        DataType::Int16 => cast!(Int16, i16),
        DataType::Int32 => cast!(Int32, i32),
        DataType::Int64 => cast!(Int64, i64),
        DataType::Fp16 => TensorData::Fp16(values.into_iter().map(half::f16::from_f64).collect()),
        DataType::Bf16 => TensorData::Bf16(values.into_iter().map(half::bf16::from_f64).collect()),
        DataType::Fp32 => cast!(Fp32, f32),
        DataType::Fp64 => TensorData::Fp64(values),
        DataType::Bytes => TensorData::Bytes(ByteStrings::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Category;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn column(kind: Kind, edges: &[f64], counts: &[u64]) -> Column {
        Column { kind, edges: edges.to_vec(), counts: counts.to_vec(), tensor: "x".into(), ..Column::default() }
    }

    fn spec(datatype: DataType, width: usize) -> TensorSpec {
        let shape = vec![Dimension::Free("N".to_owned()), Dimension::Fixed(width)];
        TensorSpec { name: "x".to_owned(), datatype, shape }
    }

    #[test]
    fn rows_of_a_shipped_profile_are_several_and_lie_within_its_edges() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/churn/1");
        let profile = Profile::from_json(&std::fs::read(directory.join("profile.json")).unwrap()).unwrap();
        let inputs = vec![TensorSpec { name: "features".to_owned(), ..spec(DataType::Fp32, profile.inputs.len()) }];
        let signature = Signature { inputs, outputs: Vec::new() };
        let made = rows(&profile, &signature).unwrap();
        assert_eq!(signature.check(&made), Ok(()));
        assert_eq!(rows(&profile, &signature).unwrap(), made);
        let TensorData::Fp32(values) = made[0].data() else { panic!("another type") };
        let rows: Vec<&[f32]> = values.chunks(profile.inputs.len()).collect();
        let distinct: BTreeSet<Vec<u32>> =
            rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        assert_eq!(distinct.len(), ROWS);
        for row in rows {
            for (value, column) in row.iter().zip(&profile.inputs) {
                let (value, edges) = (f64::from(*value), &column.edges);
                assert!(edges[0] <= value && value < edges[edges.len() - 1], "{}: {value}", column.name);
            }
        }
    }

    #[test]
    fn whole_numbers_are_whole_and_categories_are_those_that_there_were() {
        let codes = column(Kind::Categorical, &[3.0, 3.0_f64.next_up(), 7.0, 7.0_f64.next_up()], &[50, 0, 50]);
        let numeric = Column { index: 1, ..column(Kind::Numeric, &[0.5, 1.5, 10.0], &[50, 50]) };
        let profile = Profile { inputs: vec![codes, numeric], ..Profile::default() };
        let made = tensor(&profile, &spec(DataType::Int64, 2)).unwrap();
        let TensorData::Int64(values) = made.data() else { panic!("another type") };
        assert!(values.chunks(2).all(|row| [3, 7].contains(&row[0]) && [1, 5].contains(&row[1])), "{values:?}");
        let category = |value: &str| Category { value: value.to_owned(), count: 1 };
        let words = Column { categories: Some(vec![category("a"), category("b")]), ..column(Kind::String, &[], &[]) };
        let profile = Profile { inputs: vec![words], ..Profile::default() };
        let made = tensor(&profile, &spec(DataType::Bytes, 1)).unwrap();
        assert_eq!(made.data(), &TensorData::Bytes(["a", "b"].iter().cycle().take(ROWS).collect()));
    }

    #[test]
    fn an_input_that_is_not_described_value_by_value_has_no_rows() {
        let wide =
            Column { statistic: Some(crate::profile::Statistic::Mean), ..column(Kind::Numeric, &[0.0, 1.0], &[1]) };
        let profile = Profile { inputs: vec![wide], ..Profile::default() };
        assert_eq!(tensor(&profile, &spec(DataType::Fp32, 1)), None);
        assert_eq!(tensor(&Profile::default(), &spec(DataType::Fp32, 1)), None);
        let free = TensorSpec {
            shape: vec![Dimension::Free("N".into()), Dimension::Free("M".into())],
            ..spec(DataType::Fp32, 1)
        };
        assert_eq!(tensor(&profile, &free), None);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_a_bin_that_had_some(
            steps in proptest::collection::vec((0.001..50.0_f64, 0_u64..20), 1..9), start in -100.0..100.0_f64,
            step in 0_usize..40,
        ) {
            let (mut edges, mut counts) = (vec![start], Vec::new());
            for (width, count) in steps {
                edges.push(edges[edges.len() - 1] + width);
                counts.push(count);
            }
            let column = column(Kind::Numeric, &edges, &counts);
            let value = number(&column, step, false);
            let bin = edges.windows(2).position(|bin| bin[0] <= value && value < bin[1]);
            prop_assert!(counts.iter().sum::<u64>() == 0 || bin.is_some_and(|bin| counts[bin] > 0), "{} {:?}", value, column);
        }
    }
}
