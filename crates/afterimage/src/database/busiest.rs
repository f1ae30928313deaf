//! The most log that was written within one `checkpoint_timeout`: what `max_wal_size` has to be measured by. Seen by looks at
//! the log's end, as often as somebody looks, kept for a sixteenth of that time each. With another `checkpoint_timeout` it begins anew.

use std::collections::VecDeque;
use std::time::Duration;

/// Looks that are kept.
const LOOKS: u32 = 16;

/// The looks, oldest first, and the most until now.
#[derive(Debug, Default)]
pub(super) struct Busiest {
    window: Duration,
    looks: VecDeque<(Duration, u64)>,
    most: u64,
}

impl Busiest {
    /// The log ends at `next` now. Answers the most log of any `window` until now.
    pub(super) fn look(&mut self, now: Duration, next: u64, window: Duration) -> u64 {
        if window != self.window {
            *self = Busiest {
                window,
                ..Busiest::default()
            };
        }
        let begin = now.saturating_sub(window);
        while self.looks.front().is_some_and(|(at, _)| *at < begin) {
            self.looks.pop_front();
        }
        if let Some((_, then)) = self.looks.front() {
            self.most = self.most.max(next.saturating_sub(*then));
        }
        let last = self.looks.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_sub(last) >= window / LOOKS) {
            self.looks.push_back((now, next));
        }
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_is_found_and_stays() {
        let (mut busiest, window) = (Busiest::default(), Duration::from_secs(10));
        let mut look = |second: u64, next| busiest.look(Duration::from_secs(second), next, window);
        assert_eq!(look(0, 1000), 0);
        assert_eq!(look(5, 1500), 500);
        // A burst, of which no window holds what was before and what is behind it.
        assert_eq!(look(8, 9000), 8000);
        assert_eq!(look(15, 9100), 8000);
        assert_eq!(look(19, 9200), 8000);
        for second in 20..60 {
            assert_eq!(look(second, 9200 + second), 8000);
        }
        assert_eq!(look(61, 20_000), 10_749, "from the look at second 51");
    }

    #[test]
    fn another_window_has_another_most() {
        let (mut busiest, long, short) = (
            Busiest::default(),
            Duration::from_secs(10),
            Duration::from_secs(2),
        );
        let mut look =
            |second: u64, next, window| busiest.look(Duration::from_secs(second), next, window);
        look(0, 1000, long);
        assert_eq!(look(9, 9000, long), 8000);
        assert_eq!(look(10, 9100, short), 0, "of two seconds nothing is known");
        assert_eq!(look(11, 9300, short), 200);
    }
}
