//! The results file: a first line that says what and where, then one JSON line a point, so that a second call goes on.

use crate::Result;
use crate::Values;
use crate::calibrate::Singles;
use crate::machine::Machine;
use crate::plan::{Plan, Point};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// What all lines of a file share. A file is only gone on with where this is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// What is measured.
    pub plan: Plan,
    /// Where.
    pub machine: Machine,
}

/// One engine at one point in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The engine's name.
    pub engine: String,
    /// Which version of which crate.
    pub version: String,
    /// The point.
    pub point: Point,
    /// The round, from 1.
    pub round: usize,
    /// Single durable writes a second by method, measured just before the engines of this point.
    pub single: Singles,
    /// The same by the best method, just before and just after this: the lesser. 0: nobody looked.
    #[serde(default)]
    pub disk: f64,
    /// What came out, by name and unit.
    pub values: Values,
    /// Why nothing came out.
    pub error: Option<String>,
}

/// What is below this share of the usual rate of single durable writes was not measured on the same disk as the rest.
const SLOW_SHARE: f64 = 0.6;

/// Single durable writes a second below which the disk was not itself: a share of what it does in the better half of the time.
pub fn slow(rows: &[Row]) -> f64 {
    let mut rates: Vec<f64> = rows
        .iter()
        .map(|row| row.disk)
        .filter(|rate| *rate > 0.0)
        .collect();
    rates.sort_by(f64::total_cmp);
    SLOW_SHARE * rates.get(rates.len() * 3 / 4).copied().unwrap_or(0.0)
}

impl Row {
    /// Whether the disk did less than this when it was measured.
    pub fn is_from_below(&self, slow: f64) -> bool {
        self.disk > 0.0 && self.disk < slow
    }
}

/// An open results file and all that it holds.
pub struct Results {
    file: File,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Results {
    /// Goes on with the file at `path`, or begins it; anew where `fresh`.
    pub fn open(path: &Path, head: &Head, fresh: bool) -> Result<Results> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if !fresh && path.exists() {
            let (found, rows, whole) = read(path)?;
            if found != *head {
                return Err(format!(
                    "{} was measured with another plan or on another machine: --fresh begins anew, --results names another file",
                    path.display()
                )
                .into());
            }
            let file = OpenOptions::new().write(true).open(path)?;
            // A line that a kill cut off goes.
            file.set_len(whole)?;
            drop(file);
            let file = OpenOptions::new().append(true).open(path)?;
            return Ok(Results { file, rows });
        }
        let mut file = File::create(path)?;
        writeln!(file, "{}", serde_json::to_string(head)?)?;
        let rows = Vec::new();
        Ok(Results { file, rows })
    }

    /// Whether this is there already, and not from while the disk was slow.
    pub fn has(&self, engine: &str, point: &Point, round: usize) -> bool {
        let slow = slow(&self.rows);
        let of_this =
            |row: &&Row| row.engine == engine && row.point == *point && row.round == round;
        let mut rows = self.rows.iter().filter(of_this);
        rows.any(|row| row.error.is_some() || !row.is_from_below(slow))
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&row)?)?;
        self.rows.push(row);
        Ok(())
    }
}

/// The head, the rows, and how many bytes of whole lines there are.
fn read(path: &Path) -> Result<(Head, Vec<Row>, u64)> {
    let mut lines = BufReader::new(File::open(path)?);
    let (mut line, mut whole) = (String::new(), 0);
    lines.read_line(&mut line)?;
    let head = serde_json::from_str(&line).map_err(|e| {
        format!(
            "{} is no results file of this version ({e}): --fresh begins anew",
            path.display()
        )
    })?;
    whole += line.len() as u64;
    let mut rows = Vec::new();
    loop {
        line.clear();
        let len = lines.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok((head, rows, whole));
        }
        rows.push(serde_json::from_str(&line)?);
        whole += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Work;

    fn row(engine: &str) -> Row {
        Row {
            engine: engine.into(),
            version: String::new(),
            point: Point {
                work: Work::Sync,
                bytes: 128,
                width: 1,
            },
            round: 1,
            single: Singles::new(),
            disk: 0.0,
            values: Values::from([("per_s".into(), 1.0)]),
            error: None,
        }
    }

    #[test]
    fn a_second_call_goes_on_and_a_cut_line_goes() -> Result<()> {
        let name = format!("bench-compare-test-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let head = Head {
            plan: Plan::quick(),
            machine: Machine::here(Path::new("/"), None),
        };
        Results::open(&path, &head, true)?.add(row("first"))?;
        let mut file = OpenOptions::new().append(true).open(&path)?;
        file.write_all(b"{\"engine\":\"cut")?;
        let mut results = Results::open(&path, &head, false)?;
        assert!(results.has("first", &row("first").point, 1));
        assert!(!results.has("first", &row("first").point, 2));
        results.add(row("second"))?;
        let results = Results::open(&path, &head, false)?;
        assert_eq!(results.rows.len(), 2);
        let other = Head {
            plan: Plan::full(),
            ..head
        };
        assert!(Results::open(&path, &other, false).is_err());
        std::fs::remove_file(&path)?;
        Ok(())
    }

    #[test]
    fn what_was_measured_on_a_slow_disk_is_not_there_yet() -> Result<()> {
        let name = format!("bench-compare-slow-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let head = Head {
            plan: Plan::quick(),
            machine: Machine::here(Path::new("/"), None),
        };
        let mut results = Results::open(&path, &head, true)?;
        for (engine, disk) in [("a", 10_000.0), ("b", 9_000.0), ("c", 5_000.0), ("d", 0.0)] {
            let row = Row {
                disk,
                ..row(engine)
            };
            results.add(row)?;
        }
        let has = |engine| results.has(engine, &row(engine).point, 1);
        assert_eq!(["a", "b", "c", "d"].map(has), [true, true, false, true]);
        let again = Row {
            disk: 9_500.0,
            ..row("c")
        };
        results.add(again)?;
        assert!(results.has("c", &row("c").point, 1));
        std::fs::remove_file(&path)?;
        Ok(())
    }
}
