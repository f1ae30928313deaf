//! Starting other programs: each is printed before it runs, and its failure ends the command.
//!
//! Every other file of xtask comes through here, so that what a person sees on the screen is what was really done and
//! can be typed again by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a command of xtask did not succeed.
#[derive(Debug)]
pub enum Failed {
    /// The command line was not understood: exit 2.
    Usage(String),
    /// Something that was checked is not as it should be: exit 1.
    Check(String),
}

/// What every command returns.
pub type Outcome = Result<(), Failed>;

/// One program to run: words, and the environment that differs from ours.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Program {
    /// `cargo` (the one that runs us) with the words of `arguments`, split at blanks.
    pub fn cargo(arguments: &str) -> Program {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
        Program::named(&cargo).words(arguments.split_whitespace())
    }

    /// A program by name or path.
    pub fn named(program: &str) -> Program {
        Program {
            words: vec![program.to_owned()],
            environment: Vec::new(),
        }
    }

    /// Adds words to the command line.
    pub fn words<T: AsRef<str>>(mut self, words: impl IntoIterator<Item = T>) -> Program {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Program {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds to `RUSTFLAGS` without losing what the person has set, and builds in `target/<directory>`, because other
    /// flags in the same directory would rebuild everything twice.
    pub fn rust_flags(self, root: &Path, flags: &str, directory: &str) -> Program {
        let before = std::env::var("RUSTFLAGS").unwrap_or_default();
        let all = format!("{before} {flags}");
        let target = target_dir(root).join(directory);
        self.env("RUSTFLAGS", all.trim())
            .env("CARGO_TARGET_DIR", &target.display().to_string())
    }

    /// The command line as a person would type it.
    fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.environment {
            line.push_str(&format!("{name}={} ", quoted(value)));
        }
        let program = Path::new(&self.words[0]);
        let short = program.file_name().map_or(self.words[0].clone(), |name| {
            name.to_string_lossy().into_owned()
        });
        line.push_str(&short);
        for word in &self.words[1..] {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        line
    }

    /// Prints the command line, runs it in `root`, waits.
    ///
    /// # Errors
    /// `Check` when it cannot be started or ends with anything but 0.
    pub fn run(&self, root: &Path) -> Outcome {
        if self.succeeds(root)? {
            Ok(())
        } else {
            Err(Failed::Check(format!("failed: {}", self.line())))
        }
    }

    /// Like [`Program::run`], but leaves the judgement of a failure to the caller.
    ///
    /// # Errors
    /// `Check` when it cannot be started.
    pub fn succeeds(&self, root: &Path) -> Result<bool, Failed> {
        println!("$ {}", self.line());
        let status = self.command(root).status();
        status
            .map(|status| status.success())
            .map_err(|error| Failed::Check(format!("cannot start {}: {error}", self.words[0])))
    }

    /// Prints the command line, runs it unseen; answers whether it succeeded, and what it said on standard error.
    ///
    /// # Errors
    /// `Check` when it cannot be started.
    pub fn succeeds_and_says(&self, root: &Path) -> Result<(bool, String), Failed> {
        println!("$ {}", self.line());
        let output = self.command(root).output();
        output
            .map(|output| {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                (output.status.success(), said)
            })
            .map_err(|error| Failed::Check(format!("cannot start {}: {error}", self.words[0])))
    }

    /// Runs it unseen and says whether it could be started and succeeded: to find out what is installed.
    pub fn answers(&self, root: &Path) -> bool {
        self.command(root)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Runs it unseen: what it says on standard output, if it could be started and succeeded.
    pub fn prints(&self, root: &Path) -> Option<String> {
        let output = self.command(root).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(root);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The directory that cargo builds into, as an absolute path.
pub fn target_dir(root: &Path) -> PathBuf {
    let chosen =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root.join(chosen)
}

fn quoted(word: &str) -> String {
    if word.contains(' ') || word.is_empty() {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shown_can_be_typed_again() {
        let program = Program::named("/opt/rust/bin/cargo")
            .words(["doc", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            program.line(),
            "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps"
        );
    }

    #[test]
    fn a_program_that_fails_fails_the_command() {
        let failing = Program::cargo("this-command-does-not-exist");
        assert!(!failing.answers(Path::new(".")));
        assert!(matches!(
            Program::named("no-such-program-anywhere").run(Path::new(".")),
            Err(Failed::Check(_))
        ));
    }
}
