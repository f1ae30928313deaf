//! Every `unsafe` of ours is in the table of `docs/testing.md`, file by file, and the table has no other.
//!
//! The table says why it is there and what runs it; one that came in without a word would be looked at by nobody.

use super::{Finding, Source, tokens::tokens};
use std::collections::BTreeMap;

const DOCUMENT: &str = "docs/testing.md";
const OPEN: &str = "<!-- unsafe";
const CLOSE: &str = "<!-- end of unsafe -->";

/// Files with more or fewer than the table says, if the document is there at all.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(document) = sources.iter().find(|source| source.file == DOCUMENT) else {
        return Vec::new();
    };
    let mut listed = listed(&document.text);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.file.ends_with(".rs")) {
        let found = tokens(&source.text);
        let lines: Vec<usize> = (found.iter().filter(|token| token.is_word("unsafe")))
            .map(|token| token.line)
            .collect();
        let (count, _) = listed.remove(&source.file).unwrap_or_default();
        if lines.len() != count {
            let what = format!(
                "{} times `unsafe`, and {count} in the table of {DOCUMENT}: say there why, and what runs it",
                lines.len()
            );
            findings.push(Finding::error(
                &source.file,
                lines.first().copied().unwrap_or(0),
                what,
            ));
        }
    }
    for (file, (_, line)) in listed {
        findings.push(Finding::error(
            DOCUMENT,
            line,
            format!("{file} is not there"),
        ));
    }
    findings
}

/// File to how many, and the table's line: rows like "| `file` | 1 | ...".
fn listed(document: &str) -> BTreeMap<String, (usize, usize)> {
    let lines = (document.lines().enumerate()).skip_while(|(_, line)| !line.starts_with(OPEN));
    let table = lines.take_while(|(_, line)| !line.starts_with(CLOSE));
    let row = |line: &str| {
        let (file, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let count = rest.split(' ').next()?.parse().ok()?;
        Some((file.to_owned(), count))
    };
    table
        .filter_map(|(index, line)| {
            let (file, count) = row(line)?;
            Some((file, (count, index + 1)))
        })
        .collect()
}
