//! What the person reads: the demo as a story, with each recovery told from its report.
//!
//! Facts only: every number comes from the engine's report, the audit or a clock. With `--json` the story is silent.

use super::audit::Audit;
use super::{Args, bank};
use crate::failure::Failure;
use crate::out::Out;
use crate::scratch::Scratch;
use crate::units::{count, counted, duration, rate, size};
use afterimage::RecoveryReport;
use afterimage_log::Tail;
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
        self.say("it is reported when its commit has returned, and not before. One in fifty is given up halfway.")?;
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
            "  Audit      {:>9}  {} reported so far, {} there{unheard}, {} lost, {} half there",
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
            "                        all accounts together: {}, {sum}",
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

/// One recovery, as lines.
pub fn tell_recovery(report: &RecoveryReport, took: Duration) -> Vec<String> {
    if report.clean {
        return vec![format!(
            "Closed in good order at LSN {}: nothing to recover. Open after {}.",
            report.end_lsn,
            duration(took)
        )];
    }
    let mut lines = vec![format!(
        "Recovery   {:>9}  from the checkpoint at LSN {}; redo begins at LSN {}",
        duration(took),
        report.checkpoint_lsn,
        report.redo_lsn
    )];
    let mut phase = |name: &str, time: Duration, told: String| {
        lines.push(format!("  {name:<9}{:>9}  {told}", duration(time)))
    };
    phase(
        "Analysis",
        report.analysis,
        format!(
            "read {} of log, {}: {} committed, {} did not finish",
            size(report.bytes),
            counted(report.records, "record", "records"),
            counted(report.winners, "transaction", "transactions"),
            count(report.losers),
        ),
    );
    phase(
        "",
        Duration::ZERO,
        format!(
            "the log ends at LSN {}: {}",
            report.end_lsn,
            tell_tail(&report.tail)
        ),
    );
    phase(
        "Redo",
        report.redo,
        format!(
            "brought {} up to date; {} had reached the disk",
            counted(report.pages_redone, "page", "pages"),
            count(report.pages_skipped)
        ),
    );
    phase(
        "Undo",
        report.undo,
        format!(
            "took back {}, newest change first, in {} of its own",
            counted(report.losers, "loser", "losers"),
            counted(report.clrs, "record", "records")
        ),
    );
    lines
}

fn tell_tail(tail: &Tail) -> String {
    match tail {
        Tail::Clean => "where it was closed".to_string(),
        Tail::Open => "after the last whole record, with nothing behind it".to_string(),
        Tail::Torn {
            reason, discarded, ..
        } => {
            format!(
                "a write was cut short there ({reason}); {} discarded, none of it acknowledged",
                size(*discarded)
            )
        }
        other => format!("{other:?}"),
    }
}

/// The report as JSON, with its own names and units.
pub fn report_json(report: &RecoveryReport) -> Value {
    json!({
        "clean": report.clean,
    })
}
