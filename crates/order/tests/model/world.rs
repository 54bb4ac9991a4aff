//! The model's state and steps.

use stateright::{Model, Property};

use crate::merge::{Merged, Placed, View, merge};

pub(crate) const SITES: usize = 3;

/// How large a world is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Stamps go from 1 to this.
    pub(crate) stamps: u8,
    /// Entries in all.
    pub(crate) entries: usize,
    /// Entries per site.
    pub(crate) entries_each: [usize; SITES],
    pub(crate) crashes: u8,
    pub(crate) kinds: Kinds,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    Data,
    /// Site 0 parts and then goes on; the others say data, or open site 0.
    OneParts,
    /// Everyone may part and may open whoever has parted.
    AllPart,
}

/// A rule that is left out or bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// Rule 1: what is promised need not be durable.
    PromiseBeforeDurable,
    /// Rule 1: a start goes on above the last durable entry.
    CeilingForgotten,
    /// Rule 2: a promise counts at once.
    PromiseBeforeHead,
    /// Rule 3: what is held here is enough.
    LocalHold,
    /// Rule 3: one journal is not asked for its promise.
    IgnoresOneJournal,
    /// Rule 3: half of those that take part is enough.
    QuorumOfOpen,
    /// Rule 3: what waits for its quorum does not hold up the other journals.
    PassesTheBlocked,
    /// Rule 5: an opening acts when it is held.
    OpensWhenHeld,
    /// Rule 5: a parting acts when it is held.
    PartsWhenHeld,
    /// Rule 7: behind an opening, entries sort at their own stamps.
    OpensAtOwnStamp,
    /// Rule 8: the last may part.
    LastMayPart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Data,
    Part,
    Open { site: u8, first: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) stamp: u8,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// Its journal.
    pub(crate) said: Vec<Entry>,
    /// How much of it a crash leaves.
    durable: usize,
    /// The last stamp given or promised away.
    clock: u8,
    /// (w, head), as sent.
    promises: Vec<(u8, usize)>,
    /// What it holds of the others, durably.
    held: [u8; SITES],
    released: Vec<Placed>,
    went_back: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) sites: [Site; SITES],
    crashes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Say(usize, Entry),
    Sync(usize),
    Promise(usize, u8),
    /// One more entry of the second's journal at the first.
    Replicate(usize, usize),
    Crash(usize),
}

impl World {
    /// How much a site durably holds of a journal.
    pub(crate) fn held(&self, own: usize, site: usize) -> usize {
        if own == site { self.sites[site].durable } else { usize::from(self.sites[own].held[site]) }
    }

    /// How many sites durably hold an entry.
    pub(crate) fn holders(&self, site: usize, seq: usize) -> usize {
        (0..SITES).filter(|own| self.held(*own, site) > seq).count()
    }

    /// What a journal has promised, as far as it counts at a site.
    pub(crate) fn promise(&self, own: usize, site: usize, mutant: Mutant) -> u8 {
        let held = self.held(own, site);
        let counts = |head: usize| head <= held || mutant == Mutant::PromiseBeforeHead;
        let said = self.sites[site].promises.iter().filter(|(_, head)| counts(*head)).map(|(w, _)| *w);
        let implied = held.checked_sub(1).map(|last| self.sites[site].said[last].stamp);
        said.chain(implied).max().unwrap_or(0)
    }

    /// Nothing is under way any more: all is synced, replicated, and every journal has promised the last stamp.
    fn is_quiet(&self, stamps: u8) -> bool {
        let told = |own, site| {
            self.held(own, site) == self.sites[site].said.len()
                && self.promise(own, site, Mutant::None) == stamps
        };
        (0..SITES).all(|own| (0..SITES).all(|site| told(own, site)))
    }

    /// Where nothing more can be said, clocks do not tell two worlds apart.
    fn forget_clocks(&mut self, bounds: Bounds) {
        let said: usize = self.sites.iter().map(|site| site.said.len()).sum();
        if said == bounds.entries && self.crashes == bounds.crashes {
            self.sites.iter_mut().for_each(|site| site.clock = 0);
        }
    }

    fn release(&mut self, mutant: Mutant) {
        for own in 0..SITES {
            let placed = merge(self, View::Site(own, mutant)).placed;
            let site = &mut self.sites[own];
            site.went_back |= !placed.starts_with(&site.released);
            site.released = placed;
        }
    }
}

/// A model: how large, and by which rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) bounds: Bounds,
    pub(crate) mutant: Mutant,
}

impl Setting {
    fn kinds(&self, world: &World, site: usize) -> Vec<Kind> {
        let mut kinds = Vec::new();
        let may_part = match self.bounds.kinds {
            Kinds::Data => false,
            Kinds::OneParts => site == 0,
            Kinds::AllPart => true,
        };
        let has_parted = world.sites[site].said.iter().any(|entry| entry.kind == Kind::Part);
        if may_part && !has_parted {
            kinds.push(Kind::Part);
        }
        if !may_part || has_parted {
            kinds.push(Kind::Data);
        }
        // Worse than the code: anyone opens whoever has parted, released or not, as often as there is room.
        for parted in (0..SITES).filter(|parted| *parted != site) {
            let at = world.sites[parted].said.iter().position(|entry| entry.kind == Kind::Part);
            kinds.extend(at.map(|at| Kind::Open { site: parted as u8, first: at as u8 + 1 }));
        }
        kinds
    }

    fn promises(&self, world: &World, site: usize) -> impl Iterator<Item = u8> {
        let Site { said, durable, promises, .. } = &world.sites[site];
        // What a held entry implies need not be said.
        let implied = durable.checked_sub(1).map_or(0, |last| said[last].stamp);
        let from = promises.last().map_or(0, |(w, _)| *w).max(implied) + 1;
        let upto = match said.get(*durable) {
            Some(waiting) if self.mutant != Mutant::PromiseBeforeDurable => waiting.stamp - 1,
            _ => self.bounds.stamps,
        };
        from..=upto
    }
}

impl Model for Setting {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let said: usize = world.sites.iter().map(|site| site.said.len()).sum();
        for (own, site) in world.sites.iter().enumerate() {
            if said < self.bounds.entries && site.said.len() < self.bounds.entries_each[own] {
                for stamp in site.clock + 1..=self.bounds.stamps {
                    let kinds = self.kinds(world, own);
                    steps.extend(kinds.into_iter().map(|kind| Step::Say(own, Entry { stamp, kind })));
                }
            }
            if site.durable < site.said.len() {
                steps.push(Step::Sync(own));
            }
            steps.extend(self.promises(world, own).map(|w| Step::Promise(own, w)));
            let more = |from: &usize| *from != own && world.held(own, *from) < world.sites[*from].durable;
            steps.extend((0..SITES).filter(more).map(|from| Step::Replicate(own, from)));
            if world.crashes < self.bounds.crashes && site.durable < site.said.len() {
                steps.push(Step::Crash(own));
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::Say(own, entry) => {
                world.sites[own].said.push(entry);
                world.sites[own].clock = entry.stamp;
            }
            Step::Sync(own) => world.sites[own].durable = world.sites[own].said.len(),
            Step::Promise(own, w) => {
                let site = &mut world.sites[own];
                // Of two promises with one head the higher says it all.
                site.promises.retain(|(_, head)| *head != site.durable);
                site.promises.push((w, site.durable));
                site.clock = site.clock.max(w);
            }
            Step::Replicate(own, from) => world.sites[own].held[from] += 1,
            Step::Crash(own) => {
                world.crashes += 1;
                let site = &mut world.sites[own];
                site.said.truncate(site.durable);
                if self.mutant == Mutant::CeilingForgotten {
                    site.clock = site.said.last().map_or(0, |entry| entry.stamp);
                }
            }
        }
        world.release(self.mutant);
        world.forget_clocks(self.bounds);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Setting>> {
        let mut properties = safety();
        properties.push(Property::sometimes(
            "everyone has released everything",
            |setting: &Setting, world: &World| {
                let said: usize = world.sites.iter().map(|site| site.said.len()).sum();
                let all = |site: &Site| site.released.len() == setting.bounds.entries;
                said == setting.bounds.entries && world.sites.iter().all(all)
            },
        ));
        if self.bounds.kinds != Kinds::Data {
            properties
                .push(Property::sometimes("an opening acts", |_, world: &World| at_first(world).opened > 0));
            properties.push(Property::sometimes("an opening is void", |_, world: &World| {
                at_first(world).opened_void > 0
            }));
            properties.push(Property::sometimes(
                "an old entry sorts at its journal's opening",
                |_, world: &World| at_first(world).placed.iter().any(|placed| placed.at > placed.stamp),
            ));
        }
        if self.bounds.kinds == Kinds::AllPart {
            properties.push(Property::sometimes("a parting is void", |_, world: &World| {
                at_first(world).part_void > 0
            }));
        }
        properties
    }
}

/// What the first site has released.
fn at_first(world: &World) -> Merged {
    merge(world, View::Site(0, Mutant::None))
}

fn safety() -> Vec<Property<Setting>> {
    vec![
        Property::always("any two sites agree where both have released", |_, world: &World| {
            let released = |site: usize| &world.sites[site].released;
            let agree = |a: usize, b: usize| {
                released(a).starts_with(released(b)) || released(b).starts_with(released(a))
            };
            agree(0, 1) && agree(0, 2) && agree(1, 2)
        }),
        Property::always("what is released outlives any minority", |_, world: &World| {
            let safe = |placed: &Placed| world.holders(placed.site.into(), placed.seq.into()) > SITES / 2;
            world.sites.iter().all(|site| site.released.iter().all(safe))
        }),
        Property::always("a release is never taken back", |_, world: &World| {
            world.sites.iter().all(|site| !site.went_back)
        }),
        Property::always("nothing comes before what is released", |setting: &Setting, world: &World| {
            let order = merge(world, View::Everything(setting.mutant)).placed;
            world.sites.iter().all(|site| order.starts_with(&site.released))
        }),
        Property::always("sort stamps never go back", |_, world: &World| {
            world.sites.iter().all(|site| site.released.is_sorted_by_key(|placed| placed.at))
        }),
        Property::always("some journal is open", |setting: &Setting, world: &World| {
            (0..SITES).all(|own| merge(world, View::Site(own, setting.mutant)).open > 0)
        }),
        Property::always("when all is quiet, all is released", |setting: &Setting, world: &World| {
            let order = merge(world, View::Everything(setting.mutant)).placed;
            !world.is_quiet(setting.bounds.stamps) || world.sites.iter().all(|site| site.released == order)
        }),
    ]
}
