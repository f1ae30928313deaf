//! Each rule of tidy is broken on purpose, and must notice: a check that cannot fail checks nothing.

use super::*;

fn source(file: &str, text: &str) -> Source {
    Source {
        file: file.to_owned(),
        text: text.to_owned(),
    }
}

/// Findings for files that hold only what is given (the `//!` line is added), in a root without other files.
fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let with_header = |(file, text): &(&str, &str)| {
        let header = if file.ends_with(".rs") {
            "//! A file.\n"
        } else {
            ""
        };
        source(file, &format!("{header}{text}\n"))
    };
    let sources: Vec<Source> = files.iter().map(with_header).collect();
    check(Path::new("/nonexistent"), &sources)
        .into_iter()
        .map(|finding| finding.what)
        .collect()
}

#[track_caller]
fn caught(files: &[(&str, &str)], word: &str) {
    let found = findings(files);
    assert!(
        found.iter().any(|what| what.contains(word)),
        "nothing says `{word}`: {found:?}"
    );
}

#[track_caller]
fn clean(files: &[(&str, &str)]) {
    assert_eq!(findings(files), Vec::<String>::new());
}

const ENGINE_PAGE: &str = "crates/afterimage/src/page/op.rs";
const ENGINE_TREE: &str = "crates/afterimage/src/tree/mod.rs";
const LOG_SYNC: &str = "crates/afterimage-log/src/sync.rs";

#[test]
fn an_import_that_runs_back_in_the_engine() {
    let tree = (ENGINE_TREE, "use crate::page::Page;");
    clean(&[tree, (ENGINE_PAGE, "")]);
    caught(
        &[tree, (ENGINE_PAGE, "use crate::tree::Tree;")],
        "import runs back: page -> tree",
    );
    caught(
        &[tree, (ENGINE_PAGE, "fn f() { super::super::tree::g(); }")],
        "import runs back: page -> tree",
    );
    caught(
        &[
            tree,
            (
                ENGINE_PAGE,
                "use crate::{ids::PageId, tree::{Tree, Cursor}};",
            ),
        ],
        "`crate::tree::Cursor`",
    );
}

#[test]
fn an_import_that_runs_back_through_a_reexport() {
    let root = ("crates/afterimage/src/lib.rs", "pub use tree::Tree;");
    caught(
        &[root, (ENGINE_TREE, ""), (ENGINE_PAGE, "use crate::Tree;")],
        "import runs back: page -> tree",
    );
}

#[test]
fn tests_may_look_anywhere_in_their_crate() {
    clean(&[
        (ENGINE_TREE, ""),
        (
            ENGINE_PAGE,
            "#[cfg(test)]\nmod tests { use crate::tree::Tree; }",
        ),
    ]);
    let parent = (
        "crates/afterimage/src/page/mod.rs",
        "#[cfg(test)]\nmod checks;",
    );
    clean(&[
        (ENGINE_TREE, ""),
        parent,
        (
            "crates/afterimage/src/page/checks.rs",
            "use crate::tree::Tree;",
        ),
    ]);
}

#[test]
fn a_module_without_a_place() {
    caught(
        &[("crates/afterimage/src/helpers.rs", "")],
        "`helpers` has no place in the order",
    );
}

#[test]
fn a_circle_in_another_crate() {
    let sync = (LOG_SYNC, "use crate::buffer::Buffer;");
    clean(&[sync, ("crates/afterimage-log/src/buffer.rs", "")]);
    caught(
        &[
            sync,
            ("crates/afterimage-log/src/buffer.rs", "use super::sync::x;"),
        ],
        "circle: buffer -> sync",
    );
}

#[test]
fn a_dependency_that_runs_back() {
    let manifest = "crates/afterimage-log/Cargo.toml";
    clean(&[(
        manifest,
        "[dependencies]\nafterimage-io = { workspace = true }",
    )]);
    for section in [
        "dependencies",
        "dev-dependencies",
        "target.'cfg(loom)'.dependencies",
    ] {
        caught(
            &[(
                manifest,
                &format!("[{section}]\nafterimage.workspace = true"),
            )],
            "afterimage-log -> afterimage",
        );
    }
    caught(
        &[(manifest, "[dependencies.afterimage-sim]\nworkspace = true")],
        "afterimage-log -> afterimage-sim",
    );
    caught(
        &[("crates/afterimage-moon/Cargo.toml", "")],
        "no place in the order",
    );
}

#[test]
fn every_way_past_io() {
    let ways = [
        "use std::fs;",
        "use std::{fs::File, io};",
        "fn f() { std::fs::read(p); }",
        "use std::time::Instant;",
        "use std::time; fn f() { time::SystemTime::now(); }",
        "use std::time::*;",
        "fn f() { std::thread::sleep(d); }",
        "use std::thread;",
        "use std::sync::{Arc, Mutex};",
        "use std::sync::RwLock;",
        "use std::sync::Condvar;",
        "use std::sync::Barrier;",
        "use std::sync::mpsc::channel;",
        "use std::sync as s; fn f() { s::Mutex::new(1); }",
        "use core::sync::atomic::AtomicU64;",
        "use std::hash::RandomState;",
        "use std::collections::hash_map::RandomState;",
        "fn f() { rand::random() }",
        "fn f() { std::process::id() }",
    ];
    for way in ways {
        caught(&[(LOG_SYNC, way)], "goes past afterimage-io");
        caught(&[(ENGINE_PAGE, way)], "goes past afterimage-io");
        clean(&[
            ("crates/afterimage-io/src/os.rs", way),
            ("crates/afterimage-cli/src/main.rs", way),
        ]);
        clean(&[
            ("crates/afterimage/tests/promise.rs", way),
            ("crates/afterimage/examples/open.rs", way),
        ]);
    }
    clean(&[(
        LOG_SYNC,
        "use std::sync::{Arc, OnceLock}; use std::time::Duration; // std::fs\nconst S: &str = \"std::fs\";",
    )]);
}

#[test]
fn unit_tests_may_use_real_files_but_no_real_threads() {
    clean(&[(
        LOG_SYNC,
        "#[cfg(test)]\nmod tests { use std::fs; fn f() { std::env::temp_dir(); } }",
    )]);
    caught(
        &[(
            LOG_SYNC,
            "#[cfg(test)]\nmod tests { fn f() { std::thread::spawn(g); } }",
        )],
        "std::thread",
    );
    caught(
        &[(
            "crates/afterimage-log/src/sync/tests.rs",
            "use std::sync::Mutex;",
        )],
        "std::sync::Mutex",
    );
}

#[test]
fn a_map_in_random_order() {
    caught(
        &[(
            ENGINE_PAGE,
            "use std::collections::HashMap; fn f() { HashMap::new() }",
        )],
        "random seed",
    );
    clean(&[(
        ENGINE_PAGE,
        "use std::collections::HashMap; fn f() { HashMap::with_hasher(FixedState::default()) }",
    )]);
}

#[test]
fn a_file_without_a_header() {
    let found = check(
        Path::new("/nonexistent"),
        &[source(
            "crates/afterimage/src/ids.rs",
            "/// Doc.\nstruct A;\n",
        )],
    );
    assert!(found[0].what.contains("does not open with"), "{found:?}");
}

#[test]
fn notes_tabs_and_blanks() {
    for note in [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
    ] {
        caught(
            &[("docs/a.md", &format!("soon ({note}: this)"))],
            "note to oneself",
        );
        clean(&[("docs/a.md", &format!("word{note}word"))]);
    }
    caught(&[("docs/a.md", "a\tb")], "tab");
    caught(&[("docs/a.md", "a  \nb")], "blanks at the end");
    let found = check(Path::new("/nonexistent"), &[source("a.md", "no end")]);
    assert!(found[0].what.contains("no end"), "{found:?}");
}

#[test]
fn a_file_that_grew_too_long() {
    let body = |lines: usize| "fn f() {}\n".repeat(lines);
    caught(&[(ENGINE_PAGE, &body(901))], "split it");
    caught(&[(ENGINE_PAGE, &body(820))], "which second idea");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", body(2000));
    clean(&[
        (ENGINE_PAGE, &tests),
        ("crates/afterimage/src/page/tests.rs", &body(2000)),
    ]);
}

#[test]
fn links_that_lead_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let linked = |text: &str| links::check(root, &source("src/a.md", text)).len();
    assert_eq!(
        linked("[x](main.rs) [y](../Cargo.toml) [z](https://example.org/a) [w](crate::Io)"),
        0
    );
    assert_eq!(linked("[x](gone.rs) and [y](../gone/)"), 2);
    assert_eq!(linked("`[x](gone.rs)`\n```\n[x](gone.rs)\n```"), 0);
    assert_eq!(linked("# The `Log`, twice\n[x](#the-log-twice)"), 0);
    assert_eq!(linked("# A\n[x](#b)"), 1);
}

#[test]
fn an_invariant_that_nobody_explains_or_asserts() {
    let document = |ids: &str| {
        source(
            "ARCHITECTURE.md",
            &format!("<!-- invariants -->\n{ids}<!-- end of invariants -->\n"),
        )
    };
    let code = source(
        ENGINE_PAGE,
        "//! A file.\nfn f() {\n    assert!(x, \"PAGE-1: why\");\n}\n",
    );
    let tests = source(
        LOG_SYNC,
        "//! A file.\n#[cfg(test)]\nmod tests {\n    const X: &str = \"LOG-9: no\";\n}\n",
    );
    let found = |ids: &str| invariants::check(&[document(ids), code.clone(), tests.clone()]);
    assert_eq!(found("| PAGE-1 | said |\n"), []);
    assert!(
        found("")[0]
            .what
            .contains("PAGE-1 is asserted here and explained nowhere")
    );
    assert!(
        found("| PAGE-1 | said |\n| PAGE-2 | said |\n")[0]
            .what
            .contains("PAGE-2 is explained here and asserted nowhere")
    );
}

#[test]
fn a_first_program_that_nobody_compiles() {
    let readme = source("README.md", "# A\n\n```rust\nfn main() {}\n```\n");
    let program = |text: &str| source("crates/afterimage/examples/readme.rs", text);
    assert_eq!(
        readme::check(&[readme.clone(), program("//! It.\n\nfn main() {}\n")]),
        None
    );
    assert!(readme::check(&[readme.clone(), program("//! It.\n\nfn main() { f() }\n")]).is_some());
    assert!(readme::check(&[readme]).is_some());
}

#[test]
fn the_house_itself_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds xtask");
    let sources = read_tree(root).expect("the tree can be read");
    assert!(
        sources
            .iter()
            .any(|source| source.file == "xtask/src/tidy/tests.rs")
    );
    assert!(
        sources
            .iter()
            .all(|source| !source.file.starts_with("target/"))
    );
}

#[test]
fn every_unsafe_is_in_the_table() {
    let table = |rows: &str| format!("<!-- unsafe -->\n{rows}<!-- end of unsafe -->\n");
    let (none, one) = (table(""), table("| `rigs/src/call.rs` | 1 | why |\n"));
    let block = ("rigs/src/call.rs", "fn f() { unsafe { g() } }");
    clean(&[("docs/testing.md", &one), block]);
    clean(&[
        ("docs/testing.md", &none),
        ("rigs/src/call.rs", "// unsafe"),
    ]);
    caught(&[("docs/testing.md", &none), block], "1 times `unsafe`");
    caught(
        &[("docs/testing.md", &one), ("rigs/src/call.rs", "fn f() {}")],
        "0 times `unsafe`",
    );
    caught(&[("docs/testing.md", &one)], "is not there");
}
