//! `afterimage log`: a log from the command line, one's own or a database's. One file a subcommand; `kind` tells the
//! two sorts of directory apart, `record` prints what was read.

mod append;
mod cat;
mod dump;
mod frames;
pub mod kind;
mod record;
mod salvage;
mod slots;
mod stats;
mod tail;
mod verify;

use crate::failure::Failure;
use crate::out::Out;
use crate::settings::Settings;

/// Ways to write, follow and look into a log.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Append records from stdin, and print where each stands as soon as it is durable
    Append(append::Args),
    /// Print the durable records, from one position on or all
    Cat(cat::Args),
    /// Print the last records, and with -f go on with those to come
    Tail(tail::Args),
    /// Print the log, a line a record
    Dump(dump::Args),
    /// Check the log up to the first damage; changes nothing
    Verify(verify::Args),
    /// Where the log stands; works while another process has it open
    Stats(stats::Args),
    /// The named readers of the log, and what they hold back
    Slots(slots::Args),
    /// Make a damaged log one that opens: copy everything, cut it at the damage, name what is lost
    Salvage(salvage::Args),
}

/// Does what is asked of the log.
pub fn run(command: &Command, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Append(args) => append::run(args, settings, out),
        Command::Cat(args) => cat::run(args, out),
        Command::Tail(args) => tail::run(args, out),
        Command::Dump(args) => dump::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Stats(args) => stats::run(args, out),
        Command::Slots(args) => slots::run(args, settings, out),
        Command::Salvage(args) => salvage::run(args, out),
    }
}
