//! What the world outside knows: the last transaction of each client that was acknowledged, and the last that was begun.
//!
//! A client begins one transaction after the other, so what recovery may find is what was acknowledged, or one more.

use crate::rows::{CLIENTS, Last};

/// Acknowledged at least, begun at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    least: Last,
    most: Last,
    /// Transactions acknowledged since these books were opened.
    pub acknowledged: u64,
}

impl Books {
    /// Books of a life that was recorded: what was acknowledged at least, and begun at most.
    pub fn between(least: Last, most: Last) -> Books {
        Books {
            least,
            most,
            acknowledged: 0,
        }
    }

    /// An open has found the table after the transactions up to `found`. From now on that must not be lost: it was seen.
    ///
    /// # Errors
    /// When something that was acknowledged is lost, or something is there that nobody has begun.
    pub fn found(&mut self, found: &Last) -> Result<(), String> {
        for client in 0..CLIENTS {
            let (least, most, found) = (self.least[client], self.most[client], found[client]);
            if found < least {
                return Err(format!(
                    "LOST: client {client} had transaction {least} acknowledged, and {found} is the last that is there"
                ));
            }
            if found > most {
                return Err(format!(
                    "client {client} had begun transaction {most}, and {found} is there"
                ));
            }
        }
        self.least = *found;
        // Each client may begin one at once.
        self.most = found.map(|n| n + 1);
        Ok(())
    }

    /// A commit has returned.
    ///
    /// # Errors
    /// When that is not the transaction that was under way: the rig itself is wrong.
    pub fn acknowledged(&mut self, client: usize, n: u64) -> Result<(), String> {
        if client >= CLIENTS || n != self.least[client] + 1 {
            return Err(format!(
                "the rig is wrong: client {client} tells of transaction {n}"
            ));
        }
        self.least[client] = n;
        self.most[client] = n + 1;
        self.acknowledged += 1;
        Ok(())
    }

    /// Books of a new, empty database; the count of acknowledgements goes on.
    pub fn begin_anew(&mut self) {
        *self = Books {
            acknowledged: self.acknowledged,
            ..Books::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_must_be_found() {
        let mut books = Books::default();
        books.found(&[0; CLIENTS]).expect("a new database");
        books.acknowledged(1, 1).expect("the first");
        books.acknowledged(1, 2).expect("the second");
        assert!(books.clone().found(&[0, 1, 0, 0]).is_err(), "lost");
        assert!(books.clone().found(&[0, 2, 0, 0]).is_ok());
        assert!(
            books.clone().found(&[1, 3, 0, 0]).is_ok(),
            "not told in time"
        );
        assert!(books.clone().found(&[0, 4, 0, 0]).is_err(), "never begun");
        assert!(books.acknowledged(1, 4).is_err());
    }

    #[test]
    fn what_was_seen_must_stay() {
        let mut books = Books::default();
        books.found(&[0; CLIENTS]).expect("a new database");
        books.found(&[1, 0, 0, 0]).expect("not told in time");
        assert!(books.found(&[0, 0, 0, 0]).is_err());
    }
}
