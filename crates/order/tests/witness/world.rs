//! The model's state and steps: two sites, each with a journal, and the witness.

use stateright::{Model, Property};

const EPOCHS: usize = 4;
/// How much each site writes.
const ENTRIES: u8 = 2;

/// A rule that is left out or bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// Rule 1: the witness counts as holding.
    WitnessHolds,
    /// Rule 2: it lets both go on.
    VotesTwice,
    /// Rule 3: a fresh disk votes at once.
    ForgetsWithItsDisk,
    /// Rule 3: a fresh disk votes as soon as anybody has told it something.
    OneTells,
    /// Rule 3: the word of the former disk counts with those who have told the fresh one.
    FormerWordCounts,
    /// Rule 4: who is taken back takes the word of the disk that the other has left.
    PledgeNotLearned,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) mutant: Mutant,
}

/// Who was given up in which epoch.
type Decisions = [[bool; 2]; EPOCHS];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Site {
    /// How much it holds of each journal, and how much of it can be read here.
    held: [u8; 2],
    read: [u8; 2],
    /// Whether it goes on without the other.
    alone: bool,
    /// Where the other's journal ended when it began to; no more of it is reported.
    cut: Option<u8>,
    /// Which epoch it has entered, and since which each site is a member as it sees it.
    epoch: u8,
    since: [u8; 2],
    /// The decisions it knows, and the witness's disk whose word it takes.
    known: Decisions,
    pledged: usize,
}

/// A disk of the witness. The first one may be back at any time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Disk {
    begun: bool,
    decided: Decisions,
    /// Who has told it what it knows, and whether it went on alone then.
    told: [Option<bool>; 2],
    /// The word it has given each site: in which epoch.
    word: [Option<u8>; 2],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    sites: [Site; 2],
    disks: [Disk; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write(usize),
    Replicate(usize),
    /// The witness lets a site go on.
    LetGoOn(usize),
    /// A site hears that it may, and does.
    GoOn(usize, u8),
    /// A site that goes on alone makes the other a member again.
    Add(usize),
    /// The other learns what became of it.
    Enter(usize),
    /// The witness begins anew, on a fresh disk.
    Begin,
    /// A site tells the fresh disk what it knows.
    Tell(usize),
}

fn stands(decisions: &Decisions, site: usize, since: u8) -> bool {
    decisions[usize::from(since)..].iter().any(|epoch| epoch[site])
}

impl Rules {
    fn votes(self, disk: &Disk) -> bool {
        let tells = |site: usize| disk.told[site].is_some_and(|alone| alone || disk.told[1 - site].is_some());
        match self.mutant {
            Mutant::ForgetsWithItsDisk => disk.begun,
            Mutant::OneTells => disk.told.iter().any(Option::is_some),
            _ => tells(0) || tells(1),
        }
    }

    fn may_let_go_on(self, world: &World, site: usize) -> bool {
        let it = &world.sites[site];
        // A disk that forgets is asked by whoever has not told it, too.
        let asked = match self.mutant {
            Mutant::ForgetsWithItsDisk if world.disks[1].begun => 1,
            _ => it.pledged,
        };
        let disk = &world.disks[asked];
        let against = self.mutant != Mutant::VotesTwice && stands(&disk.decided, site, it.since[site]);
        !it.alone && self.votes(disk) && !against
    }

    /// The word that lets a site go on: in which epoch it was given.
    fn may_go_on(self, world: &World, site: usize) -> Option<u8> {
        let it = &world.sites[site];
        let any = matches!(self.mutant, Mutant::FormerWordCounts | Mutant::ForgetsWithItsDisk);
        let counts = |disk: &usize| *disk == it.pledged || any;
        let mut words = (0..2).filter(counts).filter_map(|disk| world.disks[disk].word[site]);
        words.find(|epoch| !it.alone && *epoch >= it.since[1 - site])
    }

    /// How much of a journal can be read at a site.
    fn readable(self, world: &World, site: usize, journal: usize) -> u8 {
        let (it, other) = (&world.sites[site], &world.sites[1 - site]);
        let held = it.held[journal];
        if it.alone || self.mutant == Mutant::WitnessHolds {
            return held.max(it.read[journal]);
        }
        let reported = if other.epoch >= it.epoch { other.held[journal] } else { 0 };
        held.min(reported).max(it.read[journal])
    }

    /// Everybody reads as early as the rules let it: later is never worse.
    fn read(self, world: &mut World) {
        let last = *world;
        for (site, journal) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            world.sites[site].read[journal] = self.readable(&last, site, journal);
        }
    }
}

impl Model for Rules {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let first = Disk { begun: true, told: [Some(false); 2], ..Disk::default() };
        vec![World { disks: [first, Disk::default()], ..World::default() }]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        for site in 0..2 {
            let (it, other) = (&world.sites[site], &world.sites[1 - site]);
            if it.held[site] < ENTRIES {
                out.push(Step::Write(site));
            }
            // What lies beyond an end is left out.
            if it.held[1 - site] < other.held[1 - site] && it.cut.is_none() {
                out.push(Step::Replicate(site));
            }
            if self.may_let_go_on(world, site) {
                out.push(Step::LetGoOn(site));
            }
            out.extend(self.may_go_on(world, site).map(|epoch| Step::GoOn(site, epoch)));
            if it.alone && usize::from(it.epoch) + 1 < EPOCHS {
                out.push(Step::Add(site));
            }
            if it.epoch < other.epoch && !other.alone {
                out.push(Step::Enter(site));
            }
            if it.pledged == 0 && world.disks[1].begun {
                out.push(Step::Tell(site));
            }
        }
        if !world.disks[1].begun {
            out.push(Step::Begin);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = *last;
        match step {
            Step::Write(site) => world.sites[site].held[site] += 1,
            Step::Replicate(site) => world.sites[site].held[1 - site] += 1,
            Step::LetGoOn(site) => {
                let Site { epoch, pledged, .. } = last.sites[site];
                let forgets = self.mutant == Mutant::ForgetsWithItsDisk && last.disks[1].begun;
                let disk = &mut world.disks[if forgets { 1 } else { pledged }];
                disk.decided[usize::from(epoch)][1 - site] = true;
                disk.word[site] = Some(epoch);
            }
            Step::GoOn(site, epoch) => {
                let it = &mut world.sites[site];
                it.alone = true;
                it.cut = Some(it.held[1 - site]);
                it.known[usize::from(epoch)][1 - site] = true;
            }
            Step::Add(site) => {
                let it = &mut world.sites[site];
                it.epoch += 1;
                (it.alone, it.since[1 - site]) = (false, it.epoch);
            }
            Step::Enter(site) => {
                let other = &mut world.sites[1 - site];
                other.cut = None;
                let own = last.sites[site].pledged;
                let learned = if self.mutant == Mutant::PledgeNotLearned { 0 } else { other.pledged };
                world.sites[site] = Site { pledged: own.max(learned), ..*other };
            }
            Step::Begin => world.disks[1].begun = true,
            Step::Tell(site) => {
                let (it, disk) = (&mut world.sites[site], &mut world.disks[1]);
                it.pledged = 1;
                disk.told[site] = Some(it.alone);
                for (epoch, known) in it.known.iter().enumerate() {
                    for (site, given_up) in known.iter().enumerate() {
                        disk.decided[epoch][site] |= given_up;
                    }
                }
            }
        }
        self.read(&mut world);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Rules>> {
        vec![
            Property::always("one goes on, and nobody who was left behind", |_, world: &World| {
                let [one, other] = world.sites;
                let alone = |it: Site, other: Site| !it.alone || !other.alone && other.epoch <= it.epoch;
                alone(one, other) && alone(other, one)
            }),
            Property::always("nothing was read beyond the end", |_, world: &World| {
                (0..2).all(|site| {
                    let other = 1 - site;
                    world.sites[site].cut.is_none_or(|cut| world.sites[other].read[other] <= cut)
                })
            }),
            Property::always("what is read outlives either site while both count", |_, world: &World| {
                let [one, other] = world.sites;
                let together = !one.alone && !other.alone && one.epoch == other.epoch;
                let held = |journal: usize| one.held[journal].min(other.held[journal]);
                !together || (0..2).all(|journal| one.read[journal].max(other.read[journal]) <= held(journal))
            }),
            Property::sometimes("one goes on", |_, world: &World| world.sites[0].alone),
            Property::sometimes("who was taken back goes on without the other", |_, world: &World| {
                let it = &world.sites[0];
                it.alone && stands(&it.known, 1, 1) && it.known[0][0]
            }),
            Property::sometimes("a new disk lets one go on", |_, world: &World| {
                let said = world.disks[1].word.iter().any(Option::is_some);
                said && world.sites.iter().any(|it| it.alone && it.pledged == 1)
            }),
            Property::sometimes("all is read at both", |_, world: &World| {
                world.sites.iter().all(|it| it.read == [ENTRIES; 2])
            }),
        ]
    }
}
