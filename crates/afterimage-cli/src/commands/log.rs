//! `afterimage log dump`: a line a record.
use crate::failure::Failure;
use crate::out::Out;
use std::path::PathBuf;
#[derive(clap::Subcommand)]
pub enum Command {
    Dump(Args),
}
#[derive(clap::Args)]
pub struct Args {
    dir: PathBuf,
}
pub fn run(_command: &Command, _out: &mut Out) -> Result<(), Failure> {
    todo!()
}
