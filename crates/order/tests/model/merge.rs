//! The merge rule of the model: written for reading, not for speed, and apart from the code it stands for.

use crate::world::{Entry, Kind, Mutant, SITES, World};

/// So many journals stay open.
const LEFT_MIN: usize = 2;

/// An entry in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub(crate) site: u8,
    pub(crate) seq: u8,
    /// Its own stamp, so that another entry in the same place is seen to be another.
    pub(crate) stamp: u8,
    /// Where it sorts.
    pub(crate) at: u8,
}

/// What came out of a run of the merge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    pub(crate) placed: Vec<Placed>,
    pub(crate) opened: u8,
    pub(crate) opened_void: u8,
    pub(crate) part_void: u8,
    pub(crate) open: usize,
}

/// Who looks, and by which rules.
#[derive(Clone, Copy)]
pub(crate) enum View {
    /// One site, with what it holds; releases only what may be released.
    Site(usize, Mutant),
    /// Nobody: all that was said, durable or not, as if nothing more could come.
    Everything(Mutant),
}

impl View {
    fn mutant(self) -> Mutant {
        match self {
            View::Site(_, mutant) | View::Everything(mutant) => mutant,
        }
    }

    fn held(self, world: &World, site: usize) -> usize {
        match self {
            View::Site(own, _) => world.held(own, site),
            View::Everything(_) => world.sites[site].said.len(),
        }
    }

    /// May an entry that sorts at `at` go, as far as this journal is concerned?
    fn has_promised(self, world: &World, site: usize, at: u8) -> bool {
        match self {
            View::Everything(_) => true,
            View::Site(own, Mutant::IgnoresOneJournal) if site == (own + 1) % SITES => true,
            View::Site(own, mutant) => world.promise(own, site, mutant) >= at,
        }
    }

    fn has_quorum(self, world: &World, site: usize, seq: usize, open: usize) -> bool {
        match self {
            View::Everything(_) | View::Site(_, Mutant::LocalHold) => true,
            View::Site(_, Mutant::QuorumOfOpen) => world.holders(site, seq) * 2 >= open,
            View::Site(..) => world.holders(site, seq) > SITES / 2,
        }
    }
}

/// Runs the merge from the start.
pub(crate) fn merge(world: &World, view: View) -> Merged {
    let mut next = [0; SITES];
    // Of an open journal: the stamp below which nothing of it sorts.
    let mut floors = [Some(0); SITES];
    let mut merged = Merged { open: SITES, ..Merged::default() };
    if view.mutant() == Mutant::PartsWhenHeld {
        // The requirement falls away as soon as the parting is held.
        floors = std::array::from_fn(|site| (!holds_part(world, view, site)).then_some(0));
    }
    let mut passed = [false; SITES];
    loop {
        let head = |site: usize| -> Option<(u8, usize, Entry)> {
            if passed[site] {
                return None;
            }
            let said = &world.sites[site].said[..view.held(world, site)];
            let entry = *said.get(next[site])?;
            let floor = match floors[site] {
                None if view.mutant() == Mutant::PartsWhenHeld => 0,
                floor => floor.or_else(|| early_opening(world, view, site))?,
            };
            let floor = if view.mutant() == Mutant::OpensAtOwnStamp { 0 } else { floor };
            Some((entry.stamp.max(floor), site, entry))
        };
        let Some((at, site, entry)) = (0..SITES).filter_map(head).min_by_key(|(at, site, _)| (*at, *site))
        else {
            break;
        };
        let stable = (0..SITES).all(|other| floors[other].is_none() || view.has_promised(world, other, at));
        if !stable {
            break;
        }
        if !view.has_quorum(world, site, next[site], merged.open) {
            if view.mutant() != Mutant::PassesTheBlocked {
                break;
            }
            passed[site] = true;
            continue;
        }
        merged.placed.push(Placed { site: site as u8, seq: next[site] as u8, stamp: entry.stamp, at });
        next[site] += 1;
        match entry.kind {
            Kind::Data => {}
            Kind::Part => {
                let open = floors.iter().flatten().count();
                if open > LEFT_MIN || view.mutant() == Mutant::LastMayPart {
                    floors[site] = None;
                } else {
                    merged.part_void += 1;
                }
            }
            Kind::Open { site: opened, first } => {
                let opened = usize::from(opened);
                if floors[opened].is_none() && next[opened] == usize::from(first) {
                    floors[opened] = Some(at);
                    merged.opened += 1;
                } else {
                    merged.opened_void += 1;
                }
            }
        }
        merged.open = floors.iter().flatten().count();
    }
    merged
}

/// A mutant's rule: an opening acts as soon as it is held, from the stamp that it carries.
fn early_opening(world: &World, view: View, site: usize) -> Option<u8> {
    let opens =
        |entry: &Entry| matches!(entry.kind, Kind::Open { site: opened, .. } if usize::from(opened) == site);
    let held = |other: usize| world.sites[other].said[..view.held(world, other)].iter();
    let early = view.mutant() == Mutant::OpensWhenHeld;
    (0..SITES).flat_map(held).find(|entry| early && opens(entry)).map(|entry| entry.stamp)
}

fn holds_part(world: &World, view: View, site: usize) -> bool {
    world.sites[site].said[..view.held(world, site)].iter().any(|entry| entry.kind == Kind::Part)
}
