//! `cargo xtask page`: the live page in a real browser, under load, as a person would use it.
//!
//! The driver is a script (`page/check.mjs`) beside this crate: what drives browsers and what judges accessibility is made for
//! scripts. This file sees to it that everything is there, and says so aloud where it cannot be had.

use crate::run::{Failed, Outcome, Program, target_dir};
use std::path::Path;

/// Names under which Chromium is installed.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Runs the check; `--keep` puts the pictures into `docs/img`.
///
/// # Errors
///
/// `Usage`; `Check` when the page is not as it should be.
pub fn command(root: &Path, arguments: &[String]) -> Outcome {
    let keep = match arguments {
        [] => false,
        [word] if word == "--keep" => true,
        _ => {
            let words = arguments.join(" ");
            return Err(Failed::Usage(format!("`page` takes no `{words}`")));
        }
    };
    let Some(browser) = browser(root)? else {
        return skipped("there is no Chromium, and it could not be installed");
    };
    let there = has(root, "node") && has(root, "npm");
    if !there && !install(root, &["nodejs", "npm"])? {
        return skipped("there is no node, and it could not be installed");
    }
    let place = target_dir(root).join("page");
    let failed = |error: std::io::Error| Failed::Check(format!("{}: {error}", place.display()));
    std::fs::create_dir_all(&place).map_err(failed)?;
    for file in ["package.json", "check.mjs"] {
        std::fs::copy(root.join("xtask/page").join(file), place.join(file)).map_err(failed)?;
    }
    let fetch = Program::named("npm")
        .words(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
        .words(["--no-package-lock", "--loglevel=error"]);
    if !fetch.succeeds(&place)? {
        return skipped("puppeteer-core and axe-core could not be fetched (offline?)");
    }
    Program::cargo("build --package afterimage-cli --quiet").run(root)?;
    let binary = target_dir(root)
        .join("debug")
        .join(format!("afterimage{}", std::env::consts::EXE_SUFFIX));
    let pictures = if keep {
        root.join("docs/img")
    } else {
        place.join("img")
    };
    std::fs::create_dir_all(&pictures).map_err(failed)?;
    Program::named("node")
        .words(["check.mjs", &browser])
        .words([binary.display(), pictures.display()].map(|path| path.to_string()))
        .run(&place)
}

/// A browser that is there, or one that was just installed.
fn browser(root: &Path) -> Result<Option<String>, Failed> {
    let found = || BROWSERS.into_iter().find(|name| has(root, name));
    if found().is_none() {
        install(root, &["chromium"])?;
    }
    Ok(found().map(str::to_owned))
}

fn has(root: &Path, program: &str) -> bool {
    Program::named(program).words(["--version"]).answers(root)
}

/// Installs packages, where this is a Debian and we may.
fn install(root: &Path, packages: &[&str]) -> Result<bool, Failed> {
    let apt = || Program::named("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    if !has(root, "apt-get") {
        return Ok(false);
    }
    let install = || {
        apt()
            .words(["install", "--yes", "--quiet", "--no-install-recommends"])
            .words(packages)
    };
    Ok(install().succeeds(root)?
        || (apt().words(["update", "--quiet"]).succeeds(root)? && install().succeeds(root)?))
}

fn skipped(why: &str) -> Outcome {
    println!("SKIPPED: {why}: THE PAGE WAS NOT LOOKED AT");
    Ok(())
}
