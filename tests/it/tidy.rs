//! The package keeps its own rules: rooms import downward, files and functions stay short, nothing is swept under a rug.
//!
//! Lints hold most of style; here is what no lint knows. The checks read the source as text, which a macro could fool;
//! the code has none that name rooms.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest first. A room imports only rooms before it.
const ROOMS: [&str; 22] = [
    "error",
    "tensor",
    "sketch",
    "profile",
    "config",
    "route",
    "protocol",
    "detect",
    "telemetry",
    "engine",
    "observe",
    "catalog",
    "store",
    "judge",
    "alert",
    "registry",
    "rollout",
    "report",
    "serve",
    "admin",
    "app",
    "cli",
];
const FILE_LINES: usize = 450;
const FUNCTION_LINES: usize = 60;

/// What starts a task or thread. Only `app` may: whoever starts one must know when it ends. `JoinSet::spawn` and
/// `spawn_local` are not among them: a set is owned by a future that `app` started, and takes its children with it.
/// `spawn_blocking` is not either: its caller waits for it.
const SPAWNS: [&str; 5] = ["tokio::spawn(", "task::spawn(", "task::spawn_local(", "thread::spawn(", "thread::Builder"];

struct File {
    path: String,
    text: String,
    /// The text up to the first test module.
    code: String,
    is_test: bool,
}

#[test]
fn rooms_import_only_rooms_below_them() {
    let mut seen = 0;
    for file in sources() {
        let Some(room) = room_of(&file.path) else { continue };
        let height = position(room).unwrap_or_else(|| panic!("{}: the room {room} is not in the table", file.path));
        for (line, used) in used_rooms(&file.text) {
            seen += 1;
            let used_height =
                position(&used).unwrap_or_else(|| panic!("{}:{line}: crate::{used} is no room", file.path));
            assert!(used_height <= height, "{}:{line}: {room} imports {used}, which is above it", file.path);
        }
    }
    assert!(seen > 150, "only {seen} imports were found: the check is blind");
}

#[test]
fn the_library_declares_rooms_of_the_table_alone() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(declared.len() > 15, "{declared:?}");
    for room in declared {
        assert!(position(room).is_some(), "{room} is not in the table");
    }
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    for file in sources().into_iter().chain(files_below("tests")) {
        assert!(file.text.starts_with("//! "), "{} does not begin with what it is", file.path);
        let lines = file.text.lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines, more than {FILE_LINES}", file.path);
    }
}

#[test]
fn functions_stay_short() {
    let mut seen = 0;
    for file in sources().into_iter().chain(files_below("tests")) {
        for (line, length) in functions(&file.text) {
            seen += 1;
            assert!(length <= FUNCTION_LINES, "{}:{line}: a function of {length} lines", file.path);
        }
    }
    assert!(seen > 500, "only {seen} functions were found: the check is blind");
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    let forbidden = [".unwrap()", "todo!(", "unimplemented!(", "#[allow", "#![allow", "TODO", "FIXME", "dbg!("];
    for file in sources().into_iter().filter(|file| !file.is_test) {
        for (number, line) in file.code.lines().enumerate() {
            for text in forbidden {
                assert!(!line.contains(text), "{}:{}: {text} in: {line}", file.path, number + 1);
            }
        }
    }
}

#[test]
fn only_app_starts_tasks_and_threads() {
    let mut in_app = 0;
    for file in sources().into_iter().filter(|file| !file.is_test) {
        let code = without_comments(&file.code);
        for text in SPAWNS {
            let found = code.matches(text).count();
            if room_of(&file.path) == Some("app") {
                in_app += found;
            } else {
                assert_eq!(found, 0, "{} starts something with {text}", file.path);
            }
        }
    }
    assert!(in_app >= 2, "only {in_app} spawns were found in app: the check is blind");
}

#[test]
fn every_rust_file_is_text_without_trailing_blanks_or_tabs() {
    for file in sources().into_iter().chain(files_below("tests")) {
        assert!(file.text.ends_with('\n') && !file.text.contains('\r'), "{}", file.path);
        for (number, line) in file.text.lines().enumerate() {
            assert!(!line.contains('\t') && line.trim_end() == line, "{}:{}", file.path, number + 1);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<File> {
    let files = files_below("src");
    assert!(files.len() > 100, "only {} files were found: the checks are blind", files.len());
    files
}

fn files_below(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(File::read(&path));
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

impl File {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        let is_test = path.ends_with("/tests.rs")
            || path.contains("/tests/")
            || path.ends_with("test_support.rs")
            || is_declared_for_tests(&path);
        Self { path, text, code, is_test }
    }
}

/// Whether the module that declares a file does so under `#[cfg(test)]`.
fn is_declared_for_tests(path: &str) -> bool {
    let path = Path::new(path);
    let (Some(name), Some(folder)) = (path.file_stem().and_then(|name| name.to_str()), path.parent()) else {
        return false;
    };
    let parent = fs::read_to_string(root().join(folder).join("mod.rs")).unwrap_or_default();
    let declared = |visibility: &str| parent.contains(&format!("#[cfg(test)]\n{visibility}mod {name};"));
    declared("") || declared("pub(super) ") || declared("pub(crate) ")
}

/// The room of a file below `src`; none for `lib.rs` and `main.rs`.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(room, "lib" | "main")).then_some(room)
}

fn position(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// Rooms that a text names as `crate::room`, also in the groups of `use crate::{…}`, with the line.
fn used_rooms(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(at) = rest.find("crate::") {
            // `my_crate::` is another word, `$crate::` would be a macro's.
            let is_word =
                rest[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_');
            rest = &rest[at + "crate::".len()..];
            if !is_word {
                continue;
            }
            assert!(!rest.starts_with('{'), "line {}: name rooms one by one: {line}", number + 1);
            let room: String = rest.chars().take_while(|next| next.is_ascii_lowercase() || *next == '_').collect();
            assert!(!room.is_empty(), "line {}: {line}", number + 1);
            found.push((number + 1, room));
        }
    }
    found
}

/// Line and length of every function with a body: from the line of its `fn` to the brace that closes it, which rustfmt
/// puts at the same depth.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let depth = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_function = words.starts_with("fn ") || words.contains(" fn ") && words.starts_with(['p', 'a', 'c']);
        // A trait's method may be a signature alone.
        if !is_function || words.starts_with("//") || words.ends_with(';') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(depth));
        if words.ends_with('}') {
            found.push((start + 1, 1));
        } else if let Some(length) =
            lines[start..].iter().position(|line| *line == closing || *line == format!("{}}};", " ".repeat(depth)))
        {
            found.push((start + 1, length + 1));
        }
    }
    found
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
