//! The model's state and steps. Ballot `b` is proposed by one proposer only; its number is its place from 1.

use stateright::{Model, Property};

const SITES_MAX: usize = 5;
const BALLOTS_MAX: usize = 2;
const EPOCHS_MAX: usize = 3;

/// What stands at a place of the merged order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The journal's next entry.
    Entry,
    /// The next change of members.
    Change,
}

/// A rule that is left out or bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// Rule 1: what lies behind a change is released by the majority before it.
    OldMajorityBehind,
    /// Rule 2: who has released a change votes on in the epoch before it until it has entered the next.
    VotesOn,
    /// Rule 3: a site enters as soon as it has released the change.
    EntersUntold,
    /// Rule 3: one less than a majority is enough to tell.
    FewerTell,
    /// Rule 3: who tells may still vote in the epoch before.
    TellersVoteOn,
    /// Rule 3: what a site reports counts for the new epoch before it has entered.
    CountsUnentered,
    /// Rule 4.
    NotFrozen,
    /// Rule 6.
    EntersUnheld,
    /// Rule 5: one of those who remain is enough.
    OneOfTheRest,
    /// Rule 5: those who were given up count beside those who remain.
    LostCount,
    /// Rule 5: both halves are forced to go on without the other.
    BothHalves,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The members of each epoch, one bit a site.
    pub(crate) members: &'static [u8],
    pub(crate) places: &'static [Place],
    pub(crate) sites: usize,
    pub(crate) ballots: usize,
    /// Who is given up by an operator, one bit a site.
    pub(crate) lost: u8,
    /// Who has agreed on an end behind the first entry before the changes, one bit a site; nobody where that is to be found out.
    pub(crate) agreed: u8,
    pub(crate) mutant: Mutant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Site {
    /// How much of the journal it durably holds.
    held: u8,
    /// How many places it has passed, and how many of the journal's entries it has released.
    passed: u8,
    read: u8,
    /// How many epochs it has entered besides the first.
    entered: u8,
    /// The most it reported in each epoch.
    told: [u8; EPOCHS_MAX],
    /// Its votes.
    promised: u8,
    accepted: Option<(u8, u8)>,
    frozen: Option<u8>,
    frontier: Option<u8>,
    /// Whether it knows who was given up.
    knows: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Ballot {
    epoch: Option<u8>,
    promisers: u8,
    best: Option<(u8, u8)>,
    frontier: u8,
    value: Option<u8>,
    accepters: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    sites: [Site; SITES_MAX],
    ballots: [Ballot; BALLOTS_MAX],
    /// The cuts that were decided; all must be one.
    decided: [Option<u8>; BALLOTS_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
    Replicate(usize),
    Promise(usize, usize),
    Choose(usize),
    Accept(usize, usize),
    /// A site releases a change of members.
    Change(usize),
    /// A site enters the next epoch; these told it their votes.
    Enter(usize, u8),
    /// A site learns who was given up.
    Know(usize),
}

impl Setting {
    fn is_member(&self, site: usize, epoch: u8) -> bool {
        self.members[usize::from(epoch)] & 1 << site != 0
    }

    /// How many of which sites are enough in an epoch, as one site sees it.
    fn quorum(&self, it: (usize, &Site), epoch: u8) -> (u8, u32) {
        let members = self.members[usize::from(epoch)];
        let lost = match self.mutant {
            Mutant::BothHalves if self.lost & 1 << it.0 != 0 => !self.lost,
            _ => self.lost,
        };
        let rest = members & !lost;
        match self.mutant {
            _ if !it.1.knows || rest == members => (members, members.count_ones() / 2 + 1),
            Mutant::OneOfTheRest => (rest, 1),
            Mutant::LostCount => (members, rest.count_ones()),
            _ => (rest, rest.count_ones()),
        }
    }

    fn is_enough(&self, it: (usize, &Site), sites: u8, epoch: u8) -> bool {
        let (of, needed) = self.quorum(it, epoch);
        (sites & of).count_ones() >= needed
    }

    /// Whether these sites are enough for anybody who may try a ballot.
    fn decides(&self, world: &World, sites: u8, epoch: u8) -> bool {
        let all = world.sites[..self.sites].iter().enumerate();
        all.into_iter().any(|it| self.is_enough(it, sites, epoch))
    }

    fn may_know(&self, world: &World, site: usize) -> bool {
        let remains = |site: usize| self.lost & 1 << site == 0 || self.mutant == Mutant::BothHalves;
        let heard = (0..self.sites).any(|other| remains(other) && world.sites[other].knows);
        self.lost != 0 && !world.sites[site].knows && (remains(site) || heard)
    }

    fn cut(world: &World) -> Option<u8> {
        world.decided.iter().flatten().next().copied()
    }

    /// The epoch at a place of the order, counted from 0.
    fn epoch(&self, passed: u8) -> u8 {
        self.places[..usize::from(passed)].iter().filter(|place| **place == Place::Change).count() as u8
    }

    fn entries(&self) -> u8 {
        self.places.iter().filter(|place| **place == Place::Entry).count() as u8
    }

    /// What a site says for the quorum of a release.
    fn reports(it: &Site) -> u8 {
        it.frozen.map_or(it.held, |frozen| frozen.min(it.held))
    }

    fn is_reported(&self, world: &World, it: (usize, &Site), epoch: u8) -> bool {
        let counts = |other: &Site| {
            let from = if self.mutant == Mutant::CountsUnentered { 0 } else { usize::from(epoch) };
            other.told[from..].iter().any(|told| *told > it.1.read)
        };
        let sites = (0..self.sites).filter(|site| counts(&world.sites[*site]));
        self.is_enough(it, sites.fold(0, |all, site| all | 1 << site), epoch)
    }

    /// Whether a site may release the journal's next entry.
    fn may_release(&self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let epoch = if self.mutant == Mutant::OldMajorityBehind { 0 } else { self.epoch(it.passed) };
        self.places.get(usize::from(it.passed)) == Some(&Place::Entry)
            && it.held > it.read
            && self.is_reported(world, (site, it), epoch)
    }

    /// The epoch in which a site votes.
    fn votes_in(&self, site: usize, it: &Site) -> Option<u8> {
        let stays = self.epoch(it.passed) == it.entered || self.mutant == Mutant::VotesOn;
        (stays && self.is_member(site, it.entered)).then_some(it.entered)
    }

    fn is_of(ballot: &Ballot, epoch: u8) -> bool {
        ballot.epoch.is_none_or(|of| of == epoch)
    }

    fn may_promise(&self, world: &World, site: usize, at: usize) -> bool {
        let (it, ballot) = (&world.sites[site], &world.ballots[at]);
        let epoch = self.votes_in(site, it);
        let free = ballot.value.is_none() && it.promised < at as u8 + 1;
        free && epoch.is_some_and(|epoch| Setting::is_of(ballot, epoch))
    }

    fn may_accept(&self, world: &World, site: usize, at: usize) -> bool {
        let (it, ballot) = (&world.sites[site], &world.ballots[at]);
        let (Some(value), Some(epoch)) = (ballot.value, self.votes_in(site, it)) else { return false };
        let fresh = ballot.accepters & 1 << site == 0;
        fresh && Setting::is_of(ballot, epoch) && it.promised <= at as u8 + 1 && it.held >= value
    }

    /// Whether a site may tell another that enters the epoch behind `from`.
    fn may_tell(&self, site: usize, it: &Site, from: u8) -> bool {
        let stopped = self.epoch(it.passed) > from || self.mutant == Mutant::TellersVoteOn;
        self.is_member(site, from) && stopped && it.entered >= from
    }

    /// Whether a site may release the change that is next: as those who have entered the epoch in front of it report.
    fn may_change(&self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let epoch = self.epoch(it.passed);
        let entered = (0..self.sites).filter(|site| world.sites[*site].entered >= epoch);
        let entered = entered.fold(0, |all, site| all | 1 << site);
        let counted = self.mutant == Mutant::CountsUnentered || self.is_enough((site, it), entered, epoch);
        self.places.get(usize::from(it.passed)) == Some(&Place::Change) && counted
    }

    /// Whether a site holds all in front of an end that it, or one of these, has accepted.
    fn holds_accepted(&self, world: &World, site: usize, tellers: u8) -> bool {
        let told = (0..self.sites).filter(|other| *other == site || tellers & 1 << other != 0);
        let mut ends = told.filter_map(|other| world.sites[other].accepted);
        self.mutant == Mutant::EntersUnheld || ends.all(|(_, end)| world.sites[site].held >= end)
    }

    /// Who may tell a site that is about to enter the epoch behind `from`: the smallest sets that are enough.
    fn tellers(&self, world: &World, it: (usize, &Site)) -> Vec<u8> {
        let from = it.1.entered;
        if self.mutant == Mutant::EntersUntold {
            return vec![0];
        }
        let may = (0..self.sites).filter(|site| self.may_tell(*site, &world.sites[*site], from));
        let may = may.fold(0_u8, |all, site| all | 1 << site);
        let (of, needed) = self.quorum(it, from);
        let needed = needed - u32::from(self.mutant == Mutant::FewerTell);
        let mut sets: Vec<u8> =
            (0..1 << self.sites).filter(|set| set & !(may & of) == 0 && set.count_ones() == needed).collect();
        let entered = (0..self.sites).filter(|site| world.sites[*site].entered > from);
        sets.extend(entered.map(|site| 1 << site));
        sets.retain(|set| self.holds_accepted(world, it.0, *set));
        sets
    }
}

impl Model for Setting {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        let voter = Site { held: 1, promised: 1, accepted: Some((1, 1)), frozen: Some(1), ..Site::default() };
        for site in (0..self.sites).filter(|site| self.agreed & 1 << site != 0) {
            world.sites[site] = Site { frontier: Some(1), ..voter };
            world.ballots[0] =
                Ballot { epoch: Some(0), value: Some(1), accepters: self.agreed, ..Ballot::default() };
            world.decided[0] = Some(1);
        }
        vec![world]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        let most = world.sites.iter().map(|site| site.held).max().unwrap_or(0);
        if world.sites[0].held == most && most < self.entries() {
            out.push(Step::Write);
        }
        for site in 0..self.sites {
            let it = &world.sites[site];
            if it.held < most {
                out.push(Step::Replicate(site));
            }
            if self.may_change(world, site) {
                out.push(Step::Change(site));
            }
            if it.entered < self.epoch(it.passed) {
                out.extend(self.tellers(world, (site, it)).into_iter().map(|set| Step::Enter(site, set)));
            }
            if self.may_know(world, site) {
                out.push(Step::Know(site));
            }
            for at in 0..self.ballots {
                if self.may_promise(world, site, at) {
                    out.push(Step::Promise(site, at));
                }
                if self.may_accept(world, site, at) {
                    out.push(Step::Accept(site, at));
                }
            }
        }
        for (at, ballot) in world.ballots.iter().enumerate() {
            let promised = ballot.epoch.is_some_and(|epoch| self.decides(world, ballot.promisers, epoch));
            if ballot.value.is_none() && promised {
                out.push(Step::Choose(at));
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Write => world.sites[0].held += 1,
            Step::Replicate(site) => world.sites[site].held += 1,
            Step::Promise(site, at) => promise(&mut world, (site, at)),
            Step::Choose(at) => {
                let ballot = &mut world.ballots[at];
                ballot.value = Some(ballot.best.map_or(ballot.frontier, |(_, value)| value));
                // What the choice was made from matters no more.
                (ballot.best, ballot.frontier, ballot.promisers) = (None, 0, 0);
            }
            Step::Accept(site, at) => Setting::accept(&mut world, site, at),
            Step::Change(site) => world.sites[site].passed += 1,
            Step::Enter(site, tellers) => self.enter(&mut world, site, tellers),
            Step::Know(site) => world.sites[site].knows = true,
        }
        self.decide(&mut world);
        self.release(&mut world);
        self.sort(&mut world);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Setting>> {
        vec![
            Property::always("one cut is decided", |_, world: &World| {
                let mut cuts = world.decided.iter().flatten();
                let first = cuts.next();
                cuts.all(|cut| Some(cut) == first)
            }),
            Property::always("nothing beyond the cut is released", |_, world: &World| {
                Setting::cut(world).is_none_or(|cut| world.sites.iter().all(|site| site.read <= cut))
            }),
            Property::always(
                "what is released or decided survives any minority",
                |model: &Setting, world: &World| {
                    let read = world.sites.iter().map(|site| site.read).max().unwrap_or(0);
                    let end = read.max(Setting::cut(world).unwrap_or(0));
                    let epoch = world.sites.iter().map(|site| model.epoch(site.passed)).max().unwrap_or(0);
                    let members = model.members[usize::from(epoch)];
                    let lack = (0..model.sites)
                        .filter(|site| members & 1 << site != 0 && world.sites[*site].held < end);
                    end == 0 || lack.count() as u32 <= members.count_ones() / 2
                },
            ),
            Property::always(
                "what is released outlives those who are given up",
                |model: &Setting, world: &World| {
                    let read = world.sites.iter().map(|site| site.read).max().unwrap_or(0);
                    (0..model.sites).any(|site| model.lost & 1 << site == 0 && world.sites[site].held >= read)
                },
            ),
            Property::sometimes("a cut is decided by the first members", |_, world: &World| {
                world.ballots.iter().any(|it| it.epoch == Some(0)) && Setting::cut(world).is_some()
            }),
            Property::sometimes("a cut is decided by the last members", |model: &Setting, world: &World| {
                let last = model.members.len() as u8 - 1;
                world
                    .decided
                    .iter()
                    .zip(&world.ballots)
                    .any(|(it, ballot)| it.is_some() && ballot.epoch == Some(last))
            }),
            Property::sometimes("all is released behind the changes", |model: &Setting, world: &World| {
                world.sites[..model.sites].iter().all(|site| site.read == model.entries())
            }),
        ]
    }
}

impl Setting {
    /// Every site releases entries as early as the rules let it (later is never worse), and says what it holds.
    fn release(&self, world: &mut World) {
        loop {
            let last = world.clone();
            for site in 0..self.sites {
                let reports = Setting::reports(&world.sites[site]);
                let it = &mut world.sites[site];
                let told = &mut it.told[usize::from(it.entered)];
                *told = reports.max(*told);
                if self.may_release(world, site) {
                    world.sites[site].passed += 1;
                    world.sites[site].read += 1;
                }
            }
            if *world == last {
                return;
            }
        }
    }

    /// Sites that do not own the journal and come and go alike are alike: worlds that differ in their names only are one.
    fn sort(&self, world: &mut World) {
        let of = self.members.iter().chain([&self.lost]);
        let kind = |site: usize| of.clone().fold(0, |all, of| all << 1 | (of >> site & 1));
        for (one, other) in [(1, 2)] {
            let votes = |world: &World, site: usize| {
                world.ballots.map(|ballot| (ballot.promisers >> site & 1, ballot.accepters >> site & 1))
            };
            let of = |site: usize| (world.sites[site], votes(world, site));
            if kind(one) != kind(other) || of(one) <= of(other) {
                continue;
            }
            world.sites.swap(one, other);
            let swapped = |bits: u8| match (bits >> one & 1, bits >> other & 1) {
                (a, b) if a == b => bits,
                _ => bits ^ (1 << one | 1 << other),
            };
            for ballot in &mut world.ballots {
                (ballot.promisers, ballot.accepters) = (swapped(ballot.promisers), swapped(ballot.accepters));
            }
        }
    }

    fn accept(world: &mut World, site: usize, at: usize) {
        let number = at as u8 + 1;
        let ballot = &mut world.ballots[at];
        let value = ballot.value.expect("only a chosen value is accepted");
        ballot.accepters |= 1 << site;
        let it = &mut world.sites[site];
        it.promised = number;
        it.accepted = it.accepted.max(Some((number, value)));
    }

    /// What enough have accepted, as anybody sees it, is decided.
    fn decide(&self, world: &mut World) {
        for at in 0..self.ballots {
            let ballot = world.ballots[at];
            if ballot.epoch.is_some_and(|epoch| self.decides(world, ballot.accepters, epoch)) {
                world.decided[at] = ballot.value;
            }
        }
    }

    fn enter(&self, world: &mut World, site: usize, tellers: u8) {
        for other in (0..self.sites).filter(|other| tellers & 1 << other != 0 && *other != site) {
            let theirs = world.sites[other];
            let it = &mut world.sites[site];
            it.promised = it.promised.max(theirs.promised);
            it.accepted = it.accepted.max(theirs.accepted);
            if theirs.promised > 0 && self.mutant != Mutant::NotFrozen {
                it.frozen = Some(0);
            }
        }
        world.sites[site].entered += 1;
    }
}

fn promise(world: &mut World, (site, at): (usize, usize)) {
    let it = &mut world.sites[site];
    it.promised = at as u8 + 1;
    let held = it.held;
    it.frozen.get_or_insert(held);
    let frontier = (*it.frontier.get_or_insert(held)).max(it.read.min(held));
    let ballot = &mut world.ballots[at];
    ballot.epoch.get_or_insert(it.entered);
    ballot.promisers |= 1 << site;
    ballot.best = ballot.best.max(it.accepted);
    ballot.frontier = ballot.frontier.max(frontier);
}
