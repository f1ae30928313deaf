//! `afterimage verify`: every page, every tree and all log, also what lies before the redo point. Changes nothing.

use crate::failure::{Exit, Failure};
use crate::open::from_engine;
use crate::out::Out;
use crate::units::{count, counted, duration};
use afterimage::inspect;
use afterimage::{VerifyFinding, VerifyReport};
use afterimage_io::Io;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What `verify` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads every page and checks its checksum and structure, walks every tree, compares the allocation map, and reads all
log from the oldest segment on. Unlogged tables are checked like the others, where there is something of them: after a
clean stop. Exits 1 if anything is wrong, naming table, page, LSN, segment and offset. Refused
(3) while another process has the database open; what a program has open it can check itself, while it works, by
`Database::verify`, and a shell by `verify`. A database that was not closed is recovered in memory first; its
files stay as they are.

Examples:
  afterimage verify bank
  afterimage verify bank --json | jq .findings")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

impl Args {
    /// What another command asks of this one.
    pub fn of(dir: PathBuf) -> Args {
        Args { dir }
    }
}

/// Checks everything. What is wrong is the result, on stdout, not an error; so is damage that stops the check.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let start = Instant::now();
    let report = match inspect::verify(&Io::overlay(), &args.dir) {
        Ok(report) => report,
        Err(error) if error.is_corruption() => return refused(&from_engine(error, &args.dir), out),
        Err(error) => return Err(from_engine(error, &args.dir)),
    };
    if out.is_json() {
        out.document(&document(&report, start.elapsed()))?;
    } else {
        lines(&report, start.elapsed())
            .iter()
            .try_for_each(|line| out.line(line))?;
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err(Failure::Told(Exit::Data))
    }
}

/// Damage so deep that the database cannot be opened, not even in memory.
fn refused(damage: &Failure, out: &mut Out) -> Result<(), Failure> {
    if let Failure::Error {
        what,
        place,
        advice,
        ..
    } = damage
    {
        if out.is_json() {
            let finding = json!({ "what": what, "place": place, "advice": advice });
            out.document(&json!({ "clean": false, "complete": false, "findings": [finding] }))?;
        } else {
            out.line(format!("wrong: {what}"))?;
            for line in [place, advice].into_iter().flatten() {
                out.line(format!("  {line}"))?;
            }
            out.line("the check ended there: recovery, which has to come first, is refused")?;
        }
    }
    Err(Failure::Told(Exit::Data))
}

/// What was found, and what was looked at, for a person.
pub fn lines(report: &VerifyReport, took: Duration) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &report.findings {
        lines.push(format!("wrong: {}", finding.what));
        lines.push(format!("  {}", place(finding)));
    }
    let verdict = match report.findings.len() as u64 {
        0 => "all is as it must be".to_string(),
        wrong => counted(wrong, "thing is wrong", "things are wrong"),
    };
    let pending = match report.pages_pending {
        0 => String::new(),
        pending => format!(" ({} yet to be freed)", count(pending)),
    };
    lines.push(format!(
        "{verdict}: {}{pending} in {}, {} ({} deleted and not yet removed), {}; {}",
        counted(report.pages, "page", "pages"),
        counted(report.tables, "tree", "trees"),
        counted(report.rows, "row", "rows"),
        count(report.ghosts),
        counted(report.records, "log record", "log records"),
        duration(took),
    ));
    lines
}

fn place(finding: &VerifyFinding) -> String {
    let table = finding.table.as_ref().map(|table| format!("table {table}"));
    let page = finding.page.map(|page| format!("page {page}"));
    let lsn = finding.lsn.map(|lsn| format!("LSN {lsn}"));
    let parts: Vec<String> = [table, page, lsn]
        .into_iter()
        .flatten()
        .chain([finding.place.clone()])
        .collect();
    parts.join(", ")
}

/// The same, for a program.
pub fn document(report: &VerifyReport, took: Duration) -> Value {
    let finding = |finding: &VerifyFinding| {
        json!({
            "table": finding.table,
            "page": finding.page,
            "lsn": finding.lsn,
            "place": finding.place,
            "what": finding.what,
        })
    };
    json!({
        "clean": report.is_clean(),
        "complete": true,
        "trees": report.tables,
        "pages": report.pages,
        "pages_pending": report.pages_pending,
        "rows": report.rows,
        "ghosts": report.ghosts,
        "records": report.records,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "seconds": took.as_secs_f64(),
    })
}
