//! Rules about any text file: how it opens, how long it is, no notes to oneself, no stray blanks.

use super::{Finding, Source, paths};

/// Beyond this many lines that are not tests, a second idea has moved into the file.
const LINES_MAX: usize = 900;
/// From here on tidy asks which one.
const LINES_MANY: usize = 800;

/// Notes to oneself that no commit may hold. Written in halves, or this file would be its own finding.
const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// Everything that can be said without knowing what the file is for.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        findings
            .extend(line_findings(line).map(|what| Finding::error(&source.file, index + 1, what)));
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        findings.push(Finding::error(
            &source.file,
            source.text.lines().count(),
            "the last line has no end",
        ));
    }
    if source.file.ends_with(".rs") {
        findings.extend(rust(source));
    }
    findings
}

fn line_findings(line: &str) -> impl Iterator<Item = String> {
    let tab = line.contains('\t').then(|| "a tab; use blanks".to_owned());
    let trailing = line
        .ends_with([' ', '\t', '\r'])
        .then(|| "blanks at the end of the line".to_owned());
    let note = NOTES.iter().find(|note| has_word(line, note));
    let note = note.map(|note| format!("a note to oneself ({note}): do it, or open an issue"));
    tab.into_iter().chain(trailing).chain(note)
}

fn has_word(line: &str, word: &str) -> bool {
    let boundary = |character: Option<char>| {
        !character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

fn rust(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A README beside the code may be the header: `#![doc = include_str!(...)]`.
    if !source.text.starts_with("//!") && !source.text.starts_with("#![doc = include_str!(") {
        let what =
            "does not open with `//!` lines that say its one idea and its place in the house";
        findings.push(Finding::error(&source.file, 1, what));
    }
    if is_test_file(&source.file) {
        return findings;
    }
    let lines = source
        .text
        .lines()
        .count()
        .saturating_sub(paths::facts(&source.text, &[]).test_lines());
    if lines > LINES_MAX {
        findings.push(Finding::error(
            &source.file,
            0,
            format!("{lines} lines without tests, {LINES_MAX} at most: split it"),
        ));
    } else if lines >= LINES_MANY {
        findings.push(Finding::warning(
            &source.file,
            0,
            format!("{lines} lines without tests: which second idea moved in?"),
        ));
    }
    findings
}

/// A file that holds nothing but tests, by its name.
pub fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}
