//! What the kernel counts for the device under a directory: flushes, and bytes written. That is how durability is checked.
//!
//! An engine that says "durable" without a flush shows here, whatever its documentation says.

use std::fs;
use std::path::Path;

/// A device and where its counters are read.
#[derive(Clone, Debug)]
pub struct Device {
    major: u32,
    minor: u32,
    /// Its name, for example `vda`.
    pub name: String,
}

/// A look at its counters.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Cache flushes that were done.
    pub flushes: u64,
    /// Bytes written.
    pub written: u64,
}

/// What happened between two looks; none where the machine does not count.
pub fn between(before: Option<Counters>, after: Option<Counters>) -> Option<Counters> {
    let (before, after) = (before?, after?);
    Some(Counters {
        flushes: after.flushes - before.flushes,
        written: after.written - before.written,
    })
}

impl Device {
    /// The device under `dir`; none where there is none that counts flushes (memory, a network, an old kernel).
    pub fn under(dir: &Path) -> Option<Device> {
        let stat = rustix::fs::stat(dir).ok()?;
        let (major, minor) = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        let found = Device {
            major,
            minor,
            name: String::new(),
        };
        let (name, _) = found.line()?;
        let mut device = Device { name, ..found };
        // Flushes go to the whole disk: a partition counts none.
        if let Some(whole) = device.whole() {
            device = whole;
        }
        device.counters().map(|_| device)
    }

    fn whole(&self) -> Option<Device> {
        let partition = format!("/sys/dev/block/{}:{}", self.major, self.minor);
        if !Path::new(&partition).join("partition").exists() {
            return None;
        }
        let numbers = fs::read_to_string(Path::new(&partition).join("../dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        let device = Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            name: String::new(),
        };
        let (name, _) = device.line()?;
        Some(Device { name, ..device })
    }

    /// Its counters now.
    pub fn counters(&self) -> Option<Counters> {
        let (_, fields) = self.line()?;
        Some(Counters {
            flushes: *fields.get(15)?,
            written: *fields.get(6)? * 512,
        })
    }

    fn line(&self) -> Option<(String, Vec<u64>)> {
        let all = fs::read_to_string("/proc/diskstats").ok()?;
        all.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let major: u32 = words.next()?.parse().ok()?;
            let minor: u32 = words.next()?.parse().ok()?;
            let name = words.next()?.to_owned();
            let fields = words.map_while(|word| word.parse().ok()).collect();
            ((major, minor) == (self.major, self.minor)).then_some((name, fields))
        })
    }
}
