//! The order as one would first write it down: everything from the start, each time, by searching.

use clock::Stamp;
use entry::{Seq, SiteId};
use order::{Effect, Release, Weight};

use crate::history::{History, JOURNALS, MEMBERS};

/// What a site knows, as plain lists.
pub(crate) struct Naive<'a> {
    history: &'a History,
    pub(crate) held: [usize; JOURNALS.len()],
    pub(crate) counted: [[Seq; JOURNALS.len()]; MEMBERS.len()],
    /// Per journal: (w, head).
    promises: [Vec<(Stamp, Seq)>; JOURNALS.len()],
}

impl<'a> Naive<'a> {
    pub(crate) fn new(history: &'a History) -> Naive<'a> {
        Naive { history, held: Default::default(), counted: Default::default(), promises: Default::default() }
    }

    pub(crate) fn promised(&mut self, journal: usize, w: Stamp, head: Seq) {
        self.promises[journal].push((w, head));
    }

    /// What may have been released by now.
    pub(crate) fn released(&self) -> Vec<Release> {
        self.run(true)
    }

    /// The sequence, when everything is known.
    pub(crate) fn everything(&self) -> Vec<Release> {
        let held = std::array::from_fn(|journal| self.history.said[journal].len());
        Naive { history: self.history, held, counted: self.counted, promises: Default::default() }.run(false)
    }

    fn promise(&self, journal: usize) -> Stamp {
        let held = self.held[journal];
        let said = self.history.said[journal][..held].last().map_or(Stamp::ZERO, |said| said.stamp);
        let counts = self.promises[journal].iter().filter(|(_, head)| *head <= held as u64);
        counts.map(|(w, _)| *w).fold(said, Stamp::max)
    }

    fn run(&self, is_bound: bool) -> Vec<Release> {
        let mut next = [0; JOURNALS.len()];
        let mut floors: [Option<Stamp>; JOURNALS.len()] =
            std::array::from_fn(|journal| (journal < MEMBERS.len()).then_some(Stamp::ZERO));
        let mut out = Vec::new();
        loop {
            let head = |journal: usize| {
                let said = self.history.said[journal][..self.held[journal]].get(next[journal])?;
                Some((said.stamp.max(floors[journal]?), JOURNALS[journal], journal, said.weight))
            };
            let heads = (0..JOURNALS.len()).filter_map(head);
            let Some((at, id, journal, weight)) = heads.min_by_key(|(at, id, ..)| (*at, *id)) else {
                return out;
            };
            let silent = |journal: usize| floors[journal].is_some() && self.promise(journal) < at;
            let holders = self.counted.iter().filter(|member| member[journal] > next[journal] as u64).count();
            if is_bound && ((0..JOURNALS.len()).any(silent) || holders < 2) {
                return out;
            }
            let seq = next[journal] as u64;
            next[journal] += 1;
            let effect = match weight {
                Weight::Data => Effect::None,
                Weight::Seal { .. } | Weight::Adopt { .. } | Weight::Members { .. } => {
                    unreachable!("these histories have no seals, and members do not change")
                }
                Weight::Part { .. } if !may_part(journal, &floors, &next) => Effect::PartVoid,
                Weight::Part { .. } => {
                    floors[journal] = None;
                    Effect::Parted
                }
                Weight::Open { journal, first } => {
                    let target = JOURNALS.iter().position(|id| *id == journal).expect("it is one of ours");
                    let is_member = MEMBERS.contains(&journal.site);
                    if is_member && floors[target].is_none() && next[target] as u64 == first {
                        floors[target] = Some(at);
                        Effect::Opened { journal }
                    } else {
                        Effect::OpenVoid { journal }
                    }
                }
            };
            out.push(Release { journal: id, seq, at, effect });
        }
    }
}

/// One of three sites may leave, as long as none is sealed: a site stands where its newest journal that took part does.
fn may_part(journal: usize, floors: &[Option<Stamp>], next: &[usize]) -> bool {
    let took_part = |other: usize| other < MEMBERS.len() || next[other] > 0 || floors[other].is_some();
    let stands = |site: SiteId| {
        let of_site = (0..JOURNALS.len()).filter(|other| JOURNALS[*other].site == site && took_part(*other));
        let newest = of_site.max_by_key(|other| JOURNALS[*other].incarnation);
        newest.is_some_and(|newest| newest != journal && floors[newest].is_some())
    };
    floors[journal].is_some() && MEMBERS.into_iter().filter(|site| stands(*site)).count() >= 2
}
