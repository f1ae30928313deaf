//! What every rig is given, and what it gives back: a place, a seed, a time; counts, or what went wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// No call of the engine may take longer, on the disks that the rigs make.
pub const HANG: Duration = Duration::from_secs(60);

/// How often something happened, by name.
pub type Counts = BTreeMap<String, u64>;

/// One piece of a rig's work.
#[derive(Clone, Debug)]
pub struct Job {
    /// A directory for this rig alone, there already and empty.
    pub dir: PathBuf,
    /// The same for images of file systems: in memory where the system has a place for that, so that no real disk waits.
    pub images: PathBuf,
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// So many of the rig's unit are left until the aim is reached.
    pub wanted: u64,
    /// What was counted before, all pieces together: for rigs that go through a list.
    pub before: Counts,
    /// The piece ends about here.
    pub until: Instant,
    /// Where evidence goes.
    pub evidence: PathBuf,
}

impl Job {
    /// Is the time of this piece up?
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Keeps a copy of what was found, and says where.
    pub fn keep(&self, name: &str, from: &Path) -> String {
        let to = self.evidence.join(format!("{name}-{:x}", self.seed));
        match copy_all(from, &to) {
            Ok(()) => format!("evidence in {}", to.display()),
            Err(error) => format!("the evidence could not be kept: {error}"),
        }
    }
}

/// One rig.
pub struct Rig {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// So many until it has passed.
    pub aim: u64,
    /// The same for `--quick`.
    pub quick: u64,
    /// What this machine lacks for it, if anything.
    pub lacks: fn() -> Option<String>,
    /// Does a piece of work; its unit, in what it returns, counts against the aim.
    pub run: fn(&Job) -> Result<Counts, String>,
}

static ENVIRONMENT: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// From now on every child of ours has this in its environment.
pub fn for_children(name: &str, value: &str) {
    if let Ok(mut environment) = ENVIRONMENT.lock() {
        environment.push((name.to_owned(), value.to_owned()));
    }
}

/// What every child of ours is to have in its environment.
pub fn of_children() -> Vec<(String, String)> {
    ENVIRONMENT
        .lock()
        .map_or_else(|_| Vec::new(), |all| all.clone())
}

/// Adds to a count.
pub fn count(counts: &mut Counts, name: &str, by: u64) {
    *counts.entry(name.to_owned()).or_insert(0) += by;
}

/// Copies a directory with all that is in it.
///
/// # Errors
/// The system's.
pub fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
