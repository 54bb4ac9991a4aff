//! Who holds the order back, and why: what an operator asks first when reading stands still.

use clock::Stamp;
use entry::{JournalId, Seq, SiteId};
use serde::{Deserialize, Serialize};

/// What the next release waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The journal that holds the order back (of several, the one furthest behind).
    pub journal: JournalId,
    /// Why.
    pub why: Why,
}

/// Why the order waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// Its owner has promised too little: it is silent, cut off, or its clock is behind.
    NoPromise {
        /// What it has promised.
        since: Stamp,
        /// What is needed.
        needed: Stamp,
    },
    /// Its owner has promised enough, but not all that the promise speaks of has arrived.
    HeadNotReached {
        /// The next entry held here would be.
        held: Seq,
        /// The promise counts once all below this are held.
        head: Seq,
    },
    /// The next entry in the order is held by too few sites.
    NoQuorum {
        /// Which entry.
        seq: Seq,
        /// Who is known to hold it.
        holders: Vec<SiteId>,
        /// How many it takes.
        needed: usize,
    },
    /// Only entries of journals that take no part are held; this one waits for its opening.
    NotOpened {
        /// Which opening.
        first: Seq,
    },
    /// Only entries beyond a sealed journal's end are held; they wait for their adoption.
    NotAdopted {
        /// The first of them.
        from: Seq,
    },
    /// The next entry adopts more of this journal than is held here.
    AdoptedNotHeld {
        /// The next entry held here would be.
        held: Seq,
        /// All below this is adopted.
        upto: Seq,
    },
    /// An entry came that its owner had promised away. Nothing more is released: the journal's owner, or whoever wrote
    /// in its name, must be looked at.
    BrokenPromise {
        /// Which entry.
        seq: Seq,
        /// Its stamp.
        stamp: Stamp,
        /// What was promised.
        promised: Stamp,
    },
}
