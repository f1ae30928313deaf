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
    /// What came out, by name and unit.
    pub values: Values,
    /// Why nothing came out.
    pub error: Option<String>,
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

    /// Whether this is there already.
    pub fn has(&self, engine: &str, point: &Point, round: usize) -> bool {
        self.rows
            .iter()
            .any(|row| row.engine == engine && row.point == *point && row.round == round)
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
}
