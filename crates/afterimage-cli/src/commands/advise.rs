//! `afterimage advise`: what of the settings does not fit the load, from the status file of a database, live or closed, or from the
//! slots of a log. The rules are the library's.

use super::log::kind::{Kind, failure};
use super::stats;
use crate::failure::Failure;
use crate::out::Out;
use crate::units::{counted, duration};
use afterimage_io::Io;
use afterimage_log::{Control, LogOptions, SlotInfo};
use afterimage_server::advice::{self, Finding, LogLook};
use afterimage_server::live::State;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `advise` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Looks at what the database has counted since it was opened: the process that has it open rewrites that twice a second; when nobody
has, it is what the last one left. So ask while the usual load is on. Nothing is locked and nothing changed. Of a log alone, its slots
are looked at. Each finding names a setting; docs/tuning.md says more of it. The exit code is 0 also where there are findings.

Examples:
  afterimage advise bank
  afterimage advise bank --json | jq -r '.findings[] | .setting + \" = \" + .proposed'")]
pub struct Args {
    /// The directory of a database or a log
    dir: PathBuf,
}

/// Prints what there is to change, what matters most first.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    if let Kind::Log(control) = Kind::of(&io, &args.dir)? {
        let findings = advice::of_log(&look_at_log(&io, &args.dir, &control)?);
        if out.is_json() {
            return out.document(&json!({ "findings": documents(&findings) }));
        }
        return show(&findings, out);
    }
    let status = stats::read(&io, &args.dir)?;
    let age = Duration::from_micros(io.wall_clock().saturating_sub(status.written_at_micros));
    let state = State::of(&status).words();
    let findings = advice::of_database(&status);
    let over = Duration::from_micros(status.stats.uptime_micros);
    if out.is_json() {
        return out.document(&json!({
            "age_seconds": age.as_secs_f64(),
            "over_seconds": over.as_secs_f64(),
            "holder": { "pid": status.pid, "state": state },
            "findings": documents(&findings),
        }));
    }
    let written = stats::written(&status, age, state);
    out.line(format!(
        "counted over {}; written {written}",
        duration(over)
    ))?;
    show(&findings, out)
}

fn documents(findings: &[Finding]) -> Vec<Value> {
    findings.iter().map(Finding::json).collect()
}

fn look_at_log(io: &Io, dir: &Path, control: &Control) -> Result<LogLook, Failure> {
    let told = |error| failure(error, dir);
    Ok(LogLook {
        now_micros: io.wall_clock(),
        segment_bytes: control.segment_bytes,
        slots: SlotInfo::list(io, dir).map_err(told)?,
        settings: LogOptions::settings(io, dir, &[]).map_err(told)?,
    })
}

fn show(findings: &[Finding], out: &mut Out) -> Result<(), Failure> {
    if findings.is_empty() {
        return out.line("nothing to change");
    }
    let number = findings.len() as u64;
    out.line(counted(number, "finding", "findings"))?;
    for finding in findings {
        out.line("")?;
        out.line(format!("{} ({})", finding.evidence, finding.severity))?;
        for (head, text) in [
            ("setting", format!("{} = {}", finding.setting, finding.now)),
            ("proposed", finding.proposed.clone()),
            ("effect", finding.effect.clone()),
            ("more", finding.link()),
        ] {
            out.line(format!("    {head:<10}{text}"))?;
        }
    }
    Ok(())
}
