//! The WAL against crashes, damage and its own past.

mod cache;
mod damage;
pub(crate) mod entries;
mod generated;
mod life;
mod unread;

use bytes::Bytes;
use disk::{FileName, MemoryDisk};

use crate::{OpenError, Record, Recovered, Truncation, Wal, WalOptions, WalPosition, WalWrite};
use entries::Minter;

fn folder() -> FileName {
    FileName::new("wal").unwrap()
}

fn segment(number: u32) -> FileName {
    crate::position::segment_file(&folder(), number)
}

/// Small segments: four blocks.
fn options() -> WalOptions {
    WalOptions { nonce: 0xfeed, segment_bytes: 4 * 4096, hot_bytes: 1000, recycle: 2 }
}

fn open(disk: &mut MemoryDisk) -> Result<Recovered, OpenError> {
    Wal::open(disk, &folder(), options(), WalPosition::START)
}

/// Opens, plays everything back from `from`, and reads what stands before.
fn reopen(
    disk: &mut MemoryDisk,
    from: WalPosition,
) -> Result<(Wal, Vec<Record>, Option<Truncation>), OpenError> {
    let Recovered { mut wal, truncated } = Wal::open(disk, &folder(), options(), from)?;
    let (mut at, mut records) = (from, Vec::new());
    while let Some(more) = wal.replay(disk, &mut at)? {
        records.extend(more);
    }
    assert_eq!(at, wal.position());
    while let Some(unread) = wal.unread() {
        assert!(wal.found(&unread.file, unread.read(disk).unwrap()), "{} is whole", unread.file);
    }
    Ok((wal, records, truncated))
}

/// Commits all that waits; gives back the writes.
fn commit(wal: &mut Wal, disk: &mut MemoryDisk) -> Vec<WalWrite> {
    let mut writes = Vec::new();
    while let Some(write) = wal.start_write() {
        write.carry_out(disk).unwrap();
        wal.written(write.id);
        writes.push(write);
    }
    writes
}

/// A WAL of as many commits as `sizes`, each of one entry of that many record bytes and one note.
fn filled(disk: &mut MemoryDisk, sizes: &[usize]) -> (Wal, Vec<Record>) {
    let mut wal = open(disk).unwrap().wal;
    let mut minter = Minter::new(entries::journal(1));
    let mut records = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let entry = minter.mint(&vec![number as u8 + 1; *size]);
        let note = Bytes::from(format!("note {number}"));
        wal.push_entry(&entry);
        wal.push_note(note.clone());
        records.extend([Record::Entry(entry), Record::Note(note)]);
        commit(&mut wal, disk);
    }
    (wal, records)
}
