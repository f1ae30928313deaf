//! Shrinking: the shortest and plainest choices that still fail, found by leaving things out and trying again (in the manner of Hypothesis, MacIver
//! and Donaldson, 2020). Nothing has to be known of what the choices mean but that shorter and smaller is simpler: see [`Choices`](crate::choices::Choices).

use crate::choices::{Span, Strings};
use std::time::{Duration, Instant};

/// What became of some choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The simplest that were found.
    pub strings: Strings,
    /// How many were tried.
    pub tried: u64,
    /// Whether nothing simpler was left to try when it ended; else the time was up.
    pub finished: bool,
}

/// Runs choices: if they fail in the way that is meant, it answers which pieces they had (perhaps none).
pub type Fails<'a> = dyn FnMut(&Strings) -> Option<Vec<Span>> + 'a;

struct Shrink<'a> {
    best: Strings,
    spans: Vec<Span>,
    tried: u64,
    deadline: Instant,
    fails: &'a mut Fails<'a>,
}

/// Makes `strings` simpler as long as `fails` says that the simpler ones fail in the same way, for no longer than about `limit` of wall-clock time.
pub fn shrink<'a>(strings: &Strings, limit: Duration, fails: &'a mut Fails<'a>) -> Shrunk {
    let deadline = Instant::now() + limit;
    let best = strings.clone().trimmed();
    let spans = match limit.is_zero() {
        true => Vec::new(),
        false => fails(&best).unwrap_or_default(),
    };
    let mut s = Shrink {
        best,
        spans,
        tried: 0,
        deadline,
        fails,
    };
    loop {
        let before = s.best.clone();
        s.leave_out_spans();
        s.fewer_forks();
        for string in 0..s.best.0.len() {
            s.cut_off(string);
        }
        for string in 0..s.best.0.len() {
            s.leave_out(string);
            s.zero(string);
            s.lower(string);
        }
        if s.best == before || s.over() {
            break;
        }
    }
    Shrunk {
        finished: !s.over(),
        strings: s.best,
        tried: s.tried,
    }
}

impl Shrink<'_> {
    fn over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn len(&self, string: usize) -> usize {
        self.best.0.get(string).map_or(0, Vec::len)
    }

    /// Takes these if they are simpler and still fail.
    fn try_these(&mut self, strings: Strings) -> bool {
        let strings = strings.trimmed();
        let size = |s: &Strings| (s.len(), s.0.len());
        let simpler = size(&strings) < size(&self.best)
            || (size(&strings) == size(&self.best) && strings.0 < self.best.0);
        if !simpler || self.over() {
            return false;
        }
        self.tried += 1;
        let Some(spans) = (self.fails)(&strings) else {
            return false;
        };
        (self.best, self.spans) = (strings, spans);
        true
    }

    /// As [`Shrink::try_these`], for the best with a change of one string.
    fn try_with(&mut self, string: usize, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut strings = self.best.clone();
        let Some(bytes) = strings.0.get_mut(string) else {
            return false;
        };
        change(bytes);
        self.try_these(strings)
    }

    /// Whole pieces are left out, the last first.
    fn leave_out_spans(&mut self) {
        let mut n = self.spans.len();
        while n > 0 && !self.over() {
            n = (n - 1).min(self.spans.len().saturating_sub(1));
            let Some(span) = self.spans.get(n).cloned() else {
                return;
            };
            let mut strings = self.best.clone();
            if let Some(bytes) = strings.0.get_mut(span.string) {
                let end = span.bytes.end.min(bytes.len());
                bytes.drain(span.bytes.start.min(end)..end);
            }
            let end = span.forks.end.min(strings.0.len());
            strings.0.drain(span.forks.start.min(end)..end);
            self.try_these(strings);
        }
    }

    /// A small number of the first string may be how many forks there are: one less, and one of their strings gone.
    fn fewer_forks(&mut self) {
        let mut at = 0;
        while at < self.len(0) {
            let mut string = 1;
            while string < self.best.0.len() && (1..8).contains(&self.best.0[0][at]) {
                if self.over() {
                    return;
                }
                let mut strings = self.best.clone();
                strings.0[0][at] -= 1;
                strings.0.remove(string);
                if !self.try_these(strings) {
                    string += 1;
                }
                if at >= self.len(0) {
                    return;
                }
            }
            at += 1;
        }
    }

    /// The end of a string is left away: as much as can be.
    fn cut_off(&mut self, string: usize) {
        let mut step = self.len(string);
        while step > 0 && !self.over() {
            let keep = self.len(string).saturating_sub(step);
            if !self.try_with(string, |bytes| bytes.truncate(keep)) {
                step /= 2;
            }
            step = step.min(self.len(string));
        }
    }

    /// Pieces in the middle are taken out, large ones first.
    fn leave_out(&mut self, string: usize) {
        for size in [64, 16, 8, 4, 2, 1] {
            let mut at = self.len(string);
            while at >= size && !self.over() {
                let start = at - size;
                self.try_with(string, |bytes| drop(bytes.drain(start..at)));
                at = start.min(self.len(string));
            }
        }
    }

    /// Pieces become zero.
    fn zero(&mut self, string: usize) {
        for size in [64, 16, 8, 4, 2, 1] {
            let mut at = 0;
            while at < self.len(string) && !self.over() {
                let end = (at + size).min(self.len(string));
                self.try_with(string, |bytes| bytes[at..end].fill(0));
                at += size;
            }
        }
    }

    /// Single bytes become smaller.
    fn lower(&mut self, string: usize) {
        let mut at = 0;
        while at < self.len(string) && !self.over() {
            let old = self.best.0[string][at];
            for value in [1, old / 2, old.saturating_sub(1)] {
                if at < self.len(string) && value < self.best.0[string][at] {
                    self.try_with(string, |bytes| bytes[at] = value);
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
        let noise = |from: u32| (from..from + 400).map(|n| (n * 7 % 251) as u8).collect();
        let all = |s: &Strings| s.0.concat();
        let mut fails = |s: &Strings| {
            let bytes = all(s);
            (bytes.contains(&200) && bytes.iter().any(|x| *x > 230)).then(Vec::new)
        };
        let strings = Strings(vec![noise(0), noise(100), noise(90)]);
        assert!(fails(&strings).is_some());
        let shrunk = shrink(&strings, LIMIT, &mut fails);
        assert!(shrunk.finished);
        let mut left = all(&shrunk.strings);
        left.sort_unstable();
        assert_eq!(left, [200, 231], "tried {}", shrunk.tried);
    }

    /// Up to eight workers make up to twenty numbers each.
    fn numbers(choices: &mut Choices) -> Vec<Vec<u64>> {
        let worker = |c: &mut Choices| {
            c.mark();
            let mut fork = c.fork();
            let number = |_| {
                fork.mark();
                fork.below(1000)
            };
            let count = c.below(20);
            (0..count).map(number).collect()
        };
        (0..choices.below(8)).map(|_| worker(choices)).collect()
    }

    #[test]
    fn what_forks_make_becomes_short() {
        // Wrong if one worker has two numbers above 900.
        let wrong = |made: &[Vec<u64>]| {
            let large = |w: &&Vec<u64>| w.iter().filter(|n| **n > 900).count() >= 2;
            made.iter().any(|w| large(&w))
        };
        let mut fails = |strings: &Strings| {
            let (mut choices, record) = Choices::from_strings(strings).recorded();
            wrong(&numbers(&mut choices)).then(|| record.spans())
        };
        let recorded = |seed| {
            let (mut choices, record) = Choices::new(seed).recorded();
            (numbers(&mut choices).len() > 4).then(|| record.strings())
        };
        let first = (0..).filter_map(recorded).find(|s| fails(s).is_some());
        let shrunk = shrink(&first.expect("one of them fails"), LIMIT, &mut fails);
        let left = numbers(&mut Choices::from_strings(&shrunk.strings));
        assert_eq!(left, [[901, 901]], "tried {}", shrunk.tried);
    }

    #[test]
    fn it_ends_when_the_time_is_up() {
        let strings = Strings(vec![vec![9; 100]]);
        let shrunk = shrink(&strings, Duration::ZERO, &mut |_| Some(Vec::new()));
        assert_eq!((shrunk.strings, shrunk.tried), (strings, 0));
        assert!(!shrunk.finished);
    }
}
