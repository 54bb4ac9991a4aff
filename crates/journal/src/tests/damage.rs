//! Crashes in the middle of a write, flipped bits, lost files: what recovery believes and what it refuses.

use bytes::Bytes;
use disk::{Disk, MemoryDisk};

use super::{commit, filled, options, reopen, segment};
use crate::frame::BLOCK_BYTES;
use crate::{OpenError, Record, WalOp, WalPosition, WalWrite};

/// The disk after the first `bytes` bytes of what `write` writes.
fn torn(before: &MemoryDisk, write: &WalWrite, bytes: usize) -> MemoryDisk {
    let mut disk = before.clone();
    for op in &write.ops {
        match op {
            WalOp::WriteAt { file, offset, chunks } => {
                disk.write(file, *offset, &chunks.concat()[..bytes]).unwrap();
            }
            other => other.carry_out(&mut disk).unwrap(),
        }
    }
    disk
}

/// Cuts the third of three writes at every byte: what was there stays, and the WAL goes on.
fn tear_the_last(sizes: &[usize], last: usize) {
    let mut before = MemoryDisk::new();
    let (mut wal, records) = filled(&mut before, sizes);
    wal.push_note(Bytes::from(vec![7; last]));
    let write = wal.start_write().unwrap();
    let (whole, mut begun) = (64 + 12 + last, 0);
    for bytes in 0..=write.bytes() {
        let mut disk = torn(&before, &write, bytes);
        let (mut again, played, truncated) = reopen(&mut disk, WalPosition::START).unwrap();
        let kept = usize::from(bytes >= whole);
        assert_eq!(played.len(), records.len() + kept, "cut at byte {bytes}");
        assert_eq!(played[..records.len()], records[..]);
        begun += usize::from(truncated.is_some());
        assert_eq!(truncated.is_some(), bytes > 0 && bytes < whole, "cut at byte {bytes}");
        assert_eq!(again.position().lsn, sizes.len() as u64 + 1 + kept as u64);
        again.push_note(Bytes::from_static(b"next"));
        commit(&mut again, &mut disk);
        let (_, played, truncated) = reopen(&mut disk, WalPosition::START).unwrap();
        assert_eq!((played.len(), truncated), (records.len() + kept + 1, None));
        assert_eq!(played.last(), Some(&Record::Note(Bytes::from_static(b"next"))));
    }
    assert_eq!(begun, whole - 1);
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off_and_no_more() {
    tear_the_last(&[10, 20], 30);
    tear_the_last(&[10, 20], 5000);
}

#[test]
fn a_write_torn_at_the_front_of_a_new_segment_is_cut_off_too() {
    let mut before = MemoryDisk::new();
    let (mut wal, records) = filled(&mut before, &[5000, 5000]);
    wal.push_note(Bytes::from(vec![7; 9000]));
    let write = wal.start_write().unwrap();
    assert!(matches!(write.ops[0], WalOp::Prepare { .. }));
    for bytes in (0..9076).step_by(11) {
        let mut disk = torn(&before, &write, bytes);
        let (mut again, played, truncated) = reopen(&mut disk, WalPosition::START).unwrap();
        assert_eq!(played, records);
        assert_eq!(truncated.is_some(), bytes > 0, "cut at byte {bytes}");
        assert_eq!(disk.len(&segment(2)).unwrap(), None);
        again.push_note(Bytes::from(vec![8; 9000]));
        commit(&mut again, &mut disk);
        assert_eq!(reopen(&mut disk, WalPosition::START).unwrap().1.len(), records.len() + 1);
    }
}

#[test]
fn blocks_of_a_torn_write_may_land_in_any_combination() {
    let mut before = MemoryDisk::new();
    let (mut wal, records) = filled(&mut before, &[10]);
    wal.push_note(Bytes::from(vec![7; 9000]));
    let write = wal.start_write().unwrap();
    let after = torn(&before, &write, write.bytes());
    for landed in 0u8..8 {
        let mut disk = before.clone();
        for block in (0..3u64).filter(|block| landed & 1 << block != 0) {
            let offset = (1 + block) * BLOCK_BYTES as u64;
            let bytes = after.read(&segment(1), offset, BLOCK_BYTES).unwrap();
            disk.write(&segment(1), offset, &bytes).unwrap();
        }
        let (_, played, _) = reopen(&mut disk, WalPosition::START).unwrap();
        assert_eq!(played.len(), records.len() + usize::from(landed == 7));
    }
}

#[test]
fn no_flipped_bit_is_ever_silent() {
    let mut whole = MemoryDisk::new();
    let (_, records) = filled(&mut whole, &[10, 20, 30]);
    let bytes = whole.file_mut(&segment(1)).unwrap().clone();
    for at in 0..3 * BLOCK_BYTES {
        let (frame, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
        if within > 300 && within % 64 != 0 {
            continue; // Zeros to fill the block: one byte in 64 will do.
        }
        for bit in 0..8 {
            let mut disk = whole.clone();
            disk.file_mut(&segment(1)).unwrap()[at] ^= 1 << bit;
            match reopen(&mut disk, WalPosition::START) {
                Ok((_, played, None)) => assert_eq!(played, records, "bit {bit} of byte {at}"),
                Ok((_, played, Some(truncation))) => {
                    assert_eq!(
                        (frame, truncation.lsn),
                        (2, 3),
                        "only the last frame can be taken for a torn one"
                    );
                    assert_eq!(played, records[..4]);
                }
                Err(OpenError::Corrupt { lsn, proof_offset, .. }) => {
                    assert_eq!(
                        (lsn, proof_offset),
                        (frame as u64 + 1, (frame as u64 + 1) * BLOCK_BYTES as u64)
                    );
                    assert_eq!(disk.file_mut(&segment(1)).unwrap()[..at], bytes[..at], "nothing was changed");
                    assert_eq!(disk.file_mut(&segment(1)).unwrap()[at + 1..], bytes[at + 1..]);
                }
                Err(other) => panic!("bit {bit} of byte {at}: {other}"),
            }
        }
    }
}

#[test]
fn a_checkpoint_turns_a_lost_tail_into_an_error() {
    let mut disk = MemoryDisk::new();
    let (wal, _) = filled(&mut disk, &[10, 20, 30]);
    disk.file_mut(&segment(1)).unwrap()[2 * BLOCK_BYTES + 70] ^= 1;
    let error = reopen(&mut disk, wal.position()).unwrap_err();
    assert_eq!(error, OpenError::Lost { file: segment(1), offset: 2 * BLOCK_BYTES as u64, covered: 4 });
}

#[test]
fn damage_before_a_roll_is_proved_by_the_segment_behind() {
    let mut disk = MemoryDisk::new();
    filled(&mut disk, &[9000, 9000, 9000]);
    disk.file_mut(&segment(2)).unwrap()[500] ^= 1;
    let error = reopen(&mut disk, WalPosition::START).unwrap_err();
    let OpenError::Corrupt { lsn: 2, proof, proof_offset: 0, .. } = &error else { panic!("{error}") };
    assert_eq!(*proof, segment(3));
    assert!(error.to_string().contains("wal/0000000001.wal is damaged at byte 12288"), "{error}");
}

#[test]
fn lost_files_are_named() {
    for (lost, from_start) in [(1, true), (2, true), (2, false)] {
        let mut disk = MemoryDisk::new();
        let (wal, _) = filled(&mut disk, &[9000, 9000, 9000]);
        disk.remove(&segment(lost)).unwrap();
        let from = if from_start { WalPosition::START } else { wal.position() };
        assert_eq!(reopen(&mut disk, from).unwrap_err(), OpenError::Missing { file: segment(lost) });
    }
    let mut disk = MemoryDisk::new();
    let (wal, _) = filled(&mut disk, &[9000, 9000, 9000]);
    disk.remove(&segment(3)).unwrap();
    let lost = reopen(&mut disk, wal.position()).unwrap_err();
    assert!(matches!(lost, OpenError::Missing { .. } | OpenError::Lost { covered: 4, .. }), "{lost}");
    let mut empty = MemoryDisk::new();
    let error = reopen(&mut empty, wal.position()).unwrap_err();
    assert_eq!(error, OpenError::Missing { file: segment(3) });
}

#[test]
fn a_newer_format_is_refused_and_not_cut() {
    let mut disk = MemoryDisk::new();
    filled(&mut disk, &[10, 20]);
    let bytes = disk.file_mut(&segment(1)).unwrap();
    bytes[BLOCK_BYTES + 5] = 2;
    let sum = crc32c::crc32c(&bytes[BLOCK_BYTES..BLOCK_BYTES + 60]);
    bytes[BLOCK_BYTES + 60..BLOCK_BYTES + 64].copy_from_slice(&sum.to_be_bytes());
    let error = reopen(&mut disk, WalPosition::START).unwrap_err();
    assert_eq!(error, OpenError::Newer { file: segment(1), offset: BLOCK_BYTES as u64, version: 2 });
}

#[test]
fn a_head_that_announces_too_much_asks_for_no_memory() {
    let mut disk = MemoryDisk::new();
    filled(&mut disk, &[10]);
    let head = crate::frame::FrameHead {
        lsn: 2,
        nonce: options().nonce,
        segment: 1,
        records: u32::MAX,
        payload_bytes: u32::MAX,
        table_crc: 0,
    };
    disk.write(&segment(1), BLOCK_BYTES as u64, &head.encode()).unwrap();
    let (_, played, truncated) = reopen(&mut disk, WalPosition::START).unwrap();
    assert_eq!((played.len(), truncated.unwrap().records), (2, Some(u32::MAX)));
}
