//! The bank of the demo: what an account and a transfer look like in the database. Shared by the process that is
//! killed and by the one that checks, so that they cannot disagree about the books.
//!
//! Everything is text, so that `afterimage scan` shows it: `accounts` maps `00042` to its balance, `transfers` maps
//! `0001-0007-000000123` (round, client, serial number) to `00042 00077 17` (from, to, amount). In a hot bank every transfer
//! is also counted in the one row of `branches`: `main` to `123 4567` (transfers, money moved).

use crate::rng::Rng;
use std::fmt;

/// The table of balances.
pub const ACCOUNTS: &str = "accounts";
/// The table of transfers, each inserted in the transaction that moves its money.
pub const TRANSFERS: &str = "transfers";
/// The table of branches, of which a hot bank has one.
pub const BRANCHES: &str = "branches";
/// The key of the one branch.
pub const BRANCH: &[u8] = b"main";
/// How many accounts there are.
pub const ACCOUNT_COUNT: u32 = 10_000;
/// What every account starts with.
pub const OPENING_BALANCE: i64 = 1_000;
/// What all accounts hold together, always.
pub const TOTAL: i64 = ACCOUNT_COUNT as i64 * OPENING_BALANCE;
/// The largest amount that is moved at once.
const AMOUNT_MAX: u64 = 200;

/// The key of an account.
pub fn account_key(account: u32) -> Vec<u8> {
    format!("{account:05}").into_bytes()
}

/// The account that a key names.
pub fn parse_account(key: &[u8]) -> Option<u32> {
    text(key)?
        .parse()
        .ok()
        .filter(|&account| account < ACCOUNT_COUNT)
}

/// A balance as it is stored.
pub fn balance_value(balance: i64) -> Vec<u8> {
    balance.to_string().into_bytes()
}

/// The balance that a stored value says.
pub fn parse_balance(value: &[u8]) -> Option<i64> {
    text(value)?.parse().ok()
}

/// A transfer's name: unique over all rounds of a demo, and ordered as its key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId {
    /// Which life of the bank process made it, from 1.
    pub round: u16,
    /// Which client.
    pub client: u16,
    /// The client's own count.
    pub serial: u32,
}

impl TransferId {
    /// The key under which the transfer is stored.
    pub fn key(self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// The transfer that a key, or a line of the child's, names.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let mut parts = text(key)?.split('-');
        let id = Self {
            round: parts.next()?.parse().ok()?,
            client: parts.next()?.parse().ok()?,
            serial: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(id)
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:05}-{:05}-{:010}",
            self.round, self.client, self.serial
        )
    }
}

/// Money from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The account that pays.
    pub from: u32,
    /// The account that receives; never the one that pays.
    pub to: u32,
    /// How much; 0 marks a transfer that is given up before its commit, whose row must never be seen afterwards.
    pub amount: i64,
}

impl Transfer {
    /// A random transfer between two different accounts.
    pub fn random(rng: &mut Rng) -> Self {
        let count = u64::from(ACCOUNT_COUNT);
        let from = rng.below(count);
        let to = (from + 1 + rng.below(count - 1)) % count;
        Self {
            from: from as u32,
            to: to as u32,
            amount: 1 + rng.below(AMOUNT_MAX) as i64,
        }
    }

    /// The row's value.
    pub fn value(&self) -> Vec<u8> {
        format!("{:05} {:05} {}", self.from, self.to, self.amount).into_bytes()
    }

    /// The transfer that a row's value says.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = text(value)?.split(' ');
        let from = parse_account(words.next()?.as_bytes())?;
        let to = parse_account(words.next()?.as_bytes())?;
        let amount = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { from, to, amount })
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What a branch has done: the row that every transfer of a hot bank changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// How many transfers.
    pub transfers: u64,
    /// How much they moved.
    pub moved: i64,
}

impl Branch {
    /// One transfer more.
    pub fn add(&mut self, transfer: &Transfer) {
        self.transfers += 1;
        self.moved += transfer.amount;
    }

    /// The row's value.
    pub fn value(&self) -> Vec<u8> {
        format!("{} {}", self.transfers, self.moved).into_bytes()
    }

    /// The branch that a row's value says.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (transfers, moved) = text(value)?.split_once(' ')?;
        Some(Self {
            transfers: transfers.parse().ok()?,
            moved: moved.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_transfers_come_back_and_sort_as_their_keys() {
        let id = TransferId {
            round: 3,
            client: 15,
            serial: 70_000,
        };
        assert_eq!(TransferId::parse(&id.key()), Some(id));
        let later = TransferId {
            serial: 1_000_000,
            ..id
        };
        assert!(id < later && id.key() < later.key());
        assert_eq!(TransferId::parse(b"1-2"), None);
        assert_eq!(TransferId::parse(b"1-2-3-4"), None);

        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            let transfer = Transfer::random(&mut rng);
            assert_ne!(transfer.from, transfer.to);
            assert_eq!(Transfer::parse(&transfer.value()), Some(transfer));
        }
        assert_eq!(parse_account(b"10000"), None);
    }
}
