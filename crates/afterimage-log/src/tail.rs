//! The end of the log: one table that tells a clean end, an open end, a torn tail and damage apart.
//!
//! The walk through the log stops where no frame stands that belongs there. That alone says nothing: after a crash
//! it is normal, and in the middle of the durable log it is a disaster. What decides is whether anything *proves*
//! that the log was durable beyond this place. Every combination of what can be seen meets exactly one row.

use afterimage_io::planted::{self, Bug};

use crate::lsn::Lsn;

/// Who knew that the log was durable up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// A watermark frame in the log.
    Watermark,
    /// The control file.
    Control,
    /// A page in the doublewrite area.
    Doublewrite,
    /// The replication slot of this name.
    Slot(String),
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proof::Watermark => write!(f, "a watermark in the log"),
            Proof::Control => write!(f, "the control file"),
            Proof::Doublewrite => write!(f, "a page in the doublewrite area"),
            Proof::Slot(name) => write!(f, "the slot {name:?}"),
        }
    }
}

/// How the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// Exactly where the last clean stop left it.
    Clean,
    /// The last stop was not clean, and nothing stands beyond the last whole record.
    Open,
    /// The last stop was not clean, and what stands beyond the last whole record is a write that did not finish.
    /// This is normal after a crash. Nothing proves that any of it was durable; only for the very last batch that was
    /// acknowledged can that be so all the same, until the next watermark vouches for it.
    Torn {
        /// The first byte that is discarded.
        at: Lsn,
        /// What stood there.
        reason: String,
        /// At least this many bytes of unfinished log are discarded.
        discarded: u64,
    },
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tail::Clean => write!(f, "clean: the log ends where the last stop left it"),
            Tail::Open => write!(
                f,
                "open: the last stop was not clean, and the log ends with a whole record"
            ),
            Tail::Torn {
                at,
                reason,
                discarded,
            } => {
                write!(
                    f,
                    "torn at LSN {at}: {reason}; at least {discarded} bytes, which nothing proves to have been durable, are discarded"
                )
            }
        }
    }
}

/// What stands where the walk stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Zeroes: nothing was written here.
    Nothing,
    /// Bytes that are no frame of this place.
    Bad,
    /// An END frame, and no segment that follows it.
    Closed,
}

/// What the control file says of the last stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was not clean.
    Unclean,
    /// It was clean, and the log ended here.
    CleanHere,
    /// It was clean, and the log ended before this place, or beyond it.
    CleanElsewhere,
}

/// All that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub found: Found,
    pub stop: Stop,
    /// Something proves that the log was durable beyond this place.
    pub proof: bool,
    /// A valid watermark stands beyond this place: something was being written there.
    pub leftover: bool,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    Open,
    Torn,
    DamageProven,
    DamageCleanEnd,
}

struct Row {
    /// Empty: any.
    found: &'static [Found],
    stop: &'static [Stop],
    proof: Option<bool>,
    leftover: Option<bool>,
    verdict: Verdict,
}

#[rustfmt::skip]
const TABLE: [Row; 6] = [
    // A. A proof beyond this place: acknowledged records are unreadable, however the log was stopped.
    Row { found: &[], stop: &[Stop::Unclean, Stop::CleanHere], proof: Some(true), leftover: None, verdict: Verdict::DamageProven },
    // B. A clean stop leaves its end exactly: a log that ends elsewhere is not the log that was stopped.
    Row { found: &[], stop: &[Stop::CleanElsewhere], proof: None, leftover: None, verdict: Verdict::DamageCleanEnd },
    // C. A clean stop, and its end. What stands behind it in a recycled file does not matter.
    Row { found: &[], stop: &[Stop::CleanHere], proof: Some(false), leftover: None, verdict: Verdict::Clean },
    // D. Bytes that do not belong here, and nothing durable beyond them: a write the crash interrupted.
    Row { found: &[Found::Bad], stop: &[Stop::Unclean], proof: Some(false), leftover: None, verdict: Verdict::Torn },
    // E. A gap, and an unfinished batch behind it: the disk wrote the later part first.
    Row { found: &[Found::Nothing, Found::Closed], stop: &[Stop::Unclean], proof: Some(false), leftover: Some(true), verdict: Verdict::Torn },
    // F. The last record is whole and nothing follows.
    Row { found: &[Found::Nothing, Found::Closed], stop: &[Stop::Unclean], proof: Some(false), leftover: Some(false), verdict: Verdict::Open },
];

impl Row {
    fn meets(&self, seen: Seen) -> bool {
        (self.found.is_empty() || self.found.contains(&seen.found))
            && self.stop.contains(&seen.stop)
            && self.proof.is_none_or(|p| p == seen.proof)
            && self.leftover.is_none_or(|l| l == seen.leftover)
    }
}

/// Decides.
pub(crate) fn decide(seen: Seen) -> Verdict {
    let row = TABLE.iter().position(|row| row.meets(seen));
    let row = row.expect("TAIL-1: every combination meets exactly one row");
    let planted = match row {
        1 => (Bug::EndElsewhere, Verdict::Open),
        2 => (Bug::CleanEndTorn, Verdict::Torn),
        3 => (Bug::TornIsDamage, Verdict::DamageProven),
        4 => (Bug::GapIsEnd, Verdict::Open),
        5 => (Bug::EndIsTorn, Verdict::Torn),
        _ => (Bug::DamageTakenForTorn, Verdict::Torn),
    };
    match planted::active(planted.0) {
        true => planted.1,
        false => TABLE[row].verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_meets_exactly_one_row() {
        for found in [Found::Nothing, Found::Bad, Found::Closed] {
            for stop in [Stop::Unclean, Stop::CleanHere, Stop::CleanElsewhere] {
                for (proof, leftover) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let seen = Seen {
                        found,
                        stop,
                        proof,
                        leftover,
                    };
                    assert_eq!(
                        TABLE.iter().filter(|row| row.meets(seen)).count(),
                        1,
                        "{seen:?}"
                    );
                    let damage = matches!(
                        decide(seen),
                        Verdict::DamageProven | Verdict::DamageCleanEnd
                    );
                    assert_eq!(damage, proof || stop == Stop::CleanElsewhere, "{seen:?}");
                    assert_eq!(
                        decide(seen) == Verdict::Clean,
                        !damage && stop == Stop::CleanHere,
                        "{seen:?}"
                    );
                }
            }
        }
    }
}
