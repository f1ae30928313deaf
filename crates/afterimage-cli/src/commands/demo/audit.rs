//! The audit: reads the books after a crash and judges them by what the clients were told, trusting nothing else.
//!
//! Every transfer row is replayed from the opening balances, in one pass, and each account is compared exactly. So a
//! transfer of which the database kept only a part shows, whatever the part: a debit without credit or without row, a
//! row without its money, a row of a transfer that was given up.

use super::bank::{self, Branch, Transfer, TransferId};
use super::process::Heard;
use crate::failure::Failure;
use crate::open::from_engine;
use afterimage::Database;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the audit found.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Transfers that clients were told are durable.
    pub acknowledged: u64,
    /// Transfers found in the database.
    pub recovered: u64,
    /// Acknowledged transfers that are not there.
    pub lost: u64,
    /// Transfers seen in snapshots that are not there.
    pub unseen: u64,
    /// How often snapshots were looked at while the bank worked.
    pub looks: u64,
    /// Accounts and rows that only a part of a transfer explains, and snapshots whose books were wrong.
    pub half: u64,
    /// What all accounts hold together.
    pub sum: i64,
    /// The first thing that is wrong, for a person to look at.
    pub first_wrong: Option<String>,
    /// How long the audit took.
    pub took: Duration,
}

impl Audit {
    /// Whether the sum of all balances is what it was on opening day.
    pub fn sum_ok(&self) -> bool {
        self.sum == bank::TOTAL
    }

    /// Whether everything is as promised.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.unseen == 0 && self.half == 0 && self.sum_ok()
    }

    fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.first_wrong.get_or_insert_with(what);
    }
}

/// Audits the books against what the bank has said; the acknowledged transfers must be sorted.
pub fn audit(db: &Database, dir: &Path, heard: &Heard, hot: bool) -> Result<Audit, Failure> {
    let start = Instant::now();
    let mut audit = Audit {
        acknowledged: heard.acknowledged.len() as u64,
        looks: heard.looks,
        ..Audit::default()
    };
    if let Some(wrong) = &heard.wrong {
        audit.half += 1;
        audit.wrong(|| wrong.clone());
    }
    let told = |e| from_engine(e, dir);
    let (expected, branch) = replay(db, &heard.acknowledged, &mut audit).map_err(told)?;
    compare(db, &expected, &mut audit).map_err(told)?;
    look_for(db, &heard.seen, &mut audit).map_err(told)?;
    if hot {
        compare_branch(db, branch, &mut audit).map_err(told)?;
    }
    audit.took = start.elapsed();
    Ok(audit)
}

/// Reads all transfers, and gives the balances that follow from them, and what the branch has done.
fn replay(
    db: &Database,
    acknowledged: &[TransferId],
    audit: &mut Audit,
) -> afterimage::Result<(Vec<i64>, Branch)> {
    let mut balances = vec![bank::OPENING_BALANCE; bank::ACCOUNT_COUNT as usize];
    let mut branch = Branch::default();
    let mut awaited = acknowledged.iter().peekable();
    let transfers = db.table(bank::TRANSFERS)?;
    let mut tx = db.begin();
    for row in tx.scan::<[u8], _>(&transfers, ..)? {
        let (key, value) = row?;
        let (Some(id), Some(transfer)) = (TransferId::parse(&key), Transfer::parse(&value)) else {
            audit.half += 1;
            audit.wrong(|| format!("the transfer row {} cannot be read", key.escape_ascii()));
            continue;
        };
        while let Some(missing) = awaited.next_if(|&&next| next < id) {
            lost(*missing, audit);
        }
        awaited.next_if(|&&next| next == id);
        audit.recovered += 1;
        if transfer.amount == 0 {
            audit.half += 1;
            audit.wrong(|| format!("transfer {id} was given up, and its row is there"));
        }
        balances[transfer.from as usize] -= transfer.amount;
        balances[transfer.to as usize] += transfer.amount;
        branch.add(&transfer);
    }
    awaited.for_each(|&missing| lost(missing, audit));
    Ok((balances, branch))
}

/// Compares the row that everybody changed with what the transfers add up to.
fn compare_branch(db: &Database, expected: Branch, audit: &mut Audit) -> afterimage::Result<()> {
    let stored = db.get(&db.table(bank::BRANCHES)?, bank::BRANCH)?;
    let found = stored
        .as_deref()
        .map_or(Some(Branch::default()), Branch::parse);
    if found != Some(expected) {
        audit.half += 1;
        audit.wrong(|| format!("the branch has {found:?}; its transfers add up to {expected:?}"));
    }
    Ok(())
}

fn lost(id: TransferId, audit: &mut Audit) {
    audit.lost += 1;
    audit.wrong(|| format!("transfer {id} was acknowledged, and is not there"));
}

/// What a snapshot has shown, is there for good.
fn look_for(db: &Database, seen: &[TransferId], audit: &mut Audit) -> afterimage::Result<()> {
    let transfers = db.table(bank::TRANSFERS)?;
    for id in seen {
        if db.get(&transfers, &id.key())?.is_none() {
            audit.unseen += 1;
            audit.wrong(|| format!("transfer {id} was seen in a snapshot, and is not there"));
        }
    }
    Ok(())
}

/// Compares every account with the balance that the transfers give it.
fn compare(db: &Database, expected: &[i64], audit: &mut Audit) -> afterimage::Result<()> {
    let accounts = db.table(bank::ACCOUNTS)?;
    let mut found = vec![None; expected.len()];
    let mut tx = db.begin();
    for row in tx.scan::<[u8], _>(&accounts, ..)? {
        let (key, value) = row?;
        match (bank::parse_account(&key), bank::parse_balance(&value)) {
            (Some(account), Some(balance)) => {
                audit.sum += balance;
                found[account as usize] = Some(balance);
            }
            _ => {
                audit.half += 1;
                audit.wrong(|| format!("the account row {} cannot be read", key.escape_ascii()));
            }
        }
    }
    for (account, (found, expected)) in found.iter().zip(expected).enumerate() {
        if *found != Some(*expected) {
            audit.half += 1;
            let found = found.map_or_else(
                || "is not there".to_string(),
                |balance| format!("holds {balance}"),
            );
            audit.wrong(|| {
                format!("account {account:05} {found}; its transfers add up to {expected}")
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage::Options;
    use afterimage_io::sim::Sim;

    /// What a snapshot has shown is asked for; what one has found wrong is not forgotten.
    #[test]
    fn what_readers_have_seen_is_asked_for() {
        let world = Sim::new(1);
        let options = Options::new().io(world.io()).background(false);
        let db = options.open("bank").expect("opens");
        let id = TransferId {
            round: 1,
            client: 0,
            serial: 1,
        };
        let heard = Heard {
            seen: vec![id],
            looks: 2,
            wrong: Some("a snapshot was wrong".to_string()),
            ..Heard::default()
        };
        let found = audit(&db, Path::new("bank"), &heard, false).expect("reads");
        assert_eq!((found.unseen, found.looks), (1, 2));
        assert!(!found.is_clean());
        let first = found.first_wrong.expect("something is wrong");
        assert_eq!(first, "a snapshot was wrong");
    }

    /// A transfer that the branch has not counted, or has counted twice, shows.
    #[test]
    fn an_update_of_the_hot_row_that_is_lost_shows() {
        for (counted, half) in [(1, 1), (2, 0), (3, 1)] {
            let world = Sim::new(1);
            let options = Options::new().io(world.io()).background(false);
            let db = options.open("bank").expect("opens");
            let branches = db.table(bank::BRANCHES).expect("creates");
            let branch = Branch {
                transfers: counted,
                moved: 10,
            };
            db.put(&branches, bank::BRANCH, &branch.value())
                .expect("puts");
            let mut audit = Audit::default();
            let expected = Branch {
                transfers: 2,
                moved: 10,
            };
            compare_branch(&db, expected, &mut audit).expect("reads");
            assert_eq!(audit.half, half, "{counted}");
        }
    }
}
