//! Index records: fixed in size, so that the n-th is found without reading the others, and each with its own checksum.
//!
//! Numbers are big-endian; the last four bytes are the CRC32C of those before.

use bytes::{Buf, BufMut};
use clock::Stamp;
use entry::{Incarnation, JournalId, SiteId};

/// A record of fixed size.
pub(crate) trait Record: Clone {
    /// Its size, checksum included.
    const BYTES: usize;

    /// Its fields, without the checksum.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads its fields, of which there are enough.
    fn get(fields: &mut &[u8]) -> Self;

    /// Whether it can be one of a log: a checksum that is right does not make its numbers so.
    fn is_possible(&self) -> bool;

    /// Its bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        self.put(&mut out);
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        assert_eq!(out.len(), Self::BYTES, "records are of one size");
        out
    }

    /// Reads one record; `None` if its checksum is wrong, or it is none of a log.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, crc) = bytes.split_last_chunk::<4>()?;
        let sound = bytes.len() == Self::BYTES && crc32c::crc32c(fields) == u32::from_be_bytes(*crc);
        sound.then(|| Self::get(&mut &*fields)).filter(Self::is_possible)
    }
}

/// One batch of a segment. All of it is read off the segment, so that a lost index can be built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginRecord {
    /// The batch's origin offset.
    pub(crate) offset: u64,
    /// How many offsets it takes.
    pub(crate) records: u32,
    /// Its length.
    pub(crate) bytes: u32,
    /// Where it begins in the segment.
    pub(crate) at: u32,
    /// The checksum in its header.
    pub(crate) crc: u32,
    /// Its highest timestamp.
    pub(crate) max_timestamp: i64,
    /// The highest timestamp in the segment so far: what makes a search by time a binary one.
    pub(crate) newest: i64,
}

/// One batch of a merged log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergedRecord {
    /// The batch's merged offset.
    pub(crate) offset: u64,
    /// How many offsets it takes.
    pub(crate) records: u32,
    /// Its length.
    pub(crate) bytes: u32,
    /// Whose origin log holds it.
    pub(crate) journal: JournalId,
    /// Its offset there.
    pub(crate) origin_offset: u64,
    /// The first offset of the segment.
    pub(crate) segment: u64,
    /// Where it begins in the segment.
    pub(crate) at: u32,
    /// The checksum in its header.
    pub(crate) crc: u32,
    /// The stamp it was sorted at: what retention will go by.
    pub(crate) stamp: Stamp,
    /// Its highest timestamp.
    pub(crate) max_timestamp: i64,
    /// The highest timestamp in the log so far.
    pub(crate) newest: i64,
    /// The digest of the log up to and including this batch.
    pub(crate) digest: [u8; 16],
}

impl OriginRecord {
    /// One past its last offset.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.records)
    }
}

impl MergedRecord {
    /// One past its last offset.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.records)
    }

    /// The digest of a log that ends in `before` and then has this batch.
    pub(crate) fn digest_after(&self, before: &[u8; 16]) -> [u8; 16] {
        let mut content = Vec::with_capacity(MergedRecord::BYTES);
        content.put_slice(before);
        self.put_content(&mut content);
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(&content).as_bytes()[..16]);
        digest
    }

    fn put_content(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u32(self.records);
        out.put_u32(self.bytes);
        out.put_u16(self.journal.site.0);
        out.put_u16(0);
        out.put_u32(self.journal.incarnation.0);
        out.put_u64(self.origin_offset);
        out.put_u64(self.segment);
        out.put_u32(self.at);
        out.put_u32(self.crc);
        out.put_u64(self.stamp.raw());
        out.put_i64(self.max_timestamp);
    }
}

impl Record for OriginRecord {
    const BYTES: usize = 48;

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u32(self.records);
        out.put_u32(self.bytes);
        out.put_u32(self.at);
        out.put_u32(self.crc);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.newest);
        out.put_u32(0);
    }

    fn get(fields: &mut &[u8]) -> OriginRecord {
        OriginRecord {
            offset: fields.get_u64(),
            records: fields.get_u32(),
            bytes: fields.get_u32(),
            at: fields.get_u32(),
            crc: fields.get_u32(),
            max_timestamp: fields.get_i64(),
            newest: fields.get_i64(),
        }
    }

    fn is_possible(&self) -> bool {
        lies_within(self.offset, self.records) && self.at.checked_add(self.bytes).is_some()
    }
}

impl Record for MergedRecord {
    const BYTES: usize = 96;

    fn put(&self, out: &mut Vec<u8>) {
        self.put_content(out);
        out.put_i64(self.newest);
        out.put_slice(&self.digest);
        out.put_u32(0);
    }

    fn get(fields: &mut &[u8]) -> MergedRecord {
        let (offset, records, bytes) = (fields.get_u64(), fields.get_u32(), fields.get_u32());
        let site = SiteId(fields.get_u16());
        fields.advance(2);
        let journal = JournalId { site, incarnation: Incarnation(fields.get_u32()) };
        let (origin_offset, segment) = (fields.get_u64(), fields.get_u64());
        let (at, crc, stamp) = (fields.get_u32(), fields.get_u32(), Stamp::from_raw(fields.get_u64()));
        let (max_timestamp, newest) = (fields.get_i64(), fields.get_i64());
        let mut digest = [0; 16];
        fields.copy_to_slice(&mut digest);
        MergedRecord {
            offset,
            records,
            bytes,
            journal,
            origin_offset,
            segment,
            at,
            crc,
            stamp,
            max_timestamp,
            newest,
            digest,
        }
    }

    fn is_possible(&self) -> bool {
        let origin = lies_within(self.origin_offset, self.records);
        origin && lies_within(self.offset, self.records) && self.at.checked_add(self.bytes).is_some()
    }
}

/// Whether these offsets are below 2^63, which Kafka's have to be.
fn lies_within(offset: u64, records: u32) -> bool {
    offset.checked_add(u64::from(records)).is_some_and(|end| i64::try_from(end).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{MergedRecord, OriginRecord, Record};
    use clock::Stamp;
    use entry::{Incarnation, JournalId, SiteId};

    fn origin() -> OriginRecord {
        OriginRecord { offset: 1, records: 2, bytes: 3, at: 4, crc: 5, max_timestamp: -6, newest: 7 }
    }

    fn merged() -> MergedRecord {
        MergedRecord {
            offset: 1,
            records: 2,
            bytes: 3,
            journal: JournalId { site: SiteId(4), incarnation: Incarnation(5) },
            origin_offset: 6,
            segment: 7,
            at: 8,
            crc: 9,
            stamp: Stamp::from_raw(10),
            max_timestamp: -11,
            newest: 12,
            digest: [13; 16],
        }
    }

    fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, golden: &str) {
        let bytes = record.encode();
        assert_eq!(R::decode(&bytes).as_ref(), Some(record));
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, golden);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(R::decode(&damaged), None);
            assert_eq!(R::decode(&bytes[..at]), None);
        }
    }

    #[test]
    fn numbers_that_no_log_has_are_refused_under_a_right_checksum() {
        let beyond = [u64::MAX, i64::MAX as u64 - 1];
        for offset in beyond {
            assert_eq!(OriginRecord::decode(&OriginRecord { offset, ..origin() }.encode()), None);
            assert_eq!(MergedRecord::decode(&MergedRecord { offset, ..merged() }.encode()), None);
            let record = MergedRecord { origin_offset: offset, ..merged() };
            assert_eq!(MergedRecord::decode(&record.encode()), None);
        }
        assert_eq!(OriginRecord::decode(&OriginRecord { at: u32::MAX, ..origin() }.encode()), None);
        assert_eq!(MergedRecord::decode(&MergedRecord { bytes: u32::MAX, ..merged() }.encode()), None);
    }

    #[test]
    fn records_of_a_segment_are_the_same_for_ever() {
        check(
            &origin(),
            "000000000000000100000002000000030000000400000005fffffffffffffffa0000000000000007000000001a158e72",
        );
    }

    #[test]
    fn records_of_a_merged_log_are_the_same_for_ever() {
        let golden = concat!(
            "000000000000000100000002000000030004000000000005000000000000000600000000000000070000000800000009",
            "000000000000000afffffffffffffff5000000000000000c0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d000000003dabf8a0",
        );
        check(&merged(), golden);
    }
}
