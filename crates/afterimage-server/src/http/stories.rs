//! What the recovery half of the page shows: the gallery's stories, each recovered anew by the engine on a simulated disk when
//! it is asked for; and what the last recovery of this database did, as its report has it.

use crate::live::Source;
use crate::units::{about, count, size};
use afterimage::{LastRecovery, RecoveryReport};
use afterimage_explain::{explain, gallery};
use afterimage_io::Io;
use serde_json::{Value, json};
use std::time::Duration;

/// The name of the story that is no scenario.
const LAST: &str = "last";
/// A story crashes again after this many CLRs at most.
const CLRS_MAX: usize = 100;

/// Which stories there are.
pub(super) fn list() -> Value {
    let scenarios = gallery::ALL.iter();
    let scenarios = scenarios.map(|one| json!({ "name": one.name, "title": one.title() }));
    json!({
        "scenarios": scenarios.collect::<Vec<_>>(),
    })
}

/// The story of this name; none if there is no such.
pub(super) fn story(
    source: &Source,
    name: &str,
    crash_after: Option<usize>,
) -> Option<Result<Value, String>> {
    if name == LAST {
        if let Source::Database {
            recovery: Some(story),
            ..
        } = source
        {
            return Some(Ok(story.json()));
        }
        let look = source.look(&Io::os()).map_err(|e| e.to_string());
        return Some(look.map(|look| last(look.and_then(|look| look.status.recovery))));
    }
    let scenario = gallery::find(name)?;
    let crash_after = crash_after.map(|clrs| clrs.min(CLRS_MAX));
    let story = explain(scenario.script, crash_after);
    Some(
        story
            .map(|story| story.json())
            .map_err(|trouble| trouble.to_string()),
    )
}

/// The report of the last recovery there was, as a story without records: a step a pass.
fn last(last: Option<LastRecovery>) -> Value {
    let passes = last.as_ref().map(|last| passes(&last.report));
    let steps: Vec<Value> = passes
        .into_iter()
        .flatten()
        .map(|(phase, what, text, took)| {
            json!({
                "phase": phase,
                "lsn": "",
                "what": format!("{what}   {}", about(took.as_secs_f64())),
                "text": text,
                "before": nothing(),
                "after": nothing(),
            })
        })
        .collect();
    let result = last.map_or_else(
        || "No recovery is known: every stop was a clean one.".to_owned(),
        |last| {
            let took = about(last.report.total_time().as_secs_f64());
            format!("Everything took {took}.")
        },
    );
    json!({
        "title": "The last recovery of this database: what it found and did",
        "log": [],
        "homes": [],
        "recoveries": [{ "before": nothing(), "steps": steps, "written": [], "outcome": "open", "summary": [] }],
        "values": [],
        "result": result,
    })
}

fn nothing() -> Value {
    json!({ "active": [], "dirty": [], "pages": [] })
}

fn passes(report: &RecoveryReport) -> [(&'static str, &'static str, String, Duration); 6] {
    let lsn =
        |lsn: Option<afterimage::Lsn>| lsn.map_or_else(|| "none".to_owned(), |lsn| lsn.to_string());
    [
        (
            "analysis",
            "where does the log end?",
            format!(
                "The log ends at LSN {}: {}. {} bytes were cut off.",
                lsn(report.end_lsn),
                report.tail,
                count(report.torn_bytes)
            ),
            report.decide_time,
        ),
        (
            "make safe",
            "torn pages",
            format!(
                "{} pages were written again from the doublewrite area, {} of them because they were torn.",
                count(report.pages_restored),
                count(report.pages_torn)
            ),
            report.secure_time,
        ),
        (
            "analysis",
            "who was unfinished?",
            format!(
                "{} records read from the checkpoint at LSN {} on: {} transactions had committed, {} were unfinished.",
                count(report.records),
                lsn(report.checkpoint_lsn),
                count(report.winners),
                count(report.losers)
            ),
            report.analysis_time,
        ),
        (
            "redo",
            "history again",
            format!(
                "{} of log from LSN {} on: {} changes made again on {} pages, {} were there already.",
                size(report.log_bytes),
                lsn(report.redo_lsn),
                count(report.redone),
                count(report.pages),
                count(report.already_there)
            ),
            report.redo_time,
        ),
        (
            "undo",
            "the losers",
            format!(
                "{} transactions taken back, {} changes, newest first.",
                count(report.losers),
                count(report.undone)
            ),
            report.undo_time,
        ),
        (
            "end",
            "checkpoint",
            "Both tables are written down: were it killed now, the next recovery would begin here."
                .to_owned(),
            report.checkpoint_time,
        ),
    ]
}
