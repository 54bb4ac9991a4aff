//! What goes wrong, carried out; and machines that come and go.

use std::collections::BTreeMap;

use disk::Disk;
use entry::{ClusterId, MemberEpoch, SiteId, StorageId};
use site::{Entropy, Event, Fresh, Limits, Member, RecoverError, Site, SiteConfig};
use uuid::Uuid;

use crate::checkers::{Verdict, broken};
use crate::clock::SimClock;
use crate::disk::SimDisk;
use crate::host::{Host, Process, RESERVE_BYTES};
use crate::mutant::Mutant;
use crate::rng::Rng;
use crate::swarm::Kind;
use crate::world::{What, World};

impl World {
    /// Founds one site's data directory.
    pub(crate) fn found(&mut self, own: SiteId, sites: &[SiteId], rng: &mut Rng) {
        let swarm = &self.swarm;
        let config = SiteConfig {
            cluster: ClusterId(Uuid::from_u128(0x51)),
            own,
            members: sites.iter().map(|site| Member { site: *site, name: format!("site-{site}") }).collect(),
            epoch: MemberEpoch(1),
            shared_digest: [7; 32],
            clock_bound_ms: 500,
            start_wait_ms: swarm.start_wait_ms,
            alive_ms: 2_000,
            limits: Limits {
                waiting_bytes_max: 64 << 10,
                waiting_appends_max: 20,
                peer_window_bytes: swarm.window_bytes,
                message_bytes: swarm.window_bytes.min(4 << 10),
                checkpoint_bytes: swarm.checkpoint_bytes,
                wal_segment_bytes: swarm.segment_bytes,
                hot_bytes: 8 << 10,
                ..Limits::default()
            },
        };
        let storage = StorageId(rng.wide());
        let mut disk = SimDisk::default();
        let fresh = Fresh { storage, wal_nonce: rng.wide() };
        Site::bootstrap(&config, fresh, &mut disk).expect("an empty disk takes an identity");
        let offset = self.swarm.offset_ms;
        let clock = SimClock {
            offset_ms: rng.below(2 * offset.unsigned_abs()) as i64 - offset,
            drift_ppm: rng.below(400) as i64 - 200,
            began_us: 0,
        };
        let disk_us = self.swarm.disk_us;
        let host = Host {
            config,
            disk,
            clock,
            storage,
            life: 0,
            process: None,
            image: None,
            flight: None,
            jumped: false,
            put_back: false,
            disk_us,
        };
        self.hosts.insert(own, host);
    }

    /// The next fault.
    pub(crate) fn fault(&mut self) -> Verdict {
        if self.calm || self.swarm.kinds.is_empty() {
            return Ok(());
        }
        let in_us = self.dice.faults.between(self.swarm.every_us / 10, self.swarm.every_us);
        self.at(in_us, What::Fault);
        let kind = *self.dice.faults.pick(&self.swarm.kinds);
        let sites: Vec<SiteId> = self.hosts.keys().copied().collect();
        let site = *self.dice.faults.pick(&sites);
        let other = *self.dice.faults.pick(&sites);
        let long_us = *self.dice.faults.pick(&[100_000, 1_000_000, 5_000_000]);
        let for_us = self.dice.faults.between(10_000, long_us);
        self.trace.line(
            self.now_us,
            Some(site),
            &format!("FAULT {kind:?} (other {other}, {} ms)", for_us / 1000),
        );
        match kind {
            Kind::Kill => self.kill(site, "killed")?,
            Kind::KillBetween => {
                let after = usize::try_from(self.dice.faults.below(4)).unwrap_or(0);
                if let Some(process) = self.hosts.get_mut(&site).and_then(|host| host.process.as_mut()) {
                    process.dies_after = Some(after);
                }
            }
            Kind::Power => self.cut_power(site)?,
            Kind::PowerAll => sites.iter().try_for_each(|site| self.cut_power(*site))?,
            Kind::Pause => self.pause(site, for_us),
            Kind::Isolate => {
                let others = sites.iter().filter(|other| **other != site);
                let both = others.flat_map(|other| [(site, *other), (*other, site)]).collect();
                self.block(both, for_us);
            }
            Kind::Block if site != other => self.block(vec![(site, other)], for_us),
            Kind::Cut => {
                if let Some(generation) = self.net.current(site, other) {
                    self.give_up(site, other, generation);
                }
            }
            Kind::Jump => {
                let far = *self.dice.faults.pick(&[50, 400, 3_000]);
                let jump = self.dice.faults.below(2 * far) as i64 - far as i64;
                if let Some(host) = self.hosts.get_mut(&site) {
                    host.clock.offset_ms += jump;
                    host.jumped |= jump > 300;
                }
            }
            Kind::Full => {
                let room = self.dice.faults.below(30_000);
                if let Some(host) = self.hosts.get_mut(&site) {
                    host.disk.capacity_bytes = host.disk.used_bytes() + RESERVE_BYTES + room;
                }
                self.at(for_us, What::Repair(site));
            }
            Kind::SyncFails => {
                if let Some(host) = self.hosts.get_mut(&site) {
                    host.disk.failing_syncs = 1;
                }
            }
            Kind::Stop => self.feed(site, Event::Stop)?,
            Kind::Slow => {
                if let Some(host) = self.hosts.get_mut(&site) {
                    host.disk_us = 100_000;
                }
                self.at(for_us, What::Repair(site));
            }
            Kind::Restore => self.put_back(site)?,
            Kind::Block => {}
        }
        Ok(())
    }

    fn pause(&mut self, site: SiteId, for_us: u64) {
        let until_us = self.now_us + for_us;
        let Some(host) = self.hosts.get_mut(&site) else { return };
        let life = host.life;
        if let Some(process) = &mut host.process {
            process.paused_until_us = until_us;
            process.inbox.push(Event::Tick);
            self.at(for_us, What::Inbox(site, life));
        }
    }

    fn block(&mut self, directions: Vec<(SiteId, SiteId)>, for_us: u64) {
        for (from, to) in &directions {
            self.net.block(*from, *to);
            // An idle connection is given up after a while.
            if let Some(generation) = self.net.current(*from, *to) {
                self.at(700_000, What::GiveUp(*from, *to, generation));
            }
        }
        // What is healed sooner than that keeps its connection: `GiveUp` looks again.
        self.at(for_us, What::Heal(directions));
    }

    /// Directions heal; what waited goes on.
    pub(crate) fn heal(&mut self, directions: &[(SiteId, SiteId)]) {
        for (from, to) in directions {
            for (in_us, stream) in self.net.heal(*from, *to) {
                self.at(in_us, What::Stream(stream));
            }
        }
    }

    /// A machine gets room on its disk again, and its speed.
    pub(crate) fn repair(&mut self, site: SiteId) {
        let disk_us = self.swarm.disk_us;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk.capacity_bytes = u64::MAX;
            host.disk_us = disk_us;
        }
    }

    /// The process of a site is gone; what it wrote is in the page cache.
    pub(crate) fn kill(&mut self, site: SiteId, why: &str) -> Verdict {
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        if host.process.take().is_none() {
            return Ok(());
        }
        let life = host.life;
        host.life += 1;
        self.trace.line(self.now_us, Some(site), why);
        self.checkers.ended(site);
        self.tickets.retain(|_, ticketed| ticketed.at != Some((site, life)));
        let others: Vec<SiteId> = self.hosts.keys().copied().filter(|other| *other != site).collect();
        for other in others {
            if let Some(generation) = self.net.current(site, other) {
                self.give_up(site, other, generation);
            }
        }
        let longest_us = *self.dice.faults.pick(&[50_000, 500_000, 4_000_000]);
        let in_us = self.dice.faults.between(10_000, longest_us);
        self.at(in_us, What::Restart(site));
        Ok(())
    }

    /// A backup is put back, if all others run and hold what it lacks.
    fn put_back(&mut self, site: SiteId) -> Verdict {
        let all_write =
            self.hosts.values().all(|host| host.process.as_ref().is_some_and(|it| it.site.is_writing()));
        let Some(host) = self.hosts.get(&site).filter(|_| all_write) else { return Ok(()) };
        let Some(journal) = host.actor().journal.filter(|_| host.flight.is_none()) else { return Ok(()) };
        let (others, truth) = (self.hosts.keys().filter(|other| **other != site), &self.checkers.truth);
        let held = truth.held(site, journal);
        let Some(image) = host.image.clone() else { return Ok(()) };
        if others.into_iter().any(|other| truth.held(*other, journal) < held) {
            return Ok(());
        }
        self.kill(site, "its data directory is put back")?;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk = image;
            host.put_back = true;
        }
        Ok(())
    }

    fn cut_power(&mut self, site: SiteId) -> Verdict {
        self.kill(site, "power cut")?;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk.cut_power(&mut self.dice.disk);
        }
        Ok(())
    }

    /// A process starts on what the disk holds.
    pub(crate) fn restart(&mut self, site: SiteId) -> Verdict {
        self.mutate_disk(site);
        let now_us = self.now_us;
        let entropy = Entropy { actor: self.dice.shell.wide().to_be_bytes() };
        let lies = self.options.mutant == Some(Mutant::SyncLies);
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        if host.process.is_some() {
            return Ok(());
        }
        host.clock.began_us = now_us;
        host.jumped = false;
        host.disk.lies = false;
        let opened = open(&self.options, host, entropy, now_us);
        host.disk.lies = lies;
        let (opened, recovery) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.not_recovered(site, &error),
        };
        let line = format!(
            "starts: {} records, truncated {}, holds {:?}, released {}",
            recovery.records,
            recovery.truncated.is_some(),
            opened.frontier().values().collect::<Vec<_>>(),
            opened.released()
        );
        host.process = Some(Process::new(opened));
        self.trace.line(now_us, Some(site), &line);
        self.adopt(site)?;
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
        if let Some(flight) = flight {
            let entries = flight.records.iter().filter_map(crate::checkers::truth::entry);
            let is_found = |entry: &entry::Encoded| {
                found.get(&entry.head.journal).is_some_and(|next| *next > entry.head.seq)
            };
            if entries.clone().count() > 0 && entries.clone().all(is_found) {
                if !self.hosts.get(&site).is_some_and(|host| host.is_durable(&flight)) {
                    return broken("I-02", format!("site {site} shows a commit that is not on its platter"));
                }
                self.checkers.durable(by, &flight.records)?;
                self.checkers.ended(site);
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

    fn not_recovered(&mut self, site: SiteId, error: &RecoverError) -> Verdict {
        let text = error.to_string();
        self.trace.line(self.now_us, Some(site), &format!("does not start: {text}"));
        if text.contains("no space left") || text.contains("EIO") {
            self.at(400_000, What::Restart(site));
            return Ok(());
        }
        broken("I-05", format!("site {site} does not recover: {text}"))
    }

    /// Keeps an image of each disk now and then: for the mutant that puts one back.
    pub(crate) fn take_images(&mut self) {
        let wanted = self.swarm.kinds.contains(&Kind::Restore) && !self.calm;
        if wanted || self.options.mutant == Some(Mutant::DiskRolledBack) {
            for host in self.hosts.values_mut().filter(|host| host.process.is_some()) {
                host.image = Some(host.disk.clone());
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
            Some(Mutant::WalTruncated) => wipe_last_commit(&mut host.disk),
            _ => {}
        }
    }

    /// Faults end: everything is repaired and runs.
    ///
    /// A clock that is set right by more than the bound is not believed by a running process, so an operator starts
    /// that one anew.
    pub(crate) fn calm_down(&mut self) -> Verdict {
        self.calm = true;
        self.trace.line(self.now_us, None, "faults end");
        self.net.calm();
        let blocked = self.net.blocked();
        self.heal(&blocked);
        let sites: Vec<SiteId> = self.hosts.keys().copied().collect();
        for site in sites {
            self.repair(site);
            let Some(host) = self.hosts.get_mut(&site) else { continue };
            host.disk.failing_syncs = 0;
            let right_ms = host.clock.offset_ms.clamp(-50, 50);
            let is_step = right_ms.abs_diff(host.clock.offset_ms) > 300 || host.jumped;
            host.clock.offset_ms = right_ms;
            host.clock.drift_ppm = 0;
            host.jumped = false;
            if is_step {
                self.kill(site, "its clock was set right")?;
                continue;
            }
            let life = host.life;
            if let Some(process) = &mut host.process {
                process.dies_after = None;
                process.paused_until_us = 0;
                self.at(0, What::Inbox(site, life));
            }
        }
        Ok(())
    }
}

fn open(
    options: &crate::Options,
    host: &mut Host,
    entropy: Entropy,
    now_us: u64,
) -> Result<(Site, site::Recovery), RecoverError> {
    let (config, now) = (host.config.clone(), host.clock.now(now_us));
    match options.mutant.and_then(Mutant::inside) {
        Some(mutant) => Site::open_mutant(config, entropy, now, &mut host.disk, mutant),
        None => Site::open(config, entropy, now, &mut host.disk),
    }
}

/// Wipes the last commit that reads from the last WAL file that has one.
fn wipe_last_commit(disk: &mut SimDisk) {
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
    if let Some((_, (file, at, len))) = last.pop_last() {
        disk.damage(&file, |bytes| bytes[at..at + len].fill(0));
    }
}
