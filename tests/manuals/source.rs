//! Reads what the manuals name from the source: functions, and the events of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The Rust files under a directory of the repository.
pub(crate) fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all functions, tests included.
pub(crate) fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = std::fs::read_to_string(file).unwrap();
        let name = |rest: &str| rest.split(|c| !is_of_name(c)).next().unwrap_or_default().to_owned();
        names.extend(text.split("fn ").skip(1).map(name));
    }
    names
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The events that the server logs, each with its levels: the names of the macros. Without tests, the simulator and
/// the prover.
pub(crate) fn events() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut events: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for file in rust_files("src") {
        let place = file.strip_prefix(root()).unwrap().display().to_string();
        if ["src/simulator", "src/proof", "tests"].iter().any(|other| place.contains(other)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for level in ["error", "warn", "info", "debug"] {
            let opening = format!("{level}!(");
            let found = code.match_indices(&opening).map(|(at, found)| (&code[..at], &code[at + found.len()..]));
            for (before, arguments) in found.filter(|(before, _)| !before.ends_with(is_of_name)) {
                let line = before.lines().count();
                let event = arguments.trim_start().strip_prefix("event = \"").and_then(|rest| rest.split('"').next());
                let event = event.unwrap_or_else(|| panic!("{place}:{line}: the first field is not an event"));
                events.entry(event.to_owned()).or_default().insert(level);
            }
        }
    }
    events
}
