//! Every write and flush that ext4 sends to its disk while the worker commits, remembered in order; then, for many moments, the disk
//! as a power cut there can leave it, writes since the last flush reordered, dropped or torn: mounted, opened, judged.
//!
//! This is what dm-log-writes and QEMU's blklogwrites do, with a block device of our own.

use crate::books::Books;
use crate::device::{Blocks, Device, Entry, after_cut};
use crate::dice::Dice;
use crate::job::{Counts, Job, count};
use crate::mounts::{Kind, Mount};
use crate::quiet;
use crate::rows::{CLIENTS, Last};
use crate::work::{self, Plan, Told};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// What was known when so many entries had been recorded.
type Known = Vec<(usize, Last)>;

/// One recording, and moments of it until the time is up.
pub fn run(job: &Job) -> Result<Counts, String> {
    let mut counts = Counts::new();
    let mut dice = Dice::new(job.seed);
    let recording = record(job, &mut dice)?;
    count(&mut counts, "writes", recording.writes());
    count(
        &mut counts,
        "flushes",
        recording.log.len() as u64 - recording.writes(),
    );
    for state in 0..job.wanted {
        if job.is_over() && state > 0 {
            break;
        }
        let end = dice.below(recording.log.len() as u64 + 1) as usize;
        let came_back = recording.judge(job, end, &mut dice).map_err(|wrong| {
            let seed = job.seed;
            format!("seed {seed}, state {state}, after {end} entries: {wrong}")
        })?;
        let name = match came_back {
            true => "cuts",
            false => "ext4 did not come back",
        };
        count(&mut counts, name, 1);
    }
    let (_, last) = recording.known.last().copied().unwrap_or_default();
    count(&mut counts, "acknowledged", last.iter().sum());
    Ok(counts)
}

struct Recording {
    before: Blocks,
    log: Vec<Entry>,
    known: Known,
}

fn record(job: &Job, dice: &mut Dice) -> Result<Recording, String> {
    let kind = Kind::Ext4;
    let device = Device::new(&job.dir.join("device"), kind.smallest(), Blocks::default())?;
    kind.make(&device.path)?;
    let mut mount = Mount::of(kind, &device.path, &job.dir.join("mounted"), false)?;
    let before = device.disk().record();
    let plan = Plan {
        dir: mount.at.join("db"),
        seed: dice.roll(),
        clients: work::clients(dice),
        transactions: 40 + dice.below(80),
        checkpoint_every: 10 + dice.below(30),
        full_is_no_end: false,
    };
    let known = Mutex::new(vec![(0, [0; CLIENTS])]);
    let tell = |told: Told| -> Result<(), String> {
        if let Told::Acknowledged(client, n) = told {
            let mut known = known.lock().map_err(|_| "a listener panicked")?;
            let mut last = known.last().map_or([0; CLIENTS], |(_, last)| *last);
            last[client] = n;
            // Asked for after the commit has returned: all that it rests on was recorded before.
            known.push((device.disk().recorded(), last));
        }
        Ok(())
    };
    work::live(&plan, &AtomicBool::new(false), &tell).map_err(|cut| cut.to_string())?;
    mount.unmount()?;
    let log = device.disk().log.take().unwrap_or_default();
    let known = known.into_inner().unwrap_or_default();
    Ok(Recording { before, log, known })
}

impl Recording {
    fn writes(&self) -> u64 {
        let writes = self
            .log
            .iter()
            .filter(|entry| matches!(entry, Entry::Write(..)));
        writes.count() as u64
    }

    /// False if it was the file system that did not survive.
    fn judge(&self, job: &Job, end: usize, dice: &mut Dice) -> Result<bool, String> {
        let kind = Kind::Ext4;
        let blocks = after_cut(&self.before, &self.log, end, dice);
        let device = Device::new(&job.dir.join("after"), kind.smallest(), blocks)?;
        let Ok(mut mount) = Mount::of(kind, &device.path, &job.dir.join("mounted"), false) else {
            return Ok(false);
        };
        let dir = mount.at.join("db");
        let least = self.known.iter().take_while(|(at, _)| *at <= end).last();
        let least = least.map_or([0; CLIENTS], |(_, last)| *last);
        let most = self.known.last().map_or([0; CLIENTS], |(_, last)| *last);
        let mut books = Books::between(least, most.map(|n| n + 1));
        let judged = quiet::life(&dir, dice.roll() & !3, 3, &mut books)
            .map_err(|wrong| format!("{wrong}; {}", job.keep("blocks", &dir)));
        mount.unmount()?;
        judged.map(|()| true)
    }
}
