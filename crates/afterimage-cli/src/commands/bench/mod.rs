//! `afterimage bench`: measurements that anyone can repeat, each beside the limit of the machine it runs on.

mod calibrate;
mod clients;
pub mod commit;
pub mod recovery;

use crate::failure::Failure;
use crate::out::Out;
use crate::settings::Settings;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Durable commits a second, at several numbers of clients, as multiples of one single durable write
    Commit(commit::Args),
    /// Recoveries of logs of several sizes, each beside what it was said to take
    Recovery(recovery::Args),
}

/// Runs the measurement asked for.
pub fn run(command: &Command, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Commit(args) => commit::run(args, settings, out),
        Command::Recovery(args) => recovery::run(args, settings, out),
    }
}
