//! What the next entry of a journal must look like.
//!
//! Every site checks every entry of every journal against this before it touches anything else, its own entries
//! included. The chain hash makes the check cheap and complete: whoever agrees on one entry agrees on all before it.

use clock::Stamp;
use entry::{ChainHash, Encoded, Seq};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The end of one journal as held here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The next seq.
    pub next: Seq,
    /// Chain hash of the last entry.
    pub hash: ChainHash,
    /// Stamp of the last entry.
    pub stamp: Stamp,
}

/// Why an entry does not continue a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChainError {
    /// Entries between are missing: nobody's fault, ask again from `expected`.
    #[error("entry {got} came where {expected} comes next: ask again from {expected}")]
    Gap {
        /// The next seq.
        expected: Seq,
        /// The seq that came.
        got: Seq,
    },
    /// It is held already: nobody's fault, leave it out.
    #[error("entry {got} came again, {expected} comes next")]
    Held {
        /// The next seq.
        expected: Seq,
        /// The seq that came.
        got: Seq,
    },
    /// Two different entries bear one seq: quarantine the journal and call an operator; never take either by itself.
    #[error(
        "two different entries bear seq {seq}, {ours} here and {theirs} there: two processes wrote one journal"
    )]
    Fork {
        /// The seq of the two entries.
        seq: Seq,
        /// Chain hash of the one held here.
        ours: ChainHash,
        /// Chain hash of the other.
        theirs: ChainHash,
    },
    /// The owner's clock did not increase: its journal is at fault, quarantine it.
    #[error("entry {seq} is stamped {got:?}, not later than {last:?} before it")]
    StampBackwards {
        /// The entry at fault.
        seq: Seq,
        /// Stamp of the entry before.
        last: Stamp,
        /// Its own stamp.
        got: Stamp,
    },
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { next: 0, hash: ChainHash::START, stamp: Stamp::from_raw(0) }
    }
}

impl Chain {
    /// Whether `entry` is the one that comes next.
    ///
    /// An entry below the last one is called held without a look at its bytes: they are no longer at hand here.
    ///
    /// # Errors
    /// [`ChainError`], each variant saying what to do.
    pub fn check(&self, entry: &Encoded) -> Result<(), ChainError> {
        let (expected, got) = (self.next, entry.head.seq);
        if got > expected {
            return Err(ChainError::Gap { expected, got });
        }
        if got < expected {
            return Err(self.again(entry));
        }
        if entry.head.previous != self.hash {
            let seq = got.saturating_sub(1);
            return Err(ChainError::Fork { seq, ours: self.hash, theirs: entry.head.previous });
        }
        if entry.head.stamp <= self.stamp {
            return Err(ChainError::StampBackwards { seq: got, last: self.stamp, got: entry.head.stamp });
        }
        Ok(())
    }

    /// Takes `entry` as the last one.
    ///
    /// # Panics
    /// If [`Chain::check`] refuses it: a caller that did not check would corrupt the journal.
    pub fn accept(&mut self, entry: &Encoded) {
        if let Err(error) = self.check(entry) {
            panic!("an unchecked entry of journal {} was accepted: {error}", entry.head.journal);
        }
        *self = Chain { next: entry.head.seq + 1, hash: entry.hash(), stamp: entry.head.stamp };
    }

    fn again(&self, entry: &Encoded) -> ChainError {
        let (expected, got) = (self.next, entry.head.seq);
        if got + 1 == expected {
            let theirs = entry.hash();
            if theirs != self.hash {
                return ChainError::Fork { seq: got, ours: self.hash, theirs };
            }
        }
        ChainError::Held { expected, got }
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, ChainError};
    use crate::tests::entries::{Minter, journal};
    use clock::Stamp;

    #[test]
    fn a_journal_is_dense_chained_and_later_each_time() {
        let mut minter = Minter::new(journal(1));
        let (first, second, third) = (minter.mint(b"a"), minter.mint(b"b"), minter.mint(b"c"));
        let mut chain = Chain::default();
        assert_eq!(chain.check(&second), Err(ChainError::Gap { expected: 0, got: 1 }));
        chain.accept(&first);
        assert_eq!(chain.check(&third), Err(ChainError::Gap { expected: 1, got: 2 }));
        chain.accept(&second);
        assert_eq!(chain.check(&first), Err(ChainError::Held { expected: 2, got: 0 }));
        assert_eq!(chain.check(&second), Err(ChainError::Held { expected: 2, got: 1 }));
        chain.accept(&third);
        assert_eq!(chain.next, 3);
        assert_eq!(chain.hash, third.hash());
    }

    #[test]
    fn another_history_is_a_fork_on_either_side_of_the_seam() {
        let (mut one, mut other) = (Minter::new(journal(1)), Minter::new(journal(1)));
        let mut chain = Chain::default();
        let ours = one.mint(b"a");
        chain.accept(&ours);
        let theirs = other.mint(b"x");
        let fork = ChainError::Fork { seq: 0, ours: ours.hash(), theirs: theirs.hash() };
        assert_eq!(chain.check(&theirs), Err(fork));
        assert_eq!(chain.check(&other.mint(b"y")), Err(fork));
    }

    #[test]
    fn a_stamp_that_does_not_rise_is_refused() {
        let mut minter = Minter::new(journal(1));
        let mut chain = Chain::default();
        chain.accept(&minter.mint(b"a"));
        minter.set_back();
        let second = minter.mint(b"b");
        let same = Stamp::from_raw(1);
        assert_eq!(chain.check(&second), Err(ChainError::StampBackwards { seq: 1, last: same, got: same }));
    }

    #[test]
    #[should_panic(expected = "unchecked entry")]
    fn accepting_unchecked_is_a_broken_invariant() {
        let mut minter = Minter::new(journal(1));
        minter.mint(b"a");
        Chain::default().accept(&minter.mint(b"b"));
    }
}
