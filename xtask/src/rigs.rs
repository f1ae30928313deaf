//! `cargo xtask rigs`: builds the program in `rigs/` and starts it; it is a workspace of its own, so its checks are here too.

use crate::deny;
use crate::run::{Failed, Outcome, Program, target_dir};
use std::path::Path;

/// The rigs with the person's own arguments; `check` instead looks at their code; `--install` first installs what is lacking.
///
/// # Errors
/// When they cannot be built, or one has failed.
pub fn command(root: &Path, arguments: &[String]) -> Outcome {
    if arguments.first().is_some_and(|word| word == "check") {
        return check(root);
    }
    let directory = target_dir(root).join("rigs");
    let mut words = arguments.to_vec();
    if let Some(at) = words.iter().position(|word| word == "--install") {
        words.remove(at);
        install(root)?;
    }
    let manifest = root.join("rigs/Cargo.toml").display().to_string();
    let program = Program::cargo("run --quiet --release --manifest-path")
        .words([manifest])
        .words(["--"])
        .words(&words);
    let program = if words.iter().any(|word| word == "--plant") {
        program.rust_flags(root, "--cfg planted", "planted")
    } else {
        program.env("CARGO_TARGET_DIR", &target_dir(root).display().to_string())
    };
    if words.iter().any(|word| word == "--dir" || word == "help") {
        return program.run(root);
    }
    program
        .words(["--dir", &directory.display().to_string()])
        .run(root)
}

/// Formatting, clippy, tests and dependency rules of that workspace.
fn check(root: &Path) -> Outcome {
    let target = target_dir(root).display().to_string();
    for words in [
        "fmt --check --manifest-path rigs/Cargo.toml",
        "clippy --release --all-targets --quiet --manifest-path rigs/Cargo.toml -- -D warnings",
        "test --release --quiet --manifest-path rigs/Cargo.toml",
    ] {
        Program::cargo(words)
            .env("CARGO_TARGET_DIR", &target)
            .run(root)?;
    }
    deny::check_other(root, "rigs/Cargo.toml")
}

fn install(root: &Path) -> Outcome {
    let packages = ["xfsprogs", "btrfs-progs", "strace"];
    let done = Program::named("apt-get")
        .words(["install", "-y", "--no-install-recommends"])
        .words(packages)
        .run(root);
    done.map_err(|_| {
        Failed::Check(format!(
            "install these with your system's own tools: {}",
            packages.join(", ")
        ))
    })
}
