//! What goes wrong, carried out, and how it ends.

use std::collections::BTreeSet;

use entry::{SiteId, StorageId};
use site::wire::PROTOCOL;
use site::{Event, Fresh, Request, Site, Ticket};

use crate::checkers::{Verdict, Violation};
use crate::disk::SimDisk;
use crate::host::{Host, RESERVE_BYTES};
use crate::rng::Rng;
use crate::swarm::Kind;
use crate::world::{What, World};

/// Whom a fault strikes, and for how long.
struct Where {
    site: SiteId,
    other: SiteId,
    sites: Vec<SiteId>,
    for_us: u64,
}

/// All directions.
fn pairs(sites: &[SiteId]) -> impl Iterator<Item = (SiteId, SiteId)> + '_ {
    sites.iter().flat_map(|from| sites.iter().map(|to| (*from, *to))).filter(|(from, to)| from != to)
}

/// Whether a split between those up to `site` and the rest, or a ring that begins at `site`, keeps two apart.
fn is_apart(kind: Kind, (from, to): (SiteId, SiteId), site: SiteId, other: SiteId, sites: &[SiteId]) -> bool {
    if kind == Kind::Split {
        let (low, high) = (site.min(other), site.max(other));
        let inside = |it: SiteId| (low..=high).contains(&it);
        return inside(from) != inside(to);
    }
    let apart = from.0.abs_diff(to.0);
    apart != 1 && usize::from(apart) != sites.len() - 1
}

impl World {
    /// The next fault.
    pub(crate) fn fault(&mut self) -> Verdict {
        if self.calm || self.swarm.kinds.is_empty() {
            return Ok(());
        }
        let in_us = self.dice.faults.between(self.swarm.every_us / 10, self.swarm.every_us);
        self.at(in_us, What::Fault);
        let kind = *self.dice.faults.pick(&self.swarm.kinds);
        let number = self.faults;
        self.faults += 1;
        let sites: Vec<SiteId> = self.hosts.keys().copied().collect();
        let site = *self.dice.faults.pick(&sites);
        let other = *self.dice.faults.pick(&sites);
        let long_us = *self.dice.faults.pick(&[100_000, 1_000_000, 5_000_000]);
        let for_us = self.dice.faults.between(10_000, long_us);
        if self.options.without.contains(&number) {
            // Drawn all the same, so that the faults behind it stay what they are.
            return Ok(());
        }
        *self.struck.entry(kind).or_default() += 1;
        self.trace.line(self.now_us, Some(site), || {
            format!("FAULT {number}: {kind:?} (other {other}, {} ms)", for_us / 1000)
        });
        self.strike(kind, &Where { site, other, sites, for_us })
    }

    fn strike(&mut self, kind: Kind, at: &Where) -> Verdict {
        let Where { site, ref sites, for_us, .. } = *at;
        match kind {
            Kind::Kill => self.kill(site, "killed"),
            Kind::KillBetween => {
                let after = usize::try_from(self.dice.faults.below(4)).unwrap_or(0);
                if let Some(process) = self.hosts.get_mut(&site).and_then(|host| host.process.as_mut()) {
                    process.dies_after = Some(after);
                }
                Ok(())
            }
            Kind::Power => self.cut_power(site),
            Kind::PowerAll => sites.iter().try_for_each(|site| self.cut_power(*site)),
            Kind::Pause => {
                self.pause(site, for_us);
                Ok(())
            }
            Kind::Jump => {
                self.jump(site);
                Ok(())
            }
            Kind::Behind => {
                self.set_back(site, for_us);
                Ok(())
            }
            Kind::Stop => self.feed(site, Event::Stop),
            Kind::Forge => {
                if let Some(host) = self.hosts.get_mut(&site) {
                    host.forges_us = self.now_us..self.now_us + 4 * for_us;
                }
                Ok(())
            }
            Kind::Restore => self.put_back(site),
            Kind::Wipe => self.wipe(site),
            Kind::Add => {
                self.add_site();
                Ok(())
            }
            Kind::Remove => self.remove_site(),
            Kind::Retain | Kind::Low | Kind::Flood | Kind::Upgrade => self.tend(kind, site, for_us),
            Kind::Force => self.lose_sites(),
            Kind::Witness => self.strike_witness(for_us),
            Kind::Fence if site != at.other => self.fence(at),
            Kind::Clone if site != at.other => self.try_clone(site, at.other),
            Kind::Rot | Kind::Decay | Kind::RecoveryCut => self.strike_dead(kind, site),
            Kind::Scratch => self.scratch(site),
            Kind::Full | Kind::Crowd | Kind::SyncFails | Kind::Slow | Kind::Stall | Kind::Misread => {
                self.strike_disk(kind, site, for_us);
                Ok(())
            }
            _ => {
                self.strike_links(kind, at);
                Ok(())
            }
        }
    }

    fn jump(&mut self, site: SiteId) {
        let far = *self.dice.faults.pick(&[50, 400, 3_000]);
        let jump = self.dice.faults.below(2 * far) as i64 - far as i64;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.clock.offset_ms += jump;
            host.jumped |= jump > 300;
            host.troubled_us = self.now_us;
        }
    }

    /// Stamps stand still until the clock has come to within the bound of where it was: it stays behind for longer than that.
    fn set_back(&mut self, site: SiteId, for_us: u64) {
        let back_ms = self.dice.faults.between(1_000, 4_000);
        if self.hosts.values().any(|host| host.set_back_ms > 0) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&site) else { return };
        host.set_back_ms = back_ms as i64;
        host.clock.offset_ms -= host.set_back_ms;
        let lasts_us = back_ms * 1000 + for_us;
        host.troubled_us = self.now_us + lasts_us;
        self.at(lasts_us, What::SetRight(site));
    }

    pub(crate) fn set_right(&mut self, site: SiteId) {
        let Some(host) = self.hosts.get_mut(&site).filter(|host| host.set_back_ms > 0) else { return };
        host.clock.offset_ms += std::mem::take(&mut host.set_back_ms);
        host.jumped = true;
        host.troubled_us = host.troubled_us.max(self.now_us);
    }

    /// What happens to a disk while a process uses it.
    fn strike_disk(&mut self, kind: Kind, site: SiteId, for_us: u64) {
        let room = match kind {
            Kind::Full => self.dice.faults.below(30_000),
            Kind::Crowd => self.dice.faults.below(3_000),
            _ => 0,
        };
        let until_us = self.now_us + for_us;
        let Some(host) = self.hosts.get_mut(&site) else { return };
        host.troubled_us = until_us;
        match kind {
            Kind::Full => host.disk.capacity_bytes = host.disk.used_bytes() + RESERVE_BYTES + room,
            Kind::Crowd => host.disk.capacity_bytes = host.disk.used_bytes() + room,
            Kind::SyncFails => host.disk.failing_syncs = 1,
            Kind::Slow => host.disk_us = 100_000,
            Kind::Stall => host.disk_us = 1_200_000,
            _ => host.disk.misreads.set(u32::from(host.process.is_some())),
        }
        self.at(for_us, What::Repair(site));
    }

    fn strike_links(&mut self, kind: Kind, at: &Where) {
        let Where { site, other, ref sites, for_us } = *at;
        match kind {
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
            Kind::Split | Kind::Ring => {
                let apart = pairs(sites).filter(|pair| is_apart(kind, *pair, site, other, sites)).collect();
                self.block(apart, for_us);
            }
            Kind::Flap if site != other => {
                for turn in 0..6 {
                    self.at(turn * (for_us / 6 + 1), What::Flap(site, other, for_us / 12));
                }
            }
            Kind::Clog if site != other => {
                self.net.block(site, other);
                self.at(for_us.min(600_000), What::Heal(vec![(site, other)]));
            }
            _ => {}
        }
    }

    fn pause(&mut self, site: SiteId, for_us: u64) {
        let until_us = self.now_us + for_us;
        let Some(host) = self.hosts.get_mut(&site) else { return };
        let life = host.life;
        host.troubled_us = until_us;
        if let Some(process) = &mut host.process {
            process.paused_until_us = until_us;
            process.inbox.push(Event::Tick);
            self.at(for_us, What::Inbox(site, life));
        }
    }

    /// In one run of seven a site forges for a while: drawn by itself, so that the rest of a seed stays what it was.
    pub(crate) fn tempt(&mut self, rng: &mut Rng) {
        let sites: Vec<SiteId> = self.hosts.keys().copied().collect();
        if self.options.plain || self.swarm.kinds.is_empty() || !rng.chance(150) {
            return;
        }
        let (begins_us, for_us) = (rng.below(8_000_000), rng.between(500_000, 8_000_000));
        if let Some(host) = self.hosts.get_mut(rng.pick(&sites)) {
            host.forges_us = begins_us..begins_us + for_us;
        }
    }

    /// One direction goes and comes back.
    pub(crate) fn flap(&mut self, site: SiteId, other: SiteId, for_us: u64) {
        if !self.calm {
            self.block(vec![(site, other)], for_us);
        }
    }

    /// A majority goes on and the rest is dead for good, as soon as the journals of a majority take part in the order,
    /// nobody votes on their ends, is about to or was just asked to, and their disks count: while a site that is fenced is
    /// not back, another cannot be done without (decision 0012), nor while the members change. Says whether it is so.
    pub(crate) fn bury(&mut self) -> Result<bool, Violation> {
        if !self.may_bury() {
            return Ok(false);
        }
        if let Some(witness) = self.witness() {
            return self.bury_beside(witness);
        }
        let needed = self.checkers.members().len() / 2 + 1;
        let goes_on = |host: &Host| self.goes_on(host) && !self.is_missed(host);
        let mut core: Vec<SiteId> =
            self.hosts.iter().filter(|(_, host)| goes_on(host)).map(|(site, _)| *site).collect();
        let all_read =
            self.hosts.values().filter_map(|host| host.process.as_ref()).all(|it| it.inbox.is_empty());
        if core.len() < needed || !all_read {
            return Ok(false);
        }
        while core.len() > needed {
            core.remove(self.dice.faults.below(core.len() as u64) as usize);
        }
        self.bury_all_but(&core)?;
        Ok(true)
    }

    /// All other machines are dead for good.
    pub(crate) fn bury_all_but(&mut self, core: &[SiteId]) -> Verdict {
        let all: Vec<SiteId> = self.hosts.keys().copied().collect();
        for dead in all.into_iter().filter(|site| !core.contains(site)) {
            self.kill(dead, "dead for good")?;
            if let Some(host) = self.hosts.get_mut(&dead) {
                host.is_buried = true;
            }
            self.checkers.lost(dead);
        }
        Ok(())
    }

    /// Whether a machine is a member's whose journal takes part in the order, has not ended and is not voted on.
    pub(crate) fn goes_on(&self, host: &Host) -> bool {
        let voted_on = |journal| {
            let mut running = self.hosts.values().filter_map(|host| host.process.as_ref());
            running.any(|process| process.site.votes_on(journal))
        };
        let ends = |journal| self.checkers.has_ended(journal) || voted_on(journal);
        self.checkers.members().contains(&host.config.own)
            && host.takes_part()
            && host.actor().journal.is_some_and(|journal| !ends(journal))
    }

    /// Whether somebody has not heard a machine for so long that its journal's end may be voted on soon.
    fn is_missed(&self, host: &Host) -> bool {
        let journal = host.actor().journal;
        let misses = |other: &Host| {
            let (site, now) = (other.process.as_ref().map(|it| &it.site), other.clock.now(self.now_us));
            site.zip(journal).is_some_and(|(site, journal)| site.misses(journal, now))
        };
        self.hosts.values().any(misses)
    }

    pub(crate) fn block(&mut self, directions: Vec<(SiteId, SiteId)>, for_us: u64) {
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
        self.trace.line(self.now_us, Some(site), || why.into());
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
        let is_writing = |host: &Host| host.process.as_ref().is_some_and(|it| it.site.is_writing());
        let all_write = self.data_hosts().all(|(_, host)| is_writing(host));
        // A directory of the witness must not be put back, nor that of who was just let go on, nor one while nobody else has a
        // journal in the order (decision 0025).
        if let Some(witness) = self.witness() {
            let goes_on = |(other, host): (SiteId, &Host)| other != site && self.goes_on(host);
            let is_left = self.data_hosts().any(goes_on);
            if witness == site || !is_left || !self.may_lose_beside(witness, site) {
                return Ok(());
            }
        }
        // Losing what it had synced and voted, a minority may; here that is one site at a time. One that was put back a
        // moment ago need not know it yet.
        let truth = &self.checkers.truth;
        let others = || self.data_hosts().filter(|(other, _)| *other != site);
        let synced = others().all(|(other, host)| {
            !truth.lacks(other) && host.process.as_ref().is_some_and(|it| it.site.identity().synced)
        });
        let Some(host) = self.hosts.get(&site).filter(|_| all_write && synced) else { return Ok(()) };
        let Some(journal) = host.actor().journal.filter(|_| host.flight.is_none()) else { return Ok(()) };
        let held = truth.held(site, journal);
        let Some(image) = host.image.clone() else { return Ok(()) };
        if others().any(|(other, _)| truth.held(other, journal) < held) {
            return Ok(());
        }
        self.kill(site, "its data directory is put back")?;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk = image;
            host.put_back = true;
        }
        Ok(())
    }

    /// An operator ends a site's journal, by way of another; half of them know why.
    fn fence(&mut self, at: &Where) -> Verdict {
        let Where { site, other, ref sites, for_us } = *at;
        if self.dice.faults.chance(500) {
            self.strike_links(Kind::Isolate, &Where { site, other, sites: sites.clone(), for_us });
        }
        self.feed(other, Event::Request { ticket: Ticket(u64::MAX), request: Request::Fence { site } })
    }

    /// A disk is lost and an empty one put in, unless it would be one too many at a time.
    fn wipe(&mut self, site: SiteId) -> Verdict {
        self.kill(site, "its disk is lost")?;
        self.lose_disk(site);
        Ok(())
    }

    /// Loses the disk of a site that does not run, if the others that lost theirs are back but for fewer than a minority.
    pub(crate) fn lose_disk(&mut self, site: SiteId) {
        let everyone = || self.hosts.keys().copied();
        let needed: BTreeSet<SiteId> = everyone().filter(|it| self.is_needed(*it)).collect();
        let asked_for: BTreeSet<SiteId> = everyone().filter(|it| self.may_be_needed(*it)).collect();
        let others = self.hosts.iter_mut().filter(|(other, _)| **other != site);
        let is_without = |(other, host): (&SiteId, &mut Host)| match needed.contains(other) {
            true => host.misses_its_disk(),
            false => asked_for.contains(other) && host.disk_is_new,
        };
        let without = others.map(is_without).filter(|is_without| *is_without).count();
        let is_one_too_many = match self.witness() {
            Some(witness) => !self.may_lose_beside(witness, site),
            None => without >= self.checkers.may_miss() || self.removes() || self.forces(),
        };
        // What is scratched elsewhere may be whole here only.
        let mut others = self.hosts.iter().filter(|(other, _)| **other != site);
        if others.any(|(_, host)| !host.disk.scratched.is_empty()) {
            return;
        }
        let is_needed = needed.contains(&site) || asked_for.contains(&site);
        let Some(host) = self.hosts.get_mut(&site).filter(|host| host.process.is_none()) else { return };
        if host.is_buried || (is_one_too_many && (is_needed || host.config.witness.is_some())) {
            return;
        }
        let fresh = Fresh { storage: StorageId(self.dice.faults.wide()), wal_nonce: self.dice.faults.wide() };
        host.disk = SimDisk::default();
        (host.flight, host.took_over, host.put_back, host.disk_is_new) = (None, false, false, true);
        Site::join(&host.config, fresh, &mut host.disk).expect("an empty disk takes an identity");
        self.checkers.lost(site);
        self.trace.line(self.now_us, Some(site), || "has an empty disk".into());
    }

    fn cut_power(&mut self, site: SiteId) -> Verdict {
        self.kill(site, "power cut")?;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk.cut_power(&mut self.dice.disk);
        }
        Ok(())
    }

    /// Faults end: everything is repaired and runs.
    ///
    /// A clock that is set right by more than the bound is not believed by a running process, so an operator starts
    /// that one anew.
    pub(crate) fn calm_down(&mut self) -> Verdict {
        self.calm = true;
        self.trace.line(self.now_us, None, || "faults end".into());
        self.net.calm();
        self.end_errands();
        let blocked = self.net.blocked();
        self.heal(&blocked);
        let sites: Vec<SiteId> = self.hosts.keys().copied().collect();
        for site in sites {
            self.repair(site);
            self.room_again(site)?;
            let Some(host) = self.hosts.get_mut(&site) else { continue };
            host.disk.failing_syncs = 0;
            host.disk.misreads.set(0);
            host.disk.dies_after = None;
            let right_ms = host.clock.offset_ms.clamp(-50, 50);
            // Until its clock shows again what it has shown already, a site that starts anew lets writes wait.
            let back_us = u64::try_from(host.clock.offset_ms - right_ms).unwrap_or(0) * 1000;
            host.troubled_us = match back_us {
                0 => host.troubled_us.min(self.now_us),
                back_us => self.now_us + back_us,
            };
            host.forges_us = 0..0;
            let is_step = right_ms.abs_diff(host.clock.offset_ms) > 300 || host.jumped;
            host.clock.offset_ms = right_ms;
            host.set_back_ms = 0;
            host.clock.drift_ppm = 0;
            host.jumped = false;
            let is_old = std::mem::replace(&mut host.config.protocol, PROTOCOL) < PROTOCOL;
            if is_old {
                self.kill(site, "is upgraded")?;
                continue;
            }
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
