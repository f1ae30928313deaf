//! Which keys are meant: those from one on, those before one, those that begin with something, or all of that together.

use std::ops::Bound;

/// Bounds as the engine takes them.
pub type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A part of a table; all of it where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// Only keys that begin with this.
    pub prefix: Option<Vec<u8>>,
    /// Only keys from this one on.
    pub from: Option<Vec<u8>>,
    /// Only keys before this one.
    pub to: Option<Vec<u8>>,
}

impl Span {
    /// The keys that satisfy all of it; none where no key can.
    pub fn bounds(self) -> Option<Bounds> {
        let end = self.prefix.as_deref().and_then(after_prefix);
        let lowest = self.from.into_iter().chain(self.prefix).max();
        let end = self.to.into_iter().chain(end).min();
        if let (Some(from), Some(to)) = (&lowest, &end)
            && from >= to
        {
            return None;
        }
        Some((
            lowest.map_or(Bound::Unbounded, Bound::Included),
            end.map_or(Bound::Unbounded, Bound::Excluded),
        ))
    }
}

/// The least key greater than every key that begins with `prefix`; none if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_has_it() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn prefix_and_bounds_are_taken_together() {
        let span = |prefix: &str, from: &str, to: &str| Span {
            prefix: Some(prefix.into()),
            from: Some(from.into()),
            to: Some(to.into()),
        };
        let b_to_bm = (
            Bound::Included(b"b".to_vec()),
            Bound::Excluded(b"bm".to_vec()),
        );
        assert_eq!(span("b", "a", "bm").bounds(), Some(b_to_bm));
        assert_eq!(span("", "b", "a").bounds(), None);
        assert_eq!(span("b", "c", "z").bounds(), None);
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(Span::default().bounds(), Some(all));
    }
}
