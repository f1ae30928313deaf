//! `cargo xtask report`: RELIABILITY_REPORT.md and the same as a page, from what the other commands left in the target directory.
//!
//! Nothing is run here and nothing is rounded up: a command that was not run is listed as not run, a cell that was not reached as not reached. The two forms
//! come from one list of blocks (`blocks`); what the numbers are made of is read in `sources`.

mod blocks;
mod sources;

use crate::run::{Failed, Outcome, target_dir};
use blocks::Block::{self, Heading, List, Table, Text};
use sources::{Cell, Fuzzed, Kill, Rig, Simulated};
use std::path::Path;

/// Writes `RELIABILITY_REPORT.md`, and `report.html` into the target directory.
///
/// # Errors
/// When the ledger names a test that there is not, or a file cannot be written.
pub fn command(root: &Path) -> Outcome {
    let target = target_dir(root);
    let ledger = sources::ledger(root)?;
    let (simulated, kills) = (sources::simulated(&target), sources::kills(&target));
    let (cells, found) = (sources::reach(&target), sources::rigs(&target));
    let fuzzed = sources::fuzzed(&target);
    let mut all = opening(root);
    all.push(Table {
        head: vec!["layer".into(), "what came of it".into()],
        rows: [
            ("Crash simulation", simulated_in_short(&simulated)),
            ("Planted bugs", planted_in_short(&kills)),
            ("Reach", reach_in_short(&cells)),
            ("Real file systems", rigs_in_short(&found)),
            ("Fuzzing", fuzzing_in_short(&fuzzed)),
        ]
        .map(|(layer, came)| vec![layer.to_owned(), came])
        .to_vec(),
    });
    all.extend(words());
    all.extend(simulation(&simulated));
    all.extend(planted(&kills));
    all.extend(reach(&cells));
    all.extend(rigs(&found));
    all.extend(fuzzing(&fuzzed));
    all.push(Heading("Real bugs".into()));
    all.push(Text(
        "Planted ones are not here. *Should have*: the layer that could have met it first and did not.".into(),
    ));
    all.push(ledger);
    all.extend(closing());
    let write = |path: &Path, text: String| {
        println!("{}", path.display());
        std::fs::write(path, text)
            .map_err(|error| Failed::Check(format!("{}: {error}", path.display())))
    };
    write(&root.join("RELIABILITY_REPORT.md"), blocks::markdown(&all))?;
    write(
        &target.join("report.html"),
        blocks::html("Afterimage: reliability report", &all),
    )
}

fn opening(root: &Path) -> Vec<Block> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        Heading("Reliability report".into()),
        Text(format!(
            "Made by `cargo xtask report` at commit {}, on a machine with {processors} processors. Every number below was counted by a command that you can run \
             again; a command that was not run says so. What each layer is for: docs/testing.md.",
            sources::commit(root)
        )),
    ]
}

fn words() -> Vec<Block> {
    vec![
        Heading("Words".into()),
        List(vec![
            "**Workload**: a short list of operations on a database at rest (a *base*).".into(),
            "**Crash point**: an I/O call before which the power is cut, or the end of a workload.".into(),
            "**Crash state**: what a crash point and a choice of surviving writes leave: a disk, and what may be found on it. Two that are equal in both are one; *made* counts all, \
             *distinct* each once, *verified* those that were recovered and checked."
                .into(),
            "**Depth**: 1 is a crash of the workload, 2 one of the recovery from that, and so on.".into(),
            "**Verified** means: recovered; the rows are those of one prefix of the commits, between what was acknowledged and what was asked for; recovered once more, the same; twenty \
             more transactions; closed; every byte checked; opened again; the same. Oracles watched the disk all the while."
                .into(),
            "What N states without a failure show is that a bug which these generators meet in one of N/3 states would most likely have been met (the rule of three), and nothing about \
             states that they do not make."
                .into(),
        ]),
    ]
}

fn not_run(command: &str) -> Block {
    Text(format!("**Not run.** `{command}`"))
}

/// What stands at the top for a layer of which nothing was left.
const NOT_RUN: &str = "**not run**";

fn simulated_in_short(found: &Simulated) -> String {
    match (found.calls, found.failed) {
        (_, true) => "**FAILED**: the last call found something".into(),
        (0, _) => NOT_RUN.into(),
        _ => format!(
            "{} crash states verified, no failure",
            found.verified + found.deeper + found.recoveries
        ),
    }
}

fn planted_in_short(kills: &[Kill]) -> String {
    let dead = kills.iter().filter(|kill| kill.seconds.is_some()).count();
    match kills.len() {
        0 => NOT_RUN.into(),
        all => format!("{dead} of {all} deliberate bugs found"),
    }
}

fn reach_in_short(cells: &[Cell]) -> String {
    let reachable = cells.iter().filter(|cell| cell.reason.is_none());
    let hit = reachable.clone().filter(|cell| cell.hits > 0).count();
    match reachable.count() {
        0 => NOT_RUN.into(),
        all => format!("{hit} of {all} things that can happen at a call have happened"),
    }
}

fn rigs_in_short(found: &[Rig]) -> String {
    let with = |wanted: &str| {
        let some = found.iter().filter(|rig| result(rig) == wanted);
        some.map(|rig| rig.name.as_str()).collect::<Vec<_>>()
    };
    let failed = found.iter().filter(|rig| rig.failed.is_some());
    let failed: Vec<&str> = failed.map(|rig| rig.name.as_str()).collect();
    let mut said = Vec::new();
    for (word, names) in [
        ("**FAILED**", failed),
        (PASSED, with(PASSED)),
        (IN_PART, with(IN_PART)),
        ("begun, nothing wrong so far", with(BEGUN)),
        ("not run", with(NOT_RUN)),
    ] {
        if !names.is_empty() {
            said.push(format!("{word}: {}", names.join(", ")));
        }
    }
    said.join("; ")
}

fn fuzzing_in_short(all: &[Fuzzed]) -> String {
    let names = |some: &dyn Fn(&&Fuzzed) -> bool| {
        let some = all.iter().filter(some);
        some.map(|one| one.target.as_str()).collect::<Vec<_>>()
    };
    let (failed, not_run) = (
        names(&|one| one.failed),
        names(&|one| one.seconds == 0 && !one.failed),
    );
    if not_run.len() == all.len() {
        return NOT_RUN.into();
    }
    let executions: u64 = all.iter().map(|one| one.executions).sum();
    let mut said = match failed.is_empty() {
        true => format!("{executions} executions, no failure"),
        false => format!("**FAILED**: {}", failed.join(", ")),
    };
    if !not_run.is_empty() {
        said += &format!("; not run: {}", not_run.join(", "));
    }
    said
}

fn simulation(found: &Simulated) -> Vec<Block> {
    let mut all = vec![Heading("Crash simulation".into())];
    if found.calls == 0 && !found.failed {
        all.push(not_run("cargo xtask sim --minutes 30"));
        return all;
    }
    let rate = |states: u64, seconds: u64| states.checked_div(seconds).unwrap_or(0).to_string();
    all.push(Text(format!(
        "`cargo xtask sim --minutes N`, {} of it: **{}**, in {} s of wall-clock time.",
        match found.calls {
            1 => "one call".into(),
            calls => format!("{calls} calls"),
        },
        simulated_in_short(found).replace("**", ""),
        found.seconds
    )));
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let short = found.workloads_short;
    all.push(Table {
        head: vec!["what".into(), "how many".into()],
        rows: vec![
            row(
                "workloads of up to two operations, run to their end",
                format!("{} of {}", found.workloads.min(short), short),
            ),
            row(
                "workloads of three operations, the same",
                format!(
                    "{} of {}",
                    found.workloads.saturating_sub(short),
                    found.workloads_all.saturating_sub(short)
                ),
            ),
            row("crash points", found.points.to_string()),
            row("crash states made", found.made.to_string()),
            row("distinct", found.distinct.to_string()),
            row("verified, depth 1", found.verified.to_string()),
            row(
                "verified, inside recoveries (depth 2 and 3)",
                found.deeper.to_string(),
            ),
            row(
                "exhaustive driver, verified a second of processor time",
                rate(found.verified + found.deeper, found.processor),
            ),
            row("episodes of concurrent clients", found.episodes.to_string()),
            row("crashes in them", found.crashes.to_string()),
            row(
                "recovered databases verified in them",
                found.recoveries.to_string(),
            ),
        ],
    });
    all
}

fn planted(kills: &[Kill]) -> Vec<Block> {
    let mut all = vec![Heading("Planted bugs".into())];
    if kills.is_empty() {
        all.push(not_run("cargo xtask planted"));
        return all;
    }
    let dead: Vec<&Kill> = kills.iter().filter(|kill| kill.seconds.is_some()).collect();
    let mut times: Vec<f64> = dead.iter().filter_map(|kill| kill.seconds).collect();
    times.sort_by(f64::total_cmp);
    all.push(Text(format!(
        "`cargo xtask planted`: **{} of {} killed**; median {:.2} s, worst {:.2} s. For each the layer that was quickest; *states* counts crash states verified until then, where \
         the layer counts them.",
        dead.len(),
        kills.len(),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default()
    )));
    let row = |kill: &Kill| {
        vec![
            kill.bug.clone(),
            kill.what.clone(),
            kill.layer.clone().unwrap_or_else(|| "**nobody**".into()),
            kill.states.clone(),
            kill.seconds.map_or(String::new(), |s| format!("{s:.2}")),
        ]
    };
    all.push(Table {
        head: ["bug", "what it does", "killed by", "states", "seconds"]
            .map(String::from)
            .to_vec(),
        rows: kills.iter().map(row).collect(),
    });
    all
}

fn reach(cells: &[Cell]) -> Vec<Block> {
    let mut all = vec![Heading("Reach".into())];
    if cells.is_empty() {
        all.push(not_run("cargo xtask sim matrix"));
        return all;
    }
    let reachable: Vec<&Cell> = cells.iter().filter(|cell| cell.reason.is_none()).collect();
    let hit = reachable.iter().filter(|cell| cell.hits > 0).count();
    all.push(Text(format!(
        "`cargo xtask sim matrix`: a *cell* is one thing that can happen (power cut before, after or inside; an error; a short or interrupted call; bytes that come back wrong) at one \
         kind of I/O call (operation and file) in one phase of a database's life. **{hit} of {} cells that can be reached were**; {} more cannot be, for the reasons below. \
         What the engine answered, and how often: *UNSEEN*, it went on as if nothing had been; *RECOVER*, the next open found all that was acknowledged; *ABORT*, the one thing that was \
         asked for failed with an error, and the engine went on; *STOP*, it did no more and said so, and the next open recovered; *REFUSE*, the open failed with an error that says where.",
        reachable.len(),
        cells.len() - reachable.len()
    )));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cell in &reachable {
        let site = format!("{}: {}", cell.file, cell.operation);
        let said = match cell.hits {
            0 => format!("{}: **never**", cell.what),
            _ => format!("{}: {}", cell.what, cell.responses),
        };
        match rows.last_mut() {
            Some(row) if row[0] == site && row[1] == cell.phase => {
                row[2] = format!("{}; {said}", row[2]);
            }
            _ => rows.push(vec![site, cell.phase.clone(), said]),
        }
    }
    all.push(Table {
        head: [
            "file: call",
            "phase",
            "what happened to it, and what the engine answered",
        ]
        .map(String::from)
        .to_vec(),
        rows,
    });
    let mut reasons: Vec<Vec<String>> = Vec::new();
    for cell in cells {
        let Some(reason) = &cell.reason else { continue };
        let what = format!(
            "{}: {} ({}): {}",
            cell.file, cell.operation, cell.phase, cell.what
        );
        match reasons.iter_mut().find(|row| row[1] == *reason) {
            Some(row) => row[0] = format!("{}; {what}", row[0]),
            None => reasons.push(vec![what, reason.clone()]),
        }
    }
    if !reasons.is_empty() {
        all.push(Table {
            head: vec!["cells that cannot be reached".into(), "why".into()],
            rows: reasons,
        });
    }
    all
}

/// A rig's aim is reached, and nothing went wrong.
const PASSED: &str = "passed";
/// The same, and a file system that it wants was not there.
const IN_PART: &str = "passed in part";
/// Nothing went wrong, and there is more to do.
const BEGUN: &str = "begun: nothing wrong so far";

fn result(rig: &Rig) -> String {
    match &rig.failed {
        Some(what) => format!("**FAILED**: {what}"),
        None if rig.pieces == 0 => NOT_RUN.into(),
        None if rig.done < rig.aim => BEGUN.into(),
        None if rig.others.contains("pieces without ") => IN_PART.into(),
        None => PASSED.into(),
    }
}

fn rigs(found: &[Rig]) -> Vec<Block> {
    let mut all = vec![
        Heading("Real file systems".into()),
        Text("`cargo xtask rigs`. Zero lost, zero half, zero hung is what *passed* means; a rig that could not run, or was not, is no evidence.".into()),
    ];
    let row = |rig: &Rig| {
        let (done, seconds) = match rig.pieces {
            0 => (String::new(), String::new()),
            _ => (
                format!("{} of {} {}", rig.done, rig.aim, rig.unit),
                format!("{:.0}", rig.seconds),
            ),
        };
        vec![
            rig.name.clone(),
            result(rig),
            done,
            seconds,
            rig.others.clone(),
        ]
    };
    all.push(Table {
        head: ["rig", "result", "how much", "seconds", "also"]
            .map(String::from)
            .to_vec(),
        rows: found.iter().map(row).collect(),
    });
    all
}

fn fuzzing(found: &[Fuzzed]) -> Vec<Block> {
    let mut all = vec![Heading("Fuzzing".into())];
    if fuzzing_in_short(found) == NOT_RUN {
        all.push(not_run("cargo xtask fuzz --seconds 600"));
        return all;
    }
    all.push(Text("`cargo xtask fuzz`: any bytes in place of what is read from a disk, with checksums made right; mutated by coverage.".into()));
    let row = |one: &Fuzzed| {
        let result = match (one.failed, one.seconds) {
            (true, _) => "**FAILED**",
            (false, 0) => NOT_RUN,
            (false, _) => "no failure",
        };
        let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
        let (executions, seconds) = (number(one.executions), number(one.seconds));
        vec![one.target.clone(), result.into(), executions, seconds]
    };
    all.push(Table {
        head: ["target", "result", "executions", "seconds"]
            .map(String::from)
            .to_vec(),
        rows: found.iter().map(row).collect(),
    });
    all
}

fn closing() -> Vec<Block> {
    vec![
        Heading("Not tested".into()),
        List(
            [
                "Disks that answer a sync without doing it: no software mends that; the simulation does not make them.",
                "Real power cuts of real machines and drives.",
                "Network file systems, file systems of other systems than Linux.",
                "Memory that loses bits: checksums are made when a page leaves for the disk, and checked when it comes back, not in between.",
                "Archiving, replication and the network face, which do not exist yet, and with them the faults F35, F41 to F44 and F46 to F53 of our catalogue.",
                "Machines with more than two processors: the schedules of the simulation and the model checkers stand in for them.",
                "Databases of terabytes: offsets beyond 4 TiB and positions near 2^48 are tested on sparse simulated disks, and ten million rows on real ones.",
            ]
            .map(String::from)
            .to_vec(),
        ),
    ]
}
