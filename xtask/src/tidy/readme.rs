//! The program on README's first screen is one that is compiled: `crates/afterimage/examples/readme.rs`, word for word.

use super::{Finding, Source};

const DOCUMENT: &str = "README.md";
const PROGRAM: &str = "crates/afterimage/examples/readme.rs";

/// A difference between the two, if README is there at all.
pub fn check(sources: &[Source]) -> Option<Finding> {
    let text = |file: &str| {
        sources
            .iter()
            .find(|source| source.file == file)
            .map(|source| source.text.as_str())
    };
    let shown = text(DOCUMENT)?
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let compiled: Option<String> = text(PROGRAM).map(|program| {
        let lines = program
            .lines()
            .skip_while(|line| line.starts_with("//!") || line.is_empty());
        lines.map(|line| format!("{line}\n")).collect()
    });
    let same = shown.is_some_and(|(shown, _)| Some(shown) == compiled.as_deref());
    (!same).then(|| {
        Finding::error(
            DOCUMENT,
            0,
            format!("its first program is not that of {PROGRAM}"),
        )
    })
}
