//! A second model: of four sites the last two are removed, one after the other, while they may be cut off and hear nothing of it.
//!
//! Who the members are, the witness does not know; each site asks it in the epoch that it stands in. What a change of members
//! takes is modelled as in `tests/members`: a quorum of the former members holds it, and nobody enters the next epoch before a
//! quorum of them has passed it. Whatever is decided in an epoch, a quorum decides; so no two of its quorums may miss each other.

use stateright::{Model, Property};

const SITES: usize = 4;
/// The members of each epoch, a bit for each site.
const MEMBERS: [u8; 3] = [0b1111, 0b0111, 0b0011];

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// Rule 5: the witness lets go on whoever asks, from however long ago.
    BehindLetGoOn,
    /// Rule 6: the word counts though fewer than half are left.
    WordOutlivesItsHalf,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Removals {
    pub(crate) mutant: Mutant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Site {
    /// How many of the two removals it holds, has passed, and has entered the epochs behind.
    held: u8,
    passed: u8,
    entered: u8,
    /// Who was given up, as far as it heard.
    lost: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    sites: [Site; SITES],
    /// At the witness: who was given up, and the latest epoch that it has heard of.
    decided: u8,
    heard: u8,
    /// Whether the witness has given up more than half of the members that it had heard of.
    wronged: bool,
    /// The quorums that could decide something in each epoch, a bit for each.
    decides: [u16; MEMBERS.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first site writes the next removal.
    Write,
    Hold {
        from: usize,
        to: usize,
    },
    Pass(usize),
    Enter(usize),
    /// The witness hears which epoch a site has entered.
    Hear(usize),
    /// A site asks the witness to go on without these.
    Ask(usize, u8),
    /// A site hears what the witness has decided.
    Told(usize),
}

fn holds(set: u8, site: usize) -> bool {
    set & 1 << site != 0
}

impl Removals {
    /// Who of an epoch's members is given up, as far as a site has heard.
    fn given_up(self, site: &Site, epoch: u8) -> u8 {
        let members = MEMBERS[usize::from(epoch)];
        let remain = members & !site.lost;
        let half = 2 * remain.count_ones() >= members.count_ones();
        if half || self.mutant == Mutant::WordOutlivesItsHalf { members & site.lost } else { 0 }
    }

    /// Who counts among an epoch's members for a site, and how many of them are a quorum.
    fn quorum(self, site: &Site, epoch: u8) -> (u8, u32) {
        let members = MEMBERS[usize::from(epoch)];
        let remain = members & !self.given_up(site, epoch);
        let all = remain.count_ones();
        (remain, if remain == members { all / 2 + 1 } else { all })
    }

    fn is_quorum(self, site: &Site, epoch: u8, counts: impl Fn(usize) -> bool) -> bool {
        let (remain, needed) = self.quorum(site, epoch);
        let all = (0..SITES).filter(|other| holds(remain, *other) && counts(*other)).count();
        needed > 0 && all >= needed as usize
    }

    fn may_pass(self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let reports = |other: usize| {
            let other = &world.sites[other];
            other.held > it.passed && other.entered >= it.passed
        };
        it.held > it.passed && self.is_quorum(it, it.passed, reports)
    }

    fn may_enter(self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let tells = |other: usize| {
            let other = &world.sites[other];
            other.passed > it.entered && other.entered >= it.entered
        };
        let is_led = world.sites.iter().any(|other| other.entered > it.entered);
        it.passed > it.entered && (is_led || self.is_quorum(it, it.entered, tells))
    }

    /// Whether a site votes among the members of the epoch that it stands in.
    fn votes(self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        let members = MEMBERS[usize::from(it.passed)];
        it.passed == it.entered && holds(members & !self.given_up(it, it.passed), site)
    }

    fn may_ask(self, world: &World, site: usize, lost: u8) -> bool {
        let it = &world.sites[site];
        let members = MEMBERS[usize::from(it.passed)];
        let half = lost & !members == 0 && 2 * lost.count_ones() == members.count_ones();
        let all = members & (world.decided | lost);
        let lets = !holds(all, site) && 2 * all.count_ones() <= members.count_ones();
        let behind = it.passed < world.heard && self.mutant != Mutant::BehindLetGoOn;
        self.votes(world, site) && half && lets && !behind
    }

    /// Whoever can decide something does: later is never worse.
    fn decide(self, world: &mut World) {
        let last = *world;
        for (site, it) in last.sites.iter().enumerate().filter(|(site, _)| self.votes(&last, *site)) {
            let (remain, needed) = self.quorum(it, it.passed);
            let willing = |other: usize| self.votes(&last, other) && last.sites[other].passed == it.passed;
            for set in (1..1_u8 << SITES).filter(|set| set & !remain == 0 && set.count_ones() == needed) {
                if holds(set, site) && (0..SITES).all(|other| !holds(set, other) || willing(other)) {
                    world.decides[usize::from(it.passed)] |= 1 << set;
                }
            }
        }
    }
}

fn meet(quorums: u16) -> bool {
    let all = || (1..1_u16 << SITES).filter(move |set| quorums & 1 << set != 0);
    all().all(|one| all().all(|other| one & other != 0))
}

impl Model for Removals {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        let first = &world.sites[0];
        if first.held == first.entered && usize::from(first.held) + 1 < MEMBERS.len() {
            out.push(Step::Write);
        }
        for site in 0..SITES {
            let it = &world.sites[site];
            let gives = |from: &usize| world.sites[*from].held > it.held;
            out.extend((0..SITES).filter(gives).map(|from| Step::Hold { from, to: site }));
            if self.may_pass(world, site) {
                out.push(Step::Pass(site));
            }
            if self.may_enter(world, site) {
                out.push(Step::Enter(site));
            }
            if it.entered > world.heard {
                out.push(Step::Hear(site));
            }
            let asks = (1..1 << SITES).filter(|lost| self.may_ask(world, site, *lost));
            out.extend(asks.map(|lost| Step::Ask(site, lost)));
            if it.lost != world.decided {
                out.push(Step::Told(site));
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = *last;
        match step {
            Step::Write => world.sites[0].held += 1,
            Step::Hold { from, to } => world.sites[to].held = last.sites[from].held,
            Step::Pass(site) => world.sites[site].passed += 1,
            Step::Enter(site) => world.sites[site].entered += 1,
            Step::Hear(site) => world.heard = last.sites[site].entered,
            Step::Ask(site, lost) => {
                world.decided |= lost;
                world.heard = last.heard.max(last.sites[site].passed);
                let heard = MEMBERS[usize::from(world.heard)];
                world.wronged |= 2 * (heard & !world.decided).count_ones() < heard.count_ones();
            }
            Step::Told(site) => world.sites[site].lost = last.decided,
        }
        self.decide(&mut world);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Removals>> {
        vec![
            Property::always("what is decided in an epoch, one history decides", |_, world: &World| {
                world.decides.iter().all(|quorums| meet(*quorums))
            }),
            Property::always("nobody is given up who goes on as the witness heard", |_, world: &World| {
                !world.wronged
            }),
            Property::sometimes("a half goes on", |_, world: &World| world.decides[0] & 1 << 0b1100 != 0),
            Property::sometimes("a half goes on behind a removal", |_, world: &World| {
                world.decided == 0b1001 && world.sites[1].entered == 1 && world.sites[1].lost == world.decided
            }),
            Property::sometimes("one of the last two goes on", |_, world: &World| {
                world.decides[2] & 1 << 0b0001 != 0
            }),
        ]
    }
}
