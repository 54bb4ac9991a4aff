//! The bytes of one group commit.
//!
//! A frame is written and synced as a whole, one at a time: the next is written only after the last is known to be
//! durable. So whatever stands behind a frame is proof that the frame was once whole, and only the very last can be torn.
//!
//! | bytes | field (big-endian) |
//! | --- | --- |
//! | 0..4 | `MWAL` |
//! | 4..6 | format version, 1 |
//! | 6..8 | zero |
//! | 8..16 | lsn: number of the commit, dense |
//! | 16..32 | nonce of this WAL |
//! | 32..36 | number of the segment it was written for |
//! | 36..40 | number of records |
//! | 40..44 | length of table and records in bytes |
//! | 44..48 | CRC32C of the table |
//! | 48..60 | zero |
//! | 60..64 | CRC32C of bytes 0..60 |
//! | 64.. | table: per record kind (u8), three zeros, length (u32), CRC32C of the record (u32) |
//! | … | the records, one behind the other |
//! | … | zeros up to a multiple of [`BLOCK_BYTES`], not checked |
//!
//! Every byte is summed once, and each record by itself, so that one entry can be read back and verified alone.
//! Retired segments are used again with their old frames in them: these bear another segment number, hence the field.
//! The nonce is random and never told to anyone, so that no client can make its data look like a frame.
//!
//! Frames start on block boundaries: the page cache writes whole blocks anyway, so it costs no bandwidth, and a write in flight
//! never touches a block that holds acknowledged bytes.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::record::{BadRecord, Record};

/// Frames begin at multiples of this.
pub const BLOCK_BYTES: usize = 4096;

/// Length of the head in bytes.
pub const HEAD_BYTES: usize = 64;

/// The most that a reader will hold in memory for one frame: two of the longest entries and their table.
pub const FRAME_BYTES_MAX: usize = 2 * entry::ENTRY_BYTES_MAX + (1 << 20);

const ROW_BYTES: usize = 12;
const MAGIC: [u8; 4] = *b"MWAL";
const VERSION: u16 = 1;
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Number of the commit.
    pub lsn: u64,
    /// Nonce of the WAL.
    pub nonce: u128,
    /// Number of the segment it was written for.
    pub segment: u32,
    /// Number of records.
    pub records: u32,
    /// Length of table and records in bytes.
    pub payload_bytes: u32,
    /// CRC32C of the table.
    pub table_crc: u32,
}

/// Why bytes are no frame, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameFault {
    /// No head: the magic or the head's checksum is wrong.
    #[error("no frame head with a right checksum")]
    NoHead,
    /// A head of a version this code does not know; its checksum is right.
    #[error("frame format {0}, which this version cannot read")]
    Version(u16),
    /// The head announces more than the file holds, or than any frame may hold.
    #[error("a frame head that announces {bytes} bytes where at most {room} can be")]
    TooLong {
        /// What it announces.
        bytes: usize,
        /// What there can be.
        room: usize,
    },
    /// The table does not match its checksum or the lengths do not add up.
    #[error("a table of records that does not match its checksum")]
    Table,
    /// A record does not match its checksum.
    #[error("record {0} of the frame does not match its checksum")]
    Record(u32),
}

/// One record of a frame: where it stands and what it must sum to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Kind of record.
    pub kind: u8,
    /// Where it begins, counted from the frame's first byte.
    pub at: u32,
    /// Its length in bytes.
    pub len: u32,
    /// CRC32C of its bytes.
    pub crc: u32,
}

/// A whole frame; all its checksums were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says of itself.
    pub head: FrameHead,
    /// Its records' places.
    pub rows: Vec<Row>,
    /// Head, table and records.
    pub bytes: Bytes,
}

/// A record that waits for its frame, summed up.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) record: Record,
    pub(crate) crc: u32,
}

impl Queued {
    pub(crate) fn new(record: Record) -> Queued {
        let crc = crc32c::crc32c(record.bytes());
        Queued { record, crc }
    }

    /// What it adds to a frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        ROW_BYTES + self.record.bytes().len()
    }
}

/// Rounds up to whole blocks.
#[must_use]
pub fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// The frame's bytes in chunks, padding included, and the places of its records; the records themselves are not copied.
pub(crate) fn encode(lsn: u64, nonce: u128, segment: u32, records: &[Queued]) -> (Vec<Bytes>, Vec<Row>) {
    let mut rows = Vec::with_capacity(records.len());
    let mut table = BytesMut::with_capacity(HEAD_BYTES + records.len() * ROW_BYTES);
    table.resize(HEAD_BYTES, 0);
    let mut at = HEAD_BYTES + records.len() * ROW_BYTES;
    for queued in records {
        let (kind, len) = (queued.record.kind(), queued.record.bytes().len());
        rows.push(Row { kind, at: at as u32, len: len as u32, crc: queued.crc });
        table.put_u32(u32::from(kind) << 24);
        table.put_u32(len as u32);
        table.put_u32(queued.crc);
        at += len;
    }
    assert!(at <= FRAME_BYTES_MAX, "a frame of {at} bytes could not be read back");
    let head = FrameHead {
        lsn,
        nonce,
        segment,
        records: records.len() as u32,
        payload_bytes: (at - HEAD_BYTES) as u32,
        table_crc: crc32c::crc32c(&table[HEAD_BYTES..]),
    };
    table[..HEAD_BYTES].copy_from_slice(&head.encode());
    let mut chunks = vec![table.freeze()];
    chunks
        .extend(records.iter().map(|queued| queued.record.bytes().clone()).filter(|bytes| !bytes.is_empty()));
    if padded(at) > at {
        chunks.push(Bytes::from_static(&ZEROS).slice(..padded(at) - at));
    }
    (chunks, rows)
}

impl FrameHead {
    /// The head's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_be_bytes());
        out[8..16].copy_from_slice(&self.lsn.to_be_bytes());
        out[16..32].copy_from_slice(&self.nonce.to_be_bytes());
        out[32..36].copy_from_slice(&self.segment.to_be_bytes());
        out[36..40].copy_from_slice(&self.records.to_be_bytes());
        out[40..44].copy_from_slice(&self.payload_bytes.to_be_bytes());
        out[44..48].copy_from_slice(&self.table_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the head that `bytes` begin with.
    ///
    /// # Errors
    /// [`FrameFault::NoHead`] or [`FrameFault::Version`].
    pub fn decode(bytes: &[u8]) -> Result<FrameHead, FrameFault> {
        let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(FrameFault::NoHead)?;
        let crc = u32::from_be_bytes(field(bytes, 60));
        if bytes[..4] != MAGIC || crc32c::crc32c(&bytes[..60]) != crc {
            return Err(FrameFault::NoHead);
        }
        let version = u16::from_be_bytes(field(bytes, 4));
        if version != VERSION {
            return Err(FrameFault::Version(version));
        }
        Ok(FrameHead {
            lsn: u64::from_be_bytes(field(bytes, 8)),
            nonce: u128::from_be_bytes(field(bytes, 16)),
            segment: u32::from_be_bytes(field(bytes, 32)),
            records: u32::from_be_bytes(field(bytes, 36)),
            payload_bytes: u32::from_be_bytes(field(bytes, 40)),
            table_crc: u32::from_be_bytes(field(bytes, 44)),
        })
    }

    /// Length of the frame without padding.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        HEAD_BYTES + self.payload_bytes as usize
    }
}

impl Frame {
    /// Reads and verifies the whole frame that `bytes` are; `head` was read from their front.
    ///
    /// # Errors
    /// [`FrameFault`] naming what does not match.
    pub fn decode(head: FrameHead, bytes: Bytes) -> Result<Frame, FrameFault> {
        let table = (head.records as usize)
            .checked_mul(ROW_BYTES)
            .filter(|len| *len <= head.payload_bytes as usize && bytes.len() == head.total_bytes())
            .map(|len| &bytes[HEAD_BYTES..HEAD_BYTES + len])
            .filter(|table| crc32c::crc32c(table) == head.table_crc)
            .ok_or(FrameFault::Table)?;
        let mut rows = Vec::with_capacity(head.records as usize);
        let mut at = HEAD_BYTES + table.len();
        for (number, row) in table.chunks_exact(ROW_BYTES).enumerate() {
            let (len, crc) = (be_u32(&row[4..8]), be_u32(&row[8..12]));
            let end =
                at.checked_add(len as usize).filter(|end| *end <= bytes.len()).ok_or(FrameFault::Table)?;
            if crc32c::crc32c(&bytes[at..end]) != crc {
                return Err(FrameFault::Record(number as u32));
            }
            rows.push(Row { kind: row[0], at: at as u32, len, crc });
            at = end;
        }
        if at == bytes.len() { Ok(Frame { head, rows, bytes }) } else { Err(FrameFault::Table) }
    }

    /// The records.
    ///
    /// # Errors
    /// [`BadRecord`] if one was written by a newer version.
    pub fn records(&self) -> Result<Vec<Record>, BadRecord> {
        self.rows.iter().map(|row| Record::decode(row.kind, self.record_bytes(row))).collect()
    }

    fn record_bytes(&self, row: &Row) -> Bytes {
        self.bytes.slice(row.at as usize..(row.at + row.len) as usize)
    }
}

fn field<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
