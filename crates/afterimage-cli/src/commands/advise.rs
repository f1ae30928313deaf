//! `afterimage advise`: what of the settings does not fit the load, from the status file of a database, live or closed, from the server
//! of a live page, or from the slots of a log. The rules are the library's.

use super::log::kind::{Kind, failure};
use super::stats;
use crate::failure::Failure;
use crate::out::Out;
use crate::remote::Remote;
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
are looked at; a server of the live page is asked for what it has found. Each finding names a setting; docs/tuning.md says more of it.
The exit code is 0 also where there are findings.

Examples:
  afterimage advise bank
  afterimage advise --url http://127.0.0.1:8080
  afterimage advise bank --json | jq -r '.findings[] | select(.value) | .setting + \" = \" + (.value | @json)'")]
pub struct Args {
    /// The directory of a database or a log
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// A server of the live page, in place of a directory
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The server's token; AFTERIMAGE_TOKEN in the environment unless given
    #[arg(long, value_name = "T", requires = "url")]
    token: Option<String>,
}

/// Prints what there is to change, what matters most first.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    match (&args.dir, &args.url) {
        (Some(dir), _) => of_directory(dir, out),
        (None, Some(url)) => of_server(&Remote::at(url, args.token.as_deref())?, out),
        (None, None) => unreachable!("one of them is required"),
    }
}

fn of_directory(dir: &Path, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    if let Kind::Log(control) = Kind::of(&io, dir)? {
        let findings = documents(&advice::of_log(&look_at_log(&io, dir, &control)?));
        if out.is_json() {
            return out.document(&json!({ "findings": findings }));
        }
        return show(&findings, out);
    }
    let status = stats::read(&io, dir)?;
    let age = Duration::from_micros(io.wall_clock().saturating_sub(status.written_at_micros));
    let state = State::of(&status).words();
    let over = Duration::from_micros(status.stats.uptime_micros);
    tell(
        &json!({
            "age_seconds": age.as_secs_f64(),
            "over_seconds": over.as_secs_f64(),
            "holder": { "pid": status.pid, "state": state },
            "findings": documents(&advice::of_database(&status)),
        }),
        &stats::written(&status, age, state),
        out,
    )
}

/// The server looks, at what it serves, and finds by the same rules.
fn of_server(server: &Remote, out: &mut Out) -> Result<(), Failure> {
    let seen = server.json("/api/stats")?;
    let (status, database) = (&seen["status"], &seen["database"]);
    let (Some(findings), Some(written_at)) = (
        seen["advice"].as_array(),
        status["written_at_micros"].as_u64(),
    ) else {
        return Err(
            Failure::refused("the server has no look at its database yet")
                .advise("ask again in a moment"),
        );
    };
    let age = Duration::from_micros(Io::overlay().wall_clock().saturating_sub(written_at));
    let over = Duration::from_micros(status["uptime_micros"].as_u64().unwrap_or_default());
    let told = json!({
        "age_seconds": age.as_secs_f64(),
        "over_seconds": over.as_secs_f64(),
        "holder": { "pid": database["pid"], "state": database["state"] },
        "findings": findings,
    });
    let state = database["state"].as_str().unwrap_or_default();
    let whose = database["directory"].as_str().unwrap_or_default();
    tell(
        &told,
        &format!("{} ago; {whose}, {state}", duration(age)),
        out,
    )
}

fn tell(told: &Value, written: &str, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.document(told);
    }
    let over = Duration::from_secs_f64(told["over_seconds"].as_f64().unwrap_or_default());
    out.line(format!(
        "counted over {}; written {written}",
        duration(over)
    ))?;
    show(
        told["findings"].as_array().map_or(&[][..], Vec::as_slice),
        out,
    )
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

fn show(findings: &[Value], out: &mut Out) -> Result<(), Failure> {
    if findings.is_empty() {
        return out.line("nothing to change");
    }
    let number = findings.len() as u64;
    out.line(counted(number, "finding", "findings"))?;
    for finding in findings {
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        out.line("")?;
        out.line(format!("{} ({})", text("evidence"), text("severity")))?;
        for (head, text) in [
            ("setting", format!("{} = {}", text("setting"), text("now"))),
            ("proposed", text("proposed").to_owned()),
            ("effect", text("effect").to_owned()),
            ("more", text("link").to_owned()),
        ] {
            out.line(format!("    {head:<10}{text}"))?;
        }
    }
    Ok(())
}
