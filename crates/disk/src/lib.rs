//! The few file operations that the core asks for.
//!
//! The core does no I/O of its own: it is handed a [`Disk`]. `node` answers with real files, `sim` with files that lose
//! or tear whatever was not synced. Calls here are buffered or served from the page cache; the one operation that an
//! acknowledgement waits for, the WAL's write and sync, is *not* here: it leaves the core as an action and comes back
//! as an event, so that nothing in the core ever blocks on a flush.
//!
//! Files are named by relative paths with `/` ([`FileName`]); there is no way to name anything outside the data
//! directory.

use bytes::Bytes;
use thiserror::Error;

mod memory;
mod name;

pub use memory::MemoryDisk;
pub use name::{BadName, FileName};

/// Why a file operation did not happen. Each says what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiskError {
    /// No such file: for a reader, it was never written or has been dropped.
    #[error("{0} does not exist")]
    Missing(FileName),
    /// The file ends before the range that was asked for: for a reader, damage or a stale index.
    #[error("{file} holds {len} bytes, but bytes {offset}..{end} were asked for")]
    Short {
        /// The file that is too short.
        file: FileName,
        /// Its length in bytes.
        len: u64,
        /// First byte asked for.
        offset: u64,
        /// One past the last byte asked for.
        end: u64,
    },
    /// No room: refuse what is new, keep serving what is there, try again when there is space.
    #[error("no space left on the disk while writing {0}")]
    Full(FileName),
    /// The process has too many files open to open this one: as if there were no room.
    #[error("too many files are open to open {0}; raise the limit of open files (ulimit -n)")]
    TooManyOpen(FileName),
    /// The device failed: stop, restart, recover. Never retry a failed write or sync.
    #[error("{file}: {reason}")]
    Failed {
        /// The file at hand.
        file: FileName,
        /// What the operating system said.
        reason: String,
    },
}

impl DiskError {
    /// Whether it is only that the disk has no room, or the process no file to open: the same can be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, DiskError::Full(_) | DiskError::TooManyOpen(_))
    }
}

/// Files of one data directory.
///
/// Writes are buffered: until [`Disk::sync`] returns, a power cut may lose them, keep them, or keep part of them, in any
/// order. `sync` makes the file's bytes, its length and its name durable.
pub trait Disk {
    /// Names of the files directly or indirectly below `folder`, sorted; empty if there is no such folder.
    ///
    /// # Errors
    /// [`DiskError::Failed`] if the folder cannot be read.
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError>;

    /// Length in bytes, or `None` if there is no such file.
    ///
    /// # Errors
    /// [`DiskError::Failed`] if the file cannot be examined.
    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError>;

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Short`] or [`DiskError::Failed`].
    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError>;

    /// Writes at `offset`, creating the file (and its folders) and growing it with zeros as needed.
    ///
    /// # Errors
    /// [`DiskError::Full`] or [`DiskError::Failed`].
    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Cuts or zero-extends the file to `len` bytes.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Full`] or [`DiskError::Failed`].
    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError>;

    /// Makes the file durable.
    ///
    /// # Errors
    /// [`DiskError::Missing`] or [`DiskError::Failed`]; after a failure the file's tail is suspect for ever.
    fn sync(&mut self, file: &FileName) -> Result<(), DiskError>;

    /// Gives the file another name, replacing what bore it; atomic and durable when it returns. A name takes room, too.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Full`] or [`DiskError::Failed`].
    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError>;

    /// Removes the file; removing what is not there is no error.
    ///
    /// # Errors
    /// [`DiskError::Failed`] if the file system refuses.
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError>;
}
