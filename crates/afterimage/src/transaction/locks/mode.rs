//! Lock modes: which two can stand side by side, and what holding two of them amounts to. Two tables, and nothing else;
//! their tests enumerate every pair against a model of what each mode permits.
//!
//! The bottom of the lock table: knows no resource, no owner and no queue.

/// How a resource is locked. Tables take every mode, keys only [`Mode::Shared`] and [`Mode::Exclusive`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Mode {
    /// Some keys of the table will be locked shared.
    IntentShared,
    /// Some keys of the table will be locked exclusively.
    IntentExclusive,
    /// The resource is read, whole.
    Shared,
    /// The table is read whole, and some of its keys will be locked exclusively.
    SharedIntentExclusive,
    /// The resource is changed; nobody else sees it.
    Exclusive,
}

use Mode::{
    Exclusive as X, IntentExclusive as IX, IntentShared as IS, Shared as S,
    SharedIntentExclusive as SIX,
};

/// May the mode of the row and the mode of the column be granted to two owners at once? Symmetric.
#[rustfmt::skip]
const COMPATIBLE: [[bool; 5]; 5] = [
    //         IS     IX     S      SIX    X
    /* IS  */ [true,  true,  true,  true,  false],
    /* IX  */ [true,  true,  false, false, false],
    /* S   */ [true,  false, true,  false, false],
    /* SIX */ [true,  false, false, false, false],
    /* X   */ [false, false, false, false, false],
];

/// The weakest mode that permits all that the row and the column permit. Symmetric.
#[rustfmt::skip]
const SUPREMUM: [[Mode; 5]; 5] = [
    //         IS   IX   S    SIX  X
    /* IS  */ [IS,  IX,  S,   SIX, X],
    /* IX  */ [IX,  IX,  SIX, SIX, X],
    /* S   */ [S,   SIX, S,   SIX, X],
    /* SIX */ [SIX, SIX, SIX, SIX, X],
    /* X   */ [X,   X,   X,   X,   X],
];

impl Mode {
    /// Every mode, in the order of the tables.
    #[cfg(test)]
    pub(super) const ALL: [Mode; 5] = [IS, IX, S, SIX, X];

    /// May another owner hold `other` while this mode is held?
    pub(crate) const fn is_compatible(self, other: Mode) -> bool {
        COMPATIBLE[self as usize][other as usize]
    }

    /// What an owner of this mode holds after it has been granted `other` too.
    pub(crate) const fn supremum(self, other: Mode) -> Mode {
        SUPREMUM[self as usize][other as usize]
    }

    /// Does holding this mode make asking for `other` needless?
    pub(crate) fn covers(self, other: Mode) -> bool {
        self.supremum(other) == self
    }

    /// The intent that an owner must hold on a table before it locks one of the table's keys in this mode.
    pub(crate) const fn intent(self) -> Mode {
        match self {
            IS | S => IS,
            IX | SIX | X => IX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS_PARTS: u8 = 1;
    const WRITES_PARTS: u8 = 2;
    const READS_WHOLE: u8 = 4;
    const WRITES_WHOLE: u8 = 8;

    /// What a mode permits: the model from which both tables follow.
    fn permits(mode: Mode) -> u8 {
        match mode {
            IS => READS_PARTS,
            IX => READS_PARTS | WRITES_PARTS,
            S => READS_PARTS | READS_WHOLE,
            SIX => READS_PARTS | WRITES_PARTS | READS_WHOLE,
            X => READS_PARTS | WRITES_PARTS | READS_WHOLE | WRITES_WHOLE,
        }
    }

    /// Work on parts meets other work on parts at the keys' own locks; everything else must be told apart here.
    fn conflict(one: u8, other: u8) -> bool {
        let writes_whole = one & WRITES_WHOLE != 0;
        let reads_whole_of_written = one & READS_WHOLE != 0 && other & WRITES_PARTS != 0;
        writes_whole || reads_whole_of_written
    }

    #[test]
    fn compatibility_follows_from_what_the_modes_permit() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                let expected =
                    !conflict(permits(a), permits(b)) && !conflict(permits(b), permits(a));
                assert_eq!(a.is_compatible(b), expected, "{a:?} beside {b:?}");
                assert_eq!(
                    a.is_compatible(b),
                    b.is_compatible(a),
                    "{a:?} and {b:?}: symmetric"
                );
            }
        }
    }

    #[test]
    fn supremum_is_the_least_mode_that_permits_both() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                let both = permits(a) | permits(b);
                let enough = Mode::ALL
                    .into_iter()
                    .filter(|mode| permits(*mode) & both == both);
                let least = enough
                    .min_by_key(|mode| permits(*mode).count_ones())
                    .expect("X permits all");
                assert_eq!(a.supremum(b), least, "{a:?} with {b:?}");
                assert_eq!(a.supremum(b), b.supremum(a), "{a:?} and {b:?}: symmetric");
                assert_eq!(
                    a.covers(b),
                    permits(a) & permits(b) == permits(b),
                    "{a:?} covers {b:?}"
                );
            }
        }
    }

    #[test]
    fn a_stronger_mode_is_compatible_with_less() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                for other in Mode::ALL {
                    let beside_both = a.is_compatible(other) && b.is_compatible(other);
                    assert_eq!(
                        a.supremum(b).is_compatible(other),
                        beside_both,
                        "{a:?} with {b:?} beside {other:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn intents_are_what_key_locks_need() {
        assert_eq!([IS, S].map(Mode::intent), [IS, IS]);
        assert_eq!([IX, SIX, X].map(Mode::intent), [IX, IX, IX]);
        for mode in Mode::ALL {
            assert!(mode.covers(mode.intent()));
        }
    }
}
