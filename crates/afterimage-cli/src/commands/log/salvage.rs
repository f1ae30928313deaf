//! `afterimage log salvage`: makes a log that is refused as damaged one that opens; an explicit choice, told in full.

use super::kind::{Kind, failure};
use crate::failure::Failure;
use crate::out::Out;
use crate::units::counted;
use afterimage_io::Io;
use afterimage_log::{CutOff, Salvage};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What `log salvage` takes.
#[derive(clap::Args)]
#[command(after_help = "\
For a log that cannot be opened because it is damaged, where no archive and no standby has the segment. Without --yes
it says what it would do and changes nothing. With it, every file is copied first; then the log is cut where it is
damaged. What is before is kept; what is behind is named, and stays readable in the copy. A database is refused: its
pages depend on its log.

Examples:
  afterimage log salvage events
  afterimage log salvage events --yes --evidence /mnt/big/events-damaged")]
pub struct Args {
    /// The log's directory
    dir: PathBuf,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Copy everything to this directory, which must not exist; by default one in DIR, named after the time
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

/// Plans, or does it.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let told = |e| failure(e, &args.dir);
    if let Kind::Database = Kind::of(&Io::os(), &args.dir)? {
        return Err(Failure::refused("a database's log is not salvaged: its pages depend on it")
            .at(args.dir.display())
            .advise("`afterimage verify` names what is damaged; restore from a backup, or open a standby"));
    }
    let found = if args.yes {
        Salvage::run(&Io::os(), &args.dir, args.evidence.as_deref())
    } else {
        Salvage::plan(&Io::os(), &args.dir)
    };
    match found.map_err(told)? {
        Some(salvage) if out.is_json() => out.document(&document(&salvage)),
        Some(salvage) => print(&salvage, args, out),
        None if out.is_json() => out.document(&json!({ "needed": false })),
        None => out.line("nothing to do: this log is not refused, it opens as it is"),
    }
}

fn print(salvage: &Salvage, args: &Args, out: &mut Out) -> Result<(), Failure> {
    let done = salvage.evidence.is_some();
    out.line(&salvage.damage)?;
    let (from, to) = salvage.kept;
    out.line(format!(
        "{}: LSN {from} to {to}, {}",
        if done { "kept" } else { "would be kept" },
        counted(
            salvage.kept_records,
            "frame with records",
            "frames with records"
        )
    ))?;
    for part in &salvage.cut_off {
        let what = match part.records {
            Some(n) => format!(
                "{} that the copy still holds",
                counted(n, "frame with records", "frames with records")
            ),
            None => "cannot be read".into(),
        };
        let word = if done { "cut off" } else { "would be cut off" };
        out.line(format!("{word}: LSN {} to {}, {what}", part.from, part.to))?;
    }
    out.line(format!(
        "the log was durable at least up to LSN {}",
        salvage.durable
    ))?;
    match &salvage.evidence {
        Some(evidence) => out.line(format!("every file as it was: {}", evidence.display())),
        None => out.line(format!(
            "nothing was changed; `afterimage log salvage {} --yes` does it, after copying every file",
            args.dir.display()
        )),
    }
}

fn document(salvage: &Salvage) -> Value {
    let part = |part: &CutOff| {
        json!({
            "from": part.from.get(),
            "to": part.to.get(),
            "readable": part.records.is_some(),
            "records": part.records,
        })
    };
    json!({
        "needed": true,
        "done": salvage.evidence.is_some(),
        "damage": salvage.damage,
        "kept": { "from": salvage.kept.0.get(), "to": salvage.kept.1.get(), "records": salvage.kept_records },
        "cut_off": salvage.cut_off.iter().map(part).collect::<Vec<_>>(),
        "durable_lsn": salvage.durable.get(),
        "evidence": salvage.evidence.as_ref().map(|e| e.display().to_string()),
    })
}
