//! One pass of compaction: from a mark to a generation, in steps that are carried out beside the machine.
//!
//! First the keys of the new batches are gathered with the latest offset of each; then the generation before and the new
//! batches are written anew, without what these keys supersede. Steps are bounded by bytes, and what comes out does not
//! depend on how the work was cut into steps. A pass is not part of a checkpoint: it begins anew after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use disk::{Disk, FileName};
use entry::JournalId;

use crate::compacted::{Made, Mark};
use crate::error::LogsError;
use crate::logs::At;
use crate::merged;
use crate::names;
use crate::partition::Partition;
use crate::plan::Slice;
use crate::rewriting::{CompactDone, CompactWork, Key, Rewrite, Rewritten, Source};
use crate::row;
use crate::segment::SegmentState;

/// How much a pass, and a step of it, may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How many different keys one pass looks at: part of the format. They take some 60 MB.
    pub(crate) keys: usize,
    /// Bytes that one step reads, or one batch.
    pub(crate) step_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { keys: 1 << 20, step_bytes: 1 << 20 }
    }
}

/// Batches that one step reads.
const STEP_BATCHES: usize = 4096;

/// A pass under way.
#[derive(Debug)]
pub struct Pass {
    pub(crate) at: At,
    pub(crate) mark: Mark,
    folder: FileName,
    generation: u64,
    /// So many batches of the merged log it covers.
    until: u64,
    tombstones_below: u64,
    phase: Phase,
    keys: BTreeMap<Key, u64>,
    bounds: Bounds,
    latest: Arc<BTreeMap<Key, u64>>,
    made: Vec<SegmentState>,
    digest: [u8; 16],
    appended: u64,
    upto: u64,
    /// Per journal: below this origin offset all is in the generation, or gone.
    pub(crate) passed: BTreeMap<JournalId, u64>,
    segment_bytes: u32,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Keys are gathered, from this batch of the merged log on.
    Keys(u64),
    /// The generation before is written anew, from this batch of this segment on.
    Clean(usize, u64),
    /// What came behind it is written anew, from this batch of the merged log on.
    Dirty(u64),
}

impl Pass {
    pub(crate) fn begin(at: At, held: &Partition, mark: Mark, segment_bytes: u32, bounds: Bounds) -> Pass {
        let compacted = &held.compacted;
        let (before, _) = compacted.generation();
        Pass {
            at,
            mark,
            folder: held.folder.clone(),
            generation: before + 1,
            // The last batch stays as it is, so that a reader never ends up in a gap.
            until: mark.batches - 1,
            tombstones_below: compacted.tombstones_below(&mark),
            phase: Phase::Keys(compacted.batches()),
            keys: BTreeMap::new(),
            bounds,
            latest: Arc::default(),
            made: Vec::new(),
            digest: [0; 16],
            appended: compacted.appended(),
            upto: compacted.upto(),
            passed: BTreeMap::new(),
            segment_bytes,
        }
    }

    /// The next thing to do; `None` when the generation is written.
    pub(crate) fn next_step(
        &mut self,
        held: &Partition,
        disk: &dyn Disk,
    ) -> Result<Option<CompactWork>, LogsError> {
        loop {
            match self.phase {
                Phase::Keys(next) => {
                    let slices = self.dirty(held, disk, next, false)?;
                    if !slices.is_empty() {
                        return Ok(Some(CompactWork::Keys(slices)));
                    }
                    self.latest = Arc::new(std::mem::take(&mut self.keys));
                    self.phase = Phase::Clean(0, 0);
                }
                Phase::Clean(segment, next) => {
                    let sources = self.clean(held, disk, segment, next)?;
                    if !sources.is_empty() {
                        return Ok(Some(self.rewrite(sources)));
                    }
                    if let Phase::Clean(segment, _) = self.phase
                        && segment == held.compacted.segments.len()
                    {
                        self.phase = Phase::Dirty(held.compacted.batches());
                    }
                }
                Phase::Dirty(next) if next == self.until => return Ok(None),
                Phase::Dirty(next) => {
                    let slices = self.dirty(held, disk, next, true)?;
                    if !slices.is_empty() {
                        let source = |slice| Source { slice, tombstones_go: false };
                        return Ok(Some(self.rewrite(slices.into_iter().map(source).collect())));
                    }
                }
            }
        }
    }

    /// Some batches of the merged log from `next` on; what lies below the start is passed over.
    fn dirty(
        &mut self,
        held: &Partition,
        disk: &dyn Disk,
        mut next: u64,
        for_good: bool,
    ) -> Result<Vec<Slice>, LogsError> {
        let (mut slices, mut bytes) = (Vec::new(), 0);
        while next < self.until && bytes < self.bounds.step_bytes && slices.len() < STEP_BATCHES {
            for record in held.merged.block(disk, next, self.until)? {
                if bytes >= self.bounds.step_bytes {
                    break;
                }
                next += 1;
                if for_good {
                    self.passed.insert(record.journal, record.origin_offset + u64::from(record.records));
                    self.appended += u64::from(record.bytes);
                    self.upto = record.end();
                }
                if record.end() > self.mark.start {
                    bytes += record.bytes as usize;
                    slices.push(merged::slice(&held.folder, &record));
                } else if !for_good {
                    // Nothing was gathered before it, so the first slice tells which batch it is.
                    self.phase = Phase::Keys(next);
                }
            }
        }
        if for_good {
            self.phase = Phase::Dirty(next);
        }
        Ok(slices)
    }

    /// Some batches of the generation before.
    fn clean(
        &mut self,
        held: &Partition,
        disk: &dyn Disk,
        segment: usize,
        mut next: u64,
    ) -> Result<Vec<Source>, LogsError> {
        let Some(reading) = held.compacted.segments.get(segment) else { return Ok(Vec::new()) };
        let (mut sources, mut bytes) = (Vec::new(), 0);
        let end = reading.index.count();
        while next < end && bytes < self.bounds.step_bytes && sources.len() < STEP_BATCHES {
            for record in reading.index.block(disk, next, end)? {
                if bytes >= self.bounds.step_bytes {
                    break;
                }
                next += 1;
                if record.end() > self.mark.start {
                    bytes += record.bytes as usize;
                    let tombstones_go = record.offset < self.tombstones_below;
                    sources.push(Source { slice: row::slice(reading, &record), tombstones_go });
                }
            }
        }
        self.phase = if next < end { Phase::Clean(segment, next) } else { Phase::Clean(segment + 1, 0) };
        Ok(sources)
    }

    fn rewrite(&self, sources: Vec<Source>) -> CompactWork {
        CompactWork::Rewrite(Rewrite {
            folder: self.folder.clone(),
            generation: self.generation,
            last: self.made.last().copied(),
            digest: self.digest,
            sources,
            latest: Arc::clone(&self.latest),
            segment_bytes: self.segment_bytes,
        })
    }

    /// A step was carried out. Returns whether the pass can go on.
    pub fn step_done(&mut self, done: CompactDone) -> bool {
        match done {
            CompactDone::Keys(batches) => self.gather(batches),
            CompactDone::Rewritten(Rewritten { segments, digest }) => {
                self.made.pop();
                self.made.extend(segments);
                self.digest = digest;
            }
            CompactDone::Unreadable(_) => return false,
        }
        true
    }

    fn gather(&mut self, batches: Vec<Vec<(Key, u64)>>) {
        let Phase::Keys(mut next) = self.phase else { return };
        for keys in batches {
            next += 1;
            for (key, offset) in keys {
                let latest = self.keys.entry(key).or_insert(offset);
                *latest = offset.max(*latest);
            }
            if self.keys.len() >= self.bounds.keys {
                self.until = next;
                break;
            }
        }
        self.phase = Phase::Keys(next);
    }

    pub(crate) fn made(&self) -> Made {
        Made {
            generation: self.generation,
            segments: self.made.clone(),
            batches: self.until,
            upto: self.upto,
            appended: self.appended,
            digest: self.digest,
            reached: self.until == self.mark.batches - 1,
        }
    }

    /// The files that it has written.
    pub(crate) fn files(&self) -> Vec<FileName> {
        let names = |state: &SegmentState| names::compacted(&self.folder, self.generation, state.first);
        self.made.iter().map(names).flat_map(|(file, index)| [file, index]).collect()
    }

    /// How many bytes the step reads, for who bounds that.
    #[must_use]
    pub fn bytes_of(work: &CompactWork) -> u64 {
        work.slices().map(|slice| u64::from(slice.bytes)).sum()
    }
}
