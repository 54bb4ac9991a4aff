//! The write-ahead log as a value: what waits, what is in flight, what is durable.
//!
//! One write at a time. What is queued while it is under way goes into the next, so that the number of entries per sync
//! grows by itself with the load. Nothing is visible here before the shell has said that it is durable.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use entry::{Encoded, JournalId, Seq};

use crate::frame::{FRAME_BYTES_MAX, HEAD_BYTES, Queued, Row, encode, padded};
use crate::index::{Index, Place, ReadError, Request};
use crate::open::{OpenError, Recovered};
use crate::position::{segment_file, spare_file};
use crate::queue::Queue;
use crate::record::Record;
use crate::scan::{Look, look};
use crate::unread::{Contents, Unread};
use crate::{WalOp, WalPosition, WalWrite};

/// Settings of a WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalOptions {
    /// Drawn at random when the data directory was made, and told to nobody: marks this WAL's frames.
    pub nonce: u128,
    /// Length of a segment file. A commit that is longer gets a longer file of its own.
    pub segment_bytes: u64,
    /// How many bytes of the latest entries stay in memory.
    pub hot_bytes: usize,
    /// How many retired segment files to keep for use again.
    pub recycle: usize,
}

impl WalOptions {
    /// 64 MiB segments, 64 MiB of entries in memory, four files kept for use again.
    #[must_use]
    pub fn new(nonce: u128) -> WalOptions {
        WalOptions { nonce, segment_bytes: 64 << 20, hot_bytes: 64 << 20, recycle: 4 }
    }
}

/// One segment file in use.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) len: u64,
    /// Where its durable frames end.
    pub(crate) end: u64,
    /// The commit that it begins with, once it holds one.
    pub(crate) first_lsn: u64,
    /// The last entry of each journal in it, or one behind.
    pub(crate) last: BTreeMap<JournalId, Seq>,
    pub(crate) known: Known,
}

/// What is known of a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It lies before the checkpoint, and was not read since the start.
    Unread,
    /// Every frame was whole when it was read, or written, by this process.
    Whole,
    /// So it is, but it lies before one that is damaged: nothing of it is given to anybody.
    Barred,
    /// Not every frame is whole, or the file does not read.
    Damaged,
}

/// Files that wait to become segments.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    pub(crate) files: Vec<(FileName, u64)>,
    pub(crate) next_number: u32,
    pub(crate) ordered: Option<FileName>,
}

/// A frame on its way to the disk.
#[derive(Debug)]
struct Flight {
    write: WalWrite,
    records: Vec<Queued>,
    rows: Vec<Row>,
    /// The segment to begin, if this frame begins one.
    begins: Option<Segment>,
    offset: u64,
    frame_bytes: u64,
    refused: bool,
}

/// One node's write-ahead log.
#[derive(Debug)]
pub struct Wal {
    folder: FileName,
    options: WalOptions,
    /// Oldest first, numbers without gaps; frames are added to the last.
    segments: VecDeque<Segment>,
    spares: Spares,
    position: WalPosition,
    waiting: Queue,
    flight: Option<Flight>,
    index: Index,
}

impl Wal {
    /// Opens the WAL in `folder`, or begins one. `from` is the position that the checkpoint bears,
    /// [`WalPosition::START`] if there is none; everything behind it is then to be had from [`Wal::replay`].
    ///
    /// # Errors
    /// [`OpenError`]; the files are then as they were.
    pub fn open(
        disk: &mut dyn Disk,
        folder: &FileName,
        options: WalOptions,
        from: WalPosition,
    ) -> Result<Recovered, OpenError> {
        crate::open::open(disk, folder, options, from)
    }

    pub(crate) fn assemble(
        folder: FileName,
        options: WalOptions,
        segments: VecDeque<Segment>,
        spares: Spares,
        position: WalPosition,
        index: Index,
    ) -> Wal {
        Wal { folder, options, segments, spares, position, waiting: Queue::default(), flight: None, index }
    }

    /// Queues an entry that this node wrote. Entries of one journal come in order, without gaps.
    pub fn push_entry(&mut self, entry: &Encoded) {
        self.waiting.push_own(sized(Record::Entry(entry.clone())));
    }

    /// Queues a note, behind what this node wrote.
    ///
    /// # Panics
    /// If it is longer than the longest entry.
    pub fn push_note(&mut self, note: Bytes) {
        self.waiting.push_own(sized(Record::Note(note)));
    }

    /// Queues records that are taken over from another node, in this order, to become durable together or not at all; what
    /// this node writes later may pass them. Entries of one journal come in order, without gaps, and all this way or all
    /// the other as long as any of them waits.
    ///
    /// # Panics
    /// If together they are longer than a frame.
    pub fn push_replica(&mut self, records: impl IntoIterator<Item = Record>) {
        self.waiting.push_others(records.into_iter().map(sized).collect());
    }

    /// How many bytes that this node wrote wait for a commit that has not begun.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.own_bytes()
    }

    /// How many bytes that are taken over wait for a commit that has not begun.
    #[must_use]
    pub fn replica_bytes(&self) -> usize {
        self.waiting.others_bytes()
    }

    /// Whether a commit has begun and is neither durable nor refused.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| !flight.refused)
    }

    /// Begins the next commit: all that waits, as far as one frame holds it. After a refusal, the same write again.
    /// `None` while one is under way or when nothing waits.
    pub fn start_write(&mut self) -> Option<WalWrite> {
        if let Some(flight) = &mut self.flight {
            return std::mem::take(&mut flight.refused).then(|| flight.write.clone());
        }
        let segment_bytes = usize::try_from(self.options.segment_bytes).unwrap_or(usize::MAX);
        let records = self.waiting.take(FRAME_BYTES_MAX.min(segment_bytes));
        if records.is_empty() {
            return None;
        }
        let frame_bytes = padded(HEAD_BYTES + records.iter().map(Queued::frame_bytes).sum::<usize>()) as u64;
        let mut ops = Vec::with_capacity(3);
        let begins = self.roll(frame_bytes, &mut ops);
        let segment =
            begins.as_ref().or(self.segments.back()).expect("a first frame always begins a segment");
        let (number, offset) = (segment.number, segment.end);
        let (chunks, rows) = encode(self.position.lsn, self.options.nonce, number, &records);
        let file = segment_file(&self.folder, number);
        ops.push(WalOp::WriteAt { file: file.clone(), offset, chunks });
        ops.push(WalOp::Sync { file });
        let write = WalWrite { id: self.position.lsn, ops };
        let flight = Flight { write, records, rows, begins, offset, frame_bytes, refused: false };
        Some(self.flight.insert(flight).write.clone())
    }

    /// The segment to begin if the last one has no room for `frame_bytes`.
    fn roll(&mut self, frame_bytes: u64, ops: &mut Vec<WalOp>) -> Option<Segment> {
        if self.segments.back().is_some_and(|last| last.end + frame_bytes <= last.len) {
            return None;
        }
        let number = self.segments.back().map_or(WalPosition::START.segment, |last| last.number + 1);
        let least = frame_bytes.max(self.options.segment_bytes);
        let spare = self.spares.files.iter().position(|(_, len)| *len >= least);
        let (recycle, len) = spare.map(|at| self.spares.files.remove(at)).unzip();
        let len = len.unwrap_or(least);
        ops.push(WalOp::Prepare { file: segment_file(&self.folder, number), len, recycle });
        Some(Segment::new(number, len))
    }

    /// The shell says: write `id` is written and synced. Gives back what is durable from now on, in order.
    ///
    /// # Panics
    /// If no such write is under way.
    pub fn written(&mut self, id: u64) -> Vec<Record> {
        let flight = self.flight.take().filter(|flight| flight.write.id == id && !flight.refused);
        let flight = flight.expect("the shell answers each write once, with its own id");
        self.segments.extend(flight.begins);
        let segment = self.segments.back_mut().expect("a frame was written to it");
        if segment.end == 0 {
            segment.first_lsn = self.position.lsn;
        }
        segment.end = flight.offset + flight.frame_bytes;
        self.position =
            WalPosition { lsn: self.position.lsn + 1, segment: segment.number, offset: segment.end as u32 };
        for (queued, row) in flight.records.iter().zip(&flight.rows) {
            if let Record::Entry(entry) = &queued.record {
                let next = segment.add(&mut self.index, flight.offset, row, entry);
                assert!(next, "entry {} of journal {} was not the next", entry.head.seq, entry.head.journal);
            }
        }
        flight.records.into_iter().map(|queued| queued.record).collect()
    }

    /// The shell says: there was no room for write `id`, and nothing of it was synced. It stays at the head of the queue;
    /// the next [`Wal::start_write`] gives the same write again.
    ///
    /// # Panics
    /// If no such write is under way.
    pub fn refused(&mut self, id: u64) {
        let flight = self.flight.as_mut().filter(|flight| flight.write.id == id && !flight.refused);
        flight.expect("the shell answers each write once, with its own id").refused = true;
    }

    /// After the last durable commit: what a checkpoint of everything applied so far bears.
    #[must_use]
    pub fn position(&self) -> WalPosition {
        self.position
    }

    /// Before the first commit that is known to be here: what a state must bear that is to be followed by all of them.
    #[must_use]
    pub fn oldest(&self) -> WalPosition {
        let begins =
            |oldest: &Segment| WalPosition { lsn: oldest.first_lsn, segment: oldest.number, offset: 0 };
        let whole = self.segments.iter().rev().take_while(|segment| segment.known == Known::Whole);
        whole.last().filter(|oldest| oldest.end > 0).map_or(self.position, begins)
    }

    /// Durable entries of `journal` from `from` on: as many as `max_bytes` allow, but at least one if there is one. None yet
    /// of what may stand in a segment that is [`Wal::unread`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entries(
        &self,
        disk: &dyn Disk,
        journal: JournalId,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, ReadError> {
        match self.index.read(&Request { disk, folder: &self.folder, journal, from, max_bytes }) {
            Err(ReadError::Dropped { .. }) if !self.is_read() => Ok(Vec::new()),
            read => read,
        }
    }

    /// Whether every segment was read since the start.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.segments.iter().all(|segment| segment.known != Known::Unread)
    }

    /// What is to be read next: the latest segment that was not read since the start.
    #[must_use]
    pub fn unread(&self) -> Option<Unread> {
        let latest = self.segments.iter().rposition(|segment| segment.known == Known::Unread)?;
        Some(self.to_read(latest))
    }

    /// The files that nothing more is written to and nothing is known to be wrong with, oldest first.
    pub fn closed(&self) -> impl Iterator<Item = FileName> {
        let closed = self.segments.iter().take(self.segments.len().saturating_sub(1));
        closed.filter(|segment| segment.is_whole()).map(|segment| segment_file(&self.folder, segment.number))
    }

    /// The same file to be read once more; `None` if it is not [`Wal::closed`].
    #[must_use]
    pub fn again(&self, file: &FileName) -> Option<Unread> {
        let at = self.find(file).filter(|at| at + 1 < self.segments.len())?;
        self.segments[at].is_whole().then(|| self.to_read(at))
    }

    fn find(&self, file: &FileName) -> Option<usize> {
        self.segments.iter().position(|segment| segment_file(&self.folder, segment.number) == *file)
    }

    /// What to read of a segment that is followed by another.
    fn to_read(&self, at: usize) -> Unread {
        let (segment, next_lsn) = (&self.segments[at], self.segments[at + 1].first_lsn);
        let next_lsn = Some(next_lsn).filter(|lsn| *lsn > 0);
        let file = segment_file(&self.folder, segment.number);
        Unread { file, number: segment.number, len: segment.len, nonce: self.options.nonce, next_lsn }
    }

    /// Takes what a file was found to hold, if it is still in use. Tells whether all is well; if not, [`Wal::lose`] it.
    #[must_use]
    pub fn found(&mut self, file: &FileName, contents: Contents) -> bool {
        let Some(at) = self.find(file) else { return true };
        let segment = &mut self.segments[at];
        if segment.known == Known::Unread {
            (segment.end, segment.first_lsn) = (contents.end, contents.first_lsn);
        }
        if contents.damaged.is_some() || segment.known != Known::Unread {
            return contents.damaged.is_none();
        }
        segment.last = contents.entries.iter().map(|(journal, seq, _)| (*journal, *seq)).collect();
        let is_barred = self.lost().is_some_and(|lost| lost > self.segments[at].number);
        self.segments[at].known = if is_barred { Known::Barred } else { Known::Whole };
        is_barred || self.index.precede(contents.entries)
    }

    /// A file is damaged: what stands in it or before is given to nobody any more. Which entries that may be is only known
    /// from what is `held` of each journal. Tells whether it was in use.
    pub fn lose(&mut self, file: &FileName, held: &BTreeMap<JournalId, Seq>) -> bool {
        let Some(at) = self.find(file) else { return false };
        let held = held.iter().filter_map(|(journal, next)| Some((*journal, next.checked_sub(1)?)));
        let held: BTreeMap<JournalId, Seq> = held.collect();
        let damaged = &mut self.segments[at];
        (damaged.last, damaged.known) = (held, Known::Damaged);
        self.index.forget(damaged.number);
        let before = self.segments.iter_mut().take(at).filter(|segment| segment.known == Known::Whole);
        before.for_each(|segment| segment.known = Known::Barred);
        true
    }

    /// The last segment that is damaged: recovery must not need it.
    #[must_use]
    pub fn lost(&self) -> Option<u32> {
        let damaged = |segment: &&Segment| segment.known == Known::Damaged;
        self.segments.iter().rev().find(damaged).map(|segment| segment.number)
    }

    /// The oldest durable entry of `journal` that [`Wal::entries`] can still give.
    #[must_use]
    pub fn first(&self, journal: JournalId) -> Option<Seq> {
        self.index.first(journal)
    }

    /// The oldest durable entry of `journal` that stands in a file, so that a replay of all files brings it back.
    #[must_use]
    pub fn first_on_disk(&self, journal: JournalId) -> Option<Seq> {
        self.index.first_on_disk(journal)
    }

    /// The seq after the last durable entry of `journal`; `None` if the retained WAL holds none.
    #[must_use]
    pub fn next(&self, journal: JournalId) -> Option<Seq> {
        self.index.next(journal)
    }

    /// The journals that have, or had since the start, entries here.
    pub fn journals(&self) -> impl Iterator<Item = JournalId> {
        self.index.journals()
    }

    /// How many bytes of entries are kept in memory.
    #[must_use]
    pub fn hot_bytes(&self) -> usize {
        self.index.hot_bytes()
    }

    /// The records of the durable commit at `at`, which is moved behind it; `None` at the end.
    ///
    /// # Errors
    /// [`OpenError`] if the file does not hold what it held when the WAL was opened.
    pub fn replay(&self, disk: &dyn Disk, at: &mut WalPosition) -> Result<Option<Vec<Record>>, OpenError> {
        if at.lsn >= self.position.lsn {
            return Ok(None);
        }
        let ended = |segment: &&Segment| segment.number == at.segment && u64::from(at.offset) >= segment.end;
        let (number, offset) = match self.segments.iter().find(ended) {
            Some(_) => (at.segment + 1, 0),
            None => (at.segment, at.offset),
        };
        let file = segment_file(&self.folder, number);
        let segment = self.segments.iter().find(|segment| segment.number == number);
        let segment = segment.ok_or_else(|| OpenError::Missing { file: file.clone() })?;
        match look(disk, &file, segment.len, u64::from(offset))? {
            Look::Whole(frame) if frame.head.lsn == at.lsn && frame.head.segment == number => {
                let end = u64::from(offset) + padded(frame.bytes.len()) as u64;
                *at = WalPosition { lsn: at.lsn + 1, segment: number, offset: end as u32 };
                frame.records().map(Some).map_err(|reason| OpenError::Unreadable {
                    file,
                    offset: u64::from(offset),
                    reason,
                })
            }
            _ => Err(OpenError::Changed { file, offset: u64::from(offset), lsn: at.lsn }),
        }
    }

    /// Drops the oldest segments that lie wholly before `position`, as long as `may_drop` agrees for the last entry of every
    /// journal in them; it is told how many bytes the segments now take in all. Keep two checkpoints usable: `position` is
    /// that of the older one.
    ///
    /// # Errors
    /// [`DiskError`] if a file cannot be renamed or removed; the segments already dropped stay dropped.
    pub fn drop_before(
        &mut self,
        disk: &mut dyn Disk,
        position: WalPosition,
        may_drop: &dyn Fn(JournalId, Seq, u64) -> bool,
    ) -> Result<Vec<FileName>, DiskError> {
        let mut dropped = Vec::new();
        while self.segments.len() > 1 {
            let (oldest, bytes) = (&self.segments[0], self.segment_bytes());
            let agreed = || oldest.last.iter().all(|(journal, seq)| may_drop(*journal, *seq, bytes));
            if oldest.number >= position.segment || oldest.known == Known::Unread || !agreed() {
                break;
            }
            let (number, len) = (oldest.number, oldest.len);
            let file = segment_file(&self.folder, number);
            self.retire(disk, &file, len)?;
            self.segments.pop_front();
            self.index.forget(number);
            dropped.push(file);
        }
        Ok(dropped)
    }

    fn retire(&mut self, disk: &mut dyn Disk, file: &FileName, len: u64) -> Result<(), DiskError> {
        if self.spares.files.len() >= self.options.recycle || len != self.options.segment_bytes {
            return disk.remove(file);
        }
        let spare = self.spares.name(&self.folder);
        match disk.rename(file, &spare) {
            // There is more use for the room that it takes.
            Err(error) if error.is_full() => return disk.remove(file),
            renamed => renamed?,
        }
        self.spares.files.push((spare, len));
        Ok(())
    }

    /// Orders a file for the next segment while the present one still has room, so that no commit waits for zeros to be
    /// written. The shell carries it out beside the writes and says [`Wal::prepared`].
    pub fn order_spare(&mut self) -> Option<WalOp> {
        let half_full = self.segments.back().is_none_or(|last| last.end > last.len / 2);
        if !half_full || !self.spares.files.is_empty() || self.spares.ordered.is_some() {
            return None;
        }
        let file = self.spares.name(&self.folder);
        self.spares.ordered = Some(file.clone());
        Some(WalOp::Prepare { file, len: self.options.segment_bytes, recycle: None })
    }

    /// The shell says how the ordered file turned out: `done` if it is there, else it may be ordered again.
    pub fn prepared(&mut self, done: bool) {
        if let Some(file) = self.spares.ordered.take()
            && done
        {
            self.spares.files.push((file, self.options.segment_bytes));
        }
    }

    /// Length of the files that hold commits.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// The last entry of each journal in the oldest file, if there is more than one file.
    pub fn oldest_entries(&self) -> impl Iterator<Item = (JournalId, Seq)> {
        let oldest = self.segments.front().filter(|_| self.segments.len() > 1);
        oldest.into_iter().flat_map(|oldest| oldest.last.iter().map(|(journal, seq)| (*journal, *seq)))
    }

    /// Length of all files, spare ones included.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.segment_bytes() + self.spares.files.iter().map(|(_, len)| len).sum::<u64>()
    }
}

/// A record that any reader will take.
fn sized(record: Record) -> Record {
    let len = record.bytes().len();
    assert!(len <= entry::ENTRY_BYTES_MAX, "a record of {len} bytes is longer than any entry may be");
    record
}

impl Segment {
    pub(crate) fn new(number: u32, len: u64) -> Segment {
        Segment { number, len, end: 0, first_lsn: 0, last: BTreeMap::new(), known: Known::Whole }
    }

    fn is_whole(&self) -> bool {
        matches!(self.known, Known::Whole | Known::Barred)
    }

    /// Notes the entry that stands in the frame at `offset`; false if it is not the next of its journal.
    pub(crate) fn add(&mut self, index: &mut Index, offset: u64, row: &Row, entry: &Encoded) -> bool {
        let offset = offset as u32 + row.at;
        let place = Place { segment: self.number, offset, len: row.len, crc: row.crc };
        self.last.insert(entry.head.journal, entry.head.seq);
        index.add(entry.head.journal, entry.head.seq, place, entry.bytes.clone())
    }
}

impl Spares {
    fn name(&mut self, folder: &FileName) -> FileName {
        self.next_number += 1;
        spare_file(folder, self.next_number)
    }
}
