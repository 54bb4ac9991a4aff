//! An operator goes on without sites that are lost, by the very request that `meridian site fence --forced` makes, where
//! those who remain are no majority; afterwards those who come back are added again (decision 0014).
//!
//! Some members die all at once, or, if they are no majority, are cut off and live on. The operator begins where nothing
//! else is under way: members are not changing, all disks are there, and those who remain take part in the order. Who is
//! lost stays off until it is a member no more. Then the lost come back one at a time, each when the one before has heard
//! what was decided: a majority that came back at once, before anybody told it, would go on as one. Whoever has released
//! otherwise than those who remained is refused; its directory is kept aside, and it begins anew on an empty one. Where there
//! is a witness, it hears what was decided before any of them is back: it would let them go on too (decision 0025).

use entry::SiteId;
use site::{Event, Request, Site, Ticket};

use crate::checkers::{Verdict, Violation, broken, ensure};
use crate::disk::SimDisk;
use crate::host::Host;
use crate::world::{What, World};

/// How long the operator tries to have a decision taken, in microseconds.
const PATIENCE_US: u64 = 20_000_000;
/// For how long sites whose history is another one may run, in microseconds.
const APART_US: u64 = 3_000_000;

/// A decision that the operator wants, and what comes of it.
#[derive(Debug)]
pub(crate) struct Force {
    named: Vec<SiteId>,
    /// Those who are not back.
    lost: Vec<SiteId>,
    /// Whether they are dead; otherwise they are cut off.
    dead: bool,
    until_us: u64,
    stage: Stage,
    /// Whether the site that is coming back was refused.
    refused: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Deciding,
    CarryingOut,
    /// The next one may come back.
    Returning,
    /// This one is coming back; then its directory is kept aside, if it has another history.
    Back(SiteId, u64),
}

impl World {
    /// Whether a decision by force is under way.
    pub(crate) fn forces(&self) -> bool {
        self.operator.force.is_some()
    }

    /// As many as a majority of the members, or half of them, are lost.
    pub(crate) fn lose_sites(&mut self) -> Verdict {
        let members: Vec<SiteId> = self.checkers.members().iter().copied().collect();
        if !self.may_force(&members) {
            return Ok(());
        }
        let half = members.len() as u64 / 2;
        let keep = self.dice.operator.between(1, half + 1) as usize;
        let goes_on = |site: &SiteId| self.hosts.get(site).is_some_and(|host| self.goes_on(host));
        let mut remain: Vec<SiteId> = members.iter().copied().filter(goes_on).collect();
        if remain.len() < keep {
            return Ok(());
        }
        while remain.len() > keep {
            remain.remove(self.dice.operator.below(remain.len() as u64) as usize);
        }
        let named: Vec<SiteId> = members.into_iter().filter(|site| !remain.contains(site)).collect();
        let is_majority = named.len() > remain.len();
        if is_majority && self.data_hosts().count() > named.len() + remain.len() {
            // Who follows and is no member could have released with them what nobody else holds.
            return Ok(());
        }
        // Who lives could ask the witness meanwhile, as soon as it reaches it.
        let dead = is_majority || self.dice.operator.chance(600) || self.witness().is_some();
        for site in named.iter().filter(|_| dead) {
            self.lose_machine(*site)?;
        }
        if !dead {
            self.block(self.between(&named), PATIENCE_US);
        }
        let (lost, until_us) = (named.clone(), self.now_us + PATIENCE_US);
        self.operator.force =
            Some(Force { named, lost, dead, until_us, stage: Stage::Deciding, refused: false });
        self.forcing()
    }

    /// Whether the operator may begin: nothing else is under way, and no disk is missing.
    fn may_force(&mut self, members: &[SiteId]) -> bool {
        let lacking = |host: &mut Host| host.is_off || host.is_buried || host.misses_its_disk();
        let mut hosts = self.hosts.iter_mut().filter(|(site, _)| members.contains(site));
        let all_there = hosts.all(|(_, host)| !lacking(host));
        let decides = self.witness().is_some() && !self.is_undecided();
        members.len() > 1 && all_there && !decides && self.is_idle() && self.checkers.is_settled()
    }

    /// The power of a machine goes, and it stays off. What it had written down is known.
    fn lose_machine(&mut self, site: SiteId) -> Verdict {
        let by = self.hosts.get(&site).map(Host::actor);
        self.kill(site, "is lost")?;
        let Some((host, by)) = self.hosts.get_mut(&site).zip(by) else { return Ok(()) };
        host.is_off = true;
        host.disk.cut_power(&mut self.dice.disk);
        if let Some(flight) = host.flight.take().filter(|flight| host.is_durable(flight)) {
            self.checkers.durable(by, &flight.records)?;
            self.checkers.ended(site);
        }
        Ok(())
    }

    /// The operator looks how far it has come, and does what is next.
    pub(crate) fn forcing(&mut self) -> Verdict {
        let Some(force) = self.operator.force.take() else { return Ok(()) };
        self.operator.force = match force.stage {
            Stage::Deciding => self.have_decided(force)?,
            Stage::CarryingOut => Some(self.wait_until_out(force)),
            Stage::Returning => self.let_back(force)?,
            Stage::Back(site, aside_us) => Some(self.wait_until_told(force, site, aside_us)?),
        };
        if self.forces() {
            let in_us = self.dice.operator.between(100_000, 700_000);
            self.at(in_us, What::Forcing);
        }
        Ok(())
    }

    /// Asks one of those who remain, until all who are lost are given up.
    fn have_decided(&mut self, force: Force) -> Result<Option<Force>, Violation> {
        let remain = self.checkers.remain();
        let open = force.named.iter().filter(|site| remain.contains(site)).count();
        if open == 0 && self.is_unwitnessed(&force.named) {
            // The witness would let those who are lost go on without the others.
            return Ok(Some(force));
        }
        if open == 0 {
            self.heal(&self.between(&force.named));
            return Ok(Some(Force { stage: Stage::CarryingOut, ..force }));
        }
        // Who should remain was given up itself, on the witness's word.
        let is_left_out =
            self.checkers.members().iter().any(|it| !force.named.contains(it) && !remain.contains(it));
        let is_late = self.now_us > force.until_us || (self.calm && !force.dead) || is_left_out;
        // Who is down may find the decision on its disk.
        let others = self.data_hosts().filter(|(site, _)| !force.named.contains(site));
        let all_run = { others }.all(|(_, host)| host.process.is_some() || host.is_buried);
        if is_late && all_run && open == force.named.len() {
            self.heal(&self.between(&force.named));
            force.lost.iter().for_each(|site| self.switch_on(*site));
            return Ok(None);
        }
        let asked: Vec<SiteId> =
            self.alive().into_iter().filter(|site| !force.named.contains(site)).collect();
        if !asked.is_empty() {
            let at = *self.dice.operator.pick(&asked);
            let request = Request::GiveUp { sites: force.named.clone(), who: "eve".to_owned() };
            self.feed(at, Event::Request { ticket: Ticket(u64::MAX), request })?;
        }
        Ok(Some(force))
    }

    /// Whether there is a witness that has not noted yet who was given up. One that is off stays so meanwhile.
    fn is_unwitnessed(&self, named: &[SiteId]) -> bool {
        let witness = self.witness().and_then(|witness| self.hosts.get_key_value(&witness));
        let unheard = |witness: SiteId| named.iter().any(|site| !self.checkers.knows_of(witness, *site));
        witness.is_some_and(|(witness, host)| !host.is_buried && !host.is_off && unheard(*witness))
    }

    /// The directions between some sites and all others.
    fn between(&self, sites: &[SiteId]) -> Vec<(SiteId, SiteId)> {
        let others = self.hosts.keys().filter(|site| !sites.contains(site));
        others.flat_map(|site| sites.iter().flat_map(move |it| [(*site, *it), (*it, *site)])).collect()
    }

    fn wait_until_out(&mut self, force: Force) -> Force {
        let (members, remain) = (self.checkers.members(), self.checkers.remain());
        // Whom the witness had let be given up may be back already.
        let is_out = !force.named.iter().any(|site| members.contains(site) && !remain.contains(site));
        Force { stage: if is_out { Stage::Returning } else { Stage::CarryingOut }, ..force }
    }

    /// The next one comes back, if there is one.
    fn let_back(&mut self, mut force: Force) -> Result<Option<Force>, Violation> {
        let Some(site) = force.lost.pop() else { return Ok(None) };
        let Some(apart) = self.checkers.is_apart(site) else {
            // It has released more than those who remain by now, so that nobody can tell.
            force.lost.insert(0, site);
            return Ok(Some(force));
        };
        let mut aside_us = u64::MAX;
        if force.dead && self.dice.operator.chance(if apart { 500 } else { 150 }) {
            self.keep_aside(site)?;
        } else if apart {
            aside_us = self.now_us + APART_US;
        }
        self.trace.line(self.now_us, Some(site), || format!("comes back; of another history: {apart}"));
        self.switch_on(site);
        Ok(Some(Force { stage: Stage::Back(site, aside_us), refused: false, ..force }))
    }

    /// A site is back when it knows what was decided; then it is added again.
    fn wait_until_told(&mut self, force: Force, site: SiteId, aside_us: u64) -> Result<Force, Violation> {
        if force.refused || self.now_us > aside_us {
            self.keep_aside(site)?;
            self.switch_on(site);
            return Ok(Force { stage: Stage::Back(site, u64::MAX), refused: false, ..force });
        }
        // Where the witness let the others go on, they may have taken it back already.
        let is_told = self.checkers.knows_that_it_is_given_up(site) || self.checkers.remain().contains(&site);
        if aside_us < u64::MAX || !is_told {
            return Ok(force);
        }
        self.checkers.is_back(site);
        self.add_back(site);
        Ok(Force { stage: Stage::Returning, ..force })
    }

    /// A site's directory is kept aside, or its disk was lost meanwhile: it begins anew on an empty one.
    fn keep_aside(&mut self, site: SiteId) -> Verdict {
        self.kill(site, "its directory is kept aside")?;
        let fresh = self.fresh();
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        host.disk = SimDisk::default();
        (host.flight, host.took_over, host.put_back, host.disk_is_new) = (None, false, false, true);
        Site::join(&host.config, fresh, &mut host.disk).expect("an empty disk takes an identity");
        self.checkers.lost(site);
        Ok(())
    }

    /// A site refuses another since an operator has made two histories of theirs: only who has released otherwise, or knows
    /// of ends that were decided otherwise, is refused.
    pub(crate) fn histories_differ(&mut self, by: SiteId) -> Verdict {
        let back = self.operator.force.as_mut().map(|force| (force.stage, &mut force.refused));
        let Some((Stage::Back(site, _), refused)) = back else {
            return broken("I-16", format!("site {by} refuses another one, and no history was given up"));
        };
        if site != by {
            return Ok(());
        }
        *refused = true;
        ensure(self.checkers.may_be_refused(site), "I-16", || {
            format!("site {site} takes the others' history for another one than its own, and it is not")
        })
    }
}
