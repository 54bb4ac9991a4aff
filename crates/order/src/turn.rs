//! The turns that journals took: when they came into the merged order, left it, ended, and where their tails came in.
//!
//! Whoever wonders why a record stands later than its own stamp finds the reason here. Like the order itself the list is a
//! function of the journals: it is the same at every site that has come as far.

use std::collections::VecDeque;

use clock::Stamp;
use entry::{JournalId, Seq};
use serde::{Deserialize, Serialize};

/// Turns that are remembered: months of restarts, and some tens of kilobytes.
const TURNS_KEPT_MAX: usize = 512;

/// One turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Where it stands in the merged order.
    pub at: Stamp,
    /// Whose turn it was.
    pub journal: JournalId,
    /// What happened to it.
    pub what: What,
}

/// What happened to a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// It left; what it says from here on sorts where it comes back.
    Parted,
    /// It takes part: nothing of it sorts before this, whenever it was written.
    Opened,
    /// It ended for good.
    Sealed {
        /// Its end: the first entry that does not sort by its own stamp.
        cut: Seq,
    },
    /// A part of what lies beyond its end sorts here, whenever it was written.
    Adopted {
        /// The first of these entries.
        from: Seq,
        /// The first that is not among them.
        upto: Seq,
    },
}

/// The latest turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns(VecDeque<Turn>);

impl Turns {
    pub(crate) fn add(&mut self, at: Stamp, journal: JournalId, what: What) {
        if self.0.len() == TURNS_KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Turn { at, journal, what });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Turn> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use clock::Stamp;
    use entry::{JournalId, SiteId};

    use super::{TURNS_KEPT_MAX, Turns, What};

    #[test]
    fn only_the_latest_are_kept() {
        let mut turns = Turns::default();
        for at in 0..=TURNS_KEPT_MAX as u64 {
            turns.add(Stamp::from_raw(at), JournalId::genesis(SiteId(1)), What::Parted);
        }
        assert_eq!(turns.iter().count(), TURNS_KEPT_MAX);
        assert_eq!(turns.iter().next().map(|turn| turn.at), Some(Stamp::from_raw(1)));
    }
}
