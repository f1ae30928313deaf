//! `cargo xtask report`: RELIABILITY_REPORT.md and the same as a page, from what the other commands left in the target directory.
//!
//! Nothing is run here and nothing is rounded up: a command that was not run is listed as not run, a cell that was not reached as not reached. The two forms
//! come from one list of blocks (`blocks`); what the numbers are made of is read in `sources`.

mod blocks;
mod sources;

use crate::run::{Failed, Outcome, target_dir};
use blocks::Block::{self, Heading, List, Table, Text};
use sources::{Cell, Kill, Rig, Simulated};
use std::path::Path;

/// Writes `RELIABILITY_REPORT.md`, and `report.html` into the target directory.
///
/// # Errors
/// When the ledger names a test that there is not, or a file cannot be written.
pub fn command(root: &Path) -> Outcome {
    let target = target_dir(root);
    let ledger = sources::ledger(root)?;
    let mut all = opening(root);
    all.extend(simulation(&sources::simulated(&target)));
    all.extend(planted(&sources::kills(&target)));
    all.extend(reach(&sources::reach(&target)));
    all.extend(rigs(&sources::rigs(&target)));
    all.extend(fuzzing(&sources::fuzzed(&target)));
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

fn simulation(found: &Simulated) -> Vec<Block> {
    let mut all = vec![Heading("Crash simulation".into())];
    if found.calls == 0 {
        all.push(not_run("cargo xtask sim --minutes 30"));
        return all;
    }
    let total = found.verified + found.deeper + found.recoveries;
    let rate = |states: u64, seconds: u64| states.checked_div(seconds).unwrap_or(0).to_string();
    all.push(Text(format!(
        "`cargo xtask sim --minutes N`, {} calls: **{total} crash states verified in {} s of wall-clock time, no failure.**",
        found.calls, found.seconds
    )));
    let row = |name: &str, value: String| vec![name.to_string(), value];
    all.push(Table {
        head: vec!["what".into(), "how many".into()],
        rows: vec![
            row(
                "workloads of up to two operations, run to their end",
                format!("{} of {}", found.workloads, found.workloads_all),
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
         kind of I/O call (operation and file) in one phase of a database's life. **{hit} of {} cells that can be reached were**; {} more cannot be, for the reasons below.",
        reachable.len(),
        cells.len() - reachable.len()
    )));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cell in &reachable {
        let site = format!("{} {}", cell.operation, cell.file);
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
            "call",
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
            "{} {} ({}): {}",
            cell.operation, cell.file, cell.phase, cell.what
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

fn rigs(found: &[Rig]) -> Vec<Block> {
    let mut all = vec![
        Heading("Real file systems".into()),
        Text("`cargo xtask rigs`. Zero lost, zero half, zero hung is what *passed* means; a rig that could not run, or was not, is no evidence.".into()),
    ];
    let row = |rig: &Rig| {
        let (cuts, seconds) = (rig.cuts.to_string(), format!("{:.0}", rig.seconds));
        let result = match (&rig.failed, rig.pieces) {
            (Some(what), _) => format!("**FAILED**: {what}"),
            (None, 0) => "not run".into(),
            (None, _) => "nothing wrong".into(),
        };
        vec![rig.name.clone(), result, cuts, seconds, rig.others.clone()]
    };
    all.push(Table {
        head: ["rig", "result", "cuts", "seconds", "also"]
            .map(String::from)
            .to_vec(),
        rows: found.iter().map(row).collect(),
    });
    all
}

fn fuzzing(lines: &[Vec<String>]) -> Vec<Block> {
    let mut all = vec![Heading("Fuzzing".into())];
    if lines.is_empty() {
        all.push(not_run("cargo xtask fuzz --seconds 600"));
        return all;
    }
    all.push(Text("`cargo xtask fuzz`: any bytes in place of what is read from a disk, with checksums made right; no target has failed.".into()));
    all.push(Table {
        head: ["target", "executions", "seconds"]
            .map(String::from)
            .to_vec(),
        rows: lines.to_vec(),
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
