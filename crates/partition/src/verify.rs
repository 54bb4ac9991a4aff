//! Whether a file of this room is what it must be, to the last byte that counts.
//!
//! A segment is a row of batches, each with the checksum its producer gave it, at offsets without a gap; an index is a row
//! of records with checksums of their own, and a merged log's records bear a chain of digests besides. So each file
//! proves itself, and its digest ([`Proven::digest`]) is the same at every site. Nothing is kept in memory but a window.

use std::ops::Range;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};

use crate::error::LogsError;
use crate::index::read;
use crate::names;
use crate::record::{MergedRecord, OriginRecord, Record};

/// How much is read at a time; a batch that is longer is read as a whole.
const WINDOW_BYTES: usize = 1 << 20;
/// No batch is longer than this: what a length that is wrong may cost.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// What a file proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// BLAKE3 of the bytes that were looked at.
    pub digest: [u8; 32],
    /// Ranges of bytes that are not what they must be, as far as they could be told apart.
    pub damaged: Vec<Range<u64>>,
}

/// Looks at the first `bytes` of `file`, whose name says what it is. Of other files only the digest is told.
///
/// # Errors
/// [`DiskError`] if the file is missing, too short, or does not read.
pub fn verify(disk: &dyn Disk, file: &FileName, bytes: u64) -> Result<Proven, DiskError> {
    let mut window =
        Window { disk, file, end: bytes, at: 0, held: Bytes::new(), hasher: blake3::Hasher::new() };
    let damaged = match Kind::of(file) {
        Some(Kind::Segment) => segment(&mut window, names::is_compacted(file))?,
        Some(Kind::Index) => {
            records(&mut window, OriginRecord::BYTES, |bytes| OriginRecord::decode(bytes).is_some())?
        }
        Some(Kind::Merged) => merged(&mut window)?,
        None => Vec::new(),
    };
    window.skip_to(bytes)?;
    Ok(Proven { digest: *window.hasher.finalize().as_bytes(), damaged })
}

/// What a file of this room is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Batches, back to back.
    Segment,
    /// The index of a segment: it can be built again from that.
    Index,
    /// A merged log.
    Merged,
}

impl Kind {
    /// What this file is.
    #[must_use]
    pub fn of(file: &FileName) -> Option<Kind> {
        match file.last() {
            "merged.index" => Some(Kind::Merged),
            name if name.ends_with(".log") => Some(Kind::Segment),
            name if name.ends_with(".index") => Some(Kind::Index),
            _ => None,
        }
    }
}

/// A file read front to back, hashed on the way.
struct Window<'a> {
    disk: &'a dyn Disk,
    file: &'a FileName,
    end: u64,
    /// Where the held bytes begin.
    at: u64,
    held: Bytes,
    hasher: blake3::Hasher,
}

impl Window<'_> {
    fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next `len` bytes, of which there are so many.
    fn peek(&mut self, len: usize) -> Result<&[u8], DiskError> {
        if self.held.len() < len {
            let most = usize::try_from(self.left()).unwrap_or(usize::MAX);
            self.held = self.disk.read(self.file, self.at, len.max(WINDOW_BYTES).min(most))?;
        }
        Ok(&self.held[..len])
    }

    fn take(&mut self, len: usize) -> Result<Bytes, DiskError> {
        self.peek(len)?;
        let taken = self.held.split_to(len);
        self.hasher.update(&taken);
        self.at += len as u64;
        Ok(taken)
    }

    fn skip_to(&mut self, to: u64) -> Result<(), DiskError> {
        while self.at < to {
            let step = usize::try_from(to - self.at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.take(step)?;
        }
        Ok(())
    }
}

/// Walks a segment, with gaps between its offsets or without. Behind a damaged batch its index says where the next one begins; if
/// that does not read either, behind a header that does not read nothing can be told apart any more.
fn segment(window: &mut Window<'_>, gaps: bool) -> Result<Vec<Range<u64>>, DiskError> {
    let mut damaged = Vec::new();
    let mut begins = Begins { disk: window.disk, file: names::index_of(window.file), next: 0 };
    let mut next = window.file.last().strip_suffix(".log").and_then(|first| first.parse::<i64>().ok());
    while window.left() > 0 {
        let (at, left) = (window.at, window.left());
        let front = usize::try_from(left).unwrap_or(usize::MAX).min(batch::HEADER_BYTES);
        let info = batch::parse_kept(window.peek(front)?).ok().map(|header| header.info());
        let fits = |size: u32| u64::from(size) <= left && size as usize <= BATCH_BYTES_MAX;
        let follows = |offset: i64| next.is_none_or(|next| next == offset || (gaps && next < offset));
        let info = info.filter(|info| fits(info.size) && follows(info.base_offset));
        let told = info.map(|info| {
            let end = info.base_offset.saturating_add(i64::from(info.offsets()));
            (at + u64::from(info.size), Some(end), info.crc)
        });
        if let Some((to, end, crc)) = told
            && is_sound(window.peek((to - at) as usize)?, crc)
        {
            window.skip_to(to)?;
            next = end;
            continue;
        }
        let (to, offset) = match begins.behind(at) {
            Some((to, offset)) if to < window.end => (to, i64::try_from(offset).ok()),
            _ => told.map_or((window.end, None), |(to, end, _)| (to, end)),
        };
        damaged.push(at..to);
        window.skip_to(to)?;
        next = offset;
    }
    Ok(damaged)
}

/// Where the batches of a segment begin, as far as its index reads.
struct Begins<'a> {
    disk: &'a dyn Disk,
    file: FileName,
    /// How many of its records were looked at.
    next: u64,
}

impl Begins<'_> {
    /// The first batch that begins behind `at`: where, and its offset. To be asked in rising order.
    fn behind(&mut self, at: u64) -> Option<(u64, u64)> {
        loop {
            match read::<OriginRecord>(self.disk, &self.file, self.next..self.next + 1) {
                Ok(found) if u64::from(found[0].at) > at => {
                    return Some((u64::from(found[0].at), found[0].offset));
                }
                Ok(_) | Err(LogsError::Damaged { .. }) => self.next += 1,
                Err(_) => return None,
            }
        }
    }
}

/// Whether a stored batch bears this checksum, says so, and has the leader epoch of all stored batches.
pub(crate) fn is_sound(stored: &[u8], crc: u32) -> bool {
    let leader_epoch = &stored[12..16];
    leader_epoch == [0; 4] && crc32c::crc32c(&stored[crate::plan::CHECKED_FROM..]) == crc
}

fn records(
    window: &mut Window<'_>,
    len: usize,
    mut is_sound: impl FnMut(&[u8]) -> bool,
) -> Result<Vec<Range<u64>>, DiskError> {
    let mut damaged = Vec::new();
    while window.left() > 0 {
        let at = window.at;
        let taken = window.take(len.min(usize::try_from(window.left()).unwrap_or(len)))?;
        if !is_sound(&taken) {
            damaged.push(at..at + taken.len() as u64);
        }
    }
    Ok(damaged)
}

fn merged(window: &mut Window<'_>) -> Result<Vec<Range<u64>>, DiskError> {
    let mut before = Some([0; 16]);
    records(window, MergedRecord::BYTES, |bytes| {
        let record = MergedRecord::decode(bytes);
        let follows =
            |record: &MergedRecord| before.is_none_or(|before| record.digest_after(&before) == record.digest);
        let is_sound = record.as_ref().is_some_and(follows);
        before = record.map(|record| record.digest);
        is_sound
    })
}

impl Proven {
    /// The digest of a file without damage.
    ///
    /// # Errors
    /// [`LogsError::Damaged`].
    pub fn sound(self, file: &FileName) -> Result<[u8; 32], LogsError> {
        if self.damaged.is_empty() {
            Ok(self.digest)
        } else {
            Err(LogsError::damaged(file, "what is in it does not match its checksums"))
        }
    }
}
