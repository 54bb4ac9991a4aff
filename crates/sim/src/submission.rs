//! What clients asked to have written, and what became of it.
//!
//! Every batch carries its number in its records, so that a batch found anywhere can be traced to who sent it.

use std::collections::{BTreeMap, BTreeSet};

use batch::{Builder, NewRecord};
use bytes::Bytes;
use clock::Stamp;
use entry::{Body, Encoded, JournalId, PartitionId, Seq, TopicId};

use crate::checkers::truth::Truth;
use crate::checkers::{Verdict, broken, ensure};

/// One batch that a client wants to have written.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Where to.
    pub topic: TopicId,
    /// Which partition of it.
    pub partition: PartitionId,
    /// Its producer's id, if it has one: then it may be written at most once.
    pub producer: Option<i64>,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
    /// The last one of its producer in the same partition that had been acknowledged before this one was made.
    before: Option<usize>,
    /// The entries that hold it.
    entries: Vec<(JournalId, Seq)>,
    /// Where it is readable.
    offsets: Vec<u64>,
}

/// How much one site may have of a topic that no other has.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// How many bytes.
    pub bytes: Option<u64>,
    /// For how long, in milliseconds.
    pub ms: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Submissions {
    all: Vec<Submission>,
    by_entry: BTreeMap<(JournalId, Seq), usize>,
    /// The last one of each producer and partition that was acknowledged.
    acknowledged: BTreeMap<(i64, TopicId, PartitionId), usize>,
    /// Topics that somebody asked to delete: what is written to them may be dropped.
    doomed: BTreeSet<TopicId>,
    /// Topics of which one site may have only so much that no other has.
    bounds: BTreeMap<TopicId, Alone>,
    /// Topics that are compacted.
    compacted: BTreeSet<TopicId>,
}

/// How many keys records of a compacted topic have.
const KEYS: u64 = 12;

/// A producer's id and the number of a batch's first record; none for a producer without.
pub type Numbering = Option<(i64, i32)>;

impl Submissions {
    /// Makes a batch of so many records and takes it up.
    pub fn make(
        &mut self,
        (topic, partition): (TopicId, PartitionId),
        records: u64,
        padding: usize,
        numbering: Numbering,
    ) -> (usize, Bytes) {
        let number = self.all.len();
        let mut builder = Builder::new();
        if let Some((id, sequence)) = numbering {
            builder = builder.producer(id, 0, sequence);
        }
        for record in 0..records {
            let value = format!("{number}.{record}.{}", "x".repeat(padding));
            let mut new = NewRecord::value(1_790_000_000_000 + number as i64, value);
            if self.compacted.contains(&topic) {
                let which = number as u64 * 5 + record;
                new.key = Some(format!("key {}", which % KEYS).into());
                // The first record tells whose batch it is.
                new.value = new.value.filter(|_| record == 0 || !which.is_multiple_of(7));
            }
            builder.push(&new);
        }
        let producer = numbering.map(|(id, _)| id);
        let before = producer.and_then(|id| self.acknowledged.get(&(id, topic, partition)).copied());
        self.all.push(Submission {
            topic,
            partition,
            producer,
            acknowledged: false,
            before,
            entries: Vec::new(),
            offsets: Vec::new(),
        });
        (number, builder.build())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.all.iter().filter(|submission| submission.acknowledged).count()
    }

    /// A client was told that it is written.
    pub fn acknowledge(&mut self, number: usize) {
        let submission = &mut self.all[number];
        submission.acknowledged = true;
        if let Some(id) = submission.producer {
            let last = self.acknowledged.entry((id, submission.topic, submission.partition)).or_default();
            *last = number.max(*last);
        }
    }

    /// Somebody asked to delete a topic.
    pub fn doom(&mut self, topic: TopicId) {
        self.doomed.insert(topic);
    }

    /// A topic bounds what only one site has of it.
    pub fn bound(&mut self, topic: TopicId, most: Alone) {
        self.bounds.insert(topic, most);
    }

    /// A topic is compacted.
    pub fn compact(&mut self, topic: TopicId) {
        self.compacted.insert(topic);
    }

    /// Whether a topic is compacted.
    pub(crate) fn is_compacted(&self, topic: TopicId) -> bool {
        self.compacted.contains(&topic)
    }

    /// How much of a topic one site may have that no other has, if that is bounded.
    pub(crate) fn bound_of(&self, topic: TopicId) -> Option<Alone> {
        self.bounds.get(&topic).copied()
    }

    /// An entry is durable for the first time.
    pub(crate) fn journaled(&mut self, entry: &Encoded) {
        let Ok(Body::Batch(body)) = entry.body() else { return };
        let Some(number) = number_of(&body.records) else { return };
        let at = (entry.head.journal, entry.head.seq);
        self.by_entry.insert(at, number);
        if let Some(submission) = self.all.get_mut(number) {
            submission.entries.push(at);
        }
    }

    /// The earliest stamp of what a producer had been told to be written, when it made the batch with these records.
    pub(crate) fn stamped_before(&self, truth: &Truth, records: &Bytes) -> Option<Stamp> {
        let before = &self.all[self.all.get(number_of(records)?)?.before?];
        before.entries.iter().filter_map(|(journal, seq)| Some(truth.at(*journal, *seq)?.stamp)).min()
    }

    /// Whether this entry holds this submission.
    pub(crate) fn is_at(&self, number: usize, journal: JournalId, seq: Seq) -> bool {
        self.by_entry.get(&(journal, seq)) == Some(&number)
    }

    /// Fails unless the submission is readable in the merged log.
    pub(crate) fn is_readable(&self, number: usize) -> Verdict {
        let readable = self.all.get(number).is_some_and(|submission| {
            !submission.offsets.is_empty() || self.doomed.contains(&submission.topic)
        });
        ensure(readable, "I-02", || {
            format!("submission {number} is acknowledged as released and not readable")
        })
    }

    /// A batch is readable in the merged log.
    pub(crate) fn placed(&mut self, bytes: &Bytes, entry: (JournalId, Seq), offset: u64) -> Verdict {
        let number = number_of(bytes);
        let Some(submission) = number.and_then(|number| self.all.get_mut(number)) else {
            return broken("I-04", format!("the batch at offset {offset} was sent by nobody"));
        };
        let number = number.unwrap_or_default();
        ensure(submission.entries.contains(&entry), "I-04", || {
            format!(
                "submission {number} at offset {offset} does not come from entry {} of {}",
                entry.1, entry.0
            )
        })?;
        ensure(submission.producer.is_none() || submission.offsets.is_empty(), "I-19", || {
            format!("submission {number} is readable at {:?} and again at {offset}", submission.offsets)
        })?;
        submission.offsets.push(offset);
        Ok(())
    }

    /// The merged log has passed over a journaled batch: only a copy, or one of a topic that was deleted, may be left out.
    pub(crate) fn passed_over(&mut self, journal: JournalId, seq: Seq) -> Verdict {
        let number = self.by_entry.get(&(journal, seq)).copied();
        let Some(submission) = number.and_then(|number| self.all.get(number)) else {
            return broken("I-04", format!("entry {seq} of {journal} holds a batch that nobody sent"));
        };
        let copy = submission.producer.is_some() && !submission.offsets.is_empty();
        ensure(copy || self.doomed.contains(&submission.topic), "I-03", || {
            format!("entry {seq} of {journal} (submission {number:?}) was left out of the merged log")
        })
    }

    /// Of the merged logs only what lies below these ends stands.
    pub(crate) fn go_back(&mut self, ends: &BTreeMap<(TopicId, PartitionId), u64>) {
        for submission in &mut self.all {
            let end = ends.get(&(submission.topic, submission.partition)).copied().unwrap_or(0);
            submission.offsets.retain(|offset| *offset < end);
        }
    }

    /// In the end everything that was acknowledged is readable, and everything journaled as well, but for what was lost
    /// with the last disk that held it.
    pub(crate) fn finish(&self, truth: &Truth) -> Verdict {
        for (number, submission) in self.all.iter().enumerate() {
            let is_left = |(journal, seq): &(JournalId, Seq)| !truth.is_gone(*journal, *seq);
            let entries = &submission.entries;
            let due = if entries.is_empty() { submission.acknowledged } else { entries.iter().any(is_left) };
            let readable = !submission.offsets.is_empty() || self.doomed.contains(&submission.topic);
            ensure(!due || readable, "I-03", || {
                format!("submission {number} is nowhere readable: {submission:?}")
            })?;
        }
        Ok(())
    }
}

/// The number in a batch's first record.
fn number_of(bytes: &Bytes) -> Option<usize> {
    let limits = batch::DecompressLimits { bytes_max: 1 << 20, ratio_max: 1000 };
    let mut records = batch::records(bytes, limits).ok()?;
    let value = records.next()?.ok()?.value?;
    let text = std::str::from_utf8(&value).ok()?;
    text.split('.').next()?.parse().ok()
}
