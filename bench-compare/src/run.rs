//! The rounds: over all points, and at each point over all engines in turns, with the single durable write before them.

use crate::calibrate::{Calibration, Singles};
use crate::device::Device;
use crate::engines::{Kind, Purpose};
use crate::load::{self, Load};
use crate::plan::{Plan, Point, Work};
use crate::results::{Results, Row};
use crate::scratch::Scratch;
use crate::{Result, Values, recovery};
use std::time::Duration;

/// What the rounds need.
pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub engines: &'a [Kind],
    pub scratch: &'a Scratch,
    pub device: Option<&'a Device>,
}

impl Bench<'_> {
    /// Measures what is not there yet.
    pub fn run(&self, results: &mut Results) -> Result<()> {
        let mut calibration = Calibration::new(self.scratch.path())?;
        for round in 1..=self.plan.rounds {
            for point in self.plan.points() {
                if round > self.plan.rounds_of(&point) {
                    continue;
                }
                let mut left: Vec<&Kind> = self
                    .engines
                    .iter()
                    .filter(|kind| kind.open.is_some() && point.suits(kind))
                    .filter(|kind| !results.has(kind.name, &point, round))
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
                for kind in left {
                    let row = self.row(kind, &point, round, &single);
                    progress(&row, self.plan.rounds_of(&point));
                    results.add(row)?;
                }
            }
        }
        Ok(())
    }

    fn row(&self, kind: &Kind, point: &Point, round: usize, single: &Singles) -> Row {
        let (values, error) = match self.measure(kind, point) {
            Ok(values) => (values, None),
            Err(error) => (Values::new(), Some(error.to_string())),
        };
        Row {
            engine: kind.name.into(),
            version: kind.version.into(),
            point: *point,
            round,
            single: single.clone(),
            values,
            error,
        }
    }

    fn measure(&self, kind: &Kind, point: &Point) -> Result<Values> {
        let plan = self.plan;
        if point.work == Work::Open {
            return recovery::run(kind, self.scratch, plan.stream_bytes);
        }
        let purpose = match point.work {
            Work::Stream => Purpose::Stream(plan.stream_bytes),
            _ => Purpose::Durable,
        };
        let dir = self.scratch.fresh("engine")?;
        let engine = kind.open.ok_or("not built")?(&dir, purpose)?;
        self.scratch.settle()?;
        let load = |threads, in_flight| Load {
            threads,
            in_flight,
            bytes: point.bytes,
            warm_up: Duration::from_secs_f64(plan.warm_up_s),
            measure: Duration::from_secs_f64(plan.measure_s),
        };
        let measured = match point.work {
            Work::Sync => load::run(engine.as_ref(), &load(point.width, 1), self.device),
            Work::Tickets => load::run(engine.as_ref(), &load(1, point.width), self.device),
            _ => {
                let longest = Duration::from_secs_f64(plan.stream_longest_s);
                load::stream(engine.as_ref(), point.bytes, plan.stream_bytes, longest)
            }
        };
        drop(engine);
        std::fs::remove_dir_all(&dir)?;
        self.scratch.settle()?;
        measured
    }
}

/// One line to standard error for whoever waits.
fn progress(row: &Row, rounds: usize) {
    let value = |name: &str| row.values.get(name).copied();
    let what = match (
        &row.error,
        value("mb_per_s"),
        value("open_cold_s"),
        value("appends_per_s"),
    ) {
        (Some(error), ..) => format!("FAILED: {error}"),
        (_, Some(rate), ..) => format!("{rate:.0} MB/s"),
        (_, _, Some(seconds), _) => format!("{seconds:.2} s cold"),
        (.., rate) => format!("{:.0}/s", rate.unwrap_or(0.0)),
    };
    eprintln!(
        "round {}/{rounds}  {}: {}  {what}",
        row.round, row.point, row.engine
    );
}
