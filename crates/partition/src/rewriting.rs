//! The steps of a pass, as plain data, and how one is carried out on a disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::{DecompressLimits, Left, Record};
use bytes::{Bytes, BytesMut};
use disk::{Disk, DiskError, FileName};

use crate::error::LogsError;
use crate::names;
use crate::plan::{Slice, read};
use crate::record::{OriginRecord, Record as _};
use crate::segment::{SegmentState, after, next_record};

/// A key, known by its hash.
pub(crate) type Key = [u8; 16];

/// What a batch may unpack to: part of the format, since a batch that unpacks to more stays as it is.
const LIMITS: DecompressLimits = DecompressLimits { bytes_max: 64 << 20, ratio_max: 1_000 };

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompactWork {
    /// Gather the keys of these batches.
    Keys(Vec<Slice>),
    /// Write batches anew.
    Rewrite(Rewrite),
}

/// Batches to be written anew, behind what was written before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pub(crate) folder: FileName,
    pub(crate) generation: u64,
    /// The segment that was written last.
    pub(crate) last: Option<SegmentState>,
    pub(crate) digest: [u8; 16],
    pub(crate) sources: Vec<Source>,
    /// The latest offset of every key that is new.
    pub(crate) latest: Arc<BTreeMap<Key, u64>>,
    pub(crate) segment_bytes: u32,
}

/// One batch to be written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) slice: Slice,
    /// Whether its tombstones have stayed long enough.
    pub(crate) tombstones_go: bool,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompactDone {
    /// Per batch: its keys and where they are.
    Keys(Vec<Vec<(Key, u64)>>),
    /// Batches were written anew.
    Rewritten(Rewritten),
    /// This file does not read.
    Unreadable(FileName),
}

/// How far the generation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The segment that was written on, and those that were begun.
    pub(crate) segments: Vec<SegmentState>,
    /// The digest of all.
    pub(crate) digest: [u8; 16],
}

impl CompactWork {
    pub(crate) fn slices(&self) -> impl Iterator<Item = &Slice> {
        let (keys, sources) = match self {
            CompactWork::Keys(slices) => (&slices[..], &[][..]),
            CompactWork::Rewrite(rewrite) => (&[][..], &rewrite.sources[..]),
        };
        keys.iter().chain(sources.iter().map(|source| &source.slice))
    }

    /// Carries it out.
    ///
    /// # Errors
    /// [`DiskError`] if what is to be written is not; what does not read is an answer.
    pub fn carry_out(&self, disk: &mut dyn Disk) -> Result<CompactDone, DiskError> {
        let slices: Vec<Slice> = self.slices().cloned().collect();
        let mut batches = match read(disk, &slices) {
            Ok(batches) => batches,
            Err(LogsError::Damaged { file, .. }) => return Ok(CompactDone::Unreadable(file)),
            Err(_) => return Ok(CompactDone::Unreadable(slices[0].file.clone())),
        };
        let mut next = |slice: &Slice| batches.split_to(slice.bytes as usize);
        match self {
            CompactWork::Keys(slices) => {
                Ok(CompactDone::Keys(slices.iter().map(|slice| keys_of(slice, &next(slice))).collect()))
            }
            CompactWork::Rewrite(rewrite) => {
                let mut out = Output::new(rewrite);
                for source in &rewrite.sources {
                    let whole = next(&source.slice);
                    let left = batch::rewrite(&whole, LIMITS, |record| rewrite.stays(source, record));
                    match left {
                        Ok(Left::Nothing) => {}
                        Ok(Left::Some(some)) => out.push(disk, &some)?,
                        Ok(Left::All) | Err(_) => out.push(disk, &whole)?,
                    }
                }
                out.flush(disk)?;
                let (segments, digest) = (out.segments, out.digest);
                Ok(CompactDone::Rewritten(Rewritten { segments, digest }))
            }
        }
    }
}

fn keys_of(slice: &Slice, batch: &Bytes) -> Vec<(Key, u64)> {
    // Of a batch that does not unpack nothing is superseded, and it supersedes nothing.
    let Ok(records) = batch::records(batch, LIMITS) else { return Vec::new() };
    let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { return Vec::new() };
    let keyed = |record: Record| Some((hash(&record.key?), slice.base_offset + delta(record.offset_delta)));
    records.into_iter().filter_map(keyed).collect()
}

fn hash(key: &[u8]) -> Key {
    let mut short = Key::default();
    short.copy_from_slice(&blake3::hash(key).as_bytes()[..16]);
    short
}

fn delta(offset_delta: i32) -> u64 {
    u64::try_from(offset_delta).expect("records lie behind their batch's first offset")
}

impl Rewrite {
    fn stays(&self, source: &Source, record: &Record) -> bool {
        let Some(key) = &record.key else { return true };
        if source.tombstones_go && record.value.is_none() {
            return false;
        }
        let offset = source.slice.base_offset + delta(record.offset_delta);
        self.latest.get(&hash(key)).is_none_or(|latest| *latest <= offset)
    }
}

/// What is written, gathered until it is worth a write.
struct Output<'a> {
    work: &'a Rewrite,
    segments: Vec<SegmentState>,
    digest: [u8; 16],
    /// Where the gathered batches begin in the last segment, and its index.
    at: u32,
    index_at: u64,
    batches: BytesMut,
    index: Vec<u8>,
}

impl Output<'_> {
    fn new(work: &Rewrite) -> Output<'_> {
        let segments: Vec<SegmentState> = work.last.into_iter().collect();
        let (at, index_at) = work.last.map_or((0, 0), |last| (last.bytes, last.batches));
        let (batches, index) = (BytesMut::new(), Vec::new());
        Output { work, segments, digest: work.digest, at, index_at, batches, index }
    }

    fn push(&mut self, disk: &mut dyn Disk, batch: &[u8]) -> Result<(), DiskError> {
        let info = batch::parse_kept(batch).expect("it was read and checked").info();
        let full = |last: &SegmentState| {
            u64::from(last.bytes) + u64::from(info.size) > u64::from(self.work.segment_bytes)
        };
        if self.segments.last().is_none_or(full) {
            self.flush(disk)?;
            let first = u64::try_from(info.base_offset).expect("it was given its merged offset");
            self.segments.push(SegmentState { first, end: first, bytes: 0, batches: 0, newest: i64::MIN });
            (self.at, self.index_at) = (0, 0);
        }
        let last = self.segments.last_mut().expect("there is one now");
        let record = next_record(last, &info, true);
        *last = after(last, &record);
        self.digest = digest_after(&self.digest, &record);
        self.batches.extend_from_slice(batch);
        self.index.extend_from_slice(&record.encode());
        Ok(())
    }

    fn flush(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let Some(last) = self.segments.last().filter(|_| !self.batches.is_empty()) else { return Ok(()) };
        let (file, index) = names::compacted(&self.work.folder, self.work.generation, last.first);
        disk.write(&file, u64::from(self.at), &self.batches)?;
        disk.write(&index, self.index_at * OriginRecord::BYTES as u64, &self.index)?;
        (self.at, self.index_at) = (last.bytes, last.batches);
        self.batches.clear();
        self.index.clear();
        Ok(())
    }
}

/// The digest of a generation that ends in `before` and then has this batch.
fn digest_after(before: &[u8; 16], record: &OriginRecord) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(&record.encode());
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}
