//! Tables beside the one that the clients share, logged and unlogged ones: made, filled, renamed and dropped under trouble, by
//! one who works alone.

use crate::choices::Choices;
use crate::engine::read_all;
use crate::store::StoreResult;
use afterimage::{Database, Error};

/// Makes, fills, renames or drops one of them.
///
/// # Errors
/// What the engine says.
pub fn work(database: &Database, choices: &mut Choices) -> afterimage::Result<()> {
    let name = |n: u64| format!("side{n}");
    let (one, other) = (name(choices.below(3)), name(choices.below(3)));
    match choices.below(5) {
        0 => database.drop_table(&one).map(drop),
        1 => match database.rename_table(&one, &other) {
            Err(Error::NoSuchTable { .. } | Error::TableExists { .. }) => Ok(()),
            result => result,
        },
        _ => {
            let made = match choices.chance(1, 2) {
                true => database.unlogged_table(&one),
                false => database.table(&one),
            };
            let table = match made {
                // There is a logged one.
                Err(Error::TableExists { .. }) => database.table(&one)?,
                made => made?,
            };
            for _ in 0..choices.below(6) {
                let key = [b's', choices.below(30) as u8];
                let length = *choices.pick(&[0, 30, 900, 900, 5000]);
                database.put(&table, &key, &vec![key[1]; length])?;
            }
            Ok(())
        }
    }
}

/// Every row of theirs is one that was put: the key's second byte fills it.
///
/// # Errors
/// What the engine refuses, or a row that is none of these.
pub fn read(database: &Database) -> StoreResult<()> {
    let told = |e: afterimage::Error| format!("{e} ({e:?})");
    for name in database.tables().map_err(told)? {
        if !name.starts_with("side") {
            continue;
        }
        let table = database.table(&name).map_err(told)?;
        for (key, value) in read_all(database, &table)? {
            if key.len() != 2 || value.iter().any(|&byte| byte != key[1]) {
                return Err(format!("table {name} has a row {key:?} that was never put"));
            }
        }
    }
    Ok(())
}
