//! CSV files of the model repository: rows to send, and the answers that scikit-learn gave.
//!
//! Features stay the text of the file, which is the shortest decimal of an `f32` and JSON as it is, so that nothing is
//! lost between the file and the wire.

use std::path::Path;

/// A CSV file with a header line.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
        let names = lines.next().unwrap_or_else(|| panic!("{} is empty", path.display()));
        let rows: Vec<Vec<String>> = lines.collect();
        assert!(!rows.is_empty(), "{} has no rows", path.display());
        assert!(rows.iter().all(|row| row.len() == names.len()), "{} has uneven rows", path.display());
        Self { names, rows }
    }

    /// The values of a row as numbers.
    pub(crate) fn numbers(&self, row: usize) -> Vec<f64> {
        self.rows[row].iter().map(|value| value.parse().unwrap()).collect()
    }

    /// Rows as a body of the Open Inference Protocol for the input `features`.
    pub(crate) fn infer_body(&self, rows: std::ops::Range<usize>) -> String {
        infer_body(&self.rows[rows])
    }

    /// Rows as a body of KServe V1.
    pub(crate) fn predict_body(&self, rows: std::ops::Range<usize>) -> String {
        let rows: Vec<String> = self.rows[rows].iter().map(|row| format!("[{}]", row.join(","))).collect();
        format!("{{\"instances\":[{}]}}", rows.join(","))
    }
}

/// Rows of values as a body of the Open Inference Protocol for the input `features`.
pub(crate) fn infer_body<V: std::fmt::Display>(rows: &[Vec<V>]) -> String {
    let width = rows.first().map_or(0, Vec::len);
    let values: Vec<String> = rows.iter().flatten().map(V::to_string).collect();
    format!(
        r#"{{"inputs":[{{"name":"features","datatype":"FP32","shape":[{},{width}],"data":[{}]}}]}}"#,
        rows.len(),
        values.join(",")
    )
}
