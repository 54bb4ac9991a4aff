//! A row of segments, one behind the other: where in it to read.

use disk::Disk;

use crate::error::LogsError;
use crate::plan::{Picker, Slice, TimeHit};
use crate::record::OriginRecord;
use crate::segment::Segment;

/// Offers the batches from the one that holds `offset` on, or lies behind it, until the picker has enough.
pub(crate) fn offer(
    segments: &[Segment],
    disk: &dyn Disk,
    offset: u64,
    picker: &mut Picker,
) -> Result<(), LogsError> {
    for segment in &segments[holding(segments, offset)..] {
        let end = segment.index.count();
        let mut at = segment.index.search(disk, end, |record| record.end() <= offset)?;
        while at < end {
            for record in segment.index.block(disk, at, end)? {
                at += 1;
                if !picker.takes(slice(segment, &record)) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The first batch with a timestamp of at least `timestamp` that ends behind `start`.
pub(crate) fn by_time(
    segments: &[Segment],
    disk: &dyn Disk,
    timestamp: i64,
    start: u64,
) -> Result<Option<TimeHit>, LogsError> {
    for segment in &segments[holding(segments, start)..] {
        if segment.state().newest < timestamp {
            continue;
        }
        let end = segment.index.count();
        let is_before = |record: &OriginRecord| record.newest < timestamp || record.end() <= start;
        let mut at = segment.index.search(disk, end, is_before)?;
        while at < end {
            for record in segment.index.block(disk, at, end)? {
                at += 1;
                if record.max_timestamp >= timestamp {
                    let (offset, max_timestamp) = (record.offset.max(start), record.max_timestamp);
                    return Ok(Some(TimeHit { offset, max_timestamp }));
                }
            }
        }
    }
    Ok(None)
}

/// The highest timestamp in it, if it holds anything.
pub(crate) fn newest(segments: &[Segment]) -> Option<i64> {
    segments.iter().map(|segment| segment.state().newest).max()
}

/// The first segment that ends behind `offset`.
pub(crate) fn holding(segments: &[Segment], offset: u64) -> usize {
    segments.partition_point(|segment| segment.end() <= offset)
}

pub(crate) fn slice(segment: &Segment, record: &OriginRecord) -> Slice {
    Slice {
        file: segment.file.clone(),
        at: u64::from(record.at),
        bytes: record.bytes,
        base_offset: record.offset,
        records: record.records,
        crc: record.crc,
    }
}
