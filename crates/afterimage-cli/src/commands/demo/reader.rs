//! A reader in the bank process: looks at snapshots while the clients move money, and says what it has seen.
//!
//! It says `saw ID` when the books were right and that transfer, the last in them, was there: a snapshot shows nothing that
//! a crash can take back, so the audit asks for it as for one that was acknowledged. It says `wrong ...` when they were not.

use super::bank::{self, Branch, TransferId};
use super::child::{Books, say};
use crate::failure::Failure;
use afterimage::{Database, Snapshot};
use std::sync::atomic::{AtomicBool, Ordering};

/// Looks, again and again.
pub fn look_on(
    db: &Database,
    books: &Books,
    stop: &AtomicBool,
    told: &impl Fn(afterimage::Error) -> Failure,
) -> Result<(), Failure> {
    while !stop.load(Ordering::Relaxed) {
        let snapshot = db.snapshot().map_err(told)?;
        match look(&snapshot, books).map_err(told)? {
            Ok(Some(last)) => say(&format!("saw {last}"))?,
            Ok(None) => say("saw nothing")?,
            Err(wrong) => say(&format!("wrong {wrong}"))?,
        }
    }
    Ok(())
}

/// The last transfer in the snapshot's books, or what is wrong with them.
fn look(
    snapshot: &Snapshot,
    books: &Books,
) -> afterimage::Result<Result<Option<TransferId>, String>> {
    let at = format!("in a snapshot at LSN {}", snapshot.lsn());
    let mut sum = 0;
    for row in snapshot.scan::<[u8], _>(&books.accounts, ..)? {
        sum += bank::parse_balance(&row?.1).unwrap_or(0);
    }
    if sum != bank::TOTAL {
        return Ok(Err(format!("{at} the accounts hold {sum} together")));
    }
    if let Some(branches) = &books.branches {
        let stored = snapshot.get(branches, bank::BRANCH)?;
        let branch = stored
            .as_deref()
            .and_then(Branch::parse)
            .unwrap_or_default();
        let transfers = snapshot.scan::<[u8], _>(&books.transfers, ..)?;
        let count = transfers.count() as u64;
        if branch.transfers != count {
            let counted = branch.transfers;
            return Ok(Err(format!(
                "{at} the branch has counted {counted} transfers of {count}"
            )));
        }
    }
    let mut transfers = snapshot.scan::<[u8], _>(&books.transfers, ..)?;
    let last = transfers.next_back().transpose()?;
    Ok(Ok(last.and_then(|(key, _)| TransferId::parse(&key))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage::Options;
    use afterimage_io::sim::Sim;

    /// Books that do not add up, and a branch that has counted wrong, show.
    #[test]
    fn a_wrong_sum_shows() {
        let world = Sim::new(1);
        let options = Options::new().io(world.io()).background(false);
        let db = options.open("bank").expect("opens");
        let table = |name| db.table(name).expect("creates");
        let mut books = Books {
            accounts: table(bank::ACCOUNTS),
            transfers: table(bank::TRANSFERS),
            branches: None,
        };
        let seen = |books: &Books| {
            let snapshot = db.snapshot().expect("opens");
            look(&snapshot, books).expect("reads")
        };
        assert!(seen(&books).is_err(), "no accounts");
        let put = |table, key: &[u8], value: Vec<u8>| db.put(table, key, &value).expect("puts");
        put(
            &books.accounts,
            &bank::account_key(0),
            bank::balance_value(bank::TOTAL),
        );
        assert_eq!(seen(&books), Ok(None));
        let id = TransferId {
            round: 1,
            client: 2,
            serial: 3,
        };
        put(&books.transfers, &id.key(), b"00000 00001 5".to_vec());
        assert_eq!(seen(&books), Ok(Some(id)));
        books.branches = Some(table(bank::BRANCHES));
        assert!(seen(&books).is_err_and(|wrong| wrong.contains("counted 0 transfers of 1")));
    }
}
