//! Intervals of keys: what a scan reads, and what it locks.
//!
//! They are half-open, from `low` on up to and without `high`. That is enough for every range of byte strings, for each
//! has a next one: itself and a zero byte.

use std::ops::Bound;
use std::sync::Arc;

/// The keys from `low` on that are below `high`; without `high`, all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interval {
    pub(crate) low: Arc<[u8]>,
    pub(crate) high: Option<Arc<[u8]>>,
}

impl Interval {
    /// Every key.
    pub(crate) fn all() -> Interval {
        Interval::new(&[], None)
    }

    pub(crate) fn new(low: &[u8], high: Option<&[u8]>) -> Interval {
        Interval {
            low: low.into(),
            high: high.map(Into::into),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        *self.low <= *key && self.high.as_ref().is_none_or(|high| *key < **high)
    }

    pub(crate) fn overlaps(&self, other: &Interval) -> bool {
        let begins_before_end = |one: &Interval, other: &Interval| {
            other.high.as_ref().is_none_or(|high| one.low < *high)
        };
        begins_before_end(self, other) && begins_before_end(other, self)
    }

    /// The borders of a look-up in an ordered map of keys. The interval must not be empty.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let high = self.high.as_deref();
        (
            Bound::Included(&*self.low),
            high.map_or(Bound::Unbounded, Bound::Excluded),
        )
    }

    /// Is there no key in it?
    pub(crate) fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| self.low >= *high)
    }

    /// The smallest interval that both are in.
    pub(crate) fn hull(&self, other: &Interval) -> Interval {
        let low = Arc::clone((&self.low).min(&other.low));
        let high = self.high.as_ref().zip(other.high.as_ref());
        let high = high.map(|(one, other)| Arc::clone(one.max(other)));
        Interval { low, high }
    }

    /// What is left when `seen`, which lies at its front, or at its back, is taken away.
    pub(crate) fn without(&self, seen: &Interval, at_back: bool) -> Interval {
        let (low, high) = match &seen.high {
            _ if at_back => (&self.low, Some(&seen.low)),
            Some(end) => (end, self.high.as_ref()),
            None => (&self.low, Some(&self.low)),
        };
        Interval {
            low: Arc::clone(low),
            high: high.cloned(),
        }
    }

    /// Its part below `end`; without `end`, all of it.
    pub(crate) fn up_to(&self, end: Option<&[u8]>) -> Interval {
        let high = match (&self.high, end) {
            (Some(high), Some(end)) if **high <= *end => Some(Arc::clone(high)),
            (high, None) => high.clone(),
            (_, Some(end)) => Some(end.into()),
        };
        let low = Arc::clone(&self.low);
        Interval { low, high }
    }

    /// Its part from `start` on.
    pub(crate) fn starting_at(&self, start: &[u8]) -> Interval {
        let low = if *self.low >= *start {
            Arc::clone(&self.low)
        } else {
            start.into()
        };
        let high = self.high.clone();
        Interval { low, high }
    }
}

/// The smallest key above `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of_six() -> Vec<(Interval, Vec<u8>)> {
        let mut intervals = vec![(Interval::all(), (0..6).collect())];
        for low in 0..6 {
            let closed = (low + 1..=6)
                .map(|high| (Interval::new(&[low], Some(&[high])), (low..high).collect()));
            intervals.extend(closed);
            intervals.push((Interval::new(&[low], None), (low..6).collect()));
        }
        intervals
    }

    /// All intervals of six numbers, against the sets of numbers that they mean.
    #[test]
    fn an_interval_is_a_set_of_keys() {
        for (one, of_one) in all_of_six() {
            let kept = |interval: &Interval| -> Vec<u8> {
                (0..6).filter(|n| interval.contains(&[*n])).collect()
            };
            assert_eq!(kept(&one), of_one);
            for (other, of_other) in all_of_six() {
                let common = of_one.iter().any(|n| of_other.contains(n));
                assert_eq!(one.overlaps(&other), common, "{one:?} and {other:?}");
                let both: Vec<u8> = of_one.iter().chain(&of_other).copied().collect();
                let (first, last) = (both.iter().min(), both.iter().max());
                let between = |n: &u8| Some(n) >= first && Some(n) <= last;
                assert_eq!(
                    kept(&one.hull(&other)),
                    (0..6).filter(between).collect::<Vec<_>>()
                );
            }
            for n in 0..6 {
                let below = one.up_to(Some(&[n]));
                let from = one.starting_at(&[n]);
                let (in_below, in_from): (Vec<u8>, Vec<u8>) = of_one.iter().partition(|m| **m < n);
                assert_eq!(
                    (kept(&below), kept(&from)),
                    (in_below.clone(), in_from.clone())
                );
                // The empty key is below them all, and a key like any other.
                assert_eq!(below.is_empty(), in_below.is_empty() && !one.low.is_empty());
                assert_eq!(from.is_empty(), in_from.is_empty() && one.high.is_some());
            }
            assert_eq!(one.up_to(None), one);
        }
    }

    #[test]
    fn nothing_is_between_a_key_and_its_successor() {
        let interval = Interval::new(b"key", Some(&successor(b"key")));
        assert!(interval.contains(b"key") && !interval.is_empty());
        assert!(!interval.contains(b"key\0") && !interval.contains(b"kex\xff\xff"));
        assert!(Interval::new(b"key", Some(b"key")).is_empty());
    }
}
