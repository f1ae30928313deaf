//! `afterimage log verify`: every frame of a log, from the oldest on, and whether it may end where it ends.

use super::kind::{Kind, failure};
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::units::counted;
use afterimage_io::Io;
use afterimage_log::{Error, Examination, Wal};
use serde_json::json;
use std::path::PathBuf;

/// What `log verify` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads every segment and checks every frame, up to the first damage, and that nothing (the control file, the slots)
proves the log to have gone on behind its end. Exits 1 if anything is wrong, naming LSN, file and offset of the first
damage; `afterimage log salvage` shows what lies behind it. Refused (3) while another process has the log open. Of a
database it checks everything, as `afterimage verify` does.

Examples:
  afterimage log verify events
  afterimage log verify events --json | jq .findings")]
pub struct Args {
    /// The directory of a log or a database
    dir: PathBuf,
}

/// Checks everything; what is wrong is the result.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    if matches!(Kind::of(&io, &args.dir)?, Kind::Database) {
        return commands::verify::run(&commands::verify::Args::of(args.dir.clone()), out);
    }
    match Wal::verify(&io, &args.dir) {
        Ok(found) => clean(&found, out),
        Err(Error::Corruption {
            lsn,
            path,
            offset,
            what,
            advice,
        }) => {
            if out.is_json() {
                let finding = json!({
                    "lsn": lsn.get(),
                    "file": path.display().to_string(),
                    "offset": offset,
                    "what": what,
                    "advice": advice,
                });
                out.document(&json!({ "clean": false, "findings": [finding] }))?;
            } else {
                out.line(format!("wrong: {what}"))?;
                out.line(format!("  LSN {lsn}, {}, byte {offset}", path.display()))?;
                out.line(format!("  {advice}"))?;
            }
            Err(Failure::Told(Exit::Data))
        }
        Err(e) => Err(failure(e, &args.dir)),
    }
}

fn clean(found: &Examination, out: &mut Out) -> Result<(), Failure> {
    let first = found.segments.first().map_or(0, |s| s.first.get());
    if out.is_json() {
        return out.document(&json!({
            "clean": true,
            "findings": [],
            "records": found.records,
            "segments": found.segments.len(),
            "first_lsn": first,
            "end_lsn": found.end.get(),
            "tail": found.verdict.to_string(),
        }));
    }
    out.line(format!(
        "all is as it must be: {} in {}, LSN {first} to {}; {}",
        counted(found.records, "frame with records", "frames with records"),
        counted(found.segments.len() as u64, "segment", "segments"),
        found.end,
        found.verdict
    ))
}
