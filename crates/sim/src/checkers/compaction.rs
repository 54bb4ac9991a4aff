//! I-56: compaction leaves out what a later record of the same key supersedes, and tombstones, and nothing else; what it
//! leaves is as it was written, at its offset, and byte for byte the same at every site.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use entry::{ChainHash, PartitionId, SiteId, TopicId};
use partition::Slice;

use super::{Verdict, broken, ensure};

/// A merged log.
type Log = (TopicId, PartitionId);

/// What was written to a compacted log.
#[derive(Debug, Default)]
struct Written {
    records: BTreeMap<u64, (Option<Bytes>, Option<Bytes>)>,
    /// The latest offset of every key.
    latest: BTreeMap<Bytes, u64>,
}

/// What is known of compacted logs.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    logs: BTreeMap<Log, Written>,
    /// What stands where in files that compaction wrote, at whichever site it was read first.
    places: BTreeMap<(String, u64), ChainHash>,
}

impl Compactions {
    /// A batch is readable for the first time anywhere, as it was written.
    pub(super) fn written(&mut self, log: Log, slice: &Slice, bytes: &Bytes) {
        let written = self.logs.entry(log).or_default();
        for (offset, key, value) in records(slice, bytes) {
            if let Some(key) = &key {
                written.latest.insert(key.clone(), offset);
            }
            written.records.insert(offset, (key, value));
        }
    }

    /// A site has nothing at these offsets.
    pub(super) fn skipped(&self, id: SiteId, log: Log, offsets: Range<u64>) -> Verdict {
        offsets.into_iter().try_for_each(|offset| self.may_lack(id, log, offset))
    }

    fn may_lack(&self, id: SiteId, log: Log, offset: u64) -> Verdict {
        let written = self.logs.get(&log);
        let record = written.and_then(|written| Some((written, written.records.get(&offset)?)));
        let superseded = record.is_some_and(|(written, (key, value))| {
            let later = key.as_ref().is_some_and(|key| written.latest[key] > offset);
            later || (key.is_some() && value.is_none())
        });
        ensure(superseded, "I-56", || {
            format!(
                "site {id} lacks {log:?} at {offset}, which nothing supersedes: {:?}",
                record.map(|it| it.1)
            )
        })
    }

    /// A site has this batch, which compaction has written.
    pub(super) fn kept(&mut self, id: SiteId, log: Log, slice: &Slice, bytes: &Bytes) -> Verdict {
        let content = ChainHash::of(bytes);
        let place = (slice.file.as_str().to_owned(), slice.at);
        let there = *self.places.entry(place).or_insert(content);
        ensure(there == content, "I-18", || {
            format!("site {id} has made another batch at {} of {}", slice.at, slice.file)
        })?;
        let Some(written) = self.logs.get(&log) else {
            return broken("I-56", format!("site {id} has compacted {log:?}, which nobody wrote to"));
        };
        let kept = records(slice, bytes);
        for (offset, key, value) in &kept {
            let record = written.records.get(offset);
            ensure(record.is_some_and(|(k, v)| k == key && v == value), "I-56", || {
                format!("site {id} has another record of {log:?} at {offset} than was written: {record:?}")
            })?;
        }
        let lacks = (slice.base_offset..slice.base_offset + u64::from(slice.records))
            .filter(|offset| kept.iter().all(|(there, ..)| there != offset));
        lacks.into_iter().try_for_each(|offset| self.may_lack(id, log, offset))
    }
}

fn records(slice: &Slice, bytes: &Bytes) -> Vec<(u64, Option<Bytes>, Option<Bytes>)> {
    let limits = batch::DecompressLimits::default();
    let Ok(records) = batch::records(bytes, limits) else { return Vec::new() };
    let at = |delta: i32| slice.base_offset + u64::from(delta.cast_unsigned());
    records.flatten().map(|record| (at(record.offset_delta), record.key, record.value)).collect()
}

#[cfg(test)]
mod tests {
    use batch::{Builder, NewRecord};
    use bytes::{Bytes, BytesMut};
    use disk::FileName;
    use entry::{SiteId, TopicId};
    use partition::Slice;
    use uuid::Uuid;

    use super::Compactions;

    const LOG: (TopicId, u32) = (TopicId(Uuid::nil()), 0);

    fn batch(base_offset: u64, key: &'static str, value: Option<&'static str>) -> (Slice, Bytes) {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        let record = NewRecord { key: Some(key.into()), value, ..NewRecord::default() };
        let mut bytes = BytesMut::from(&Builder::new().record(&record).build()[..]);
        batch::set_base_offset(&mut bytes, base_offset.cast_signed());
        let file = FileName::new("logs/a/0/compacted/0000000001/00000000000000000000.log").unwrap();
        let size = u32::try_from(bytes.len()).unwrap();
        (Slice { file, at: base_offset, bytes: size, base_offset, records: 1, crc: 0 }, bytes.freeze())
    }

    #[test]
    fn what_is_lost_altered_or_made_otherwise_elsewhere_is_flagged() {
        let mut checker = Compactions::default();
        for (offset, key, value) in [(0, "a", Some("1")), (1, "b", None), (2, "a", Some("2"))] {
            let (slice, bytes) = batch(offset, key, value);
            checker.written(LOG, &slice, &bytes);
        }
        let skips = |checker: &Compactions, offset| {
            checker.skipped(SiteId(1), LOG, offset..offset + 1).map_err(|violation| violation.invariant)
        };
        assert_eq!(
            (skips(&checker, 0), skips(&checker, 1), skips(&checker, 2)),
            (Ok(()), Ok(()), Err("I-56"))
        );
        let kept = |checker: &mut Compactions, value| {
            let (slice, bytes) = batch(2, "a", Some(value));
            checker.kept(SiteId(2), LOG, &slice, &bytes).map_err(|violation| violation.invariant)
        };
        assert_eq!(kept(&mut checker, "2"), Ok(()));
        assert_eq!(kept(&mut checker, "3"), Err("I-18"), "another site had other bytes there");
        assert_eq!(kept(&mut Compactions::default(), "2"), Err("I-56"));
        let mut other = Compactions::default();
        let (slice, bytes) = batch(2, "a", Some("2"));
        other.written(LOG, &slice, &bytes);
        assert_eq!(kept(&mut other, "3"), Err("I-56"));
    }
}
