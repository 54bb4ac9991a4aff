//! What lies in logs: segments and compacted generations, their indexes, merged logs.

use std::collections::BTreeMap;

use batch::{Builder, NewRecord};
use bytes::Bytes;
use clock::Stamp;
use disk::{Disk, FileName, MemoryDisk};
use entry::{JournalId, SiteId, TopicId};
use partition::{At, Kept, Kind, Logs, LogsState, OriginKey, Plan, Terms, places, read, read_sound, verify};
use uuid::Uuid;

const RECORD_BYTES: usize = 48;
const MERGED_BYTES: usize = 96;
const EVERYTHING: usize = 1 << 20;

fn at() -> At {
    (TopicId(Uuid::from_u128(7)), 1)
}

fn journal(site: u16) -> JournalId {
    JournalId::genesis(SiteId(site))
}

fn key(site: u16) -> OriginKey {
    OriginKey { topic: at().0, partition: at().1, journal: journal(site) }
}

/// A segment's file, found by a checkpoint that says of it what its headers do. The first byte says whether it was
/// compacted, and whether offsets and checksums are forged. What proves to be sound is read back as it stands.
pub(crate) fn segment(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let (gaps, mut bytes) = (mode & 1 == 1, bytes.to_vec());
    if mode & 2 == 0 {
        forge_batches(&mut bytes, gaps);
    }
    let Some(told) = told(&bytes) else { return };
    let (topic, partition) = at();
    let place = if gaps { "compacted/0000000001".to_owned() } else { format!("origin/{}", journal(1)) };
    let file = format!("logs/{topic}/{partition}/{place}/{:020}.log", told.0);
    let (mut disk, file) = (MemoryDisk::new(), FileName::root().join(file));
    disk.write(&file, 0, &bytes).expect("memory takes everything");
    if gaps {
        let merged = FileName::root().join(format!("logs/{topic}/{partition}/merged.index"));
        disk.write(&merged, 0, &last_place(told.1)).expect("memory takes everything");
    }
    let proven = verify(&disk, &file, bytes.len() as u64).expect("memory reads everything");
    let restored = Logs::restore(&mut disk, &state_of(told, gaps));
    let is_sound = proven.damaged.is_empty();
    assert!(restored.is_ok() || !is_sound, "{restored:?}, and the segment is sound");
    let Ok(logs) = restored else { return };
    let plan = match gaps {
        true => logs.plan_merged(&disk, at(), 0, usize::MAX),
        false => logs.plan_origin(&disk, at(), journal(1), told.0, usize::MAX),
    };
    let found = plan.ok().and_then(|plan| read(&disk, &plan.slices).ok());
    assert!(!is_sound || found.is_some_and(|found| found == bytes), "what is sound is read as it stands");
    look(logs, &mut disk);
}

/// First offset, end, length, batches, newest timestamp.
type Told = (u64, u64, u32, u64, i64);

/// What the headers of a segment say.
fn told(bytes: &[u8]) -> Option<Told> {
    let (mut told, mut at): (Option<Told>, usize) = (None, 0);
    while let Some(info) =
        bytes.get(at..).and_then(|rest| batch::parse_kept(rest).ok()).map(|head| head.info())
    {
        let offset = u64::try_from(info.base_offset).ok()?;
        let (first, _, _, batches, newest) = told.unwrap_or((offset, 0, 0, 0, i64::MIN));
        at += info.size as usize;
        let end = u64::try_from(info.base_offset.checked_add(i64::from(info.offsets()))?).ok()?;
        let newest = newest.max(info.max_timestamp);
        told = Some((first, end, bytes.len() as u32, batches + 1, newest));
    }
    told
}

/// A checkpoint's state with one segment: as postcard has it.
fn state_of(told: Told, gaps: bool) -> LogsState {
    let (end, nothing) = (told.1, [0_u8; 16]);
    let (merged, origin, compacted, end) = match gaps {
        true => (1_u64, Vec::new(), vec![told], end),
        false => (0_u64, vec![told], Vec::new(), 0),
    };
    let newest = if gaps { 0 } else { i64::MIN };
    let merged_state = (merged, merged, 0_u64, end, end, 0_u64, 0_u64, 0_u64, newest, nothing);
    let compacted = (1_u64, compacted, merged, end, 0_u64, nothing, 0_u8, 0_u8, 0_u64);
    let (origins, passed) = (BTreeMap::from([(journal(1), origin)]), BTreeMap::<JournalId, u64>::new());
    let partitions = BTreeMap::from([(at(), (merged_state, origins, passed, compacted))]);
    let bytes = postcard::to_stdvec(&(partitions, 0_u8, 0_u8)).expect("plain data encodes");
    postcard::from_bytes(&bytes).expect("a state is laid out like this")
}

/// The only record of a merged log that ends here.
fn last_place(end: u64) -> [u8; MERGED_BYTES] {
    let mut record = [0; MERGED_BYTES];
    record[..8].copy_from_slice(&(end - 1).to_be_bytes());
    record[11] = 1;
    forge_records(&mut record, MERGED_BYTES);
    record
}

/// Lengths that fit, offsets that follow one another, and checksums, as they would have to be.
fn forge_batches(mut bytes: &mut [u8], gaps: bool) {
    let mut next = 0;
    while bytes.len() >= batch::HEADER_BYTES {
        let said = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        let size = if (49..=bytes.len() - 12).contains(&said) { said + 12 } else { bytes.len() };
        let (stored, rest) = bytes.split_at_mut(size);
        let own = u64::from_be_bytes(*stored.first_chunk().expect("it has a header"));
        let offset = if gaps && own < 1 << 62 { own.max(next) } else { next };
        stored[..8].copy_from_slice(&offset.to_be_bytes());
        stored[8..12].copy_from_slice(&(size as u32 - 12).to_be_bytes());
        stored[12..17].copy_from_slice(&[0, 0, 0, 0, 2]);
        reseal(stored);
        next = batch::parse_kept(stored).map_or(next, |head| offset + u64::from(head.info().offsets()));
        bytes = rest;
    }
}

fn reseal(stored: &mut [u8]) {
    let crc = crc32c::crc32c(&stored[21..]);
    stored[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Logs with a compacted generation and what came behind it, and edits of four bytes each: of which file, where, and what is
/// changed there; `0xff` cuts the file instead. The file behind the last is the checkpoint's state. The first byte says
/// whether checksums are forged then; without that, only what was written comes back.
pub(crate) fn index(bytes: &[u8]) {
    let Some((mode, edits)) = bytes.split_first() else { return };
    let (mut logs, mut disk) = whole();
    let state = postcard::to_stdvec(&logs.checkpoint().state).expect("plain data encodes");
    let (mut told, written) = (state.clone(), look(logs, &mut disk.clone()));
    let files = disk.list(&FileName::root()).expect("memory lists everything");
    for edit in edits.chunks_exact(4) {
        let at = usize::from(edit[1]) << 8 | usize::from(edit[2]);
        let file = files.get(usize::from(edit[0]) % (files.len() + 1));
        let bytes = file.map_or(&mut told, |file| disk.file_mut(file).expect("it was listed"));
        match edit[3] {
            0xff => bytes.truncate(at),
            change => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= change),
        }
    }
    let is_forged = mode & 1 == 0;
    for file in files.iter().filter(|_| is_forged) {
        forge(file, disk.file_mut(file).expect("it was listed"));
    }
    let Ok(said) = postcard::from_bytes(&told) else { return };
    let Ok(logs) = Logs::restore(&mut disk, &said) else { return };
    let found = look(logs, &mut disk);
    if !is_forged && told == state {
        let comes_back = |(found, written): (&Bytes, &Bytes)| written.starts_with(found);
        assert!(found.iter().zip(&written).all(comes_back), "only what was written comes back");
    }
}

/// Checksums as they would have to be: of index records, and of batches.
fn forge(file: &FileName, bytes: &mut [u8]) {
    match Kind::of(file) {
        Some(Kind::Merged) => forge_records(bytes, MERGED_BYTES),
        Some(Kind::Index) => forge_records(bytes, RECORD_BYTES),
        _ => forge_batches(bytes, true),
    }
}

fn forge_records(bytes: &mut [u8], size: usize) {
    for record in bytes.chunks_exact_mut(size) {
        let crc = crc32c::crc32c(&record[..size - 4]);
        record[size - 4..].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Logs of two journals: some of what is merged was compacted, the rest was not, and some is not merged.
fn whole() -> (Logs, MemoryDisk) {
    let (mut logs, mut disk) = (Logs::new(), MemoryDisk::new());
    let write = |logs: &mut Logs, disk: &mut MemoryDisk, number: u8, is_merged: bool| {
        let mut builder = Builder::new();
        for record in 0..2 {
            let (time, value) = (1_790_000_000_000 + i64::from(number), vec![number; 20]);
            builder.push(&NewRecord::keyed(time, vec![(number + record) % 3], value));
        }
        let key = key(1 + u16::from(number & 1));
        let placed = logs.append_origin(disk, key, &builder.build()).expect("memory takes everything");
        if is_merged {
            let stamp = Stamp::from_unix_ms(u64::from(number));
            let merged = logs.append_merged(disk, key, placed.origin_offset, stamp);
            merged.expect("it was just appended");
        }
    };
    (0..8).for_each(|number| write(&mut logs, &mut disk, number, true));
    logs.publish();
    compact(&mut logs, &mut disk);
    (8..12).for_each(|number| write(&mut logs, &mut disk, number, true));
    logs.publish();
    (12..14).for_each(|number| write(&mut logs, &mut disk, number, false));
    (logs, disk)
}

/// The segments of these, as seeds.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    let (_, disk) = whole();
    let files = disk.list(&FileName::root()).expect("memory lists everything");
    let segments = files.iter().filter(|file| Kind::of(file) == Some(Kind::Segment)).map(|file| {
        let bytes = disk.len(file).and_then(|len| disk.read(file, 0, len.unwrap_or(0) as usize));
        let mode = 2 + u8::from(file.as_str().contains("compacted"));
        [&[mode][..], &bytes.expect("it was listed")].concat()
    });
    segments.collect()
}

fn compact(logs: &mut Logs, disk: &mut MemoryDisk) {
    logs.mark(at(), 20, Terms { dirty_permille: 0, tombstones_ms: 0 });
    let Some(mut pass) = logs.next_pass() else { return };
    while let Ok(Some(work)) = logs.next_step(disk, &mut pass) {
        if !pass.step_done(work.carry_out(disk).expect("memory takes everything")) {
            return;
        }
    }
    let _ = logs.finish_pass(disk, &pass);
}

/// Asks logs all that can be asked; returns what there is to read of the merged log and the origin logs.
fn look(mut logs: Logs, disk: &mut MemoryDisk) -> Vec<Bytes> {
    let (topic, partition) = at();
    let merged = logs.plan_merged(disk, at(), logs.merged_start(topic, partition), EVERYTHING);
    let origin = |site| {
        let start = logs.origin_start(topic, partition, journal(site));
        logs.plan_origin(disk, at(), journal(site), start, EVERYTHING)
    };
    let sound = |plan: Plan| read_sound(disk, &plan.slices).map(|(bytes, _)| bytes).unwrap_or_default();
    let found = [merged, origin(1), origin(2)].map(|plan| plan.map(sound).unwrap_or_default());
    for time in [0, 1_790_000_000_005, i64::MAX] {
        let _ = logs.merged_by_time(disk, at(), time);
        let _ = logs.origin_by_time(disk, at(), journal(1), time);
    }
    let _ = (logs.merged_newest(disk, at()), logs.origin_newest(disk, at(), journal(2)));
    let _ = (logs.digest(disk, at(), 9), logs.oldest_stamp(disk, topic, partition));
    for (file, bytes) in logs.all_extents() {
        let _ = (verify(disk, &file, bytes), logs.offsets_of(disk, &file, &(bytes / 3..bytes / 2)));
        if Kind::of(&file) == Some(Kind::Merged) {
            let file = disk.read(&file, 0, bytes as usize).expect("it was restored");
            places(&file).for_each(drop);
        }
    }
    compact(&mut logs, disk);
    let _ = logs.expire(disk, at(), Kept { since: Some(Stamp::from_unix_ms(3)), bytes: Some(300) });
    let _ = logs.trim(disk, at(), 12);
    logs.checkpoint();
    let _ = logs.checkpointed(disk);
    found.to_vec()
}
