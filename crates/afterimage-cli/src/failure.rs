//! How a command ends when it does not end well: an exit code, and three lines that say what happened, where, and what to do.
//!
//! Exit codes are a contract with scripts: 0 done, 1 the data is wrong, 2 usage, 3 refused (in use, version, damage, the
//! disk). A reader that went away (a broken pipe) is no failure of ours: it ends the command quietly.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// Which of the documented exit codes a failure ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: the data is wrong, or is not there.
    Data,
    /// 2: the command line asks for something that makes no sense here.
    Usage,
    /// 3: refused: in use, unknown version, damage, a failing or full disk.
    Refused,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Data => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
        }
    }
}

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// Whoever read our output has gone; nothing is left to say.
    BrokenPipe,
    /// The result is already on stdout; only the exit code is left.
    Told(Exit),
    /// To be told on stderr.
    Error {
        /// The exit code.
        exit: Exit,
        /// What happened, in one line, without a full stop.
        what: String,
        /// Where: a path, a table, a line number.
        place: Option<String>,
        /// What the person can do now.
        advice: Option<String>,
    },
}

impl Failure {
    fn error(exit: Exit, what: impl fmt::Display) -> Self {
        Failure::Error {
            exit,
            what: what.to_string(),
            place: None,
            advice: None,
        }
    }

    /// The data is wrong or not there (exit 1).
    pub fn data(what: impl fmt::Display) -> Self {
        Self::error(Exit::Data, what)
    }

    /// The command line is wrong (exit 2).
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::error(Exit::Usage, what)
    }

    /// Refused (exit 3).
    pub fn refused(what: impl fmt::Display) -> Self {
        Self::error(Exit::Refused, what)
    }

    /// Adds where it happened, if nothing more exact is known already.
    pub fn at(mut self, where_: impl fmt::Display) -> Self {
        if let Failure::Error { place, .. } = &mut self {
            place.get_or_insert_with(|| where_.to_string());
        }
        self
    }

    /// Says first where in a larger thing it happened.
    pub fn within(mut self, where_: impl fmt::Display) -> Self {
        if let Failure::Error { what, .. } = &mut self {
            *what = format!("{where_}: {what}");
        }
        self
    }

    /// Adds what can be done, if nothing better is known already.
    pub fn advise(mut self, what: impl fmt::Display) -> Self {
        if let Failure::Error { advice, .. } = &mut self {
            advice.get_or_insert_with(|| what.to_string());
        }
        self
    }

    /// A failed write to our own output: quiet when the reader has gone.
    pub fn output(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::BrokenPipe;
        }
        Self::refused(format!("the result cannot be written: {error}")).at("standard output")
    }

    /// A failed operation on a file that is not the engine's.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::refused(format!("{doing} failed: {error}")).at(path.display())
    }

    /// Tells it on stderr, if there is anything to tell, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::BrokenPipe => ExitCode::SUCCESS,
            Failure::Told(exit) => ExitCode::from(exit.code()),
            Failure::Error { exit, .. } => {
                // Nobody may be reading stderr either; the exit code says it still.
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("{self}\n").as_bytes(),
                );
                ExitCode::from(exit.code())
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure::Error {
            what,
            place,
            advice,
            ..
        } = self
        else {
            return Ok(());
        };
        write!(f, "error: {what}")?;
        for line in [place, advice].into_iter().flatten() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_in_order() {
        let failure = Failure::data("a row has no tab")
            .at("line 17")
            .at("never this")
            .advise("write a tab between key and value");
        assert_eq!(
            failure.to_string(),
            "error: a row has no tab\n  line 17\n  write a tab between key and value"
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::output(gone), Failure::BrokenPipe));
    }
}
