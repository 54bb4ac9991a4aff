//! Makes batches, for our own tools, for the markers a broker writes, and for tests. What it builds passes
//! [`crate::validate`], control batches apart.

use bytes::Bytes;

use crate::compress::compress;
use crate::header::{Attributes, Compression, HEADER_BYTES, MAGIC, UNCOUNTED_BYTES};
use crate::patch::seal;
use crate::varint;

/// A record to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// In Unix milliseconds.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl NewRecord {
    /// A record with a value only.
    #[must_use]
    pub fn value(timestamp: i64, value: impl Into<Bytes>) -> NewRecord {
        NewRecord { timestamp, value: Some(value.into()), ..NewRecord::default() }
    }

    /// A record with a key and a value.
    #[must_use]
    pub fn keyed(timestamp: i64, key: impl Into<Bytes>, value: impl Into<Bytes>) -> NewRecord {
        NewRecord { key: Some(key.into()), ..NewRecord::value(timestamp, value) }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> NewRecord {
        self.headers.push((name.into(), Some(value.into())));
        self
    }
}

/// A batch to be.
#[derive(Debug, Clone)]
pub struct Builder {
    compression: Compression,
    flags: i16,
    producer: (i64, i16, i32),
    first_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    body: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            compression: Compression::None,
            flags: 0,
            producer: (-1, -1, -1),
            first_timestamp: 0,
            max_timestamp: i64::MIN,
            count: 0,
            body: Vec::new(),
        }
    }
}

impl Builder {
    /// An uncompressed batch without records and of no producer in particular.
    #[must_use]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Compresses the records.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Builder {
        self.compression = compression;
        self
    }

    /// Says who writes, and the number of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Builder {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Makes it part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Builder {
        self.flags |= Attributes::TRANSACTIONAL;
        self
    }

    /// Makes it a control batch, as only brokers write them.
    #[must_use]
    pub fn control(mut self) -> Builder {
        self.flags |= Attributes::CONTROL;
        self
    }

    /// Adds a record.
    #[must_use]
    pub fn record(mut self, record: &NewRecord) -> Builder {
        self.push(record);
        self
    }

    /// Adds a record, in a loop.
    pub fn push(&mut self, record: &NewRecord) {
        if self.count == 0 {
            self.first_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let fields = fields(record, record.timestamp.wrapping_sub(self.first_timestamp), self.count);
        varint::write(&mut self.body, fields.len() as i64);
        self.body.extend_from_slice(&fields);
        self.count += 1;
    }

    /// How many bytes the records take, uncompressed.
    #[must_use]
    pub fn plain_bytes(&self) -> usize {
        self.body.len()
    }

    /// The batch, at base offset 0 and leader epoch −1, as a producer sends it.
    ///
    /// # Panics
    /// If it has no records, or 2 GiB of them.
    #[must_use]
    pub fn build(self) -> Bytes {
        assert!(self.count > 0, "a batch has a record");
        let body = compress(self.compression, self.body);
        let length =
            i32::try_from(HEADER_BYTES - UNCOUNTED_BYTES + body.len()).expect("a batch is below 2 GiB");
        let attributes = Attributes::with_compression(self.compression).and(self.flags);
        let (id, epoch, sequence) = self.producer;
        let mut batch = Vec::with_capacity(HEADER_BYTES + body.len());
        batch.extend_from_slice(&0i64.to_be_bytes());
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&(-1i32).to_be_bytes());
        batch.extend_from_slice(&MAGIC.to_be_bytes());
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&attributes.bits().to_be_bytes());
        batch.extend_from_slice(&(self.count - 1).to_be_bytes());
        batch.extend_from_slice(&self.first_timestamp.to_be_bytes());
        batch.extend_from_slice(&self.max_timestamp.to_be_bytes());
        batch.extend_from_slice(&id.to_be_bytes());
        batch.extend_from_slice(&epoch.to_be_bytes());
        batch.extend_from_slice(&sequence.to_be_bytes());
        batch.extend_from_slice(&self.count.to_be_bytes());
        batch.extend_from_slice(&body);
        seal(&mut batch);
        Bytes::from(batch)
    }
}

fn fields(record: &NewRecord, timestamp_delta: i64, offset_delta: i32) -> Vec<u8> {
    let mut out = vec![0];
    varint::write(&mut out, timestamp_delta);
    varint::write(&mut out, i64::from(offset_delta));
    blob(&mut out, record.key.as_ref());
    blob(&mut out, record.value.as_ref());
    varint::write(&mut out, record.headers.len() as i64);
    for (name, value) in &record.headers {
        blob(&mut out, Some(name));
        blob(&mut out, value.as_ref());
    }
    out
}

fn blob(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    varint::write(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.map_or(&[], |bytes| &bytes[..]));
}
