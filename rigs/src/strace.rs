//! System calls that fail, and kills at system calls: strace makes the k-th call of a name answer an error, or sends SIGKILL there;
//! for every name, every error and every k, until there is no k-th.
//!
//! The worker under strace does the same small work each time, in one thread. Its database lies on the file system that forgets; so
//! behind each run the power goes, and nothing that was not synced is left. Then a life without faults must find all that
//! was acknowledged.

use crate::books::Books;
use crate::child::{Heard, Life};
use crate::dice::Dice;
use crate::job::{Counts, HANG, Job, count};
use crate::lossy::faults::Faults;
use crate::lossy::image::{Image, ROOT, Survive};
use crate::lossy::mount::Mounted;
use crate::quiet;
use crate::work::Plan;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitStatus;

/// What is done at the k-th call.
const KILL: &str = "KILL";

/// Every name, and what is done at its calls, apart from a kill. A worker that makes a call that is neither here nor in `EXEMPT`
/// fails the rig.
const SWEPT: [(&str, &[&str]); 26] = [
    ("openat", &["EIO", "ENOSPC", "EMFILE", "EINTR"]),
    ("close", &["EIO"]),
    ("read", &["EIO", "EINTR"]),
    ("write", &["EIO", "ENOSPC", "EINTR"]),
    ("pread64", &["EIO", "EINTR"]),
    ("pwrite64", &["EIO", "ENOSPC", "EINTR"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("fallocate", &["EIO", "ENOSPC"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("mkdir", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO"]),
    ("flock", &["EIO"]),
    ("fcntl", &["EIO"]),
    ("lseek", &["EIO"]),
    ("newfstatat", &["EIO"]),
    ("statx", &["EIO"]),
    ("access", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("mmap", &["ENOMEM"]),
    ("brk", &["ENOMEM"]),
    ("mremap", &["ENOMEM"]),
    ("munmap", &["ENOMEM"]),
    ("madvise", &["ENOMEM"]),
    ("futex", &[]),
];

/// Calls by which a process starts and ends, and asks who it is: nothing of the database hangs on them.
const EXEMPT: [&str; 22] = [
    "execve",
    "arch_prctl",
    "exit_group",
    "exit",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "getpid",
    "gettid",
    "poll",
    "mprotect",
    "getrandom",
    "sched_getaffinity",
    "sched_yield",
    "clock_nanosleep",
    "clone3",
    "restart_syscall",
    "clock_gettime",
];

/// What the worker finds.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Nothing: it makes a database, works, takes checkpoints, closes.
    Birth,
    /// A database that was closed.
    Closed,
    /// One that lost its power at work.
    Cut,
}

const SCENES: [Scene; 3] = [Scene::Birth, Scene::Closed, Scene::Cut];

/// All sweeps: a scene, a name, what is done.
fn sweeps() -> impl Iterator<Item = (Scene, &'static str, &'static str)> {
    SCENES.into_iter().flat_map(|scene| {
        SWEPT.into_iter().flat_map(move |(name, errors)| {
            let injected = [KILL].into_iter().chain(errors.iter().copied());
            injected.map(move |what| (scene, name, what))
        })
    })
}

/// How many sweeps there are.
pub const SWEEPS: u64 = {
    let (mut all, mut at) = (0, 0);
    while at < SWEPT.len() {
        all += SCENES.len() * (1 + SWEPT[at].1.len());
        at += 1;
    }
    all as u64
};

/// The sweeps that have not been done, as far as the time goes; at least one.
pub fn run(job: &Job) -> Result<Counts, String> {
    let at = job.dir.join("disk");
    std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
    let mounted = Mounted::new(&at).map_err(|e| format!("mount {}: {e}", at.display()))?;
    let mut rig = Strace {
        job,
        mounted,
        database: at.join("db"),
        counts: Counts::new(),
    };
    let done = rig.go_through();
    let unmounted = rig.mounted.unmount();
    done?;
    unmounted.map_err(|e| format!("unmount: {e}"))?;
    Ok(rig.counts)
}

struct Strace<'a> {
    job: &'a Job,
    mounted: Mounted,
    database: std::path::PathBuf,
    counts: Counts,
}

impl Strace<'_> {
    fn go_through(&mut self) -> Result<(), String> {
        let before = self.job.before.get("sweeps").copied().unwrap_or(0);
        for (scene, name, what) in sweeps()
            .skip(before as usize)
            .take(self.job.wanted as usize)
        {
            let (image, books) = self.scene(scene)?;
            if before == 0 && self.counts.is_empty() {
                self.nothing_is_left_out(&image)?;
            }
            for k in 1.. {
                let told = |wrong: String| format!("{scene:?}, {name} number {k}: {what}: {wrong}");
                if !self.run_one(&image, &books, name, what, k).map_err(told)? {
                    break;
                }
                count(&mut self.counts, "cuts", 1);
                count(&mut self.counts, &format!("{name}:{what}"), 1);
            }
            count(&mut self.counts, "sweeps", 1);
            if self.job.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// The image that every run of a scene begins with, and what is known of it.
    fn scene(&mut self, scene: Scene) -> Result<(Image, Books), String> {
        let mut books = Books::default();
        self.mounted.disk().image.begin_anew();
        self.mounted.disk().faults = Faults::new(0, None, None);
        match scene {
            Scene::Birth => {}
            Scene::Closed => quiet::life(&self.database, 4, 30, &mut books)?,
            Scene::Cut => {
                quiet::life(&self.database, 4, 20, &mut books)?;
                // Too short a way for a close: it ends at work.
                self.mounted.disk().faults = Faults::new(0, Some(90), None);
                if quiet::life(&self.database, 4, 1000, &mut books).is_ok() {
                    return Err("the rig is wrong: the scene is not cut".into());
                }
                self.mounted.disk().faults = Faults::new(0, None, None);
                let mut disk = self.mounted.disk();
                disk.image.cut(Survive::Some, &mut Dice::new(1));
            }
        }
        Ok((self.mounted.disk().image.clone(), books))
    }

    fn begin_with(&self, image: &Image) {
        let mut disk = self.mounted.disk();
        disk.image.become_like(image);
        disk.faults = Faults::new(0, None, None);
    }

    fn plan(&self) -> Plan {
        Plan {
            dir: self.database.clone(),
            // A multiple of four: no thread in the background.
            seed: 4,
            clients: 1,
            transactions: 6,
            checkpoint_every: 3,
            full_is_no_end: false,
        }
    }

    /// Runs the worker with the k-th call hit, cuts the power, and judges; false if there is no k-th call.
    fn run_one(
        &mut self,
        image: &Image,
        books: &Books,
        name: &str,
        what: &str,
        k: u64,
    ) -> Result<bool, String> {
        self.begin_with(image);
        let trace = self.job.dir.join("trace");
        let inject = match what {
            KILL => format!("inject={name}:signal=KILL:when={k}"),
            error => format!("inject={name}:error={error}:when={k}"),
        };
        let heard = Heard {
            books: books.clone(),
            ..Heard::default()
        };
        let trace_of = format!("trace={name}");
        let with = words(&["-f", "-e", &trace_of, "-e", &inject], &trace);
        let ended = Life::begin(&with, &self.plan(), heard)?.end(HANG);
        let (status, heard, said) = ended.map_err(|wrong| self.keep(wrong))?;
        let traced = std::fs::read_to_string(&trace).unwrap_or_default();
        let hit = match what {
            KILL => traced.contains("+++ killed by SIGKILL"),
            _ => traced.contains("(INJECTED)"),
        };
        judge(what, name, status, &heard, &said, hit).map_err(|wrong| self.keep(wrong))?;
        self.mounted
            .disk()
            .image
            .cut(Survive::None, &mut Dice::new(k));
        let mut books = heard.books;
        quiet::life(&self.database, k, 3, &mut books)
            .map_err(|wrong| self.keep(format!("behind the cut: {wrong}")))?;
        Ok(hit)
    }

    fn keep(&self, wrong: String) -> String {
        let to = self
            .job
            .evidence
            .join(format!("strace-{:x}", self.job.seed));
        let kept = self.mounted.disk().image.export(ROOT, &to);
        let kept = kept.map_or_else(|e| e.to_string(), |()| to.display().to_string());
        format!("{wrong}; evidence: {kept}")
    }

    /// Looks which calls the worker makes.
    fn nothing_is_left_out(&mut self, image: &Image) -> Result<(), String> {
        self.begin_with(image);
        let trace = self.job.dir.join("calls");
        let life = Life::begin(&words(&["-f"], &trace), &self.plan(), Heard::default())?;
        life.end(HANG)?;
        let text = std::fs::read_to_string(&trace).map_err(|e| e.to_string())?;
        let calls: BTreeSet<&str> = text.lines().filter_map(name_in).collect();
        let known =
            |call: &&str| EXEMPT.contains(call) || SWEPT.iter().any(|(name, _)| name == call);
        let unknown: Vec<&str> = calls.iter().copied().filter(|call| !known(call)).collect();
        if unknown.is_empty() && !calls.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the rig is wrong: these calls are not swept: {unknown:?}, of {} in all",
            calls.len()
        ))
    }
}

fn words(options: &[&str], trace: &Path) -> Vec<String> {
    let mut words = vec!["strace".to_owned()];
    words.extend(options.iter().map(|&word| word.to_owned()));
    words.extend(["-o".to_owned(), trace.display().to_string()]);
    words
}

/// The call in a line of a trace of several threads: `PID name(...`.
fn name_in(line: &str) -> Option<&str> {
    let rest = line.split_once(' ')?.1.trim_start();
    let name = rest.split_once('(')?.0;
    name.chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        .then_some(name)
}

fn all_panics_are_of_the_library(said: &str) -> bool {
    let mut places = said.split("panicked at ").skip(1).peekable();
    places.peek().is_some() && places.all(|place| place.starts_with("/rustc/"))
}

fn judge(
    what: &str,
    name: &str,
    status: ExitStatus,
    heard: &Heard,
    said: &str,
    hit: bool,
) -> Result<(), String> {
    if let Some(wrong) = &heard.wrong {
        return Err(wrong.clone());
    }
    // The standard library's own: where a directory cannot be closed, or there is no memory for its stack. Not ours to mend.
    let not_ours = hit && all_panics_are_of_the_library(said);
    if said.contains("panicked at") && !not_ours {
        return Err(format!("PANIC: {said}"));
    }
    let cut = heard.cut.as_deref().unwrap_or("without a word");
    // A call that was interrupted is made again.
    let must_go_on = what == "EINTR" && matches!(name, "pread64" | "pwrite64" | "openat");
    match status.code() {
        Some(0) => Ok(()),
        // It did not get as far as `main`.
        Some(127) if hit && heard.opened == 0 => Ok(()),
        _ if !hit || must_go_on => Err(format!("it ended, {status}: {cut}; {said}")),
        Some(3) => Ok(()),
        // Killed; or there was no memory.
        None if what == KILL || what == "ENOMEM" => Ok(()),
        Some(_) if not_ours => Ok(()),
        _ => Err(format!("it ended, {status}: {cut}; {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_sweeps_is_that_of_the_list() {
        assert_eq!(sweeps().count() as u64, SWEEPS);
    }

    #[test]
    fn calls_are_found_in_a_trace() {
        assert_eq!(
            name_in("17 openat(AT_FDCWD, \"/x\", 0) = 3"),
            Some("openat")
        );
        assert_eq!(name_in("17 <... futex resumed>) = 0"), None);
        assert_eq!(name_in("17 +++ exited with 0 +++"), None);
    }
}
