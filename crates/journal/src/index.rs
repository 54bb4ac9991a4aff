//! Where each entry of the retained WAL stands, and the latest entries themselves.
//!
//! Sixteen bytes per entry, in memory only: recovery rebuilds it from the frames. Peers mostly ask for what was just
//! written, so the latest entries of all journals together, up to a bound in bytes, are kept whole.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use entry::{JournalId, Seq};
use thiserror::Error;

use crate::position::segment_file;

/// Why durable entries cannot be handed out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Older than all that is kept: it has to come from a checkpoint and segments.
    #[error("entries of journal {journal} before {first} have left the WAL: copy them as segments")]
    Dropped {
        /// The journal asked for.
        journal: JournalId,
        /// The first entry still kept.
        first: Seq,
    },
    /// The bytes on the disk are not those that were written: look at the whole file, and [`crate::Wal::lose`] it.
    #[error(
        "{file} is damaged at byte {offset}: entry {seq} of journal {journal} does not match its checksum"
    )]
    Damaged {
        /// The damaged file.
        file: FileName,
        /// Where the entry begins.
        offset: u64,
        /// Whose entry.
        journal: JournalId,
        /// Which entry.
        seq: Seq,
    },
    /// The file could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Where one entry's bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

/// What is known of one journal; `places` and `hot` both end with the entry before `next`.
#[derive(Debug)]
struct Kept {
    next: Seq,
    places: VecDeque<Place>,
    hot: VecDeque<Bytes>,
}

impl Kept {
    fn cold_first(&self) -> Seq {
        self.next - self.places.len() as u64
    }

    fn hot_first(&self) -> Seq {
        self.next - self.hot.len() as u64
    }
}

/// All durable entries in the retained WAL.
#[derive(Debug)]
pub(crate) struct Index {
    journals: BTreeMap<JournalId, Kept>,
    /// Whose entry was made hot when, oldest first.
    hot_order: VecDeque<JournalId>,
    hot_bytes: usize,
    hot_bytes_max: usize,
}

impl Index {
    pub(crate) fn new(hot_bytes_max: usize) -> Index {
        Index { journals: BTreeMap::new(), hot_order: VecDeque::new(), hot_bytes: 0, hot_bytes_max }
    }

    /// Adds a later entry of a journal; false if it is known already. One that is not the next comes behind what was
    /// taken over as a copy: what stands before the gap is not handed out any more.
    pub(crate) fn add(&mut self, journal: JournalId, seq: Seq, place: Place, bytes: Bytes) -> bool {
        let kept = self.journals.entry(journal).or_insert_with(|| Kept {
            next: seq,
            places: VecDeque::new(),
            hot: VecDeque::new(),
        });
        if kept.next > seq {
            return false;
        }
        if kept.next < seq {
            self.hot_bytes -= kept.hot.iter().map(Bytes::len).sum::<usize>();
            self.hot_order.retain(|hot| *hot != journal);
            *kept = Kept { next: seq, places: VecDeque::new(), hot: VecDeque::new() };
        }
        kept.next += 1;
        kept.places.push_back(place);
        self.hot_bytes += bytes.len();
        kept.hot.push_back(bytes);
        self.hot_order.push_back(journal);
        self.cool();
        true
    }

    /// Adds entries that stand before all that is known, in their order; false if one of them is known. What stands before
    /// a gap is not handed out.
    pub(crate) fn precede(&mut self, entries: Vec<(JournalId, Seq, Place)>) -> bool {
        for (journal, seq, place) in entries.into_iter().rev() {
            let new = Kept { next: seq + 1, places: VecDeque::new(), hot: VecDeque::new() };
            let kept = self.journals.entry(journal).or_insert(new);
            match (seq + 1).cmp(&kept.cold_first()) {
                Ordering::Less => {}
                Ordering::Equal => kept.places.push_front(place),
                Ordering::Greater => return false,
            }
        }
        true
    }

    fn cool(&mut self) {
        while self.hot_bytes > self.hot_bytes_max
            && let Some(journal) = self.hot_order.pop_front()
        {
            let oldest = self.journals.get_mut(&journal).and_then(|kept| kept.hot.pop_front());
            self.hot_bytes -= oldest.map_or(0, |bytes| bytes.len());
        }
    }

    /// Forgets what stands in segments up to `segment`.
    pub(crate) fn forget(&mut self, segment: u32) {
        for kept in self.journals.values_mut() {
            while kept.places.front().is_some_and(|place| place.segment <= segment) {
                kept.places.pop_front();
            }
        }
    }

    pub(crate) fn first(&self, journal: JournalId) -> Option<Seq> {
        let kept = self.journals.get(&journal)?;
        let first = kept.cold_first().min(kept.hot_first());
        (first < kept.next).then_some(first)
    }

    /// The first entry that can be read from a file, however many are in memory.
    pub(crate) fn first_on_disk(&self, journal: JournalId) -> Option<Seq> {
        let kept = self.journals.get(&journal)?;
        (kept.cold_first() < kept.next).then(|| kept.cold_first())
    }

    pub(crate) fn next(&self, journal: JournalId) -> Option<Seq> {
        self.journals.get(&journal).map(|kept| kept.next)
    }

    pub(crate) fn journals(&self) -> impl Iterator<Item = JournalId> {
        self.journals.keys().copied()
    }

    pub(crate) fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }
}

/// One request for entries.
pub(crate) struct Request<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) folder: &'a FileName,
    pub(crate) journal: JournalId,
    pub(crate) from: Seq,
    pub(crate) max_bytes: usize,
}

impl Index {
    /// Entries from `from` on, at least one if there is one, else as many as `max_bytes` allow.
    pub(crate) fn read(&self, request: &Request<'_>) -> Result<Vec<Bytes>, ReadError> {
        let Some(kept) = self.journals.get(&request.journal).filter(|kept| request.from < kept.next) else {
            return Ok(Vec::new());
        };
        let first = kept.cold_first().min(kept.hot_first());
        if request.from < first {
            return Err(ReadError::Dropped { journal: request.journal, first });
        }
        let (mut out, mut room, mut seq) = (Vec::new(), request.max_bytes, request.from);
        while seq < kept.hot_first() {
            let run = run(kept, seq, room, out.is_empty());
            if run.is_empty() {
                return Ok(out);
            }
            read_run(request, seq, &run, &mut out)?;
            seq += run.len() as u64;
            room = room.saturating_sub(run.iter().map(|place| place.len as usize).sum());
        }
        for bytes in kept.hot.iter().skip((seq - kept.hot_first()) as usize) {
            if bytes.len() > room && !out.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes.len());
            out.push(bytes.clone());
        }
        Ok(out)
    }
}

/// The places from `seq` on that lie one behind the other on the disk, within `room`.
fn run(kept: &Kept, seq: Seq, mut room: usize, whatever_the_first: bool) -> Vec<Place> {
    let mut run: Vec<Place> = Vec::new();
    let cold = (kept.hot_first() - seq) as usize;
    for place in kept.places.iter().skip((seq - kept.cold_first()) as usize).take(cold) {
        let follows = run
            .last()
            .is_none_or(|last| last.segment == place.segment && last.offset + last.len == place.offset);
        let fits = place.len as usize <= room || (whatever_the_first && run.is_empty());
        if !follows || !fits {
            break;
        }
        room = room.saturating_sub(place.len as usize);
        run.push(*place);
    }
    run
}

/// Reads a run at one go and verifies each entry of it.
fn read_run(request: &Request<'_>, seq: Seq, run: &[Place], out: &mut Vec<Bytes>) -> Result<(), ReadError> {
    let file = segment_file(request.folder, run[0].segment);
    let len = run.iter().map(|place| place.len as usize).sum();
    let mut bytes = request.disk.read(&file, u64::from(run[0].offset), len)?;
    for (number, place) in run.iter().enumerate() {
        let entry = bytes.split_to(place.len as usize);
        if crc32c::crc32c(&entry) != place.crc {
            let (journal, seq) = (request.journal, seq + number as u64);
            return Err(ReadError::Damaged { file, offset: u64::from(place.offset), journal, seq });
        }
        out.push(entry);
    }
    Ok(())
}
