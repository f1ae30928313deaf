//! What the report is made of: the files that `cargo xtask planted`, `sim`, `rigs` and `fuzz` leave in the target directory, and the ledger.
//!
//! All of them are lines that our own programs write, so they are read by the few words that are needed; a line that cannot be read counts for nothing.

use super::blocks::Block;
use crate::run::Failed;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A planted bug, and who was quickest to kill it.
pub struct Kill {
    pub bug: String,
    pub what: String,
    pub layer: Option<String>,
    pub states: String,
    pub seconds: Option<f64>,
}

/// What the long runs of the simulation come to.
#[derive(Default)]
pub struct Simulated {
    pub calls: u64,
    /// The last call found something.
    pub failed: bool,
    pub seconds: u64,
    pub processor: u64,
    pub workloads: u64,
    pub workloads_short: u64,
    pub workloads_all: u64,
    pub points: u64,
    pub made: u64,
    pub distinct: u64,
    pub verified: u64,
    pub deeper: u64,
    pub episodes: u64,
    pub crashes: u64,
    pub recoveries: u64,
}

/// One thing that can happen at one kind of I/O call in one phase.
pub struct Cell {
    pub phase: String,
    pub file: String,
    pub operation: String,
    pub what: String,
    pub hits: u64,
    pub responses: String,
    pub reason: Option<String>,
}

/// What a rig has done.
pub struct Rig {
    pub name: String,
    /// What it counts, how often it did, and how often it wants to.
    pub unit: String,
    pub done: u64,
    pub aim: u64,
    pub pieces: u64,
    pub seconds: f64,
    pub others: String,
    pub failed: Option<String>,
}

/// What has become of one target of the fuzzer.
pub struct Fuzzed {
    pub target: String,
    pub executions: u64,
    pub seconds: u64,
    /// The last run of it found something.
    pub failed: bool,
}

/// The rigs that there are, what each counts, and how many make it whole: as `rigs/src/main.rs` has them.
const RIGS: [(&str, &str, u64); 7] = [
    ("kill", "cuts", 1000),
    ("fuse", "cuts", 50_000),
    ("shutdown-ext4", "cuts", 1000),
    ("shutdown-xfs", "cuts", 1000),
    ("strace", "sweeps", 198),
    ("fsyncgate", "rounds", 300),
    ("blocks", "cuts", 500),
];

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The commit that is checked out, and whether something has been changed since.
pub fn commit(root: &Path) -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(root).output();
        output.map_or_else(
            |_| String::new(),
            |o| String::from_utf8_lossy(&o.stdout).trim().to_string(),
        )
    };
    let (commit, day) = (
        git(&["rev-parse", "--short", "HEAD"]),
        git(&["show", "-s", "--format=%cs"]),
    );
    // The report of before is no change of what was counted.
    let all_but_it = [".", ":!RELIABILITY_REPORT.md"];
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&[&status[..], &all_but_it[..]].concat());
    match (commit.is_empty(), changed.is_empty()) {
        (true, _) => "(unknown)".into(),
        (_, true) => format!("`{commit}` of {day}"),
        (_, false) => format!("`{commit}` of {day}, with changes"),
    }
}

/// Every planted bug: those killed, from `planted.tsv`, and those that stand there with nobody behind.
pub fn kills(target: &Path) -> Vec<Kill> {
    let mut all: Vec<Kill> = Vec::new();
    for line in text(&target.join("planted.tsv")).lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let [bug, layer, states, seconds, what] = words[..] else {
            continue;
        };
        let kill = Kill {
            bug: bug.into(),
            what: what.into(),
            layer: Some(layer.to_string()).filter(|layer| !layer.is_empty()),
            states: if states == "0" {
                String::new()
            } else {
                states.into()
            },
            seconds: seconds.parse().ok(),
        };
        match all.iter_mut().find(|known| known.bug == bug) {
            Some(known)
                if kill.seconds < known.seconds && kill.seconds.is_some()
                    || known.seconds.is_none() =>
            {
                *known = kill
            }
            Some(_) => {}
            None => all.push(kill),
        }
    }
    all
}

/// The sum of `sim-results.txt`.
pub fn simulated(target: &Path) -> Simulated {
    let mut all = Simulated::default();
    for line in text(&target.join("sim-results.txt")).lines() {
        let words: BTreeMap<&str, u64> = line
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .filter_map(|(name, n)| Some((name, n.parse().ok()?)))
            .collect();
        let n = |name: &str| words.get(name).copied().unwrap_or(0);
        all.seconds += n("seconds");
        all.failed = line == "failed";
        if line.starts_with("exhaustive ") {
            (all.workloads, all.workloads_all) = (n("next"), n("of"));
            all.workloads_short = n("short");
            all.processor += n("processor");
            all.points += n("points");
            all.made += n("made");
            all.distinct += n("distinct");
            all.verified += n("verified");
            all.deeper += n("deeper");
        } else if line.starts_with("random ") {
            all.calls += 1;
            all.episodes += n("episodes");
            all.crashes += n("crashes");
            all.recoveries += n("verified");
        }
    }
    all
}

/// The word or number behind `"name":` in a line of JSON that our own programs have written.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.split_once(&format!("\"{name}\":"))?.1;
    match rest.strip_prefix('"') {
        Some(word) => word.split('"').next(),
        None => rest.split([',', '}']).next(),
    }
}

/// What stands between the braces behind `"name":`, without quotation marks.
fn pairs(line: &str, name: &str) -> Vec<(String, String)> {
    let inside = line
        .split_once(&format!("\"{name}\":{{"))
        .and_then(|(_, rest)| rest.split('}').next());
    // A name may hold commas and colons of its own.
    let pair = |pair: &str| {
        let (name, value) = pair.rsplit_once(':')?;
        Some((name.replace('"', ""), value.trim().to_string()))
    };
    inside
        .unwrap_or_default()
        .split(",\"")
        .filter_map(pair)
        .collect()
}

/// The cells of `matrix.json`.
pub fn reach(target: &Path) -> Vec<Cell> {
    let cell = |line: &str| {
        let word = |name| field(line, name).map(String::from);
        let responses = pairs(line, "responses");
        let responses: Vec<String> = responses
            .iter()
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        Some(Cell {
            phase: word("phase")?,
            file: word("file")?,
            operation: word("operation")?,
            what: word("what")?,
            hits: word("hits").and_then(|n| n.parse().ok()).unwrap_or(0),
            responses: responses.join(", "),
            reason: word("reason"),
        })
    };
    let mut cells: Vec<Cell> = text(&target.join("matrix.json"))
        .lines()
        .filter_map(cell)
        .collect();
    cells.sort_by(|a, b| (&a.file, &a.operation, &a.phase).cmp(&(&b.file, &b.operation, &b.phase)));
    cells
}

/// Every rig, run or not.
pub fn rigs(target: &Path) -> Vec<Rig> {
    let rig = |&(name, unit, aim): &(&str, &str, u64)| {
        let mut rig = Rig {
            name: name.to_string(),
            unit: unit.to_string(),
            done: 0,
            aim,
            pieces: 0,
            seconds: 0.0,
            others: String::new(),
            failed: None,
        };
        let mut counts = BTreeMap::<String, u64>::new();
        for line in text(&target.join(format!("rigs/{name}.jsonl"))).lines() {
            rig.pieces += 1;
            rig.seconds += field(line, "seconds")
                .and_then(|s| s.parse::<f64>().ok())
                .unwrap_or(0.0);
            for (name, n) in pairs(line, "counts") {
                *counts.entry(name).or_default() += n.parse::<u64>().unwrap_or(0);
            }
            let failed = field(line, "failed").filter(|what| *what != "null");
            rig.failed = rig.failed.or(failed.map(String::from));
        }
        rig.done = counts.remove(unit).unwrap_or(0);
        let others: Vec<String> = counts
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        rig.others = others.join(", ");
        rig
    };
    RIGS.iter().map(rig).collect()
}

/// The sums of `fuzz.txt`, for every target that there is, run or not.
pub fn fuzzed(target: &Path) -> Vec<Fuzzed> {
    let noted = text(&target.join("fuzz.txt"));
    let of = |target: &&str| {
        let mut all = Fuzzed {
            target: target.to_string(),
            executions: 0,
            seconds: 0,
            failed: false,
        };
        for line in noted.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [name, "failed"] if name == *target => all.failed = true,
                [name, executions, seconds] if name == *target => {
                    all.failed = false;
                    all.executions += executions.parse::<u64>().unwrap_or(0);
                    all.seconds += seconds.parse::<u64>().unwrap_or(0);
                }
                _ => {}
            }
        }
        all
    };
    crate::fuzz::TARGETS.iter().map(of).collect()
}

/// The table of docs/ledger.md. Every test that it names exists.
///
/// # Errors
/// The first one that does not.
pub fn ledger(root: &Path) -> Result<Block, Failed> {
    let ledger = text(&root.join("docs/ledger.md"));
    let mut lines = ledger
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().to_string())
                .collect::<Vec<String>>()
        });
    let head = lines.next().unwrap_or_default();
    let rows: Vec<Vec<String>> = lines.skip(1).collect();
    let tests = test_names(root);
    for row in &rows {
        for name in row
            .last()
            .map(String::as_str)
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
        {
            let is_test = name.contains('_')
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_test && !tests.contains(name) {
                return Err(Failed::Check(format!(
                    "docs/ledger.md names the test {name}, which is nowhere"
                )));
            }
        }
    }
    Ok(Block::Table { head, rows })
}

/// The names of all functions in the crates: what the ledger names has to be among them.
fn test_names(root: &Path) -> BTreeSet<String> {
    let (mut names, mut todo) = (BTreeSet::new(), vec![root.join("crates")]);
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = text(&path);
                let functions = source
                    .lines()
                    .filter_map(|line| Some(line.split_once("fn ")?.1));
                names.extend(functions.filter_map(|f| Some(f.split_once('(')?.0.to_string())));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_count_for_nothing() {
        let dir = std::env::temp_dir().join(format!("report-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("rigs")).expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("a file");
        write(
            "planted.tsv",
            "T1\tscenario x\t0\t0.5\tlies\nT1\tmodel\t9\t0.1\tlies\nT2\t\t\t\tstale\nnonsense\n",
        );
        let kills = kills(&dir);
        assert_eq!(kills.len(), 2);
        assert_eq!(
            (kills[0].layer.as_deref(), kills[0].states.as_str()),
            (Some("model"), "9")
        );
        assert!(kills[1].seconds.is_none() && kills[1].layer.is_none());
        write(
            "sim-results.txt",
            "exhaustive next=5 of=9 made=3 verified=2 deeper=1 seconds=7 processor=6\nrandom next=4 verified=8 seconds=1\n",
        );
        let simulated = simulated(&dir);
        assert_eq!(
            (
                simulated.workloads,
                simulated.verified,
                simulated.recoveries,
                simulated.seconds
            ),
            (5, 2, 8, 8)
        );
        assert!(!simulated.failed);
        write(
            "matrix.json",
            "{\"cells\":[\n{\"phase\":\"run\",\"file\":\"control\",\"operation\":\"write\",\"what\":\"EIO\",\"hits\":3,\"responses\":{\"stop\":2,\"abort\":1}}\n],\"unreachable\":[\n\
             {\"phase\":\"run\",\"file\":\"lock\",\"operation\":\"write\",\"what\":\"torn\",\"reason\":\"nobody reads it\"}\n],\"missing\":[]}\n",
        );
        let cells = reach(&dir);
        assert_eq!(
            (cells[0].hits, cells[0].responses.as_str()),
            (3, "stop 2, abort 1")
        );
        assert_eq!(cells[1].reason.as_deref(), Some("nobody reads it"));
        write(
            "rigs/kill.jsonl",
            "{\"seed\":1,\"seconds\":2.5,\"counts\":{\"cuts\":7,\"killed, not cut\":9,\"read:EIO\":2},\"failed\":null}\n",
        );
        let rigs = rigs(&dir);
        assert_eq!(
            (rigs[0].done, rigs[0].others.as_str(), rigs[0].pieces),
            (7, "9 killed, not cut, 2 read:EIO", 1)
        );
        assert_eq!(rigs[1].pieces, 0);
        write(
            "fuzz.txt",
            "frame 10 2\nframe failed\nframe 5 1\npage failed\n",
        );
        let fuzzed = fuzzed(&dir);
        let of = |target: &str| {
            let found = fuzzed.iter().find(|one| one.target == target);
            found.map(|one| (one.executions, one.seconds, one.failed))
        };
        assert_eq!(of("frame"), Some((15, 3, false)));
        assert_eq!(
            (of("page"), of("slot")),
            (Some((0, 0, true)), Some((0, 0, false)))
        );
        std::fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_last_call_that_failed_is_no_success() {
        let dir = std::env::temp_dir().join(format!("report-failed-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let lines = "random next=4 verified=8 seconds=1\nfailed\n";
        std::fs::write(dir.join("sim-results.txt"), lines).expect("a file");
        let simulated = simulated(&dir);
        assert!(simulated.failed && simulated.calls == 1);
        std::fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn the_rigs_are_those_that_there_are() {
        let program = include_str!("../../../rigs/src/main.rs");
        let mut known = program.split("        name: \"").skip(1);
        for (name, unit, aim) in RIGS {
            let rig = known.next().expect("as many");
            assert!(rig.starts_with(&format!("{name}\"")), "{name}");
            let value = |key: &str| Some(rig.split_once(key)?.1.split_once(',')?.0.trim());
            assert_eq!(value("unit: "), Some(format!("\"{unit}\"").as_str()));
            let said = value("aim: ").expect("one").replace('_', "");
            // The sweeps are counted by the compiler, and by a test of the rig's own.
            assert!(
                said == aim.to_string() || said == "strace::SWEEPS",
                "{name}: {said}"
            );
        }
        assert!(known.next().is_none());
    }

    #[test]
    fn the_ledger_names_tests_that_there_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let Block::Table { head, rows } = ledger(&root).expect("every test is there") else {
            panic!("a table");
        };
        assert!(rows.len() >= 10 && rows.iter().all(|row| row.len() == head.len()));
    }
}
