//! What comes off a disk, or out of a client's hands into a log: batches, WAL files, checkpoints, identities.

use batch::{Builder, DecompressLimits, Left, Limits, NewRecord};
use bytes::Bytes;
use disk::{Disk, FileName, MemoryDisk};
use journal::frame::{BLOCK_BYTES, FrameHead, HEAD_BYTES};
use journal::{Record, Recovered, Wal, WalOptions, WalPosition, checkpoint};
use site::Identity;

/// Record batches of a client; the last byte may ask for the checksum to be forged.
pub(crate) fn batch(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.last().is_some_and(|last| last & 1 == 0) {
        forge_batch(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let validated = batch::validate(&bytes, &Limits { batch_bytes_max: 1 << 20 });
    let Ok(header) = batch::parse_kept(&bytes) else { return };
    if let Ok(batches) = validated {
        assert_eq!(batches[0], header.info(), "a validated batch is the one that was read");
    }
    let Ok(records) = batch::records(&bytes, DecompressLimits { bytes_max: 1 << 20, ratio_max: 1000 }) else {
        return;
    };
    let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { return };
    let limits = DecompressLimits { bytes_max: 1 << 20, ratio_max: 1000 };
    let left = batch::rewrite(&bytes, limits, |record| record.offset_delta % 2 == 0);
    if let Left::Some(some) = left.expect("its records read") {
        let kept: Result<Vec<_>, _> = batch::records(&some, limits).expect("what is left reads").collect();
        let wanted: Vec<_> = records.iter().filter(|record| record.offset_delta % 2 == 0).cloned().collect();
        assert_eq!(kept.expect("what is left reads"), wanted);
    }
    let mut builder = Builder::new();
    for record in &records {
        builder.push(&NewRecord {
            timestamp: record.timestamp & 0xffff_ffff,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        });
    }
    if records.is_empty() {
        return;
    }
    let again = batch::records(&builder.build(), DecompressLimits { bytes_max: 4 << 20, ratio_max: 1000 });
    let again: Result<Vec<_>, _> = again.expect("what was built reads").collect();
    let same = again.expect("what was built reads").into_iter().zip(&records);
    same.for_each(|(again, record)| assert_eq!((&again.key, &again.value), (&record.key, &record.value)));
}

fn forge_batch(bytes: &mut [u8]) {
    if bytes.len() < 61 {
        return;
    }
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

const NONCE: u128 = 0x5eed;

fn options() -> WalOptions {
    WalOptions { segment_bytes: 4 * BLOCK_BYTES as u64, hot_bytes: 0, recycle: 1, ..WalOptions::new(NONCE) }
}

/// A WAL: as it is, as a whole one with edits, or as frames whose checksums are right whatever else they say.
pub(crate) fn wal(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    match mode % 3 {
        0 => wal_of(bytes),
        1 => wal_with_edits(bytes),
        _ => wal_forged(bytes),
    }
}

fn wal_of(bytes: &[u8]) {
    let mut disk = MemoryDisk::new();
    disk.write(&segment(1), 0, bytes).expect("memory takes everything");
    let _ = recover(&mut disk);
}

/// Edits of four bytes each: where, and what is changed there; `0xff 0xff` cuts the file instead.
fn wal_with_edits(edits: &[u8]) {
    let (mut disk, records) = whole();
    for edit in edits.chunks_exact(4) {
        let (file, at) =
            (segment(1 + u32::from(edit[0] & 1)), usize::from(edit[1]) << 8 | usize::from(edit[2]));
        let Some(bytes) = disk.file_mut(&file) else { continue };
        match edit[3] {
            0xff => bytes.truncate(at),
            change => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= change),
        }
    }
    if let Some(found) = recover(&mut disk) {
        assert!(records.starts_with(&found), "only what was written comes back");
    }
}

/// Frames with heads and tables whose checksums are right, and contents that are not meant well.
fn wal_forged(mut bytes: &[u8]) {
    let (mut disk, mut at, mut lsn) = (MemoryDisk::new(), 0, 1);
    while let Some((&[count, len, flags], rest)) = bytes.split_first_chunk::<3>() {
        let payload = rest.get(..usize::from(len) * 16).unwrap_or(rest);
        bytes = &rest[payload.len()..];
        let table = payload.get(..usize::from(count & 15) * 12).unwrap_or(payload);
        let head = FrameHead {
            lsn: if flags & 1 == 0 { lsn } else { u64::from(flags) },
            nonce: NONCE,
            segment: 1,
            records: u32::from(count),
            payload_bytes: if flags & 2 == 0 { payload.len() as u32 } else { u32::MAX >> (flags >> 3) },
            table_crc: crc32c::crc32c(table),
        };
        disk.write(&segment(1), at, &[&head.encode()[..], payload].concat())
            .expect("memory takes everything");
        at += (HEAD_BYTES + payload.len()).next_multiple_of(BLOCK_BYTES) as u64;
        lsn += 1;
        if at > 1 << 16 {
            break;
        }
    }
    let _ = recover(&mut disk);
}

fn whole() -> (MemoryDisk, Vec<Record>) {
    let mut disk = MemoryDisk::new();
    let opened = Wal::open(&mut disk, &folder(), options(), WalPosition::START);
    let mut wal = opened.expect("an empty disk takes a WAL").wal;
    let mut records = Vec::new();
    for (number, size) in [10, 300, 5_000, 40, 6_000, 9].into_iter().enumerate() {
        let note = Bytes::from(vec![number as u8; size]);
        wal.push_note(note.clone());
        records.push(Record::Note(note));
        while let Some(write) = wal.start_write() {
            write.carry_out(&mut disk).expect("memory takes everything");
            wal.written(write.id);
        }
    }
    (disk, records)
}

fn recover(disk: &mut MemoryDisk) -> Option<Vec<Record>> {
    let Recovered { wal, .. } = Wal::open(disk, &folder(), options(), WalPosition::START).ok()?;
    let (mut at, mut records) = (WalPosition::START, Vec::new());
    while let Some(more) = wal.replay(disk, &mut at).expect("what was verified a moment ago reads again") {
        records.extend(more);
    }
    Some(records)
}

/// A checkpoint's file; the first byte says whether its checksum is forged.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 0 && bytes.len() >= 72 {
        bytes[..6].copy_from_slice(b"MCKP\0\x01");
        let state = bytes.len() as u64 - 72;
        bytes[32..40].copy_from_slice(&state.to_be_bytes());
        let sum = *blake3::Hasher::new().update(&bytes[..40]).update(&bytes[72..]).finalize().as_bytes();
        bytes[40..72].copy_from_slice(&sum);
    }
    let (mut disk, folder) = (MemoryDisk::new(), FileName::root().join("checkpoint"));
    let file = folder.join("0000000001.checkpoint");
    disk.write(&file, 0, &bytes).expect("memory takes everything");
    if let Ok(Some(found)) = checkpoint::read(&disk, &folder) {
        assert_eq!(found.checkpoint.state, &bytes[72..], "the state is what stands behind the head");
    }
}

/// The file `identity`; the first byte says whether its checksum is forged.
pub(crate) fn identity(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 0 {
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..16]);
    }
    let (mut disk, file) = (MemoryDisk::new(), FileName::root().join("identity"));
    disk.write(&file, 0, &bytes).expect("memory takes everything");
    if let Ok(Some(identity)) = Identity::read(&disk) {
        identity.write(&mut disk).expect("memory takes everything");
        assert_eq!(Identity::read(&disk), Ok(Some(identity)), "an identity comes back as it went");
    }
}

fn folder() -> FileName {
    FileName::root().join("wal")
}

fn segment(number: u32) -> FileName {
    folder().join(format!("{number:010}.wal"))
}
