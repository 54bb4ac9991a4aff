//! Machines come and go: founding, starting on what the disk holds, and what a start must find there.

use std::collections::BTreeMap;

use disk::Disk;
use entry::{ClusterId, SiteId, StorageId};
use site::wire::PROTOCOL;
use site::{Entropy, Event, Fresh, Limits, Member, RecoverError, Site, SiteConfig};
use uuid::Uuid;

use crate::checkers::{Verdict, broken, ensure};
use crate::clock::SimClock;
use crate::disk::{POWER_GONE, SimDisk, Strays};
use crate::host::{Host, Low, Process};
use crate::mutant::Mutant;
use crate::notary::SimNotary;
use crate::rng::Rng;
use crate::swarm::Kind;
use crate::world::{What, World};

impl World {
    /// A machine with an empty disk, whose site knows all others that may ever be members.
    pub(crate) fn machine(&mut self, own: SiteId) -> Host {
        let swarm = &self.swarm;
        let known = (1..=self.known()).map(SiteId);
        let usual = Limits::default();
        let config = SiteConfig {
            cluster: ClusterId(Uuid::from_u128(0x51)),
            own,
            members: known.map(|site| Member { site, name: format!("site-{site}") }).collect(),
            witness: self.options.witness(),
            homes: BTreeMap::new(),
            protocol: if swarm.upgrades { PROTOCOL - 1 } else { PROTOCOL },
            clock_bound_ms: 500,
            start_wait_ms: swarm.start_wait_ms,
            alive_ms: 2_000,
            fence_timeout_ms: swarm.fence_timeout_ms,
            limits: Limits {
                waiting_bytes_max: swarm.bounds.map_or(64 << 10, |bounds| bounds.waiting_bytes_max),
                waiting_appends_max: if swarm.bounds.is_some() { 5 } else { 20 },
                unreleased_max: swarm.bounds.map_or(usual.unreleased_max, |bounds| bounds.unreleased_max),
                peer_window_bytes: swarm.window_bytes,
                message_bytes: swarm.window_bytes.min(4 << 10),
                checkpoint_bytes: swarm.checkpoint_bytes,
                wal_segment_bytes: swarm.segment_bytes,
                look_bytes_per_second: if swarm.kinds.contains(&Kind::Scratch) { 1 << 20 } else { 0 },
                wal_bytes_max: swarm.wal_bytes_max,
                period_ms: swarm.period_ms(usual.period_ms),
                hot_bytes: 8 << 10,
                ..usual
            },
        };
        Host {
            config,
            disk: SimDisk::default(),
            clock: SimClock { offset_ms: 0, drift_ppm: 0, began_us: 0 },
            storage: StorageId(0),
            life: 0,
            process: None,
            image: None,
            flight: None,
            set_back_ms: 0,
            jumped: false,
            put_back: false,
            disk_is_new: false,
            took_over: false,
            disk_us: swarm.disk_us,
            troubled_us: 0,
            is_buried: false,
            is_off: false,
            sync_failed: false,
            forges_us: 0..0,
            low: None,
        }
    }

    /// Founds one site's data directory.
    pub(crate) fn found(&mut self, own: SiteId, founders: &[SiteId], rng: &mut Rng) {
        let mut host = self.machine(own);
        host.storage = StorageId(rng.wide());
        let fresh = Fresh { storage: host.storage, wal_nonce: rng.wide() };
        let mut config = host.config.clone();
        config.members.retain(|member| founders.contains(&member.site));
        Site::bootstrap(&config, fresh, &mut host.disk).expect("an empty disk takes an identity");
        let offset = self.swarm.offset_ms;
        host.clock = SimClock {
            offset_ms: rng.below(2 * offset.unsigned_abs()) as i64 - offset,
            drift_ppm: rng.below(400) as i64 - 200,
            began_us: 0,
        };
        self.hosts.insert(own, host);
    }

    /// The witness begins on an empty disk; the founders tell it the rest.
    pub(crate) fn found_witness(&mut self, own: SiteId, rng: &mut Rng) {
        let mut host = self.machine(own);
        host.storage = StorageId(rng.wide());
        let fresh = Fresh { storage: host.storage, wal_nonce: rng.wide() };
        Site::join(&host.config, fresh, &mut host.disk).expect("an empty disk takes an identity");
        self.hosts.insert(own, host);
        self.at(0, What::Restart(own));
    }

    /// A process starts on what the disk holds.
    pub(crate) fn restart(&mut self, site: SiteId) -> Verdict {
        self.mutate_disk(site);
        if self.swarm.kinds.contains(&Kind::Wipe)
            && !self.calm
            && self.now_us > 0
            && self.dice.faults.chance(300)
        {
            self.lose_disk(site);
        }
        let now_us = self.now_us;
        let entropy = Entropy { actor: self.dice.shell.wide().to_be_bytes() };
        let lies = self.options.mutant == Some(Mutant::SyncLies);
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        if host.process.is_some() || host.is_buried || host.is_off {
            return Ok(());
        }
        host.clock.began_us = now_us;
        host.jumped = false;
        host.troubled_us = host.troubled_us.max(now_us);
        host.sync_failed = false;
        host.disk.strays = strays(self.options.mutant);
        host.disk.lies = false;
        let opened = open(&self.options, host, entropy, now_us);
        host.disk.lies = lies;
        let excused = opened.as_ref().err().is_some_and(|error| self.begins_again(site, error));
        ensure(opened.is_ok() || excused, "I-05", || {
            let error = opened.as_ref().err().map(ToString::to_string);
            format!("site {site} does not recover: {}", error.unwrap_or_default())
        })?;
        let (Ok((opened, recovery)), Some(host)) = (opened, self.hosts.get_mut(&site)) else { return Ok(()) };
        self.trace.line(now_us, Some(site), || {
            format!(
                "starts: {} records, truncated {}, holds {:?}, released {}",
                recovery.records,
                recovery.truncated.is_some(),
                opened.frontier().values().collect::<Vec<_>>(),
                opened.released()
            )
        });
        host.process = Some(Process::new(opened, host.config.protocol));
        if self.checkers.is_apart(site) == Some(true) {
            self.checkers.runs_apart(site);
        }
        host.disk.dies_after = None;
        let is_low = host.low.as_mut().map(Low::begins_anew).is_some();
        self.adopt(site)?;
        if is_low {
            self.feed(site, Event::DiskLow(true))?;
        }
        let others: Vec<SiteId> = self.alive().into_iter().filter(|other| *other != site).collect();
        for other in others {
            self.want_link(site, other);
        }
        self.feed(site, Event::Tick)
    }

    /// What a recovery found and nobody was told of counts from now on, if it really is there.
    fn adopt(&mut self, site: SiteId) -> Verdict {
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let by = host.actor();
        let flight = host.flight.take();
        let Some(process) = &host.process else { return Ok(()) };
        let found = process.site.frontier();
        if std::mem::take(&mut host.put_back) {
            self.checkers.put_back(site, found.clone());
        }
        let took_over = std::mem::take(&mut host.took_over);
        if took_over {
            self.checkers.took_over(site, &found)?;
        }
        if let Some(flight) = flight {
            let entries = flight.records.iter().filter_map(crate::checkers::truth::entry);
            let is_found = |entry: &entry::Encoded| {
                found.get(&entry.head.journal).is_some_and(|next| *next > entry.head.seq)
            };
            // Of notes alone nothing shows from outside whether they were found: what is durable was.
            let durable = |host: &Host| host.is_durable(&flight);
            let only_notes = entries.clone().count() == 0;
            let found = if only_notes {
                self.hosts.get(&site).is_some_and(durable)
            } else {
                entries.clone().all(is_found)
            };
            let on_platter = self.hosts.get(&site).is_some_and(durable);
            if found && on_platter {
                self.checkers.durable(by, &flight.records)?;
                self.checkers.ended(site);
            } else if found && !took_over {
                // But for what came with a copy, whatever became of the commit.
                return broken("I-02", format!("site {site} shows a commit that is not on its platter"));
            }
        }
        let Some(host) = self.hosts.get(&site) else { return Ok(()) };
        let Some(process) = &host.process else { return Ok(()) };
        for (journal, next) in process.site.frontier() {
            let held = self.checkers.truth.held(site, journal);
            if next > held {
                return broken(
                    "I-14",
                    format!("site {site} recovers {journal} up to {next}, but has {held} on its platter"),
                );
            }
        }
        self.checkers.opened(by, &process.site, &host.disk)
    }

    /// A start has failed. Says whether another one will do: it was an older version, or the disk failed under it.
    fn begins_again(&mut self, site: SiteId, error: &RecoverError) -> bool {
        let text = error.to_string();
        self.trace.line(self.now_us, Some(site), || format!("does not start: {text}"));
        if let Some(host) = self.hosts.get_mut(&site)
            && matches!(error, RecoverError::Newer { .. })
            && std::mem::replace(&mut host.config.protocol, PROTOCOL) < PROTOCOL
        {
            // The version before does not read what the next one has written: back to that.
            self.at(400_000, What::Restart(site));
            return true;
        }
        if text.contains(POWER_GONE) {
            // It dies in the middle of its recovery, and begins again with what is left.
            if let Some(host) = self.hosts.get_mut(&site) {
                host.disk.dies_after = None;
                host.disk.cut_power(&mut self.dice.disk);
            }
            self.at(50_000, What::Restart(site));
            return true;
        }
        if text.contains("no space left") || text.contains("EIO") {
            self.at(400_000, What::Restart(site));
            return true;
        }
        false
    }

    /// Somebody starts a site on a copy of another one's data directory: it must refuse.
    pub(crate) fn try_clone(&mut self, site: SiteId, other: SiteId) -> Verdict {
        let Some(copy) = self.hosts.get(&other).map(|host| host.disk.clone()) else { return Ok(()) };
        let entropy = Entropy { actor: self.dice.shell.wide().to_be_bytes() };
        let (now_us, options) = (self.now_us, &self.options);
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let own = std::mem::replace(&mut host.disk, copy);
        host.disk.dies_after = None;
        let opened = open(options, host, entropy, now_us);
        host.disk = own;
        let refused = matches!(opened, Err(RecoverError::Identity(_)));
        ensure(refused, "I-10", || format!("site {site} starts on a copy of the data directory of {other}"))
    }

    /// Keeps an image of each disk now and then: for the mutant that puts one back.
    pub(crate) fn take_images(&mut self) {
        let wanted = self.swarm.kinds.contains(&Kind::Restore) && !self.calm;
        if wanted || self.options.mutant == Some(Mutant::DiskRolledBack) {
            for (site, host) in self.hosts.iter_mut().filter(|(_, host)| host.process.is_some()) {
                host.image = Some(host.disk.clone());
                self.checkers.imaged(*site);
            }
            self.at(2_000_000, What::Image);
        }
    }

    fn mutate_disk(&mut self, site: SiteId) {
        let Some(host) = self.hosts.get_mut(&site).filter(|host| host.process.is_none()) else { return };
        match self.options.mutant {
            Some(Mutant::DiskRolledBack) => {
                if let Some(image) = host.image.take() {
                    host.disk = image;
                    host.flight = None;
                }
            }
            Some(Mutant::CheckpointLost) => {
                let files = host.disk.list(&crate::host::folder("checkpoint")).unwrap_or_default();
                for file in files {
                    let _ = host.disk.remove(&file);
                }
            }
            Some(Mutant::WalTruncated) => wipe_commits(&mut host.disk, 1),
            Some(Mutant::WalCutInTheMiddle) => wipe_commits(&mut host.disk, 4),
            _ => {}
        }
    }
}

fn open(
    options: &crate::Options,
    host: &mut Host,
    entropy: Entropy,
    now_us: u64,
) -> Result<(Site, site::Recovery), RecoverError> {
    let (config, now) = (host.config.clone(), host.clock.now(now_us));
    let notary = SimNotary::of(config.own, host.life);
    match options.mutant.and_then(Mutant::inside) {
        Some(mutant) => Site::open_mutant(config, entropy, notary, now, &mut host.disk, mutant),
        None => Site::open(config, entropy, notary, now, &mut host.disk),
    }
}

fn strays(mutant: Option<Mutant>) -> Strays {
    match mutant {
        Some(Mutant::WriteLost) => Strays::Lost,
        Some(Mutant::WriteMisdirected) => Strays::Misdirected,
        _ => Strays::None,
    }
}

/// Wipes the last commits that read.
fn wipe_commits(disk: &mut SimDisk, count: usize) {
    let mut last = BTreeMap::new();
    for file in disk.list(&crate::host::folder("wal")).unwrap_or_default() {
        let len = disk.len(&file).ok().flatten().unwrap_or(0);
        for at in (0..len).step_by(journal::frame::BLOCK_BYTES) {
            let head = disk.read(&file, at, journal::frame::HEAD_BYTES).ok();
            if let Some(head) = head.and_then(|bytes| journal::frame::FrameHead::decode(&bytes).ok()) {
                last.insert(head.lsn, (file.clone(), usize::try_from(at).unwrap_or(0), head.total_bytes()));
            }
        }
    }
    for _ in 0..count {
        if let Some((_, (file, at, len))) = last.pop_last() {
            disk.damage(&file, |bytes| bytes[at..at + len].fill(0));
        }
    }
}
