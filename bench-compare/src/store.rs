//! A store at a point, seen from outside: a fresh copy of the preloaded store, and a process of its own that does the work.
//!
//! So no engine finds what another has left in memory, and one that crashes or hangs loses a point, not the run.

use crate::plan::{Plan, Point, StorePlan, Work};
use crate::scratch::{self, Scratch};
use crate::{Result, Values};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a child says when it has filled its log: it is not there to say more.
pub const KILLED: i32 = 17;
/// How often a look is taken whether a child is done.
const LOOK: Duration = Duration::from_millis(10);

/// Measures an engine at a point.
pub fn measure(engine: &str, point: &Point, plan: &Plan, scratch: &Scratch) -> Result<Values> {
    let of_stores = plan.store.as_ref().ok_or("no plan of stores")?;
    let child = Child {
        engine,
        plan,
        point,
        longest: Duration::from_secs(of_stores.longest_s),
    };
    let dir = scratch.fresh("engine")?;
    let measured = match point.work {
        Work::Load | Work::LoadSpecial => {
            scratch.settle()?;
            child.run("measure", &dir)
        }
        Work::Recover => recovery(&child, of_stores, scratch, &dir),
        _ => {
            copy_of_preloaded(&child, scratch, &dir)?;
            child.run("measure", &dir)
        }
    };
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    scratch.settle()?;
    measured
}

fn copy_of_preloaded(child: &Child<'_>, scratch: &Scratch, dir: &Path) -> Result<()> {
    let template = scratch.path().join(format!("preloaded-{}", child.engine));
    if !template.exists() {
        let made = child.run("preload", &template);
        if let Err(error) = made {
            let _ = std::fs::remove_dir_all(&template);
            return Err(format!("preloading: {error}").into());
        }
    }
    scratch::copy(&template, dir)?;
    scratch.settle()
}

/// Fills a log, and has it opened with nothing and with all of it in the page cache.
fn recovery(child: &Child<'_>, plan: &StorePlan, scratch: &Scratch, dir: &Path) -> Result<Values> {
    let filled = scratch.fresh("filled")?;
    copy_of_preloaded(child, scratch, &filled)?;
    let mut values = child.run("fill", &filled)?;
    scratch.settle()?;
    for (name, cold) in [("cold", true), ("warm", false)] {
        scratch::copy(&filled, dir)?;
        scratch.settle()?;
        if cold {
            scratch::chill(dir)?;
        }
        for (what, seconds) in child.run("measure", dir)? {
            values.insert(format!("{what}_{name}_s"), seconds);
        }
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::remove_dir_all(&filled)?;
    values.insert("fill_longest_s".into(), plan.fill_longest_s);
    Ok(values)
}

/// A process for one engine at one point.
struct Child<'a> {
    engine: &'a str,
    plan: &'a Plan,
    point: &'a Point,
    longest: Duration,
}

impl Child<'_> {
    /// What it said, as values.
    fn run(&self, task: &str, dir: &Path) -> Result<Values> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["point", "--task", task, "--engine", self.engine]);
        command.args(["--plan", &serde_json::to_string(self.plan)?]);
        command.args(["--point", &serde_json::to_string(self.point)?]);
        command.arg("--dir").arg(dir);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > self.longest {
                child.kill()?;
                child.wait()?;
                return Err(format!("given up after {} s", self.longest.as_secs()).into());
            }
            std::thread::sleep(LOOK);
        };
        let (mut out, mut said) = (String::new(), String::new());
        if let (Some(stdout), Some(stderr)) = (&mut child.stdout, &mut child.stderr) {
            stdout.read_to_string(&mut out)?;
            stderr.read_to_string(&mut said)?;
        }
        let killed = task == "fill" && status.code() == Some(KILLED);
        if !status.success() && !killed {
            let said = said.lines().last().unwrap_or("it said nothing");
            return Err(format!("{status}: {said}").into());
        }
        Ok(serde_json::from_str(out.lines().last().unwrap_or("{}"))?)
    }
}
