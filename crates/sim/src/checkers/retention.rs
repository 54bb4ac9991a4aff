//! I-57: where a merged log begins is a function of the merged order, the same at every site that has come equally far, and
//! never goes back; nothing below is served. (That nothing at or above it is lost, I-20 sees.)
//! I-40: nothing goes before its time: what lies below was asked to be deleted, or had been kept for as long as its topic
//! says, or there is as much behind it as its topic says.

use std::collections::BTreeMap;

use catalog::Settings;
use clock::Stamp;
use disk::Disk;
use entry::{Body, Encoded, Kind, PartitionId, SiteId, TopicId, TrimBody};
use partition::{OffsetError, Slice};
use site::{Extent, Reading, Site};

use super::{Verdict, ensure};

/// A merged log.
type Log = (TopicId, PartitionId);

/// A batch that was readable in a merged log.
#[derive(Debug, Clone, Copy)]
struct Placed {
    end: u64,
    stamp: Stamp,
    bytes: u64,
}

/// What is known of where logs begin.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Where each log began when so many entries had taken effect, at whichever site that was seen.
    begins: BTreeMap<Log, BTreeMap<u64, u64>>,
    placed: BTreeMap<Log, BTreeMap<u64, Placed>>,
    /// Up to where it was shown of each log why it is gone.
    shown: BTreeMap<Log, u64>,
    /// The highest offset below which anybody asked to have records deleted.
    cuts: BTreeMap<Log, u64>,
    /// The highest stamp of any entry.
    latest: Stamp,
}

impl Retention {
    /// An entry is durable for the first time.
    pub(super) fn minted(&mut self, entry: &Encoded) {
        self.latest = self.latest.max(entry.head.stamp);
        if entry.head.kind == Kind::Trim
            && let Ok(Body::Trim(trim)) = entry.body()
        {
            self.cut(trim);
        }
    }

    fn cut(&mut self, trim: TrimBody) {
        let cut = self.cuts.entry((trim.topic, trim.partition)).or_default();
        *cut = (*cut).max(trim.before);
    }

    /// A batch is readable in a merged log for the first time anywhere.
    pub(super) fn placed(&mut self, log: Log, slice: &Slice, stamp: Stamp) {
        let end = slice.base_offset + u64::from(slice.records);
        let placed = Placed { end, stamp, bytes: u64::from(slice.bytes) };
        self.placed.entry(log).or_default().insert(slice.base_offset, placed);
    }

    /// A look at where a site's logs begin.
    pub(super) fn looked(&mut self, site: &Site, disk: &dyn Disk) -> Verdict {
        let (id, at) = (site.identity().site, site.in_effect());
        for topic in site.topics() {
            for partition in 0..topic.partitions {
                let log = (topic.id, partition);
                let extent = site.extent(topic.id, partition, Reading::Merged);
                if extent.start == 0 && !self.begins.contains_key(&log) {
                    continue;
                }
                self.begins_at(id, log, at, extent.start)?;
                if self.shown.get(&log).copied().unwrap_or(0) < extent.start {
                    let below = site.plan(disk, (topic.id, partition, Reading::Merged), extent.start - 1, 1);
                    not_served(id, log, &below)?;
                    self.is_over(id, log, extent, &topic.settings)?;
                }
            }
        }
        Ok(())
    }

    /// At a site a log begins there when so many entries have taken effect.
    fn begins_at(&mut self, id: SiteId, log: Log, at: u64, start: u64) -> Verdict {
        let known = self.begins.entry(log).or_default();
        let before = known.range(..=at).next_back().map(|(at, start)| (*at, *start));
        let after = known.range(at..).next().map(|(at, start)| (*at, *start));
        let (least, most) = (before.map_or(0, |it| it.1), after.map_or(u64::MAX, |it| it.1));
        ensure((least..=most).contains(&start), "I-57", || {
            format!(
                "{log:?} begins at {start} at site {id}, where {at} entries have taken effect; elsewhere it was {before:?} and \
                 then {after:?}"
            )
        })?;
        if before.is_none_or(|it| it.1 != start) || after.is_none_or(|it| it.1 != start) {
            known.insert(at, start);
        }
        Ok(())
    }

    /// What lies below a log's start need not be kept any more.
    fn is_over(&mut self, id: SiteId, log: Log, extent: Extent, settings: &Settings) -> Verdict {
        let from = self.shown.insert(log, extent.start).unwrap_or(0);
        let cut = self.cuts.get(&log).copied().unwrap_or(0);
        let Some(placed) = self.placed.get(&log) else { return Ok(()) };
        let first = placed.range(..from).next_back().map_or(from, |(base, _)| *base);
        for (base, batch) in placed.range(first..extent.start).filter(|(_, batch)| batch.end <= extent.start)
        {
            let is_old = |age_ms| batch.stamp.unix_ms() + age_ms <= self.latest.unix_ms();
            let behind = || placed.range(batch.end..extent.end).map(|(_, later)| later.bytes).sum::<u64>();
            let expires = settings.deletes
                && (settings.retention_ms.is_some_and(is_old)
                    || settings.retention_bytes.is_some_and(|least| behind() >= least));
            ensure(batch.end <= cut || expires, "I-40", || {
                format!(
                    "site {id} keeps {log:?} at {base} no more, before its time: {batch:?}, asked for: {cut}"
                )
            })?;
        }
        Ok(())
    }
}

fn not_served(id: SiteId, log: Log, below: &Result<partition::Plan, OffsetError>) -> Verdict {
    ensure(matches!(below, Err(OffsetError::BelowStart { .. })), "I-57", || {
        format!("site {id} serves {log:?} below where it begins: {below:?}")
    })
}

#[cfg(test)]
mod tests {
    use catalog::Settings;
    use clock::Stamp;
    use entry::{SiteId, TopicId, TrimBody};
    use partition::Plan;
    use site::Extent;
    use uuid::Uuid;

    use super::{Placed, Retention, not_served};
    use crate::checkers::Verdict;
    use crate::clock::BASE_UNIX_MS;

    const LOG: (TopicId, u32) = (TopicId(Uuid::nil()), 0);

    fn breaks(verdict: &Verdict) -> &str {
        verdict.as_ref().map_or_else(|violation| violation.invariant, |()| "nothing")
    }

    #[test]
    fn where_a_log_begins_is_one_function_of_the_order() {
        let mut known = Retention::default();
        let mut begins = |at, start| known.begins_at(SiteId(1), LOG, at, start);
        for (at, start) in [(10, 0), (20, 5), (30, 5), (15, 3), (40, 9), (30, 5)] {
            assert_eq!(breaks(&begins(at, start)), "nothing");
        }
        assert_eq!(breaks(&begins(50, 8)), "I-57", "it went back");
        assert_eq!(breaks(&begins(20, 6)), "I-57", "it was 5 there");
        assert_eq!(breaks(&begins(12, 4)), "I-57", "it was 3 later");
        assert_eq!(
            breaks(&not_served(SiteId(1), LOG, &Ok(Plan { slices: Vec::new(), next_offset: 0 }))),
            "I-57"
        );
    }

    #[test]
    fn what_goes_before_its_time_is_flagged() {
        let kept = |settings: &[(&str, &str)], cut, latest_ms| {
            let mut known =
                Retention { latest: Stamp::from_unix_ms(BASE_UNIX_MS + latest_ms), ..Retention::default() };
            let placed = [0, 10].map(|base| {
                (
                    base,
                    Placed { end: base + 10, stamp: Stamp::from_unix_ms(BASE_UNIX_MS + 1_000), bytes: 500 },
                )
            });
            known.placed.insert(LOG, placed.into());
            known.cut(TrimBody { topic: LOG.0, partition: LOG.1, before: cut });
            let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let settings = Settings::of(&settings.collect());
            known.is_over(SiteId(1), LOG, Extent { start: 10, end: 20 }, &settings)
        };
        assert_eq!(breaks(&kept(&[("retention.ms", "4000")], 0, 5_000)), "nothing");
        assert_eq!(breaks(&kept(&[("retention.ms", "4000")], 0, 4_999)), "I-40");
        assert_eq!(breaks(&kept(&[("retention.bytes", "500")], 0, 1_000)), "nothing");
        assert_eq!(breaks(&kept(&[("retention.bytes", "501")], 0, 1_000)), "I-40");
        assert_eq!(breaks(&kept(&[], 10, 1_000)), "nothing");
        assert_eq!(breaks(&kept(&[], 9, 1_000)), "I-40");
        let compacted = [("cleanup.policy", "compact"), ("retention.ms", "1")];
        assert_eq!(breaks(&kept(&compacted, 0, 5_000)), "I-40");
    }
}
