//! `docs/faults.md` is held against the catalogue's numbers, the words for responses, and the tests that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const RESPONSES: [&str; 7] = [
    "RECOVER",
    "REFUSE",
    "STOP",
    "REPAIR",
    "ABORT",
    "DEGRADE",
    "never a lie",
];
const DRIVERS: [&str; 5] = ["matrix", "exhaustive", "random", "corruption", "fuzz"];

/// The names of all functions below a directory.
fn functions(directory: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1);
            let word = |rest: &str| {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                end.map(|end| rest[..end].to_string())
            };
            into.extend(names.filter_map(word));
        }
    }
}

#[test]
fn each_fault_has_one_response_and_tests_that_exist() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(crates.join("../docs/faults.md")).expect("the document");
    let mut known = BTreeSet::new();
    functions(&crates, &mut known);
    let mut rows: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| F")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        let number = cells[0][1..].parse().expect("a number");
        assert!(rows.insert(number, cells).is_none(), "twice: {line}");
    }
    let all: Vec<u32> = (1..=34).chain(36..=40).chain([45]).collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), all);
    for (number, cells) in rows {
        let responses = cells[2]
            .split(", ")
            .map(|r| r.split(':').next().unwrap_or(r));
        for response in responses {
            let response = response.trim();
            assert!(RESPONSES.contains(&response), "F{number}: {response:?}");
        }
        let named: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "F{number} is checked nowhere");
        for name in named {
            let found = DRIVERS.contains(&name) || known.contains(name);
            assert!(found, "F{number}: there is no test or driver {name}");
        }
    }
}
