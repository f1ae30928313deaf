//! The tables of stores, in Markdown, so that they can be shown as they are: one for all points, then every figure.

use crate::plan::{About, Point, Work, is_ours};
use crate::results::Head;
use crate::summary::{Line, Summary};
use crate::table::{self, durability, known, rate, synced, value};
use std::fmt::{Result, Write};

/// Everything about stores, as text.
pub fn text(head: &Head, engines: &[About], summary: &Summary) -> String {
    let mut out = table::head(head, engines, summary);
    // Writing to a String cannot fail.
    let _ = write(&mut out, engines, summary);
    out
}

fn write(out: &mut String, engines: &[About], summary: &Summary) -> Result {
    let shown: Vec<&About> = engines
        .iter()
        .filter(|about| summary.points.iter().any(|line| line.engine == about.name))
        .collect();
    glance(out, &shown, summary)?;
    table::slow(out, summary)?;
    commits(out, summary)?;
    rest(out, summary)?;
    ahead(out, summary)
}

/// The points, in the order of the table, that something was measured at.
fn points(summary: &Summary) -> Vec<Point> {
    let mut points: Vec<Point> = summary.points.iter().map(|line| line.point).collect();
    points.dedup();
    points
}

/// A row a point, a column an engine; the best in bold.
fn glance(out: &mut String, engines: &[&About], summary: &Summary) -> Result {
    writeln!(
        out,
        "\nOperations a second unless it says otherwise; in brackets: multiples of the single durable write. Bold: the best.\n"
    )?;
    write!(out, "| |")?;
    for about in engines {
        write!(out, " {} |", about.name)?;
    }
    writeln!(out, "\n|---|{}", "---|".repeat(engines.len()))?;
    for point in points(summary) {
        let (figure, more_is_better) = point.work.headline();
        let of = |about: &&&About| {
            let line = summary.line(about.name, &point)?;
            line.values.get(figure).copied()
        };
        let figures = engines.iter().filter_map(|about| of(&about));
        let best = if more_is_better {
            figures.fold(0.0, f64::max)
        } else {
            figures.fold(f64::MAX, f64::min)
        };
        write!(out, "| {point}{} |", unit(point.work))?;
        for about in engines {
            let cell = match summary.line(about.name, &point) {
                _ if !about.suits(&point) => "-".into(),
                None => String::new(),
                Some(line) if line.rounds == 0 => "failed".into(),
                Some(line) => cell(line, figure),
            };
            let is_best = of(&about).is_some_and(|figure| figure == best);
            if is_best && engines.len() > 1 {
                write!(out, " **{cell}** |")?;
            } else {
                write!(out, " {cell} |")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn unit(work: Work) -> &'static str {
    match work.headline().0 {
        "rows_per_s" => ": rows/s",
        "first_read_cold_s" => ": until the first read, cold, after so much log",
        "device_bytes_each" => ": bytes that the device is written, each",
        "p999_us" => ": p99.9; worst second of the median one; offered",
        _ => "",
    }
}

fn cell(line: &Line, figure: &str) -> String {
    let v = |name| value(line, name);
    match figure {
        "singles" => format!("{} ({:.2})", rate(v("per_s")), v("singles")),
        "device_bytes_each" => known(v(figure), 0, " B"),
        "first_read_cold_s" => format!("{:.2} s of {:.0} MB", v(figure), v("log_mb")),
        "p999_us" => {
            let (share, offered) = (100.0 * v("worst_share"), rate(v("offered_per_s")));
            format!("{}; {share:.0} %; {offered}", time(v(figure)))
        }
        _ => rate(v(figure)),
    }
}

fn time(micros: f64) -> String {
    match micros {
        micros if micros.is_nan() => "-".into(),
        micros if micros >= 1e6 => format!("{:.2} s", micros / 1e6),
        micros if micros >= 1e3 => format!("{:.2} ms", micros / 1e3),
        micros => format!("{micros:.0} us"),
    }
}

/// Everything of the points whose operations are durable commits.
fn commits(out: &mut String, summary: &Summary) -> Result {
    writeln!(
        out,
        "\nEvery durable point, for each commit. x: multiples of the single durable write, with the least and most of the rounds; of \
         ours: the engine's multiple over ours, of the checkpoint cycle our device bytes over the engine's; flushes and bytes as the kernel counts them for the device; log B and page B: \
         what the engine itself says that it wrote."
    )?;
    let mut last = None;
    for line in synced(summary) {
        if last != Some(line.point) {
            last = Some(line.point);
            writeln!(out, "\n{}\n", line.point)?;
            writeln!(
                out,
                "| | per s | x | least..most | of ours | p50 | p99 | p99.9 | max | again | flushes | device B | log B | page B | cpu us | durability |"
            )?;
            writeln!(out, "|---|{}", "---|".repeat(15))?;
        }
        if line.rounds == 0 {
            failed(out, line, 15)?;
            continue;
        }
        let v = |name| value(line, name);
        writeln!(
            out,
            "| {} | {} | {:.2} | {:.2}..{:.2} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
            line.engine,
            rate(v("per_s")),
            v("singles"),
            v("singles_least"),
            v("singles_most"),
            known(100.0 * v("ratio_to_ours"), 0, " %"),
            time(v("p50_us")),
            time(v("p99_us")),
            time(v("p999_us")),
            time(v("max_us")),
            known(v("retries_each"), 2, ""),
            known(v("flushes_each"), 3, ""),
            known(v("device_bytes_each"), 0, ""),
            known(v("log_bytes_each"), 0, ""),
            known(v("page_bytes_each"), 0, ""),
            v("cpu_us"),
            durability(line)
        )?;
    }
    Ok(())
}

fn failed(out: &mut String, line: &Line, columns: usize) -> Result {
    let error = line.error.as_deref().unwrap_or("");
    writeln!(
        out,
        "| {} | failed: {error} {}",
        line.engine,
        "| ".repeat(columns)
    )
}

/// Everything of the other points: what is there, by name.
fn rest(out: &mut String, summary: &Summary) -> Result {
    writeln!(
        out,
        "\nThe other points, every figure by its name.\n\n| | | |\n|---|---|---|"
    )?;
    for line in &summary.points {
        if line.point.work.commits() {
            continue;
        }
        if line.rounds == 0 {
            let error = line.error.as_deref().unwrap_or("");
            writeln!(
                out,
                "| {} | {} | failed: {error} |",
                line.point, line.engine
            )?;
            continue;
        }
        let figures: Vec<String> = line
            .values
            .iter()
            .filter(|(name, value)| !name.starts_with("second_") && value.is_finite())
            .map(|(name, value)| format!("{name} {}", short(*value)))
            .collect();
        let figures = figures.join(", ");
        writeln!(out, "| {} | {} | {figures} |", line.point, line.engine)?;
    }
    Ok(())
}

fn short(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value.abs() < 10.0 => format!("{value:.3}"),
        value => format!("{value:.0}"),
    }
}

/// Where a peer is better than ours.
fn ahead(out: &mut String, summary: &Summary) -> Result {
    writeln!(out)?;
    for line in &summary.points {
        let ratio = value(line, "ratio_to_ours");
        if !is_ours(&line.engine) && ratio >= 1.0 {
            writeln!(
                out,
                "AHEAD OF US: {} at {} ({:.0} % of ours)",
                line.engine,
                line.point,
                100.0 * ratio
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Values;

    fn line(engine: &str, rows_per_s: f64, ratio: f64) -> Line {
        let values = [("rows_per_s", rows_per_s), ("ratio_to_ours", ratio)];
        Line {
            point: Point {
                work: Work::Scan,
                bytes: 100,
                width: 1,
            },
            engine: engine.into(),
            rounds: 1,
            slow: 0,
            values: Values::from(values.map(|(name, value)| (name.to_owned(), value))),
            durable: None,
            error: None,
        }
    }

    #[test]
    fn who_is_ahead_of_us_is_in_bold_and_named() {
        let about = |name| About {
            name,
            version: "",
            settings: "",
            built: true,
            cannot: Vec::new(),
        };
        let summary = Summary {
            single_method: String::new(),
            single_per_s: 1.0,
            singles: Values::new(),
            points: vec![line("afterimage", 2e6, 1.0), line("heed", 9e6, 4.5)],
        };
        let mut out = String::new();
        assert!(write(&mut out, &[about("afterimage"), about("heed")], &summary).is_ok());
        assert!(out.contains("| 2.00M | **9.00M** |"), "{out}");
        assert!(out.contains("AHEAD OF US: heed at full scan, 1 thread (450 % of ours)"));
    }
}
