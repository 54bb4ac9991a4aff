//! How long the WAL is kept.
//!
//! A segment goes once no recovery here needs it and every other member holds its entries. One silent member must not
//! fill the disk: above a bound the WAL goes on without it, as long as a quorum holds what is dropped. Such a site takes
//! over a copy when it is back. It is said whom the WAL waits for, and loudly when it waits no longer.

use entry::{JournalId, Seq, SiteId};
use journal::WalPosition;
use serde::Serialize;

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
}

impl Site {
    /// Drops what nobody needs any more before `position`.
    pub(crate) fn drop_wal(&mut self, position: WalPosition, step: &mut Step<'_>) -> Result<(), Fatal> {
        let (most, quorum) = (self.config.limits.wal_bytes_max, self.config.quorum());
        let config = &self.config;
        let holders = |journal: JournalId, last: Seq| {
            config.others().filter(|site| self.peers.holds(*site, journal) > last).count() + 1
        };
        let may_drop = |journal: JournalId, last: Seq, bytes: u64| {
            let holders = holders(journal, last);
            holders == config.members.len() || (bytes > most && holders >= quorum)
        };
        let too_large = self.pipeline.wal.segment_bytes() > most;
        let lagging = self.kept_for();
        let dropped = self.pipeline.wal.drop_before(step.disk, position, &may_drop)?;
        self.warn_of(too_large && !dropped.is_empty(), &lagging, step);
        Ok(())
    }

    fn warn_of(&mut self, forced: bool, lagging: &[SiteId], step: &mut Step<'_>) {
        self.state.alarms.retain(|text| !text.starts_with(GOES_ON));
        if !forced || lagging.is_empty() {
            return;
        }
        let names: Vec<_> = lagging.iter().map(|site| self.config.name_of(*site)).collect();
        let most = self.config.limits.wal_bytes_max;
        let text = format!("{GOES_ON} {}: it has grown over {most} bytes; they will copy", names.join(", "));
        self.alarm(text, step);
    }

    /// Members that lack something of the oldest segment.
    fn kept_for(&self) -> Vec<SiteId> {
        let oldest: Vec<_> = self.pipeline.wal.oldest_entries().collect();
        let lacks =
            |site: &SiteId| oldest.iter().any(|(journal, last)| self.peers.holds(*site, *journal) <= *last);
        self.config.others().filter(lacks).collect()
    }

    /// What the WAL holds, and for whom.
    #[must_use]
    pub fn wal_status(&self) -> WalStatus {
        WalStatus {
            bytes: self.pipeline.wal.bytes_on_disk(),
            bytes_max: self.config.limits.wal_bytes_max,
            kept_for: self.kept_for(),
        }
    }
}

/// How the alarm begins that says that the WAL waits for somebody no longer.
const GOES_ON: &str = "the WAL goes on without";
