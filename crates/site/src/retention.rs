//! What merged logs keep, and for how long.
//!
//! Once in every period of merged stamps, before the first entry of that period takes effect, all logs are gone through:
//! what was sorted too long before the period began, and what is more than is wanted, goes. Settings are those of the
//! catalog at that place. So a log begins at the same offset everywhere at the same place of the order, whatever anybody's
//! clock says. At the same places marks are set for compaction, which is carried out at leisure. `DeleteRecords` is an entry that counts at its place.
//!
//! Where nobody writes, merged time stands still; a site that sees by its own clock that something has been kept for too
//! long says so with an entry that does nothing but carry a stamp.

use clock::{Now, Stamp};
use disk::Disk;
use entry::{Body, Kind, PartitionId, TopicId, TrimBody};
use partition::{Kept, Logs, LogsError, Terms};

use crate::action::{Answer, Refusal};
use crate::append::Taken;
use crate::desk::Until;
use crate::merge::Merge;
use crate::mutant::Mutant;
use crate::site::{Fatal, Site, Step};

impl Merge {
    /// At the first entry of a period: lets go of what need not be kept.
    pub(crate) fn retain(&mut self, at: Stamp, logs: &mut Logs, disk: &dyn Disk) -> Result<(), LogsError> {
        let period = at.unix_ms() / self.period_ms;
        if period <= self.retained {
            return Ok(());
        }
        self.retained = period;
        for topic in self.catalog.live() {
            let at_ms = period * self.period_ms;
            let settings = &topic.settings;
            let (age_ms, bytes) = (settings.retention_ms, settings.retention_bytes);
            let expires = settings.deletes && age_ms.or(bytes).is_some();
            let since = age_ms.map(|age_ms| Stamp::from_unix_ms(at_ms.saturating_sub(age_ms)));
            for partition in 0..topic.partitions {
                let at = (topic.id, partition);
                if expires {
                    logs.expire(disk, at, Kept { since, bytes })?;
                }
                if settings.compacts {
                    let (dirty_permille, tombstones_ms) = (settings.dirty_permille, settings.tombstones_ms);
                    logs.mark(at, at_ms, Terms { dirty_permille, tombstones_ms });
                }
            }
        }
        Ok(())
    }
}

impl Site {
    /// By which stamp it is looked at what need not be kept: the one of the entry that is about to take effect.
    pub(crate) fn retains_at(&self, at: Stamp, now: Now) -> Stamp {
        match self.state.switch {
            bent if bent.has(Mutant::RetainsByOwnClock) => Stamp::from_unix_ms(now.wall_ms),
            bent if bent.has(Mutant::RetainsTooShort) => Stamp::from_unix_ms(at.unix_ms() + 3_000),
            _ => at,
        }
    }

    /// A client wants a merged log to begin at an offset; answered when it does here.
    pub(crate) fn trim(
        &mut self,
        topic: TopicId,
        partition: PartitionId,
        before: u64,
        now: Now,
    ) -> Result<Taken, Refusal> {
        let known = self.admission.topic(topic).filter(|topic| !topic.deleted);
        known.filter(|topic| partition < topic.partitions).ok_or(Refusal::UnknownPartition)?;
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let body = Body::Trim(TrimBody { topic, partition, before });
        let seq = self.say(stamp, body).map_err(|_| Refusal::Busy)?;
        Ok(Taken::Waits(seq, Answer::Committed, Until::RELEASED))
    }

    /// Says that time has passed, if something has been kept for too long and nobody writes. Sites say so one after the
    /// other, so that one does as a rule.
    pub(crate) fn mark_time(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let period = step.now.wall_ms / self.merge.period_ms;
        let rank = self.members().iter().position(|site| *site == self.config.own);
        let behind = period.saturating_sub(self.merge.retained);
        if behind <= 1 + rank.unwrap_or(0) as u64 || self.state.marked == period || self.may_write().is_err()
        {
            return Ok(());
        }
        self.state.marked = period;
        if self.merge.unreleased() == 0
            && self.keeps_too_long(step)?
            && let Ok(Some(stamp)) = self.mint(step.now)
        {
            let newer = self.all_read(Kind::Mark.since());
            let body = if newer { Body::Mark } else { Body::Trim(TrimBody::MARK) };
            let _ = self.say(stamp, body);
        }
        Ok(())
    }

    fn keeps_too_long(&self, step: &Step<'_>) -> Result<bool, Fatal> {
        for topic in self.merge.catalog.live() {
            let grew = |partition| self.logs.grew_since_mark(topic.id, partition);
            if topic.settings.compacts && (0..topic.partitions).any(grew) {
                return Ok(true);
            }
            let Some(age_ms) = topic.settings.retention_ms.filter(|_| topic.settings.deletes) else {
                continue;
            };
            let since = Stamp::from_unix_ms(step.now.wall_ms.saturating_sub(age_ms + self.merge.period_ms));
            for partition in 0..topic.partitions {
                let oldest = self.logs.oldest_stamp(step.disk, topic.id, partition)?;
                if oldest.is_some_and(|oldest| oldest < since) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
