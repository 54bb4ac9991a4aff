//! What recovery leaves for later: it is given to nobody before it was read, and nothing that is wrong with it goes unseen.

use std::collections::BTreeMap;

use bytes::Bytes;
use disk::{Disk, FileName, MemoryDisk};

use super::entries::journal;
use super::{commit, filled, folder, options, segment};
use crate::frame::{Frame, FrameHead};
use crate::{ReadError, Record, Wal, WalPosition};

/// Six segments with a commit each and a checkpoint at the end; gives back the entries.
fn covered(disk: &mut MemoryDisk) -> (WalPosition, Vec<Bytes>) {
    let (wal, records) = filled(disk, &[9000; 6]);
    let entry = |record: Record| match record {
        Record::Entry(entry) => Some(entry.bytes),
        Record::Note(_) => None,
    };
    (wal.position(), records.into_iter().filter_map(entry).collect())
}

fn open(disk: &mut MemoryDisk, from: WalPosition) -> Wal {
    Wal::open(disk, &folder(), options(), from).unwrap().wal
}

/// Reads what is left to read; gives back the files that are not whole.
fn read_back(wal: &mut Wal, disk: &MemoryDisk) -> Vec<FileName> {
    let mut lost = Vec::new();
    while let Some(unread) = wal.unread() {
        if !unread.read(disk).is_ok_and(|contents| wal.found(&unread.file, contents)) {
            assert!(wal.lose(&unread.file, &BTreeMap::from([(journal(1), 6)])));
            lost.push(unread.file);
        }
    }
    lost
}

#[test]
fn nothing_before_the_checkpoint_is_given_out_before_it_was_read() {
    let mut disk = MemoryDisk::new();
    let (from, entries) = covered(&mut disk);
    let mut wal = open(&mut disk, from);
    assert_eq!((wal.first(journal(1)), wal.next(journal(1)), wal.is_read()), (Some(5), Some(6), false));
    for number in (1..=5).rev() {
        assert!(wal.entries(&disk, journal(1), 0, usize::MAX).unwrap().is_empty(), "not yet");
        assert_eq!((wal.first(journal(1)), wal.oldest().segment), (Some(u64::from(number)), number + 1));
        assert!(wal.drop_before(&mut disk, from, &|_, _, _| true).unwrap().is_empty());
        let unread = wal.unread().unwrap();
        assert_eq!(unread.file, segment(number), "the latest first");
        assert!(wal.found(&unread.file, unread.read(&disk).unwrap()));
    }
    assert!(wal.is_read() && wal.oldest() == WalPosition::START);
    assert_eq!(wal.entries(&disk, journal(1), 0, usize::MAX).unwrap(), entries);
    assert_eq!(wal.oldest_entries().collect::<Vec<_>>(), [(journal(1), 0)]);
    assert_eq!(wal.drop_before(&mut disk, from, &|_, seq, _| seq < 2).unwrap(), [1, 2].map(segment));
}

#[test]
fn no_flipped_bit_before_the_checkpoint_goes_unseen() {
    let mut whole = MemoryDisk::new();
    let (from, entries) = covered(&mut whole);
    let bytes = whole.file_mut(&segment(3)).unwrap().clone();
    let frame = FrameHead::decode(&bytes).unwrap().total_bytes();
    for at in (0..90).chain((90..frame).step_by(37)).chain([frame - 1]) {
        let mut disk = whole.clone();
        disk.file_mut(&segment(3)).unwrap()[at] ^= 1 << (at % 8);
        let mut wal = open(&mut disk, from);
        assert_eq!(read_back(&mut wal, &disk), [segment(3)], "byte {at}");
        let dropped = ReadError::Dropped { journal: journal(1), first: 3 };
        assert_eq!(wal.entries(&disk, journal(1), 2, 0), Err(dropped));
        assert_eq!(wal.entries(&disk, journal(1), 3, usize::MAX).unwrap(), entries[3..]);
        assert_eq!(wal.oldest().segment, 4, "a replay of all that is whole begins behind the damage");
    }
}

/// What becomes of a file's bytes.
type Hurt<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_segment_that_is_short_or_empty_or_another_is_found_out() {
    let mut whole = MemoryDisk::new();
    let (from, _) = covered(&mut whole);
    let len = whole.len(&segment(2)).unwrap().unwrap();
    let other = whole.file_mut(&segment(4)).unwrap().clone();
    let hurt: [Hurt<'_>; 5] = [
        &|bytes| bytes.truncate(8000),
        &Vec::clear,
        &|bytes| bytes.fill(0),
        &|bytes| bytes.clone_from(&other),
        &|bytes| {
            let head = renamed(bytes);
            bytes[..64].copy_from_slice(&head);
        },
    ];
    for (number, hurt) in hurt.iter().enumerate() {
        let mut disk = whole.clone();
        hurt(disk.file_mut(&segment(2)).unwrap());
        let lost = read_back(&mut open(&mut disk, from), &disk);
        assert_eq!(lost.first(), Some(&segment(2)), "case {number} of {len} bytes");
    }
    let mut disk = whole.clone();
    let mut wal = open(&mut disk, from);
    let unread = wal.unread().unwrap();
    disk.remove(&unread.file).unwrap();
    unread.read(&disk).unwrap_err();
    assert!(wal.lose(&unread.file, &BTreeMap::new()));
    assert_eq!(wal.lost(), Some(5));
}

/// A frame's head as that of an earlier commit.
fn renamed(bytes: &[u8]) -> [u8; 64] {
    let head = FrameHead::decode(bytes).unwrap();
    let renamed = FrameHead { lsn: head.lsn - 1, ..head };
    let whole = Bytes::copy_from_slice(bytes).slice(..head.total_bytes());
    assert!(Frame::decode(renamed, whole).is_ok());
    renamed.encode()
}

#[test]
fn what_is_lost_is_dropped_when_others_hold_all_that_it_may_have_held() {
    let mut disk = MemoryDisk::new();
    let (from, _) = covered(&mut disk);
    for damaged in [4, 2] {
        disk.file_mut(&segment(damaged)).unwrap()[100] ^= 1;
    }
    let mut wal = open(&mut disk, from);
    assert_eq!(read_back(&mut wal, &disk), [4, 2].map(segment), "damage behind damage is found, too");
    assert_eq!(wal.closed().collect::<Vec<_>>(), [1, 3, 5].map(segment));
    assert_eq!((wal.first(journal(1)), wal.oldest().segment), (Some(4), 5));
    assert_eq!(wal.drop_before(&mut disk, from, &|_, seq, _| seq < 5).unwrap(), [segment(1)]);
    assert_eq!(wal.oldest_entries().collect::<Vec<_>>(), [(journal(1), 5)], "it may have held the last");
    let dropped = wal.drop_before(&mut disk, from, &|_, _, _| true).unwrap();
    assert_eq!((dropped.len(), wal.lost()), (4, None));
}

#[test]
fn damage_that_comes_later_is_found_by_looking_again() {
    let mut disk = MemoryDisk::new();
    let (mut wal, records) = filled(&mut disk, &[9000; 4]);
    assert_eq!(wal.closed().collect::<Vec<_>>(), [1, 2, 3].map(segment));
    assert!(wal.again(&segment(4)).is_none(), "more may be written to the last");
    let look = |wal: &mut Wal, disk: &MemoryDisk| {
        let again = wal.again(&segment(2)).unwrap();
        wal.found(&segment(2), again.read(disk).unwrap())
    };
    assert!(look(&mut wal, &disk));
    disk.file_mut(&segment(2)).unwrap()[5000] ^= 1;
    assert!(!look(&mut wal, &disk));
    assert!(wal.lose(&segment(2), &BTreeMap::from([(journal(1), 4)])));
    assert_eq!(
        (wal.closed().collect::<Vec<_>>(), wal.first(journal(1))),
        ([1, 3].map(segment).to_vec(), Some(2))
    );
    // The WAL goes on.
    wal.push_note(Bytes::from_static(b"next"));
    commit(&mut wal, &mut disk);
    assert_eq!(records.len(), 8);
    assert!(!wal.lose(&segment(9), &BTreeMap::new()));
}
