//! What goes into the order and what comes out of it: weights and releases.

use clock::Stamp;
use entry::{Change, JournalId, MemberEpoch, Seq};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an entry does to the order itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weight {
    /// Nothing: it only takes its place.
    Data,
    /// From its place on, no promise of its journal is required.
    Part {
        /// Under which members it was written: it is void under others.
        epoch: MemberEpoch,
    },
    /// From its place on, another journal takes part.
    Open {
        /// That journal.
        journal: JournalId,
        /// Which parting this answers: the seq after the entry that parted; 0 for a journal that never took part.
        first: Seq,
    },
    /// From its place on, another journal takes part no more.
    Seal {
        /// That journal.
        journal: JournalId,
        /// Its agreed end.
        cut: Seq,
    },
    /// Entries beyond a sealed journal's end sort at its place, right behind it.
    Adopt {
        /// That journal.
        journal: JournalId,
        /// The first of them: the end, or where the last adoption ended.
        from: Seq,
        /// The first that is not adopted.
        upto: Seq,
        /// Whose majority held them when it was written: it is void under other members.
        epoch: MemberEpoch,
    },
    /// From its place on, the members are others.
    Members {
        /// The epoch that this makes.
        epoch: MemberEpoch,
        /// One site more or less.
        change: Change,
    },
}

/// An entry that has its place in the merged order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Whose entry.
    pub journal: JournalId,
    /// Which of its entries.
    pub seq: Seq,
    /// The stamp it is sorted at: its own, or that of its journal's opening where that is later.
    pub at: Stamp,
    /// What it did to the order.
    pub effect: Effect,
}

/// What a released entry did to the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing.
    None,
    /// Its journal left.
    Parted,
    /// Its journal stays: too few would have been left to write seals and openings in, or it had left already.
    PartVoid,
    /// Another journal takes part from here.
    Opened {
        /// That journal.
        journal: JournalId,
    },
    /// Another journal takes no part any more, for good.
    Sealed {
        /// That journal.
        journal: JournalId,
    },
    /// The journal it names is sealed already, is not released up to that end, or is no member's.
    SealVoid {
        /// That journal.
        journal: JournalId,
    },
    /// Another journal's entries follow, up to `upto`.
    Adopted {
        /// That journal.
        journal: JournalId,
        /// The first entry that does not follow.
        upto: Seq,
    },
    /// The journal it names is not sealed, or another run of it comes next, or the adoption was itself adopted.
    AdoptVoid {
        /// That journal.
        journal: JournalId,
    },
    /// The members of this epoch decide from here on.
    Changed {
        /// That epoch.
        epoch: MemberEpoch,
    },
    /// Another change came first, or the site is not to be added or removed at this place.
    ChangeVoid,
    /// The journal it names takes part already, or parted at another place, or is no member's.
    OpenVoid {
        /// That journal.
        journal: JournalId,
    },
}

/// A journal's owner has promised that no such entry would come. Quarantine the journal: its owner's clock or disk
/// went back, or somebody else writes in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error(
    "entry {seq} of journal {journal} is stamped {stamp}, but {promised} and all below it was promised away"
)]
pub struct BrokenPromise {
    /// The journal.
    pub journal: JournalId,
    /// The entry.
    pub seq: Seq,
    /// Its stamp.
    pub stamp: Stamp,
    /// What was promised, or held before it.
    pub promised: Stamp,
}
