//! What to believe of a WAL after a crash.
//!
//! Frames are verified from the front of the segment on that the checkpoint lies in. Where they end there are two cases,
//! told apart exactly. Since a frame is only written once all before it are durable, any head of a later frame, anywhere
//! behind the end, proves that the end was once whole: that is damage, and nothing is cut. With no such proof the end is the
//! torn tail of a write that nobody was told of, and the next write takes its place.
//!
//! No recovery needs what stands in earlier segments: they must be there, and are read once the site runs ([`crate::Unread`]).
//!
//! (Damage to the very last frame cannot be told from a torn write by looking at one disk. It is reported as a
//! [`Truncation`]; the site compares with its peers before it goes on.)
//!
//! The last whole frame may have been seen in the page cache only: the process died between write and sync, or the
//! sync failed and left pages behind that look clean. So it is written again and synced before anyone is told.

use std::collections::VecDeque;

use disk::{Disk, DiskError, FileName};
use thiserror::Error;

use crate::frame::{BLOCK_BYTES, Frame, FrameHead, padded};
use crate::index::Index;
use crate::position::{segment_file, segment_number, spare_number};
use crate::record::{BadRecord, Record};
use crate::scan::{Look, blocks, look};
use crate::wal::{Known, Segment, Spares};
use crate::{Wal, WalOptions, WalPosition};

/// Why a WAL is not opened. Except for [`OpenError::Disk`], no later attempt will do better.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Damage in the middle: bytes that were durable no longer are what they were.
    #[error(
        "{file} is damaged at byte {offset}: commit {lsn} is not whole, but a later commit stands in {proof} at byte \
         {proof_offset}, so it once was. Nothing was changed. Keep a copy of this directory, then repair this site \
         from another: start it with an empty data directory"
    )]
    Corrupt {
        /// The damaged file.
        file: FileName,
        /// Where the damaged frame begins.
        offset: u64,
        /// The commit that is not whole.
        lsn: u64,
        /// The file of the frame that proves it.
        proof: FileName,
        /// Where that frame begins.
        proof_offset: u64,
    },
    /// The WAL ends before the checkpoint: durable commits are gone.
    #[error(
        "{file} ends at byte {offset}, but the checkpoint covers more, all before commit {covered}. \
         Nothing was changed. Keep a copy of this directory, then repair this site from another: start it with an \
         empty data directory"
    )]
    Lost {
        /// Where the WAL ends.
        file: FileName,
        /// Where in it.
        offset: u64,
        /// The commit that comes next after the checkpoint.
        covered: u64,
    },
    /// A segment file is not there.
    #[error("{file} is missing: put it back, or repair this site from another with an empty data directory")]
    Missing {
        /// The missing file.
        file: FileName,
    },
    /// The checkpoint's position is not one of this WAL.
    #[error("the checkpoint and {file} do not belong together: were parts of a backup put back?")]
    Mismatch {
        /// The file that the position lies in.
        file: FileName,
    },
    /// Frames of another WAL.
    #[error("{file} belongs to another data directory")]
    Foreign {
        /// The file.
        file: FileName,
    },
    /// A newer version wrote it.
    #[error(
        "{file} has frame format {version} at byte {offset}: start the version that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        file: FileName,
        /// Where the frame begins.
        offset: u64,
        /// Its version.
        version: u16,
    },
    /// A verified record that this code cannot read.
    #[error("{file}, byte {offset}: {reason}; start the version that wrote it, or a newer one")]
    Unreadable {
        /// The file.
        file: FileName,
        /// Where the frame begins.
        offset: u64,
        /// What does not read.
        reason: BadRecord,
    },
    /// A verified entry that was there already.
    #[error(
        "{file}, byte {offset}: an entry does not come behind those of its journal; this is a bug, keep the directory"
    )]
    Disordered {
        /// The file.
        file: FileName,
        /// Where the frame begins.
        offset: u64,
    },
    /// A frame that was whole when the WAL was opened is not now.
    #[error(
        "{file} changed at byte {offset} while it was being replayed: commit {lsn} is no longer whole; stop this site"
    )]
    Changed {
        /// The file.
        file: FileName,
        /// Where the frame begins.
        offset: u64,
        /// The commit.
        lsn: u64,
    },
    /// A file operation failed: try again once the disk works.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A WAL found or begun.
#[derive(Debug)]
pub struct Recovered {
    /// The WAL.
    pub wal: Wal,
    /// What was cut off, to be reported.
    pub truncated: Option<Truncation>,
}

/// The end of the WAL was not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    /// In which file.
    pub file: FileName,
    /// Where the frame began.
    pub offset: u64,
    /// The commit cut off.
    pub lsn: u64,
    /// How many records it was to hold, if its head can still be read.
    pub records: Option<u32>,
}

/// The walk over all frames.
struct Walk<'a> {
    disk: &'a dyn Disk,
    options: &'a WalOptions,
    folder: &'a FileName,
    from: WalPosition,
    segments: VecDeque<Segment>,
    /// Which segment the walk is in.
    current: usize,
    /// After the last whole frame.
    at: WalPosition,
    /// Where the last whole frame stands.
    last: Option<(FileName, u64, Frame)>,
    index: Index,
}

pub(crate) fn open(
    disk: &mut dyn Disk,
    folder: &FileName,
    options: WalOptions,
    from: WalPosition,
) -> Result<Recovered, OpenError> {
    assert!(
        options.segment_bytes >= BLOCK_BYTES as u64 && options.segment_bytes <= 1 << 30,
        "segments hold a block at least, and a gibibyte at most"
    );
    let segments = list_segments(disk, folder)?;
    let mut walk = Walk {
        disk,
        options: &options,
        folder,
        from,
        current: 0,
        at: WalPosition::START,
        last: None,
        index: Index::new(options.hot_bytes),
        segments,
    };
    walk.begin()?;
    while walk.step()? {}
    let truncated = walk.end()?;
    let Walk { mut segments, current, at, last, index, .. } = walk;
    let surplus: Vec<u32> = segments.iter().skip(current + 1).map(|segment| segment.number).collect();
    segments.truncate(current + 1);
    match &last {
        Some(_) => make_durable(disk, last)?,
        // A first segment without a frame may be there by name only, from a write that never was.
        None => segments.iter().try_for_each(|first| disk.sync(&segment_file(folder, first.number)))?,
    }
    surplus.iter().try_for_each(|number| disk.remove(&segment_file(folder, *number)))?;
    wipe(disk, truncated.as_ref())?;
    let spares = take_spares(disk, folder, options.segment_bytes)?;
    let wal = Wal::assemble(folder.clone(), options, segments, spares, at, index);
    Ok(Recovered { wal, truncated })
}

fn list_segments(disk: &dyn Disk, folder: &FileName) -> Result<VecDeque<Segment>, OpenError> {
    let mut numbers: Vec<u32> = disk.list(folder)?.iter().filter_map(segment_number).collect();
    numbers.sort_unstable();
    let mut segments = VecDeque::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let (expected, file) = (numbers[0] + index as u32, segment_file(folder, numbers[0] + index as u32));
        let len = disk.len(&file)?.filter(|_| *number == expected);
        let len = len.ok_or(OpenError::Missing { file })?;
        segments.push_back(Segment::new(*number, len));
    }
    Ok(segments)
}

/// Writes and syncs the last whole frame again.
fn make_durable(disk: &mut dyn Disk, last: Option<(FileName, u64, Frame)>) -> Result<(), DiskError> {
    let Some((file, offset, frame)) = last else { return Ok(()) };
    disk.write(&file, offset, &frame.bytes)?;
    disk.sync(&file)
}

/// Fills the file behind the end with zeros, so that what is cut off cannot be found another time.
fn wipe(disk: &mut dyn Disk, truncated: Option<&Truncation>) -> Result<(), DiskError> {
    const CHUNK: u64 = 1 << 20;
    let Some(torn) = truncated else { return Ok(()) };
    let Some(len) = disk.len(&torn.file)? else { return Ok(()) };
    let zeros = vec![0; CHUNK as usize];
    for at in (torn.offset..len).step_by(CHUNK as usize) {
        disk.write(&torn.file, at, &zeros[..(len - at).min(CHUNK) as usize])?;
    }
    disk.sync(&torn.file)
}

/// Looks at many bytes at once: most of what stands behind the end is zeros.
fn is_zero(block: &[u8]) -> bool {
    block.chunks(128).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Files left to use; one that was not finished is removed.
fn take_spares(disk: &mut dyn Disk, folder: &FileName, least: u64) -> Result<Spares, DiskError> {
    let mut spares = Spares::default();
    for file in disk.list(folder)? {
        let Some(number) = spare_number(&file) else { continue };
        spares.next_number = spares.next_number.max(number);
        match disk.len(&file)? {
            Some(len) if len >= least => spares.files.push((file, len)),
            _ => disk.remove(&file)?,
        }
    }
    Ok(spares)
}

impl Walk<'_> {
    fn file(&self, current: usize) -> FileName {
        segment_file(self.folder, self.segments[current].number)
    }

    /// Goes to the front of the segment that the checkpoint lies in.
    fn begin(&mut self) -> Result<(), OpenError> {
        let (number, file) = (self.from.segment, segment_file(self.folder, self.from.segment));
        if self.segments.is_empty() && self.from == WalPosition::START {
            return Ok(());
        }
        let begins = self.segments.iter().position(|segment| segment.number == number);
        self.current = begins.ok_or_else(|| OpenError::Missing { file: file.clone() })?;
        let head = match self.look(self.current, 0)? {
            Some(Look::Whole(Frame { head, .. }) | Look::Broken(head, _)) => Some(head),
            _ => None,
        };
        if head.is_some_and(|head| head.nonce != self.options.nonce && head.segment == number) {
            return Err(OpenError::Foreign { file });
        }
        // A checkpoint lies behind a frame, unless it lies before all.
        let lsn = match head.filter(|head| head.segment == number) {
            _ if number == WalPosition::START.segment => WalPosition::START.lsn,
            Some(head) => head.lsn,
            None => return Err(OpenError::Lost { file, offset: 0, covered: self.from.lsn }),
        };
        self.segments.iter_mut().take(self.current).for_each(|before| before.known = Known::Unread);
        self.segments[self.current].first_lsn = lsn;
        self.at = WalPosition { lsn, segment: number, offset: 0 };
        let fits = lsn < self.from.lsn || self.from == self.at;
        if fits { Ok(()) } else { Err(OpenError::Mismatch { file }) }
    }

    /// What stands in a segment at `offset`; `None` behind its end.
    fn look(&self, current: usize, offset: u64) -> Result<Option<Look>, OpenError> {
        let Some(segment) = self.segments.get(current).filter(|segment| offset < segment.len) else {
            return Ok(None);
        };
        let file = self.file(current);
        match look(self.disk, &file, segment.len, offset)? {
            Look::Newer(version) => Err(OpenError::Newer { file, offset, version }),
            found => Ok(Some(found)),
        }
    }

    /// The two places where the next frame can stand: behind the last, or at the front of the next segment.
    fn next_places(&self) -> [(usize, u64); 2] {
        [(self.current, u64::from(self.at.offset)), (self.current + 1, 0)]
    }

    fn is_ours(&self, current: usize, head: &FrameHead) -> bool {
        head.nonce == self.options.nonce && head.segment == self.segments[current].number
    }

    /// Takes the next frame; false if there is none.
    fn step(&mut self) -> Result<bool, OpenError> {
        for (current, offset) in self.next_places() {
            if let Some(Look::Whole(frame)) = self.look(current, offset)?
                && self.is_ours(current, &frame.head)
                && frame.head.lsn == self.at.lsn
            {
                self.take(current, offset, frame)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, current: usize, offset: u64, frame: Frame) -> Result<(), OpenError> {
        let file = self.file(current);
        let records =
            frame.records().map_err(|reason| OpenError::Unreadable { file: file.clone(), offset, reason })?;
        let segment = &mut self.segments[current];
        if segment.end == 0 {
            segment.first_lsn = frame.head.lsn;
        }
        for (record, row) in records.iter().zip(&frame.rows) {
            if let Record::Entry(entry) = record
                && !segment.add(&mut self.index, offset, row, entry)
            {
                return Err(OpenError::Disordered { file, offset });
            }
        }
        segment.end = offset + padded(frame.bytes.len()) as u64;
        let (number, end) = (segment.number, segment.end as u32);
        self.current = current;
        self.at = WalPosition { lsn: self.at.lsn + 1, segment: number, offset: end };
        if self.at.lsn == self.from.lsn && self.at != self.from {
            return Err(OpenError::Mismatch { file });
        }
        self.last = Some((file, offset, frame));
        Ok(())
    }

    /// Judges the end: a torn tail, nothing at all, or damage.
    fn end(&self) -> Result<Option<Truncation>, OpenError> {
        if self.segments.is_empty() {
            return Ok(None);
        }
        let begun = self.refute_damage()?;
        let (file, offset, lsn) = (self.file(self.current), u64::from(self.at.offset), self.at.lsn);
        if lsn < self.from.lsn {
            return Err(OpenError::Lost { file, offset, covered: self.from.lsn });
        }
        for (current, offset) in self.next_places() {
            if let Some(Look::Whole(Frame { head, .. }) | Look::Broken(head, _)) =
                self.look(current, offset)?
                && self.is_ours(current, &head)
                && head.lsn == lsn
            {
                let (file, records) = (self.file(current), Some(head.records));
                return Ok(Some(Truncation { file, offset, lsn, records }));
            }
        }
        Ok(begun.then_some(Truncation { file, offset, lsn, records: None }))
    }

    /// Looks at every block behind the end for a later frame's head. Tells whether a write had begun there: bytes that
    /// are no zeros, in a file without frames from before it was used again, next to which other bytes prove nothing.
    fn refute_damage(&self) -> Result<bool, OpenError> {
        let mut begun = false;
        for current in self.current..self.segments.len() {
            let file = self.file(current);
            let from = if current == self.current { u64::from(self.at.offset) } else { 0 };
            let (mut former_life, mut written, mut proof) = (false, false, None);
            blocks(self.disk, &file, self.segments[current].len, from, &mut |at, block| {
                written = written || !is_zero(block);
                let Ok(head) = FrameHead::decode(block) else { return true };
                former_life |= head.segment != self.segments[current].number;
                proof = (self.is_ours(current, &head) && head.lsn > self.at.lsn).then_some(at);
                proof.is_none()
            })?;
            if let Some(proof_offset) = proof {
                let (damaged, offset, lsn) =
                    (self.file(self.current), u64::from(self.at.offset), self.at.lsn);
                return Err(OpenError::Corrupt { file: damaged, offset, lsn, proof: file, proof_offset });
            }
            begun |= written && !former_life;
        }
        Ok(begun)
    }
}
