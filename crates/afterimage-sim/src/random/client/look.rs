//! A client looks at a range: at a few rows of it, from either end, each as the history has it, and at what is not there;
//! then it may delete the range, or put a row into it. Others do the same beside it.

use super::{Client, Halt, KEYS, Step};
use std::ops::Bound;

impl Client {
    /// Some of the common keys.
    pub(super) fn look(&mut self) -> Step<()> {
        let mut open = self.begin()?;
        let low = format!("k{:02}", self.choices.below(KEYS)).into_bytes();
        let high = format!("k{:02}", self.choices.below(KEYS) + 1).into_bytes();
        let most = self.choices.below(6) as usize;
        let backwards = self.choices.chance(1, 2);
        let range = (Bound::Included(low.clone()), Bound::Excluded(high.clone()));
        let scan = open.transaction.scan::<Vec<u8>, _>(&self.table, range);
        let rows = scan.and_then(|scan| {
            if backwards {
                scan.rev()
                    .take(most)
                    .collect::<afterimage::Result<Vec<_>>>()
            } else {
                scan.take(most).collect()
            }
        });
        let rows = rows.map_err(|e| self.abandon(&open, "scan", &e))?;
        // Of every common key it has seen: what is there, or that nothing is.
        let complete = rows.len() < most;
        let seen = |key: &[u8]| {
            let in_range = key >= &low[..] && key < &high[..];
            let reached = match rows.last() {
                Some((last, _)) if backwards => key >= &last[..],
                Some((last, _)) => key <= &last[..],
                None => false,
            };
            in_range && (complete || reached)
        };
        for n in 0..KEYS {
            let key = format!("k{n:02}").into_bytes();
            if seen(&key) {
                let row = rows.iter().find(|(found, _)| *found == key);
                let value = row.map(|(_, value)| value.as_slice());
                let mut history = self.board.history();
                history
                    .read(open.number, &key, value)
                    .map_err(Halt::Wrong)?;
            }
        }
        match self.choices.below(4) {
            0 => {
                let range = low.as_slice()..high.as_slice();
                if let Err(e) = open.transaction.delete_range(&self.table, range) {
                    return Err(self.abandon(&open, "delete_range", &e));
                }
                for n in 0..KEYS {
                    let key = format!("k{n:02}").into_bytes();
                    if key >= low && key < high {
                        self.board.history().wrote(open.number, &key, None);
                    }
                }
            }
            1 => {
                let value = self.value(b'k', 20);
                self.put(&mut open, &low, &value)?;
            }
            _ => {}
        }
        self.end(open)
    }
}
