//! The rows: each says who made it and in which of his transactions, and every other byte follows from that, so that each row
//! can be judged alone, and all of them together against the numbers of the last transactions.
//!
//! Transaction `n` of a client writes number `n` into all of his `GROUP` rows, adds journal row `n`, removes journal row
//! `n - WINDOW`, and carries an amount from one account of everybody's to another. So what of it is missing shows, and so does
//! what is there too much.

use crate::dice::mixed_of;
use std::collections::BTreeMap;

/// Clients, at most.
pub const CLIENTS: usize = 4;
/// Rows of a client that all bear the number of his last transaction.
pub const GROUP: u8 = 3;
/// Journal rows that a client keeps.
pub const WINDOW: u64 = 12;
/// Accounts that all clients share.
pub const ACCOUNTS: u64 = 8;

/// The number of each client's last transaction; 0 before the first.
pub type Last = [u64; CLIENTS];

/// The key of one of a client's group rows.
pub fn group_key(client: usize, row: u8) -> Vec<u8> {
    vec![b'g', client as u8, row]
}

/// The key of a client's journal row of transaction `n`.
pub fn journal_key(client: usize, n: u64) -> Vec<u8> {
    let mut key = vec![b'j', client as u8];
    key.extend(n.to_be_bytes());
    key
}

/// The key of an account.
pub fn account_key(account: u64) -> Vec<u8> {
    vec![b'a', account as u8]
}

/// The value under `key` that transaction `n` of `client` writes.
pub fn value(key: &[u8], client: usize, n: u64) -> Vec<u8> {
    let seed = mixed_of(&[client as u64, n, key.iter().map(|&b| u64::from(b)).sum()]);
    let length = match seed % 64 {
        0 => 6_000 + seed / 64 % 14_000,
        1..5 => 600 + seed / 64 % 1_500,
        _ => 10 + seed / 64 % 150,
    };
    let mut value = vec![client as u8];
    value.extend(n.to_le_bytes());
    let mut word = seed;
    while value.len() < length as usize {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        value.extend((word >> 16).to_le_bytes());
    }
    value
}

/// What transaction `n` of `client` carries: from which account to which other one, and how much.
pub fn carried(client: usize, n: u64) -> (u64, u64, i64) {
    let chance = mixed_of(&[client as u64, n]);
    let from = chance % ACCOUNTS;
    let to = (from + 1 + chance / 8 % (ACCOUNTS - 1)) % ACCOUNTS;
    (from, to, 1 + (chance >> 32) as i64 % 1000)
}

/// An account's value.
pub fn balance_value(balance: i64) -> Vec<u8> {
    balance.to_le_bytes().to_vec()
}

/// The balance in an account's value.
pub fn balance_of(value: &[u8]) -> Result<i64, String> {
    let bytes = value
        .try_into()
        .map_err(|_| format!("a balance of {} bytes", value.len()))?;
    Ok(i64::from_le_bytes(bytes))
}

/// Judges all rows of the table, and returns the number of each client's last transaction.
///
/// # Errors
/// What is not as it can be after whole transactions, each client's in order.
pub fn judge(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Last, String> {
    let mut last = [0; CLIENTS];
    for (client, last) in last.iter_mut().enumerate() {
        if let Some(first) = rows.get(&group_key(client, 0)) {
            *last = number_in(first)?;
        }
    }
    let wanted = after(&last);
    for (key, value) in rows {
        match wanted.get(key) {
            None => return Err(format!("there is a row {key:?} too much, last {last:?}")),
            Some(wanted) if wanted != value => {
                return Err(format!(
                    "row {key:?} does not hold what the last transactions {last:?} make of it: {}",
                    told(value, wanted)
                ));
            }
            Some(_) => {}
        }
    }
    match wanted.keys().find(|key| !rows.contains_key(*key)) {
        None => Ok(last),
        Some(key) => Err(format!("row {key:?} is missing, last {last:?}")),
    }
}

/// The whole table after each client's transactions up to `last`.
fn after(last: &Last) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let mut balances = [None; ACCOUNTS as usize];
    for (client, &last) in last.iter().enumerate().filter(|(_, last)| **last > 0) {
        for row in 0..GROUP {
            let key = group_key(client, row);
            rows.insert(key.clone(), value(&key, client, last));
        }
        for n in last.saturating_sub(WINDOW) + 1..=last {
            let key = journal_key(client, n);
            rows.insert(key.clone(), value(&key, client, n));
        }
        for n in 1..=last {
            let (from, to, amount) = carried(client, n);
            *balances[from as usize].get_or_insert(0) -= amount;
            *balances[to as usize].get_or_insert(0) += amount;
        }
    }
    for (account, balance) in balances.iter().enumerate() {
        if let Some(balance) = balance {
            rows.insert(account_key(account as u64), balance_value(*balance));
        }
    }
    rows
}

fn number_in(value: &[u8]) -> Result<u64, String> {
    let number = value.get(1..9).and_then(|bytes| bytes.try_into().ok());
    number
        .map(u64::from_le_bytes)
        .ok_or_else(|| format!("a row of {} bytes holds no number", value.len()))
}

fn told(value: &[u8], wanted: &[u8]) -> String {
    let head = |bytes: &[u8]| format!("{} bytes, {:?}", bytes.len(), &bytes[..bytes.len().min(9)]);
    format!("{} instead of {}", head(value), head(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_transactions_pass() {
        for last in [[0; CLIENTS], [1, 0, 0, 7], [40, 13, 12, 1]] {
            assert_eq!(judge(&after(&last)), Ok(last));
        }
    }

    #[test]
    fn half_a_transaction_shows() {
        let last = [20, 3, 0, 0];
        let (whole, next) = (after(&last), after(&[21, 3, 0, 0]));
        let changed: Vec<_> = next
            .iter()
            .filter(|(key, value)| whole.get(*key) != Some(value))
            .collect();
        assert!(changed.len() >= 6, "group, journal, two accounts");
        for (key, _) in changed {
            let mut half = next.clone();
            match whole.get(key) {
                Some(before) => half.insert(key.clone(), before.clone()),
                None => half.remove(key),
            };
            assert!(judge(&half).is_err(), "without {key:?}");
        }
        let gone = whole.keys().find(|key| !next.contains_key(*key));
        let mut kept = next.clone();
        let gone = gone.expect("the oldest row of the journal").clone();
        kept.insert(gone.clone(), whole[&gone].clone());
        assert!(judge(&kept).is_err());
    }

    #[test]
    fn one_byte_shows() {
        let rows = after(&[5, 5, 5, 5]);
        for (key, value) in &rows {
            let mut damaged = rows.clone();
            let mut bytes = value.clone();
            *bytes.last_mut().expect("no value is empty") ^= 1;
            damaged.insert(key.clone(), bytes);
            assert!(judge(&damaged).is_err(), "{key:?}");
        }
    }
}
