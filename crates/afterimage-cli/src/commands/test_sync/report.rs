//! The two tables, within 100 columns, and the same as one JSON document.

use super::SIZES;
use super::advice::Advice;
use super::place::Place;
use super::row::{COMMIT_BYTES, Outcome, Row, Shape, size};
use crate::failure::Failure;
use crate::out::Out;
use crate::units::{count, duration};
use afterimage_log::SyncChoice;
use serde_json::{Value, json};

const WIDTH: usize = 100;

/// Prints it for a person.
pub fn print(
    place: &Place,
    ways: &[Row],
    uses: &[Row],
    advice: &Advice,
    out: &mut Out,
) -> Result<(), Failure> {
    let on = match &place.file_system {
        Some((kind, source)) => format!(", on {kind} ({source})"),
        None => String::new(),
    };
    out.line(format!("durable writes in {}{on}", place.dir.display()))?;
    out.line("")?;
    print_ways(ways, out)?;
    out.line("")?;
    out.line(format!(
        "{:<58} {:>8} {:>8} {:>9} {:>11}",
        "what can be made of them", "p50", "p99", "writes/s", "commits/s"
    ))?;
    for row in uses {
        let Some(outcome) = row.result() else {
            continue;
        };
        let commits = commits_per_second(row, outcome);
        out.line(format!(
            "{:<58} {:>8} {:>8} {:>9} {:>11}",
            describe(row),
            duration(outcome.p50),
            duration(outcome.p99),
            whole(outcome.per_second),
            commits.map_or_else(|| "-".into(), whole),
        ))?;
    }
    for (title, thoughts) in [
        ("Recommendation", &advice.recommendation),
        ("Caution", &advice.warnings),
    ] {
        if !thoughts.is_empty() {
            out.line("")?;
            out.line(title)?;
        }
        for thought in thoughts {
            out.line(wrapped(thought))?;
        }
    }
    Ok(())
}

/// A line a way, the sizes side by side.
fn print_ways(ways: &[Row], out: &mut Out) -> Result<(), Failure> {
    let (mut sizes, mut heads) = (" ".repeat(21), format!("{:<21}", "one after the other"));
    for column in 0..SIZES.len() {
        sizes += &format!("  {:>24}", column_name(ways, column));
        heads += &format!("  {:>7} {:>7} {:>8}", "p50", "p99", "writes/s");
    }
    out.line(sizes)?;
    out.line(heads)?;
    for of_one_way in ways.chunks(SIZES.len()) {
        let mut line = format!("{:<21}", of_one_way[0].writes.to_string());
        let refused = of_one_way.iter().find_map(|row| row.offered().err());
        match refused {
            Some(why) => line += &format!("  not offered: {why}"),
            None => {
                for outcome in of_one_way.iter().filter_map(Row::result) {
                    line += &format!(
                        "  {:>7} {:>7} {:>8}",
                        duration(outcome.p50),
                        duration(outcome.p99),
                        whole(outcome.per_second)
                    );
                }
            }
        }
        out.line(line)?;
    }
    Ok(())
}

/// The sizes in a column: one, but for blocks.
fn column_name(ways: &[Row], column: usize) -> String {
    let of_column = ways.iter().skip(column).step_by(SIZES.len());
    let mut sizes: Vec<_> = of_column
        .filter(|row| row.offered().is_ok())
        .map(|row| row.bytes)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes[..] {
        [direct, plain] => format!("{} direct, else {}", size(direct), size(plain)),
        _ => sizes.first().copied().map(size).unwrap_or_default(),
    }
}

fn describe(row: &Row) -> String {
    let how = row.writes;
    let size = size(row.bytes);
    match row.shape {
        Shape::Sequential => format!("one after the other, {size}, {how}"),
        Shape::Commits(1) => format!("1 commit of {COMMIT_BYTES} B in one sync, {how}"),
        Shape::Commits(n) => format!("{n} commits of {COMMIT_BYTES} B in one sync, {how}"),
        Shape::Random => format!("{size} pages at random places, {how}"),
        Shape::Threads(1) => format!("1 thread, {size}, {how}"),
        Shape::Threads(n) => format!("{n} threads at the same time, {size} each, {how}"),
    }
}

/// Where a write stands for commits.
fn commits_per_second(row: &Row, outcome: Outcome) -> Option<f64> {
    match row.shape {
        Shape::Commits(n) => Some(outcome.per_second * n as f64),
        Shape::Threads(_) => Some(outcome.per_second),
        Shape::Sequential | Shape::Random => None,
    }
}

/// Everything, for a program.
pub fn document(
    seconds: f64,
    place: &Place,
    ways: &[Row],
    uses: &[Row],
    choice: SyncChoice,
    advice: &Advice,
) -> Value {
    let system = place.file_system.as_ref();
    json!({
        "dir": place.dir.display().to_string(),
        "file_system": system.map(|(kind, source)| json!({"kind": kind, "source": source})),
        "in_memory": place.memory().is_some(),
        "seconds": seconds,
        "file_bytes": super::FILE_BYTES,
        "rows": ways.iter().chain(uses).map(row).collect::<Vec<_>>(),
        "recommendation": {
            "wal_sync_method": choice.writes.method.name(),
            "wal_direct_io": choice.writes.direct,
            "p50_seconds": f64::from(choice.nanos) / 1e9,
            "fdatasync_p50_seconds": f64::from(choice.plain_nanos) / 1e9,
            "text": advice.recommendation,
        },
        "warnings": advice.warnings,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn row(row: &Row) -> Value {
    let (kind, threads) = match row.shape {
        Shape::Sequential => ("sequential", 1),
        Shape::Commits(_) => ("commits", 1),
        Shape::Random => ("random", 1),
        Shape::Threads(threads) => ("threads", threads),
    };
    let commits = match row.shape {
        Shape::Commits(n) => Some(n),
        _ => None,
    };
    let outcome = row.result();
    json!({
        "kind": kind,
        "commits_per_sync": commits,
        "wal_sync_method": row.writes.method.name(),
        "wal_direct_io": row.writes.direct,
        "bytes": row.bytes,
        "threads": threads,
        "offered": row.offered().is_ok(),
        "why_not": row.offered().err(),
        "writes": outcome.map(|o| o.writes),
        "writes_per_second": outcome.map(|o| o.per_second),
        "commits_per_second": outcome.and_then(|o| commits_per_second(row, o)),
        "p50_seconds": outcome.map(|o| o.p50.as_secs_f64()),
        "p99_seconds": outcome.map(|o| o.p99.as_secs_f64()),
    })
}

fn whole(rate: f64) -> String {
    count(rate.round() as u64)
}

/// A thought as an item of a list, in lines that a terminal can show.
fn wrapped(thought: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in thought.split(' ') {
        let last = lines.len() - 1;
        if lines[last].chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("   {word}"));
        } else {
            let gap = if last == 0 && lines[0] == " " {
                "- "
            } else {
                " "
            };
            lines[last] += &format!("{gap}{word}");
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_wrapped() {
        let lines = wrapped(&"word ".repeat(50));
        assert!(lines.starts_with(" - word word"), "{lines}");
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(
            lines
                .lines()
                .skip(1)
                .all(|line| line.starts_with("   word"))
        );
    }
}
