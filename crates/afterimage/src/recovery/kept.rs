//! The report of the last real recovery, as lines of the `status` file: so that it can be asked for when the database has long been closed
//! cleanly. Advice: no recovery reads it.

use std::time::Duration;

use afterimage_log::Lsn;

use super::report::RecoveryReport;
use crate::record::RecordKind;

/// The last recovery that had something to recover.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastRecovery {
    /// When it had ended, in microseconds since the Unix epoch.
    pub at_micros: u64,
    /// What it found and did.
    pub report: RecoveryReport,
}

impl LastRecovery {
    pub(crate) fn new(at_micros: u64, report: RecoveryReport) -> LastRecovery {
        LastRecovery { at_micros, report }
    }

    /// A line each, without its first word.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (report, mut lines) = (&self.report, vec![format!("at_micros {}", self.at_micros)]);
        lines.push(format!("tail {}", report.tail.replace('\n', " ")));
        if let Some(kind) = report.last_record {
            lines.push(format!("last_record {kind}"));
        }
        let mut copy = report.clone();
        for (name, number) in numbers(&mut copy) {
            lines.push(format!("{name} {}", number.get()));
        }
        for kind in report.kinds.iter().filter(|kind| kind.read > 0) {
            lines.push(format!(
                "kind {} {} {} {} {}",
                kind.read, kind.redone, kind.already_there, kind.undone, kind.kind
            ));
        }
        lines
    }

    /// Takes in one of the lines. A name that this version does not know is left out.
    pub(crate) fn take(kept: &mut Option<LastRecovery>, line: &str) -> Option<()> {
        let empty = || LastRecovery::new(0, RecoveryReport::new(false, false, String::new()));
        let LastRecovery { at_micros, report } = kept.get_or_insert_with(empty);
        let (name, value) = line.split_once(' ')?;
        match name {
            "at_micros" => *at_micros = value.parse().ok()?,
            "tail" => value.clone_into(&mut report.tail),
            "last_record" => {
                let mut names = RecordKind::all().map(RecordKind::name);
                report.last_record = names.find(|name| *name == value);
            }
            "kind" => {
                let mut words = value.splitn(5, ' ');
                let mut number = || words.next()?.parse::<u64>().ok();
                let counts = (number()?, number()?, number()?, number()?);
                let kind = words.next()?;
                if let Some(known) = report.kinds.iter_mut().find(|known| known.kind == kind) {
                    (known.read, known.redone, known.already_there, known.undone) = counts;
                }
            }
            _ => {
                if let Some((_, mut number)) = numbers(report).into_iter().find(|(n, _)| *n == name)
                {
                    number.set(value.parse().ok()?);
                }
            }
        }
        Some(())
    }
}

/// A number of the report.
enum Number<'a> {
    Plain(&'a mut u64),
    Position(&'a mut Option<Lsn>),
    Time(&'a mut Duration),
}

impl Number<'_> {
    fn get(&self) -> u64 {
        match self {
            Number::Plain(number) => **number,
            Number::Position(lsn) => lsn.map_or(0, Lsn::get),
            Number::Time(time) => u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        }
    }

    fn set(&mut self, value: u64) {
        match self {
            Number::Plain(number) => **number = value,
            Number::Position(lsn) => **lsn = Lsn::new(value),
            Number::Time(time) => **time = Duration::from_micros(value),
        }
    }
}

fn numbers(report: &mut RecoveryReport) -> Vec<(&'static str, Number<'_>)> {
    use Number::{Plain, Position, Time};
    vec![
        ("torn_bytes", Plain(&mut report.torn_bytes)),
        ("checkpoint_lsn", Position(&mut report.checkpoint_lsn)),
        ("redo_lsn", Position(&mut report.redo_lsn)),
        ("end_lsn", Position(&mut report.end_lsn)),
        ("log_bytes", Plain(&mut report.log_bytes)),
        ("records", Plain(&mut report.records)),
        ("winners", Plain(&mut report.winners)),
        ("losers", Plain(&mut report.losers)),
        ("pages", Plain(&mut report.pages)),
        ("redone", Plain(&mut report.redone)),
        ("already_there", Plain(&mut report.already_there)),
        ("undone", Plain(&mut report.undone)),
        ("pages_restored", Plain(&mut report.pages_restored)),
        ("pages_torn", Plain(&mut report.pages_torn)),
        ("segments_rewritten", Plain(&mut report.segments_rewritten)),
        ("unlogged_emptied", Plain(&mut report.unlogged_emptied)),
        ("decide_micros", Time(&mut report.decide_time)),
        ("secure_micros", Time(&mut report.secure_time)),
        ("analysis_micros", Time(&mut report.analysis_time)),
        ("redo_micros", Time(&mut report.redo_time)),
        ("undo_micros", Time(&mut report.undo_time)),
        ("checkpoint_micros", Time(&mut report.checkpoint_time)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read() {
        let mut report = RecoveryReport::new(false, false, "a torn tail".to_owned());
        for (n, (_, mut number)) in numbers(&mut report).into_iter().enumerate() {
            number.set(n as u64 + 7);
        }
        report.last_record = Some("insert large");
        report.kinds[2].read = 5;
        report.kinds[2].undone = 4;
        let last = LastRecovery::new(99, report);
        let mut read = None;
        for line in last.lines() {
            LastRecovery::take(&mut read, &line).expect("a line of ours");
        }
        assert_eq!(read, Some(last));
        let mut newer = None;
        assert!(LastRecovery::take(&mut newer, "something_new 5").is_some());
        assert!(LastRecovery::take(&mut newer, "records many").is_none());
    }
}
