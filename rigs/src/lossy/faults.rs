//! Which call fails, and at which the power goes: counted down call by call.

use crate::dice::Dice;

/// What is done to a life, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A sync answers EIO; what it was to write is lost, and is seen all the same until the power goes.
    Sync,
    /// A write answers EIO, and has written nothing.
    Write,
    /// There is no room for a while.
    Full,
    /// A write writes half of what it was given, and says so.
    Short,
    /// A read answers EIO.
    Read,
    /// A read of the pages file gives one wrong bit.
    Flip,
    /// A read of the pages file gives another place's bytes.
    Misdirected,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 7] = [
        Fault::Sync,
        Fault::Write,
        Fault::Full,
        Fault::Short,
        Fault::Read,
        Fault::Flip,
        Fault::Misdirected,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Sync => "sync EIO",
            Fault::Write => "write EIO",
            Fault::Full => "ENOSPC",
            Fault::Short => "short write",
            Fault::Read => "read EIO",
            Fault::Flip => "bit flipped in a read",
            Fault::Misdirected => "misdirected read",
        }
    }
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads bytes of the pages file.
    ReadPages,
    /// Reads bytes of another file.
    Read,
    /// Writes bytes.
    Write,
    /// Writes bytes and syncs them at once.
    WriteDurably,
    /// Makes a file or directory, or changes a length.
    Grow,
    /// Renames or removes.
    Rename,
    /// Syncs a file or directory.
    Sync,
}

impl Call {
    fn changes(self) -> bool {
        !matches!(self, Call::Read | Call::ReadPages)
    }

    fn can_have(self, fault: Fault) -> bool {
        use Call::{Grow, Read, ReadPages, Sync, Write, WriteDurably};
        match fault {
            Fault::Sync => matches!(self, Sync | WriteDurably),
            Fault::Write | Fault::Short => matches!(self, Write | WriteDurably),
            Fault::Full => matches!(self, Write | WriteDurably | Grow),
            Fault::Read => matches!(self, Read | ReadPages),
            Fault::Flip | Fault::Misdirected => self == ReadPages,
        }
    }
}

/// What a call is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As always.
    Proceed,
    /// Fail in this way.
    Fault(Fault),
    /// The power goes now: before the call has done anything, or after it is in the cache.
    Die {
        /// Whether it gets as far as the cache.
        in_cache: bool,
    },
    /// The power has gone.
    Dead,
}

/// The plan for one life.
#[derive(Clone, Debug)]
pub struct Faults {
    dice: Dice,
    /// Changing calls until the power goes.
    cut_in: Option<u64>,
    dead: bool,
    fault: Option<(Fault, u64)>,
    fired: u64,
    /// Calls that still meet a full disk.
    full_for: u64,
}

impl Faults {
    /// The power goes at the `cut_in`-th changing call; at the n-th call that can have it, the fault happens.
    pub fn new(seed: u64, cut_in: Option<u64>, fault: Option<(Fault, u64)>) -> Faults {
        Faults {
            dice: Dice::new(seed),
            cut_in,
            dead: false,
            fault,
            fired: 0,
            full_for: 0,
        }
    }

    /// Has the power gone?
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Has the fault happened?
    pub fn has_fired(&self) -> bool {
        self.fired > 0
    }

    /// Room again.
    pub fn make_room(&mut self) {
        self.full_for = 0;
    }

    /// A number below `bound`, for what a fault leaves open.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.dice.below(bound)
    }

    /// What the next call is to do.
    pub fn next(&mut self, call: Call) -> Order {
        if self.dead {
            return Order::Dead;
        }
        if call.changes()
            && let Some(left) = &mut self.cut_in
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.dead = true;
                return Order::Die {
                    in_cache: self.dice.one_in(2),
                };
            }
        }
        if self.full_for > 0 && call.can_have(Fault::Full) {
            self.full_for -= 1;
            return Order::Fault(Fault::Full);
        }
        match &mut self.fault {
            Some((fault, left)) if call.can_have(*fault) => {
                *left = left.saturating_sub(1);
                if *left > 0 {
                    return Order::Proceed;
                }
                let fault = *fault;
                self.fault = None;
                self.fired += 1;
                if fault == Fault::Full {
                    self.full_for = 1 + self.dice.below(40);
                }
                Order::Fault(fault)
            }
            _ => Order::Proceed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_goes_at_its_call_and_stays_away() {
        let mut faults = Faults::new(1, Some(3), None);
        assert_eq!(faults.next(Call::Write), Order::Proceed);
        assert_eq!(faults.next(Call::Read), Order::Proceed);
        assert_eq!(faults.next(Call::Sync), Order::Proceed);
        assert!(matches!(faults.next(Call::Grow), Order::Die { .. }));
        assert_eq!(faults.next(Call::Read), Order::Dead);
        assert!(faults.is_dead());
    }

    #[test]
    fn a_fault_hits_only_what_can_have_it() {
        for fault in Fault::ALL {
            let mut faults = Faults::new(1, None, Some((fault, 2)));
            let mut hit = Vec::new();
            for call in [Call::Read, Call::ReadPages, Call::Write, Call::Sync].repeat(2) {
                if faults.next(call) == Order::Fault(fault) {
                    hit.push(call);
                    faults.make_room();
                }
            }
            assert_eq!(hit.len(), 1, "{fault:?}");
            assert!(hit[0].can_have(fault));
        }
    }
}
