//! Looking at the machine: what clients may read, and what an operator wants to know. Nothing here changes anything.

use std::collections::BTreeMap;

use catalog::Topic;
use clock::Stamp;
use disk::Disk;
use entry::{JournalId, MemberEpoch, PartitionId, Seq, SiteId, StorageId, TopicId};
use order::{Blocker, Turn};
use partition::{LogsError, OffsetError, Plan, TimeHit};
use serde::Serialize;

use crate::copy::CopyStatus;
use crate::identity::Identity;
use crate::lives::beyond_all;
use crate::merge::Counts;
use crate::progress::Position;
use crate::repair::RepairCounts;
use crate::retain::WalStatus;
use crate::site::Site;
use crate::unreplicated::UnreplicatedStatus;
use crate::wire::GivenUp;

/// Which log of a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// The merged log: everything from every site.
    Merged,
    /// What one site wrote.
    Origin(SiteId),
}

/// The offsets between which a log can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first offset there is.
    pub start: u64,
    /// The next offset to be.
    pub end: u64,
}

/// Where a site stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The site.
    pub site: SiteId,
    /// Its data directory.
    pub storage: StorageId,
    /// The journal it writes, if it may write one.
    pub journal: Option<JournalId>,
    /// Why its own journal takes nothing more, if it does not.
    pub halted: Option<String>,
    /// Why it takes no writes at the moment, if it does not.
    pub not_writing: Option<String>,
    /// Whether it went on without having heard all others.
    pub unconfirmed: bool,
    /// Whether its journal parted and waits for an opening.
    pub waits_for_opening: bool,
    /// Every journal held here.
    pub journals: BTreeMap<JournalId, JournalStatus>,
    /// The latest comings, goings and ends of journals, in the merged order.
    pub turns: Vec<Turn>,
    /// Journals of which nothing more is taken.
    pub quarantined: Vec<JournalId>,
    /// What each site is known to hold.
    pub frontiers: BTreeMap<SiteId, BTreeMap<JournalId, Seq>>,
    /// How often the members have changed, the founders' time being 1.
    pub epoch: MemberEpoch,
    /// Who they are.
    pub members: Vec<SiteId>,
    /// The witness, if there is one.
    pub witness: Option<WitnessStatus>,
    /// Who was given up, and whether that still stands: they may have been added again.
    pub given_up: Vec<(GivenUp, bool)>,
    /// Members heard from lately, and this site.
    pub alive: Vec<SiteId>,
    /// The stamp below which nothing new can appear.
    pub stable_point: Stamp,
    /// Entries released in all.
    pub released: u64,
    /// Entries held and not released.
    pub unreleased: usize,
    /// Who holds the order back.
    pub blocker: Option<Blocker>,
    /// What the merge passed over.
    pub counts: Counts,
    /// What only this site has, of topics that bound it.
    pub unreplicated: BTreeMap<TopicId, UnreplicatedStatus>,
    /// What the WAL holds, and for whom.
    pub wal: WalStatus,
    /// What looking at files came to.
    pub repairs: RepairCounts,
    /// How far a copy has come, if one is being taken over.
    pub copy: Option<CopyStatus>,
    /// Alarms that stand.
    pub alarms: Vec<String>,
}

/// The witness, as seen here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessStatus {
    /// Which site.
    pub site: SiteId,
    /// Why it could not vote now, if it could not.
    pub lacks: Option<String>,
}

/// Where one journal stands here.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct JournalStatus {
    /// The next seq not durable here.
    pub held: Seq,
    /// The next seq not released.
    pub released: Seq,
    /// The latest promise known.
    pub promise: Stamp,
    /// The highest seq any site is known to hold, plus one.
    pub known: Seq,
    /// What is known elsewhere and not held here, in bytes: an estimate from the size of the latest entries, `None`
    /// while none has been seen.
    pub lag_bytes: Option<u64>,
    /// Where it ends, if its site was fenced.
    pub fenced_at: Option<Seq>,
}

impl Site {
    /// Who this site is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The topics that clients see here, deleted ones left out.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.admission.live()
    }

    /// A topic by its id, as clients see it here.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.admission.topic(id).filter(|topic| !topic.deleted)
    }

    /// Whether a topic's deletion has its place in the order already: its logs are gone or about to go.
    #[must_use]
    pub fn was_deleted(&self, id: TopicId) -> bool {
        self.merge.is_gone(id)
    }

    /// The offsets between which a log can be read here.
    #[must_use]
    pub fn extent(&self, topic: TopicId, partition: PartitionId, reading: Reading) -> Extent {
        let logs = &self.logs;
        match reading {
            Reading::Merged => {
                Extent { start: logs.merged_start(topic, partition), end: logs.merged_end(topic, partition) }
            }
            Reading::Origin(site) => Extent {
                start: logs.origin_start(topic, partition, self.latest_shown(site)),
                end: logs.origin_end(topic, partition, self.latest_shown(site)),
            },
        }
    }

    /// Whether there may be records elsewhere that are not readable here yet: a reader above a log's end is then early,
    /// not wrong, as after a failover from a site that was ahead.
    #[must_use]
    pub fn expects_more(&self, mono_us: u64) -> bool {
        let alive = self.alive(mono_us);
        // A site that has just died may have shown more than it had sent, before its link is known to be down.
        let in_touch = |site: SiteId| self.peers.is_greeted(site) && alive.contains(&site);
        self.merge.unreleased() > 0
            || self.state.lives.hides()
            || !self.others().all(in_touch)
            || self.peers.journals().into_iter().any(|journal| {
                let held = self.journals.durable(journal);
                self.others().any(|site| self.peers.holds(site, journal) > held)
            })
    }

    /// What to read, and from which files, to serve a reader at `offset`.
    ///
    /// # Errors
    /// [`OffsetError`] if the offset is outside the log, or an index does not read.
    pub fn plan(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId, Reading),
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        let (topic, partition, reading) = at;
        match reading {
            Reading::Merged => self.logs.plan_merged(disk, (topic, partition), offset, bytes_max),
            Reading::Origin(site) => {
                self.logs.plan_origin(disk, (topic, partition), self.latest_shown(site), offset, bytes_max)
            }
        }
    }

    /// As [`Site::plan`] of an origin log, with the lives in it that are not shown yet: what the merged log shows stands there.
    ///
    /// # Errors
    /// [`OffsetError`] if the log has no such offset, or an index does not read.
    pub fn plan_unshown(
        &self,
        disk: &dyn Disk,
        (topic, partition, origin): (TopicId, PartitionId, SiteId),
        offset: u64,
        bytes_max: usize,
    ) -> Result<Plan, OffsetError> {
        self.logs.plan_origin(disk, (topic, partition), beyond_all(origin), offset, bytes_max)
    }

    /// The first batch with a timestamp of at least `timestamp_ms`; with `None`, the first with the highest of all.
    ///
    /// # Errors
    /// [`LogsError`] if an index does not read.
    pub fn offset_at(
        &self,
        disk: &dyn Disk,
        at: (TopicId, PartitionId, Reading),
        timestamp_ms: Option<i64>,
    ) -> Result<Option<TimeHit>, LogsError> {
        let (topic, partition, reading) = at;
        let log = (topic, partition);
        match (reading, timestamp_ms) {
            (Reading::Merged, Some(time)) => self.logs.merged_by_time(disk, log, time),
            (Reading::Merged, None) => self.logs.merged_newest(disk, log),
            (Reading::Origin(site), Some(time)) => {
                self.logs.origin_by_time(disk, log, self.latest_shown(site), time)
            }
            (Reading::Origin(site), None) => self.logs.origin_newest(disk, log, self.latest_shown(site)),
        }
    }

    /// The digest of a merged log up to (not including) `end`: equal digests, equal logs.
    ///
    /// # Errors
    /// [`LogsError`] if an index does not read.
    pub fn digest(
        &self,
        disk: &dyn Disk,
        topic: TopicId,
        partition: PartitionId,
        end: u64,
    ) -> Result<[u8; 16], LogsError> {
        self.logs.digest(disk, (topic, partition), end)
    }

    /// Which generation of a compacted log is in place, and its digest: equal wherever that generation is.
    #[must_use]
    pub fn generation(&self, topic: TopicId, partition: PartitionId) -> (u64, [u8; 16]) {
        self.logs.generation(topic, partition)
    }

    /// A group's position.
    #[must_use]
    pub fn position(&self, group: &str, topic: TopicId, partition: PartitionId) -> Option<&Position> {
        self.positions.position(group, topic, partition)
    }

    /// All positions of a group.
    pub fn positions_of(&self, group: &str) -> impl Iterator<Item = (&(TopicId, PartitionId), &Position)> {
        self.positions.of_group(group)
    }

    /// The groups that ever committed.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.positions.groups()
    }

    /// Whether clients may write here.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.may_take().is_ok()
    }

    /// Why clients may not write here, if they may not.
    #[must_use]
    pub fn not_writing(&self) -> Option<String> {
        self.may_take().err().map(|refusal| refusal.to_string())
    }

    /// Why this site does not do what it is there for, if it does not: take writes, or vote as the witness.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        match self.is_witness() {
            true => self.witness_status().and_then(|witness| witness.lacks),
            false => self.not_writing(),
        }
    }

    /// What is durable here, per journal.
    #[must_use]
    pub fn frontier(&self) -> BTreeMap<JournalId, Seq> {
        self.journals.frontier()
    }

    /// How many entries were released in all.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.merge.order.position()
    }

    /// How many entries have taken effect in all: what is released, but for what is being noted.
    #[must_use]
    pub fn in_effect(&self) -> u64 {
        self.merge.in_effect()
    }

    /// Where this site stands.
    #[must_use]
    pub fn status(&self, mono_us: u64) -> Status {
        let frontiers = self.peers.frontiers.iter().map(|(site, (_, held))| (*site, held.clone()));
        Status {
            site: self.config.own,
            storage: self.identity.storage,
            journal: self.identity.journal(),
            halted: self.state.halted.clone(),
            not_writing: self.not_writing(),
            unconfirmed: self.state.start.unconfirmed,
            waits_for_opening: self.state.start.waits_for_opening(),
            journals: self.known_journals().map(|id| (id, self.journal_status(id))).collect(),
            turns: self.merge.order.turns().copied().collect(),
            quarantined: self.journals.quarantined().collect(),
            frontiers: frontiers.chain([(self.config.own, self.journals.frontier())]).collect(),
            epoch: self.epoch(),
            members: self.members().iter().copied().collect(),
            witness: self.witness_status(),
            given_up: self.given_up(),
            alive: self.alive(mono_us),
            stable_point: self.merge.order.stable_point(),
            released: self.merge.order.position(),
            unreleased: self.merge.unreleased(),
            blocker: self.merge.order.blocker(),
            counts: self.merge.counts,
            unreplicated: self.unreplicated(),
            wal: self.wal_status(),
            copy: self.copy_status(),
            repairs: self.repair_counts(),
            alarms: self.state.alarms.iter().cloned().collect(),
        }
    }

    /// Whom operators have given up, and whether that still stands.
    #[must_use]
    pub fn given_up(&self) -> Vec<(GivenUp, bool)> {
        let records = self.state.seals.given_up.values();
        records.map(|record| (record.clone(), self.merge.order.is_given_up(record.site))).collect()
    }

    /// The journals that take part in the merged order, and whether each has ended, as far as is known here.
    pub fn taking_part(&self) -> impl Iterator<Item = (JournalId, bool)> {
        self.merge.order.open().map(|journal| (journal, self.state.seals.cut(journal).is_some()))
    }

    /// What is held here, and what takes part or has ended without a word.
    pub(crate) fn known_journals(&self) -> impl Iterator<Item = JournalId> {
        let held = self.journals.frontier().into_keys();
        held.chain(self.merge.order.open()).chain(self.state.seals.cuts().into_keys())
    }

    fn journal_status(&self, journal: JournalId) -> JournalStatus {
        let held = self.journals.durable(journal);
        let known = self.others().map(|site| self.peers.holds(site, journal)).max().unwrap_or(0).max(held);
        JournalStatus {
            held,
            released: self.merge.order.next_unreleased(journal),
            promise: self.peers.promises.get(&journal).map_or(Stamp::ZERO, |(w, _)| *w),
            known,
            lag_bytes: match known - held {
                0 => Some(0),
                entries => self.journals.mean_bytes(journal).map(|bytes| entries.saturating_mul(bytes)),
            },
            fenced_at: self.state.seals.cut(journal).map(|cut| cut.next),
        }
    }
}
