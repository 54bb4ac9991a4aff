//! The vocabulary that all sites share: ids, and the bytes of a journal entry.
//!
//! An entry's bytes are the same on every disk and on every link, for ever: a site writes them once, and everyone else
//! keeps and relays them verbatim. That is why they have a room of their own, below everything that gives them meaning.
//!
//! One file per kind of body, with its encoding, its decoding and its round trip side by side; the common head and the
//! chain are in [`head`].

mod batch;
mod begin;
mod body;
mod entry;
pub mod head;
mod ids;
mod members;
mod open;
mod progress;
mod seal;
mod topic;
mod trim;

pub use batch::BatchBody;
pub use begin::BeginBody;
pub use body::Body;
pub use entry::{Encoded, Entry, EntryError};
pub use head::{ChainHash, HEAD_BYTES, Head, Kind};
pub use ids::{
    ClusterId, Incarnation, JournalId, MemberEpoch, ORIGIN_RANGE_BITS, PartitionId, Seq, SiteId, StorageId,
    TopicId, origin_base,
};
pub use members::{Change, MembersBody};
pub use open::OpenBody;
pub use progress::{Move, ProgressBody};
pub use seal::{AdoptBody, Cut, SealBody};
pub use topic::TopicBody;
pub use trim::TrimBody;

/// The largest entry, head included, in bytes: what a receiver will hold in memory for one.
///
/// Kafka's default request cap is 100 MiB, ours 32 MiB; a single batch is at most half of that.
pub const ENTRY_BYTES_MAX: usize = 16 << 20;
