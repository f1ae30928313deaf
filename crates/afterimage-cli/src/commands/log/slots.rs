//! `afterimage log slots`: the named readers of a log, where they stand and what they hold back; and making and removing one.

use super::kind::{Kind, failure};
use super::record::FromArg;
use crate::failure::Failure;
use crate::open::log_options;
use crate::out::Out;
use crate::settings::Settings;
use crate::units::{duration, size};
use afterimage_io::Io;
use afterimage_log::{Lsn, SlotInfo, SlotState, Wal};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What `log slots` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Lists the slots as their files say now; takes no lock. --create and --drop open the log, and are refused while another
process has it open. A database has no slots yet: its list is empty, and none can be made.

Examples:
  afterimage log slots events
  afterimage log slots events --create mailer --from end
  afterimage log tail -f events --slot mailer")]
pub struct Args {
    /// The directory of a log or a database
    dir: PathBuf,
    /// Make a slot of this name
    #[arg(long, value_name = "NAME", conflicts_with = "drop")]
    create: Option<String>,
    /// Where it begins: an LSN, `start` or `end`
    #[arg(
        long,
        value_name = "LSN|start|end",
        default_value = "start",
        requires = "create"
    )]
    from: FromArg,
    /// Remove the slot of this name
    #[arg(long, value_name = "NAME")]
    drop: Option<String>,
}

/// Makes or removes a slot if asked to, then lists them.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let told = |e| failure(e, &args.dir);
    let io = Io::overlay();
    let database = matches!(Kind::of(&io, &args.dir)?, Kind::Database);
    if args.create.is_some() || args.drop.is_some() {
        if database {
            return Err(Failure::refused("the log of a database has no slots yet")
                .at(args.dir.display())
                .advise("its engine decides what is kept; `afterimage log tail -f` follows it without a slot"));
        }
        let options = log_options(&Io::os(), &args.dir, settings)?;
        let wal = Wal::open(&Io::os(), &args.dir, &options).map_err(told)?;
        if let Some(name) = &args.create {
            wal.create_slot(name, args.from.0).map_err(told)?;
        }
        if let Some(name) = &args.drop {
            wal.drop_slot(name).map_err(told)?;
        }
        wal.close().map_err(told)?;
    }
    let slots = SlotInfo::list(&io, &args.dir).map_err(told)?;
    let now = io.wall_clock();
    if out.is_json() {
        let slots: Vec<Value> = slots.iter().map(document).collect();
        return out.document(&json!({ "slots": slots }));
    }
    if slots.is_empty() {
        return out.line("there are no slots");
    }
    out.line(format!(
        "{:<24} {:>16} {:>10}  {:<12} state",
        "slot", "position", "kept", "moved"
    ))?;
    for slot in &slots {
        let position = slot
            .position
            .map_or_else(|| "-".to_string(), |lsn| lsn.to_string());
        let age = Duration::from_micros(now.saturating_sub(slot.moved_at_micros));
        out.line(format!(
            "{:<24} {position:>16} {:>10}  {:<12} {}",
            slot.name,
            size(slot.kept_bytes),
            format!("{} ago", duration(age)),
            state(slot)
        ))?;
    }
    Ok(())
}

fn state(slot: &SlotInfo) -> String {
    match slot.state {
        SlotState::Active => "active".into(),
        SlotState::Lost { why, at_lsn, .. } => format!("lost at LSN {at_lsn}: {why}"),
        _ => "damaged: its position cannot be read; drop it".into(),
    }
}

fn document(slot: &SlotInfo) -> Value {
    let (state, why) = match slot.state {
        SlotState::Active => ("active", None),
        SlotState::Lost { why, .. } => ("lost", Some(why.to_string())),
        _ => ("damaged", None),
    };
    json!({
        "name": slot.name,
        "position": slot.position.map(Lsn::get),
        "state": state,
        "why": why,
        "kept_bytes": slot.kept_bytes,
        "moved_at_micros": slot.moved_at_micros,
    })
}
