//! The model's state and steps. Ballot `b` is proposed by one proposer only; its number is its place from 1.

use stateright::{Model, Property};

pub(crate) const SITES_MAX: usize = 5;
const BALLOTS_MAX: usize = 3;

/// How large a world is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) sites: usize,
    /// Entries that the owner may write.
    pub(crate) entries: u8,
    pub(crate) ballots: usize,
    /// Disks that may be lost (at most one at a time is without its votes).
    pub(crate) wipes: u8,
}

/// A rule that is left out or bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// Rule 2: who promised reports what it holds.
    NotFrozen,
    /// Rule 3: the lowest frontier is taken.
    LowestFrontier,
    /// Rule 3: what was accepted before is not asked for.
    AcceptedForgotten,
    /// Rule 1: a ballot below the promised one is accepted.
    OlderBallotsAccepted,
    /// Rule 4.
    AcceptsWithoutHolding,
    /// Rule 5: who knows the decision reports what it holds.
    ThawsAtTheDecision,
    /// Rule 1: one promise less than a majority is enough.
    MinorityPromises,
    /// Rule 5: an adoption is written for what one site holds.
    AdoptsWhatOneHolds,
    /// Rule 6: a wiped site votes as if it had never voted.
    WipedVotesAtOnce,
    /// Rule 6: a wiped site votes once it knows the votes, without what the others held.
    WipedVotesUnsynced,
    /// Rule 6: ballots promised by a storage that is gone are accepted.
    GonePromisesCount,
    /// Rule 6: a vote of a storage that is gone decides.
    GoneVotesCount,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Site {
    /// How much of the journal it durably holds.
    held: u8,
    released: u8,
    /// Its votes.
    promised: u8,
    accepted: Option<(u8, u8)>,
    frozen: Option<u8>,
    frontier: Option<u8>,
    knows: bool,
    /// How often its disk was lost.
    storage: u8,
    /// Whether it may vote.
    votes: bool,
    /// For each other site, the storages below this are known to be gone.
    gone: [u8; SITES_MAX],
    /// Who has told it their votes since its disk was lost, and the most that one of them held then.
    told: u8,
    owes: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Ballot {
    /// Which storage of each site promised it, plus one; 0 where none did.
    promisers: [u8; SITES_MAX],
    best: Option<(u8, u8)>,
    frontier: u8,
    lowest: Option<u8>,
    value: Option<u8>,
    /// Which storage of each site accepted it, plus one.
    accepters: [u8; SITES_MAX],
    /// For each site, the storages below this were gone when one of the accepters accepted.
    gone: [u8; SITES_MAX],
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    sites: [Site; SITES_MAX],
    ballots: [Ballot; BALLOTS_MAX],
    /// The cuts that were decided; all must be one.
    decided: [Option<u8>; BALLOTS_MAX],
    /// How far the tail was adopted.
    adopted: Option<u8>,
    written: u8,
    wipes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
    Replicate(usize),
    Promise(usize, usize),
    Choose(usize),
    Accept(usize, usize),
    Learn(usize),
    Adopt(u8),
    Wipe(usize),
    /// The second tells the first its votes.
    Tell(usize, usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) bounds: Bounds,
    pub(crate) mutant: Mutant,
}

impl Setting {
    fn quorum(&self) -> usize {
        self.bounds.sites / 2 + 1
    }

    fn cut(world: &World) -> Option<u8> {
        world.decided.iter().flatten().next().copied()
    }

    /// What a site says for the quorum of a release.
    fn reports(&self, world: &World, site: usize) -> u8 {
        let it = &world.sites[site];
        let cut = Setting::cut(world).filter(|_| it.knows);
        match (it.frozen, cut) {
            _ if !it.votes => 0,
            _ if self.mutant == Mutant::NotFrozen => it.held,
            (_, Some(_)) if self.mutant == Mutant::ThawsAtTheDecision => it.held,
            (_, Some(cut)) => it.held.min(cut),
            (Some(frozen), None) => it.held.min(frozen),
            (None, None) => it.held,
        }
    }

    fn may_release(&self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let seq = it.released;
        let counted = (0..self.bounds.sites).filter(|other| self.reports(world, *other) > seq).count();
        let within = !it.knows || Setting::cut(world).is_none_or(|cut| seq < cut);
        seq < it.held && counted >= self.quorum() && within
    }

    fn holders(&self, world: &World, seq: u8) -> usize {
        (0..self.bounds.sites).filter(|site| world.sites[*site].held > seq).count()
    }

    fn has_promises(&self, ballot: &Ballot) -> bool {
        let slack = usize::from(self.mutant == Mutant::MinorityPromises);
        ballot.promisers.iter().filter(|storage| **storage > 0).count() + slack >= self.quorum()
    }

    fn may_accept(&self, world: &World, site: usize, at: usize) -> bool {
        let (it, ballot) = (&world.sites[site], &world.ballots[at]);
        let Some(value) = ballot.value else { return false };
        let number = at as u8 + 1;
        let in_order = it.promised <= number || self.mutant == Mutant::OlderBallotsAccepted;
        let holds = it.held >= value || self.mutant == Mutant::AcceptsWithoutHolding;
        let alive = (0..self.bounds.sites)
            .all(|other| ballot.promisers[other] == 0 || ballot.promisers[other] > it.gone[other])
            || self.mutant == Mutant::GonePromisesCount;
        let fresh = ballot.accepters[site] <= it.storage;
        it.votes && in_order && holds && alive && fresh
    }

    fn adoption(&self, world: &World) -> Option<(u8, u8)> {
        let from = world.adopted.or(Setting::cut(world))?;
        let needed = if self.mutant == Mutant::AdoptsWhatOneHolds { 1 } else { self.quorum() };
        (self.holders(world, from) >= needed).then_some((from, from + 1))
    }
}

impl Model for Setting {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        world.sites[..self.bounds.sites].iter_mut().for_each(|site| site.votes = true);
        vec![world]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        let owner = &world.sites[0];
        if world.written < self.bounds.entries && owner.held == world.written && owner.storage == 0 {
            out.push(Step::Write);
        }
        if let Some((_, to)) = self.adoption(world) {
            out.push(Step::Adopt(to));
        }
        for site in 0..self.bounds.sites {
            let it = &world.sites[site];
            if it.held < self.most_held(world) {
                out.push(Step::Replicate(site));
            }
            if Setting::cut(world).is_some() && !it.knows {
                out.push(Step::Learn(site));
            }
            if world.wipes < self.bounds.wipes && it.votes {
                out.push(Step::Wipe(site));
            }
            if !it.votes {
                out.extend(
                    (0..self.bounds.sites)
                        .filter(|other| *other != site)
                        .map(|other| Step::Tell(site, other)),
                );
            }
            for at in 0..self.bounds.ballots {
                let undecided = world.ballots[at].value.is_none();
                if it.votes && undecided && it.promised < at as u8 + 1 {
                    out.push(Step::Promise(site, at));
                }
                if self.may_accept(world, site, at) {
                    out.push(Step::Accept(site, at));
                }
            }
        }
        for at in 0..self.bounds.ballots {
            if world.ballots[at].value.is_none() && self.has_promises(&world.ballots[at]) {
                out.push(Step::Choose(at));
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Write => {
                world.written += 1;
                world.sites[0].held = world.written;
            }
            Step::Replicate(site) => {
                world.sites[site].held += 1;
                self.come_back(&mut world.sites[site]);
            }
            Step::Learn(site) => world.sites[site].knows = true,
            Step::Adopt(to) => world.adopted = Some(to),
            Step::Promise(site, at) => self.promise(&mut world, site, at),
            Step::Choose(at) => self.choose(&mut world, at),
            Step::Accept(site, at) => self.accept(&mut world, site, at),
            Step::Wipe(site) => self.wipe(&mut world, site),
            Step::Tell(site, other) => self.tell(&mut world, site, other),
        }
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
            Property::always(
                "nothing beyond the cut is released before it is adopted",
                |_, world: &World| {
                    let cut = Setting::cut(world);
                    cut.is_none_or(|cut| world.sites.iter().all(|site| site.released <= cut))
                },
            ),
            Property::always(
                "what is decided or adopted survives one disk",
                |model: &Setting, world: &World| {
                    let end = world.adopted.or(Setting::cut(world)).unwrap_or(0);
                    let lost = usize::from(world.wipes);
                    end == 0 || model.holders(world, end - 1) + lost >= model.quorum()
                },
            ),
            Property::sometimes("a cut is decided", |_, world: &World| Setting::cut(world) == Some(1)),
            Property::sometimes("a tail is adopted", |_, world: &World| world.adopted.is_some()),
        ]
    }
}

impl Setting {
    /// Every site releases as early as the rules let it: later is never worse.
    fn release(&self, world: &mut World) {
        for site in 0..self.bounds.sites {
            while self.may_release(world, site) {
                world.sites[site].released += 1;
            }
        }
    }

    /// All but the owner are alike: worlds that differ in their names only are one. (Who knows whose storage is gone
    /// goes by names, so not where disks are lost.)
    fn sort(&self, world: &mut World) {
        if self.bounds.wipes > 0 {
            return;
        }
        let mut others: Vec<_> = (1..self.bounds.sites)
            .map(|site| (world.sites[site], world.ballots.map(|it| (it.promisers[site], it.accepters[site]))))
            .collect();
        others.sort_unstable();
        for (site, (state, votes)) in (1..).zip(others) {
            world.sites[site] = state;
            for (ballot, (promised, accepted)) in world.ballots.iter_mut().zip(votes) {
                ballot.promisers[site] = promised;
                ballot.accepters[site] = accepted;
            }
        }
    }

    fn most_held(&self, world: &World) -> u8 {
        world.sites[..self.bounds.sites].iter().map(|site| site.held).max().unwrap_or(0)
    }

    fn promise(&self, world: &mut World, site: usize, at: usize) {
        let it = &mut world.sites[site];
        it.promised = at as u8 + 1;
        let held = it.held;
        it.frozen.get_or_insert(held);
        // What a wiped site reports for a release says nothing of what it reported before: here it tells what it holds.
        let frozen = (*it.frontier.get_or_insert(held)).max(it.released.min(held));
        let ballot = &mut world.ballots[at];
        ballot.promisers[site] = it.storage + 1;
        ballot.best = ballot.best.max(it.accepted);
        ballot.frontier = ballot.frontier.max(frozen);
        ballot.lowest = Some(ballot.lowest.map_or(frozen, |lowest| lowest.min(frozen)));
    }

    fn choose(&self, world: &mut World, at: usize) {
        let ballot = &mut world.ballots[at];
        let best = ballot.best.filter(|_| self.mutant != Mutant::AcceptedForgotten);
        let free = match self.mutant {
            Mutant::LowestFrontier => ballot.lowest.unwrap_or(0),
            _ => ballot.frontier,
        };
        ballot.value = Some(best.map_or(free, |(_, value)| value));
        // What the choice was made from matters no more.
        (ballot.best, ballot.frontier, ballot.lowest) = (None, 0, None);
        if self.bounds.wipes == 0 {
            ballot.promisers = [0; SITES_MAX];
        }
    }

    fn accept(&self, world: &mut World, site: usize, at: usize) {
        let number = at as u8 + 1;
        let value = world.ballots[at].value.expect("only a chosen value is accepted");
        let it = &mut world.sites[site];
        it.promised = it.promised.max(number);
        it.accepted = Some((number, value));
        let gone = if self.mutant == Mutant::GoneVotesCount { [0; SITES_MAX] } else { it.gone };
        let storage = it.storage;
        let ballot = &mut world.ballots[at];
        ballot.accepters[site] = storage + 1;
        ballot.gone = std::array::from_fn(|other| ballot.gone[other].max(gone[other]));
        let counts = |other: &usize| ballot.accepters[*other] > ballot.gone[*other];
        if (0..self.bounds.sites).filter(counts).count() >= self.quorum() {
            world.decided[at] = Some(value);
        }
    }

    fn wipe(&self, world: &mut World, site: usize) {
        world.wipes += 1;
        let storage = world.sites[site].storage + 1;
        // What it had released is still what was read there.
        let released = world.sites[site].released;
        let votes = self.mutant == Mutant::WipedVotesAtOnce;
        let mut gone = [0; SITES_MAX];
        gone[site] = storage;
        world.sites[site] = Site { storage, released, votes, gone, ..Site::default() };
    }

    fn come_back(&self, it: &mut Site) {
        let holds = it.held >= it.owes || self.mutant == Mutant::WipedVotesUnsynced;
        it.votes |= it.told.count_ones() as usize >= self.quorum() && holds;
    }

    fn tell(&self, world: &mut World, site: usize, other: usize) {
        let (storage, theirs) = (world.sites[site].storage, world.sites[other]);
        if !theirs.votes {
            return;
        }
        world.sites[other].gone[site] = storage;
        let it = &mut world.sites[site];
        it.told |= 1 << other;
        it.promised = it.promised.max(theirs.promised);
        it.accepted = it.accepted.max(theirs.accepted);
        if theirs.promised > 0 {
            // It cannot know what its lost disk reported: nothing of the journal counts here until the cut is known.
            it.frozen = Some(0);
        }
        it.gone[other] = it.gone[other].max(theirs.storage);
        it.owes = it.owes.max(theirs.held);
        self.come_back(it);
    }
}
