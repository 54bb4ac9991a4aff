//! What the page cache shows is not yet on the disk: recovery makes it so before it believes it.

use std::collections::BTreeSet;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName, MemoryDisk};

use super::{folder, options};
use crate::{Record, Recovered, Wal, WalPosition, WalWrite};

/// A disk behind a cache. Only what was written since the last attempt to sync is brought to the platter by a sync.
#[derive(Default)]
struct Cached {
    cache: MemoryDisk,
    platter: MemoryDisk,
    dirty: BTreeSet<(FileName, u64, Bytes)>,
}

impl Cached {
    /// The sync fails, and the pages look clean from then on.
    fn fail_to_sync(&mut self) {
        self.dirty.clear();
    }

    /// What is left after the power was cut.
    fn cut_power(self) -> Cached {
        Cached { cache: self.platter.clone(), platter: self.platter, dirty: BTreeSet::new() }
    }
}

impl Disk for Cached {
    fn list(&self, folder: &FileName) -> Result<Vec<FileName>, DiskError> {
        self.cache.list(folder)
    }
    fn len(&self, file: &FileName) -> Result<Option<u64>, DiskError> {
        self.cache.len(file)
    }
    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.cache.read(file, offset, len)
    }
    fn write(&mut self, file: &FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.dirty.insert((file.clone(), offset, Bytes::copy_from_slice(bytes)));
        self.cache.write(file, offset, bytes)
    }
    fn set_len(&mut self, file: &FileName, len: u64) -> Result<(), DiskError> {
        self.cache.set_len(file, len)
    }
    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        for (name, offset, bytes) in &self.dirty {
            if name == file {
                self.platter.write(file, *offset, bytes)?;
            }
        }
        self.dirty.retain(|(name, ..)| name != file);
        self.platter.set_len(file, self.cache.len(file)?.unwrap_or(0))
    }
    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.platter.rename(from, to)?;
        self.cache.rename(from, to)
    }
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.platter.remove(file)?;
        self.cache.remove(file)
    }
}

fn open(disk: &mut Cached) -> (Wal, Vec<Record>) {
    let Recovered { wal, .. } = Wal::open(disk, &folder(), options(), WalPosition::START).unwrap();
    let (mut at, mut records) = (WalPosition::START, Vec::new());
    while let Some(more) = wal.replay(disk, &mut at).unwrap() {
        records.extend(more);
    }
    (wal, records)
}

fn push(wal: &mut Wal, note: &'static [u8]) -> WalWrite {
    wal.push_note(Bytes::from_static(note));
    wal.start_write().unwrap()
}

/// All of a write but its sync.
fn write_only(write: &WalWrite, disk: &mut Cached) {
    write.ops[..write.ops.len() - 1].iter().for_each(|op| op.carry_out(disk).unwrap());
}

#[test]
fn what_recovery_has_shown_survives_a_power_cut() {
    for sync_fails in [false, true] {
        let mut disk = Cached::default();
        let (mut wal, _) = open(&mut disk);
        let first = push(&mut wal, b"synced");
        first.carry_out(&mut disk).unwrap();
        wal.written(first.id);
        write_only(&push(&mut wal, b"in the cache"), &mut disk);
        if sync_fails {
            disk.fail_to_sync();
        }
        let (_, shown) = open(&mut disk);
        assert_eq!(shown.len(), 2, "the process starts again and sees what the cache shows");
        let (_, left) = open(&mut disk.cut_power());
        assert_eq!(left, shown);
    }
}

#[test]
fn what_nobody_synced_and_nobody_was_shown_may_go() {
    let mut disk = Cached::default();
    let (mut wal, _) = open(&mut disk);
    let first = push(&mut wal, b"synced");
    first.carry_out(&mut disk).unwrap();
    wal.written(first.id);
    write_only(&push(&mut wal, b"in the cache"), &mut disk);
    let (_, left) = open(&mut disk.cut_power());
    assert_eq!(left, [Record::Note(Bytes::from_static(b"synced"))]);
}
