//! The failed sync after which the page cache lies, on real ext4, XFS and btrfs: one write of the block device answers EIO; the
//! sync that needed it fails; the pages count as clean, and who opens the file again reads bytes that are not on the disk.
//!
//! The worker must stop. It is started again on the same cache, recovers, acknowledges more, and is killed; then the file system is
//! unmounted and mounted, and only what is on the disk is left. Nothing that either of the two acknowledged may be missing.

use crate::child::{self, Heard, Life};
use crate::device::{Blocks, Device};
use crate::dice::Dice;
use crate::going_down::{Flush, go_down};
use crate::host;
use crate::job::{Counts, HANG, Job, count};
use crate::kill;
use crate::mounts::{Kind, Mount};
use crate::table::WITHOUT;
use crate::work::{self, Plan};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const KINDS: [Kind; 3] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs];

/// Some rounds on one file system, another one each time.
pub fn run(job: &Job) -> Result<Counts, String> {
    let here: Vec<Kind> = KINDS
        .into_iter()
        .filter(|kind| host::lacks(&[host::of(*kind)]).is_none())
        .collect();
    let mut counts = Counts::new();
    for kind in KINDS.iter().filter(|kind| !here.contains(kind)) {
        count(&mut counts, &format!("{WITHOUT}{}", kind.name()), 1);
    }
    let mut dice = Dice::new(job.seed);
    for (round, kind) in here.iter().cycle().enumerate() {
        if round as u64 >= job.wanted || (job.is_over() && round >= here.len()) {
            break;
        }
        one(job, *kind, &mut dice, &mut counts)
            .map_err(|wrong| format!("{}, round {round}: {wrong}", kind.name()))?;
        count(&mut counts, "rounds", 1);
        count(&mut counts, kind.name(), 1);
    }
    Ok(counts)
}

fn one(job: &Job, kind: Kind, dice: &mut Dice, counts: &mut Counts) -> Result<(), String> {
    let device = Device::new(&job.dir.join("device"), kind.smallest(), Blocks::default())?;
    kind.make(&device.path)?;
    let mut mount = Mount::of(kind, &device.path, &job.dir.join("mounted"), false)?;
    if lies(&device, &mut mount)? {
        count(counts, &format!("{}: the cache lied", kind.name()), 1);
    }
    device.disk().stop_failing();
    mount.unmount()?;
    mount.again()?;
    let dir = mount.at.join("db");
    let told = |wrong: String| format!("{wrong}; {}", job.keep("fsyncgate", &dir));

    // The life that meets the failure.
    let plan = |dice: &mut Dice, transactions: u64| Plan {
        dir: dir.clone(),
        seed: dice.roll(),
        clients: work::clients(dice),
        transactions,
        checkpoint_every: 5 + dice.below(40),
        full_is_no_end: false,
    };
    let child = Life::begin(&[], &plan(dice, 400), Heard::default())?;
    child.wait_until_open(HANG);
    std::thread::sleep(Duration::from_micros(dice.below(80_000)));
    device.disk().fail_next_write();
    let (status, heard, said) = child.end(HANG).map_err(told)?;
    let failed = device.disk().stop_failing() > 0;
    child::judge(status, &heard, &said, failed).map_err(told)?;
    let stopped = heard.cut.is_some();
    count(counts, "stopped by EIO", u64::from(stopped));

    // On the same cache, without a failure.
    let opened = heard.opened;
    let heard = Heard { cut: None, ..heard };
    let mut child = Life::begin(&[], &plan(dice, u64::MAX), heard)?;
    child.wait_until_open(HANG);
    std::thread::sleep(Duration::from_micros(dice.below(50_000)));
    child.kill();
    let (status, heard, said) = child.end(HANG).map_err(told)?;
    // A file system whose journal met the failure is read-only or gone: then nothing can be opened, and nothing is acknowledged.
    child::judge(status, &heard, &said, true).map_err(told)?;
    let name = match heard.opened > opened {
        true => "opened on the same cache",
        false => "the file system had given up",
    };
    count(counts, name, 1);

    // Only the disk is left.
    if dice.one_in(2) && kind != Kind::Btrfs {
        // One that has given up already cannot be told so again.
        let down = File::open(&mount.at).and_then(|root| go_down(&root, Flush::Nothing));
        count(counts, "and the power cut", u64::from(down.is_ok()));
    }
    mount.unmount()?;
    mount.again()?;
    kill::last_look(job, &dir, Heard { cut: None, ..heard }, counts)?;
    mount.unmount()
}

/// Whether this kernel does what this rig is about: after a failed sync the next one says OK, who opens the file again reads the
/// new bytes, and after a remount they are gone.
fn lies(device: &Device, mount: &mut Mount) -> Result<bool, String> {
    let path = mount.at.join("probe");
    let told = |error: std::io::Error| format!("the probe: {error}");
    fs::write(&path, [1; 8192]).map_err(told)?;
    let file = OpenOptions::new().write(true).open(&path).map_err(told)?;
    file.sync_all().map_err(told)?;
    file.write_all_at(&[2; 4096], 0).map_err(told)?;
    device.disk().fail_next_write();
    let first = file.sync_data();
    device.disk().stop_failing();
    let second = file.sync_data();
    drop(file);
    let cached = read(&path);
    mount.unmount()?;
    mount.again()?;
    let left = read(&path);
    fs::remove_file(&path).map_err(told)?;
    Ok(first.is_err() && second.is_ok() && cached == Some(2) && left == Some(1))
}

fn read(path: &Path) -> Option<u8> {
    fs::read(path).ok()?.first().copied()
}
