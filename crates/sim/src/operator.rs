//! An operator changes the members while everything else goes on, by the very requests that `meridian site add` and
//! `meridian site remove` make.
//!
//! A site that is added is started on an empty disk and asked for until it is a member; one that is removed is stopped in
//! good order, or is gone and fenced, stays off meanwhile, and afterwards comes back to learn it, or never does. Whoever
//! is asked may refuse, die or forget; the operator asks somebody else, and gives up after a while. Like a careful one it
//! lets nobody go while a disk of those who stay is not back.

use std::collections::BTreeMap;

use entry::{SiteId, StorageId};
use site::{Answer, Event, Fresh, Refusal, Request, Site, Ticket};

use crate::checkers::{Verdict, ensure};
use crate::force::Force;
use crate::swarm::Kind;
use crate::world::{What, World};

/// How many sites are known from the start beside the founders, where members change.
const SPARE: u16 = 2;
/// Fewer members than this are not left.
const LEAST: usize = 2;
/// How long the operator tries, in microseconds.
const PATIENCE_US: u64 = 12_000_000;
/// How long after a question a site may still begin to do what it was asked, in microseconds.
const SETTLED_US: u64 = 8_000_000;
/// From here on tickets are the operator's.
const FIRST_TICKET: u64 = 1 << 62;

/// What the operator is about to do with a site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand {
    adds: bool,
    /// Whether the site is gone, so that it must be fenced first.
    fences: bool,
    until_us: u64,
}

/// What the operator was told to do and has asked for.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    errands: BTreeMap<SiteId, Errand>,
    /// Which site each question was about, and whether it was to be added.
    asked: Vec<(SiteId, bool)>,
    /// When the latest one was asked.
    asked_us: Option<u64>,
    /// When anybody last asked the witness, in microseconds.
    pub(crate) witness_asked_us: Option<u64>,
    /// What it decides by force.
    pub(crate) force: Option<Force>,
}

/// How many sites every configuration lists, of so many founders and with these faults.
pub(crate) fn known(founders: u16, also: &[Kind]) -> u16 {
    let changes = [Kind::Add, Kind::Remove].iter().any(|kind| also.contains(kind));
    founders + if changes { SPARE } else { 0 }
}

impl World {
    /// How many sites every configuration lists.
    pub(crate) fn known(&self) -> u16 {
        known(self.options.sites, &self.options.also)
    }

    /// Whether a machine's disk matters to quorums now, or is about to; that of a member who was removed, until the others have
    /// entered the epoch that it is gone in.
    pub(crate) fn is_needed(&self, site: SiteId) -> bool {
        let adds = self.operator.errands.get(&site).is_some_and(|errand| errand.adds);
        adds || self.checkers.members().contains(&site) || self.checkers.was_member(site)
    }

    /// Whether a machine's disk may come to matter: it was asked for to be a member, which may take effect long after the
    /// operator has given up waiting for it.
    pub(crate) fn may_be_needed(&self, site: SiteId) -> bool {
        self.operator.asked.contains(&(site, true)) && !self.checkers.removed().contains(&site)
    }

    /// Whether somebody is about to be removed, so that those who stay must keep their disks.
    pub(crate) fn removes(&self) -> bool {
        self.operator.errands.values().any(|errand| !errand.adds)
    }

    /// A site is to become a member.
    pub(crate) fn add_site(&mut self) {
        let (members, removed) = (self.checkers.members(), self.checkers.removed());
        let spare = |site: &SiteId| {
            !members.contains(site) && !removed.contains(site) && !self.operator.errands.contains_key(site)
        };
        let witness = self.witness();
        let known = (1..=self.known()).map(SiteId).filter(|site| Some(*site) != witness);
        let free: Vec<SiteId> = known.filter(spare).collect();
        if free.is_empty() || self.forces() {
            return;
        }
        let site = *self.dice.operator.pick(&free);
        if !self.hosts.contains_key(&site) {
            let mut host = self.machine(site);
            let fresh = self.fresh();
            host.storage = fresh.storage;
            Site::join(&host.config, fresh, &mut host.disk).expect("an empty disk takes an identity");
            self.hosts.insert(site, host);
            self.at(0, What::Restart(site));
        }
        self.set_out(site, Errand { adds: true, fences: false, until_us: self.now_us + PATIENCE_US });
    }

    /// A site that was given up is to become a member again, however long that takes.
    pub(crate) fn add_back(&mut self, site: SiteId) {
        self.set_out(site, Errand { adds: true, fences: false, until_us: u64::MAX });
    }

    /// A member is to go.
    pub(crate) fn remove_site(&mut self) -> Verdict {
        let members: Vec<SiteId> = self.checkers.members().iter().copied().collect();
        let site = *self.dice.operator.pick(&members);
        let gone = self.dice.operator.chance(400);
        let lacking = self.hosts.iter_mut().filter(|(other, _)| **other != site && members.contains(other));
        let lacking =
            lacking.filter_map(|(_, host)| (host.is_off || host.misses_its_disk()).then_some(())).count();
        let is_busy = !self.operator.errands.is_empty() || self.forces();
        if members.len() <= LEAST || lacking > 0 || is_busy {
            return Ok(());
        }
        if let Some(host) = self.hosts.get_mut(&site) {
            host.is_off = true;
        }
        self.set_out(site, Errand { adds: false, fences: gone, until_us: self.now_us + PATIENCE_US });
        if gone { self.kill(site, "is gone") } else { self.feed(site, Event::Stop) }
    }

    fn set_out(&mut self, site: SiteId, errand: Errand) {
        self.operator.errands.insert(site, errand);
        let in_us = self.dice.operator.between(100_000, 2_000_000);
        self.at(in_us, What::Errand(site));
    }

    /// The operator looks how far it has come with a site, and asks again.
    pub(crate) fn errand(&mut self, site: SiteId) -> Verdict {
        let Some(errand) = self.operator.errands.get(&site).copied() else { return Ok(()) };
        let is_done = self.checkers.members().contains(&site) == errand.adds;
        if is_done || self.now_us > errand.until_us {
            return self.give_over(site, errand, is_done);
        }
        let others: Vec<SiteId> = self.alive().into_iter().filter(|other| *other != site).collect();
        if !others.is_empty() {
            let at = *self.dice.operator.pick(&others);
            if errand.fences {
                let request = Request::Fence { site };
                self.feed(at, Event::Request { ticket: Ticket(u64::MAX), request })?;
            }
            let ticket = Ticket(FIRST_TICKET + self.operator.asked.len() as u64);
            self.operator.asked.push((site, errand.adds));
            self.operator.asked_us = Some(self.now_us);
            let request = if errand.adds { Request::AddSite { site } } else { Request::RemoveSite { site } };
            self.feed(at, Event::Request { ticket, request })?;
        }
        let in_us = self.dice.operator.between(100_000, 1_000_000);
        self.at(in_us, What::Errand(site));
        Ok(())
    }

    /// It is done, or the operator gives up.
    fn give_over(&mut self, site: SiteId, errand: Errand, is_done: bool) -> Verdict {
        self.operator.errands.remove(&site);
        if errand.adds {
            return Ok(());
        }
        if is_done && self.dice.operator.chance(300) {
            self.kill(site, "is scrapped")?;
            if let Some(host) = self.hosts.get_mut(&site) {
                host.is_buried = true;
            }
            self.checkers.lost(site);
            return Ok(());
        }
        self.switch_on(site);
        Ok(())
    }

    pub(crate) fn switch_on(&mut self, site: SiteId) {
        if let Some(host) = self.hosts.get_mut(&site) {
            host.is_off = false;
            let in_us = self.dice.operator.below(1_000_000);
            self.at(in_us, What::Restart(site));
        }
    }

    /// Nothing more is asked for, and all machines are switched on again, but for what a decision by force still takes.
    pub(crate) fn end_errands(&mut self) {
        self.operator.errands.retain(|_, errand| errand.until_us == u64::MAX);
        if self.forces() {
            return;
        }
        let off = self.hosts.iter().filter(|(_, host)| host.is_off).map(|(site, _)| *site);
        let off: Vec<SiteId> = off.collect();
        off.into_iter().for_each(|site| self.switch_on(site));
    }

    /// Whether nobody is needed any more but for what the members are now.
    pub(crate) fn may_bury(&self) -> bool {
        let asked_us = self.operator.asked_us.map_or(0, |at| at + SETTLED_US);
        self.now_us >= asked_us && (self.operator.asked.is_empty() || self.checkers.is_settled())
    }

    /// Whether nothing is asked for, nor was a moment ago.
    pub(crate) fn is_idle(&self) -> bool {
        self.operator.errands.is_empty() && !self.forces() && self.may_bury()
    }

    /// A site answers the operator: what it says is done is so.
    pub(crate) fn operator_told(
        &self,
        by: SiteId,
        ticket: Ticket,
        answer: &Result<Answer, Refusal>,
    ) -> Verdict {
        let number = ticket.0.checked_sub(FIRST_TICKET).and_then(|number| usize::try_from(number).ok());
        let asked = number.and_then(|number| self.operator.asked.get(number));
        let (Some((site, adds)), Ok(Answer::Members)) = (asked, answer) else { return Ok(()) };
        let Some(process) = self.hosts.get(&by).and_then(|host| host.process.as_ref()) else { return Ok(()) };
        ensure(process.site.members().contains(site) == *adds, "I-34", || {
            let members = process.site.members();
            format!("site {by} says that its members have changed by {site}, and they are {members:?}")
        })
    }

    pub(crate) fn fresh(&mut self) -> Fresh {
        let dice = &mut self.dice.operator;
        Fresh { storage: StorageId(dice.wide()), wal_nonce: dice.wide() }
    }
}

#[cfg(test)]
mod tests {
    use entry::SiteId;
    use site::{Answer, Ticket};

    use super::FIRST_TICKET;
    use crate::planted::running;

    #[test]
    fn a_change_of_members_that_is_said_to_be_done_and_is_not_is_flagged() {
        let (mut world, one) = (running(), SiteId(1));
        world.operator.asked.extend([(SiteId(9), true), (SiteId(9), false)]);
        let told = |number| world.operator_told(one, Ticket(FIRST_TICKET + number), &Ok(Answer::Members));
        assert_eq!(told(0).unwrap_err().invariant, "I-34");
        assert_eq!(told(1), Ok(()));
    }
}
