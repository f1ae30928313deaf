//! The `afterimage` command: look into, check, load and measure a database, and watch one survive being killed.
//!
//! The outermost room of the house. One file a subcommand under `commands/`; what they share lies beside this file:
//! `open` (how a command opens a database), `out` (where results go), `failure` (how it ends when it does not end
//! well), `remote` (a server that is asked), `escape`, `span`, `rng`, `settings`, `trace`; `units`, how numbers are written, is the server's. Here is only the table of commands.

mod commands;
mod escape;
mod failure;
mod latency;
mod open;
mod out;
mod remote;
mod rng;
mod scratch;
mod settings;
mod span;
mod trace;

use afterimage_server::units;
use clap::{Parser, Subcommand};
use failure::Failure;
use out::Out;
use settings::Settings;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  afterimage demo                           a bank, killed three times in ten seconds, checked each time
  afterimage load bank accounts rows.tsv    key<TAB>value lines into a table; makes both
  afterimage scan bank accounts --limit 10  the first ten rows
  afterimage shell bank                     a prompt, for looking and trying
  afterimage stats bank                     works while another process has it open
  afterimage verify bank                    every page, every tree, all log

Results go to stdout, progress and warnings to stderr. AFTERIMAGE_TRACE=info (or debug, trace) shows there what the engine does.
Exit codes: 0 done, 1 the data is wrong or not there, 2 usage, 3 refused (in use, version, damage, disk).";

/// Look into, check, load and measure an Afterimage database.
#[derive(Parser)]
#[command(name = "afterimage", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Set a setting, for example --set buffer_pool_size=64MiB; `afterimage settings` lists them
    #[arg(
        long = "set",
        global = true,
        value_name = "NAME=VALUE",
        hide_short_help = true
    )]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a bank in a child process, kill it again and again, and check that nothing acknowledged is lost
    Demo(commands::demo::Args),
    #[command(hide = true)]
    DemoChild(commands::demo::child::Args),
    /// Load lines of key, tab, value into a table; creates the database and the table
    Load(commands::load::Args),
    /// Print every row of a table, in key order, as `load` reads it
    Export(commands::export::Args),
    /// Print the value of a key
    Get(commands::get::Args),
    /// Set the value of a key, durably
    Put(commands::put::Args),
    /// Delete a key, durably
    Delete(commands::delete::Args),
    /// Print the rows of a part of a table, in key order
    Scan(commands::scan::Args),
    /// Look around and try things at a prompt: tables, rows, transactions, savepoints
    Shell(commands::shell::Args),
    /// List the tables
    Tables(commands::tables::Args),
    /// Take a checkpoint, so that the next recovery has little to do
    Checkpoint(commands::checkpoint::Args),
    /// Recover a database that was not closed, and print what was found
    Recover(commands::recover::Args),
    /// Where the log stands, what checkpoints and commits there were; works on a live database
    Stats(commands::stats::Args),
    /// Show a page about the database to a browser: what it does, what it waits for, how it would recover
    Serve(commands::serve::Args),
    /// What the live page shows, in a terminal; works on a live database
    Top(commands::top::Args),
    /// Who holds the log back, since when and for how much; works on a live database
    Pins(commands::pins::Args),
    /// What of the settings does not fit the load, and what would; works on a live database
    Advise(commands::advise::Args),
    /// What a load takes: settings to paste, disk, archive, recovery time
    Size(commands::size::Args),
    /// Every setting: its value, where that came from, its bounds, and what goes wrong at either end
    Settings(commands::settings::Args),
    /// Check every page, every tree and all log; changes nothing
    Verify(commands::verify::Args),
    /// How a recovery goes, step by step: of a database, of a log written in the notation of textbooks, or of a scenario
    Explain(commands::explain::Args),
    /// Every version of a row that the log still has: when, by which transaction, before and after
    History(commands::history::Args),
    /// Look into the log
    #[command(subcommand)]
    Log(commands::log::Command),
    /// Measure, on this machine and this disk
    #[command(subcommand)]
    Bench(commands::bench::Command),
    /// What a durable write costs in a directory, by every way of making it durable, and which way a log should use
    TestSync(commands::test_sync::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    trace::begin()?;
    let settings = Settings::new(cli.set)?;
    let mut out = Out::new(cli.json);
    dispatch(cli.command, &settings, &mut out)
        .and_then(|()| out.flush())
        .inspect_err(|_| {
            // What was printed before the failure is still a result; that it cannot be written adds nothing.
            let _ = out.flush();
        })
}

fn dispatch(command: Command, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => commands::demo::run(&args, settings, out),
        Command::DemoChild(args) => commands::demo::child::run(&args, settings),
        Command::Load(args) => commands::load::run(&args, settings, out),
        Command::Export(args) => commands::export::run(&args, settings, out),
        Command::Get(args) => commands::get::run(&args, settings, out),
        Command::Put(args) => commands::put::run(&args, settings, out),
        Command::Delete(args) => commands::delete::run(&args, settings, out),
        Command::Scan(args) => commands::scan::run(&args, settings, out),
        Command::Shell(args) => commands::shell::run(&args, settings, out),
        Command::Tables(args) => commands::tables::run(&args, settings, out),
        Command::Checkpoint(args) => commands::checkpoint::run(&args, settings, out),
        Command::Recover(args) => commands::recover::run(&args, settings, out),
        Command::Stats(args) => commands::stats::run(&args, out),
        Command::Serve(args) => commands::serve::run(&args, settings, out),
        Command::Top(args) => commands::top::run(&args, out),
        Command::Pins(args) => commands::pins::run(&args, out),
        Command::Advise(args) => commands::advise::run(&args, out),
        Command::Size(args) => commands::size::run(&args, settings, out),
        Command::Settings(args) => commands::settings::run(&args, settings, out),
        Command::Verify(args) => commands::verify::run(&args, out),
        Command::Explain(args) => commands::explain::run(&args, settings, out),
        Command::History(args) => commands::history::run(&args, settings, out),
        Command::Log(command) => commands::log::run(&command, settings, out),
        Command::Bench(command) => commands::bench::run(&command, settings, out),
        Command::TestSync(args) => commands::test_sync::run(&args, out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
