//! Power cuts under real file systems: ext4 and XFS in an image are told that their disk is gone while the worker commits; then
//! unmounted, mounted again (they recover from their journal), and the next worker finds what is left.

use crate::child::{self, Heard, Life};
use crate::dice::Dice;
use crate::going_down::{Flush, go_down};
use crate::job::{Counts, HANG, Job, count};
use crate::kill;
use crate::mounts::{Kind, Mount};
use crate::work::{self, Plan};
use std::fs::File;
use std::time::Duration;

/// On ext4.
pub fn ext4(job: &Job) -> Result<Counts, String> {
    run(job, Kind::Ext4)
}

/// On XFS.
pub fn xfs(job: &Job) -> Result<Counts, String> {
    run(job, Kind::Xfs)
}

fn run(job: &Job, kind: Kind) -> Result<Counts, String> {
    let mut mount = Mount::in_image(kind, &job.images, &job.dir)?;
    let mut counts = Counts::new();
    let done = cuts(job, &mut mount, &mut counts);
    // After a failure what is mounted is evidence, and has been copied.
    let unmounted = mount.unmount();
    done?;
    unmounted?;
    Ok(counts)
}

fn cuts(job: &Job, mount: &mut Mount, counts: &mut Counts) -> Result<(), String> {
    let mut dice = Dice::new(job.seed);
    let mut heard = Heard::default();
    let dir = mount.at.join("db");
    for life in 0..job.wanted {
        if job.is_over() {
            break;
        }
        let plan = Plan {
            dir: dir.clone(),
            seed: dice.roll(),
            clients: work::clients(&mut dice),
            transactions: u64::MAX,
            checkpoint_every: 5 + dice.below(60),
            full_is_no_end: false,
        };
        let opened = heard.opened;
        let mut child = Life::begin(&[], &plan, heard)?;
        if !dice.one_in(5) {
            child.wait_until_open(HANG);
        }
        std::thread::sleep(Duration::from_micros(dice.below(70_000)));
        let flush = match dice.below(8) {
            0 => Flush::All,
            1 | 2 => Flush::Journal,
            _ => Flush::Nothing,
        };
        let root = File::open(&mount.at).map_err(|e| e.to_string())?;
        go_down(&root, flush).map_err(|e| format!("the shutdown call: {e}"))?;
        drop(root);
        if dice.one_in(4) {
            child.kill();
        }
        let ended = child.end(HANG);
        mount.unmount()?;
        mount.again()?;
        let told = |wrong: String| {
            let kept = job.keep("shutdown", &dir);
            format!("seed {}, life {life}, {flush:?}: {wrong}; {kept}", job.seed)
        };
        let (status, after, said) = ended.map_err(told)?;
        child::judge(status, &after, &said, true).map_err(told)?;
        count(counts, "cuts", 1);
        count(
            counts,
            match flush {
                Flush::All => "all flushed",
                Flush::Journal => "journal flushed",
                Flush::Nothing => "nothing flushed",
            },
            1,
        );
        if after.opened == opened {
            count(counts, "cuts before it was open", 1);
        }
        heard = Heard { cut: None, ..after };
    }
    kill::last_look(job, &dir, heard, counts)
}
