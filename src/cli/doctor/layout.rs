//! Models that lie where nobody looks for them.
//!
//! A file in the wrong place is passed over in silence by whoever serves, because a directory may hold anything; here
//! it is told.
//!
//! Invariant: at most [`MOST`] are told, however many there are.

use super::finding::Finding;
use crate::registry::MODEL_FILE;
use std::fs;
use std::path::Path;

/// The check of the repository as a whole.
pub(super) const REPOSITORY: &str = "repository";
/// The most misplaced things that are told.
const MOST: usize = 10;
/// Entries of a directory that are looked at.
const LOOKED_AT: usize = 10_000;

/// What looks like a model and is passed over.
pub(super) fn misplaced(repository: &Path) -> Vec<Finding> {
    let mut told = Vec::new();
    if repository.join(MODEL_FILE).is_file() {
        told.push((format!("{MODEL_FILE} lies in the repository itself"), "<model>/<version>/model.onnx".to_owned()));
    }
    for model in directories(repository) {
        if !model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            told.push((
                format!("the directory {model:?} is no name of a model"),
                "letters, digits, '.', '_' and '-'".to_owned(),
            ));
            continue;
        }
        let directory = repository.join(&model);
        if directory.join(MODEL_FILE).is_file() {
            told.push((format!("{model}/{MODEL_FILE} has no version"), format!("{model}/1/{MODEL_FILE}")));
        }
        told.extend(versions(&directory, &model));
    }
    let finding = |(found, expected): (String, String)| {
        Finding::warning(REPOSITORY, format!("{found}, and is passed over"), "move it into place, by a rename")
            .expected(expected)
    };
    told.into_iter().take(MOST).map(finding).collect()
}

/// What is wrong with a model's directories.
fn versions(directory: &Path, model: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for name in directories(directory) {
        let has_model = directory.join(&name).join(MODEL_FILE).is_file();
        let is_number = name.parse::<u64>().is_ok_and(|number| number.to_string() == name);
        match (is_number, has_model) {
            (true, false) => {
                told.push((format!("{model}/{name} has no {MODEL_FILE}"), format!("{model}/{name}/{MODEL_FILE}")));
            }
            (false, true) => {
                told.push((format!("{model}/{name} is no version"), "a whole number without leading zeros".to_owned()));
            }
            _ => {}
        }
    }
    told
}

/// Names of directories that are not hidden, in order.
fn directories(path: &Path) -> Vec<String> {
    let items = fs::read_dir(path).into_iter().flatten().flatten().take(LOOKED_AT);
    let names = items.filter(|item| item.path().is_dir()).filter_map(|item| item.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_wrong_place_is_told_with_the_right_one() {
        let root = tempfile::tempdir().unwrap();
        for path in ["model.onnx", "churn/model.onnx", "churn/v2/model.onnx", "churn/1/model.onnx", "a b/1/model.onnx"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        for path in ["churn/3", ".hidden/model.onnx", "churn/docs"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let told: Vec<String> = misplaced(root.path()).into_iter().map(|finding| finding.found).collect();
        let expected = [
            "model.onnx lies in the repository itself, and is passed over",
            "the directory \"a b\" is no name of a model, and is passed over",
            "churn/model.onnx has no version, and is passed over",
            "churn/3 has no model.onnx, and is passed over",
            "churn/v2 is no version, and is passed over",
        ];
        assert_eq!(told, expected);
        assert!(misplaced(&root.path().join("absent")).is_empty());
    }
}
