//! What is on the platters: every entry that was ever durable anywhere, and how far each site really holds each journal.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clock::Stamp;
use entry::{Body, ChainHash, Encoded, Incarnation, JournalId, PartitionId, Seq, SiteId, TopicId};
use journal::Record;

/// The entry in a record, if it is one.
pub(crate) fn entry(record: &Record) -> Option<&Encoded> {
    match record {
        Record::Entry(entry) => Some(entry),
        Record::Note(_) => None,
    }
}

/// An entry that is, or was, durable somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its stamp.
    pub stamp: Stamp,
}

impl Known {
    /// Its chain hash.
    #[must_use]
    pub fn hash(&self) -> ChainHash {
        ChainHash::of(&self.bytes)
    }
}

/// A batch in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBatch {
    /// Its entry.
    pub seq: Seq,
    /// Its entry's stamp.
    pub stamp: Stamp,
    /// The checksum in its header.
    pub crc: u32,
    /// Its length.
    pub bytes: u64,
}

/// One journal's batches of one partition.
pub type Part = (TopicId, PartitionId, JournalId);

const FIRST: JournalId = JournalId { site: SiteId(0), incarnation: Incarnation(0) };

/// Everything that is known for sure.
#[derive(Debug, Default)]
pub struct Truth {
    journals: BTreeMap<JournalId, Vec<Known>>,
    stamps: BTreeMap<(JournalId, Stamp), Seq>,
    batches: BTreeMap<Part, Vec<KnownBatch>>,
    parted: BTreeMap<JournalId, Seq>,
    /// How far each site holds each journal on its platter.
    held: BTreeMap<SiteId, BTreeMap<JournalId, Seq>>,
    /// The furthest that each site ever held each journal.
    ever: BTreeMap<SiteId, BTreeMap<JournalId, Seq>>,
    /// How far each site has given each journal to its disk.
    given: BTreeMap<SiteId, BTreeMap<JournalId, Seq>>,
    /// Sites whose disks were lost or put back at some time.
    lost: BTreeSet<SiteId>,
    /// From where on nothing of a journal was left when the last disk that held it was lost.
    gone: BTreeMap<JournalId, Seq>,
}

impl Truth {
    /// The entry of this journal and seq, if one was ever durable.
    #[must_use]
    pub fn at(&self, journal: JournalId, seq: Seq) -> Option<&Known> {
        self.journals.get(&journal)?.get(usize::try_from(seq).ok()?)
    }

    /// What is known at the place of this entry.
    #[must_use]
    pub fn known(&self, entry: &Encoded) -> Option<&Known> {
        self.at(entry.head.journal, entry.head.seq)
    }

    /// Which entry of a site's own journals, as far as it holds any of them, has this stamp. It may be one of a former journal:
    /// the last of that is acknowledged in the step in which the next one begins.
    #[must_use]
    pub fn own_with(&self, site: SiteId, stamp: Stamp) -> Option<(JournalId, Seq)> {
        let mut own = self.held.get(&site)?.keys().copied().filter(|journal| journal.site == site);
        own.find_map(|journal| Some((journal, *self.stamps.get(&(journal, stamp))?)))
    }

    /// How far a site holds a journal.
    #[must_use]
    pub fn held(&self, site: SiteId, journal: JournalId) -> Seq {
        self.held.get(&site).and_then(|held| held.get(&journal)).copied().unwrap_or(0)
    }

    /// How far a site holds every journal.
    #[must_use]
    pub fn frontier(&self, site: SiteId) -> BTreeMap<JournalId, Seq> {
        self.held.get(&site).cloned().unwrap_or_default()
    }

    /// How many sites hold an entry.
    #[must_use]
    pub fn holders(&self, journal: JournalId, seq: Seq) -> usize {
        self.held.values().filter(|held| held.get(&journal).is_some_and(|next| *next > seq)).count()
    }

    /// How many sites hold an entry, or rightly said so before their disks were lost.
    #[must_use]
    pub fn rightly_counted(&self, journal: JournalId, seq: Seq) -> usize {
        self.ever.keys().filter(|site| self.is_rightly_counted(**site, journal, seq)).count()
    }

    /// The same among some sites only.
    #[must_use]
    pub fn rightly_counted_among(&self, sites: &BTreeSet<SiteId>, journal: JournalId, seq: Seq) -> usize {
        sites.iter().filter(|site| self.is_rightly_counted(**site, journal, seq)).count()
    }

    /// Whether a site holds an entry, or rightly said so before its disk was lost.
    pub(crate) fn is_rightly_counted(&self, site: SiteId, journal: JournalId, seq: Seq) -> bool {
        let was_lost = || self.lost.contains(&site) && self.ever_held(site, journal) > seq;
        self.held(site, journal) > seq || was_lost()
    }

    /// Whether a disk was lost or put back, or its site is dead for good.
    #[must_use]
    pub fn has_lost_disks(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether all disks that held an entry were lost.
    #[must_use]
    pub fn is_gone(&self, journal: JournalId, seq: Seq) -> bool {
        self.gone.get(&journal).is_some_and(|from| seq >= *from)
    }

    /// A site's disk is lost.
    pub(crate) fn lose(&mut self, site: SiteId) {
        for (journal, next) in self.frontier(site) {
            let others = self.held.iter().filter(|(other, _)| **other != site);
            let left = others.filter_map(|(_, held)| held.get(&journal)).copied().max().unwrap_or(0);
            if left < next {
                let from = self.gone.entry(journal).or_insert(left);
                *from = left.min(*from);
            }
        }
        self.put_back(site, BTreeMap::new());
    }

    /// One journal's batches of one partition, in order.
    #[must_use]
    pub fn batches(&self, part: Part) -> &[KnownBatch] {
        self.batches.get(&part).map_or(&[], Vec::as_slice)
    }

    /// The batches of a topic that a site has of its own journals, and that no other site ever held. What was lost with a disk
    /// is nowhere any more.
    pub fn only_at(&self, site: SiteId, topic: TopicId) -> impl Iterator<Item = &KnownBatch> {
        let parts = self.batches.range((topic, 0, FIRST)..).take_while(move |(part, _)| part.0 == topic);
        parts.filter(move |(part, _)| part.2.site == site).flat_map(move |((_, _, journal), batches)| {
            let others = self.ever.iter().filter(move |(other, _)| **other != site);
            let held = others.filter_map(|(_, held)| held.get(journal)).copied().max().unwrap_or(0);
            let here = self.held(site, *journal);
            let left = batches.iter().rev().skip_while(move |batch| batch.seq >= here);
            left.take_while(move |batch| batch.seq >= held)
        })
    }

    /// Whether a journal had parted at some time before an entry.
    #[must_use]
    pub fn had_parted(&self, journal: JournalId, seq: Seq) -> bool {
        self.parted.get(&journal).is_some_and(|parted| *parted < seq)
    }

    /// A site's next entry to be given to its disk.
    pub(crate) fn given(&mut self, site: SiteId, journal: JournalId) -> &mut Seq {
        self.given.entry(site).or_default().entry(journal).or_default()
    }

    /// The furthest that a site ever held a journal: what others may still say of it after its disk was put back.
    #[must_use]
    pub fn ever_held(&self, site: SiteId, journal: JournalId) -> Seq {
        self.ever.get(&site).and_then(|held| held.get(&journal)).copied().unwrap_or(0)
    }

    /// Whether a site does not hold all that it ever held: its disk was lost or put back.
    #[must_use]
    pub fn lacks(&self, site: SiteId) -> bool {
        let mut ever = self.ever.get(&site).into_iter().flatten();
        ever.any(|(journal, next)| self.held(site, *journal) < *next)
    }

    /// A site's disk was put back and holds this.
    pub(crate) fn put_back(&mut self, site: SiteId, found: BTreeMap<JournalId, Seq>) {
        self.lost.insert(site);
        self.given.insert(site, found.clone());
        self.held.insert(site, found);
    }

    /// A site has taken over a copy and holds this. Says whose entries nobody ever held.
    pub(crate) fn took_over(&mut self, site: SiteId, found: &BTreeMap<JournalId, Seq>) -> Option<JournalId> {
        for (journal, next) in found {
            if *next > self.journals.get(journal).map_or(0, Vec::len) as u64 {
                return Some(*journal);
            }
            for furthest in [&mut self.held, &mut self.ever, &mut self.given] {
                let known = furthest.entry(site).or_default().entry(*journal).or_default();
                *known = (*known).max(*next);
            }
        }
        None
    }

    /// A site's process is gone: it goes on from what is durable, or from what it finds.
    pub(crate) fn ended(&mut self, site: SiteId) {
        let held = self.frontier(site);
        self.given.insert(site, held);
    }

    /// An entry is on a site's platter. Says whether it was on none before.
    pub(crate) fn add(&mut self, site: SiteId, entry: &Encoded) -> bool {
        let head = &entry.head;
        self.held.entry(site).or_default().insert(head.journal, head.seq + 1);
        let ever = self.ever.entry(site).or_default().entry(head.journal).or_default();
        *ever = (*ever).max(head.seq + 1);
        let journal = self.journals.entry(head.journal).or_default();
        if head.seq < journal.len() as u64 {
            return false;
        }
        journal.push(Known { bytes: entry.bytes.clone(), stamp: head.stamp });
        self.stamps.insert((head.journal, head.stamp), head.seq);
        match entry.body() {
            Ok(Body::Batch(batch)) => {
                let crc = batch::parse(&batch.records).map_or(0, |header| header.info().crc);
                let part = (batch.topic, batch.partition, head.journal);
                let bytes = batch.records.len() as u64;
                let known = KnownBatch { seq: head.seq, stamp: head.stamp, crc, bytes };
                self.batches.entry(part).or_default().push(known);
            }
            Ok(Body::Part) => {
                self.parted.entry(head.journal).or_insert(head.seq);
            }
            _ => {}
        }
        true
    }

    /// How many entries were ever durable.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.journals.values().map(Vec::len).sum()
    }
}
