//! Changes as they travel in journals: framed and checksummed by us.
//!
//! Automerge reads most damage as an empty or a shorter history; here it must be an error. All numbers big-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | format version, 1 |
//! | 1..5 | number of changes |
//! | 5..9 | length of what follows the checksum |
//! | 9..13 | CRC32C over bytes 0..9 and what follows the checksum |
//! | 13.. | per change: its length (u32), and its bytes, uncompressed, so that no few bytes unfold into many |

use automerge::Change;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::backed::is_backed;
use crate::error::ApplyError;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 13;
/// Most changes in one frame: what a receiver will look at in one go.
const CHANGES_MAX: usize = 10_000;
/// Largest change: a topic with all its settings is a few hundred bytes.
const CHANGE_BYTES_MAX: usize = 1 << 20;
/// Largest frame; well below the largest journal entry.
const FRAME_BYTES_MAX: usize = 8 << 20;
/// Where Automerge says what kind of chunk follows: after its magic and checksum.
const CHUNK_KIND_AT: usize = 8;
/// Its number for a change that is not compressed.
const CHUNK_CHANGE: u8 = 1;

/// The frame of these changes.
pub(crate) fn encode(changes: &[Change]) -> Bytes {
    let body: usize = changes.iter().map(|change| change.raw_bytes().len() + 4).sum();
    assert!(
        changes.len() <= CHANGES_MAX && body <= FRAME_BYTES_MAX,
        "one operation makes a few small changes"
    );
    let mut out = BytesMut::with_capacity(HEAD_BYTES + body);
    out.put_u8(VERSION);
    out.put_u32(changes.len() as u32);
    out.put_u32(body as u32);
    out.put_u32(0);
    changes.iter().for_each(|change| put_change(&mut out, change));
    let crc = checksum(&out);
    out[9..HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// The changes in a frame.
pub(crate) fn decode(frame: &Bytes) -> Result<Vec<Change>, ApplyError> {
    let mut rest = &frame[..];
    if rest.len() < HEAD_BYTES {
        return Err(ApplyError::Frame("too short"));
    }
    let version = rest.get_u8();
    if version != VERSION {
        return Err(ApplyError::Version(version));
    }
    let (count, body, crc) = (rest.get_u32() as usize, rest.get_u32() as usize, rest.get_u32());
    if count > CHANGES_MAX || body > FRAME_BYTES_MAX {
        return Err(ApplyError::Frame("more than a frame may hold"));
    }
    if rest.len() != body {
        return Err(ApplyError::Frame("of another length than it says"));
    }
    if checksum(frame) != crc {
        return Err(ApplyError::Frame("its checksum is wrong"));
    }
    let changes = take_changes(rest, count)?;
    if changes.len() == count { Ok(changes) } else { Err(ApplyError::Frame("a change is missing")) }
}

/// One change, behind its length.
pub(crate) fn put_change(out: &mut impl BufMut, change: &Change) {
    out.put_u32(change.raw_bytes().len() as u32);
    out.put_slice(change.raw_bytes());
}

/// So many changes at most, as [`put_change`] writes them, and nothing behind them.
pub(crate) fn take_changes(mut rest: &[u8], most: usize) -> Result<Vec<Change>, ApplyError> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        if changes.len() == most {
            return Err(ApplyError::Frame("something follows its last change"));
        }
        changes.push(take_change(&mut rest)?);
    }
    Ok(changes)
}

fn take_change(rest: &mut &[u8]) -> Result<Change, ApplyError> {
    let len = rest.try_get_u32().map_err(|_| ApplyError::Frame("a change is missing"))? as usize;
    if len > CHANGE_BYTES_MAX || len > rest.len() {
        return Err(ApplyError::Frame("a change is longer than it can be"));
    }
    let (bytes, behind) = rest.split_at(len);
    *rest = behind;
    if bytes.get(CHUNK_KIND_AT) != Some(&CHUNK_CHANGE) {
        return Err(ApplyError::Frame("a change is compressed, or none"));
    }
    match is_backed(bytes) {
        None => Err(ApplyError::Frame("a change does not read")),
        Some(false) => Err(ApplyError::Frame("a change says more than it has bytes or actors for")),
        Some(true) => Change::try_from(bytes).map_err(|_| ApplyError::Frame("a change does not read")),
    }
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..9]), &frame[HEAD_BYTES..])
}
