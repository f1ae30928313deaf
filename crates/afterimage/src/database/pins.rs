//! Who holds the log back: whatever keeps a segment from being given up, with where and for how much.

use std::time::Duration;

use afterimage_log::Lsn;

use super::handle::{Database, Shared};
use crate::error::Result;

/// Something that needs log, from one position on; got by [`Database::pins`], or from the `status` file of a database
/// that another process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// Who, or what.
    pub holder: PinHolder,
    /// The log position (LSN) from which on it needs log.
    pub lsn: u64,
    /// Bytes of log from there to the end.
    pub bytes: u64,
}

/// What can hold the log back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinHolder {
    /// An unfinished transaction: its rollback, or the recovery after a crash, reads its records. At the latest when the
    /// log from its first record on comes to `max_wal_size` it is rolled back.
    Transaction {
        /// What [`set_label`](crate::Transaction::set_label) has called it.
        label: String,
        /// Since when.
        age: Duration,
        /// Bytes of log that are its own, those kept for its rollback included.
        own_bytes: u64,
    },
    /// The page that has been dirty for longest: until it is written home, redo has to begin here.
    DirtyPage {
        /// Its number.
        page: u64,
    },
    /// The older of the two control copies names a checkpoint: a recovery from it would begin here. The next checkpoint moves
    /// it on.
    Checkpoint,
}

impl Database {
    /// Who holds the log back: unfinished transactions, the page that has been dirty for longest, the last checkpoints.
    /// Oldest need first, so the first is the one that decides how much log is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// use afterimage::PinHolder;
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let accounts = db.table("accounts")?;
    /// let mut tx = db.begin();
    /// tx.set_label("nightly interest");
    /// tx.put(&accounts, b"alice", b"101")?;
    /// let pins = db.pins()?;
    /// let holds = |holder: &PinHolder| matches!(holder, PinHolder::Transaction { label, .. } if label == "nightly interest");
    /// assert!(pins.iter().any(|pin| holds(&pin.holder)));
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn pins(&self) -> Result<Vec<Pin>> {
        Ok(self.enter()?.pins())
    }
}

impl Shared {
    pub(super) fn pins(&self) -> Vec<Pin> {
        let (now, end) = (self.io.now(), self.system.pager.log.next_lsn().get());
        let pin = |holder, lsn: u64| Pin {
            holder,
            lsn,
            bytes: end.saturating_sub(lsn),
        };
        let seats = self.system.seats.writers();
        let mut pins: Vec<Pin> = seats
            .iter()
            .filter_map(|seat| {
                let holder = PinHolder::Transaction {
                    label: seat.label(),
                    age: now.saturating_sub(seat.began()),
                    own_bytes: seat.own_log(),
                };
                Some(pin(holder, seat.first()?.get()))
            })
            .collect();
        if let Some((page, rec_lsn)) = self.system.pager.oldest_dirty_page() {
            pins.push(pin(PinHolder::DirtyPage { page: page.0 }, rec_lsn.get()));
        }
        let checkpoint = self.checkpointer.kept_lsn().map(Lsn::get);
        pins.extend(checkpoint.map(|lsn| pin(PinHolder::Checkpoint, lsn)));
        pins.sort_by_key(|pin| pin.lsn);
        pins
    }
}

/// A pin as one line of the `status` file.
pub(super) fn encode(pin: &Pin) -> String {
    let Pin { holder, lsn, bytes } = pin;
    match holder {
        PinHolder::Transaction {
            label,
            age,
            own_bytes,
        } => {
            let label = label.replace(char::is_control, " ");
            let age = age.as_micros();
            format!("pin {lsn} {bytes} transaction {age} {own_bytes} {label}\n")
        }
        PinHolder::DirtyPage { page } => format!("pin {lsn} {bytes} page {page}\n"),
        PinHolder::Checkpoint => format!("pin {lsn} {bytes} checkpoint\n"),
    }
}

/// What follows the word `pin`. `None`: it is not known here.
pub(super) fn decode(line: &str) -> Option<Pin> {
    let mut words = line.splitn(6, ' ');
    let lsn = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    let holder = match words.next()? {
        "transaction" => PinHolder::Transaction {
            age: Duration::from_micros(words.next()?.parse().ok()?),
            own_bytes: words.next()?.parse().ok()?,
            label: words.next().unwrap_or_default().to_owned(),
        },
        "page" => PinHolder::DirtyPage {
            page: words.next()?.parse().ok()?,
        },
        "checkpoint" => PinHolder::Checkpoint,
        _ => return None,
    };
    Some(Pin { holder, lsn, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_come_back_from_their_lines() {
        let transaction = |label: &str| PinHolder::Transaction {
            label: label.to_owned(),
            age: Duration::from_micros(12_345),
            own_bytes: 77,
        };
        for holder in [
            transaction(""),
            transaction("a b  c"),
            PinHolder::DirtyPage { page: 9 },
            PinHolder::Checkpoint,
        ] {
            let (lsn, bytes) = (4711, 12);
            let pin = Pin { holder, lsn, bytes };
            let line = encode(&pin);
            let line = line
                .strip_prefix("pin ")
                .and_then(|line| line.strip_suffix('\n'));
            assert_eq!(line.and_then(decode), Some(pin));
        }
        assert_eq!(decode("1 2 moon"), None);
        assert_eq!(decode("1"), None);
    }
}
