//! What comes out of the machine.

use bytes::Bytes;
use clock::Stamp;
use disk::FileName;
use entry::{PartitionId, SiteId, TopicId};
use journal::{WalOp, WalPosition, WalWrite};
use thiserror::Error;

use crate::event::Ticket;
use crate::files::FileTask;
use crate::wire::Message;

/// Something to do, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Write and sync, then say [`Event::Written`](crate::Event::Written). One at a time.
    Write(WalWrite),
    /// Make a WAL segment ready ahead of its use, beside the writes, then say
    /// [`Event::Prepared`](crate::Event::Prepared).
    Prepare(WalOp),
    /// Sync these files, write the checkpoint, then say [`Event::Checkpointed`](crate::Event::Checkpointed).
    Checkpoint {
        /// To be named in the event.
        id: u64,
        /// Files whose bytes the checkpoint relies on.
        sync: Vec<FileName>,
        /// Where in the WAL it stands.
        position: WalPosition,
        /// The machine's state.
        state: Bytes,
    },
    /// Do this to files, beside everything else, then say [`Event::FilesDone`](crate::Event::FilesDone).
    Files(FileTask),
    /// Send to a peer.
    Send {
        /// To whom.
        to: SiteId,
        /// Ahead of or behind what.
        lane: Lane,
        /// What.
        message: Message,
    },
    /// The link to a peer must be dropped and made anew.
    Hangup {
        /// To whom.
        to: SiteId,
        /// Why, for the log.
        reason: String,
    },
    /// Close all links, for as long as this process runs: another one is this site.
    GiveUpLinks {
        /// Why, for the others' logs.
        reason: String,
    },
    /// Answer a client.
    Reply {
        /// Whom.
        ticket: Ticket,
        /// With what.
        answer: Result<Answer, Refusal>,
    },
    /// There is more to read.
    Readable(Vec<Grown>),
    /// Topics, settings or live sites changed: take a new view.
    ViewChanged,
    /// Something an operator must see.
    Alarm(String),
    /// Something worth a line in the log.
    Remark(String),
    /// Let go of this machine and open another on the same data directory: it holds more now.
    Restart,
    /// The site has parted; the process may end.
    Stopped,
    /// The machine cannot go on: end the process, restart, recover.
    Halt(String),
}

/// How urgent a message is. Peers send control ahead of everything, a tail ahead of what is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Latest counts, may be lost: promises and frontiers.
    Pulse,
    /// Small and needed: hellos, needs, openings.
    Control,
    /// Entries just written.
    Tail,
    /// Entries that someone missed.
    CatchUp,
}

/// A log that grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grown {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// Whose origin log, or `None` for the merged log.
    pub origin: Option<SiteId>,
}

/// A request was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The batch is as durable as was asked.
    Appended {
        /// Its merged offset, where it is known already.
        base_offset: Option<u64>,
        /// Its stamp.
        stamp: Stamp,
    },
    /// The positions are durable here.
    Committed,
    /// The topic is (or was) this one.
    Topic(TopicId),
    /// A fresh producer id; its epoch is 0.
    ProducerId(i64),
    /// The members are asked to end the site's journal.
    Fencing,
    /// A change of the members has its place: it counts, unless another was there first.
    Members,
}

/// A request was not done. Each says whether to retry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Retry elsewhere, or after the start.
    #[error("this site takes no writes yet: {0}")]
    NotReady(String),
    /// Retry elsewhere.
    #[error("this site is stopping")]
    Stopping,
    /// Do not retry here: an operator must look.
    #[error("this site's journal is halted: {0}")]
    Halted(String),
    /// Retry when there is room.
    #[error("the disk is full; reading goes on, writing starts again when there is room")]
    DiskFull,
    /// Retry later.
    #[error("too much waits to be written; slow down")]
    Busy,
    /// Retry when the site that holds the order back is there again, or was fenced.
    #[error(
        "{waiting} entries wait for their place in the merged order, held back by {holder}: bring it back or fence it; \
         reading goes on"
    )]
    Backlog {
        /// How many entries wait.
        waiting: usize,
        /// Who holds them back.
        holder: String,
    },
    /// Retry later: the clock is being watched.
    #[error("the clock is not to be trusted now: {0}")]
    Clock(String),
    /// Retry after refreshing what topics there are.
    #[error("there is no such topic or partition")]
    UnknownPartition,
    /// Do not retry.
    #[error("the record batch is not acceptable: {0}")]
    BadBatch(batch::BatchError),
    /// Do not retry: send smaller batches.
    #[error("a batch of {bytes} bytes is over this topic's limit of {max}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// What the topic takes.
        max: usize,
    },
    /// Retry: an earlier batch of this producer was refused and has not come again.
    #[error("an earlier batch of this producer was refused and must come first")]
    EarlierRefused,
    /// Retry: nothing was written, and the topic wants no more that only this site has.
    #[error(
        "{bytes} bytes of this topic, the first of them {age_ms} ms old, are held by no other site, and its \
         replication.max.unreplicated settings allow no more"
    )]
    Unreplicated {
        /// How much there is.
        bytes: u64,
        /// How old the first of it is, in milliseconds.
        age_ms: u64,
    },
    /// Do not retry: an `Append` is one batch at a time.
    #[error("exactly one record batch is taken at a time, not {0}")]
    NotOneBatch(usize),
    /// There is nothing to fence, or it cannot be done now; says why.
    #[error("{0}")]
    Fence(String),
    /// The members cannot be changed so, or not now; says why.
    #[error("{0}")]
    Members(String),
    /// A topic change was refused; the catalog says why.
    #[error(transparent)]
    Catalog(#[from] CatalogRefusal),
}

/// Why a topic change was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CatalogRefusal {
    /// It is there already.
    #[error("topic {0} exists already")]
    Exists(String),
    /// It is not there.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// The name is not one a topic may have.
    #[error("{0}")]
    BadName(String),
    /// The number of partitions is not acceptable.
    #[error("{0}")]
    BadPartitions(String),
    /// A setting is not acceptable.
    #[error("{0}")]
    BadSetting(String),
}
