//! A log engine at a point: each thread appends records that differ, of bytes that do not compress.

use crate::device::Device;
use crate::engines::{Engine, Kind, Purpose, Writer};
use crate::keys::Record;
use crate::load::{self, Client, Load, Subject, cpu};
use crate::plan::{Plan, Point, Work};
use crate::scratch::Scratch;
use crate::{Result, Values, recovery};
use std::time::{Duration, Instant};

/// Measures an engine at a point.
pub fn measure(
    kind: &Kind,
    point: &Point,
    plan: &Plan,
    scratch: &Scratch,
    device: Option<&Device>,
) -> Result<Values> {
    if point.work == Work::Open {
        return recovery::run(kind, scratch, plan.stream_bytes);
    }
    let purpose = match point.work {
        Work::Stream => Purpose::Stream(plan.stream_bytes),
        _ => Purpose::Durable,
    };
    let dir = scratch.fresh("engine")?;
    let engine = kind.open.ok_or("not built")?(&dir, purpose)?;
    scratch.settle()?;
    let load = |threads, in_flight| Load {
        threads,
        in_flight,
        warm_up: Duration::from_secs_f64(plan.warm_up_s),
        measure: Duration::from_secs_f64(plan.measure_s),
    };
    let subject = Appending {
        engine: engine.as_ref(),
        bytes: point.bytes,
    };
    let measured = match point.work {
        Work::Sync => load::run(&subject, &load(point.width, 1), device),
        Work::Tickets => load::run(&subject, &load(1, point.width), device),
        _ => {
            let longest = Duration::from_secs_f64(plan.stream_longest_s);
            stream(engine.as_ref(), point.bytes, plan.stream_bytes, longest)
        }
    };
    drop(engine);
    std::fs::remove_dir_all(&dir)?;
    scratch.settle()?;
    measured
}

/// Threads that append to a log.
struct Appending<'a> {
    engine: &'a dyn Engine,
    bytes: usize,
}

impl Subject for Appending<'_> {
    fn client(&self, thread: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Appender {
            writer: self.engine.writer(thread)?,
            record: Record::new(self.bytes, thread as u64),
        }))
    }

    fn tend(&self) -> Result<()> {
        self.engine.purge()
    }
}

struct Appender<'a> {
    writer: Box<dyn Writer + 'a>,
    record: Record,
}

impl Client for Appender<'_> {
    fn once(&mut self) -> Result<u64> {
        self.writer.append(self.record.next(), true)?;
        Ok(0)
    }

    fn start(&mut self) -> Result<()> {
        self.writer.start(self.record.next())
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.finish()
    }
}

/// Appends without waiting for the disk until `bytes` are appended or `longest` has passed, then waits for all of it.
fn stream(
    engine: &dyn Engine,
    record_bytes: usize,
    bytes: u64,
    longest: Duration,
) -> Result<Values> {
    let mut writer = engine.writer(0)?;
    let mut record = Record::new(record_bytes, 0);
    let (begun, cpu_before) = (Instant::now(), cpu());
    let mut appended = 0;
    while appended < bytes {
        // The clock is asked once in a hundred records: it costs as much as an append.
        for _ in 0..100 {
            writer.append(record.next(), false)?;
            appended += record_bytes as u64;
        }
        if begun.elapsed() > longest {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu_took = cpu() - cpu_before;
    writer.append(record.next(), true)?;
    let records = appended as f64 / record_bytes as f64;
    Ok(Values::from([
        ("mb_per_s".into(), appended as f64 / took / 1e6),
        (
            "mb_per_s_synced".into(),
            appended as f64 / begun.elapsed().as_secs_f64() / 1e6,
        ),
        ("per_s".into(), records / took),
        ("cpu_us".into(), cpu_took * 1e6 / records),
        ("appended_mb".into(), appended as f64 / 1e6),
    ]))
}
