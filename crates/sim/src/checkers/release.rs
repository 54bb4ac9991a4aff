//! I-21: what is released is held by a quorum, and nothing that sorts before it can still come.
//! I-23: the merged log's order is that of (stamp, site, incarnation, seq); within a journal it is the journal's.

use std::collections::BTreeMap;

use clock::Stamp;
use entry::{Cut, Encoded, JournalId, PartitionId, Seq, SiteId, TopicId};
use site::wire::Message;

use super::places::Places;
use super::seals::Seals;
use super::truth::{KnownBatch, Truth};
use super::{Verdict, ensure};

/// What was released anywhere.
#[derive(Debug)]
pub(super) struct Releases {
    /// Where everything stands in the order.
    pub(super) places: Places,
    /// The highest stamp of a released entry of a journal that never parted.
    reached: Stamp,
    parted: BTreeMap<JournalId, Seq>,
    seals: Seals,
    last: BTreeMap<(TopicId, PartitionId), (Stamp, JournalId, Seq)>,
}

impl Releases {
    pub(super) fn new(founders: &[SiteId]) -> Releases {
        Releases {
            places: Places::new(founders),
            reached: Stamp::ZERO,
            parted: BTreeMap::new(),
            seals: Seals::default(),
            last: BTreeMap::new(),
        }
    }

    /// A site says something.
    pub(super) fn sent(&mut self, truth: &Truth, message: &Message) -> Verdict {
        self.seals.sent((truth, &self.places), message)
    }

    /// A site has noted where a journal ends.
    pub(super) fn ended(&mut self, truth: &Truth, journal: JournalId, cut: Cut) -> Verdict {
        self.seals.ended((truth, &self.places), journal, cut)?;
        self.places.ended(journal, cut.next);
        Ok(())
    }

    /// Those who remain go on from their own places, after a majority was given up.
    pub(super) fn go_back(&mut self, truth: &Truth, knows_end: impl Fn(JournalId) -> bool) {
        self.places.go_back(truth, knows_end);
        self.seals.go_back(&self.places);
        self.reached = self.reached.min(self.places.reached());
        self.last.clear();
    }

    pub(super) fn has_ended(&self, journal: JournalId) -> bool {
        self.seals.is_beyond(journal, Seq::MAX)
    }

    /// Whether an entry sorts elsewhere than at its own stamp: its journal had parted, ended, or began later.
    fn sorts_elsewhere(&self, journal: JournalId, seq: Seq) -> bool {
        journal.incarnation.0 > 0 || self.seals.is_beyond(journal, seq)
    }

    /// A new entry is durable for the first time.
    pub(super) fn minted(&mut self, truth: &Truth, entry: &Encoded) -> Verdict {
        self.seals.minted((truth, &self.places), entry)?;
        self.places.minted(entry);
        if let Ok(entry::Body::Seal(seal)) = entry.body() {
            self.places.ended(seal.journal, seal.cut.next);
        }
        let (journal, seq, stamp) = (entry.head.journal, entry.head.seq, entry.head.stamp);
        if matches!(entry.body(), Ok(entry::Body::Part)) {
            self.parted.entry(journal).or_insert(seq);
        }
        let parted = self.parted.get(&journal).is_some_and(|parted| *parted <= seq);
        ensure(parted || self.sorts_elsewhere(journal, seq) || stamp > self.reached, "I-21", || {
            let reached = self.reached;
            format!("entry {seq} of journal {journal} is stamped {stamp}, but {reached} was released already")
        })
    }

    /// A batch is readable in a merged log for the first time anywhere.
    pub(super) fn released(
        &mut self,
        truth: &Truth,
        at: (TopicId, PartitionId),
        journal: JournalId,
        batch: KnownBatch,
    ) -> Verdict {
        let KnownBatch { seq, stamp, .. } = batch;
        let is_held = self.places.is_held(truth, journal, seq);
        ensure(is_held.is_ok(), "I-21", || {
            let holders = is_held.err().unwrap_or_default();
            format!("entry {seq} of journal {journal} is readable, but on {holders} platters of members only")
        })?;
        self.seals.released(journal, seq)?;
        if truth.had_parted(journal, seq) || self.sorts_elsewhere(journal, seq) {
            return Ok(());
        }
        let last = self.last.insert(at, (stamp, journal, seq));
        ensure(last.is_none_or(|last| last < (stamp, journal, seq)), "I-23", || {
            let (before, whose, which) = last.unwrap_or((stamp, journal, seq));
            format!(
                "entry {seq} of journal {journal}, stamped {stamp}, stands behind entry {which} of {whose}, stamped {before}"
            )
        })?;
        self.reached = self.reached.max(stamp);
        Ok(())
    }
}
