//! `afterimage pins`: who holds the log back, from the status file, so also of a live database.

use super::stats;
use crate::failure::Failure;
use crate::out::Out;
use crate::units::{duration, size};
use afterimage::{Pin, PinHolder, StatusFile};
use afterimage_io::Io;
use afterimage_server::live::State;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// What `pins` takes.
#[derive(clap::Args)]
#[command(after_help = "\
The log is kept for whoever needs it: unfinished transactions (a rollback reads their records), the page that has been
dirty for longest (redo begins there), the last checkpoints. The first line is the one that decides. A transaction is
rolled back at the latest when the log from its first change on comes to max_wal_size; programs can name theirs with
`set_label`. Reads the status file, which the process that has the database open rewrites twice a second.

Examples:
  afterimage pins bank
  watch -n1 afterimage pins bank
  afterimage pins bank --json | jq '.pins[0]'")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
}

/// Prints them, oldest need first.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let io = Io::overlay();
    let status = stats::read(&io, &args.dir)?;
    let age = Duration::from_micros(io.wall_clock().saturating_sub(status.written_at_micros));
    let state = State::of(&status).words();
    if out.is_json() {
        return out.document(&document(&status, age, state));
    }
    out.line(format!("written {}", stats::written(&status, age, state)))?;
    if status.pins.is_empty() {
        return out.line("nobody holds the log back");
    }
    out.line(format!("{:>16} {:>10}  held by", "from LSN", "log"))?;
    for pin in &status.pins {
        let held = size(pin.bytes);
        out.line(format!("{:>16} {held:>10}  {}", pin.lsn, holder(pin)))?;
    }
    Ok(())
}

fn holder(pin: &Pin) -> String {
    match &pin.holder {
        PinHolder::Transaction {
            label,
            age,
            own_bytes,
        } => {
            let name = match label.as_str() {
                "" => "a transaction without a label".to_owned(),
                label => format!("transaction {label:?}"),
            };
            let (age, own) = (duration(*age), size(*own_bytes));
            format!("{name}, begun {age} before, {own} of log its own")
        }
        PinHolder::DirtyPage { page } => {
            format!("page {page}, dirty for longest: redo would begin here")
        }
        PinHolder::Checkpoint => "the last two checkpoints: the next one moves this on".to_owned(),
        _ => "something that this version does not know".to_owned(),
    }
}

fn document(status: &StatusFile, age: Duration, state: &str) -> Value {
    json!({
        "age_seconds": age.as_secs_f64(),
        "holder": { "pid": status.pid, "state": state },
        "max_wal_size": status.stats.max_wal_size,
        "pins": afterimage_server::json::pins(&status.pins),
    })
}
