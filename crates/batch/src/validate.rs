//! The check at the door: what a client sends in a produce request is one or more whole, undamaged v2 batches.
//!
//! Nothing is unpacked here. The number of records cannot be proven without that, but it is held against the size, so
//! that a few bytes cannot claim two thousand million offsets.

use bytes::Bytes;

use crate::header::{CRC_FROM, Compression, parse};
use crate::{BatchError, BatchInfo, HEADER_BYTES};

/// The smallest record: seven fields of one byte each.
const RECORD_BYTES_MIN: u64 = 7;
/// How much smaller than its content a compressed batch is taken to be at most; Zstandard's best on constant records.
const RATIO_MAX: u64 = 50_000;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest batch, header included.
    pub batch_bytes_max: usize,
}

/// Checks all batches in the records of one partition of a produce request, and says what they are.
pub fn validate(records: &Bytes, limits: &Limits) -> Result<Vec<BatchInfo>, BatchError> {
    let mut infos = Vec::with_capacity(1);
    let mut rest = &records[..];
    while !rest.is_empty() || infos.is_empty() {
        let info = check(rest, limits)?;
        rest = &rest[info.size as usize..];
        infos.push(info);
    }
    Ok(infos)
}

fn check(bytes: &[u8], limits: &Limits) -> Result<BatchInfo, BatchError> {
    let info = parse(bytes)?.info();
    let size = info.size as usize;
    if size > limits.batch_bytes_max {
        return Err(BatchError::TooLarge { bytes: size, limit: limits.batch_bytes_max });
    }
    let batch =
        bytes.get(..size).ok_or(BatchError::Truncated { have: bytes.len(), need: u64::from(info.size) })?;
    let actual = crc32c::crc32c(&batch[CRC_FROM..]);
    if actual != info.crc {
        return Err(BatchError::Crc { stored: info.crc, actual });
    }
    check_flags(&info)?;
    check_count(&info)?;
    check_producer(&info)?;
    Ok(info)
}

fn check_flags(info: &BatchInfo) -> Result<(), BatchError> {
    if info.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if info.attributes.has_delete_horizon() {
        return Err(BatchError::Attributes { attributes: info.attributes.bits() });
    }
    Ok(())
}

fn check_count(info: &BatchInfo) -> Result<(), BatchError> {
    let body_bytes = u64::from(info.size) - HEADER_BYTES as u64;
    let unpacked_max = match info.attributes.compression() {
        Compression::None => body_bytes,
        _ => body_bytes.saturating_mul(RATIO_MAX),
    };
    if u64::from(info.records) * RECORD_BYTES_MIN > unpacked_max {
        let records = i32::try_from(info.records).unwrap_or(i32::MAX);
        return Err(BatchError::RecordCount { records, last_offset_delta: info.last_offset_delta });
    }
    Ok(())
}

/// A producer without an id has no transaction, and what else it says is ignored, as Kafka does; one with an id has an
/// epoch and a sequence.
fn check_producer(info: &BatchInfo) -> Result<(), BatchError> {
    let (id, epoch, sequence) = (info.producer_id, info.producer_epoch, info.base_sequence);
    let sound = match id {
        -1 => !info.attributes.is_transactional(),
        _ => id >= 0 && epoch >= 0 && sequence >= 0,
    };
    if sound { Ok(()) } else { Err(BatchError::Producer { id, epoch, sequence }) }
}
