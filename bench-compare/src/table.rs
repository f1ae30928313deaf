//! The table of logs as text: where, what and how first, as for stores, then the multiples, then every figure.

use crate::engines::{KEEP, OURS};
use crate::plan::{About, Point, SURGE_TIMES, VALUE, Work};
use crate::results::Head;
use crate::summary::{Line, Summary};
use std::fmt::Write;

/// What our log is to reach: threads or appends under way, multiples of the single durable write.
const AIMS: [(Work, usize, f64); 5] = [
    (Work::Sync, 1, 0.95),
    (Work::Sync, 4, 2.6),
    (Work::Sync, 16, 9.0),
    (Work::Sync, 64, 20.0),
    (Work::Tickets, 256, 40.0),
];
/// Single durable writes that the 99th percentile at 64 threads is to stay under.
const P99_AIM: f64 = 6.0;

/// Processors that others may use before the figures say too little: the kernel's work for our own writes is among it.
const NOISE: f64 = 0.5;

/// Where, how and what with: the head of every table.
pub fn head(head: &Head, engines: &[About], summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_head(&mut out, head, engines, summary);
    out
}

/// Everything about logs, as text.
pub fn text(head: &Head, engines: &[About], summary: &Summary) -> String {
    let mut out = self::head(head, engines, summary);
    // Writing to a String cannot fail.
    for &bytes in &head.plan.record_bytes {
        let _ = write_multiples(&mut out, head, engines, summary, bytes);
    }
    let _ = slow(&mut out, summary);
    let _ = write_details(&mut out, summary);
    let _ = write_streams(&mut out, summary);
    let _ = write_opens(&mut out, summary);
    let _ = write_aims(&mut out, head, summary);
    out
}

fn write_head(
    out: &mut String,
    head: &Head,
    engines: &[About],
    summary: &Summary,
) -> std::fmt::Result {
    let (machine, plan) = (&head.machine, &head.plan);
    writeln!(
        out,
        "Where: {}, {} cpus ({}), {} MiB of memory",
        machine.kernel, machine.cpus, machine.cpu, machine.memory_mib
    )?;
    writeln!(
        out,
        "       {}; device {}",
        machine.file_system, machine.device
    )?;
    write!(
        out,
        "How:   {} plan: {} rounds, engines in turns, medians; {} s warm-up, {} s counted a point; calibration {} x {} s \
         by each method before each point; ",
        plan.name,
        plan.rounds,
        plan.warm_up_s,
        plan.measure_s,
        plan.calibration_slices,
        plan.calibration_slice_s,
    )?;
    match &plan.store {
        None => writeln!(
            out,
            "{} MiB kept; {} MiB appended without sync ({} s at most) and {} MiB of log opened ({} rounds)",
            KEEP >> 20,
            plan.stream_bytes >> 20,
            plan.stream_longest_s,
            plan.stream_bytes >> 20,
            plan.open_rounds
        )?,
        Some(store) => writeln!(
            out,
            "each point a process of its own on a copy of {} preloaded rows (keys 16 B, values {VALUE} B that do not compress); \
             cache {} MiB, where the data is 10 times the cache {:.1} MiB (the system's page cache is {}); YCSB and \
             scans {} s each, Zipf 0.99; load {} rows; recovery of {} MiB of log ({} s of filling at most); surge: {} s at the \
             base rate, {} s at {SURGE_TIMES} times that, which is {} of the engine's own rate with the most threads, {} s at the base rate; \
             {} threads, latency from the intended start, {} MiB of log where an engine takes a limit; rounds: loads, recovery and surge {}, \
             reads and YCSB {}",
            store.rows,
            store.cache >> 20,
            store.rows as f64 * (16 + VALUE) as f64 / 10.0 / f64::from(1 << 20),
            match machine.memory_limit_mib {
                None => "NOT LIMITED".into(),
                Some(limit) => format!("within {limit} MiB for all of this run"),
            },
            store.mix_s,
            store.bulk_rows,
            plan.stream_bytes >> 20,
            store.fill_longest_s,
            store.surge_calm_s,
            store.surge_s,
            store.surge_share,
            store.surge_calm_s,
            store.surge_threads,
            store.surge_log >> 20,
            plan.open_rounds,
            plan.mix_rounds
        )?,
    }
    for kind in engines {
        writeln!(
            out,
            "       {}{}{}: {}",
            kind.name,
            if kind.version.is_empty() { "" } else { " " },
            kind.version,
            kind.settings
        )?;
    }
    let others = synced(summary).map(|line| value(line, "others_cpus"));
    let most = others.fold(0.0, f64::max);
    if most > NOISE {
        writeln!(
            out,
            "       OTHER PROGRAMS WERE BUSY: up to {most:.1} of {} cpus at a point. Measure again on a quiet machine.",
            machine.cpus
        )?;
    }
    writeln!(
        out,
        "\nOne durable write of 4 KiB, on a file that was written before:"
    )?;
    for (method, rate) in &summary.singles {
        let best = if *method == summary.single_method {
            "   <- the unit"
        } else {
            ""
        };
        writeln!(
            out,
            "  {method:<18}{:>9.0}/s  {:>6.0} us{best}",
            rate,
            1e6 / rate
        )?;
    }
    Ok(())
}

/// What was measured while the disk was slow, if anything was.
pub fn slow(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let of = |line: &&Line| line.slow > 0;
    let slow: Vec<&Line> = summary.points.iter().filter(of).collect();
    if slow.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nMeasured while the disk did less than 60 % of its usual single durable writes, and worth little; the same call \
         measures it again:\n"
    )?;
    for Line {
        point,
        engine,
        slow,
        rounds,
        ..
    } in slow
    {
        writeln!(out, "- {engine}, {point}: {slow} of {rounds} rounds")?;
    }
    Ok(())
}

fn write_multiples(
    out: &mut String,
    head: &Head,
    engines: &[About],
    summary: &Summary,
    bytes: usize,
) -> std::fmt::Result {
    let points: Vec<Point> = head
        .plan
        .points()
        .into_iter()
        .filter(|point| point.bytes == bytes && matches!(point.work, Work::Sync | Work::Tickets))
        .collect();
    writeln!(
        out,
        "\nlog append + sync, records of {bytes} B: appends a second, as multiples of the single durable write"
    )?;
    write!(out, "  {:<16}", "")?;
    for point in &points {
        let name = match point.work {
            Work::Tickets => format!("1 thread, {} tickets", point.width),
            _ if point.width == 1 => "1 thread".into(),
            _ => format!("{} threads", point.width),
        };
        write!(out, "{name:>22}")?;
    }
    writeln!(out)?;
    for kind in engines {
        write!(out, "  {:<16}", kind.name)?;
        if !kind.built {
            writeln!(out, "  {}", kind.settings)?;
            continue;
        }
        for point in &points {
            let cell = match summary.line(kind.name, point) {
                _ if !kind.suits(point) => "-".into(),
                None => "not measured".into(),
                Some(line) if line.rounds == 0 => "failed".into(),
                Some(line) => format!(
                    "{:.2}x {:>9}/s",
                    value(line, "singles"),
                    rate(value(line, "per_s"))
                ),
            };
            write!(out, "{cell:>22}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_details(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(
        out,
        "\nEvery synced point. x: multiples of the single durable write, with the least and most of the rounds; of ours: the"
    )?;
    writeln!(
        out,
        "engine's multiple over ours; p99 also in single durable writes; flushes and bytes as the kernel counts them for the device."
    )?;
    let mut last = None;
    for line in synced(summary) {
        if last != Some(line.point) {
            last = Some(line.point);
            writeln!(out, "\n  {}", line.point)?;
            writeln!(
                out,
                "  {:<16}{:>9}{:>8}{:>16}{:>9}{:>10}{:>10}{:>8}{:>10}{:>10}{:>10}{:>9}  durability",
                "",
                "per s",
                "x",
                "least..most",
                "of ours",
                "p50 us",
                "p99 us",
                "p99 x",
                "max ms",
                "flushes",
                "device B",
                "cpu us"
            )?;
        }
        if line.rounds == 0 {
            writeln!(
                out,
                "  {:<16}failed: {}",
                line.engine,
                line.error.as_deref().unwrap_or("")
            )?;
            continue;
        }
        let v = |name| value(line, name);
        let spread = format!("{:.2}..{:.2}", v("singles_least"), v("singles_most"));
        writeln!(
            out,
            "  {:<16}{:>9}{:>8.2}{spread:>16}{:>9}{:>10.0}{:>10.0}{:>8.1}{:>10.1}{:>10}{:>10}{:>9.1}  {}",
            line.engine,
            rate(v("per_s")),
            v("singles"),
            known(100.0 * v("ratio_to_ours"), 0, "%"),
            v("p50_us"),
            v("p99_us"),
            v("p99_singles"),
            v("max_us") / 1e3,
            known(v("flushes_each"), 3, ""),
            known(v("device_bytes_each"), 0, ""),
            v("cpu_us"),
            durability(line)
        )?;
        if let Some(error) = &line.error {
            writeln!(out, "  {:<16}some rounds failed: {error}", "")?;
        }
    }
    Ok(())
}

/// What the device's flushes say.
pub fn durability(line: &Line) -> &'static str {
    match line.durable {
        None => "not checked",
        Some(true) => "flushes counted",
        Some(false) => "TOO FEW FLUSHES",
    }
}

fn write_streams(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(
        out,
        "\nAppend without sync, one thread (MB = 10^6 bytes of records)"
    )?;
    writeln!(
        out,
        "  {:<16}{:>10}{:>16}{:>12}{:>14}{:>9}",
        "", "MB/s", "with the sync", "appended MB", "appends/s", "of ours"
    )?;
    for line in summary
        .points
        .iter()
        .filter(|line| line.point.work == Work::Stream)
    {
        if line.rounds == 0 {
            writeln!(
                out,
                "  {:<16}failed: {}",
                line.engine,
                line.error.as_deref().unwrap_or("")
            )?;
            continue;
        }
        let v = |name| value(line, name);
        writeln!(
            out,
            "  {:<16}{:>10.0}{:>16.0}{:>12.0}{:>14}{:>9}",
            line.engine,
            v("mb_per_s"),
            v("mb_per_s_synced"),
            v("appended_mb"),
            rate(v("per_s")),
            known(100.0 * v("ratio_to_ours"), 1, "%")
        )?;
    }
    Ok(())
}

fn write_opens(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(
        out,
        "\nOpen after a kill: seconds until it can be appended to again, with nothing and with all of it in the page cache"
    )?;
    writeln!(
        out,
        "  {:<16}{:>9}{:>11}{:>9}{:>9}{:>9}{:>10}  then, where the open does not do it: read all, check all",
        "", "log MB", "records", "B each", "cold s", "warm s", "GB/s cold"
    )?;
    for line in summary
        .points
        .iter()
        .filter(|line| line.point.work == Work::Open)
    {
        if line.rounds == 0 {
            writeln!(
                out,
                "  {:<16}failed: {}",
                line.engine,
                line.error.as_deref().unwrap_or("")
            )?;
            continue;
        }
        let v = |name| value(line, name);
        let gb = v("log_mb") / 1e3;
        write!(
            out,
            "  {:<16}{:>9.0}{:>11.0}{:>9.1}{:>9.3}{:>9.3}{:>10.2}",
            line.engine,
            v("log_mb"),
            v("records"),
            v("log_mb") * 1e6 / v("records"),
            v("open_cold_s"),
            v("open_warm_s"),
            gb / v("open_cold_s")
        )?;
        for (name, what) in [("read", "read"), ("verify", "check")] {
            let (cold, warm) = (
                value(line, &format!("{name}_cold_s")),
                value(line, &format!("{name}_warm_s")),
            );
            if !warm.is_nan() {
                write!(
                    out,
                    "  {what} {cold:.3} / {warm:.3} s ({:.2} / {:.2} GB/s)",
                    gb / cold,
                    gb / warm
                )?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_aims(out: &mut String, head: &Head, summary: &Summary) -> std::fmt::Result {
    writeln!(out, "\nOur aims")?;
    let mut say = |what: String, reached: f64, aim: f64, met: bool| {
        let met = if met { "met" } else { "MISSED" };
        writeln!(out, "  {what:<52}{reached:>8.2}  aim {aim:>6.2}  {met}")
    };
    for point in head.plan.points() {
        let Some(line) = summary.line(OURS, &point).filter(|line| line.rounds > 0) else {
            continue;
        };
        let aim = AIMS
            .iter()
            .find(|aim| (aim.0, aim.1) == (point.work, point.width));
        if let Some((_, _, aim)) = aim {
            let reached = value(line, "singles");
            say(format!("{point}, x"), reached, *aim, reached >= *aim)?;
        }
        if (point.work, point.width) == (Work::Sync, 64) {
            let reached = value(line, "p99_singles");
            say(
                format!("{point}, p99 x"),
                reached,
                P99_AIM,
                reached < P99_AIM,
            )?;
        }
        if point.work == Work::Stream {
            let reached = value(line, "mb_per_s") / 1e3;
            say(format!("{point}, GB/s"), reached, 1.0, reached >= 1.0)?;
        }
        if point.work == Work::Open {
            let reached = value(line, "log_mb") / 1e3 / value(line, "verify_cold_s");
            say(
                "every byte of the log checked, cold, GB/s".into(),
                reached,
                1.0,
                reached >= 1.0,
            )?;
        }
    }
    let ahead = summary.points.iter().filter(|line| {
        let ratio = line.values.get("ratio_to_ours");
        line.engine != OURS && ratio.is_some_and(|ratio| *ratio >= 1.0)
    });
    if !summary.points.iter().any(|line| line.engine == OURS) {
        writeln!(out, "  {OURS} was not measured")?;
    }
    for line in ahead {
        let percent = 100.0 * value(line, "ratio_to_ours");
        writeln!(
            out,
            "  AHEAD OF US: {} at {} ({percent:.0}% of ours)",
            line.engine, line.point
        )?;
    }
    Ok(())
}

/// The points whose every operation is a durable commit.
pub fn synced(summary: &Summary) -> impl Iterator<Item = &Line> {
    summary
        .points
        .iter()
        .filter(|line| line.point.work.commits())
}

/// A figure; NaN where there is none.
pub fn value(line: &Line, name: &str) -> f64 {
    line.values.get(name).copied().unwrap_or(f64::NAN)
}

/// A figure with its unit, or a dash where there is none.
pub fn known(value: f64, decimals: usize, unit: &str) -> String {
    if value.is_nan() {
        "-".into()
    } else {
        format!("{value:.decimals$}{unit}")
    }
}

/// A rate with three or four digits.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.2}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1}k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}
