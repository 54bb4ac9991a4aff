//! What was compacted of a merged log: the latest generation, and the marks that call for the next one.
//!
//! A generation is a row of segments like an origin log's, with gaps: batches of which some records are gone, and none
//! where all are. Below its end the merged log is read from it. Marks are set at places of the merged order; that and
//! the generations' sizes decide which of them leads to a pass, so that all sites make the same generations
//! whenever each finds the time.

use std::collections::VecDeque;

use disk::{Disk, FileName};
use serde::{Deserialize, Serialize};

use crate::error::LogsError;
use crate::merged::MergedState;
use crate::names;
use crate::segment::{Segment, SegmentState};

/// How many passes are remembered for the sake of their tombstones; of more, every other one is taken for the next.
const PASSES_MAX: usize = 256;

/// How a topic is compacted, by its settings at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How much of the log must be new for a pass, in thousandths.
    pub dirty_permille: u16,
    /// How long tombstones stay after the first pass that covers them, in milliseconds.
    pub tombstones_ms: u64,
}

/// A place of the merged order at which a pass may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// When, by merged stamps, in milliseconds.
    pub(crate) at_ms: u64,
    /// How many batches there are.
    pub(crate) batches: u64,
    /// How many bytes they had.
    pub(crate) appended: u64,
    /// Where the log begins.
    pub(crate) start: u64,
    pub(crate) terms: Terms,
}

/// A pass that was made: how far it went, and when its mark was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Covered {
    upto: u64,
    at_ms: u64,
}

/// What counts of a partition's compaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompactedState {
    /// Which generation it is; none yet: 0.
    pub(crate) generation: u64,
    pub(crate) segments: Vec<SegmentState>,
    /// So many batches of the merged log are in it, as far as they are anywhere.
    pub(crate) batches: u64,
    /// One past the last offset of those.
    pub(crate) upto: u64,
    /// How many bytes they had.
    pub(crate) appended: u64,
    /// The digest of the generation.
    pub(crate) digest: [u8; 16],
    passes: Vec<Covered>,
    marks: VecDeque<Mark>,
    /// How many batches there were at the last mark.
    marked: u64,
}

/// What was compacted of a merged log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compacted {
    state: CompactedState,
    pub(crate) segments: Vec<Segment>,
}

/// A generation that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) generation: u64,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) batches: u64,
    pub(crate) upto: u64,
    pub(crate) appended: u64,
    pub(crate) digest: [u8; 16],
    /// Whether it went as far as its mark.
    pub(crate) reached: bool,
}

impl CompactedState {
    /// Whether its numbers can be those of what was compacted of this log.
    fn is_possible(&self, merged: &MergedState) -> bool {
        let marks = self.marks.iter().all(|mark| mark.batches <= merged.batches);
        let within = self.batches <= merged.batches && self.upto <= merged.end;
        marks && within && self.appended <= merged.appended && self.generation < u64::MAX
    }
}

impl Compacted {
    /// As a checkpoint left it.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        folder: &FileName,
        state: &CompactedState,
        merged: &MergedState,
    ) -> Result<Compacted, LogsError> {
        if !state.is_possible(merged) {
            return Err(LogsError::damaged(&names::merged(folder), "less is in it than was compacted of it"));
        }
        let segments = restore(disk, folder, state.generation, &state.segments)?;
        Ok(Compacted { state: CompactedState { segments: Vec::new(), ..state.clone() }, segments })
    }

    pub(crate) fn state(&self) -> CompactedState {
        let segments = self.segments.iter().map(Segment::state).collect();
        CompactedState { segments, ..self.state.clone() }
    }

    /// So many batches of the merged log are read from here.
    pub(crate) fn batches(&self) -> u64 {
        self.state.batches
    }

    /// Below this offset the merged log is read from here.
    pub(crate) fn upto(&self) -> u64 {
        self.state.upto
    }

    pub(crate) fn generation(&self) -> (u64, [u8; 16]) {
        (self.state.generation, self.state.digest)
    }

    /// How many bytes of batches it stands for.
    pub(crate) fn appended(&self) -> u64 {
        self.state.appended
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.state().bytes)).sum()
    }

    /// Whether the log has grown since the last mark.
    pub(crate) fn grew(&self, merged: &MergedState) -> bool {
        merged.batches > self.state.marked
    }

    /// Sets a mark, if the log has grown since the last one.
    pub(crate) fn mark(&mut self, merged: &MergedState, at_ms: u64, terms: Terms) -> bool {
        if !self.grew(merged) {
            return false;
        }
        let MergedState { batches, appended, start, .. } = *merged;
        self.state.marks.push_back(Mark { at_ms, batches, appended, start, terms });
        self.state.marked = batches;
        true
    }

    /// Whether marks wait: then the bytes that they may call for must stay.
    pub(crate) fn is_behind(&self) -> bool {
        !self.state.marks.is_empty()
    }

    /// The first mark that leads to a pass; those before it are done with.
    pub(crate) fn next_mark(&mut self) -> Option<Mark> {
        while let Some(mark) = self.state.marks.front() {
            let dirty = mark.appended.saturating_sub(self.state.appended);
            let whole = u128::from(self.bytes()) + u128::from(dirty);
            let enough = u128::from(dirty) * 1000 >= whole * u128::from(mark.terms.dirty_permille);
            if enough && mark.batches > self.state.batches + 1 {
                return Some(*mark);
            }
            self.state.marks.pop_front();
        }
        None
    }

    /// Below this offset tombstones go at this mark: a pass has covered them long enough ago.
    pub(crate) fn tombstones_below(&self, mark: &Mark) -> u64 {
        let long_ago = |pass: &&Covered| pass.at_ms.saturating_add(mark.terms.tombstones_ms) <= mark.at_ms;
        self.state.passes.iter().rev().find(long_ago).map_or(0, |pass| pass.upto)
    }

    /// A generation takes the place of the one before it. Returns the files of that one.
    pub(crate) fn replace(
        &mut self,
        disk: &mut dyn Disk,
        folder: &FileName,
        mark: &Mark,
        made: &Made,
    ) -> Result<Vec<FileName>, LogsError> {
        let segments = restore(disk, folder, made.generation, &made.segments)?;
        let gone = std::mem::replace(&mut self.segments, segments);
        let below = self.tombstones_below(mark);
        let state = &mut self.state;
        (state.generation, state.digest) = (made.generation, made.digest);
        (state.batches, state.upto, state.appended) = (made.batches, made.upto, made.appended);
        state.passes.retain(|pass| pass.upto >= below);
        state.passes.push(Covered { upto: made.upto, at_ms: mark.at_ms });
        if state.passes.len() > PASSES_MAX {
            let mut stays = false;
            state.passes.retain(|_| {
                stays = !stays;
                !stays
            });
        }
        if made.reached {
            state.marks.pop_front();
        }
        Ok(gone.into_iter().flat_map(|segment| [segment.file, segment.index.file]).collect())
    }

    /// Its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileName> {
        self.segments.iter().flat_map(|segment| [&segment.file, &segment.index.file])
    }
}

fn restore(
    disk: &mut dyn Disk,
    folder: &FileName,
    generation: u64,
    states: &[SegmentState],
) -> Result<Vec<Segment>, LogsError> {
    let mut segments = Vec::with_capacity(states.len());
    for state in states {
        let mut segment =
            Segment::restore(disk, names::compacted(folder, generation, state.first), *state, true)?;
        // Nothing is appended to it: its tail is like the rest of it.
        segment.index.close();
        segments.push(segment);
    }
    Ok(segments)
}
