//! `bench-compare`: the same log work at the same durability on Afterimage's log and on others, in one table.
//!
//! `bench-compare log` measures, goes on where an earlier call stopped, and prints; README.md says how to read it.

mod calibrate;
mod device;
mod engines;
mod load;
mod machine;
mod picture;
mod plan;
mod recovery;
mod results;
mod run;
mod scratch;
mod summary;
mod table;

use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can go wrong is told to a person, and ends the run or the point.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
/// Figures by name; the name says the unit.
pub type Values = BTreeMap<String, f64>;

#[derive(Parser)]
#[command(about = "The same log work at the same durability on Afterimage's log and on others.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Appends with sync, appends without, and opening after a kill; goes on with the results of an earlier call.
    Log(LogArgs),
    /// Fills a log and ends as if killed: what `log` starts before it measures an open.
    #[command(hide = true)]
    Fill(FillArgs),
}

#[derive(Args)]
struct LogArgs {
    /// A reduced table in less than ten minutes, in a results file of its own.
    #[arg(long)]
    quick: bool,
    /// Measure this engine alone; may be given several times.
    #[arg(long, value_name = "ENGINE")]
    only: Vec<String>,
    /// Where the engines write: a directory in it, removed at the end. The current directory by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The results file [default: log.jsonl, or log-quick.jsonl, in the results directory of bench-compare].
    #[arg(long)]
    results: Option<PathBuf>,
    /// Begin the results file anew instead of going on with it.
    #[arg(long)]
    fresh: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct FillArgs {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    bytes: u64,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Log(args) => log(&args),
        Command::Fill(args) => engines::named(&args.engine)
            .and_then(|kind| recovery::fill(&kind, &args.dir, args.bytes)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log(args: &LogArgs) -> Result<()> {
    let plan = if args.quick {
        plan::Plan::quick()
    } else {
        plan::Plan::full()
    };
    let all = engines::all();
    for name in &args.only {
        let kind = engines::named(name)?;
        if kind.open.is_none() {
            return Err(format!("{name}: {}", kind.settings).into());
        }
    }
    let chosen: Vec<_> = engines::all()
        .into_iter()
        .filter(|kind| args.only.is_empty() || args.only.iter().any(|name| name == kind.name))
        .collect();
    let file = if args.quick {
        "log-quick.jsonl"
    } else {
        "log.jsonl"
    };
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(file);
    let path = args.results.clone().unwrap_or_else(default);
    let scratch = scratch::Scratch::new(args.dir.as_deref())?;
    let device = device::Device::under(scratch.path());
    let machine = machine::Machine::here(scratch.path(), device.as_ref());
    let head = results::Head { plan, machine };
    let mut results = results::Results::open(&path, &head, args.fresh)?;
    let bench = run::Bench {
        plan: &head.plan,
        engines: &chosen,
        scratch: &scratch,
        device: device.as_ref(),
    };
    bench.run(&mut results)?;
    let summary = summary::of(&results.rows, &head.plan, &all);
    let picture = path.with_extension("png");
    picture::write(&picture, &head, &all, &summary)?;
    if args.json {
        let json = serde_json::json!({ "head": head, "summary": summary });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        print!("{}", table::text(&head, &all, &summary));
    }
    eprintln!(
        "\nresults: {}\npicture: {}",
        path.display(),
        picture.display()
    );
    Ok(())
}

/// The middle one; the mean of the middle two of an even number. NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
