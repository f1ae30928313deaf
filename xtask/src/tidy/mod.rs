//! `cargo xtask tidy`: the house rules that no other tool knows, each in a file of its own.
//!
//! `text` looks at any file, `tokens` and `paths` read Rust, `order` keeps imports on their one-way street, `doors` keeps
//! the outside world behind `afterimage-io`, `links` follows the documents' links, `invariants` compares the assertions
//! with their explanation, `unsafe_code` each `unsafe` with its table, `readme` README's program with a compiled one; `rooms`, beside this folder, keeps the list of
//! files true. A rule returns what it found; only this file prints.

mod doors;
mod invariants;
mod links;
mod order;
mod paths;
mod readme;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod unsafe_code;

use crate::rooms;
use crate::run::{Failed, Outcome};
use std::path::{Path, PathBuf};

/// One thing that is not as the house rules want it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the workspace's root, with `/`.
    pub file: String,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub what: String,
    /// Worth a look, but no failure.
    pub warning: bool,
}

impl Finding {
    fn error(file: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            file: file.to_owned(),
            line,
            what: what.into(),
            warning: false,
        }
    }

    fn warning(file: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            warning: true,
            ..Finding::error(file, line, what)
        }
    }
}

/// A file of the workspace, read once for all rules.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the workspace's root, with `/`.
    pub file: String,
    /// All of it.
    pub text: String,
}

/// Checks the workspace and prints what it found.
///
/// # Errors
/// When there is a finding that is not just a warning, or the tree cannot be read.
pub fn command(root: &Path) -> Outcome {
    let sources = read_tree(root)
        .map_err(|error| Failed::Check(format!("tidy cannot read the tree: {error}")))?;
    let findings = check(root, &sources);
    for finding in &findings {
        let label = if finding.warning { "warning" } else { "error" };
        println!(
            "{label}: {}:{}: {}",
            finding.file, finding.line, finding.what
        );
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    println!(
        "tidy: {} files looked at, {errors} errors, {} warnings",
        sources.len(),
        findings.len() - errors
    );
    if errors == 0 {
        Ok(())
    } else {
        Err(Failed::Check("the house is not tidy".into()))
    }
}

/// Every rule over every file, sorted by place.
pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(text::check(source));
        if source.file.ends_with(".md") {
            findings.extend(links::check(root, source));
        }
    }
    findings.extend(rooms::check(sources).map(|(file, what)| Finding::error(file, 0, what)));
    findings.extend(invariants::check(sources));
    findings.extend(readme::check(sources));
    findings.extend(unsafe_code::check(sources));
    findings.extend(order::manifests(sources));
    for house in order::crates(sources) {
        findings.extend(order::modules(&house));
        findings.extend(doors::check(&house));
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Endings of the files that are text of ours. Golden files and other binaries are not looked at.
const TEXT: [&str; 8] = [
    ".rs", ".md", ".toml", ".yml", ".yaml", ".sh", ".txt", ".ci/run",
];

/// Every file that is text of ours, sorted by path.
///
/// # Errors
/// When a directory or file cannot be read.
pub fn read_tree(root: &Path) -> std::io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if !is_skipped(&path) {
                    left.push(path);
                }
            } else if let Some(source) = read_text(root, &path)? {
                sources.push(source);
            }
        }
    }
    sources.sort_by(|left, right| left.file.cmp(&right.file));
    Ok(sources)
}

fn is_skipped(directory: &Path) -> bool {
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let ours = matches!(name.as_str(), ".cargo" | ".ci" | ".github");
    name == "target" || (name.starts_with('.') && !ours)
}

fn read_text(root: &Path, path: &PathBuf) -> std::io::Result<Option<Source>> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<String> = relative
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let file = parts.join("/");
    if !TEXT.iter().any(|ending| file.ends_with(ending)) {
        return Ok(None);
    }
    Ok(Some(Source {
        file,
        text: std::fs::read_to_string(path)?,
    }))
}
