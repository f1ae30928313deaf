//! `afterimage size`: from the load that is expected to the settings, and to what it takes of the disk, of the archive, and of a
//! recovery's time. Arithmetic alone, shown; it opens nothing.

use crate::failure::Failure;
use crate::open::from_engine;
use crate::out::Out;
use crate::settings::Settings;
use crate::units::{count, decimal_size, duration, parse_long_duration, size};
use afterimage::inspect::RecoveryModel;
use afterimage_io::Io;
use afterimage_log::units::{parse_duration, parse_size, write_duration, write_size};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many times the log of one interval `max_wal_size` is to be: a checkpoint is on its way while the next log is written, and a
/// busy day is busier than the one that was thought of.
const MARGIN: u64 = 4;
/// The settings that are given out are within these bounds (docs/settings.md).
const LOG_MIN: u64 = 64 << 20;
const LOG_MAX: u64 = 1024 << 40;
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// A segment should last about so long at least.
const SEGMENT_LASTS: u64 = 1;

/// What `size` takes.
#[derive(clap::Args)]
#[command(after_help = "\
The peak decides the log, the average the archive. `max_wal_size` is four times the log of one checkpoint interval at the peak. How
long a recovery takes depends on the machine: of --disk, a database's directory, by how long its last recovery took; else by what was
measured on two processors, and it says so.

Examples:
  afterimage size --peak-tps 5000 --wal-per-txn 10KiB --checkpoint-interval 15min
  afterimage size --peak-tps 10000 --wal-per-txn 278B --retention 7d --average-tps 2000
  afterimage size --peak-tps 5000 --wal-per-txn 1KiB --disk /var/lib/bank --json")]
pub struct Args {
    /// Transactions a second, at the busiest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    peak_tps: u64,
    /// Log that a transaction writes (`afterimage stats`: log records, over commits)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    wal_per_txn: u64,
    /// The time from one checkpoint to the next; 15 to 30 minutes is good
    #[arg(long, value_name = "TIME", default_value = "15min", value_parser = parse_duration)]
    checkpoint_interval: Duration,
    /// How long the archive is kept
    #[arg(long, value_name = "TIME", value_parser = parse_long_duration)]
    retention: Option<Duration>,
    /// Transactions a second on the average; the peak, where it is left out
    #[arg(long, value_name = "N")]
    average_tps: Option<u64>,
    /// A directory on the disk that the log will be on, or a database there
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// What the load comes to. Bytes, and bytes a second.
struct Sizing {
    log_a_second: u64,
    log_an_interval: u64,
    recommended: u64,
    average_tps: u64,
    archive_an_hour: u64,
    archive_a_day: u64,
    retained: Option<u64>,
}

impl Sizing {
    /// `None`: more log than there may be.
    fn of(args: &Args) -> Option<Sizing> {
        let over = |a_second: u64, time: Duration| {
            let nanos = u128::from(a_second) * time.as_nanos();
            u64::try_from(nanos / 1_000_000_000).ok()
        };
        let log_a_second = args.peak_tps.checked_mul(args.wal_per_txn)?;
        let average_tps = args.average_tps.unwrap_or(args.peak_tps);
        let average = average_tps.checked_mul(args.wal_per_txn)?;
        let log_an_interval = over(log_a_second, args.checkpoint_interval)?;
        let recommended = log_an_interval.checked_mul(MARGIN)?;
        Some(Sizing {
            log_a_second,
            log_an_interval,
            recommended: Some(recommended).filter(|bytes| *bytes <= LOG_MAX)?,
            average_tps,
            archive_an_hour: over(average, Duration::from_secs(3600))?,
            archive_a_day: over(average, Duration::from_secs(86_400))?,
            retained: match args.retention {
                Some(time) => Some(over(average, time)?),
                None => None,
            },
        })
    }

    /// `max_wal_size`, so rounded that it can be written.
    fn max_wal_size(&self) -> u64 {
        let unit = unit_of(self.recommended);
        (self.recommended.div_ceil(unit) * unit).max(LOG_MIN)
    }

    /// So large that the log does not go on to the next file all the time, and a quarter of the log at most; fixed when a database is made.
    fn segment(&self) -> u64 {
        let least = self.log_a_second.saturating_mul(SEGMENT_LASTS);
        let most = 1 << (self.max_wal_size() / 4).ilog2();
        least.clamp(16 << 20, 1 << 30).next_power_of_two().min(most)
    }
}

/// What a log of about so much is rounded to.
fn unit_of(bytes: u64) -> u64 {
    if bytes >= 1 << 30 { 1 << 30 } else { 1 << 20 }
}

/// What the machine says to it.
struct Limits {
    recovery: Duration,
    target: Duration,
    is_learnt: bool,
    /// Log that a recovery within the target is reckoned to read.
    within_target: u64,
    free: Option<u64>,
    /// The longest interval of which four times the log is within all limits, where the one asked for is not.
    fits: Option<Duration>,
}

impl Limits {
    fn of(sizing: &Sizing, model: &RecoveryModel, free: Option<u64>) -> Limits {
        let most = sizing.max_wal_size();
        let within_target = model.log_within_target();
        let allowed = within_target.min(free.unwrap_or(u64::MAX));
        // So that what is rounded up is allowed too.
        let allowed = allowed / unit_of(allowed) * unit_of(allowed);
        let fits = (most > allowed).then(|| {
            let seconds = allowed as f64 / (MARGIN as f64 * sizing.log_a_second.max(1) as f64);
            let seconds = seconds as u64;
            // Whole minutes, where there are some.
            Duration::from_secs(if seconds >= 120 {
                seconds / 60 * 60
            } else {
                seconds
            })
        });
        Limits {
            recovery: model.time(most),
            target: model.target(),
            is_learnt: model.is_learnt(),
            within_target,
            free,
            fits,
        }
    }

    fn warnings(&self, sizing: &Sizing) -> Vec<String> {
        let most = sizing.max_wal_size();
        let mut warnings = Vec::new();
        if let Some(free) = self.free.filter(|free| most > *free) {
            warnings.push(format!(
                "the disk has {} free, less than max_wal_size = {}",
                size(free),
                write_size(most)
            ));
        }
        if most > self.within_target {
            warnings.push(format!(
                "a recovery of {} takes about {}; target_recovery_time = {}, of which a fifth is kept as a margin, would hold the log at {} or \
                 less: pages are then written home more often. Set target_recovery_time as well, if so long a recovery is all right",
                size(most),
                duration(self.recovery),
                write_duration(self.target),
                size(self.within_target)
            ));
        }
        match self.fits {
            Some(fits) if fits >= Duration::from_secs(1) => warnings.push(format!(
                "with --checkpoint-interval {} it fits",
                write_duration(fits)
            )),
            Some(_) => warnings.push("no checkpoint interval of a second or more fits".to_owned()),
            None => {}
        }
        warnings
    }

    /// Where the rate is from.
    fn source(&self) -> &'static str {
        if self.is_learnt { "learnt" } else { "assumed" }
    }
}

/// Reckons and shows.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    if args.checkpoint_interval < Duration::from_secs(1) || args.checkpoint_interval > TIMEOUT_MAX {
        return Err(Failure::usage("--checkpoint-interval is from 1s to 24h")
            .advise("15min to 30min is good"));
    }
    let sizing = Sizing::of(args).ok_or_else(|| {
        let most = write_size(LOG_MAX);
        Failure::usage(format!(
            "that is more log than max_wal_size may be, {most}, or an archive of more than 16 EiB"
        ))
        .advise("transactions a second and bytes for each: is one of them too large?")
    })?;
    let options = settings.options()?;
    let dir = args.disk.as_deref();
    let model = RecoveryModel::of(&Io::overlay(), dir, &options)
        .map_err(|e| from_engine(e, dir.unwrap_or(Path::new("."))))?;
    let free = dir.map(free_room).transpose()?;
    let limits = Limits::of(&sizing, &model, free);
    if out.is_json() {
        return out.document(&document(args, &sizing, &limits));
    }
    show(args, &sizing, &limits, out)
}

fn free_room(dir: &Path) -> Result<u64, Failure> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|e| Failure::io("asking for the free room of", dir, &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn show(args: &Args, sizing: &Sizing, limits: &Limits, out: &mut Out) -> Result<(), Failure> {
    let mut line = |name: &str, value: String| out.line(format!("{name:<22}{value}"));
    line(
        "log",
        format!(
            "{}/s at the peak of {} transactions a second, {} each",
            size(sizing.log_a_second),
            count(args.peak_tps),
            size(args.wal_per_txn)
        ),
    )?;
    line(
        "log an interval",
        format!(
            "{} in {}",
            size(sizing.log_an_interval),
            write_duration(args.checkpoint_interval)
        ),
    )?;
    line(
        "recommended",
        format!(
            "{} for max_wal_size, {MARGIN} times as much",
            size(sizing.recommended)
        ),
    )?;
    let whose = match args.average_tps {
        Some(_) => "the average",
        None => "the peak: no --average-tps was given",
    };
    line(
        "archive",
        format!(
            "{} an hour, {} a day, at {} transactions a second ({whose})",
            decimal_size(sizing.archive_an_hour),
            decimal_size(sizing.archive_a_day),
            count(sizing.average_tps)
        ),
    )?;
    if let (Some(retained), Some(time)) = (sizing.retained, args.retention) {
        line(
            "archive kept",
            format!("{} for {}", decimal_size(retained), duration(time)),
        )?;
    }
    let source = match limits.is_learnt {
        true => "by how long the last ones in this directory took",
        false => {
            "assumed: as measured on two processors; name a database with --disk, or see `afterimage bench recovery`"
        }
    };
    line(
        "a recovery",
        format!(
            "about {} at that size ({source})",
            duration(limits.recovery)
        ),
    )?;
    if let Some(free) = limits.free {
        line("free on the disk", size(free))?;
    }
    out.line("")?;
    for setting in toml(args, sizing) {
        out.line(setting)?;
    }
    for warning in limits.warnings(sizing) {
        out.line("")?;
        out.line(format!("warning: {warning}"))?;
    }
    Ok(())
}

/// What to paste into `settings.toml`.
fn toml(args: &Args, sizing: &Sizing) -> Vec<String> {
    let mut lines = vec![
        "# settings.toml".to_owned(),
        format!("max_wal_size = \"{}\"", write_size(sizing.max_wal_size())),
        format!(
            "checkpoint_timeout = \"{}\"",
            write_duration(args.checkpoint_interval)
        ),
    ];
    if sizing.segment() > 16 << 20 {
        let segment = write_size(sizing.segment());
        lines.push(format!(
            "wal_segment_size = \"{segment}\"  # for a new database: it is fixed when that is made"
        ));
    }
    lines
}

fn document(args: &Args, sizing: &Sizing, limits: &Limits) -> Value {
    json!({
        "peak_tps": args.peak_tps,
        "wal_per_txn": args.wal_per_txn,
        "checkpoint_interval_seconds": args.checkpoint_interval.as_secs_f64(),
        "log_bytes_per_second": sizing.log_a_second,
        "log_bytes_per_interval": sizing.log_an_interval,
        "recommended_bytes": sizing.recommended,
        "settings": {
            "max_wal_size": write_size(sizing.max_wal_size()),
            "checkpoint_timeout": write_duration(args.checkpoint_interval),
            "wal_segment_size": write_size(sizing.segment()),
        },
        "archive": {
            "average_tps": sizing.average_tps,
            "average_is_the_peak": args.average_tps.is_none(),
            "bytes_per_hour": sizing.archive_an_hour,
            "bytes_per_day": sizing.archive_a_day,
            "retention_seconds": args.retention.map(|time| time.as_secs()),
            "retained_bytes": sizing.retained,
        },
        "recovery": {
            "seconds": limits.recovery.as_secs_f64(),
            "source": limits.source(),
            "target_seconds": limits.target.as_secs_f64(),
            "bytes_within_target": limits.within_target,
        },
        "disk_free_bytes": limits.free,
        "fitting_interval_seconds": limits.fits.map(|fits| fits.as_secs()),
        "warnings": limits.warnings(sizing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage::{Options, inspect};

    fn args(peak_tps: u64, wal_per_txn: u64, retention: Option<Duration>) -> Args {
        Args {
            peak_tps,
            wal_per_txn,
            checkpoint_interval: Duration::from_secs(15 * 60),
            retention,
            average_tps: None,
            disk: None,
        }
    }

    /// By hand: 5000 x 10,240 = 51,200,000 B/s; x 900 s = 46,080,000,000 B; x 4 = 184,320,000,000 B.
    #[test]
    fn the_log_is_what_it_is_by_hand() {
        let sizing = Sizing::of(&args(5000, 10 << 10, None)).expect("it fits");
        assert_eq!(sizing.log_a_second, 51_200_000);
        assert_eq!(sizing.log_an_interval, 46_080_000_000);
        assert_eq!(sizing.recommended, 184_320_000_000);
        assert_eq!(size(sizing.log_a_second), "48.8 MiB");
        assert_eq!(size(sizing.log_an_interval), "42.9 GiB");
        assert_eq!(size(sizing.recommended), "171.7 GiB");
        assert_eq!(write_size(sizing.max_wal_size()), "172GiB");
        assert_eq!(write_size(sizing.segment()), "64MiB");
        assert_eq!(sizing.retained, None);
    }

    /// By hand: 10,000 x 278 = 2,780,000 B/s; x 3600 s = 10,008,000,000 B; x 24 x 7 = 1,681,344,000,000 B.
    #[test]
    fn the_archive_is_what_it_is_by_hand() {
        let week = Duration::from_secs(7 * 86_400);
        let sizing = Sizing::of(&args(10_000, 278, Some(week))).expect("it fits");
        assert_eq!(sizing.archive_an_hour, 10_008_000_000);
        assert_eq!(sizing.retained, Some(1_681_344_000_000));
        assert_eq!(decimal_size(sizing.archive_an_hour), "10.0 GB");
        assert_eq!(decimal_size(1_681_344_000_000), "1.68 TB");
        let average = Args {
            average_tps: Some(1000),
            ..args(10_000, 278, Some(week))
        };
        let averaged = Sizing::of(&average).expect("it fits");
        assert_eq!(averaged.retained, Some(168_134_400_000));
        assert_eq!(
            averaged.recommended, sizing.recommended,
            "the peak decides it"
        );
    }

    #[test]
    fn what_is_too_much_is_no_number() {
        assert!(Sizing::of(&args(u64::MAX, 2, None)).is_none());
        let long = Some(Duration::from_secs(u64::MAX / 1_000_000_000));
        assert!(Sizing::of(&args(1 << 40, 1 << 20, long)).is_none());
        assert!(Sizing::of(&args(1 << 30, 1 << 20, None)).is_none());
        let little = Sizing::of(&args(1, 1, None)).expect("it fits");
        assert_eq!(little.max_wal_size(), LOG_MIN);
    }

    #[test]
    fn whatever_is_printed_can_be_pasted() {
        let io = afterimage_io::sim::Sim::new(1).io();
        let mut blocks = 0;
        for tps in [1, 900, 17_000, 35_000, 300_000, 1 << 22] {
            for bytes in [1, 278, 1 << 10, 64 << 10] {
                for seconds in [1, 2, 61, 900, 86_400] {
                    let args = Args {
                        checkpoint_interval: Duration::from_secs(seconds),
                        ..args(tps, bytes, None)
                    };
                    let Some(sizing) = Sizing::of(&args) else {
                        continue;
                    };
                    let block = toml(&args, &sizing);
                    let mut options = Options::new().io(io.clone());
                    for line in block.iter().filter(|line| !line.starts_with('#')) {
                        let (name, rest) = line.split_once(" = \"").expect("a setting");
                        let (value, _) = rest.split_once('"').expect("a value in marks");
                        options = options.set(name, value).expect("it is taken");
                    }
                    let taken = inspect::settings(Path::new("nowhere"), &options);
                    assert!(taken.is_ok(), "{block:?}: {taken:?}");
                    blocks += 1;
                }
            }
        }
        assert!(blocks > 100, "{blocks}");
        let hasty = Args {
            checkpoint_interval: Duration::from_secs(1),
            ..args(17_000, 1 << 10, None)
        };
        let hasty = Sizing::of(&hasty).expect("it fits");
        assert_eq!(write_size(hasty.max_wal_size()), "67MiB");
        assert_eq!(write_size(hasty.segment()), "16MiB");
    }
}
