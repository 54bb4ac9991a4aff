//! A write to the WAL as plain data: what the shell carries out, in order, off the site's thread.

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};

/// One group commit on its way to the disk.
///
/// The shell carries out the operations in order and says [`crate::Wal::written`] once all have succeeded, or
/// [`crate::Wal::refused`] when the disk was full. Any other failure, and any failure of a sync, is the end of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalWrite {
    /// Names the write in the answer; the commit's lsn.
    pub id: u64,
    /// What to do, in order.
    pub ops: Vec<WalOp>,
}

/// One step of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalOp {
    /// Make `file` at least `len` bytes long, with real zeros rather than a hole, filled from the front, its name and
    /// length durable. If `recycle` names a file that still exists, give that one the name instead; its old bytes may
    /// stay. Doing it twice does no harm.
    Prepare {
        /// The file to end up with.
        file: FileName,
        /// Its least length in bytes.
        len: u64,
        /// A retired file to use up.
        recycle: Option<FileName>,
    },
    /// Write the chunks one behind the other from `offset` on.
    WriteAt {
        /// An existing file.
        file: FileName,
        /// A multiple of [`crate::frame::BLOCK_BYTES`].
        offset: u64,
        /// What to write; in all a multiple of [`crate::frame::BLOCK_BYTES`].
        chunks: Vec<Bytes>,
    },
    /// `fdatasync`.
    Sync {
        /// The file to sync.
        file: FileName,
    },
}

impl WalWrite {
    /// How many bytes will be written, padding included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let chunks = |op: &WalOp| match op {
            WalOp::WriteAt { chunks, .. } => chunks.iter().map(Bytes::len).sum(),
            _ => 0,
        };
        self.ops.iter().map(chunks).sum()
    }

    /// Carries out all operations on `disk`, here and now: for simulators and tests.
    ///
    /// # Errors
    /// The first [`DiskError`]; nothing after it was tried.
    pub fn carry_out(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.ops.iter().try_for_each(|op| op.carry_out(disk))
    }
}

impl WalOp {
    /// Carries out one operation on `disk`.
    ///
    /// # Errors
    /// As the operations of [`Disk`].
    pub fn carry_out(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        match self {
            WalOp::Prepare { file, len, recycle } => prepare(disk, file, *len, recycle.as_ref()),
            WalOp::WriteAt { file, offset, chunks } => {
                let mut at = *offset;
                for chunk in chunks {
                    disk.write(file, at, chunk)?;
                    at += chunk.len() as u64;
                }
                Ok(())
            }
            WalOp::Sync { file } => disk.sync(file),
        }
    }
}

fn prepare(
    disk: &mut dyn Disk,
    file: &FileName,
    len: u64,
    recycle: Option<&FileName>,
) -> Result<(), DiskError> {
    if let Some(retired) = recycle
        && disk.len(retired)?.is_some()
    {
        disk.rename(retired, file)?;
    }
    let held = disk.len(file)?;
    if held.is_none() {
        disk.write(file, 0, &[])?;
    }
    if held.unwrap_or(0) < len {
        disk.set_len(file, len)?;
        disk.sync(file)?;
    }
    Ok(())
}
