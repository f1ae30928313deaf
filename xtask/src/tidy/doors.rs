//! The outside world is reached through `afterimage-io` alone.
//!
//! A crash test can only replay what it controls. One clock read, one thread, one `HashMap` with a random seed in the log
//! or the engine, and a run no longer follows from its seed; one `std::fs` call, and the simulated disk does not see it.
//! So both crates are held to it, their unit tests too.
//!
//! Exempt, and why: `afterimage-io` is the door. The command faces a person, and `afterimage-sim`'s drivers count wall
//! time and start processes; neither decides what the engine does. `tests/` and `examples/` stand where a user stands, who
//! has real threads and real files. Unit tests may touch real files in a temporary directory.

use super::Finding;
use super::order::{House, Module};
use super::paths::Named;

/// The crates that must not reach out themselves.
const HELD: [&str; 2] = ["afterimage-log", "afterimage"];

/// A forbidden path, what to use instead, and whether unit tests may use it.
const DOORS: [(&str, &str, bool); 19] = [
    ("std::fs", "`afterimage_io::Io` and `File`", true),
    ("std::env", "`Options`", true),
    ("std::net", "nothing: the engine knows no network", false),
    ("std::process", "`Io::process_id`", false),
    ("std::thread", "`Io::spawn` and `Io::sleep`", false),
    ("std::time::Instant", "`Io::now`", false),
    ("std::time::SystemTime", "`Io::wall_clock`", false),
    ("std::time::UNIX_EPOCH", "`Io::wall_clock`", false),
    ("std::sync::Mutex", "`afterimage_io::sync::Mutex`", false),
    ("std::sync::RwLock", "`afterimage_io::sync::RwLock`", false),
    (
        "std::sync::Condvar",
        "`afterimage_io::sync::Condvar`",
        false,
    ),
    (
        "std::sync::Barrier",
        "`afterimage_io::sync::WaitWord`",
        false,
    ),
    ("std::sync::mpsc", "`afterimage_io::sync`", false),
    ("std::sync::atomic", "`afterimage_io::sync::atomic`", false),
    (
        "std::collections::hash_map::RandomState",
        "`foldhash::fast::FixedState`",
        false,
    ),
    (
        "std::hash::RandomState",
        "`foldhash::fast::FixedState`",
        false,
    ),
    ("rand", "`Io::random`", false),
    ("fastrand", "`Io::random`", false),
    ("getrandom", "`Io::random`", false),
];

/// Maps that hash with a random seed when made this way: their order would differ from run to run.
const RANDOM_MAPS: [&str; 2] = ["HashMap", "HashSet"];
/// The ways to make one that leave no choice of hasher.
const RANDOM_MADE: [&str; 3] = ["new", "with_capacity", "from"];

/// Every path of a held crate that leads outside.
pub fn check(house: &House) -> Vec<Finding> {
    if !HELD.contains(&house.name.as_str()) {
        return Vec::new();
    }
    let one = |module: &Module| -> Vec<Finding> {
        let found =
            module.facts.named.iter().filter_map(|named| {
                judge(named, module.test || named.test).map(|what| (named, what))
            });
        found
            .map(|(named, what)| Finding::error(&module.file, named.line, what))
            .collect()
    };
    house.modules.iter().flat_map(one).collect()
}

fn judge(named: &Named, test: bool) -> Option<String> {
    let path = named.segments.join("::");
    if let Some((door, instead, _)) = DOORS
        .iter()
        .find(|(door, _, in_tests)| leads_through(named, door) && !(test && *in_tests))
    {
        return Some(format!(
            "`{path}` goes past afterimage-io ({door}): use {instead}"
        ));
    }
    let [.., kind, made] = named.segments.as_slice() else {
        return None;
    };
    let random = RANDOM_MAPS.contains(&kind.as_str()) && RANDOM_MADE.contains(&made.as_str());
    random.then(|| format!("`{kind}::{made}` hashes with a random seed: use BTreeMap, or name FixedState as the hasher"))
}

/// Whether the path is the door, lies behind it, or imports it with a `*`.
fn leads_through(named: &Named, door: &str) -> bool {
    let door: Vec<&str> = door.split("::").collect();
    let mut segments: Vec<&str> = named.segments.iter().map(String::as_str).collect();
    if matches!(segments[0], "core" | "alloc") {
        segments[0] = "std";
    }
    let star = segments.last() == Some(&"*");
    if star {
        segments.pop();
        return segments.starts_with(&door) || (segments.len() > 1 && door.starts_with(&segments));
    }
    segments.starts_with(&door)
}
