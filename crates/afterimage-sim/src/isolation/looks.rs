//! What the clients do that takes no lasting lock: a look at one key, and snapshots.
//!
//! A snapshot is a transaction at its moment. It may live while its own client goes on with others, and shows the same then.

use super::client::{Client, Halt, LISTS, parse, rows};
use super::history::{Op, Outcome, Txn};
use super::wire::Event;
use afterimage::{Durability, Snapshot};

impl Client {
    /// One key, without a transaction.
    pub(super) fn glance(&mut self) -> Result<(), Halt> {
        let (key, began) = (self.key(), self.board.tick());
        let list = parse(key, self.database.get(&self.table, &key.to_be_bytes())?)?;
        self.has_seen(began, vec![Op::Read { key, list }]);
        Ok(())
    }

    /// Some lists as they are on stable storage, or after the last commit.
    pub(super) fn snapshot(&mut self) -> Result<(), Halt> {
        let began = self.board.tick();
        let latest = self.choices.chance(1, 2);
        let snapshot = if latest {
            self.database.snapshot_latest()?
        } else {
            self.database.snapshot()?
        };
        let mut ops = Vec::new();
        self.look(&snapshot, &mut ops)?;
        if self.choices.chance(1, 4) {
            match self.transaction() {
                Ok(()) | Err(Halt::Rolled) => {}
                Err(halt) => return Err(halt),
            }
            // What was seen before, and something else.
            for op in ops.clone() {
                if let Op::Read { key, .. } = op {
                    let list = parse(key, snapshot.get(&self.table, &key.to_be_bytes())?)?;
                    ops.push(Op::Read { key, list });
                }
            }
            self.look(&snapshot, &mut ops)?;
        }
        if latest {
            // A crash could take it back until then; what the other shows is vouched for already.
            snapshot.wait(Durability::Disk)?;
        }
        self.has_seen(began, ops);
        Ok(())
    }

    fn look(&mut self, snapshot: &Snapshot, ops: &mut Vec<Op>) -> Result<(), Halt> {
        let keys: Vec<_> = (0..1 + self.choices.below(3)).map(|_| self.key()).collect();
        let bytes: Vec<_> = keys.iter().map(|key| key.to_be_bytes()).collect();
        let lists = snapshot.get_many(&self.table, &bytes)?;
        for (key, list) in keys.into_iter().zip(lists) {
            let list = parse(key, list)?;
            ops.push(Op::Read { key, list });
        }
        if self.choices.chance(1, 3) {
            let from = self.key() / LISTS * LISTS;
            let to = from + LISTS;
            let range = from.to_be_bytes()..to.to_be_bytes();
            let found = rows(snapshot.scan::<[u8; 4], _>(&self.table, range)?)?;
            ops.push(Op::Scan { from, to, found });
        }
        Ok(())
    }

    /// A reading is told when it is vouched for: whoever was killed before has told nobody.
    fn has_seen(&mut self, began: u64, ops: Vec<Op>) {
        self.board.tell(Event::Asks(Txn {
            client: self.number,
            began,
            ended: self.board.tick(),
            outcome: Outcome::Committed,
            ops,
        }));
    }
}
