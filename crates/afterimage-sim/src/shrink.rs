//! Shrinking: the shortest and plainest string of choices that still fails, found by leaving things out and trying again (in the manner of Hypothesis, MacIver
//! and Donaldson, 2020). Nothing has to be known of what the choices mean but that shorter and smaller is simpler: see [`Choices`](crate::choices::Choices).

use std::time::{Duration, Instant};

/// What became of a string of choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The simplest that was found, without zeroes at its end.
    pub bytes: Vec<u8>,
    /// How many strings were tried.
    pub tried: u64,
    /// Whether nothing simpler was left to try when it ended; else the time was up.
    pub finished: bool,
}

struct Shrink<'a> {
    best: Vec<u8>,
    tried: u64,
    deadline: Instant,
    fails: &'a mut dyn FnMut(&[u8]) -> bool,
}

/// Makes `bytes` simpler as long as `fails` says that the simpler ones fail in the same way, for no longer than about `limit` of wall-clock time.
pub fn shrink(bytes: &[u8], limit: Duration, fails: &mut dyn FnMut(&[u8]) -> bool) -> Shrunk {
    let mut s = Shrink {
        best: trimmed(bytes.to_vec()),
        tried: 0,
        deadline: Instant::now() + limit,
        fails,
    };
    loop {
        let before = s.best.clone();
        s.cut_off();
        s.leave_out();
        s.zero();
        s.lower();
        if s.best == before || s.over() {
            break;
        }
    }
    Shrunk {
        finished: !s.over(),
        bytes: s.best,
        tried: s.tried,
    }
}

fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    bytes.truncate(end);
    bytes
}

impl Shrink<'_> {
    fn over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Takes `bytes` if they are simpler and still fail.
    fn try_this(&mut self, bytes: Vec<u8>) -> bool {
        let bytes = trimmed(bytes);
        if (bytes.len(), &bytes) >= (self.best.len(), &self.best) || self.over() {
            return false;
        }
        self.tried += 1;
        if (self.fails)(&bytes) {
            self.best = bytes;
            return true;
        }
        false
    }

    /// The end is left away: as much as can be.
    fn cut_off(&mut self) {
        let mut step = self.best.len();
        while step > 0 && !self.over() {
            let keep = self.best.len().saturating_sub(step);
            if !self.try_this(self.best[..keep].to_vec()) {
                step /= 2;
            }
            step = step.min(self.best.len());
        }
    }

    /// Pieces in the middle are taken out, large ones first.
    fn leave_out(&mut self) {
        for size in [256, 64, 16, 8, 4, 2, 1] {
            let mut at = self.best.len();
            while at >= size && !self.over() {
                let start = at - size;
                let mut bytes = self.best.clone();
                bytes.drain(start..at);
                self.try_this(bytes);
                at = start.min(self.best.len());
            }
        }
    }

    /// Pieces become zero.
    fn zero(&mut self) {
        for size in [64, 16, 8, 4, 2, 1] {
            let mut at = 0;
            while at < self.best.len() && !self.over() {
                let end = (at + size).min(self.best.len());
                if self.best[at..end].iter().any(|b| *b != 0) {
                    let mut bytes = self.best.clone();
                    bytes[at..end].fill(0);
                    self.try_this(bytes);
                }
                at += size;
            }
        }
    }

    /// Single bytes become smaller.
    fn lower(&mut self) {
        let mut at = 0;
        while at < self.best.len() && !self.over() {
            let old = self.best[at];
            for value in [1, old / 2, old.saturating_sub(1)] {
                if at < self.best.len() && value < self.best[at] {
                    let mut bytes = self.best.clone();
                    bytes[at] = value;
                    self.try_this(bytes);
                }
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        let noise: Vec<u8> = (0..900u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut fails = |b: &[u8]| b.contains(&200) && b.iter().any(|x| *x > 230);
        assert!(fails(&noise));
        let shrunk = shrink(&noise, LIMIT, &mut fails);
        assert!(shrunk.finished);
        let mut left = shrunk.bytes.clone();
        left.sort_unstable();
        assert_eq!(left, [200, 231], "tried {}", shrunk.tried);
    }

    #[test]
    fn a_list_that_choices_make_becomes_short() {
        // Up to 50 numbers; wrong if three of them are above 900.
        let list = |bytes: &[u8]| {
            let mut c = Choices::from_bytes(bytes);
            (0..c.below(50)).map(|_| c.below(1000)).collect::<Vec<_>>()
        };
        let mut fails = |b: &[u8]| list(b).iter().filter(|n| **n > 900).count() >= 3;
        let recorded = |seed| {
            let (mut c, record) = Choices::new(seed).recorded();
            for _ in 0..c.below(50) {
                c.below(1000);
            }
            record.bytes()
        };
        let first = (0..).map(recorded).find(|b| fails(b));
        let first = first.expect("one of them fails");
        let shrunk = shrink(&first, LIMIT, &mut fails);
        let mut left = list(&shrunk.bytes);
        left.retain(|n| *n > 0);
        assert!(left.len() == 3 && left.iter().all(|n| *n > 900), "{left:?}");
    }

    #[test]
    fn it_ends_when_the_time_is_up() {
        let shrunk = shrink(&[9; 100], Duration::ZERO, &mut |_| true);
        assert_eq!((shrunk.bytes.len(), shrunk.tried), (100, 0));
        assert!(!shrunk.finished);
    }
}
