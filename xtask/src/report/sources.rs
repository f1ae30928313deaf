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
    pub seconds: u64,
    pub processor: u64,
    pub workloads: u64,
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
    pub pieces: u64,
    pub cuts: u64,
    pub seconds: f64,
    pub others: String,
    pub failed: Option<String>,
}

/// The rigs that there are.
const RIGS: [&str; 7] = [
    "kill",
    "fuse",
    "shutdown-ext4",
    "shutdown-xfs",
    "strace",
    "fsyncgate",
    "blocks",
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
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
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
        if line.starts_with("exhaustive ") {
            (all.workloads, all.workloads_all) = (n("next"), n("of"));
            all.processor += n("processor");
            all.points += n("points");
            all.made += n("made");
            all.distinct += n("distinct");
            all.verified += n("verified");
            all.deeper += n("deeper");
        } else {
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
    let pair = |pair: &str| {
        let (name, value) = pair
            .replace('"', "")
            .split_once(':')
            .map(|(a, b)| (a.trim().to_string(), b.trim().to_string()))?;
        Some((name, value))
    };
    inside
        .unwrap_or_default()
        .split(',')
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
    let rig = |name: &&str| {
        let mut rig = Rig {
            name: name.to_string(),
            pieces: 0,
            cuts: 0,
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
        rig.cuts = counts.remove("cuts").unwrap_or(0);
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

/// The sums of `fuzz.txt`: target, executions, seconds.
pub fn fuzzed(target: &Path) -> Vec<Vec<String>> {
    let mut all = BTreeMap::<String, (u64, u64)>::new();
    for line in text(&target.join("fuzz.txt")).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [name, executions, seconds] = words[..] {
            let sum = all.entry(name.into()).or_default();
            sum.0 += executions.parse::<u64>().unwrap_or(0);
            sum.1 += seconds.parse::<u64>().unwrap_or(0);
        }
    }
    let row = |(name, (executions, seconds)): (String, (u64, u64))| {
        vec![name, executions.to_string(), seconds.to_string()]
    };
    all.into_iter().map(row).collect()
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
            "{\"seed\":1,\"seconds\":2.5,\"counts\":{\"cuts\":7,\"rows\":9},\"failed\":null}\n",
        );
        let rigs = rigs(&dir);
        assert_eq!(
            (rigs[0].cuts, rigs[0].others.as_str(), rigs[0].pieces),
            (7, "9 rows", 1)
        );
        assert_eq!(rigs[1].pieces, 0);
        write("fuzz.txt", "frame 10 2\nframe 5 1\n");
        assert_eq!(fuzzed(&dir), [["frame", "15", "3"]]);
        std::fs::remove_dir_all(&dir).expect("ours");
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
