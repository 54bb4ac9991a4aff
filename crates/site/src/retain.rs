//! How long the WAL is kept.
//!
//! A segment goes once no recovery here needs it and every other member holds its entries. One silent member must not
//! fill the disk: above a bound the WAL goes on without it, as long as a quorum holds what is dropped and it is released
//! here. Were it not released, two sites could each have dropped what the other lacks, and neither could take over a copy of
//! the other; of two that have released what they dropped, the one that has come further lacks nothing of the other's. A
//! fenced one is waited for only up to half of that: nobody expects it soon, but one that is back within the hour should
//! not have to copy. Who is not waited for takes over a copy when it is back. It is said whom the WAL waits for, and
//! loudly whom it waits for no longer.

use entry::{JournalId, Seq, SiteId};
use journal::WalPosition;
use serde::Serialize;

use crate::mutant::Mutant;
use crate::site::{Fatal, Site, Step};

/// What the WAL holds, and for whom.
#[derive(Debug, Clone, Serialize)]
pub struct WalStatus {
    /// Bytes of it on the disk, spare files included.
    pub bytes: u64,
    /// How large it may grow for the sake of others.
    pub bytes_max: u64,
    /// Members that lack something of what is kept longest.
    pub kept_for: Vec<SiteId>,
    /// Members that lack something that is not kept any more: they have to copy it.
    pub left_behind: Vec<SiteId>,
}

/// For a fenced site the WAL grows to this part of its bound.
const FENCED_SHARE: u64 = 2;
/// How often it is looked at who was left behind, in microseconds.
const LOOK_US: u64 = 1_000_000;

impl Site {
    /// Drops what nobody needs any more before `position`.
    pub(crate) fn drop_wal(&mut self, position: WalPosition, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.outrun_damage(position);
        // Until it is read, nobody knows who needs it.
        if !self.pipeline.wal.is_read() {
            return Ok(());
        }
        let (most, quorum) = (self.config.limits.wal_bytes_max, self.quorum());
        let others: Vec<(SiteId, bool)> = self.others().map(|site| (site, self.is_fenced(site))).collect();
        let (peers, own) = (&self.peers, usize::from(self.is_voter(self.config.own)));
        let (voters, order): (Vec<SiteId>, _) = (self.other_voters().collect(), &self.merge.order);
        let careless = self.state.switch.has(Mutant::DroppedWhileNeeded);
        let may_drop = |journal: JournalId, last: Seq, bytes: u64| {
            let mut lack = others.iter().filter(|(site, _)| peers.holds(*site, journal) <= last).peekable();
            let (is_lacked, all_fenced) = (lack.peek().is_some(), lack.all(|(_, fenced)| *fenced));
            let holders = voters.iter().filter(|site| peers.holds(**site, journal) > last);
            let enough = own + holders.count() >= quorum;
            let waited = bytes > most || (all_fenced && bytes > most / FENCED_SHARE);
            let released = order.next_unreleased(journal) > last;
            careless || !is_lacked || (waited && enough && released)
        };
        let dropped = self.pipeline.wal.drop_before(step.disk, position, &may_drop)?;
        self.state.alarms.retain(|text| !dropped.iter().any(|file| text.starts_with(file.as_str())));
        for (journal, next) in self.journals.frontier() {
            let first = self.pipeline.wal.first(journal).unwrap_or(next);
            self.state.heads.forget_before(journal, first);
        }
        Ok(())
    }

    /// Whether the latest journal that is known of a site has ended, and no other was begun.
    fn is_fenced(&self, site: SiteId) -> bool {
        let latest = self.known_journals().filter(|journal| journal.site == site).max();
        latest.is_some_and(|journal| self.state.seals.cut(journal).is_some())
    }

    /// Says who was left behind, as long as that is so.
    pub(crate) fn watch_left_behind(&mut self, step: &mut Step<'_>) {
        let looked_us = step.now.mono_us.saturating_sub(self.state.looked_behind_us);
        if looked_us < LOOK_US || !self.pipeline.wal.is_read() {
            return;
        }
        self.state.looked_behind_us = step.now.mono_us;
        let left_behind = self.left_behind();
        let names: Vec<_> = left_behind.iter().map(|site| self.config.name_of(*site)).collect();
        let text =
            (!names.is_empty()).then(|| format!("{GOES_ON} {}: it has to copy files", names.join(", ")));
        self.state.alarms.retain(|known| !known.starts_with(GOES_ON) || Some(known) == text.as_ref());
        if let Some(text) = text {
            self.alarm(text, step);
        }
    }

    /// Members that lack something of the oldest segment.
    fn kept_for(&self) -> Vec<SiteId> {
        let oldest: Vec<_> = self.pipeline.wal.oldest_entries().collect();
        let lacks =
            |site: &SiteId| oldest.iter().any(|(journal, last)| self.peers.holds(*site, *journal) <= *last);
        self.others().filter(lacks).collect()
    }

    /// Members of which a frontier is known and that lack something which is not here any more.
    fn left_behind(&self) -> Vec<SiteId> {
        if !self.pipeline.wal.is_read() {
            return Vec::new();
        }
        let journals = self.journals.frontier();
        let lacks = |site: &SiteId| {
            let kept = |journal, next| self.pipeline.wal.first(journal).unwrap_or(next);
            self.peers.frontiers.contains_key(site)
                && journals
                    .iter()
                    .any(|(journal, next)| self.peers.holds(*site, *journal) < kept(*journal, *next))
        };
        self.others().filter(lacks).collect()
    }

    /// What the WAL holds, and for whom.
    #[must_use]
    pub fn wal_status(&self) -> WalStatus {
        WalStatus {
            bytes: self.pipeline.wal.bytes_on_disk(),
            bytes_max: self.config.limits.wal_bytes_max,
            kept_for: self.kept_for(),
            left_behind: self.left_behind(),
        }
    }
}

/// How the alarm begins that says that the WAL waits for somebody no longer.
const GOES_ON: &str = "the WAL goes on without";
