//! Finding offsets by name or by time.
//!
//! The index knows the times of batches: a look at the machine finds the one to begin with. The record is then looked for in
//! what is read from there on, beside the engine, as for Fetch.

use batch::{DecompressLimits, RecordError};
use bytes::Bytes;
use entry::TopicId;
use kafka::broker::{FoundOffset, OffsetAt, OffsetQuery, ReadRefusal};
use partition::{Slice, TimeHit};
use site::{Reading, Site};

use crate::files::Files;
use crate::front::Front;

type Found = Result<Option<FoundOffset>, ReadRefusal>;
type Log = (TopicId, u32, Reading);
type Asked = Option<(Log, OffsetAt)>;

/// Batches that are looked through at once; the first one is, however large.
const STEP_BYTES: usize = 64 << 10;

/// Steps that are taken for one answer. The record is in the first batch, unless the log begins behind it in there, or the
/// batch's producer named a later time than any of its records has; then in one of the next.
const STEPS_MAX: usize = 16;

/// What the machine knows.
enum Known {
    Offset(u64),
    /// From where on the record is, if there is one.
    Time(Option<TimeHit>),
}

/// What a step led to.
enum Step {
    Here(FoundOffset),
    NotHere,
    /// The batch that begins at this offset does not read.
    Unread(u64),
}

impl Front {
    pub(crate) async fn find_offsets(&self, queries: Vec<OffsetQuery>) -> Vec<Found> {
        let view = self.views.current();
        let log = |query: &OffsetQuery| {
            let (topic, reading) = view.log(query.topic)?;
            Some(((topic, query.partition, reading), query.at))
        };
        let asked: Vec<Asked> = queries.iter().map(log).collect();
        let looked_up = asked.clone();
        let known = self
            .look(move |site, files, _| looked_up.iter().map(|asked| find(site, files, *asked)).collect());
        let Ok(known): Result<Vec<Result<Known, ReadRefusal>>, _> = known.await else {
            return vec![Err(ReadRefusal::NotReady("it is stopping".into())); asked.len()];
        };
        let mut found = Vec::with_capacity(asked.len());
        for (asked, known) in asked.into_iter().zip(known) {
            found.push(match (asked, known) {
                (Some((log, at)), Ok(Known::Time(Some(hit)))) => Ok(self.record(log, at, hit).await),
                (_, Ok(Known::Time(_))) => Ok(None),
                (_, Ok(Known::Offset(offset))) => {
                    Ok(Some(FoundOffset { offset: signed(offset), time_ms: None }))
                }
                (_, Err(refusal)) => Err(refusal),
            });
        }
        found
    }

    /// The record that was asked for. Where what lies there does not read, or is too much to look through, the offset from
    /// which on it must be.
    async fn record(&self, log: Log, at: OffsetAt, hit: TimeHit) -> Option<FoundOffset> {
        let time = if let OffsetAt::TimeMs(time) = at { time } else { hit.max_timestamp };
        let about =
            |offset: u64| Some(FoundOffset { offset: signed(offset), time_ms: Some(hit.max_timestamp) });
        let mut from = hit.offset;
        for _ in 0..STEPS_MAX {
            let planned = self.look(move |site, files, _| site.plan(files, log, from, STEP_BYTES)).await;
            let Ok(Ok(plan)) = planned else { return about(from) };
            if plan.slices.is_empty() {
                // None with that time is left; the newest of all may be gone, and where it was is as good as any place.
                return if at == OffsetAt::MaxTime { about(hit.offset) } else { None };
            }
            // What a batch unpacks to takes room, too.
            let room = self.bounds.to_read(DecompressLimits::default().bytes_max / 2).await;
            let (files, next) = (self.files.clone(), plan.next_offset);
            let step = tokio::task::spawn_blocking(move || {
                let _room = room;
                step(&files, &plan.slices, from, time)
            });
            match step.await {
                Ok(Step::Here(found)) => return Some(found),
                Ok(Step::NotHere) => from = next,
                Ok(Step::Unread(offset)) => return about(offset),
                Err(_) => return about(from),
            }
        }
        about(from)
    }
}

fn find(site: &Site, files: &Files, asked: Asked) -> Result<Known, ReadRefusal> {
    let ((topic, partition, reading), at) = asked.ok_or(ReadRefusal::UnknownTopic)?;
    if site.topic(topic).is_none_or(|topic| partition >= topic.partitions) {
        return Err(ReadRefusal::UnknownTopic);
    }
    let extent = site.extent(topic, partition, reading);
    let time = match at {
        OffsetAt::Earliest => return Ok(Known::Offset(extent.start)),
        OffsetAt::Latest => return Ok(Known::Offset(extent.end)),
        OffsetAt::MaxTime => None,
        OffsetAt::TimeMs(time) => Some(time),
    };
    let hit = site.offset_at(files, (topic, partition, reading), time);
    hit.map(Known::Time).map_err(|error| ReadRefusal::Damaged(error.to_string()))
}

/// Looks for the first record at or behind `from` with a timestamp of at least `time`.
fn step(files: &Files, slices: &[Slice], from: u64, time: i64) -> Step {
    for slice in slices {
        let unread = || Step::Unread(slice.base_offset.max(from));
        let Ok(bytes) = partition::read(files, std::slice::from_ref(slice)) else { return unread() };
        match first_since(&bytes, slice.base_offset, from, time) {
            Ok(Some(found)) => return Step::Here(found),
            Ok(None) => {}
            Err(_) => return unread(),
        }
    }
    Step::NotHere
}

/// The first record of a batch that is at or behind `from` and has a timestamp of at least `time`.
fn first_since(batch: &Bytes, base: u64, from: u64, time: i64) -> Result<Option<FoundOffset>, RecordError> {
    if batch::parse_kept(batch)?.info().max_timestamp < time {
        return Ok(None);
    }
    for record in batch::records(batch, DecompressLimits::default())? {
        let record = record?;
        let offset = base + u64::from(record.offset_delta.cast_unsigned());
        if offset >= from && record.timestamp >= time {
            return Ok(Some(FoundOffset { offset: signed(offset), time_ms: Some(record.timestamp) }));
        }
    }
    Ok(None)
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use batch::{Builder, Compression, NewRecord};
    use bytes::Bytes;

    use super::first_since;

    /// Records of these times.
    fn batch(times: &[i64], compression: Compression) -> Bytes {
        let mut builder = Builder::new().compression(compression);
        times.iter().for_each(|time| builder.push(&NewRecord::value(*time, "value")));
        builder.build()
    }

    #[test]
    fn the_first_record_late_enough_and_not_before_the_start_is_found() {
        for compression in [Compression::None, Compression::Zstd] {
            let batch = batch(&[10, 30, 20], compression);
            let found = |from, time| {
                let found = first_since(&batch, 100, from, time).unwrap();
                found.map(|found| (found.offset, found.time_ms.unwrap()))
            };
            assert_eq!(found(100, 5), Some((100, 10)));
            assert_eq!(found(100, 15), Some((101, 30)));
            assert_eq!(found(102, 15), Some((102, 20)));
            assert_eq!(found(102, 30), None, "the one of that time is before the start");
            assert_eq!(found(100, 31), None);
        }
    }

    #[test]
    fn a_batch_that_does_not_unpack_is_not_passed_over() {
        let whole = batch(&[10; 100], Compression::Zstd);
        let mut bytes = whole.to_vec();
        bytes[batch::HEADER_BYTES..].fill(0xee);
        assert!(first_since(&bytes.into(), 0, 0, 10).is_err());
    }
}
