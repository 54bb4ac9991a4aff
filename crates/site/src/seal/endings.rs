//! What was agreed on about journals, written into the merged order: seals, and adoptions of what lies beyond.
//!
//! Any site with an open journal may write them; copies are void, so taking turns only saves entries.

use entry::{AdoptBody, Body, Cut, JournalId, SealBody, Seq, SiteId};

use super::{BALLOT_US, REPEAT_US};
use crate::mutant::Mutant;
use crate::site::{Site, Step};

impl Site {
    /// Writes seals and adoptions, if that is up to this site now.
    pub(super) fn write_endings(&mut self, step: &mut Step<'_>) {
        let Some(own) = self.identity.journal() else { return };
        let takes_part = self.merge.order.is_open(own) && self.state.seals.cut(own).is_none();
        if !takes_part || self.may_write().is_err() {
            return;
        }
        let cuts = self.state.seals.cuts();
        let left = self.left_behind_by_removed().filter(|journal| !cuts.contains_key(journal));
        let ended = cuts.iter().map(|(journal, cut)| (*journal, Some(*cut)));
        let due: Vec<_> = ended.chain(left.map(|journal| (journal, None))).collect();
        for (journal, cut) in due {
            let Some((upto, body)) = self.next_ending(journal, cut) else { continue };
            let now_us = step.now.mono_us;
            let turn_us = self.turn_us(journal);
            let ending = self.state.seals.of(journal);
            let (known, since) = *ending.written.get_or_insert((Seq::MAX, now_us.saturating_sub(REPEAT_US)));
            let wait_us = if known == upto { BALLOT_US } else { REPEAT_US } + turn_us;
            if now_us.saturating_sub(since) < wait_us {
                continue;
            }
            ending.written = Some((upto, now_us));
            if let Ok(Some(stamp)) = self.mint(step.now) {
                let _ = self.say(stamp, body);
            }
        }
    }

    /// What has to be written next about a journal that ended.
    fn next_ending(&self, journal: JournalId, cut: Option<Cut>) -> Option<(Seq, Body)> {
        let next = self.merge.order.next_unreleased(journal);
        if let Some(cut) = cut.filter(|_| !self.merge.order.is_sealed(journal)) {
            let passed = self.merge.order.may_seal(journal, cut.next) && !self.merge.is_releasing();
            return passed.then_some((cut.next, Body::Seal(SealBody { journal, cut })));
        }
        let chain = self.journals.durable_chain(journal);
        let holders =
            1 + self.other_voters().filter(|site| self.holds_surely(*site, journal, chain.next)).count();
        let upto = Cut { next: chain.next, hash: chain.hash };
        let dropped = self.state.switch.has(Mutant::TailDropped);
        let enough = holders >= self.quorum() || self.state.switch.has(Mutant::AdoptedUnheld);
        let ready = chain.next > next && enough && self.votes() && !dropped;
        ready.then_some((chain.next, Body::Adopt(AdoptBody { journal, from: next, upto })))
    }

    /// Journals of sites that were removed: what these wrote without having heard of it is adopted too.
    fn left_behind_by_removed(&self) -> impl Iterator<Item = JournalId> {
        let order = &self.merge.order;
        self.journals.frontier().into_keys().filter(|journal| order.removed().contains(&journal.site))
    }

    fn holds_surely(&self, site: SiteId, journal: JournalId, next: Seq) -> bool {
        let counts = self.peers.frozen.get(&site).is_none_or(|frozen| !frozen.all);
        counts && self.peers.holds(site, journal) >= next
    }
}
