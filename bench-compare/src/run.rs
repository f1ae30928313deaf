//! The rounds: over all points, and at each point over all engines in turns, with the single durable write before them.

use crate::calibrate::{Calibration, Singles};
use crate::plan::{About, Plan, Point};
use crate::results::{Results, Row, slow};
use crate::scratch::Scratch;
use crate::{Result, Values};
use std::time::Duration;

/// How long is looked, before and after each engine, at what the disk does.
const PULSE: Duration = Duration::from_millis(100);
/// A disk that has become slow is waited for, a while at a time, and no longer than this in all of a call.
const PAUSE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(300);
/// What is measured while the disk is slow is measured again, up to so often in all.
const TRIES: usize = 2;

/// How an engine is measured at a point.
pub type Measure<'a> = dyn Fn(&About, &Point) -> Result<Values> + 'a;

/// What the rounds need.
pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub points: &'a [Point],
    pub engines: &'a [About],
    /// If there are any: these engines alone.
    pub only: &'a [String],
    pub scratch: &'a Scratch,
    pub measure: &'a Measure<'a>,
}

impl Bench<'_> {
    /// Measures what is not there yet.
    pub fn run(&self, results: &mut Results) -> Result<()> {
        let mut calibration = Calibration::new(self.scratch.path())?;
        let mut waited = Duration::ZERO;
        for round in 1..=self.plan.rounds {
            for point in self.points {
                if round > self.plan.rounds_of(point) {
                    continue;
                }
                let mut left: Vec<&About> = self
                    .engines
                    .iter()
                    .filter(|kind| {
                        self.only.is_empty() || self.only.iter().any(|name| name == kind.name)
                    })
                    .filter(|kind| kind.built && kind.suits(point))
                    .filter(|kind| !results.has(kind.name, point, round))
                    .collect();
                if left.is_empty() {
                    continue;
                }
                // Nobody is always the first after the calibration, nor always behind the same neighbour.
                let turn = round % left.len();
                left.rotate_left(turn);
                let slice = Duration::from_secs_f64(self.plan.calibration_slice_s);
                self.scratch.settle()?;
                let single = calibration.run(self.plan.calibration_slices, slice)?;
                let mut before = calibration.pulse(&single, PULSE)?;
                for kind in left {
                    for _ in 0..TRIES {
                        // Not what an engine does, but what the disk does to everybody.
                        let slow = slow(&results.rows);
                        while before < slow && waited < PATIENCE {
                            eprintln!(
                                "  the disk does {before:.0} single durable writes a second: waiting for {slow:.0}"
                            );
                            std::thread::sleep(PAUSE);
                            waited += PAUSE;
                            before = calibration.pulse(&single, PULSE)?;
                        }
                        let mut row = self.row(kind, point, round, &single);
                        // What it has left to be written is not to be taken for a slow disk.
                        self.scratch.settle()?;
                        let after = calibration.pulse(&single, PULSE)?;
                        row.disk = before.min(after);
                        before = after;
                        progress(&row, self.plan.rounds_of(point));
                        results.add(row)?;
                        if results.has(kind.name, point, round) {
                            break;
                        }
                        eprintln!("  that was on a slow disk");
                    }
                }
            }
        }
        Ok(())
    }

    fn row(&self, kind: &About, point: &Point, round: usize, single: &Singles) -> Row {
        let (values, error) = match (self.measure)(kind, point) {
            Ok(values) => (values, None),
            Err(error) => (Values::new(), Some(error.to_string())),
        };
        Row {
            engine: kind.name.into(),
            version: kind.version.into(),
            point: *point,
            round,
            single: single.clone(),
            disk: 0.0,
            values,
            error,
        }
    }
}

/// One line to standard error for whoever waits.
fn progress(row: &Row, rounds: usize) {
    let value = |name: &str| row.values.get(name).copied();
    let (name, _) = row.point.work.headline();
    let shown = value(name).map(|figure| (name, figure));
    let what = match (&row.error, value("per_s"), shown) {
        (Some(error), ..) => format!("FAILED: {error}"),
        (_, Some(rate), _) => format!("{rate:.0}/s"),
        (_, _, Some((name, figure))) => format!("{name} {figure:.2}"),
        _ => "nothing was said".into(),
    };
    eprintln!(
        "round {}/{rounds}  {}: {}  {what}",
        row.round, row.point, row.engine
    );
}
