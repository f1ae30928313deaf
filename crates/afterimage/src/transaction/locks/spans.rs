//! A value for every key there is, kept as the places where it changes: intervals, however they overlap, as one row of
//! pieces side by side. Neighbours that are equal are one piece, so intervals that touch grow together, and what is
//! kept is never more than two places for each interval put in.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::interval::Interval;

/// Pieces by where they begin. Below the first, the value is the default; and behind an interval whose value has become
/// the default again there is a piece that says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans<T> {
    pieces: BTreeMap<Arc<[u8]>, T>,
}

impl<T: Clone + Default + PartialEq> Spans<T> {
    /// How many pieces are kept.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The value of `key`; none is the default.
    pub(super) fn at(&self, key: &[u8]) -> Option<&T> {
        let before = self
            .pieces
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back();
        before.map(|(_, value)| value)
    }

    /// The values that keys of `interval` have, in order; none is the default.
    pub(super) fn over(&self, interval: &Interval) -> impl Iterator<Item = Option<&T>> {
        let first = self.at(&interval.low);
        let (_, high) = interval.bounds();
        let later = self
            .pieces
            .range::<[u8], _>((Bound::Excluded(&*interval.low), high));
        std::iter::once(first).chain(later.map(|(_, value)| Some(value)))
    }

    /// Changes the value of every key of `interval`.
    pub(super) fn change(&mut self, interval: &Interval, mut change: impl FnMut(&mut T)) {
        if interval.is_empty() {
            return;
        }
        self.cut_at(&interval.low);
        if let Some(high) = &interval.high {
            self.cut_at(high);
        }
        for (_, value) in self.pieces.range_mut::<[u8], _>(interval.bounds()) {
            change(value);
        }
        self.join(interval);
    }

    /// The intervals whose value is not the default, with it, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Interval, &T)> {
        let none = T::default();
        let ends = self.pieces.keys().skip(1).map(Some).chain([None]);
        let pieces = self.pieces.iter().zip(ends);
        pieces
            .filter(move |((_, value), _)| **value != none)
            .map(|((low, value), high)| {
                let (low, high) = (Arc::clone(low), high.cloned());
                (Interval { low, high }, value)
            })
    }

    fn cut_at(&mut self, place: &Arc<[u8]>) {
        if !self.pieces.contains_key(place) {
            let value = self.at(place).cloned().unwrap_or_default();
            self.pieces.insert(Arc::clone(place), value);
        }
    }

    /// Makes one piece of neighbours in and around `interval` that are equal.
    fn join(&mut self, interval: &Interval) {
        let below = self
            .pieces
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&*interval.low)))
            .next_back();
        let mut before = below.map_or_else(T::default, |(_, value)| value.clone());
        let mut needless = Vec::new();
        let inside = self.pieces.range::<[u8], _>(interval.bounds());
        let behind = interval
            .high
            .as_ref()
            .and_then(|high| self.pieces.get_key_value(high));
        for (place, value) in inside.chain(behind) {
            if *value == before {
                needless.push(Arc::clone(place));
            } else {
                before = value.clone();
            }
        }
        for place in needless {
            self.pieces.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u8 = 8;

    /// Changes at random, against an array with a value for each key.
    #[test]
    fn is_an_array_of_all_keys_in_few_places() {
        let mut seed = 7_u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % bound
        };
        for _ in 0..200 {
            let (mut spans, mut model) = (Spans::<u64>::default(), [0_u64; KEYS as usize]);
            for _ in 0..30 {
                let low = below(u64::from(KEYS)) as u8;
                let high = low + 1 + below(u64::from(KEYS - low)) as u8;
                let value = below(3);
                let end = [high];
                let open = high == KEYS && below(2) == 0;
                let interval = Interval::new(&[low], (!open).then_some(&end[..]));
                spans.change(&interval, |kept| *kept = value);
                model[usize::from(low)..usize::from(high)].fill(value);
                check(&spans, &model);
            }
        }
    }

    fn check(spans: &Spans<u64>, model: &[u64]) {
        for (key, value) in model.iter().enumerate() {
            assert_eq!(spans.at(&[key as u8]).copied().unwrap_or(0), *value);
        }
        let kept: Vec<u64> = spans.pieces.values().copied().collect();
        assert!(kept.first().is_none_or(|first| *first != 0), "{spans:?}");
        assert!(kept.windows(2).all(|pair| pair[0] != pair[1]), "{spans:?}");
        for low in 0..KEYS {
            for high in low + 1..KEYS {
                let mut expected = model[usize::from(low)..usize::from(high)].to_vec();
                expected.dedup();
                let interval = Interval::new(&[low], Some(&[high]));
                let over = spans.over(&interval);
                let over: Vec<u64> = over.map(|value| value.copied().unwrap_or(0)).collect();
                assert_eq!(over, expected);
            }
        }
        let mut from_pieces = vec![0; model.len()];
        for (interval, value) in spans.pieces() {
            for (key, kept) in from_pieces.iter_mut().enumerate() {
                if interval.contains(&[key as u8]) {
                    *kept = *value;
                }
            }
        }
        assert_eq!(from_pieces, model);
    }

    #[test]
    fn what_touches_grows_together() {
        let mut spans = Spans::<u64>::default();
        for key in 0..100 {
            spans.change(&Interval::new(&[key], Some(&[key + 1])), |kept| *kept = 1);
            assert_eq!(spans.len(), 2);
        }
        spans.change(&Interval::all(), |kept| *kept = 0);
        assert_eq!(spans.len(), 0);
    }
}
