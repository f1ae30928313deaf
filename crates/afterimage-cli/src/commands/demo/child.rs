//! The bank process: opens the database, lets its clients transfer money, and says so on stdout, until it is killed.
//!
//! It speaks lines to its parent: `ready` once the bank is open, `ack ID` when the commit of a transfer has returned
//! (never before: that is the promise under test), what `reader` says, `closed` after an orderly end. It listens on stdin: `stop` asks for
//! that orderly end; the end of stdin means that the parent has gone, and then this process goes too, at once.

use super::bank::{self, Branch, Transfer, TransferId};
use super::reader;
use crate::commands::serve::Page;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::rng::Rng;
use crate::settings::Settings;
use afterimage::{Database, Table, Transaction};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// One transfer in so many hesitates halfway and is given up, so that there is something to roll back, and so that a
/// kill finds transactions unfinished whose changes are in the log already.
const GIVEN_UP_ONE_IN: u64 = 100;
/// The longest hesitation, in microseconds.
const HESITATION_MAX: u64 = 10_000;

/// What the parent says on the command line.
#[derive(clap::Args)]
pub struct Args {
    /// The database directory
    #[arg(long)]
    dir: PathBuf,
    /// Concurrent clients
    #[arg(long)]
    clients: u16,
    /// The demo's seed
    #[arg(long)]
    seed: u64,
    /// Which life of the bank this is
    #[arg(long)]
    round: u16,
    /// Readers of snapshots
    #[arg(long)]
    readers: u16,
    /// Whether every transfer changes the row of the one branch
    #[arg(long)]
    hot: bool,
    #[command(flatten)]
    page: Page,
}

/// Works until told to stop, or killed.
pub fn run(args: &Args, settings: &Settings) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    thread::spawn(move || obey(&asked));
    let told = |e| from_engine(e, &args.dir);
    let db = open::for_writing(&args.dir, settings)?;
    let books = Books {
        accounts: db.table(bank::ACCOUNTS).map_err(told)?,
        transfers: db.table(bank::TRANSFERS).map_err(told)?,
        branches: args
            .hot
            .then(|| db.table(bank::BRANCHES))
            .transpose()
            .map_err(told)?,
    };
    let page = args.page.serve(&db)?;
    say("ready")?;
    thread::scope(|scope| {
        let (db, books, stop, told) = (&db, &books, &*stop, &told);
        let clients = (0..args.clients)
            .map(|client| scope.spawn(move || serve(args, client, db, books, stop)));
        let readers =
            (0..args.readers).map(|_| scope.spawn(move || reader::look_on(db, books, stop, told)));
        let all: Vec<_> = clients.chain(readers).collect();
        all.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Failure::refused("a client of the bank panicked")))
        })
    })?;
    drop(page);
    db.close().map_err(told)?;
    say("closed")
}

/// Waits for the parent's word, or for its end.
fn obey(stop: &AtomicBool) {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(read) if read > 0 && line.trim() == "stop" => stop.store(true, Ordering::Relaxed),
        _ => std::process::exit(0),
    }
}

/// The bank's tables.
pub struct Books {
    /// Balances.
    pub accounts: Table,
    /// Transfers.
    pub transfers: Table,
    /// Of a hot bank, its branches.
    pub branches: Option<Table>,
}

/// One client: transfer after transfer, each reported once its commit has returned.
fn serve(
    args: &Args,
    client: u16,
    db: &Database,
    books: &Books,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let mut rng = Rng::for_stream(args.seed, u64::from(args.round) << 16 | u64::from(client));
    let mut id = TransferId {
        round: args.round,
        client,
        serial: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        id.serial += 1;
        let transfer = Transfer::random(&mut rng);
        if rng.below(GIVEN_UP_ONE_IN) == 0 {
            let hesitation = Duration::from_micros(rng.below(HESITATION_MAX));
            give_up(db, books, id, transfer, hesitation).map_err(told)?;
            continue;
        }
        let moved = db
            .transact(|tx| {
                move_money(tx, books, transfer).and_then(|moved| record(tx, books, id, moved))
            })
            .map_err(told)?;
        if moved {
            say(&format!("ack {id}"))?;
        }
    }
    Ok(())
}

/// Moves what the account has of the amount wanted, and tells what was moved.
fn move_money(
    tx: &mut Transaction,
    books: &Books,
    wanted: Transfer,
) -> afterimage::Result<Transfer> {
    let balance = |tx: &mut Transaction, account| -> afterimage::Result<i64> {
        let stored = tx.get_for_update(&books.accounts, &bank::account_key(account))?;
        // A balance that cannot be read counts as nothing here; the parent's audit is who judges the books.
        Ok(stored.as_deref().and_then(bank::parse_balance).unwrap_or(0))
    };
    let (from, to) = (balance(tx, wanted.from)?, balance(tx, wanted.to)?);
    let amount = wanted.amount.min(from);
    if amount > 0 {
        tx.put(
            &books.accounts,
            &bank::account_key(wanted.from),
            &bank::balance_value(from - amount),
        )?;
        tx.put(
            &books.accounts,
            &bank::account_key(wanted.to),
            &bank::balance_value(to + amount),
        )?;
    }
    Ok(Transfer { amount, ..wanted })
}

/// Inserts the transfer's row; nothing where nothing was moved.
fn record(
    tx: &mut Transaction,
    books: &Books,
    id: TransferId,
    moved: Transfer,
) -> afterimage::Result<bool> {
    if moved.amount == 0 {
        return Ok(false);
    }
    tx.put(&books.transfers, &id.key(), &moved.value())?;
    count_in_branch(tx, books, &moved)?;
    Ok(true)
}

/// The hot row comes last: it is locked from here to the commit, and no longer.
fn count_in_branch(
    tx: &mut Transaction,
    books: &Books,
    moved: &Transfer,
) -> afterimage::Result<()> {
    let Some(branches) = &books.branches else {
        return Ok(());
    };
    let stored = tx.get_for_update(branches, bank::BRANCH)?;
    let mut branch = stored
        .as_deref()
        .and_then(Branch::parse)
        .unwrap_or_default();
    branch.add(moved);
    tx.put(branches, bank::BRANCH, &branch.value())
}

/// Does everything that a transfer does, marks its row, hesitates (not with the hot row in hand), and takes it all back.
fn give_up(
    db: &Database,
    books: &Books,
    id: TransferId,
    transfer: Transfer,
    hesitation: Duration,
) -> afterimage::Result<()> {
    let mut tx = db.begin();
    let done = move_money(&mut tx, books, transfer).and_then(|moved| {
        let marked = Transfer { amount: 0, ..moved };
        tx.put(&books.transfers, &id.key(), &marked.value())?;
        thread::sleep(hesitation);
        count_in_branch(&mut tx, books, &moved)
    });
    match done {
        Ok(()) => tx.rollback(),
        Err(error) if error.is_retryable() => tx.rollback(),
        Err(error) => Err(error),
    }
}

/// One line to the parent, in one write.
pub fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}
