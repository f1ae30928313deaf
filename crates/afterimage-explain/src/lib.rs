//! How a crash recovery goes, step by step: a log in the notation of textbooks becomes a real log on a simulated disk, the engine
//! recovers it, and what it does is told under the script's own names. Nothing is recovered here.
#![doc = include_str!("../README.md")]

pub mod gallery;
mod layout;
mod lesson;
mod meaning;
mod mistake;
mod narrate;
mod real;
mod script;
mod story;
mod token;
mod watch;

use std::fmt;

pub use lesson::explain;
pub use mistake::Mistake;
pub use real::{Plan, explain_directory, open_explained};
pub use story::{Recovery, Rows, State, Step, Story};

/// Why there is no story.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// The script is not right.
    Mistake(Mistake),
    /// The engine does not take what the script asks for.
    Engine(afterimage::Error),
}

impl From<Mistake> for Trouble {
    fn from(mistake: Mistake) -> Trouble {
        Trouble::Mistake(mistake)
    }
}

impl From<afterimage::Error> for Trouble {
    fn from(error: afterimage::Error) -> Trouble {
        Trouble::Engine(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Mistake(mistake) => mistake.fmt(f),
            Trouble::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}
