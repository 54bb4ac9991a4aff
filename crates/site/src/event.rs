//! What goes into the machine.
//!
//! Everything is plain data, so that a run can be written down and played again.

use std::collections::BTreeMap;

use bytes::Bytes;
use disk::FileName;
use entry::{PartitionId, SiteId, TopicId};
use journal::WalPosition;

use crate::files::FileAnswer;
use crate::wire::Message;

/// Names one waiting client; the shell draws it and gets it back in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A client asks for something to be written.
    Request {
        /// Who waits.
        ticket: Ticket,
        /// For what.
        request: Request,
    },
    /// The client of this ticket waits no longer.
    Forget(Ticket),
    /// A link to a peer is up: greet it.
    LinkUp {
        /// Who is at the other end, by its certificate.
        site: SiteId,
    },
    /// The link is gone; what was on its way may or may not have arrived.
    LinkDown {
        /// Who was at the other end.
        site: SiteId,
    },
    /// A peer refuses our link: it says that another process that answers has our id.
    CalledDuplicate {
        /// Who says so, by its certificate.
        by: SiteId,
        /// In which words.
        reason: String,
    },
    /// A peer said something.
    Message {
        /// Who, by its certificate.
        from: SiteId,
        /// What.
        message: Message,
    },
    /// The link has taken this many bytes of entries off our hands.
    Room {
        /// Towards whom.
        site: SiteId,
        /// How many bytes.
        bytes: usize,
    },
    /// A WAL write is on the disk, synced.
    Written {
        /// Which.
        id: u64,
    },
    /// A WAL write found no room; nothing of it counts.
    WriteRefused {
        /// Which.
        id: u64,
    },
    /// The disk has become low, or has enough free again. While it is low nothing is taken in that can wait: what is left
    /// is for what was taken in before, and for what sites tell each other.
    DiskLow(bool),
    /// A WAL segment was made ready ahead of its use, or there was no room for it.
    Prepared {
        /// Whether it is there.
        done: bool,
    },
    /// A checkpoint is on the disk, or there was no room for it.
    Checkpointed {
        /// Which.
        id: u64,
        /// Up to where no recovery will need the WAL any more, if the checkpoint was written.
        drop_before: Option<WalPosition>,
    },
    /// A task on files is done, or was not to be done.
    FilesDone {
        /// Which.
        id: u64,
        /// What came of it.
        answer: FileAnswer,
    },
    /// Who read a file came upon damage in it.
    Damaged(FileName),
    /// Time passed.
    Tick,
    /// The operator says that the wall clock, which jumped, is right.
    AcceptClock,
    /// The operator wants the site to stop in good order.
    Stop,
}

/// What a client may ask to be written.
#[derive(Debug, Clone)]
pub enum Request {
    /// Append one record batch.
    Append(Append),
    /// Move a group's positions.
    Commit(Commit),
    /// Create a topic.
    CreateTopic {
        /// Its name.
        name: String,
        /// How many partitions.
        partitions: u32,
        /// Settings that differ from the defaults.
        settings: BTreeMap<String, String>,
    },
    /// Delete a topic, for ever.
    DeleteTopic {
        /// Its name.
        name: String,
    },
    /// Give a topic more partitions.
    GrowTopic {
        /// Its name.
        name: String,
        /// How many it shall have in all.
        partitions: u32,
    },
    /// Change settings; `None` takes one back to its default.
    AlterTopic {
        /// Its name.
        name: String,
        /// The settings.
        settings: BTreeMap<String, Option<String>>,
    },
    /// Let a merged log begin at an offset.
    DeleteRecords {
        /// The topic.
        topic: TopicId,
        /// Its partition.
        partition: PartitionId,
        /// The first offset that stays.
        before: u64,
    },
    /// A producer id that nobody has had before.
    ProducerId,
    /// Make a known site a member. Answered when the change has its place in the order.
    AddSite {
        /// The site.
        site: SiteId,
    },
    /// Let a site be a member no more, for good. Answered when the change has its place in the order.
    RemoveSite {
        /// The site.
        site: SiteId,
    },
    /// Go on without silent sites where no majority is left: an operator's decision. Answered once it is noted.
    GiveUp {
        /// The sites.
        sites: Vec<SiteId>,
        /// Who decides, for the record.
        who: String,
    },
    /// End a silent site's journal now, without waiting for the timeout. Answered once the members are asked.
    Fence {
        /// The site.
        site: SiteId,
    },
}

/// One record batch for one partition.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// Exactly one Kafka v2 record batch.
    pub records: Bytes,
    /// When the answer is due.
    pub acknowledge: Acknowledge,
    /// How long it may be held back before it is refused, in milliseconds, where its topic bounds what only this site
    /// has.
    pub patience_ms: u32,
}

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When it is durable here (`acks=1`).
    Local,
    /// When the topic's settings are met (`acks=all`): here, at k sites, or readable.
    All,
}

/// Positions of a group, as a member (or a tool) commits them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// Topic, partition, next offset to read, and what the client attached.
    pub positions: Vec<(TopicId, PartitionId, u64, String)>,
}
