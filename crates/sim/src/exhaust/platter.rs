//! A disk that writes down what it is asked, so that the power can be cut after every operation of it.
//!
//! Between two syncs each write is a piece by itself that the platter may have or not; longer writes are several. A
//! length and a removal are pieces, too. A sync settles what its file has, and all removals; a rename settles the name
//! at once, as a journaling file system does that is asked to.

use std::collections::BTreeSet;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName, MemoryDisk};

/// What is written as a whole or not at all, in the WAL: so that a frame of one block can be torn, too.
const WAL_PIECE_BYTES: usize = 1024;
/// The same in other files.
const PIECE_BYTES: usize = 4096;

/// An operation that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Write { file: FileName, offset: u64, bytes: Bytes },
    Length { file: FileName, len: u64 },
    Remove { file: FileName },
    Sync { file: FileName },
    Rename { from: FileName, to: FileName },
}

/// A disk in memory with a diary.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    seen: MemoryDisk,
    pub(crate) ops: Vec<Op>,
}

/// What is on the platter for sure, and the pieces that may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter {
    sure: MemoryDisk,
    pub(crate) pieces: Vec<Op>,
    /// All files that there ever were.
    pub(crate) names: BTreeSet<FileName>,
}

impl Platter {
    /// Takes the next operation.
    pub(crate) fn take(&mut self, op: &Op) {
        if !self.names.contains(op.file()) {
            self.names.insert(op.file().clone());
        }
        match op {
            Op::Write { file, offset, bytes } => {
                let whole = if file.as_str().starts_with("wal/") { WAL_PIECE_BYTES } else { PIECE_BYTES };
                if bytes.is_empty() {
                    self.pieces.push(op.clone());
                }
                for at in (0..bytes.len()).step_by(whole) {
                    let bytes = bytes.slice(at..(at + whole).min(bytes.len()));
                    self.pieces.push(Op::Write { file: file.clone(), offset: offset + at as u64, bytes });
                }
            }
            Op::Length { .. } | Op::Remove { .. } => self.pieces.push(op.clone()),
            Op::Sync { file } => {
                self.settle(|piece| piece.file() == file || matches!(piece, Op::Remove { .. }));
            }
            Op::Rename { from, to } => self.rename(from, to),
        }
    }

    /// The name is settled; what was not synced of the file is as open as before.
    fn rename(&mut self, from: &FileName, to: &FileName) {
        self.settle(|piece| matches!(piece, Op::Remove { .. }));
        self.pieces.retain(|piece| piece.file() != to);
        self.pieces.iter_mut().filter(|piece| piece.file() == from).for_each(|piece| piece.move_to(to));
        apply(&mut self.sure, &Op::Write { file: from.clone(), offset: 0, bytes: Bytes::new() });
        apply(&mut self.sure, &Op::Rename { from: from.clone(), to: to.clone() });
    }

    fn settle(&mut self, is_settled: impl Fn(&Op) -> bool) {
        let (settled, open): (Vec<Op>, Vec<Op>) =
            std::mem::take(&mut self.pieces).into_iter().partition(is_settled);
        settled.iter().for_each(|piece| apply(&mut self.sure, piece));
        self.pieces = open;
    }

    /// The disk after a power cut that kept the pieces that `keeps` names.
    pub(crate) fn after(&self, keeps: impl Fn(usize) -> bool) -> MemoryDisk {
        let mut disk = self.sure.clone();
        for (_, piece) in self.pieces.iter().enumerate().filter(|(number, _)| keeps(*number)) {
            apply(&mut disk, piece);
        }
        disk
    }
}

impl Op {
    fn file(&self) -> &FileName {
        match self {
            Op::Write { file, .. } | Op::Length { file, .. } | Op::Remove { file } | Op::Sync { file } => {
                file
            }
            Op::Rename { to, .. } => to,
        }
    }

    fn move_to(&mut self, to: &FileName) {
        if let Op::Write { file, .. } | Op::Length { file, .. } = self {
            *file = to.clone();
        }
    }
}

/// Carries out what needs no file to be there: a piece may be kept without the one that made its file.
fn apply(disk: &mut MemoryDisk, op: &Op) {
    let done = match op {
        Op::Write { file, offset, bytes } => disk.write(file, *offset, bytes),
        Op::Length { file, len } => disk.write(file, 0, &[]).and_then(|()| disk.set_len(file, *len)),
        Op::Remove { file } => disk.remove(file),
        Op::Sync { .. } => Ok(()),
        Op::Rename { from, to } => disk.rename(from, to),
    };
    done.expect("a disk in memory refuses nothing that was done before");
}

impl Disk for Diary {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        self.seen.list(folder)
    }

    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        self.seen.len(file)
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.seen.read(file, offset, len)
    }

    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.seen.write(file, offset, bytes)?;
        self.ops.push(Op::Write { file: file.clone(), offset, bytes: Bytes::copy_from_slice(bytes) });
        Ok(())
    }

    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.seen.set_len(file, len)?;
        self.ops.push(Op::Length { file: file.clone(), len });
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.seen.sync(file)?;
        self.ops.push(Op::Sync { file: file.clone() });
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.seen.rename(from, to)?;
        self.ops.push(Op::Rename { from: from.clone(), to: to.clone() });
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        if self.seen.len(file)?.is_some() {
            self.ops.push(Op::Remove { file: file.clone() });
        }
        self.seen.remove(file)
    }
}

#[cfg(test)]
mod tests {
    use super::{Diary, Platter};
    use disk::{Disk, FileName};

    #[test]
    fn what_is_synced_is_sure_and_the_rest_may_be() {
        let (a, b) = (FileName::new("a").unwrap(), FileName::new("b").unwrap());
        let mut diary = Diary::default();
        diary.write(&a, 0, b"one").unwrap();
        diary.sync(&a).unwrap();
        diary.write(&a, 0, b"two").unwrap();
        diary.write(&b, 0, b"b").unwrap();
        diary.remove(&b).unwrap();
        let mut platter = Platter::default();
        diary.ops.iter().for_each(|op| platter.take(op));
        assert_eq!(platter.pieces.len(), 3);
        let read = |keeps: u32| {
            let disk = platter.after(|piece| keeps & 1 << piece != 0);
            (disk.read(&a, 0, 3).unwrap().to_vec(), disk.len(&b).unwrap())
        };
        assert_eq!(read(0), (b"one".to_vec(), None));
        assert_eq!(read(0b011), (b"two".to_vec(), Some(1)));
        assert_eq!(read(0b111), (b"two".to_vec(), None));
    }
}
