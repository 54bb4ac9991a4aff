//! The hash chain, the write-ahead log, recovery and checkpoints.
//!
//! A node has one WAL for all journals, so that one sync covers everything that waits. This room decides what bytes go
//! where and what to believe of the bytes found after a crash; it reads and tidies through a [`disk::Disk`], and hands
//! the one write that acknowledgements wait for to the shell as plain data ([`WalWrite`]).
//!
//! What it refuses: to cut anything that a later commit proves to have been durable ([`OpenError::Corrupt`]); to hand
//! out a byte whose checksum it has not verified; to know what an entry means.
//!
//! - [`frame`]: the bytes of one group commit; [`scan()`] walks a file of them, read-only.
//! - [`Wal`]: what is queued, in flight, durable, and where to find it again.
//! - [`Unread`]: what recovery left for later.
//! - [`Chain`]: what a journal's next entry must look like.
//! - [`checkpoint`]: the state that recovery starts from.
//! - [`owner`]: the note that says which process owns a data directory.

mod chain;
pub mod checkpoint;
pub mod frame;
mod index;
mod open;
pub mod owner;
mod position;
mod queue;
mod record;
mod scan;
mod unread;
mod wal;
mod write;

pub use chain::{Chain, ChainError};
pub use index::ReadError;
pub use open::{OpenError, Recovered, Truncation};
pub use position::WalPosition;
pub use record::{BadRecord, Record};
pub use scan::{Scan, Seen, scan};
pub use unread::{Contents, Unread};
pub use wal::{Wal, WalOptions};
pub use write::{WalOp, WalWrite};

#[cfg(test)]
mod tests;
