//! Power cuts on a file system of our own that drops what was not synced, names as well as bytes, and that lets calls fail.
//!
//! The worker lives in this process: when the power goes, every call answers EIO until the worker has given up; then the image is
//! replaced by what survived. So a cut costs some milliseconds, and hits every call of a life: also of the open that
//! recovers from the cut before, and of the birth of a database.

use crate::books::Books;
use crate::dice::{Dice, mixed_of};
use crate::job::{Counts, Job, count};
use crate::lossy::faults::{Fault, Faults};
use crate::lossy::image::{ROOT, Survive};
use crate::lossy::mount::Mounted;
use crate::panics;
use crate::work::{self, Cut, Plan, Told};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Disks at a time.
const LANES: u64 = 2;
/// Lives on one database, about.
const LIVES: u64 = 150;

/// Cuts on `LANES` disks side by side.
pub fn run(job: &Job) -> Result<Counts, String> {
    let lanes = LANES.min(job.wanted);
    let mut all = Counts::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..lanes)
            .map(|lane| {
                scope.spawn(move || Lane::mount(job, lane)?.run(job.wanted.div_ceil(lanes)))
            })
            .collect();
        for lane in running {
            let counts = lane.join().map_err(|_| "a lane panicked")??;
            for (name, by) in counts {
                count(&mut all, &name, by);
            }
        }
        Ok(all)
    })
}

struct Lane<'a> {
    job: &'a Job,
    mounted: Mounted,
    plan: Plan,
    dice: Dice,
    books: Books,
    counts: Counts,
}

impl Lane<'_> {
    fn mount(job: &Job, lane: u64) -> Result<Lane<'_>, String> {
        let at = job.dir.join(format!("lane{lane}"));
        std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        let mounted = Mounted::new(&at).map_err(|e| format!("mount {}: {e}", at.display()))?;
        Ok(Lane {
            job,
            mounted,
            plan: Plan {
                dir: at.join("db"),
                seed: 0,
                clients: 1,
                transactions: 0,
                checkpoint_every: 1,
                full_is_no_end: true,
            },
            dice: Dice::new(mixed_of(&[job.seed, lane])),
            books: Books::default(),
            counts: Counts::new(),
        })
    }

    fn run(mut self, wanted: u64) -> Result<Counts, String> {
        let ended = self.lives(wanted);
        let unmounted = self.mounted.unmount();
        ended?;
        unmounted.map_err(|e| format!("unmount: {e}"))?;
        count(&mut self.counts, "acknowledged", self.books.acknowledged);
        Ok(self.counts)
    }

    fn lives(&mut self, wanted: u64) -> Result<(), String> {
        let mut cuts = 0;
        while cuts < wanted && !self.job.is_over() {
            if self.dice.one_in(LIVES) {
                self.mounted.disk().image.begin_anew();
                self.books.begin_anew();
            }
            if self.life()? {
                cuts += 1;
            }
        }
        Ok(())
    }

    /// One life; true if the power went in it or behind it.
    fn life(&mut self) -> Result<bool, String> {
        let dice = &mut self.dice;
        self.plan.seed = dice.roll();
        self.plan.clients = work::clients(dice);
        self.plan.transactions = 1 + dice.below(24);
        self.plan.checkpoint_every = 3 + dice.below(20);
        // As often among the first ten calls as among the next hundred, and so on.
        let reach = 1 << (1 + dice.below(10));
        let cut_in = (!dice.one_in(8)).then(|| 1 + dice.below(reach));
        let fault = dice.one_in(3).then(|| {
            let fault = Fault::ALL[dice.below(Fault::ALL.len() as u64) as usize];
            let reach = 1 << (1 + dice.below(7));
            (fault, 1 + dice.below(reach))
        });
        let before = self.mounted.disk().image.clone();
        self.mounted.disk().faults = Faults::new(dice.roll(), cut_in, fault);
        let (ended, opened) = self.lived();
        let told = self
            .judge(ended, opened, fault)
            .map_err(|wrong| self.keep(&before, &wrong, cut_in, fault))?;
        for name in told {
            count(&mut self.counts, &name, 1);
        }
        // Sometimes it was only the process that died: the next one finds all that is in the cache, and nothing more of it
        // is durable than before.
        let dead = self.mounted.disk().faults.is_dead();
        let cut = !self.dice.one_in(if dead { 6 } else { 2 });
        if dead && !cut {
            count(&mut self.counts, "killed, not cut", 1);
        }
        if cut {
            let policy = Survive::ALL[self.dice.below(Survive::ALL.len() as u64) as usize];
            self.mounted.disk().image.cut(policy, &mut self.dice);
            count(&mut self.counts, "cuts", 1);
        }
        Ok(cut)
    }

    /// Lives, and says whether it got as far as to have judged what it found.
    fn lived(&mut self) -> (Result<(), Cut>, bool) {
        let (stop, opened) = (AtomicBool::new(false), AtomicBool::new(false));
        let books = Mutex::new(&mut self.books);
        let full = Mutex::new(0_u64);
        let tell = |told: Told| -> Result<(), String> {
            let mut books = books.lock().map_err(|_| "a listener panicked")?;
            match told {
                Told::Found(last) => books.found(&last),
                Told::Acknowledged(client, n) => books.acknowledged(client, n),
                Told::Verified => {
                    opened.store(true, Relaxed);
                    Ok(())
                }
                Told::Full => {
                    let mut full = full.lock().map_err(|_| "a listener panicked")?;
                    *full += 1;
                    if *full > 1000 {
                        return Err(
                            "there is room, and it goes on saying that there is none".into()
                        );
                    }
                    if *full > 3 {
                        self.mounted.disk().faults.make_room();
                    }
                    Ok(())
                }
                Told::Checkpoint | Told::Closed => Ok(()),
            }
        };
        let mut ended = work::live(&self.plan, &stop, &tell);
        if let Some(panic) = panics::first() {
            // Of this lane or the other: either is evidence.
            ended = Err(Cut::Wrong(format!("PANIC: {panic}")));
        }
        (ended, opened.load(Relaxed))
    }

    /// What is to be counted.
    fn judge(
        &self,
        ended: Result<(), Cut>,
        opened: bool,
        fault: Option<(Fault, u64)>,
    ) -> Result<Vec<String>, String> {
        let disk = self.mounted.disk();
        let (dead, fired) = (disk.faults.is_dead(), disk.faults.has_fired());
        let mut told = Vec::new();
        if let (Some((fault, _)), true) = (fault, fired) {
            told.push(format!("with {}", fault.name()));
        }
        match ended {
            Err(cut @ Cut::Wrong(_)) => return Err(cut.to_string()),
            Err(cut) if !dead && !fired => {
                return Err(format!("nothing was done to it, and it ended: {cut}"));
            }
            // What a disk does that says how much it has written is no reason to fail.
            Err(cut) if !dead && fault.is_some_and(|(fault, _)| fault == Fault::Short) => {
                return Err(format!("a short write was taken for more: {cut}"));
            }
            Err(_) if dead && !opened => told.push("in recovery or birth".into()),
            Err(_) if dead => told.push("at work".into()),
            Err(_) => told.push("stopped by a fault".into()),
            Ok(()) if dead => told.push("at work".into()),
            Ok(()) => told.push("closed in order".into()),
        }
        if opened {
            told.push("recoveries judged".into());
        }
        Ok(told)
    }

    fn keep(
        &self,
        before: &crate::lossy::image::Image,
        wrong: &str,
        cut_in: Option<u64>,
        fault: Option<(Fault, u64)>,
    ) -> String {
        let to = self
            .job
            .evidence
            .join(format!("fuse-{:x}-{:x}", self.job.seed, self.plan.seed));
        let kept = before
            .export(ROOT, &to.join("before"))
            .and_then(|()| self.mounted.disk().image.export(ROOT, &to.join("after")));
        let kept = kept.map_or_else(|e| e.to_string(), |()| to.display().to_string());
        format!(
            "{wrong}; {:?}, cut in {cut_in:?}, fault {fault:?}; evidence: {kept}",
            self.plan
        )
    }
}
