//! How far a reader has come: a floor below which all is done, and what was done above it.
//!
//! Within an epoch this only grows, so it merges without asking anyone. Going back is what does not merge: an old copy
//! would win again. So whoever goes back opens a new epoch, and a higher epoch wins entirely.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{IntervalSet, Join};

/// Which way back it counts from. The order of the fields is the rule: more rewinds win, then the later, then the site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// How many times it was gone back before, as far as the opener knew.
    pub rewinds: u64,
    /// When it was opened.
    pub stamp: u64,
    /// Where.
    pub site: u16,
}

/// How far a reader has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Unchecked")]
pub struct Progress {
    epoch: Epoch,
    floor: u64,
    acked: IntervalSet,
}

/// As decoded, before it is brought into normal form.
#[derive(Deserialize)]
struct Unchecked {
    epoch: Epoch,
    floor: u64,
    acked: IntervalSet,
}

impl Progress {
    /// Nothing done, never gone back.
    #[must_use]
    pub fn new() -> Progress {
        Progress::default()
    }

    /// All below is done.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.floor
    }

    /// Which way back it counts from.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What is done above the floor; never touches it.
    #[must_use]
    pub fn acked(&self) -> &IntervalSet {
        &self.acked
    }

    /// Raises the floor within the epoch. A lower floor changes nothing and gives `false`: that takes a
    /// [`Progress::rewind`].
    pub fn commit(&mut self, floor: u64) -> bool {
        if floor < self.floor {
            return false;
        }
        self.floor = floor;
        self.normalise();
        true
    }

    /// Goes back (or ahead) to a floor, whatever was done, by opening a new epoch.
    ///
    /// # Panics
    /// If it was gone back 2^64 − 1 times.
    pub fn rewind(&mut self, floor: u64, stamp: u64, site: u16) {
        let rewinds = self.epoch.rewinds.checked_add(1).expect("nobody rewinds 2^64 times");
        *self = Progress { epoch: Epoch { rewinds, stamp, site }, floor, acked: IntervalSet::new() };
    }

    /// Marks a range as done; says whether anything in it was not. What lies below the floor is done already.
    pub fn ack(&mut self, range: Range<u64>) -> bool {
        let above = range.start.max(self.floor)..range.end;
        let changed = self.acked.insert(above);
        self.normalise();
        changed
    }

    /// Nothing below the floor is kept, and what touches it raises it.
    fn normalise(&mut self) {
        self.floor = self.acked.first_gap_from(self.floor);
        self.acked.remove_below(self.floor);
    }
}

/// The higher epoch wins entirely; within one, the larger floor and the union of what was done above.
impl Join for Progress {
    fn join(&mut self, other: &Self) -> bool {
        if other.epoch != self.epoch {
            let higher = other.epoch > self.epoch;
            if higher {
                self.clone_from(other);
            }
            return higher;
        }
        let before = (self.floor, self.acked.count());
        self.floor = self.floor.max(other.floor);
        self.acked.join(&other.acked);
        self.normalise();
        // Within an epoch either the floor rises or something above it is added.
        before != (self.floor, self.acked.count())
    }
}

impl From<Unchecked> for Progress {
    fn from(decoded: Unchecked) -> Self {
        let Unchecked { epoch, floor, acked } = decoded;
        let mut progress = Progress { epoch, floor, acked };
        progress.normalise();
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Progress};
    use crate::laws::{check_grows, check_join_laws};
    use crate::{IntervalSet, Join};
    use proptest::collection::vec;
    use proptest::prop_oneof;
    use proptest::strategy::{Just, Strategy};

    #[derive(Debug, Clone)]
    enum Step {
        Commit(u64),
        Ack(u64, u64),
        Rewind(u64, u64, u16),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u64..20).prop_map(Step::Commit),
            4 => (0u64..20, 0u64..5).prop_map(|(start, len)| Step::Ack(start, len)),
            1 => (0u64..20, 0u64..3, 0u16..3).prop_map(|(floor, stamp, site)| Step::Rewind(floor, stamp, site)),
        ]
    }

    fn take(progress: &mut Progress, step: &Step) {
        match *step {
            Step::Commit(floor) => drop(progress.commit(floor)),
            Step::Ack(start, len) => drop(progress.ack(start..start + len)),
            // A stamp and a site are used once, as a clock and a membership give them: the floor goes with them.
            Step::Rewind(floor, stamp, site) => progress.rewind(floor, stamp * 100 + floor, site),
        }
    }

    fn histories() -> impl Strategy<Value = Progress> {
        vec(steps(), 0..8).prop_map(|steps| {
            let mut progress = Progress::new();
            for step in &steps {
                take(&mut progress, step);
            }
            progress
        })
    }

    #[test]
    fn keeps_the_laws() {
        check_join_laws(histories());
    }

    #[test]
    fn whatever_is_done_moves_it_up() {
        check_grows(histories(), steps(), take);
        check_grows(Just(Progress::new()), steps(), take);
    }

    #[test]
    fn a_commit_goes_ahead_only() {
        let mut progress = Progress::new();
        assert!(progress.commit(5));
        assert!(progress.commit(5), "the same again is no rewind");
        assert!(!progress.commit(4));
        assert_eq!(progress.committed(), 5);
    }

    #[test]
    fn what_touches_the_floor_raises_it() {
        let mut progress = Progress::new();
        assert!(progress.ack(2..4));
        assert!(progress.ack(6..8));
        assert!(progress.ack(0..2));
        assert_eq!((progress.committed(), progress.acked()), (4, &IntervalSet::from(6..8)));
        assert!(!progress.ack(1..3));
        assert!(progress.commit(7));
        assert_eq!((progress.committed(), progress.acked().len()), (8, 0));
    }

    #[test]
    fn a_rewind_beats_every_commit_of_the_epoch_before() {
        let mut here = Progress::new();
        here.commit(50);
        let mut there = here.clone();
        there.rewind(10, 7, 2);
        here.commit(60);
        assert!(here.join(&there));
        assert!(!there.join(&here));
        assert_eq!((here.committed(), here.epoch()), (10, Epoch { rewinds: 1, stamp: 7, site: 2 }));
    }
}
