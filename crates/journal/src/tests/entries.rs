//! Entries to put into a WAL.

use bytes::Bytes;
use clock::Stamp;
use entry::{BatchBody, Body, Encoded, Entry, Incarnation, JournalId, MemberEpoch, SiteId, TopicId};

use crate::Chain;

/// The journal of a site's second life.
pub(crate) fn journal(site: u16) -> JournalId {
    JournalId { site: SiteId(site), incarnation: Incarnation(1) }
}

/// Mints the entries of one journal: chained, stamped 1, 2, 3 and so on.
#[derive(Debug, Clone)]
pub(crate) struct Minter {
    journal: JournalId,
    chain: Chain,
    stamp: u64,
}

impl Minter {
    pub(crate) fn new(journal: JournalId) -> Minter {
        Minter { journal, chain: Chain::default(), stamp: 0 }
    }

    /// The next stamp will be the last one again.
    pub(crate) fn set_back(&mut self) {
        self.stamp -= 1;
    }

    /// Goes on behind `entry`.
    pub(crate) fn follow(&mut self, entry: &Encoded) {
        self.chain = Chain { next: entry.head.seq + 1, hash: entry.hash(), stamp: entry.head.stamp };
        self.stamp = entry.head.stamp.raw();
    }

    pub(crate) fn mint(&mut self, records: &[u8]) -> Encoded {
        self.stamp += 1;
        let topic = TopicId::derive(entry::ClusterId(Default::default()), "orders", 0);
        let body = Body::Batch(BatchBody { topic, partition: 0, records: Bytes::copy_from_slice(records) });
        let entry = Entry {
            journal: self.journal,
            seq: self.chain.next,
            stamp: Stamp::from_raw(self.stamp),
            epoch: MemberEpoch(1),
            previous: self.chain.hash,
            body,
        };
        let encoded = entry.encode().unwrap();
        self.chain = Chain { next: entry.seq + 1, hash: encoded.hash(), stamp: entry.stamp };
        encoded
    }
}
