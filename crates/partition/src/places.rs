//! What a merged log's file says, for whoever looks at the file alone: which batch stands where, and by which stamp.

use clock::Stamp;
use entry::JournalId;

use crate::record::{MergedRecord, Record as _};

/// One batch's place in a merged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The batch's merged offset.
    pub offset: u64,
    /// How many offsets it takes.
    pub records: u32,
    /// Whose origin log holds it.
    pub journal: JournalId,
    /// Its offset there.
    pub origin_offset: u64,
    /// The stamp it was sorted at: its own, or a later one if its journal came in late.
    pub sorted: Stamp,
    /// Its highest timestamp, in milliseconds; the time of its own stamp where a topic keeps append times.
    pub max_timestamp: i64,
}

/// The places that the bytes of a merged log's file tell; `None` for one whose checksum is wrong, and for a part of one at
/// the end.
pub fn places(file: &[u8]) -> impl Iterator<Item = Option<Place>> + '_ {
    file.chunks(MergedRecord::BYTES).map(|record| MergedRecord::decode(record).map(Place::from))
}

impl From<MergedRecord> for Place {
    fn from(record: MergedRecord) -> Place {
        let MergedRecord { offset, records, journal, origin_offset, max_timestamp, .. } = record;
        Place { offset, records, journal, origin_offset, sorted: record.stamp, max_timestamp }
    }
}

#[cfg(test)]
mod tests {
    use clock::Stamp;
    use entry::{Incarnation, JournalId, SiteId};

    use super::{Place, places};
    use crate::record::{MergedRecord, Record as _};

    #[test]
    fn a_file_is_read_record_by_record_past_what_is_damaged() {
        let journal = JournalId { site: SiteId(4), incarnation: Incarnation(5) };
        let record = MergedRecord {
            offset: 1,
            records: 2,
            bytes: 3,
            journal,
            origin_offset: 6,
            segment: 7,
            at: 8,
            crc: 9,
            stamp: Stamp::from_raw(10),
            max_timestamp: 11,
            newest: 12,
            digest: [13; 16],
        };
        let mut file = record.encode();
        file[0] ^= 1;
        file.extend(record.encode());
        file.extend([0; 5]);
        let sorted = Stamp::from_raw(10);
        let place = Place { offset: 1, records: 2, journal, origin_offset: 6, sorted, max_timestamp: 11 };
        assert_eq!(places(&file).collect::<Vec<_>>(), [None, Some(place), None]);
    }
}
