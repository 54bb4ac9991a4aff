//! The records inside a batch. Each is: length, attributes (i8, unused), timestamp delta, offset delta, key, value,
//! headers; integers are varints, and a length of −1 stands for "none".
//!
//! Read lazily, each length held against what is left before anything is allocated for it. An error ends the reading.

use bytes::Bytes;

use crate::compress::{DecompressLimits, decompress};
use crate::header::{TimestampType, parse_kept};
use crate::{BatchError, BatchInfo, HEADER_BYTES, RecordError, varint};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// In Unix milliseconds; the batch's own where that is an append time.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// In the producer's order, names may repeat.
    pub headers: Vec<RecordHeader>,
}

/// A name and a value that travel with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// UTF-8, by convention.
    pub name: Bytes,
    /// The value, if it has one.
    pub value: Option<Bytes>,
}

/// A batch's records, one after the other.
#[derive(Debug, Clone)]
pub struct Records {
    info: BatchInfo,
    plain: Bytes,
    at: usize,
    index: u32,
    /// Of the last record.
    offset_delta: i64,
    ended: bool,
}

/// The records of the batch that these bytes begin with. Its checksum is not looked at.
pub fn records(batch: &Bytes, limits: DecompressLimits) -> Result<Records, RecordError> {
    let info = parse_kept(batch)?.info();
    let size = info.size as usize;
    if batch.len() < size {
        return Err(BatchError::Truncated { have: batch.len(), need: u64::from(info.size) }.into());
    }
    let plain = decompress(info.attributes.compression(), &batch.slice(HEADER_BYTES..size), limits)?;
    Ok(Records { info, plain, at: 0, index: 0, offset_delta: -1, ended: false })
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.info.records {
            self.ended = true;
            let bytes = self.plain.len() - self.at;
            return (bytes > 0).then_some(Err(RecordError::Trailing { bytes }));
        }
        let record = self.record().map_err(|what| RecordError::Malformed { index: self.index, what });
        self.ended = record.is_err();
        self.index += 1;
        Some(record)
    }
}

impl Records {
    /// The records, unpacked.
    pub(crate) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// Where the next record begins in them.
    pub(crate) fn reached(&self) -> usize {
        self.at
    }

    fn record(&mut self) -> Result<Record, &'static str> {
        let mut rest = &self.plain[self.at..];
        let length = varint::read(&mut rest).ok_or("its length is cut short")?;
        let start = self.plain.len() - rest.len();
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        if length > rest.len() {
            return Err("it is longer than what is left");
        }
        self.at = start + length;
        let mut fields = Fields { bytes: self.plain.slice(start..self.at) };
        let record = self.fields(&mut fields)?;
        self.offset_delta = i64::from(record.offset_delta);
        if fields.bytes.is_empty() { Ok(record) } else { Err("it is longer than its fields") }
    }

    fn fields(&self, fields: &mut Fields) -> Result<Record, &'static str> {
        if fields.bytes.is_empty() {
            return Err("it is empty");
        }
        let _unused_attributes = fields.bytes.split_to(1);
        let timestamp_delta = fields.varint()?;
        let timestamp = match self.info.attributes.timestamp_type() {
            TimestampType::Create => self.info.first_timestamp.wrapping_add(timestamp_delta),
            TimestampType::Append => self.info.max_timestamp,
        };
        let offset_delta = fields.varint()?;
        let follows = match self.info.offsets() == self.info.records {
            true => offset_delta == i64::from(self.index),
            // Compaction has made gaps.
            false => (self.offset_delta + 1..i64::from(self.info.offsets())).contains(&offset_delta),
        };
        if !follows {
            return Err("its offset does not follow the one before");
        }
        let offset_delta = i32::try_from(offset_delta).map_err(|_| "its offset is too large")?;
        let (key, value) = (fields.blob()?, fields.blob()?);
        Ok(Record { offset_delta, timestamp, key, value, headers: fields.headers()? })
    }
}

/// What is left of one record.
struct Fields {
    bytes: Bytes,
}

impl Fields {
    fn varint(&mut self) -> Result<i64, &'static str> {
        let mut rest = &self.bytes[..];
        let value = varint::read(&mut rest).ok_or("a number in it is cut short")?;
        let left = rest.len();
        self.bytes = self.bytes.slice(self.bytes.len() - left..);
        Ok(value)
    }

    fn blob(&mut self) -> Result<Option<Bytes>, &'static str> {
        let length = self.varint()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| "a length in it is negative")?;
        if length > self.bytes.len() {
            return Err("a field is longer than what is left");
        }
        Ok(Some(self.bytes.split_to(length)))
    }

    fn headers(&mut self) -> Result<Vec<RecordHeader>, &'static str> {
        let count = usize::try_from(self.varint()?).map_err(|_| "the number of its headers is negative")?;
        // A header takes two bytes at least.
        if count > self.bytes.len() / 2 {
            return Err("it has more headers than bytes");
        }
        (0..count)
            .map(|_| {
                let name = self.blob()?.ok_or("a header has no name")?;
                Ok(RecordHeader { name, value: self.blob()? })
            })
            .collect()
    }
}
