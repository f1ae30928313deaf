//! From rows to a table: medians over the rounds, and each point as a multiple of the single durable write before it.

use crate::plan::{About, Plan, Point, is_ours};
use crate::results::{self, Row};
use crate::{Values, median};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Flushes may be missed by so much at the two ends of the window.
const SLACK: f64 = 0.9;

/// What was found, ready to be shown.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The method of the single durable write: the best over the whole run.
    pub single_method: String,
    /// Its writes a second, the median of all slices.
    pub single_per_s: f64,
    /// All methods.
    pub singles: Values,
    /// The points, each with its engines in the order of the table.
    pub points: Vec<Line>,
}

/// One engine at one point.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The point.
    pub point: Point,
    /// The engine.
    pub engine: String,
    /// Rounds that went well.
    pub rounds: usize,
    /// Rounds while the disk was slow: they are among the medians, and say little.
    pub slow: usize,
    /// Medians over the rounds, by name and unit; with `singles`, `ratio_to_ours`, `p99_singles`, and the least and most of `singles`.
    pub values: Values,
    /// Whether there were flushes enough for what was said to be durable; none where nobody counted.
    pub durable: Option<bool>,
    /// Why there is nothing, or less than there should be.
    pub error: Option<String>,
}

/// Puts the rows together.
pub fn of(rows: &[Row], plan: &Plan, engines: &[About]) -> Summary {
    let singles = singles(rows);
    let best = singles.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let (single_method, single_per_s) =
        best.map_or_else(Default::default, |(name, rate)| (name.clone(), *rate));
    let mut points = Vec::new();
    let slow = results::slow(rows);
    for point in plan.points() {
        for kind in engines {
            let of_this = |row: &&Row| row.engine == kind.name && row.point == point;
            let rows: Vec<&Row> = rows.iter().filter(of_this).collect();
            if !rows.is_empty() {
                let rows = best_disk(&rows);
                let slow = rows.iter().filter(|row| row.is_from_below(slow)).count();
                let line = line(point, kind.name, &rows, &single_method);
                points.push(Line { slow, ..line });
            }
        }
    }
    compare(&mut points);
    Summary {
        single_method,
        single_per_s,
        singles,
        points,
    }
}

/// Of each round the row from when the disk did the most: the others were measured again.
fn best_disk<'r>(rows: &[&'r Row]) -> Vec<&'r Row> {
    let mut best: BTreeMap<usize, &Row> = BTreeMap::new();
    for row in rows {
        let entry = best.entry(row.round).or_insert(row);
        if row.disk > entry.disk {
            *entry = row;
        }
    }
    best.into_values().collect()
}

/// Single durable writes a second by method. Rows of one point share their calibration, and it counts once.
fn singles(rows: &[Row]) -> Values {
    let mut seen = BTreeSet::new();
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        for (method, rate) in &row.single {
            if seen.insert((method, rate.to_bits())) {
                rates.entry(method).or_default().push(*rate);
            }
        }
    }
    rates
        .into_iter()
        .map(|(method, rates)| (method.to_owned(), median(&rates)))
        .collect()
}

fn line(point: Point, engine: &str, rows: &[&Row], method: &str) -> Line {
    let mut gathered: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let good: Vec<_> = rows.iter().filter(|row| row.error.is_none()).collect();
    for row in &good {
        for (name, value) in &row.values {
            gathered.entry(name.clone()).or_default().push(*value);
        }
        if let (true, Some(single)) = (point.work.commits(), row.single.get(method)) {
            let value = |name: &str| row.values.get(name).copied().unwrap_or(f64::NAN);
            let mut put = |name: &str, value| gathered.entry(name.into()).or_default().push(value);
            put("singles", value("per_s") / single);
            put("p99_singles", value("p99_us") * single / 1e6);
        }
    }
    let mut values: Values = gathered
        .iter()
        .map(|(name, values)| (name.clone(), median(values)))
        .collect();
    if let Some(all) = gathered.get("singles") {
        values.insert(
            "singles_least".into(),
            all.iter().copied().fold(f64::MAX, f64::min),
        );
        values.insert(
            "singles_most".into(),
            all.iter().copied().fold(0.0, f64::max),
        );
    }
    let flushes = values.get("flushes_each");
    let flushes = flushes.filter(|_| point.work.commits());
    Line {
        point,
        engine: engine.into(),
        rounds: good.len(),
        slow: 0,
        durable: flushes.map(|flushes| flushes * point.at_once() >= SLACK),
        values,
        error: rows.iter().find_map(|row| row.error.clone()),
    }
}

/// What of ours each engine reaches at the same point.
fn compare(lines: &mut [Line]) {
    let figure = |line: &Line| line.values.get(line.point.work.headline().0).copied();
    let ours: BTreeMap<Point, f64> = lines
        .iter()
        .filter(|line| is_ours(&line.engine))
        .filter_map(|line| Some((line.point, figure(line)?)))
        .collect();
    for line in lines {
        if let (Some(ours), Some(theirs)) = (ours.get(&line.point), figure(line)) {
            let more_is_better = line.point.work.headline().1;
            let ratio = if more_is_better {
                theirs / ours
            } else {
                ours / theirs
            };
            line.values.insert("ratio_to_ours".into(), ratio);
        }
    }
}

impl Summary {
    /// The line of an engine at a point.
    pub fn line(&self, engine: &str, point: &Point) -> Option<&Line> {
        self.points
            .iter()
            .find(|line| line.engine == engine && line.point == *point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Singles;
    use crate::engines::{self, OURS};
    use crate::plan::Work;

    fn row(engine: &str, round: usize, per_second: f64, flushes: f64) -> Row {
        Row {
            engine: engine.into(),
            version: String::new(),
            point: Point {
                work: Work::Sync,
                bytes: 128,
                width: 4,
            },
            round,
            single: Singles::from([("good".into(), 100.0 * round as f64), ("poor".into(), 50.0)]),
            disk: 0.0,
            values: Values::from([
                ("per_s".into(), per_second),
                ("p99_us".into(), 20_000.0),
                ("flushes_each".into(), flushes),
            ]),
            error: None,
        }
    }

    #[test]
    fn a_point_is_measured_in_the_single_writes_of_its_own_round() {
        let rows = [
            row(OURS, 1, 300.0, 0.25),
            row(OURS, 2, 600.0, 0.25),
            row("sqlite", 1, 150.0, 0.1),
        ];
        let summary = of(&rows, &Plan::quick(), &engines::abouts());
        assert_eq!(summary.single_method, "good");
        assert_eq!(summary.single_per_s, 150.0);
        let ours = summary
            .line(OURS, &rows[0].point)
            .map(|line| (&line.values, line.durable));
        let Some((values, durable)) = ours else {
            panic!("our line is missing");
        };
        assert_eq!(values["singles"], 3.0);
        assert_eq!(values["p99_singles"], 3.0);
        assert_eq!(durable, Some(true));
        let theirs = summary
            .line("sqlite", &rows[0].point)
            .map(|line| (line.values["ratio_to_ours"], line.durable));
        // A tenth of a flush for each of four at once: something was called durable that was not.
        assert_eq!(theirs, Some((0.5, Some(false))));
    }

    #[test]
    fn a_round_counts_by_what_was_measured_when_the_disk_was_not_slow() {
        let on = |disk, row| Row { disk, ..row };
        let rows = [
            on(1000.0, row(OURS, 1, 300.0, 1.0)),
            on(100.0, row(OURS, 2, 30.0, 1.0)),
            on(900.0, row(OURS, 2, 310.0, 1.0)),
            on(1000.0, row(OURS, 3, 320.0, 1.0)),
            on(1000.0, row("sqlite", 1, 300.0, 1.0)),
            on(200.0, row("sqlite", 2, 40.0, 1.0)),
        ];
        let summary = of(&rows, &Plan::quick(), &engines::abouts());
        let told = |engine| {
            let line = summary
                .line(engine, &rows[0].point)
                .expect("it was measured");
            (line.rounds, line.slow, line.values["per_s"])
        };
        assert_eq!(told(OURS), (3, 0, 310.0));
        assert_eq!(told("sqlite"), (2, 1, 170.0));
    }
}
