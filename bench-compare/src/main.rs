//! `bench-compare`: the same work at the same durability on Afterimage and on others, in one table.
//!
//! `bench-compare log` compares logs, `bench-compare store` stores: each measures, goes on where an earlier call stopped,
//! and prints; README.md says how to read it.

mod calibrate;
mod device;
mod engines;
mod keys;
mod load;
mod log;
mod machine;
mod picture;
mod plan;
mod recovery;
mod results;
mod run;
mod scratch;
mod store;
mod store_table;
mod stores;
mod summary;
mod surge;
mod table;
mod work;

use clap::{Args, Parser, Subcommand};
use plan::{About, Point};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can go wrong is told to a person, and ends the run or the point.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
/// Figures by name; the name says the unit.
pub type Values = BTreeMap<String, f64>;

#[derive(Parser)]
#[command(about = "The same work at the same durability on Afterimage and on others.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Appends with sync, appends without, and opening after a kill; goes on with the results of an earlier call.
    Log(TableArgs),
    /// Transactions, reads, loads, recovery and a surge; goes on with the results of an earlier call.
    Store(TableArgs),
    /// One engine at one point: what `store` starts for each.
    #[command(hide = true)]
    Point(PointArgs),
    /// Fills a log and ends as if killed: what `log` starts before it measures an open.
    #[command(hide = true)]
    Fill(FillArgs),
}

#[derive(Args)]
struct TableArgs {
    /// A reduced table in less than ten minutes, in a results file of its own.
    #[arg(long)]
    quick: bool,
    /// Measure this engine alone; may be given several times.
    #[arg(long, value_name = "ENGINE")]
    only: Vec<String>,
    /// Measure this work alone (upd1, cycle, upd100, tpcb, reads, bulk, ycsb, recovery, surge; log); may be given several times.
    #[arg(long, value_name = "WORK")]
    work: Vec<String>,
    /// Measure nothing: tables and picture of what is in the results file.
    #[arg(long)]
    show: bool,
    /// Where the engines write: a directory in it, removed at the end. The current directory by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The results file [default: log.jsonl, log-quick.jsonl, store.jsonl or store-quick.jsonl, in the results directory of bench-compare].
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

#[derive(Args)]
struct PointArgs {
    #[arg(long)]
    task: String,
    #[arg(long)]
    engine: String,
    #[arg(long)]
    plan: String,
    #[arg(long)]
    point: String,
    #[arg(long)]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Log(args) => log(&args),
        Command::Store(args) => store(&args),
        Command::Point(args) => one_point(&args),
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

fn log(args: &TableArgs) -> Result<()> {
    let plan = if args.quick {
        plan::Plan::quick()
    } else {
        plan::Plan::full()
    };
    let scratch = scratch::Scratch::new(args.dir.as_deref())?;
    let device = device::Device::under(scratch.path());
    let measure = |about: &About, point: &Point| {
        let kind = engines::named(about.name)?;
        log::measure(&kind, point, &plan, &scratch, device.as_ref())
    };
    table_of("log", args, &plan, &scratch, engines::abouts(), &measure)
}

fn store(args: &TableArgs) -> Result<()> {
    let plan = if args.quick {
        plan::Plan::stores_quick()
    } else {
        plan::Plan::stores()
    };
    let scratch = scratch::Scratch::new(args.dir.as_deref())?;
    let measure = |about: &About, point: &Point| store::measure(about.name, point, &plan, &scratch);
    table_of("store", args, &plan, &scratch, stores::abouts(), &measure)
}

/// The child's part; what it found is its last line.
fn one_point(args: &PointArgs) -> Result<()> {
    let kind = stores::named(&args.engine)?;
    let plan: plan::Plan = serde_json::from_str(&args.plan)?;
    let point: Point = serde_json::from_str(&args.point)?;
    let of_stores = plan.store.as_ref().ok_or("no plan of stores")?;
    let values = match args.task.as_str() {
        "preload" => {
            work::preload(&kind, &args.dir, of_stores)?;
            Values::new()
        }
        "fill" => {
            let (updates, log) = work::fill_log(&kind, &args.dir, of_stores, plan.stream_bytes)?;
            let values = Values::from([
                ("updates".into(), updates as f64),
                ("log_mb".into(), log as f64 / 1e6),
            ]);
            println!("{}", serde_json::to_string(&values)?);
            // As a kill would have it: no destructor, no clean stop.
            std::process::exit(store::KILLED)
        }
        _ => {
            let device = device::Device::under(&args.dir);
            work::measure(&kind, &args.dir, &plan, &point, device.as_ref())?
        }
    };
    println!("{}", serde_json::to_string(&values)?);
    // No destructors: a store that closes for long is no part of its figures.
    std::process::exit(0)
}

/// Measures what is missing of a table, and shows all of it.
fn table_of(
    what: &str,
    args: &TableArgs,
    plan: &plan::Plan,
    scratch: &scratch::Scratch,
    all: Vec<About>,
    measure: &run::Measure<'_>,
) -> Result<()> {
    for name in &args.only {
        let found = all.iter().find(|about| about.name == name);
        let about = found.ok_or_else(|| format!("there is no engine {name}"))?;
        if !about.built {
            return Err(format!("{name}: {}", about.settings).into());
        }
    }
    let points = plan.points();
    let known = |name: &String| points.iter().any(|point| point.work.name() == name);
    if let Some(name) = args.work.iter().find(|name| !known(name)) {
        return Err(format!("there is no work {name} in this table").into());
    }
    let points: Vec<Point> = points
        .into_iter()
        .filter(|point| args.work.is_empty() || args.work.iter().any(|w| w == point.work.name()))
        .collect();
    let quick = if args.quick { "-quick" } else { "" };
    let file = format!("{what}{quick}.jsonl");
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")).join(file);
    let path = args.results.clone().unwrap_or_else(default);
    let device = device::Device::under(scratch.path());
    let head = results::Head {
        plan: plan.clone(),
        machine: machine::Machine::here(scratch.path(), device.as_ref()),
    };
    let mut results = results::Results::open(&path, &head, args.fresh)?;
    let bench = run::Bench {
        plan,
        points: if args.show { &[] } else { &points },
        engines: &all,
        only: &args.only,
        scratch,
        measure,
    };
    bench.run(&mut results)?;
    let summary = summary::of(&results.rows, plan, &all);
    let picture = path.with_extension("svg");
    picture::write(&picture, &head, &all, &summary)?;
    if args.json {
        let json = serde_json::json!({ "head": head, "summary": summary });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        let text = match plan.store {
            None => table::text(&head, &all, &summary),
            Some(_) => store_table::text(&head, &all, &summary),
        };
        print!("{text}");
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
