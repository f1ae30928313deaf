//! Tools that are not part of Rust: installed on first use, once per machine, into a cache directory of our own, so that
//! nothing appears among the person's own tools.

use crate::run::{Failed, Program};
use std::path::{Path, PathBuf};

/// The tool from the path, from our cache, or freshly installed; `None` where that failed.
///
/// # Errors
/// When cargo cannot be started.
pub fn find(root: &Path, tool: &str, version: &str) -> Result<Option<Program>, Failed> {
    let installed = Program::named(tool);
    if installed.clone().words(["--version"]).answers(root) {
        return Ok(Some(installed));
    }
    let home = cache_dir(root);
    let path = home
        .join("bin")
        .join(format!("{tool}{}", std::env::consts::EXE_SUFFIX));
    let cached = Program::named(&path.display().to_string());
    if cached.clone().words(["--version"]).answers(root) {
        return Ok(Some(cached));
    }
    println!(
        "{tool} is missing: installing it into {} (once; some minutes)",
        home.display()
    );
    let install = Program::cargo("install --locked --quiet").words([tool, "--version", version]);
    let install = install.words(["--root", &home.display().to_string()]);
    // Its build must not lock or fill the target directory that we are being built in.
    let built = install
        .env(
            "CARGO_TARGET_DIR",
            &home.join("build").display().to_string(),
        )
        .succeeds(root)?;
    let _ = std::fs::remove_dir_all(home.join("build"));
    Ok(built.then_some(cached))
}

/// Where tools of ours are kept between runs and between checkouts.
fn cache_dir(root: &Path) -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| root.join("target"));
    base.join("afterimage-xtask")
}
