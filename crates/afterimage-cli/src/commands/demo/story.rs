//! What the person reads: the demo as a story, with each recovery told from its report.
//!
//! Facts only: every number comes from the engine's report, the audit or a clock. With `--json` the story is silent.

use super::audit::Audit;
use super::{Args, bank};
use crate::failure::Failure;
use crate::out::Out;
use crate::scratch::Scratch;
use crate::units::{count, counted, duration, rate, size};
use afterimage::{KindReport, RecoveryReport};
use afterimage_log::Lsn;
use serde_json::{Value, json};
use std::time::Duration;

/// Tells the story, line by line, as it happens.
pub struct Story<'a> {
    out: &'a mut Out,
}

impl<'a> Story<'a> {
    /// A story for this reader.
    pub fn new(out: &'a mut Out) -> Self {
        Self { out }
    }

    fn say(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        self.out.line(line)?;
        self.out.flush()
    }

    /// What is going to happen.
    pub fn title(
        &mut self,
        args: &Args,
        seed: u64,
        seconds: Duration,
        scratch: &Scratch,
    ) -> Result<(), Failure> {
        self.say(format!("A bank that gets killed (seed {seed})"))?;
        self.say("")?;
        self.say(format!(
            "{} accounts hold {} each, {} in all. {} move money between them for {}.",
            count(u64::from(bank::ACCOUNT_COUNT)),
            count(bank::OPENING_BALANCE as u64),
            count(bank::TOTAL as u64),
            counted(u64::from(args.clients), "client", "clients"),
            duration(seconds),
        ))?;
        self.say("Each transfer debits one account, credits another and writes down its own number, in one transaction;")?;
        self.say("it is reported when its commit has returned, and not before. One in a hundred is given up halfway.")?;
        let fate = if scratch.is_temporary() {
            "removed at the end"
        } else {
            "kept"
        };
        self.say(format!(
            "The books are in {} ({fate}).",
            scratch.path().display()
        ))
    }

    /// The accounts are there.
    pub fn opening_day(&mut self, took: Duration) -> Result<(), Failure> {
        self.say(format!(
            "Opening day: every account is there, durably, after {}.",
            duration(took)
        ))
    }

    /// One client works alone, to be compared with.
    pub fn alone(&mut self) -> Result<(), Failure> {
        self.say("")?;
        self.say("Every transfer also counts itself in one row, the same for all. First one client alone, to compare with")
    }

    /// What a row that everybody changes costs.
    pub fn hot(&mut self, clients: u16, alone: f64, together: f64) -> Result<(), Failure> {
        self.say("")?;
        self.say(format!(
            "One row changed by all: 1 client {}/s, {} {}/s: {:.1} times as many",
            count(alone as u64),
            counted(u64::from(clients), "client", "clients"),
            count(together as u64),
            together / alone,
        ))
    }

    /// A round begins.
    pub fn round(&mut self, round: u16, kills: u16) -> Result<(), Failure> {
        self.say("")?;
        if round <= kills {
            self.say(format!("Kill {round} of {kills}"))
        } else {
            self.say("A last day, without a kill")
        }
    }

    /// The bank has worked, and was killed (then `killed` is its process id) or has closed.
    pub fn worked(
        &mut self,
        reported: u64,
        worked: Duration,
        killed: Option<u32>,
    ) -> Result<(), Failure> {
        let reported = format!(
            "{} reported ({}/s)",
            counted(reported, "transfer", "transfers"),
            rate(reported, worked)
        );
        match killed {
            Some(pid) => self.say(format!("  {} of business, {reported}. Then SIGKILL, in mid-sentence: process {pid} is gone.", duration(worked))),
            None => self.say(format!("  {} of business, {reported}. Then the doors were closed in good order.", duration(worked))),
        }
    }

    /// What readers did meanwhile.
    pub fn looked_on(&mut self, readers: u16, looks: u64) -> Result<(), Failure> {
        self.say(format!(
            "  Meanwhile {} looked at {}, and added up the books in each.",
            counted(u64::from(readers), "reader", "readers"),
            counted(looks, "snapshot", "snapshots"),
        ))
    }

    /// The database has been opened again.
    pub fn recovery(
        &mut self,
        report: &RecoveryReport,
        took: Duration,
        killed: bool,
    ) -> Result<(), Failure> {
        if killed && report.clean {
            // A kill that finds nothing open would be a surprise worth telling.
            self.say("  The kill came when nothing was under way: the books were closed.")?;
        }
        tell_recovery(report, took)
            .iter()
            .try_for_each(|line| self.say(format!("  {line}")))
    }

    /// The audit's verdict on this round.
    pub fn audit(&mut self, audit: &Audit) -> Result<(), Failure> {
        let early = audit.recovered.saturating_sub(audit.acknowledged);
        let unheard = match early {
            0 => String::new(),
            n => format!(
                " ({} durable, but the kill came before the report)",
                count(n)
            ),
        };
        self.say(format!(
            "  Audit       {:>9}  {} reported so far, {} there{unheard}, {} lost, {} half there",
            duration(audit.took),
            count(audit.acknowledged),
            count(audit.recovered),
            count(audit.lost),
            count(audit.half),
        ))?;
        if let Some(wrong) = &audit.first_wrong {
            self.say(format!("  WRONG: {wrong}"))?;
        }
        let sum = if audit.sum_ok() {
            "as on opening day"
        } else {
            "WRONG"
        };
        self.say(format!(
            "                         all accounts together: {}, {sum}",
            count(audit.sum.unsigned_abs())
        ))
    }

    /// What this shows, and what it does not.
    pub fn moral(&mut self) -> Result<(), Failure> {
        self.say("")?;
        self.say("SIGKILL tests the process, not the disk: what the operating system had been given, it kept. The command that")?;
        self.say("cuts the power (writes lost, torn, out of order; thousands of times a second, in a simulated machine) is")?;
        self.say("`cargo xtask sim`, in the source tree.")?;
        self.say("")
    }
}

/// One recovery, as lines; `took` is the whole opening.
pub fn tell_recovery(report: &RecoveryReport, took: Duration) -> Vec<String> {
    if report.created {
        return vec!["A new database: nothing to recover.".to_string()];
    }
    if report.clean {
        return vec![format!(
            "Closed in good order at LSN {}: nothing to recover. Open after {}.",
            lsn(report.end_lsn),
            duration(took)
        )];
    }
    let phases = [
        ("Decide", report.decide_time, decide(report)),
        ("Secure", report.secure_time, secure(report)),
        ("Analysis", report.analysis_time, analysis(report)),
        ("Redo", report.redo_time, redo(report)),
        ("Undo", report.undo_time, undo(report)),
        (
            "Checkpoint",
            report.checkpoint_time,
            "both tables are written down: were it killed now, the next would begin here"
                .to_string(),
        ),
    ];
    let checkpoint = lsn(report.checkpoint_lsn);
    let head = format!(
        "Recovery    {:>9}  begins at the checkpoint of LSN {checkpoint}",
        duration(took)
    );
    let phases = phases
        .into_iter()
        .map(|(name, time, told)| format!("  {name:<10}{:>9}  {told}", duration(time)));
    let emptied = (report.unlogged_emptied > 0).then(|| {
        format!(
            "  {:<19}  {} empty now: their rows are not in the log",
            "Unlogged",
            counted(report.unlogged_emptied, "table is", "tables are")
        )
    });
    std::iter::once(head).chain(phases).chain(emptied).collect()
}

fn decide(report: &RecoveryReport) -> String {
    let torn = match report.torn_bytes {
        0 => String::new(),
        bytes => format!(" ({})", size(bytes)),
    };
    format!(
        "the log ends at LSN {}: {}{torn}",
        lsn(report.end_lsn),
        report.tail
    )
}

fn secure(report: &RecoveryReport) -> String {
    let restored = match report.pages_restored {
        0 => "no page had to be restored".to_string(),
        pages => format!(
            "{} restored from the doublewrite area, {} of them torn",
            counted(pages, "page", "pages"),
            count(report.pages_torn)
        ),
    };
    format!("what was read is on disk for certain; {restored}")
}

fn analysis(report: &RecoveryReport) -> String {
    format!(
        "{} read: {} (committed), {} (unfinished)",
        counted(report.records, "record", "records"),
        counted(report.winners, "winner", "winners"),
        counted(report.losers, "loser", "losers"),
    )
}

fn redo(report: &RecoveryReport) -> String {
    format!(
        "{} of log from LSN {} on: {} made again on {}, {} there already",
        size(report.log_bytes),
        lsn(report.redo_lsn),
        counted(report.redone, "change", "changes"),
        counted(report.pages, "page", "pages"),
        count(report.already_there),
    )
}

fn undo(report: &RecoveryReport) -> String {
    match report.losers {
        0 => "nobody to take back".to_string(),
        losers => format!(
            "{} taken back, {}, newest first",
            counted(losers, "loser", "losers"),
            counted(report.undone, "change", "changes")
        ),
    }
}

fn lsn(lsn: Option<Lsn>) -> String {
    lsn.map_or_else(|| "none".to_string(), |lsn| lsn.to_string())
}

/// The kinds of records that were met, each with what was done with it.
fn kinds_json(report: &RecoveryReport) -> Value {
    let met = report
        .kinds
        .iter()
        .filter(|kind| kind.read > 0 || kind.redone + kind.already_there + kind.undone > 0);
    let line = |kind: &KindReport| {
        let counts = json!({
            "read": kind.read,
            "redone": kind.redone,
            "already_there": kind.already_there,
            "undone": kind.undone,
        });
        (kind.kind.to_string(), counts)
    };
    met.map(line).collect::<serde_json::Map<_, _>>().into()
}

/// The report as JSON: its own names, times in seconds.
pub fn report_json(report: &RecoveryReport) -> Value {
    let lsn = |lsn: Option<Lsn>| lsn.map(Lsn::get);
    json!({
        "created": report.created,
        "clean": report.clean,
        "tail": report.tail,
        "torn_bytes": report.torn_bytes,
        "checkpoint_lsn": lsn(report.checkpoint_lsn),
        "redo_lsn": lsn(report.redo_lsn),
        "end_lsn": lsn(report.end_lsn),
        "log_bytes": report.log_bytes,
        "records": report.records,
        "winners": report.winners,
        "losers": report.losers,
        "pages": report.pages,
        "redone": report.redone,
        "already_there": report.already_there,
        "undone": report.undone,
        "last_record": report.last_record,
        "kinds": kinds_json(report),
        "pages_restored": report.pages_restored,
        "pages_torn": report.pages_torn,
        "unlogged_emptied": report.unlogged_emptied,
        "seconds": {
            "decide": report.decide_time.as_secs_f64(),
            "secure": report.secure_time.as_secs_f64(),
            "analysis": report.analysis_time.as_secs_f64(),
            "redo": report.redo_time.as_secs_f64(),
            "undo": report.undo_time.as_secs_f64(),
            "checkpoint": report.checkpoint_time.as_secs_f64(),
            "total": report.total_time().as_secs_f64(),
        },
    })
}
