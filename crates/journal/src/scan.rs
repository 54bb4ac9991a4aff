//! Walks the frames of a file, read-only: the eyes of recovery, and of whoever wants to look at a WAL.

use disk::{Disk, DiskError, FileName};

use crate::frame::{BLOCK_BYTES, FRAME_BYTES_MAX, Frame, FrameFault, FrameHead, HEAD_BYTES, padded};

/// What stands at one block boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// A frame, verified to the last byte of its records.
    Whole(Frame),
    /// A right head, but not what it announces.
    Broken(FrameHead, FrameFault),
    /// A right head of a version not known here.
    Newer(u16),
    /// No head.
    Nothing,
}

/// Reads and verifies whatever stands at `offset` of a file of `len` bytes.
pub(crate) fn look(disk: &dyn Disk, file: &FileName, len: u64, offset: u64) -> Result<Look, DiskError> {
    let room = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
    let front = disk.read(file, offset, room.min(BLOCK_BYTES))?;
    let head = match FrameHead::decode(&front) {
        Ok(head) => head,
        Err(FrameFault::Version(version)) => return Ok(Look::Newer(version)),
        Err(_) => return Ok(Look::Nothing),
    };
    let (bytes, room) = (head.total_bytes(), room.min(FRAME_BYTES_MAX));
    if bytes > room {
        return Ok(Look::Broken(head, FrameFault::TooLong { bytes, room }));
    }
    let whole = if bytes <= front.len() { front.slice(..bytes) } else { disk.read(file, offset, bytes)? };
    Ok(match Frame::decode(head, whole) {
        Ok(frame) => Look::Whole(frame),
        Err(fault) => Look::Broken(head, fault),
    })
}

/// Shows every block of `file` from `offset` on, with its place, until `see` says stop.
pub(crate) fn blocks(
    disk: &dyn Disk,
    file: &FileName,
    len: u64,
    offset: u64,
    see: &mut dyn FnMut(u64, &[u8]) -> bool,
) -> Result<(), DiskError> {
    const WINDOW: u64 = 256 * BLOCK_BYTES as u64;
    for at in (offset..len).step_by(WINDOW as usize) {
        let window = disk.read(file, at, (len - at).min(WINDOW) as usize)?;
        for (number, block) in window.chunks(BLOCK_BYTES).enumerate() {
            if !see(at + (number * BLOCK_BYTES) as u64, block) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Something found in a file of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A whole frame written for this segment.
    Frame {
        /// Where it begins.
        offset: u64,
        /// The frame.
        frame: Frame,
    },
    /// A frame of the file's former life: of no meaning.
    Stale {
        /// Where it begins.
        offset: u64,
        /// What it says of itself.
        head: FrameHead,
    },
    /// A frame that is not whole: torn if it is the last of all, else damaged.
    Broken {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        fault: FrameFault,
    },
}

/// The frames of one file, in order; see [`scan()`].
pub struct Scan<'a> {
    disk: &'a dyn Disk,
    file: FileName,
    segment: u32,
    len: u64,
    offset: u64,
}

/// Walks `file` of segment `segment` from its front. Blocks without a head are passed over in silence.
///
/// # Errors
/// [`DiskError`] if the file is missing or cannot be examined.
pub fn scan<'a>(disk: &'a dyn Disk, file: &FileName, segment: u32) -> Result<Scan<'a>, DiskError> {
    let len = disk.len(file)?.ok_or_else(|| DiskError::Missing(file.clone()))?;
    Ok(Scan { disk, file: file.clone(), segment, len, offset: 0 })
}

impl Scan<'_> {
    fn see(&mut self, look: Look) -> Option<Seen> {
        let offset = self.offset;
        let skip = |bytes: usize| offset + padded(bytes) as u64;
        self.offset = skip(BLOCK_BYTES);
        match look {
            Look::Nothing => None,
            Look::Newer(version) => Some(Seen::Broken { offset, fault: FrameFault::Version(version) }),
            Look::Whole(frame) if frame.head.segment == self.segment => {
                self.offset = skip(frame.bytes.len());
                Some(Seen::Frame { offset, frame })
            }
            Look::Whole(Frame { head, .. }) | Look::Broken(head, _) if head.segment != self.segment => {
                Some(Seen::Stale { offset, head })
            }
            Look::Broken(_, fault) => Some(Seen::Broken { offset, fault }),
            Look::Whole(_) => None,
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Seen, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.offset + HEAD_BYTES as u64 <= self.len {
            let look = match look(self.disk, &self.file, self.len, self.offset) {
                Ok(look) => look,
                Err(error) => {
                    self.offset = self.len;
                    return Some(Err(error));
                }
            };
            if let Some(seen) = self.see(look) {
                return Some(Ok(seen));
            }
        }
        None
    }
}
