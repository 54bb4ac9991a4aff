//! Duplicates, decided in the merged order: which batch is a copy of what was merged before.
//!
//! What is asked and what is answered is the same at every site, since the question is asked in the merged order and
//! answered from what was asked before; so a copy is dropped alike everywhere, also when a producer retried in another
//! region. A batch of which all sequences were seen is a duplicate; every other is fresh, and a gap drops nothing.
//!
//! Memory: an interval set per key, expired by merged stamp ([`Producers::expire_before`]), never by a clock. A gap is
//! never closed to save room, since that would drop a batch that comes late; instead, past [`INTERVALS_MAX`] gaps, the
//! oldest intervals are forgotten, and a copy that old would be merged again. A newer epoch leaves the older ones' state
//! to expire by itself.

use std::collections::BTreeMap;

use clock::Stamp;
use crdt::IntervalSet;
use entry::{PartitionId, TopicId};
use serde::{Deserialize, Serialize};

use crate::sequence;

/// How many intervals a key may have. A client has five batches under way, so that an honest one never has more than
/// a few; this bounds what a dishonest one can make every site keep.
const INTERVALS_MAX: usize = 1024;

/// Whose sequence numbers, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProducerKey {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The topic written to.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
}

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It has something new, or no numbers to judge it by: it takes its place.
    Fresh,
    /// All of it was merged before: it takes no place.
    Duplicate,
}

/// What was merged of all producers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    seen: BTreeMap<ProducerKey, Seen>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    merged: IntervalSet,
    /// The end of the highest batch: what later sequences are near to.
    end: u64,
    /// Where the latest batch sorted.
    at: Stamp,
}

impl Producers {
    /// Judges the next batch in the merged order, and remembers it. `at` is where it sorts.
    pub fn admit(&mut self, key: ProducerKey, base_sequence: i32, records: u32, at: Stamp) -> Verdict {
        let start = match self.seen.get(&key) {
            Some(seen) => sequence::unwrapped(base_sequence, seen.end),
            None => sequence::first(base_sequence),
        };
        let Some(start) = start.filter(|_| records > 0) else { return Verdict::Fresh };
        let end = start + u64::from(records);
        let unseen = || Seen { merged: IntervalSet::new(), end, at };
        let seen = self.seen.entry(key).or_insert_with(unseen);
        seen.end = seen.end.max(end);
        seen.at = seen.at.max(at);
        let is_fresh = seen.merged.insert(start..end);
        if seen.merged.len() > INTERVALS_MAX {
            seen.forget_oldest();
        }
        if is_fresh { Verdict::Fresh } else { Verdict::Duplicate }
    }

    /// Forgets the producers of which nothing was merged at or after a stamp. Call it at places that are a function of
    /// the merged order, or sites will differ about what is a duplicate. Looks at all keys.
    pub fn expire_before(&mut self, stamp: Stamp) {
        self.seen.retain(|_, seen| seen.at >= stamp);
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

impl Seen {
    fn forget_oldest(&mut self) {
        let second = self.merged.iter().nth(1).map(|interval| interval.start);
        if let Some(kept) = second {
            self.merged.remove_below(kept);
        }
    }
}

#[cfg(test)]
mod tests;
