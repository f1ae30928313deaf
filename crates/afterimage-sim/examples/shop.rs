//! A shop that loses parcels, found by crashing it: an order and the message that has it sent are written in two
//! transactions, where one was needed.
//!
//! Run with `cargo run -p afterimage-sim --example shop`; `crates/afterimage-sim/tests/apps.rs` holds it to what it says here.

use afterimage::{Database, Result, Table};
use afterimage_sim::{AppResult, Counterexample, Explore, Machine, explore};

/// The application: it would be in a crate of its own, and know nothing of simulations.
pub struct Shop {
    db: Database,
    orders: Table,
    outbox: Table,
}

impl Shop {
    /// Opens the shop's books.
    pub fn open(options: afterimage::Options) -> Result<Shop> {
        let db = options.open("shop")?;
        let (orders, outbox) = (db.table("orders")?, db.table("outbox")?);
        Ok(Shop { db, orders, outbox })
    }

    /// Takes an order: the wrong way.
    pub fn order(&self, id: &str) -> Result<()> {
        self.db.put(&self.orders, id.as_bytes(), b"to be sent")?;
        // What sends the parcels reads the outbox, not the orders.
        self.db.put(&self.outbox, id.as_bytes(), b"send a parcel")
    }

    /// Takes an order: the right way. Both rows, or none.
    pub fn order_in_one_transaction(&self, id: &str) -> Result<()> {
        self.db.transact(|tx| {
            tx.put(&self.orders, id.as_bytes(), b"to be sent")?;
            tx.put(&self.outbox, id.as_bytes(), b"send a parcel")
        })
    }
}

/// The invariant: every order is in the outbox, and every order that a customer was told of is there.
fn every_order_is_sent(shop: &Shop, told: &[String]) -> AppResult {
    let mut tx = shop.db.begin();
    for id in told {
        assert!(
            tx.get(&shop.orders, id.as_bytes())?.is_some(),
            "{id} was confirmed, and is gone"
        );
    }
    let orders: Vec<_> = tx
        .scan::<[u8], _>(&shop.orders, ..)?
        .collect::<Result<_>>()?;
    for (id, _) in orders {
        let sent = tx.get(&shop.outbox, &id)?.is_some();
        assert!(sent, "{} will never be sent", String::from_utf8_lossy(&id));
    }
    Ok(())
}

/// Three orders, taken by `order`.
pub fn exploration(order: fn(&Shop, &str) -> Result<()>) -> Explore<Shop> {
    explore(|machine: &Machine| Ok(Shop::open(machine.options())?))
        .work(move |shop, client| {
            for id in ["order 1", "order 2", "order 3"] {
                order(shop, id)?;
                client.acknowledge(id);
            }
            Ok(())
        })
        .check(every_order_is_sent)
}

/// What crashes find in the wrong way, and that they find nothing in the right one.
///
/// # Errors
/// When it is the other way round.
pub fn both() -> std::result::Result<(Box<Counterexample>, String), String> {
    let Err(wrong) = exploration(Shop::order).try_run() else {
        return Err("two transactions, and no crash came between them".to_string());
    };
    match exploration(Shop::order_in_one_transaction).try_run() {
        Ok(report) => Ok((wrong, report.to_string())),
        Err(e) => Err(e.to_string()),
    }
}

#[allow(
    dead_code,
    reason = "the test that runs this file has a main of its own"
)]
fn main() -> std::result::Result<(), String> {
    let (wrong, right) = both()?;
    println!("in two transactions: {wrong}");
    println!("in one transaction:  it holds\n\n{right}");
    Ok(())
}
