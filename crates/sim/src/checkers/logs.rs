//! I-18: one merged log: (topic, partition, offset) names one batch at every site, at all times; origin logs too.
//! I-20: what was readable once stays readable. I-19: no batch twice, no batch of an idempotent producer twice.
//! I-04: nothing is readable that nobody wrote.
//! I-38: who follows a log passes nothing over: nothing comes into an origin log below what a site has shown of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use disk::Disk;
use entry::{Incarnation, JournalId, PartitionId, SiteId, TopicId};
use partition::Slice;
use site::{Extent, Grown, Reading, Site};

use super::compaction::Compactions;
use super::release::Releases;
use super::retention::Retention;
use super::truth::{KnownBatch, Truth};
use super::{Verdict, Violation, broken, ensure};
use crate::host::folder;
use crate::submission::Submissions;

/// A log: a partition, and whose origin log it is.
type Log = (TopicId, PartitionId, Option<SiteId>);

/// One batch in a log, as all sites must show it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    slice: Slice,
    bytes: Bytes,
}

impl Placed {
    fn end(&self) -> u64 {
        self.slice.base_offset + u64::from(self.slice.records)
    }
}

/// What was read of every log, anywhere and at each site.
#[derive(Debug, Default)]
pub(super) struct Readings {
    placed: BTreeMap<Log, BTreeMap<u64, Placed>>,
    ends: BTreeMap<(SiteId, Log), u64>,
    /// Where what each life of a site wrote ends, in its origin logs as they were read at each site.
    lives: BTreeMap<(SiteId, Log), BTreeMap<Incarnation, u64>>,
    /// How many of a journal's batches of a partition the merged log has passed.
    passed: BTreeMap<(TopicId, PartitionId, JournalId), usize>,
    /// Which batches stand in the merged logs, by offset: whose, and the how many-th of its partition there.
    read: BTreeMap<(TopicId, PartitionId), BTreeMap<u64, (JournalId, usize)>>,
    /// How much was readable once of merged logs that have gone back.
    once: BTreeMap<(TopicId, PartitionId), u64>,
    /// Sites with damaged files.
    pub(super) hurt: BTreeSet<SiteId>,
    /// What compaction has left out, and what it may.
    compaction: Compactions,
    /// Where merged logs begin.
    pub(super) retention: Retention,
}

/// Where one looks: a site and its disk.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) id: SiteId,
    pub(super) site: &'a Site,
    pub(super) disk: &'a dyn Disk,
}

/// What one knows when looking.
pub(super) struct Oracle<'a> {
    pub(super) truth: &'a Truth,
    pub(super) submissions: &'a mut Submissions,
    pub(super) release: &'a mut Releases,
}

/// How much is read at once.
const BYTES_AT_ONCE: usize = 1 << 16;

impl Readings {
    /// The most that anyone was ever shown of a merged log.
    pub(super) fn shown(&self, topic: TopicId, partition: PartitionId) -> u64 {
        let known = self.placed.get(&(topic, partition, None));
        let now = known.and_then(|known| known.last_key_value()).map_or(0, |(_, last)| last.end());
        now.max(self.once.get(&(topic, partition)).copied().unwrap_or(0))
    }

    /// Of the merged logs only what these sites have shown stands: the others were given up, a majority. Says up to where.
    pub(super) fn go_back(&mut self, remain: &BTreeSet<SiteId>) -> BTreeMap<(TopicId, PartitionId), u64> {
        let logs: Vec<Log> = self.placed.keys().copied().filter(|(.., origin)| origin.is_none()).collect();
        let mut ends = BTreeMap::new();
        for log in logs {
            let at = (log.0, log.1);
            let end =
                remain.iter().filter_map(|site| self.ends.get(&(*site, log))).max().copied().unwrap_or(0);
            let shown = self.shown(log.0, log.1);
            self.once.insert(at, shown);
            self.placed.entry(log).or_default().retain(|offset, _| *offset < end);
            let read = self.read.entry(at).or_default();
            read.retain(|offset, _| *offset < end);
            self.passed.retain(|(topic, partition, _), _| (*topic, *partition) != at);
            for (journal, index) in read.values() {
                self.passed.insert((log.0, log.1, *journal), index + 1);
            }
            ends.insert(at, end);
        }
        ends
    }

    /// What was readable at a site binds it no more.
    pub(super) fn forget(&mut self, id: SiteId) {
        self.ends.retain(|(site, _), _| *site != id);
        self.lives.retain(|(site, _), _| *site != id);
    }

    /// A log grew at a site: what is new there is what is there everywhere.
    pub(super) fn grew(&mut self, look: Look<'_>, grown: Grown, oracle: &mut Oracle<'_>) -> Verdict {
        let Look { id, site, disk } = look;
        let log = (grown.topic, grown.partition, grown.origin);
        let reading = grown.origin.map_or(Reading::Merged, Reading::Origin);
        let Extent { start, end } = site.extent(grown.topic, grown.partition, reading);
        let mut offset = self.ends.get(&(id, log)).copied().unwrap_or(0);
        ensure(end >= offset, "I-20", || {
            format!("{log:?} ended at {offset} at site {id} and ends at {end}")
        })?;
        self.passes_nothing_over(look, log)?;
        if grown.origin.is_none() && offset < start {
            self.read_gone(look, (grown.topic, grown.partition), start, oracle)?;
        }
        offset = offset.max(start);
        while offset < end {
            let at = (grown.topic, grown.partition, reading);
            let plan = match site.plan(disk, at, offset, BYTES_AT_ONCE) {
                Ok(plan) if !plan.slices.is_empty() => plan,
                // It is read on when it is whole again.
                Err(_) if self.hurt.contains(&id) => return Ok(()),
                other => {
                    return broken("I-20", format!("site {id} cannot read {log:?} at {offset}: {other:?}"));
                }
            };
            for slice in &plan.slices {
                if grown.origin.is_none() && offset < slice.base_offset {
                    self.compaction.skipped(id, (grown.topic, grown.partition), offset..slice.base_offset)?;
                }
                if self.hurt.contains(&id) && partition::read(disk, std::slice::from_ref(slice)).is_err() {
                    self.ends.insert((id, log), offset);
                    return Ok(());
                }
                self.read(look, log, slice, oracle)?;
                if log.2.is_some() {
                    let end = slice.base_offset + u64::from(slice.records);
                    let lives = self.lives.entry((id, log)).or_default();
                    lives.insert(journal_of(slice)?.incarnation, end);
                }
                offset = slice.base_offset + u64::from(slice.records);
            }
            offset = plan.next_offset;
        }
        self.ends.insert((id, log), end);
        Ok(())
    }

    /// Behind what a former life wrote comes the next one, once a reader has gone on to that.
    fn passes_nothing_over(&self, Look { id, site, disk }: Look<'_>, log: Log) -> Verdict {
        let (topic, partition, Some(origin)) = log else { return Ok(()) };
        let Some(lives) = self.lives.get(&(id, log)) else { return Ok(()) };
        let at = (topic, partition, Reading::Origin(origin));
        for (life, end) in lives.iter().take(lives.len().saturating_sub(1)) {
            // What retention has taken is below the log's start.
            let Ok(plan) = site.plan(disk, at, *end, 1) else { continue };
            let Some(next) = plan.slices.first() else { continue };
            ensure(journal_of(next)?.incarnation != *life, "I-38", || {
                format!(
                    "{log:?} at {end}: site {id} has a batch there that was not when it showed what comes behind"
                )
            })?;
        }
        Ok(())
    }

    /// What went before anybody read it is read from the origin logs, where the merged log's file says that it stands.
    fn read_gone(
        &mut self,
        look: Look<'_>,
        (topic, partition): (TopicId, PartitionId),
        start: u64,
        oracle: &mut Oracle<'_>,
    ) -> Verdict {
        let Look { id, site, disk } = look;
        let (log, read) = ((topic, partition, None), self.shown(topic, partition));
        if read >= start {
            return Ok(());
        }
        let file = folder("logs").join(format!("{topic}/{partition}/merged.index"));
        let len = disk.len(&file).ok().flatten().unwrap_or(0);
        let index = disk.read(&file, 0, usize::try_from(len).unwrap_or(0)).unwrap_or_default();
        for place in partition::places(&index).flatten().filter(|place| (read..start).contains(&place.offset))
        {
            let at = (topic, partition, place.journal.site);
            let plan = site.plan_unshown(disk, at, place.origin_offset, 1);
            let Ok(Some(slice)) = plan.map(|plan| plan.slices.into_iter().next()) else {
                return broken("I-20", format!("site {id} has let go of {log:?} at {}", place.offset));
            };
            self.read(look, log, &Slice { base_offset: place.offset, ..slice }, oracle)?;
        }
        ensure(self.shown(topic, partition) >= start, "I-20", || {
            format!("site {id} has {log:?} from {start} on, and nobody knows what lay below")
        })
    }

    /// A site has recovered: all that was readable there is, and it is the same; but for topics that were deleted, whose
    /// logs may be gone.
    pub(super) fn opened(&mut self, look: Look<'_>, oracle: &mut Oracle<'_>) -> Verdict {
        let Look { id, site, .. } = look;
        self.ends.retain(|(at, (topic, ..)), _| *at != id || !site.was_deleted(*topic));
        self.lives.retain(|(at, (topic, ..)), _| *at != id || !site.was_deleted(*topic));
        let logs: Vec<(Log, u64)> = self
            .ends
            .range((id, LOWEST)..)
            .take_while(|(key, _)| key.0 == id)
            .map(|(key, end)| (key.1, *end))
            .collect();
        self.reread(look, logs, oracle)?;
        // What a recovery made readable it does not announce.
        for topic in site.topics() {
            for partition in 0..topic.partitions {
                let grown = Grown { topic: topic.id, partition, origin: None };
                self.grew(look, grown, oracle)?;
            }
        }
        Ok(())
    }

    fn reread(&mut self, look: Look<'_>, logs: Vec<(Log, u64)>, oracle: &mut Oracle<'_>) -> Verdict {
        let Look { id, site, .. } = look;
        for (log, before) in logs {
            let (topic, partition, origin) = log;
            let reading = origin.map_or(Reading::Merged, Reading::Origin);
            let end = site.extent(topic, partition, reading).end;
            ensure(end >= before, "I-20", || {
                format!("{log:?} was readable up to {before} at site {id}, after the restart up to {end}")
            })?;
            self.ends.insert((id, log), 0);
            self.grew(look, Grown { topic, partition, origin }, oracle)?;
        }
        Ok(())
    }

    fn read(&mut self, look: Look<'_>, log: Log, slice: &Slice, oracle: &mut Oracle<'_>) -> Verdict {
        let Look { id, disk, .. } = look;
        let bytes = match partition::read(disk, std::slice::from_ref(slice)) {
            Ok(bytes) => bytes,
            Err(error) => return broken("I-20", format!("site {id} cannot read {log:?}: {error}")),
        };
        if log.2.is_none() && slice.file.as_str().contains("/compacted/") {
            return self.compaction.kept(id, (log.0, log.1), slice, &bytes);
        }
        let known = self.placed.entry(log).or_default();
        if let Some(there) = known.get(&slice.base_offset) {
            return ensure(there.slice == *slice && there.bytes == bytes, "I-18", || {
                let there = &there.slice;
                format!(
                    "{log:?} at {}: site {id} has {slice:?}, elsewhere it is {there:?}",
                    slice.base_offset
                )
            });
        }
        if let Some((before, last)) = known.last_key_value() {
            let follows = slice.base_offset == last.end() || log.2.is_some();
            ensure(*before < slice.base_offset && follows, "I-18", || {
                let last = &last.slice;
                format!("{log:?} at {}: site {id} has a batch where {last:?} ends", slice.base_offset)
            })?;
        }
        known.insert(slice.base_offset, Placed { slice: slice.clone(), bytes: bytes.clone() });
        if log.2.is_none() {
            if oracle.submissions.is_compacted(log.0) {
                self.compaction.written((log.0, log.1), slice, &bytes);
            }
            self.first_read((log.0, log.1), slice, &bytes, oracle)?;
        }
        Ok(())
    }

    /// A batch is readable in a merged log for the first time anywhere.
    fn first_read(
        &mut self,
        at: (TopicId, PartitionId),
        slice: &Slice,
        bytes: &Bytes,
        oracle: &mut Oracle<'_>,
    ) -> Verdict {
        let Oracle { truth, submissions, release } = oracle;
        let journal = journal_of(slice)?;
        let part = (at.0, at.1, journal);
        let passed = self.passed.entry(part).or_default();
        let batches = truth.batches(part);
        let next = batches.iter().enumerate().skip(*passed).find(|(_, batch)| batch.crc == slice.crc);
        let Some((index, batch)) = next.map(|(index, batch)| (index, *batch)) else {
            return broken(
                "I-19",
                format!(
                    "{at:?} at {}: no batch of journal {journal} is left that could stand there",
                    slice.base_offset
                ),
            );
        };
        let skipped: Vec<KnownBatch> = batches[*passed..index].to_vec();
        *passed = index + 1;
        self.read.entry(at).or_default().insert(slice.base_offset, (journal, index));
        for batch in skipped {
            submissions.passed_over(journal, batch.seq)?;
        }
        self.retention.placed(at, slice, batch.stamp);
        submissions.placed(bytes, (journal, batch.seq), slice.base_offset)?;
        release.released(truth, at, journal, batch)
    }
}

const LOWEST: Log = (TopicId(uuid::Uuid::nil()), 0, None);

/// Whose origin log a slice lies in.
fn journal_of(slice: &Slice) -> Result<JournalId, Violation> {
    let parts: Vec<&str> = slice.file.as_str().split('/').collect();
    let named = parts.iter().rev().nth(1).and_then(|name| {
        let (site, incarnation) = name.split_once('.')?;
        Some(JournalId {
            site: SiteId(site.parse().ok()?),
            incarnation: Incarnation(incarnation.parse().ok()?),
        })
    });
    match named {
        Some(journal) => Ok(journal),
        None => broken("I-18", format!("{} is in no journal's folder", slice.file)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use batch::{Builder, NewRecord};
    use entry::{Incarnation, SiteId};

    use super::{Look, Readings};
    use crate::checkers::histories::breaks;
    use crate::checkers::shown::{log, shown};

    #[test]
    fn a_batch_of_a_former_life_behind_which_the_next_was_shown_already_is_flagged() {
        let batch = Builder::new().record(&NewRecord::value(0, "late")).build();
        let (pair, id) = (shown(&[&batch]), SiteId(1));
        let look = Look { id, site: &pair.watched().site, disk: &pair.watched().disk };
        let log = (log().topic, 0, Some(id));
        let passes = |former, latter| {
            let ends = BTreeMap::from([(Incarnation(0), former), (Incarnation(1), latter)]);
            let readings = Readings { lives: BTreeMap::from([((id, log), ends)]), ..Readings::default() };
            breaks(readings.passes_nothing_over(look, log))
        };
        assert_eq!((passes(1, 2), passes(0, 1)), ("nothing", "I-38"));
    }
}
