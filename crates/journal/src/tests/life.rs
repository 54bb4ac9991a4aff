//! A WAL's ordinary life: commits, rolls, reading back, dropping, using files again.

use bytes::Bytes;
use disk::{Disk, FileName, MemoryDisk};

use super::entries::{Minter, journal};
use super::{commit, filled, folder, open, options, reopen, segment};
use crate::frame::{self, Queued};
use crate::{OpenError, ReadError, Record, Seen, Wal, WalOp, WalPosition, scan};

#[test]
fn what_was_written_comes_back_in_order_across_segments() {
    let mut disk = MemoryDisk::new();
    let (wal, records) = filled(&mut disk, &[10, 5000, 3, 9000, 40_000, 1]);
    let (again, played, truncated) = reopen(&mut disk, WalPosition::START).unwrap();
    assert_eq!((played, truncated), (records, None));
    assert_eq!(again.position(), wal.position());
    assert_eq!(wal.position(), WalPosition { lsn: 8, segment: 4, offset: 8192 });
    assert_eq!(disk.len(&segment(3)).unwrap(), Some(40_960), "a long commit has a long file");
}

#[test]
fn golden_bytes_of_one_frame() {
    let records =
        [Queued::new(Record::Note(Bytes::from_static(b"note"))), Queued::new(Record::Note(Bytes::new()))];
    let (chunks, rows) = frame::encode(2, 0xfeed, 3, &records);
    let bytes = chunks.concat();
    let hex: String = bytes[..92].iter().map(|byte| format!("{byte:02x}")).collect();
    let head = "4d57414c0001000000000000000000020000000000000000000000000000feed00000003000000020000001c";
    assert_eq!(hex[..88], *head);
    let rest =
        "a8a746ad0000000000000000000000001f2fc6cb0200000000000004c981627b0200000000000000000000006e6f7465";
    assert_eq!(hex[88..], *rest);
    assert_eq!((bytes.len(), rows[0].at, rows[1].at), (4096, 88, 92));
    assert!(bytes[92..].iter().all(|byte| *byte == 0));
}

#[test]
fn one_commit_takes_all_that_waits_and_copies_no_entry() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let entry = Minter::new(journal(1)).mint(b"records");
    wal.push_entry(&entry);
    let first = wal.start_write().unwrap();
    wal.push_note(Bytes::from_static(b"a"));
    wal.push_note(Bytes::from_static(b"b"));
    assert_eq!((wal.start_write(), wal.is_writing(), wal.waiting_bytes()), (None, true, 2));
    let WalOp::WriteAt { chunks, .. } = &first.ops[1] else { panic!("{first:?}") };
    assert_eq!(chunks[1].as_ptr(), entry.bytes.as_ptr());
    assert_eq!(wal.entries(&disk, journal(1), 0, 1000).unwrap(), Vec::<Bytes>::new(), "not durable yet");
    first.carry_out(&mut disk).unwrap();
    assert_eq!(wal.written(first.id), [Record::Entry(entry.clone())]);
    assert_eq!(wal.entries(&disk, journal(1), 0, 1000).unwrap(), [entry.bytes]);
    let second = wal.start_write().unwrap();
    assert_eq!((second.bytes(), wal.waiting_bytes()), (4096, 0));
    second.carry_out(&mut disk).unwrap();
    assert_eq!(wal.written(second.id).len(), 2);
}

#[test]
fn records_that_belong_together_share_a_commit_however_long_they_are() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let limit = usize::try_from(options().segment_bytes).unwrap();
    let note = |bytes: usize| Record::Note(Bytes::from(vec![7; bytes]));
    wal.push_note(Bytes::from_static(b"before"));
    wal.push_replica([note(limit / 2), note(limit / 3)]);
    wal.push_replica([note(limit / 2), note(1)]);
    wal.push_replica([note(limit), note(limit), note(1)]);
    wal.push_note(Bytes::from_static(b"behind"));
    let mut commits = Vec::new();
    while let Some(write) = wal.start_write() {
        write.carry_out(&mut disk).unwrap();
        let lengths = wal.written(write.id).iter().map(|it| it.bytes().len()).collect::<Vec<_>>();
        commits.push(lengths);
    }
    assert_eq!(
        commits,
        [vec![6, 6, limit / 2, limit / 3], vec![limit / 2, 1], vec![limit, limit, 1]],
        "two that would fit one by one are not torn apart, and three that never fit still go as one"
    );
    let (_, played, _) = reopen(&mut disk, WalPosition::START).unwrap();
    assert_eq!(played.len(), 9);
}

#[test]
fn a_refused_write_is_the_same_the_next_time() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    wal.push_note(Bytes::from_static(b"a"));
    let first = wal.start_write().unwrap();
    wal.refused(first.id);
    assert!(!wal.is_writing());
    wal.push_note(Bytes::from_static(b"b"));
    assert_eq!(wal.start_write().as_ref(), Some(&first));
    assert_eq!(wal.start_write(), None);
    first.carry_out(&mut disk).unwrap();
    assert_eq!(wal.written(first.id).len(), 1);
    assert_eq!(wal.start_write().unwrap().id, first.id + 1);
}

#[test]
fn entries_are_read_back_hot_and_cold_and_verified() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let (mut one, mut two) = (Minter::new(journal(1)), Minter::new(journal(2)));
    let mut minted = Vec::new();
    for number in 0..40u8 {
        let entry = one.mint(&[number; 100]);
        wal.push_entry(&entry);
        minted.push(entry.bytes);
        wal.push_entry(&two.mint(&[number]));
        if number % 3 == 0 {
            commit(&mut wal, &mut disk);
        }
    }
    assert!(wal.hot_bytes() <= options().hot_bytes);
    for wal in [&wal, &reopen(&mut disk, WalPosition::START).unwrap().0] {
        assert_eq!((wal.first(journal(1)), wal.next(journal(1))), (Some(0), Some(40)));
        assert_eq!((wal.first(journal(3)), wal.next(journal(3))), (None, None));
        let each = minted[0].len();
        for from in 0..40 {
            for (max_bytes, count) in [(0, 1), (each * 3 - 1, 2), (each * 3, 3), (1 << 20, 40)] {
                let read = wal.entries(&disk, journal(1), from as u64, max_bytes).unwrap();
                assert_eq!(read, minted[from..(from + count).min(40)], "{count} from {from}");
            }
        }
        assert!(wal.entries(&disk, journal(1), 40, 1000).unwrap().is_empty());
    }
    let at = disk.file_mut(&segment(1)).unwrap();
    let place = at.windows(50).position(|window| window == [1; 50]).unwrap();
    at[place] ^= 1;
    assert_eq!(wal.entries(&disk, journal(1), 0, 0).unwrap(), minted[..1]);
    let damaged = wal.entries(&disk, journal(1), 1, 0);
    assert!(matches!(damaged, Err(ReadError::Damaged { seq: 1, .. })), "{damaged:?}");
}

#[test]
fn segments_are_dropped_from_the_front_and_used_again() {
    let mut disk = MemoryDisk::new();
    let (mut wal, mut records) = filled(&mut disk, &[9000; 6]);
    let none = |_, _, _| false;
    let all = |_, _, _| true;
    assert!(wal.drop_before(&mut disk, wal.position(), &none).unwrap().is_empty());
    assert!(
        wal.drop_before(&mut disk, WalPosition { segment: 1, ..wal.position() }, &all).unwrap().is_empty()
    );
    let up_to_three = |_, seq, _| seq < 3;
    let position = wal.position();
    assert_eq!(wal.drop_before(&mut disk, position, &up_to_three).unwrap(), [1, 2, 3].map(segment));
    assert_eq!(wal.bytes_on_disk(), 5 * options().segment_bytes, "two are kept, one is gone");
    assert_eq!(wal.first(journal(1)), Some(3));
    assert_eq!(wal.oldest_entries().collect::<Vec<_>>(), [(journal(1), 3)]);
    let dropped = ReadError::Dropped { journal: journal(1), first: 3 };
    assert_eq!(wal.entries(&disk, journal(1), 2, 0), Err(dropped));
    for number in 0..4 {
        let note = Bytes::from(vec![number; 12_000]);
        wal.push_note(note.clone());
        records.push(Record::Note(note));
        commit(&mut wal, &mut disk);
        let (again, played, truncated) = reopen(&mut disk, position).unwrap();
        assert_eq!((&played[..], truncated), (&records[12..], None), "stale frames mean nothing");
        assert_eq!((again.first(journal(1)), again.next(journal(1))), (Some(3), Some(6)));
    }
    let stale = scan(&disk, &segment(7), 7).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert!(matches!(stale[..], [Seen::Frame { offset: 0, .. }]), "{stale:?}");
}

#[test]
fn stale_frames_of_a_former_life_are_seen_and_left_alone() {
    let mut disk = MemoryDisk::new();
    let (mut wal, _) = filled(&mut disk, &[10; 9]);
    let position = wal.position();
    assert_eq!(wal.drop_before(&mut disk, position, &|_, _, _| true).unwrap().len(), 2);
    for _ in 0..4 {
        wal.push_note(Bytes::from_static(b"new"));
        commit(&mut wal, &mut disk);
    }
    let seen: Vec<_> = scan(&disk, &segment(4), 4).unwrap().map(Result::unwrap).collect();
    let stale = seen.iter().filter(|seen| matches!(seen, Seen::Stale { .. })).count();
    assert_eq!((seen.len(), stale), (4, 3));
    let (_, played, truncated) = reopen(&mut disk, position).unwrap();
    assert_eq!((played.len(), truncated), (4, None));
}

#[test]
fn on_a_full_disk_what_is_dropped_gives_its_room_back() {
    let mut disk = MemoryDisk::new();
    let (mut wal, _) = filled(&mut disk, &[10; 9]);
    disk.leave_room(Some(0));
    let dropped = wal.drop_before(&mut disk, wal.position(), &|_, _, _| true).unwrap();
    assert_eq!(dropped, [1, 2].map(segment));
    let spare = FileName::new("wal/0000000002.spare").unwrap();
    assert_eq!(disk.list(&folder()).unwrap(), [spare, segment(3)], "the first makes room for another's name");
    wal.push_note(Bytes::from_static(b"new"));
    commit(&mut wal, &mut disk);
}

#[test]
fn a_spare_is_ordered_before_it_is_needed_and_used_when_it_is() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let order = wal.order_spare().unwrap();
    assert_eq!(wal.order_spare(), None);
    wal.prepared(false);
    let WalOp::Prepare { file: failed, .. } = order else { panic!() };
    let order = wal.order_spare().unwrap();
    order.carry_out(&mut disk).unwrap();
    wal.prepared(true);
    let WalOp::Prepare { file, len, .. } = order else { panic!() };
    assert_ne!(file, failed);
    wal.push_note(Bytes::from_static(b"a"));
    let write = commit(&mut wal, &mut disk).remove(0);
    assert_eq!(write.ops[0], WalOp::Prepare { file: segment(1), len, recycle: Some(file.clone()) });
    assert_eq!(disk.len(&file).unwrap(), None);
    assert_eq!(wal.order_spare(), None, "the segment is not half full");
}

#[test]
fn unfinished_spares_are_removed_and_finished_ones_found() {
    let mut disk = MemoryDisk::new();
    let (whole, part) = (folder().join("0000000004.spare"), folder().join("0000000009.spare"));
    disk.write(&whole, 0, &[0; 4 * 4096]).unwrap();
    disk.write(&part, 0, &[0; 4096]).unwrap();
    let mut wal = open(&mut disk).unwrap().wal;
    assert_eq!((disk.len(&part).unwrap(), wal.bytes_on_disk()), (None, 4 * 4096));
    wal.push_note(Bytes::from_static(b"a"));
    commit(&mut wal, &mut disk);
    assert_eq!(disk.list(&folder()).unwrap(), [segment(1)]);
}

#[test]
fn replay_begins_at_the_checkpoint_wherever_that_is() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let mut positions = vec![wal.position()];
    for number in 0..10u8 {
        wal.push_note(Bytes::from(vec![number; 3000 * (number as usize % 4)]));
        commit(&mut wal, &mut disk);
        positions.push(wal.position());
    }
    for (done, from) in positions.iter().enumerate() {
        let (_, played, _) = reopen(&mut disk, *from).unwrap();
        assert_eq!(played.len(), 10 - done);
    }
    let elsewhere = WalPosition { lsn: 4, ..positions[7] };
    let error = reopen(&mut disk, elsewhere).unwrap_err();
    assert!(matches!(error, OpenError::Mismatch { .. }), "{error}");
}

#[test]
#[should_panic(expected = "was not the next")]
fn an_entry_that_comes_twice_is_a_broken_invariant() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let entry = Minter::new(journal(1)).mint(b"a");
    wal.push_entry(&entry);
    wal.push_entry(&entry);
    commit(&mut wal, &mut disk);
}

#[test]
fn behind_a_gap_only_the_later_entries_are_handed_out() {
    let mut disk = MemoryDisk::new();
    let mut wal = open(&mut disk).unwrap().wal;
    let mut minter = Minter::new(journal(1));
    wal.push_entry(&minter.mint(b"a"));
    commit(&mut wal, &mut disk);
    minter.mint(b"taken over as a copy");
    let late = minter.mint(b"c");
    wal.push_entry(&late);
    commit(&mut wal, &mut disk);
    let again = reopen(&mut disk, WalPosition::START).unwrap().0;
    for wal in [wal, again] {
        assert_eq!((wal.first(journal(1)), wal.next(journal(1))), (Some(2), Some(3)));
        assert_eq!(wal.entries(&disk, journal(1), 2, 100).unwrap(), std::slice::from_ref(&late.bytes));
        let dropped = ReadError::Dropped { journal: journal(1), first: 2 };
        assert_eq!(wal.entries(&disk, journal(1), 0, 100), Err(dropped));
    }
}

#[test]
fn all_that_is_kept_is_replayed_from_before_the_oldest_commit() {
    let mut disk = MemoryDisk::new();
    let (mut wal, _) = filled(&mut disk, &[9000; 6]);
    assert_eq!(wal.oldest(), WalPosition::START);
    wal.drop_before(&mut disk, wal.position(), &|_, seq, _| seq < 3).unwrap();
    let oldest = wal.oldest();
    assert_eq!((oldest.segment, oldest.offset), (4, 0));
    let (again, played, _) = reopen(&mut disk, oldest).unwrap();
    assert_eq!((played.len(), again.oldest()), (6, oldest), "three entries and their notes");
}

#[test]
fn another_directorys_wal_is_refused() {
    let mut disk = MemoryDisk::new();
    filled(&mut disk, &[1, 1]);
    let mut other = options();
    other.nonce = 1;
    let error = Wal::open(&mut disk, &folder(), other, WalPosition::START).unwrap_err();
    assert_eq!(error, OpenError::Foreign { file: segment(1) });
}
