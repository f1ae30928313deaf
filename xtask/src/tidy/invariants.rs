//! The invariants that the code asserts are those that ARCHITECTURE.md explains, id by id.
//!
//! An assertion that fails in somebody's production names an id; it must lead to a sentence that says what was promised.

use super::{Finding, Source, paths, text};
use std::collections::BTreeMap;

const DOCUMENT: &str = "ARCHITECTURE.md";
const OPEN: &str = "<!-- invariants";
const CLOSE: &str = "<!-- end of invariants -->";

/// Ids asserted but not explained, and explained but not asserted.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(document) = sources.iter().find(|source| source.file == DOCUMENT) else {
        return Vec::new();
    };
    let explained = explained(&document.text);
    let asserted = asserted(sources);
    let mut findings = Vec::new();
    for (id, (file, line)) in &asserted {
        if !explained.contains_key(id) {
            findings.push(Finding::error(
                file,
                *line,
                format!("{id} is asserted here and explained nowhere: add it to {DOCUMENT}"),
            ));
        }
    }
    for (id, line) in &explained {
        if !asserted.contains_key(id) {
            findings.push(Finding::error(
                DOCUMENT,
                *line,
                format!("{id} is explained here and asserted nowhere"),
            ));
        }
    }
    findings
}

/// Ids in the first column of the table, with their lines.
fn explained(document: &str) -> BTreeMap<String, usize> {
    let lines = document
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !line.starts_with(OPEN));
    let table = lines.take_while(|(_, line)| !line.starts_with(CLOSE));
    let id = |line: &str| {
        line.strip_prefix("| ")
            .and_then(|rest| rest.split(' ').next())
            .filter(|word| is_id(word))
            .map(str::to_owned)
    };
    table
        .filter_map(|(index, line)| Some((id(line)?, index + 1)))
        .collect()
}

/// Ids that open a message in the engine's crates, with the first place of each.
fn asserted(sources: &[Source]) -> BTreeMap<String, (String, usize)> {
    let mut found = BTreeMap::new();
    let house = [
        "crates/afterimage-io/src/",
        "crates/afterimage-log/src/",
        "crates/afterimage/src/",
    ];
    for source in sources.iter().filter(|source| {
        source.file.ends_with(".rs") && house.iter().any(|part| source.file.starts_with(part))
    }) {
        if text::is_test_file(&source.file) {
            continue;
        }
        let facts = paths::facts(&source.text, &[]);
        for (index, line) in source.text.lines().enumerate() {
            if facts.is_test_line(index + 1) {
                continue;
            }
            for (at, _) in line.match_indices('"') {
                if let Some((id, _)) = line[at + 1..].split_once(": ").filter(|(id, _)| is_id(id)) {
                    found
                        .entry(id.to_owned())
                        .or_insert((source.file.clone(), index + 1));
                }
            }
        }
    }
    found
}

/// `PAGE-1`: capitals, a dash, a number.
fn is_id(word: &str) -> bool {
    let Some((letters, number)) = word.split_once('-') else {
        return false;
    };
    let capitals = (3..=5).contains(&letters.len())
        && letters.chars().all(|letter| letter.is_ascii_uppercase());
    capitals && !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
}
