//! A witness, and what happens to it and to halves of the sites that hold data (decision 0025).
//!
//! The last site is the witness. Halves lose each other, or the witness, or both, in one direction or again and again; a half
//! dies for longer than the fence timeout; the witness's power goes at any operation of its disk; its disk is lost, and in the
//! end perhaps it is lost for good. Left out is what decision 0025 leaves to an operator: that one who was let go on, or is
//! in that moment, loses its disk before the others are back, and that the witness and a site with data lose theirs at once.

use entry::SiteId;

use crate::checkers::{Verdict, Violation};
use crate::host::Host;
use crate::swarm::Kind;
use crate::world::{What, World};

/// For how long what was asked of the witness may be on its way to it, in microseconds.
const ASKING_US: u64 = 2_500_000;

impl World {
    /// The witness, where there is one.
    pub(crate) fn witness(&self) -> Option<SiteId> {
        self.options.witness()
    }

    /// The machines that hold data.
    pub(crate) fn data_hosts(&self) -> impl Iterator<Item = (SiteId, &Host)> {
        let witness = self.witness();
        self.hosts.iter().map(|(site, host)| (*site, host)).filter(move |(site, _)| Some(*site) != witness)
    }

    /// Something happens to the witness or to a half, for a time around the fence timeout.
    pub(crate) fn strike_witness(&mut self, for_us: u64) -> Verdict {
        let Some(witness) = self.witness() else { return Ok(()) };
        let for_us = for_us + self.dice.operator.below(2 * self.swarm.fence_timeout_ms * 1000);
        let (half, rest) = self.halves();
        let what = self.dice.operator.below(12);
        self.trace.line(self.now_us, Some(witness), || format!("case {what}, half {half:?}, {for_us} us"));
        match what {
            0..=4 => self.part(what, (&half, &rest), for_us),
            5 | 6 => return half.iter().try_for_each(|site| self.switch_off(*site, for_us)),
            7 => return self.lose_disk_of(half[0]),
            8 | 9 => {
                let operations = self.dice.operator.below(10);
                if let Some(host) = self.hosts.get_mut(&witness) {
                    host.disk.dies_after = Some(operations);
                }
            }
            10 => return self.lose_disk_of(witness),
            _ if self.dice.operator.chance(200) => return self.bury_witness(witness),
            _ => return self.switch_off(witness, for_us),
        }
        Ok(())
    }

    /// Half of the machines that hold data, and the others.
    fn halves(&mut self) -> (Vec<SiteId>, Vec<SiteId>) {
        let mut rest: Vec<SiteId> = self.data_hosts().map(|(site, _)| site).collect();
        let mut half = Vec::new();
        while half.len() + 1 < rest.len() || half.is_empty() {
            let at = self.dice.operator.below(rest.len() as u64);
            half.push(rest.remove(usize::try_from(at).unwrap_or(0)));
        }
        (half, rest)
    }

    /// Links between halves, or with the witness, go.
    fn part(&mut self, what: u64, (half, rest): (&[SiteId], &[SiteId]), for_us: u64) {
        let toward = |from: &[SiteId], to: &[SiteId]| -> Vec<(SiteId, SiteId)> {
            from.iter().flat_map(|from| to.iter().map(|to| (*from, *to))).collect()
        };
        let witness: Vec<SiteId> = self.witness().into_iter().collect();
        let apart = [toward(half, rest), toward(rest, half)].concat();
        let unwitnessed = [toward(half, &witness), toward(&witness, half)].concat();
        match what {
            0 | 1 => self.block(apart, for_us),
            2 => self.block([apart, unwitnessed].concat(), for_us),
            3 => {
                let one_way = [toward(half, rest), toward(half, &witness), toward(&witness, half)];
                let one_way = self.dice.operator.pick(&one_way).clone();
                self.block(one_way, for_us);
            }
            _ => {
                for (from, to) in apart {
                    for turn in 0..6 {
                        self.at(turn * (for_us / 6 + 1), What::Flap(from, to, for_us / 9));
                    }
                }
            }
        }
    }

    /// The power of a machine goes for a while.
    fn switch_off(&mut self, site: SiteId, for_us: u64) -> Verdict {
        if self.forces() {
            return Ok(());
        }
        self.kill(site, "is off")?;
        if let Some(host) = self.hosts.get_mut(&site) {
            host.disk.cut_power(&mut self.dice.disk);
            host.is_off = true;
            host.troubled_us = host.troubled_us.max(self.now_us + for_us);
        }
        self.at(for_us, What::On(site));
        Ok(())
    }

    /// A machine that was off for a while is on again, unless an operator has it off by now.
    pub(crate) fn on_again(&mut self, site: SiteId) {
        if self.forces() {
            self.at(1_000_000, What::On(site));
        } else {
            self.switch_on(site);
        }
    }

    fn lose_disk_of(&mut self, site: SiteId) -> Verdict {
        self.kill(site, "its disk is lost")?;
        self.lose_disk(site);
        Ok(())
    }

    /// The witness never comes back, unless it is needed for a disk to come back.
    fn bury_witness(&mut self, witness: SiteId) -> Verdict {
        if !self.all_have_disks() || self.swarm.kinds.contains(&Kind::Wipe) {
            return Ok(());
        }
        self.kill(witness, "lost for good")?;
        if let Some(host) = self.hosts.get_mut(&witness) {
            host.is_buried = true;
        }
        self.checkers.lost(witness);
        Ok(())
    }

    /// In the end half of the members go on with the witness, or all of them without it, and the rest is dead for good, as soon
    /// as all take part in the order and nobody is about to be given up. Says whether it is so.
    pub(crate) fn bury_beside(&mut self, witness: SiteId) -> Result<bool, Violation> {
        let mut core: Vec<SiteId> =
            self.data_hosts().filter(|(_, host)| self.goes_on(host)).map(|(site, _)| site).collect();
        let members = self.checkers.members().len();
        let is_whole = core.len() == members && self.checkers.is_settled() && self.is_undecided();
        if !is_whole || !self.all_have_disks() {
            return Ok(false);
        }
        if self.witness_votes() && self.dice.faults.chance(800) {
            while 2 * core.len() > members {
                core.remove(self.dice.faults.below(core.len() as u64) as usize);
            }
            core.push(witness);
        }
        self.bury_all_but(&core)?;
        Ok(true)
    }

    fn all_have_disks(&mut self) -> bool {
        let witness = self.witness();
        let mut data = self.hosts.iter_mut().filter(|(site, _)| Some(**site) != witness);
        data.all(|(_, host)| !host.misses_its_disk())
    }

    /// Whether a site's disk may be lost now, where there is a witness: its own, while no other is missing; or one of those
    /// that hold data, while at least half of the members have theirs and nobody is given up, nor about to be.
    pub(crate) fn may_lose_beside(&mut self, witness: SiteId, site: SiteId) -> bool {
        if self.removes() || self.forces() {
            return false;
        }
        if site == witness {
            return self.all_have_disks();
        }
        let others = self.hosts.iter_mut().filter(|(other, _)| **other != site && **other != witness);
        let without = others.filter_map(|(_, host)| host.misses_its_disk().then_some(())).count();
        let most =
            if self.witness_votes() { self.checkers.members().len() / 2 } else { self.checkers.may_miss() };
        without < most && self.is_undecided() && self.checkers.is_settled() && !self.is_half_of(site)
    }

    /// Whether another site is in touch with no more than half of the members, this one counted: it may ask the witness in a
    /// moment to go on with this one, and does not see at once that its disk is lost.
    fn is_half_of(&self, site: SiteId) -> bool {
        let members = self.checkers.members();
        let hears = |by: SiteId, other: SiteId| {
            let is_cut = self.net.is_blocked(by, other) || self.net.is_blocked(other, by);
            [by, site].contains(&other) || !is_cut && self.net.current(by, other).is_some()
        };
        self.data_hosts()
            .filter(|(by, host)| *by != site && host.process.is_some())
            .any(|(by, _)| 2 * members.iter().filter(|other| hears(by, **other)).count() <= members.len())
    }

    /// Whether the witness runs and votes.
    pub(crate) fn witness_votes(&self) -> bool {
        let host = self.witness().and_then(|witness| self.hosts.get(&witness));
        host.and_then(|host| host.process.as_ref()).is_some_and(|process| process.site.identity().synced)
    }

    /// Whether all that hold data are members, nobody is given up, and nothing was asked of the witness a moment ago.
    pub(crate) fn is_undecided(&self) -> bool {
        let remain = self.checkers.remain();
        let all = self.data_hosts().all(|(site, _)| remain.contains(&site));
        let host = self.witness().and_then(|witness| self.hosts.get(&witness));
        let unread = host.filter(|host| !host.is_buried).is_some_and(|host| {
            host.flight.is_some() || host.process.as_ref().is_some_and(|process| !process.inbox.is_empty())
        });
        let asked = self.operator.witness_asked_us.is_some_and(|at| self.now_us < at + ASKING_US);
        all && !unread && !asked
    }
}
