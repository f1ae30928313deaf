//! The book: the documents as pages with a table of contents, made by mdBook into the target directory.
//!
//! mdBook is installed on first use. The documents are written to be read where they lie, so a link that leads out of the book is turned
//! into one to the repository before mdBook sees it.

use crate::run::{Failed, Outcome, target_dir};
use crate::tools;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The version that is installed where none is found. It builds with our minimum Rust version.
const VERSION: &str = "0.5.4";
/// The book's own address leads to its first page.
const BEGIN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Afterimage</title>\
<meta http-equiv=\"refresh\" content=\"0; url=book/start.html\"><p><a href=\"book/start.html\">Start here</a></p></html>\n";
const REPOSITORY: &str = "https://github.com/afterimage-db/afterimage/blob/main";

/// Builds it.
///
/// # Errors
/// When a page is missing or mdBook says so.
pub fn build(root: &Path) -> Outcome {
    let Some(mdbook) = tools::find(root, "mdbook", VERSION)? else {
        println!("SKIPPED: mdbook is not installed and could not be fetched (offline?)");
        return Ok(());
    };
    let (docs, copy) = (root.join("docs"), target_dir(root).join("book-source"));
    let told = |error: std::io::Error| Failed::Check(format!("the book's pages: {error}"));
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(told)?;
    }
    let contents = fs::read_to_string(docs.join("SUMMARY.md")).map_err(told)?;
    let pages = pages(&contents);
    copy_pages(&docs, &docs, &copy, &pages).map_err(told)?;
    let into = target_dir(root).join("book");
    let build = mdbook.words(["build", "--dest-dir", &into.display().to_string()]);
    build.words([&copy.display().to_string()]).run(root)?;
    // mdBook puts the first page there once more, and the links in it would lead nowhere.
    fs::write(into.join("index.html"), BEGIN).map_err(told)?;
    println!("the book: {}", into.join("index.html").display());
    Ok(())
}

/// The pages that the table of contents names, from the documents' directory on.
fn pages(contents: &str) -> BTreeSet<PathBuf> {
    let links = contents.split("](").skip(1);
    let targets = links.filter_map(|rest| rest.split(')').next());
    targets.map(PathBuf::from).collect()
}

fn copy_pages(
    docs: &Path,
    from: &Path,
    to: &Path,
    pages: &BTreeSet<PathBuf>,
) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_pages(docs, &path, &target, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let here = path.strip_prefix(docs).unwrap_or(&path);
            fs::write(target, with_links(&fs::read_to_string(&path)?, here, pages))?;
        } else {
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}

/// The text of the page `here` with links that lead out of the book turned into links to the repository.
fn with_links(text: &str, here: &Path, pages: &BTreeSet<PathBuf>) -> String {
    let mut parts = text.split("](");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("](");
        let end = part.find(')').unwrap_or(part.len());
        let (link, rest) = part.split_at(end);
        let file = link.split('#').next().unwrap_or_default();
        let from_docs = here.parent().unwrap_or(Path::new("")).join(file);
        let from_root = plain(&Path::new("docs").join(from_docs));
        // A page of the book, or a picture beside its pages.
        let is_there = |in_docs: &Path| pages.contains(in_docs) || !file.ends_with(".md");
        let of_the_book = from_root.strip_prefix("docs").is_ok_and(is_there);
        match file.is_empty() || file.contains("://") || of_the_book {
            true => out.push_str(link),
            false => {
                let fragment = &link[file.len()..];
                out.push_str(&format!("{REPOSITORY}/{}{fragment}", from_root.display()));
            }
        }
        out.push_str(rest);
    }
    out
}

/// Without `..` and `.`; one that leads out of where it begins keeps what is left of it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_book_lead_to_the_repository() {
        let pages = pages("# The book\n- [A](a.md)\n- [B](book/b.md)\n");
        let linked = |link: &str, here: &str| {
            let text = with_links(&format!("see [it]({link})."), Path::new(here), &pages);
            text["see [it](".len()..text.len() - ").".len()].to_owned()
        };
        for (here, stays) in [
            ("a.md", "book/b.md#part"),
            ("book/b.md", "../a.md"),
            ("a.md", "#part"),
            ("a.md", "https://example.org/x.md"),
            ("a.md", "img/page.png"),
            ("book/b.md", "../img/page.png"),
        ] {
            assert_eq!(linked(stays, here), stays);
        }
        let repository = |file: &str| format!("{REPOSITORY}/{file}");
        assert_eq!(linked("../README.md", "a.md"), repository("README.md"));
        assert_eq!(
            linked("../../bench-compare/README.md#how", "book/b.md"),
            repository("bench-compare/README.md#how")
        );
        assert_eq!(
            linked("decisions/0001-x.md", "a.md"),
            repository("docs/decisions/0001-x.md")
        );
    }

    #[test]
    fn every_page_of_the_book_is_there() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let contents = fs::read_to_string(docs.join("SUMMARY.md")).expect("the book has contents");
        let pages = pages(&contents);
        assert!(pages.len() > 10);
        for page in pages {
            assert!(docs.join(&page).is_file(), "{}", page.display());
        }
    }
}
