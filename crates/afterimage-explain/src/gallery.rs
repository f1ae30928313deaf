//! The scenarios that come with the command, each a script.

use crate::lesson::title;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The script.
    pub script: &'static str,
}

impl Scenario {
    /// What it shows, in a line.
    #[must_use]
    pub fn title(&self) -> String {
        title(self.script)
    }
}

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        /// All of them, the first one first to be read.
        pub const ALL: &[Scenario] = &[$(Scenario {
            name: $name,
            script: include_str!(concat!("../scenarios/", $name, ".txt")),
        }),*];
    };
}

scenarios![
    "fuzzy-checkpoint",
    "restored-not-deleted",
    "two-pages",
    "two-pages-no-commit",
    "from-zero",
    "crash-in-undo",
    "redo-twice",
    "page-is-newer",
    "after-the-checkpoint",
    "checkpoint-cut-off",
    "abort-before-crash",
    "savepoint",
    "group-commit",
    "torn-page",
    "torn-page-no-copy",
    "torn-tail-or-damage",
    "damage",
    "written-too-early",
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
