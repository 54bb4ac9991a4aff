//! What is changed in a batch after its producer sent it: its place, which lies outside the checksum, and the append
//! time, which does not.
//!
//! All of these expect bytes that were validated when they entered; too short ones are a broken invariant.

use bytes::{Buf, Bytes, BytesMut};

use crate::HEADER_BYTES;
use crate::header::{Attributes, CRC_AT, CRC_FROM};

/// How many bytes at the head of a batch depend on where it is read: base offset, length, leader epoch.
pub const PLACED_BYTES: usize = 16;

/// Writes the offset of the first record.
///
/// # Panics
/// If this is no whole header.
pub fn set_base_offset(batch: &mut [u8], offset: i64) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has a whole header");
    batch[..8].copy_from_slice(&offset.to_be_bytes());
}

/// Writes the leader epoch.
///
/// # Panics
/// If this is no whole header.
pub fn set_leader_epoch(batch: &mut [u8], epoch: i32) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has a whole header");
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
}

/// A batch at its place, without copying it: its first 16 bytes as they are there, and the rest untouched.
///
/// # Panics
/// If this is no whole header.
#[must_use]
pub fn placed(batch: &Bytes, base_offset: i64, leader_epoch: i32) -> ([u8; PLACED_BYTES], Bytes) {
    assert!(batch.len() >= HEADER_BYTES, "a batch has a whole header");
    let mut head = [0; PLACED_BYTES];
    head[..8].copy_from_slice(&base_offset.to_be_bytes());
    head[8..12].copy_from_slice(&batch[8..12]);
    head[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    (head, batch.slice(PLACED_BYTES..))
}

/// Gives all records of a batch one time: sets the timestamp type and the largest timestamp, and the checksum over
/// them. Copies the batch only if someone else holds it too.
///
/// # Panics
/// If this is no whole header.
#[must_use]
pub fn set_append_time(batch: Bytes, unix_ms: i64) -> Bytes {
    assert!(batch.len() >= HEADER_BYTES, "a batch has a whole header");
    let mut batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let attributes = (&batch[21..23]).get_i16() | Attributes::APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&unix_ms.to_be_bytes());
    seal(&mut batch);
    batch.freeze()
}

/// Writes the checksum.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}
