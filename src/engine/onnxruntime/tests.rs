//! Finding ONNX Runtime. Nothing here loads a library that would load.

use super::library::exported_version;
use super::*;
use crate::engine::onnx::samples::Folder;
use std::path::Path;

/// A file that starts like an ELF library, is as long as one, and has `text` somewhere in it.
fn fake_library(text: &str, position: usize) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[..4].copy_from_slice(b"\x7fELF");
    bytes[position..position + text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn search(search: &RuntimeSearch) -> Vec<CandidateReport> {
    let discovered = Discovered::search(search);
    assert_eq!(discovered.info(), None);
    discovered.reports
}

fn explicit(path: &Path) -> CandidateReport {
    let mut reports = search(&RuntimeSearch { explicit: Some(path.to_path_buf()), ..RuntimeSearch::default() });
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn version(major: u32, minor: u32, patch: u32) -> RuntimeVersion {
    RuntimeVersion { major, minor, patch }
}

#[test]
fn nothing_is_found_where_nothing_is_searched() {
    assert_eq!(search(&RuntimeSearch::default()), Vec::new());
}

#[test]
fn a_path_that_leads_nowhere_is_reported() {
    let report = explicit(Path::new("/nonexistent/libonnxruntime.so"));
    assert!(report.to_string().starts_with("/nonexistent/libonnxruntime.so (setting) cannot be opened: "), "{report}");
}

#[test]
fn an_old_version_is_passed_over_by_its_name() {
    let folder = Folder::new();
    let report = explicit(&folder.write("libonnxruntime.so.1.10.0", b"not even a library"));
    assert_eq!(report.outcome, CandidateOutcome::TooOld { minimum: MINIMUM_VERSION });
    assert_eq!(report.version, Some(version(1, 10, 0)));
}

#[test]
fn an_old_version_is_passed_over_by_its_symbols() {
    let folder = Folder::new();
    let report = explicit(&folder.write("libonnxruntime.so", &fake_library("VERS_1.16.3\0", 500_000)));
    assert_eq!(report.outcome, CandidateOutcome::TooOld { minimum: MINIMUM_VERSION });
    assert_eq!(report.version, Some(version(1, 16, 3)));
}

#[test]
fn what_is_not_a_library_is_broken() {
    let folder = Folder::new();
    let cases = [
        (b"".to_vec(), "is not a shared library"),
        (b"garbage, and enough of it".to_vec(), "is not a shared library"),
        (b"\x7fELF".to_vec(), "is too small to be ONNX Runtime (4 bytes)"),
        (fake_library("VERS_x", 9), "has no ONNX Runtime version in it"),
    ];
    for (bytes, expected) in cases {
        let report = explicit(&folder.write("libonnxruntime.so", &bytes));
        assert_eq!(report.outcome, CandidateOutcome::Broken { reason: expected.to_owned() });
    }
}

#[test]
fn a_library_that_does_not_load_leaves_the_next_one_to_be_tried() {
    let folder = Folder::new();
    // Of a new enough version by name and by symbols, and still no library.
    folder.write("libonnxruntime.so.1.99.0", &fake_library("", 9));
    folder.write("libonnxruntime.so", &fake_library("VERS_1.98.0\0", 9));
    let reports = search(&RuntimeSearch { explicit: Some(folder.path().to_path_buf()), ..RuntimeSearch::default() });
    let versions: Vec<_> = reports.iter().map(|report| report.version).collect();
    assert_eq!(versions, [Some(version(1, 99, 0)), Some(version(1, 98, 0))]);
    assert!(reports.iter().all(|report| matches!(report.outcome, CandidateOutcome::Broken { .. })), "{reports:?}");
}

#[test]
fn a_version_is_found_wherever_it_stands_in_the_file() {
    let folder = Folder::new();
    for position in [4, 65_530, 65_536 - 5, 65_536, 131_060, 131_072, (1 << 20) - 12] {
        let path = folder.write("libonnxruntime.so", &fake_library("VERS_1.32.1\0", position));
        assert_eq!(exported_version(&path), Ok(version(1, 32, 1)), "at {position}");
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(version(1, 9, 1) < version(1, 17, 0));
    let of_name = |name: &str| RuntimeVersion::of_file_name(Path::new(name));
    assert_eq!(of_name("/usr/lib/libonnxruntime.so.1.32.0"), Some(version(1, 32, 0)));
    assert_eq!(of_name("libonnxruntime.1.21.1.dylib"), Some(version(1, 21, 1)));
    assert_eq!(of_name("libonnxruntime.so.1.17"), Some(version(1, 17, 0)));
    // The name that the library's users are linked to has the interface's version alone.
    assert_eq!(of_name("libonnxruntime.so.1"), None);
    assert_eq!(of_name("libonnxruntime.so"), None);
}

#[test]
fn sources_are_tried_from_the_most_explicit_to_the_least() {
    let folder = Folder::new();
    let name = "libonnxruntime.so.1.2.0";
    for place in ["setting", "dylib", "binary", "library", "venv/lib/python3.11/site-packages/onnxruntime/capi"] {
        folder.write(&format!("{place}/{name}"), b"");
    }
    let at = |place: &str| folder.path().join(place);
    let reports = search(&RuntimeSearch {
        explicit: Some(at("setting")),
        ort_dylib_path: Some(at("dylib").join(name)),
        executable_folder: Some(at("binary")),
        library_folders: vec![at("library"), at("binary"), at("absent")],
        python_environments: vec![at("venv")],
        ..RuntimeSearch::default()
    });
    use CandidateSource::{BesideBinary, LibraryPath, OrtDylibPath, Python, Setting};
    let sources: Vec<_> = reports.iter().map(|report| report.source).collect();
    assert_eq!(sources, [Setting, OrtDylibPath, BesideBinary, LibraryPath, Python]);
    assert!(reports.iter().all(|report| matches!(report.outcome, CandidateOutcome::TooOld { .. })));
}

#[test]
fn pythons_on_the_path_lead_to_their_packages() {
    let folder = Folder::new();
    let at = |place: &str| folder.path().join(place);
    let library = "onnxruntime/capi/libonnxruntime.so.1.2.0";
    folder.write("base/bin/python3.9", b"");
    folder.write("shims/python3", b"#!/bin/sh");
    folder.write("empty/readme", b"");
    let expected = [
        format!("venv/lib/python3.9/site-packages/{library}"),
        format!("base/lib/python3.11/site-packages/{library}"),
        format!("base/lib/python3.9/dist-packages/{library}"),
        format!("pyenv/versions/3.12.1/lib/python3.12/site-packages/{library}"),
        format!("home/lib/python3.9/site-packages/{library}"),
    ]
    .map(|path| folder.write(&path, b""));
    std::fs::create_dir_all(at("venv/bin")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(at("base/bin/python3.9"), at("venv/bin/python3")).unwrap();
    let reports = search(&RuntimeSearch {
        program_folders: vec![at("empty"), at("shims"), at("venv/bin")],
        pyenv_roots: vec![at("pyenv")],
        user_packages: Some(at("home")),
        ..RuntimeSearch::default()
    });
    let paths: Vec<_> = reports.into_iter().map(|report| report.path).collect();
    assert_eq!(paths, expected);
}

#[test]
fn a_link_and_what_it_leads_to_are_one_candidate() {
    let folder = Folder::new();
    let real = folder.write("libonnxruntime.so.1.2.0", b"");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&real, folder.path().join("libonnxruntime.so")).unwrap();
    folder.write("libonnxruntime_providers_shared.so", b"");
    let report = explicit(folder.path());
    assert_eq!((report.path, report.version), (real, Some(version(1, 2, 0))));
}

#[test]
fn the_environment_of_the_process_is_read() {
    let search = RuntimeSearch::from_environment(Some("chosen".into()));
    assert_eq!(search.explicit.as_deref(), Some(Path::new("chosen")));
    assert!(search.executable_folder.is_some());
    assert!(search.library_folders.contains(&PathBuf::from("/usr/local/lib")));
}
