//! Links in the documents lead somewhere: to a file that exists, at a heading that exists.
//!
//! Links to other sites are not followed: tidy needs no network, and a page of others may be down today.

use super::{Finding, Source};
use std::path::Path;

/// Every link of one Markdown file that leads nowhere.
pub fn check(root: &Path, source: &Source) -> Vec<Finding> {
    let folder = source
        .file
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (line, link) in links(&source.text) {
        if let Some(what) = judge(root, folder, &link, &source.text) {
            findings.push(Finding::error(&source.file, line, what));
        }
    }
    findings
}

fn judge(root: &Path, folder: &str, link: &str, own_text: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") || link.contains("::") {
        return None; // another site, or an item that rustdoc checks
    }
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let path = root.join(folder).join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("the link `{link}` leads nowhere"));
    }
    if heading.is_empty() {
        return None;
    }
    let text = if file.is_empty() {
        own_text.to_owned()
    } else {
        std::fs::read_to_string(&path).unwrap_or_default()
    };
    let known = prose(&text).any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
    (!known).then(|| format!("the link `{link}` leads to a heading that is not there"))
}

/// Lines outside fenced code, from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let plain: String = line
            .split('`')
            .enumerate()
            .map(|(index, part)| if index % 2 == 0 { part } else { "code" })
            .collect();
        for (at, _) in plain.match_indices("](") {
            let target: String = plain[at + 2..]
                .chars()
                .take_while(|letter| !matches!(letter, ')' | ' '))
                .collect();
            if !target.is_empty() {
                found.push((number, target));
            }
        }
    }
    found
}

/// The name that a heading gets when it is rendered.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}
