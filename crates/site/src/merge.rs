//! The merge at work: released entries take effect here, in the one order that all sites share.
//!
//! What an entry does at its merged position is a function of the entries before it and of nothing else: the catalog
//! that interprets it is the one at that position, duplicates are judged by what was merged before. No clock, no
//! setting of this machine, no client has a say.
//!
//! A release takes effect only when the note that records it is durable: what was readable once is readable after any
//! restart, even of an isolated site.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use catalog::{ApplyError, Catalog};
use clock::Stamp;
use disk::Disk;
use entry::{Body, Encoded, JournalId, MemberEpoch, PartitionId, Seq, SiteId, TopicBody, TopicId, TrimBody};
use order::{Effect, Order, Producers, Release, Verdict, Weight};
use partition::{Logs, LogsError, OriginKey};
use serde::{Deserialize, Serialize};

use crate::mutant::Switch;

/// The order, and what has been made of it.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) order: Order,
    pub(crate) producers: Producers,
    /// The catalog at the merged position.
    pub(crate) catalog: Catalog,
    /// Catalog changes that had their place before what they build on: a fenced site's next life comes before its tail.
    early: Vec<Bytes>,
    unreleased: BTreeMap<JournalId, VecDeque<(Seq, Deed)>>,
    /// Released, but not to be seen before the note that says so is durable.
    releasing: Option<Vec<Release>>,
    /// Counts, for metrics.
    pub(crate) counts: Counts,
    /// The period, by merged stamps, in which it was last looked at what need not be kept; and how long one is.
    pub(crate) retained: u64,
    pub(crate) period_ms: u64,
    /// The hour, by merged stamps, in which producers were last expired.
    expired_hour: u64,
}

/// How long a producer's sequence numbers are remembered after its last batch, by merged stamps: as long as Kafka does.
const PRODUCER_HOURS: u64 = 7 * 24;
const HOUR_MS: u64 = 3_600_000;

/// What the merge did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Batches that were there already.
    pub duplicates: u64,
    /// Batches of a topic that was deleted before them in the order.
    pub dropped: u64,
}

/// What a held entry will do at its merged position: as little of it as that takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Batch { topic: TopicId, partition: PartitionId, origin_offset: u64, producer: Option<ProducerBatch> },
    Catalog(Bytes),
    Topic(TopicBody),
    Trim(TrimBody),
    Nothing,
}

/// The producer's numbering of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerBatch {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: u32,
}

impl ProducerBatch {
    /// The numbering, if the batch has one.
    pub(crate) fn of(records: &[u8]) -> Option<ProducerBatch> {
        let info = batch::parse(records).ok()?.info();
        (info.producer_id >= 0 && info.base_sequence >= 0).then_some(ProducerBatch {
            id: info.producer_id,
            epoch: info.producer_epoch,
            base_sequence: info.base_sequence,
            records: info.records,
        })
    }
}

/// What a released entry came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A batch got this place in the merged log.
    Placed { topic: TopicId, partition: PartitionId, base_offset: u64 },
    /// A batch took no place: it was there already, or its topic is gone.
    NoPlace,
    /// The catalog changed, by these changes one after the other.
    Catalog(Vec<Bytes>),
    /// A topic is known now.
    Topic(TopicBody),
    /// A journal left or entered the order.
    Membership(Effect),
    /// Nothing to tell.
    Nothing,
}

impl Merge {
    pub(crate) fn new(order: Order, catalog: Catalog, period_ms: u64) -> Merge {
        Merge {
            order,
            producers: Producers::default(),
            catalog,
            early: Vec::new(),
            unreleased: BTreeMap::new(),
            releasing: None,
            counts: Counts::default(),
            retained: 0,
            period_ms,
            expired_hour: 0,
        }
    }

    /// An entry is durable here: it waits for its place.
    pub(crate) fn hold(&mut self, entry: &Encoded, deed: Deed, weight: Weight) {
        let head = &entry.head;
        self.order.held(head.journal, head.seq, head.stamp, weight);
        self.unreleased.entry(head.journal).or_default().push_back((head.seq, deed));
    }

    /// Asks the order for more, unless the last answer is not durable yet. Returns the position to note, if it moved.
    pub(crate) fn release(&mut self, most: usize, switch: Switch, careless: bool) -> Option<u64> {
        if self.releasing.is_some() {
            return None;
        }
        let released = self.ask_order(most, switch, careless);
        if released.is_empty() {
            return None;
        }
        self.releasing = Some(released);
        Some(self.order.position())
    }

    #[cfg(feature = "mutants")]
    fn ask_order(&mut self, most: usize, switch: Switch, careless: bool) -> Vec<Release> {
        use crate::mutant::Mutant::{PromisesIgnored, QuorumOfOne};
        let quorum = !switch.has(QuorumOfOne) && !careless;
        self.order.release_carelessly(most, !switch.has(PromisesIgnored), quorum)
    }

    #[cfg(not(feature = "mutants"))]
    fn ask_order(&mut self, most: usize, _switch: Switch, _careless: bool) -> Vec<Release> {
        self.order.release(most)
    }

    /// How many entries have taken effect in all.
    pub(crate) fn in_effect(&self) -> u64 {
        self.order.position() - self.releasing.as_ref().map_or(0, Vec::len) as u64
    }

    /// How far a journal's entries have taken effect.
    pub(crate) fn next_in_effect(&self, journal: JournalId) -> Seq {
        let waits = self.unreleased.get(&journal).and_then(VecDeque::front);
        waits.map_or_else(|| self.order.next_unreleased(journal), |(seq, _)| *seq)
    }

    /// Whether the order has given something out that has not taken effect.
    pub(crate) fn is_releasing(&self) -> bool {
        self.releasing.is_some()
    }

    /// The release up to `position` is durable: what is to take effect.
    pub(crate) fn take_released(&mut self, position: u64) -> Vec<Release> {
        match self.releasing.take() {
            Some(released) => {
                assert_eq!(self.order.position(), position, "one release is noted at a time");
                released
            }
            // Recovery: the note is all there is, and the order follows it.
            None => self.order.replay(position),
        }
    }

    /// These have not taken effect: there was no room for the first of them.
    pub(crate) fn keep_released(&mut self, released: &[Release]) {
        self.releasing = Some(released.to_vec());
    }

    /// One entry takes effect. After a full disk the same can be tried again.
    pub(crate) fn apply(
        &mut self,
        release: &Release,
        logs: &mut Logs,
        disk: &mut dyn Disk,
    ) -> Result<Outcome, LogsError> {
        self.expire_producers(release.at);
        let queue = self.unreleased.get_mut(&release.journal).expect("what is released was held");
        let (seq, deed) = queue.pop_front().expect("what is released was held");
        assert_eq!(seq, release.seq, "a journal's entries are released in its order");
        Ok(match deed {
            Deed::Nothing => match &release.effect {
                Effect::None => Outcome::Nothing,
                effect => Outcome::Membership(effect.clone()),
            },
            Deed::Catalog(changes) => Outcome::Catalog(self.change_catalog(changes)),
            Deed::Topic(topic) => {
                let _ = self.catalog.restate(&topic);
                Outcome::Topic(topic)
            }
            Deed::Trim(trim) => {
                if self.catalog.topic(trim.topic).is_some_and(|topic| !topic.deleted) {
                    logs.trim(disk, (trim.topic, trim.partition), trim.before)?;
                }
                Outcome::Nothing
            }
            Deed::Batch { topic, partition, origin_offset, producer } => {
                if self.refuses(topic, partition, producer, release) {
                    return Ok(Outcome::NoPlace);
                }
                let key = OriginKey { topic, partition, journal: release.journal };
                let appended = logs.append_merged(disk, key, origin_offset, release.at);
                if appended.is_err() {
                    // Its producer's numbering was looked at, and must not be once more.
                    let queue = self.unreleased.entry(release.journal).or_default();
                    queue.push_front((seq, Deed::Batch { topic, partition, origin_offset, producer: None }));
                }
                let base_offset = appended?;
                // The release is durable by now: what is appended may be read.
                logs.publish();
                Outcome::Placed { topic, partition, base_offset }
            }
        })
    }

    /// A catalog change has its place: it takes effect, together with those that waited for it, or waits for what it builds
    /// on. Returns what took effect.
    fn change_catalog(&mut self, changes: Bytes) -> Vec<Bytes> {
        self.early.push(changes);
        let mut applied = Vec::new();
        loop {
            let before = self.early.len();
            for changes in std::mem::take(&mut self.early) {
                match self.catalog.apply(&changes) {
                    Ok(_) => applied.push(changes),
                    Err(ApplyError::NotYet { .. }) => self.early.push(changes),
                    Err(_) => {}
                }
            }
            if self.early.is_empty() || self.early.len() == before {
                return applied;
            }
        }
    }

    fn refuses(
        &mut self,
        topic: TopicId,
        partition: PartitionId,
        producer: Option<ProducerBatch>,
        release: &Release,
    ) -> bool {
        if self.catalog.topic(topic).is_none_or(|topic| topic.deleted) {
            self.counts.dropped += 1;
            return true;
        }
        let Some(batch) = producer else { return false };
        let key = order::ProducerKey { id: batch.id, epoch: batch.epoch, topic, partition };
        let verdict = self.producers.admit(key, batch.base_sequence, batch.records, release.at);
        if verdict == Verdict::Duplicate {
            self.counts.duplicates += 1;
        }
        verdict == Verdict::Duplicate
    }

    /// Whether a topic was deleted at this position already: for good, so nothing of it will ever be read.
    pub(crate) fn is_gone(&self, topic: TopicId) -> bool {
        self.catalog.topic(topic).is_some_and(|topic| topic.deleted)
    }

    /// Forgets producers that have been silent for long. When that happens is a function of merged stamps alone, to the
    /// full hour, so that doing it again after a restart changes nothing.
    fn expire_producers(&mut self, at: Stamp) {
        let hour = at.unix_ms() / HOUR_MS;
        if hour > self.expired_hour {
            self.expired_hour = hour;
            self.producers.expire_before(Stamp::from_unix_ms(hour.saturating_sub(PRODUCER_HOURS) * HOUR_MS));
        }
    }

    /// How many entries are held and not released, over all journals.
    pub(crate) fn unreleased(&self) -> usize {
        self.unreleased.values().map(VecDeque::len).sum()
    }

    /// What one site wrote, in this life or before, and waits for its place.
    pub(crate) fn waiting(&self, site: SiteId) -> impl Iterator<Item = &Deed> {
        let own = self.unreleased.iter().filter(move |(journal, _)| journal.site == site);
        own.flat_map(|(_, deeds)| deeds).map(|(_, deed)| deed)
    }

    /// Catalog changes that had their place before what they build on.
    pub(crate) fn early(&self) -> impl Iterator<Item = &Bytes> {
        self.early.iter()
    }

    /// The state, for a checkpoint.
    ///
    /// # Panics
    /// While a release is under way: the order is then ahead of what took effect.
    pub(crate) fn snapshot(&self) -> MergeState {
        assert!(self.releasing.is_none(), "no checkpoint while a release is under way");
        MergeState {
            order: self.order.clone(),
            producers: self.producers.clone(),
            catalog: self.catalog.save(),
            early: self.early.clone(),
            unreleased: self.unreleased.clone(),
            counts: self.counts,
            retained: self.retained,
        }
    }

    /// Continues from a checkpoint.
    pub(crate) fn restore(state: MergeState, catalog: Catalog, period_ms: u64) -> Merge {
        Merge {
            order: state.order,
            producers: state.producers,
            catalog,
            early: state.early,
            unreleased: state.unreleased,
            releasing: None,
            counts: state.counts,
            retained: state.retained,
            period_ms,
            expired_hour: 0,
        }
    }
}

/// What a checkpoint keeps of the merge.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MergeState {
    order: Order,
    producers: Producers,
    pub(crate) catalog: Bytes,
    early: Vec<Bytes>,
    unreleased: BTreeMap<JournalId, VecDeque<(Seq, Deed)>>,
    counts: Counts,
    retained: u64,
}

impl MergeState {
    /// The same in another site's hands.
    pub(crate) fn handed_to(self, own: SiteId) -> MergeState {
        MergeState { order: self.order.handed_to(own), ..self }
    }
}

/// What an entry will do, as far as its bytes say; its origin offset comes from the origin log.
pub(crate) fn weight(body: &Body, epoch: MemberEpoch) -> Weight {
    match body {
        Body::Part => Weight::Part { epoch },
        Body::Open(open) => Weight::Open { journal: open.journal, first: open.first },
        Body::Seal(seal) => Weight::Seal { journal: seal.journal, cut: seal.cut.next },
        Body::Adopt(adopt) => {
            Weight::Adopt { journal: adopt.journal, from: adopt.from, upto: adopt.upto.next, epoch }
        }
        Body::Members(members) => Weight::Members { epoch: members.epoch, change: members.change },
        _ => Weight::Data,
    }
}
