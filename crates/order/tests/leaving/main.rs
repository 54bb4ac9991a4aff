//! Who may leave: the rule of the void parting, checked exhaustively beside the ends of journals, at 3, 4 and 5 sites.
//!
//! A seal or an opening can only be written in a journal that is open and has not ended. Members agree on ends before
//! the merged order shows them, and a parting is judged by the merged order alone. The rules, as the model needs them:
//!
//! 1. A member accepts an end only while fewer than half the sites (`AT_ONCE`), as far as it has itself accepted, are
//!    away: their newest journal has ended, and no later one has been opened. A majority of acceptances ends a journal.
//! 2. Each end takes a majority of `members · AT_ONCE` acceptances at most, so no more than [`ended_max`] sites are away
//!    at once. From five sites on that is more than half of them: two majorities share a member, three need not.
//! 3. A parting is void when it would leave fewer sites with an open journal than one more than may still be ended and
//!    not sealed: `1 + ended_max − away`, where away are those whose newest journal is sealed in the merged order.
//! 4. A seal closes an open journal or one that has parted, an opening lets in a fresh journal of a site that is away or
//!    a parted one.
//!
//! Worse than the code: ends are proposed at any time for any journal, parted ones among them; what others have accepted
//! is never heard of. Left out: where a journal ends (`tests/seal`), and that an attempt may be given up.

use stateright::{Checker, HasDiscoveries, Model, Property};

const THREADS: usize = 2;
const SITES_MAX: usize = 5;

/// A rule that is left out or bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// Rule 3: only the last open journal must stay.
    LastStays,
    /// Rule 2: as if no more sites could be away than each member lets.
    HalfAtOnce,
    /// Rule 3: who came back with a fresh journal still counts as away.
    ReturnedIsAway,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Standing {
    #[default]
    Open,
    Parted,
    Sealed,
}

/// A site's newest journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Site {
    standing: Standing,
    /// Who has accepted its end: a set of sites.
    accepted: u8,
    ended: bool,
    /// Whether it began behind a seal.
    returned: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct World {
    sites: [Site; SITES_MAX],
    returns: u8,
    voided: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Part(usize),
    /// The first accepts the end of the second's journal.
    Accept(usize, usize),
    Seal(usize),
    Open(usize),
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    members: usize,
    returns: u8,
    mutant: Mutant,
}

impl Setting {
    fn quorum(self) -> usize {
        self.members / 2 + 1
    }

    fn at_once(self) -> usize {
        (self.members - 1) / 2
    }

    fn ended_max(self) -> usize {
        match self.mutant {
            Mutant::LastStays => 0,
            Mutant::HalfAtOnce => self.at_once(),
            _ => self.members * self.at_once() / self.quorum(),
        }
    }

    fn sites<'a>(&self, world: &'a World) -> &'a [Site] {
        &world.sites[..self.members]
    }

    fn away(self, world: &World) -> usize {
        self.sites(world).iter().filter(|it| it.ended).count()
    }

    fn may_part(self, world: &World, site: usize) -> bool {
        let sites = self.sites(world);
        let left = sites.iter().filter(|it| it.standing == Standing::Open).count() - 1;
        let counts_as_away = |it: &&Site| {
            it.standing == Standing::Sealed || (self.mutant == Mutant::ReturnedIsAway && it.returned)
        };
        let away = sites.iter().filter(counts_as_away).count();
        sites[site].standing == Standing::Open && left > self.ended_max().saturating_sub(away)
    }

    fn may_accept(self, world: &World, by: usize, site: usize) -> bool {
        let sites = self.sites(world);
        let has = |it: &Site| it.accepted & (1 << by) != 0;
        let others = sites.iter().enumerate().filter(|(other, it)| *other != site && has(it)).count();
        let it = &sites[site];
        it.standing != Standing::Sealed && !it.ended && !has(it) && others < self.at_once()
    }

    fn has_writer(self, world: &World, beside: usize) -> bool {
        let writes =
            |(other, it): (usize, &Site)| other != beside && it.standing == Standing::Open && !it.ended;
        self.sites(world).iter().enumerate().any(writes)
    }

    /// Sites are alike: worlds that differ in their names only are one, mostly (those that look alike stay as they are).
    fn sorted(self, world: &World) -> World {
        let looks = |site: usize| {
            let it = world.sites[site];
            let gave = self.sites(world).iter().filter(|it| it.accepted & (1 << site) != 0).count();
            (it.standing, it.ended, it.returned, it.accepted.count_ones(), gave)
        };
        let mut order: Vec<usize> = (0..self.members).collect();
        order.sort_by_key(|site| looks(*site));
        let mut renamed = *world;
        for (to, from) in order.iter().enumerate() {
            let site = world.sites[*from];
            let moved = |(to, from): (usize, &usize)| ((site.accepted >> from) & 1) << to;
            let accepted = order.iter().enumerate().map(moved).sum();
            renamed.sites[to] = Site { accepted, ..site };
        }
        renamed
    }
}

impl Model for Setting {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        for (site, it) in self.sites(world).iter().enumerate() {
            if it.standing == Standing::Open {
                out.push(Step::Part(site));
            }
            out.extend((0..self.members).map(|by| Step::Accept(by, site)));
            if it.ended && it.standing != Standing::Sealed && self.has_writer(world, site) {
                out.push(Step::Seal(site));
            }
            let comes_back = it.standing == Standing::Sealed && world.returns < self.returns;
            if (comes_back || it.standing == Standing::Parted) && self.has_writer(world, site) {
                out.push(Step::Open(site));
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = *last;
        match step {
            Step::Part(site) if self.may_part(last, site) => world.sites[site].standing = Standing::Parted,
            Step::Part(_) => world.voided = true,
            Step::Accept(by, site) if self.may_accept(last, by, site) => {
                let it = &mut world.sites[site];
                it.accepted |= 1 << by;
                it.ended = it.accepted.count_ones() as usize >= self.quorum();
            }
            Step::Accept(..) => {}
            Step::Seal(site) => world.sites[site].standing = Standing::Sealed,
            Step::Open(site) if last.sites[site].standing == Standing::Parted => {
                world.sites[site].standing = Standing::Open;
            }
            Step::Open(site) => {
                world.returns += 1;
                world.sites[site] = Site { returned: true, ..Site::default() };
            }
        }
        (world != *last).then(|| self.sorted(&world))
    }

    fn properties(&self) -> Vec<Property<Setting>> {
        vec![
            Property::always("somebody can write seals and openings", |setting: &Setting, world: &World| {
                setting.has_writer(world, SITES_MAX)
            }),
            Property::always("no more are away than are counted with", |setting: &Setting, world| {
                setting.mutant != Mutant::None || setting.away(world) <= setting.ended_max()
            }),
            Property::sometimes("as many are away as are counted with", |setting: &Setting, world| {
                setting.away(world) == setting.ended_max()
            }),
            Property::sometimes("one leaves", |setting: &Setting, world: &World| {
                setting.sites(world).iter().any(|it| it.standing == Standing::Parted)
            }),
            Property::sometimes("a parting is void", |_, world: &World| world.voided),
            Property::sometimes("one leaves while one is away", |setting: &Setting, world: &World| {
                let stands = |standing| setting.sites(world).iter().any(|it| it.standing == standing);
                stands(Standing::Parted) && stands(Standing::Sealed)
            }),
        ]
    }
}

fn holds(setting: Setting) {
    let checker = setting.checker().threads(THREADS).spawn_bfs().join();
    println!("{setting:?}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

fn is_caught(mutant: Mutant, members: usize) {
    let setting = Setting { members, returns: 1, mutant };
    let found = HasDiscoveries::AnyFailures;
    let checker = setting.checker().threads(THREADS).finish_when(found).spawn_bfs().join();
    let path = checker.discovery("somebody can write seals and openings");
    println!("{mutant:?}: {:?}", path.as_ref().map(|path| path.clone().into_actions()));
    assert!(path.is_some(), "{mutant:?} was not caught in {} states", checker.unique_state_count());
}

#[test]
fn a_journal_to_write_in_is_always_left() {
    holds(Setting { members: 3, returns: 3, mutant: Mutant::None });
    holds(Setting { members: 4, returns: 2, mutant: Mutant::None });
    holds(Setting { members: 5, returns: 0, mutant: Mutant::None });
}

#[test]
fn every_broken_rule_of_leaving_is_caught() {
    is_caught(Mutant::LastStays, 3);
    is_caught(Mutant::ReturnedIsAway, 3);
    is_caught(Mutant::HalfAtOnce, 5);
}
