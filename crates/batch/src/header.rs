//! The 61 bytes before a batch's records, all big-endian:
//!
//! | at | field | |
//! | --- | --- | --- |
//! | 0 | base offset | i64; outside the CRC |
//! | 8 | length | i32; of what follows this field |
//! | 12 | leader epoch | i32; outside the CRC |
//! | 16 | magic | i8; 2 |
//! | 17 | CRC-32C | u32; over all from 21 on |
//! | 21 | attributes | i16; see [`Attributes`] |
//! | 23 | last offset delta | i32 |
//! | 27 | first timestamp | i64 |
//! | 35 | max timestamp | i64 |
//! | 43 | producer id | i64; −1 for none |
//! | 51 | producer epoch | i16 |
//! | 53 | base sequence | i32 |
//! | 57 | number of records | i32 |

use crate::BatchError;

/// How long the header is.
pub const HEADER_BYTES: usize = 61;
/// What the length field does not count: the base offset and itself.
pub(crate) const UNCOUNTED_BYTES: usize = 12;
/// Where the length stands.
pub(crate) const LENGTH_AT: usize = 8;
/// Where the attributes stand.
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// Where the largest timestamp stands.
pub(crate) const NEWEST_AT: usize = 35;
/// Where the number of records stands.
pub(crate) const COUNT_AT: usize = 57;
/// The bits of the attributes' low byte that name the codec.
pub(crate) const CODEC: u8 = 7;
/// Where the checksum stands.
pub(crate) const CRC_AT: usize = 17;
/// From where on the checksum counts.
pub(crate) const CRC_FROM: usize = 21;
/// The only format that is taken.
pub(crate) const MAGIC: i8 = 2;

/// How the records are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, as xerial frames it or bare.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// What a batch's timestamps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    Create,
    /// The broker's: the batch's largest holds for all its records.
    Append,
}

/// Sixteen flags: compression (bits 0–2), append time (3), transactional (4), control (5), delete horizon (6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(i16);

impl Attributes {
    pub(crate) const APPEND_TIME: i16 = 1 << 3;
    pub(crate) const TRANSACTIONAL: i16 = 1 << 4;
    pub(crate) const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;
    const KNOWN: i16 = 0x7f;

    /// Checks that all are known.
    pub fn from_bits(attributes: i16) -> Result<Attributes, BatchError> {
        if attributes & !Attributes::KNOWN != 0 || attributes & 7 > 4 {
            return Err(BatchError::Attributes { attributes });
        }
        Ok(Attributes(attributes))
    }

    pub(crate) fn with_compression(compression: Compression) -> Attributes {
        Attributes(match compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        })
    }

    pub(crate) fn and(self, flag: i16) -> Attributes {
        Attributes(self.0 | flag)
    }

    /// As they stand in the header.
    #[must_use]
    pub fn bits(self) -> i16 {
        self.0
    }

    /// How the records are compressed.
    #[must_use]
    pub fn compression(self) -> Compression {
        match self.0 & 7 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            _ => Compression::Zstd,
        }
    }

    /// What the timestamps are.
    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Attributes::APPEND_TIME == 0 { TimestampType::Create } else { TimestampType::Append }
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether a broker wrote it to steer readers.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether compaction has noted in it when tombstones may go.
    #[must_use]
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }
}

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    /// The whole batch, header included, in bytes.
    pub size: u32,
    /// The checksum it carries.
    pub crc: u32,
    /// The offset of its first record, where that was set.
    pub base_offset: i64,
    /// How many records it has, by its own account; more than none.
    pub records: u32,
    /// `records − 1`, unless compaction has made gaps.
    pub last_offset_delta: i32,
    /// Compression, timestamp type and the rest.
    pub attributes: Attributes,
    /// The first record's timestamp, in Unix milliseconds.
    pub first_timestamp: i64,
    /// The largest timestamp, in Unix milliseconds.
    pub max_timestamp: i64,
    /// Who wrote it; −1 if it does not say.
    pub producer_id: i64,
    /// Which life of the producer.
    pub producer_epoch: i16,
    /// The first record's number among the producer's for the partition.
    pub base_sequence: i32,
}

impl BatchInfo {
    /// How many offsets it takes.
    #[must_use]
    pub fn offsets(&self) -> u32 {
        self.last_offset_delta.cast_unsigned() + 1
    }
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The leader epoch, where that was set.
    pub leader_epoch: i32,
    info: BatchInfo,
}

impl Header {
    /// What the batch says of itself.
    #[must_use]
    pub fn info(&self) -> BatchInfo {
        self.info
    }
}

/// Reads and checks the header that these bytes begin with. The records after it need not be there, and the checksum is
/// not looked at: that is [`crate::validate`]'s to do, once, when a batch enters.
pub fn parse(bytes: &[u8]) -> Result<Header, BatchError> {
    let header = parse_kept(bytes)?;
    let BatchInfo { records, last_offset_delta, .. } = header.info;
    if records == header.info.offsets() {
        return Ok(header);
    }
    let records = i32::try_from(records).unwrap_or(i32::MAX);
    Err(BatchError::RecordCount { records, last_offset_delta })
}

/// The same of a batch that was kept, which compaction may have made gaps in: it may take more offsets than it has records.
pub fn parse_kept(bytes: &[u8]) -> Result<Header, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    // The magic stands at the same place in all formats, and the old ones can be shorter than this header.
    if let Some(&magic) = bytes.get(16)
        && magic.cast_signed() != MAGIC
    {
        return Err(BatchError::Magic { magic: magic.cast_signed() });
    }
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES as u64 });
    };
    let length = i32::from_be_bytes(at(head, 8));
    let size = size(length)?;
    let records = i32::from_be_bytes(at(head, 57));
    let last_offset_delta = i32::from_be_bytes(at(head, 23));
    let attributes = Attributes::from_bits(i16::from_be_bytes(at(head, 21)))?;
    let info = BatchInfo {
        size,
        crc: u32::from_be_bytes(at(head, CRC_AT)),
        base_offset: i64::from_be_bytes(at(head, 0)),
        records: count(records, last_offset_delta)?,
        last_offset_delta,
        attributes,
        first_timestamp: i64::from_be_bytes(at(head, 27)),
        max_timestamp: i64::from_be_bytes(at(head, 35)),
        producer_id: i64::from_be_bytes(at(head, 43)),
        producer_epoch: i16::from_be_bytes(at(head, 51)),
        base_sequence: i32::from_be_bytes(at(head, 53)),
    };
    Ok(Header { leader_epoch: i32::from_be_bytes(at(head, 12)), info })
}

fn at<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}

fn size(length: i32) -> Result<u32, BatchError> {
    let counted = u32::try_from(length).map_err(|_| BatchError::BadLength { length })?;
    let size = counted + UNCOUNTED_BYTES as u32;
    if (size as usize) < HEADER_BYTES { Err(BatchError::BadLength { length }) } else { Ok(size) }
}

fn count(records: i32, last_offset_delta: i32) -> Result<u32, BatchError> {
    let wrong = BatchError::RecordCount { records, last_offset_delta };
    let count = u32::try_from(records).map_err(|_| wrong)?;
    let fits =
        count > 0 && (i64::from(records) - 1..i64::from(i32::MAX)).contains(&i64::from(last_offset_delta));
    if fits { Ok(count) } else { Err(wrong) }
}
