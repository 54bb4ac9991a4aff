//! Generated histories: what a few journals say in the end.

use clock::Stamp;
use entry::{Incarnation, JournalId, MemberEpoch, Seq, SiteId};
use order::Weight;
use proptest::prelude::{Strategy, any};

pub(crate) const MEMBERS: [SiteId; 3] = [SiteId(1), SiteId(2), SiteId(3)];

/// The members' first lives, a second life, and a journal of a site that is no member.
pub(crate) const JOURNALS: [JournalId; 5] = [
    JournalId { site: SiteId(1), incarnation: Incarnation(0) },
    JournalId { site: SiteId(2), incarnation: Incarnation(0) },
    JournalId { site: SiteId(3), incarnation: Incarnation(0) },
    JournalId { site: SiteId(1), incarnation: Incarnation(1) },
    JournalId { site: SiteId(9), incarnation: Incarnation(0) },
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) stamp: Stamp,
    pub(crate) weight: Weight,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) said: [Vec<Said>; JOURNALS.len()],
}

impl History {
    /// One of the promises that the owner could truthfully make: (w, head) with all entries stamped ≤ w below head.
    pub(crate) fn promise(&self, journal: usize, nth: u64, late: Seq) -> (Stamp, Seq) {
        let said = &self.said[journal];
        let last = said.last().map_or(0, |said| said.stamp.raw());
        let w = Stamp::from_raw(nth % (last + 3));
        let below = said.iter().filter(|said| said.stamp <= w).count() as u64;
        (w, below + late)
    }
}

/// `turning` of a hundred entries part or open.
pub(crate) fn history(turning: u8) -> impl Strategy<Value = History> {
    let one = (0..JOURNALS.len(), 1..4u64, 0..100u8, any::<u16>());
    proptest::collection::vec(one, 0..60).prop_map(move |drawn| {
        let mut history = History { said: Default::default() };
        // Per journal, the seq after its last parting.
        let mut firsts = [0; JOURNALS.len()];
        for (journal, gap, turn, choice) in drawn {
            let said = &history.said[journal];
            let last = said.last().map_or(0, |said: &Said| said.stamp.raw());
            let weight = match turn {
                turn if turn >= turning => Weight::Data,
                turn if turn < turning / 3 => {
                    firsts[journal] = said.len() as u64 + 1;
                    Weight::Part { epoch: MemberEpoch::GENESIS }
                }
                _ => open(choice, &firsts),
            };
            history.said[journal].push(Said { stamp: Stamp::from_raw(last + gap), weight });
        }
        history
    })
}

/// Mostly an opening that somebody might have reason to write.
fn open(choice: u16, firsts: &[u64; JOURNALS.len()]) -> Weight {
    let target = usize::from(choice) % JOURNALS.len();
    let first = if choice.is_multiple_of(7) { u64::from(choice % 5) } else { firsts[target] };
    Weight::Open { journal: JOURNALS[target], first }
}
