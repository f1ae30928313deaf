//! The list of files in ARCHITECTURE.md, made from what each file says of itself in its first sentence.
//!
//! A list kept by hand is wrong within a week. `cargo xtask rooms` writes it between two marks; tidy only compares, so
//! that a file that came, went or changed its purpose shows.

use crate::run::{Failed, Outcome};
use crate::tidy::{Source, read_tree};
use std::collections::BTreeMap;
use std::path::Path;

/// The document, the line before the list and the line behind it.
const DOCUMENT: &str = "ARCHITECTURE.md";
const OPEN: &str = "<!-- rooms: written by `cargo xtask rooms` -->";
const CLOSE: &str = "<!-- end of rooms -->";

/// The crates in the order in which a stranger should walk through them.
const ORDER: [&str; 11] = [
    "crates/afterimage-io",
    "crates/afterimage-log",
    "crates/afterimage",
    "crates/afterimage-explain",
    "crates/afterimage-server",
    "crates/afterimage-cli",
    "crates/afterimage-sim",
    "xtask",
    "rigs",
    "bench-compare",
    "fuzz",
];

/// Writes the list anew.
///
/// # Errors
/// When the tree cannot be read, or ARCHITECTURE.md written.
pub fn command(root: &Path) -> Outcome {
    let failed = |error: std::io::Error| Failed::Check(format!("{DOCUMENT}: {error}"));
    let sources = read_tree(root).map_err(failed)?;
    match document(&sources) {
        None => Err(Failed::Check(format!(
            "{DOCUMENT} has no lines `{OPEN}` and `{CLOSE}`"
        ))),
        Some((now, wanted)) if now == wanted => {
            println!("{DOCUMENT} is as the tree is");
            Ok(())
        }
        Some((_, wanted)) => {
            std::fs::write(root.join(DOCUMENT), wanted).map_err(failed)?;
            println!("{DOCUMENT} written anew");
            Ok(())
        }
    }
}

/// What is wrong with the list, if anything; a tree without the document has no list to be wrong.
pub fn check(sources: &[Source]) -> Option<(&'static str, String)> {
    sources.iter().find(|source| source.file == DOCUMENT)?;
    let what = match document(sources) {
        None => format!("has no lines `{OPEN}` and `{CLOSE}`"),
        Some((now, wanted)) if now == wanted => return None,
        Some((now, wanted)) => {
            let gone = now.lines().find(|line| !wanted.contains(line));
            let new = wanted.lines().find(|line| !now.contains(line));
            let shown = new.or(gone).unwrap_or("the order").trim();
            format!(
                "its list of files is not what the tree holds ({shown}): run `cargo xtask rooms`"
            )
        }
    };
    Some((DOCUMENT, what))
}

/// The document as it is and as it should be.
fn document(sources: &[Source]) -> Option<(String, String)> {
    let now = &sources.iter().find(|source| source.file == DOCUMENT)?.text;
    let (before, rest) = now.split_once(OPEN)?;
    let (_, after) = rest.split_once(CLOSE)?;
    Some((
        now.clone(),
        format!("{before}{OPEN}\n\n{}{CLOSE}{after}", list(sources)),
    ))
}

fn list(sources: &[Source]) -> String {
    let by_file: BTreeMap<&str, &str> = sources
        .iter()
        .map(|source| (source.file.as_str(), source.text.as_str()))
        .collect();
    let mut list = String::new();
    for house in ORDER {
        list.push_str(&format!("### `{house}`\n\n"));
        for (file, text) in &by_file {
            let Some(inside) = file
                .strip_prefix(house)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            if inside.ends_with(".rs") && !inside.ends_with("/tests.rs") {
                let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
                list.push_str(&format!(
                    "- [`{inside}`]({file}): {}\n",
                    sentence(text, folder, &by_file)
                ));
            }
        }
        list.push('\n');
    }
    list
}

/// The first sentence of what a file says of itself, in the file or in the README that it includes.
fn sentence(text: &str, folder: &str, by_file: &BTreeMap<&str, &str>) -> String {
    let header: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let mut said = first_paragraph(&header);
    if said.is_empty() {
        let included = text.lines().next().and_then(|line| {
            line.strip_prefix("#![doc = include_str!(\"")?
                .strip_suffix("\")]")
        });
        let readme = included.and_then(|path| by_file.get(resolve(folder, path).as_str()));
        said = first_paragraph(
            &readme
                .map(|readme| readme.lines().collect::<Vec<_>>())
                .unwrap_or_default(),
        );
    }
    let end = said.find(". ").unwrap_or(said.len());
    let plain = without_links(said[..end].trim_end_matches(['.', ':']));
    if plain.is_empty() {
        "(says nothing of itself)".to_owned()
    } else {
        plain
    }
}

/// rustdoc's links to items would lead nowhere from here: ``[`A`](b::A)`` and ``[`A`]`` become `` `A` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split("[`").enumerate() {
        let Some((name, rest)) = part.split_once("`]").filter(|_| index > 0) else {
            plain.push_str(part);
            continue;
        };
        let rest = rest
            .strip_prefix('(')
            .and_then(|link| link.split_once(')'))
            .map_or(rest, |(_, rest)| rest);
        plain.push_str(&format!("`{name}`{rest}"));
    }
    plain
}

fn first_paragraph(lines: &[&str]) -> String {
    let skipped = lines
        .iter()
        .skip_while(|line| line.is_empty() || line.starts_with('#'));
    let paragraph: Vec<&str> = skipped
        .take_while(|line| !line.is_empty())
        .copied()
        .collect();
    paragraph.join(" ")
}

fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(document: &str, file: &str) -> Vec<Source> {
        let source = |name: &str, text: &str| Source {
            file: name.to_owned(),
            text: text.to_owned(),
        };
        vec![
            source(DOCUMENT, document),
            source("crates/afterimage/src/ids.rs", file),
            source(
                "crates/afterimage/src/lib.rs",
                "#![doc = include_str!(\"../README.md\")]\n",
            ),
            source(
                "crates/afterimage/README.md",
                "# Engine\n\nThe engine. More.\n",
            ),
        ]
    }

    #[test]
    fn the_list_says_what_the_files_say() {
        let frame = format!("a\n{OPEN}\nold\n{CLOSE}\nb\n");
        let (_, wanted) = document(&tree(&frame, "//! Names of\n//! things. More.\n"))
            .expect("both marks are there");
        assert!(
            wanted.contains("- [`src/ids.rs`](crates/afterimage/src/ids.rs): Names of things\n"),
            "{wanted}"
        );
        assert!(
            wanted.contains("- [`src/lib.rs`](crates/afterimage/src/lib.rs): The engine\n"),
            "{wanted}"
        );
        assert_eq!(
            check(&tree(&wanted, "//! Names of\n//! things. More.\n")),
            None
        );
    }

    #[test]
    fn links_to_items_become_plain() {
        assert_eq!(
            without_links("moved with [`apply`](super::apply), see [`Io`] (here)"),
            "moved with `apply`, see `Io` (here)"
        );
    }

    #[test]
    fn a_list_that_drifted_is_noticed() {
        let frame = format!("a\n{OPEN}\n{CLOSE}\nb\n");
        let (_, wanted) =
            document(&tree(&frame, "//! One thing.\n")).expect("both marks are there");
        let (_, what) =
            check(&tree(&wanted, "//! Another thing.\n")).expect("the sentence has changed");
        assert!(what.contains("Another thing"), "{what}");
        assert!(check(&tree("no marks", "//! One thing.\n")).is_some());
    }
}
