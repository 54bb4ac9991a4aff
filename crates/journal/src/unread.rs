//! Segments from before the checkpoint: recovery does without them, so they are read once the site runs.
//!
//! What is to be read, and what was found, are plain data: whoever may wait for the disk reads, the [`crate::Wal`] takes
//! what was found. Until then nothing of such a segment is given to anybody, and it is not dropped. A segment is whole if
//! its frames follow each other up to the commit that the next segment begins with; so one that was cut short, emptied or
//! put in another's place is found out like one with a flipped bit. (Where that head is damaged itself, nothing but the
//! frames of a segment can tell where they end.)

use disk::{Disk, DiskError, FileName};
use entry::{JournalId, Seq};

use crate::frame::{Frame, FrameHead, padded};
use crate::index::Place;
use crate::record::Record;
use crate::scan::{Look, blocks, look};

/// A segment to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its file.
    pub file: FileName,
    pub(crate) number: u32,
    pub(crate) len: u64,
    pub(crate) nonce: u128,
    /// The commit that the next segment begins with, if its head could be read.
    pub(crate) next_lsn: Option<u64>,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Where a frame begins that is not whole though it once was, or is missing.
    pub damaged: Option<u64>,
    pub(crate) first_lsn: u64,
    pub(crate) end: u64,
    pub(crate) entries: Vec<(JournalId, Seq, Place)>,
}

impl Unread {
    /// Reads and verifies the segment, one frame at a time.
    ///
    /// # Errors
    /// [`DiskError`] if the file is gone or does not read.
    pub fn read(&self, disk: &dyn Disk) -> Result<Contents, DiskError> {
        let mut found = Contents { damaged: None, first_lsn: 0, end: 0, entries: Vec::new() };
        let mut next = None;
        while next.is_none() || next != self.next_lsn {
            let look = look(disk, &self.file, self.len, found.end)?;
            if let Look::Whole(Frame { head, .. }) | Look::Broken(head, _) = &look
                && next.is_none()
                && self.is_of_here(head)
            {
                found.first_lsn = head.lsn;
            }
            match look {
                Look::Whole(frame) if self.follows(&frame, next) && found.take(self.number, &frame) => {
                    next = Some(frame.head.lsn + 1);
                }
                _ if next.is_some() && self.next_lsn.is_none() && !self.goes_on(disk, found.end)? => break,
                _ => return Ok(Contents { damaged: Some(found.end), ..found }),
            }
        }
        Ok(found)
    }

    fn is_of_here(&self, head: &FrameHead) -> bool {
        head.nonce == self.nonce && head.segment == self.number
    }

    /// Whether any frame has its head behind `offset`.
    fn goes_on(&self, disk: &dyn Disk, offset: u64) -> Result<bool, DiskError> {
        let mut goes_on = false;
        blocks(disk, &self.file, self.len, offset, &mut |_, block| {
            goes_on = FrameHead::decode(block).is_ok_and(|head| self.is_of_here(&head));
            !goes_on
        })?;
        Ok(goes_on)
    }

    fn follows(&self, frame: &Frame, next: Option<u64>) -> bool {
        let lsn = frame.head.lsn;
        let is_next = next.map_or(self.next_lsn.is_none_or(|end| lsn < end), |next| lsn == next);
        is_next && self.is_of_here(&frame.head)
    }
}

impl Contents {
    /// Takes the next frame; false if it does not read.
    fn take(&mut self, segment: u32, frame: &Frame) -> bool {
        let Ok(records) = frame.records() else { return false };
        for (record, row) in records.iter().zip(&frame.rows) {
            if let Record::Entry(entry) = record {
                let offset = self.end as u32 + row.at;
                let place = Place { segment, offset, len: row.len, crc: row.crc };
                self.entries.push((entry.head.journal, entry.head.seq, place));
            }
        }
        self.end += padded(frame.bytes.len()) as u64;
        true
    }
}
