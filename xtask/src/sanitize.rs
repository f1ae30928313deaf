//! `cargo xtask miri` and `cargo xtask tsan`: the tests of pages, records, frames and real threads under an interpreter that
//! notices undefined behaviour, and under a sanitizer that notices data races.
//!
//! Both need parts of Rust that a stable installation has not. Where one is missing the command says SKIPPED and how to
//! install it, and exits with 0; it never says "passed" of something that was not run.

use crate::run::{Failed, Outcome, Program, target_dir};
use std::path::Path;

/// What the tests are run for, where nothing else was asked for.
const TOOLCHAIN: &str = "nightly";

/// Under Miri, modules that are bytes and arithmetic alone: package, and the tests' names.
const MIRI: [(&str, &[&str]); 2] = [
    ("afterimage-log", &["bytes::", "frame::", "units::"]),
    (
        "afterimage",
        &["codec::", "interval::", "page::", "record::"],
    ),
];

/// Under ThreadSanitizer, tests whose threads are real: package, and what to build.
const TSAN: [(&str, &str); 3] = [
    ("afterimage-io", "--lib --test real"),
    ("afterimage-log", "--test wal --test futures --test real"),
    (
        "afterimage",
        "--test futures --test isolation --test snapshots",
    ),
];

/// The toolchain that was asked for on the command line.
fn toolchain(command: &str, arguments: &[String]) -> Result<String, Failed> {
    match arguments {
        [] => Ok(TOOLCHAIN.to_owned()),
        [option, name] if option == "--toolchain" && !name.is_empty() => Ok(name.clone()),
        [option] if option == "--toolchain" => {
            Err(Failed::Usage("--toolchain needs a value".to_owned()))
        }
        _ => {
            let rest = arguments.join(" ");
            Err(Failed::Usage(format!("`{command}` takes no `{rest}`")))
        }
    }
}

/// Miri over the modules that are data alone.
///
/// # Errors
/// `Usage`; `Check` where a test fails.
pub fn miri(root: &Path, arguments: &[String]) -> Outcome {
    let toolchain = toolchain("miri", arguments)?;
    if !of(&toolchain, "cargo miri --version").answers(root) {
        return skipped(&toolchain, "Miri", "miri");
    }
    for (package, tests) in MIRI {
        // The simulated world needs neither files nor clocks, so isolation stays on.
        of(&toolchain, "cargo miri test --quiet --lib")
            .words(["-p", package, "--"])
            .words(tests)
            .env("CARGO_TARGET_DIR", &directory(root, "miri"))
            .run(root)?;
    }
    Ok(())
}

/// ThreadSanitizer over the tests with real threads, with a standard library that is built for it: one that is not shows
/// races where there are none.
///
/// # Errors
/// `Usage`; `Check` where a test fails, or a race is found.
pub fn tsan(root: &Path, arguments: &[String]) -> Outcome {
    let toolchain = toolchain("tsan", arguments)?;
    let printed = |what: &str| of(&toolchain, what).prints(root);
    let has_sources = |root: &String| {
        let library = Path::new(root.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
        library.is_file()
    };
    let Some(_) = printed("rustc --print sysroot").filter(has_sources) else {
        return skipped(&toolchain, "the standard library's source", "rust-src");
    };
    let Some(host) = printed("rustc -vV").as_deref().and_then(host_of) else {
        return Err(Failed::Check(
            "rustc does not say what it builds for".into(),
        ));
    };
    for (package, tests) in TSAN {
        of(&toolchain, "cargo test --quiet -Zbuild-std")
            .words(["--target", &host, "-p", package])
            .words(tests.split(' '))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=thread")
            .env("CARGO_TARGET_DIR", &directory(root, "tsan"))
            .run(root)?;
    }
    Ok(())
}

/// A program of this toolchain, by its command line.
fn of(toolchain: &str, line: &str) -> Program {
    Program::named("rustup")
        .words(["run", toolchain])
        .words(line.split(' '))
}

/// Other flags in the same directory would rebuild everything.
fn directory(root: &Path, name: &str) -> String {
    target_dir(root).join(name).display().to_string()
}

fn host_of(version: &str) -> Option<String> {
    let host = |line: &str| Some(line.strip_prefix("host: ")?.trim().to_owned());
    version.lines().find_map(host)
}

fn skipped(toolchain: &str, what: &str, component: &str) -> Outcome {
    println!(
        "SKIPPED: {what} is not installed for `{toolchain}`: NOTHING WAS RUN. It comes with\n    \
         rustup toolchain install {toolchain} --component {component}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<String, Failed> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        toolchain("miri", &words)
    }

    #[test]
    fn a_toolchain_is_read_and_the_rest_is_refused() {
        assert_eq!(parse("").expect("nothing is legal"), TOOLCHAIN);
        assert_eq!(parse("--toolchain stable").expect("legal"), "stable");
        for wrong in ["--toolchain", "stable", "--toolchain a b", "--fast 1"] {
            assert!(matches!(parse(wrong), Err(Failed::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn what_is_built_for_is_found_in_what_the_compiler_says() {
        let said = "rustc 1.2.3\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.2.3\n";
        assert_eq!(host_of(said).as_deref(), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_of("rustc 1.2.3"), None);
    }

    /// A test that was renamed would be left out without a word.
    #[test]
    fn every_test_that_is_named_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        for (package, tests) in TSAN {
            for test in tests.split("--test ").skip(1) {
                let file = root.join(package).join("tests").join(test.trim());
                assert!(file.with_extension("rs").is_file(), "{package}: {test}");
            }
        }
        for (package, modules) in MIRI {
            for module in modules {
                let path = root
                    .join(package)
                    .join("src")
                    .join(&module[..module.len() - 2]);
                assert!(
                    path.is_dir() || path.with_extension("rs").is_file(),
                    "{module}"
                );
            }
        }
    }
}
