//! What a recovery of a database would do: `explain DIR` and `recover DIR --plan`. Tried in memory; no byte on the disk changes.

use crate::commands::demo::story;
use crate::commands::explain;
use crate::failure::{Exit, Failure};
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use crate::units::{duration, size};
use afterimage::{Error, RecoveryReport};
use afterimage_explain::{Plan, explain_directory};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Tells what a recovery of `dir` would do; `all`: every step, however many there are.
pub fn run(
    dir: &Path,
    all: bool,
    step: bool,
    settings: &Settings,
    out: &mut Out,
) -> Result<(), Failure> {
    open::must_be_database(dir)?;
    let plan = explain_directory(settings.options()?, dir, all).map_err(|e| from_engine(e, dir))?;
    if out.is_json() {
        let mut document = plan.story.json();
        document["directory"] = json!(dir.display().to_string());
        document["report"] = json!(plan.report.as_ref().map(story::report_json));
        document["estimate_seconds"] = json!(plan.estimate.map(|(time, _)| time.as_secs_f64()));
        document["estimate_learnt"] = json!(plan.estimate.map(|(_, learnt)| learnt));
        document["refused"] = json!(plan.refused.as_ref().map(ToString::to_string));
        document["policies"] = json!({ "refuse": refuse(&plan), "salvage": salvage(&plan) });
        out.document(&document)?;
        return ended(&plan);
    }
    explain::show(&plan.story, step, out)?;
    out.line("")?;
    if let Some(report) = plan.report.as_ref().filter(|report| !report.clean) {
        out.line(sizes(report))?;
    }
    if let Some((time, learnt)) = plan.estimate {
        out.line(estimate(time, learnt))?;
    }
    out.line(format!(
        "damage, refuse (the only policy): {}",
        refuse(&plan)
    ))?;
    out.line(format!("damage, salvage: {}", salvage(&plan)))?;
    if !all
        && plan
            .story
            .recoveries
            .iter()
            .any(|r| r.steps.iter().any(|s| s.lsn == "..."))
    {
        out.line("--all tells every step")?;
    }
    ended(&plan)
}

/// All is told; the exit code is that of an open, as far as it would come.
fn ended(plan: &Plan) -> Result<(), Failure> {
    match plan.refused {
        Some(_) => Err(Failure::Told(Exit::Refused)),
        None => Ok(()),
    }
}

fn sizes(report: &RecoveryReport) -> String {
    format!(
        "to do       {} of log from where redo begins; {} pages to read and write",
        size(report.log_bytes),
        report.pages
    )
}

fn estimate(time: Duration, learnt: bool) -> String {
    let sure = match learnt {
        true => "as fast as the last recovery here; within a factor of two, mostly",
        false => {
            "reckoned from what was measured on other machines: no recovery here has been long enough to learn from"
        }
    };
    format!(
        "time        about {} on the disk ({sure}). What has to be taken back of unfinished transactions comes on top",
        duration(time)
    )
}

fn refuse(plan: &Plan) -> String {
    match &plan.refused {
        None => "nothing is damaged that a recovery has to read; it would open".to_owned(),
        Some(error) => format!("it would be refused: {error}"),
    }
}

fn salvage(plan: &Plan) -> &'static str {
    match &plan.refused {
        None => "nothing to salvage",
        Some(Error::Corruption { .. }) => {
            "not offered for a database: its pages depend on its log, and a cut would tear them apart. Put the segment back, or restore \
             from a backup"
        }
        Some(_) => "it is not the log that is damaged: restore the page from a backup",
    }
}
