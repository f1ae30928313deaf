//! What is wrong with a script: where, what stands there, and what was expected.

use std::fmt;

/// A mistake in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Mistake {
    pub(crate) fn at(line: usize, column: usize) -> Mistake {
        Mistake {
            line,
            column,
            found: String::new(),
            expected: String::new(),
        }
    }

    pub(crate) fn found(self, found: impl Into<String>) -> Mistake {
        let found = found.into();
        Mistake { found, ..self }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Mistake {
        let expected = expected.into();
        Mistake { expected, ..self }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake {
            line,
            column,
            found,
            expected,
        } = self;
        write!(
            f,
            "line {line}, column {column}: {found}; expected {expected}"
        )
    }
}

impl std::error::Error for Mistake {}
