//! The order itself: one sequence out of many journals.
//!
//! The next entry is the one with the smallest (sort stamp, site, incarnation, seq) among the first waiting entries of
//! the open journals. It is released when every open journal has promised that nothing stamped so low can still come,
//! and when a quorum holds it; if it may not go, nothing behind it goes. A journal opens at the place of its opening
//! and sorts nothing before it; it leaves at the place of its parting, unless too few would be left to write in.
//!
//! The sequence is a function of the journals. The point up to which it is released is not: whoever uses this writes
//! that point down ([`Order::position`]) and, after a restart, comes back to it with [`Order::replay`].
//!
//! **Checkpoints.** An `Order` is serialised whole: positions, unreleased entries, opened and parted journals, promises
//! (they hold for ever) and retired storages. Counted frontiers are not: they are private to a site and soon heard again.
//!
//! It refuses to be led into disorder: an entry that its owner had promised away stops the order, for good
//! ([`Order::broken`]). Ask [`Order::check`] before an entry is taken in.

use std::collections::{BTreeMap, BTreeSet};

use clock::Stamp;
use entry::{Change, JournalId, MemberEpoch, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};

use crate::blocker::{Blocker, Why};
use crate::holders::Holders;
use crate::journal::{Journal, Promise};
use crate::release::{BrokenPromise, Effect, Release, Weight};
use crate::turn::{Turn, Turns, What};

/// The merged order of a cluster's journals, as one site knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    own: SiteId,
    journals: BTreeMap<JournalId, Journal>,
    /// Where the first waiting entry of each open journal sorts.
    heads: BTreeSet<(Stamp, JournalId)>,
    holders: Holders,
    position: u64,
    /// Where the last released entry sorts.
    reached: Stamp,
    turns: Turns,
    broken: Option<BrokenPromise>,
    /// A bug on purpose: only the last open journal must stay.
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    last_may_leave: bool,
    /// A bug on purpose: what lies beyond an end sorts like all else.
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    sorts_beyond: bool,
}

impl Order {
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the other build asks itself whether it is bent")]
    fn kept_to_write(&self, holders: &Holders, away: usize) -> usize {
        holders.ended_max().saturating_sub(away)
    }

    /// A new cluster's order: the first incarnation of every founder takes part. Founders are the members that hold
    /// data; a majority of them is a quorum.
    ///
    /// # Panics
    /// Without founders there is nothing to order.
    #[must_use]
    pub fn new(own: SiteId, founders: &[SiteId]) -> Order {
        assert!(!founders.is_empty(), "a cluster has at least one member that holds data");
        let genesis = |site: &SiteId| (JournalId::genesis(*site), Journal::genesis());
        Order {
            own,
            journals: founders.iter().map(genesis).collect(),
            heads: BTreeSet::new(),
            holders: Holders::new(founders),
            position: 0,
            reached: Stamp::ZERO,
            turns: Turns::default(),
            broken: None,
            #[cfg(feature = "mutants")]
            last_may_leave: false,
            #[cfg(feature = "mutants")]
            sorts_beyond: false,
        }
    }

    /// The same order in another site's hands: what is private to the one that wrote the checkpoint is forgotten.
    #[must_use]
    pub fn handed_to(mut self, own: SiteId) -> Order {
        if self.own != own {
            self.own = own;
            self.holders.forget();
        }
        self
    }

    /// Whether an entry may come at all: its owner has promised nothing against it. Entries below what is held here
    /// are not looked at.
    ///
    /// # Errors
    /// [`BrokenPromise`]: do not take the entry in, and quarantine the journal.
    pub fn check(&self, journal: JournalId, seq: Seq, stamp: Stamp) -> Result<(), BrokenPromise> {
        let Some(known) = self.journals.get(&journal) else { return Ok(()) };
        if seq < known.held() {
            return Ok(());
        }
        // An entry at the very stamp that was reached may only follow an opening at that stamp.
        let passed = match known.floor() {
            // What lies beyond a journal's end sorts where it is adopted.
            _ if known.is_beyond(seq) => Stamp::ZERO,
            Some(floor) if floor < self.reached => self.reached,
            _ => Stamp::ZERO,
        };
        let promised = known.bound(seq).max(passed);
        if stamp > promised { Ok(()) } else { Err(BrokenPromise { journal, seq, stamp, promised }) }
    }

    /// An entry is durable here. Entries come in their journal's order; which journal comes first does not matter.
    ///
    /// # Panics
    /// On a gap: the caller has checked the chain.
    pub fn held(&mut self, journal: JournalId, seq: Seq, stamp: Stamp, weight: Weight) {
        if let Err(broken) = self.check(journal, seq, stamp) {
            self.broken.get_or_insert(broken);
        }
        let removed = self.holders.members.removed().contains(&journal.site);
        let known = self.journals.entry(journal).or_default();
        if removed && !known.is_sealed() {
            known.seal_here();
        }
        assert_eq!(seq, known.held(), "journal {journal} is held without gaps");
        let was_waiting = known.is_waiting();
        known.hold(stamp, weight);
        if !was_waiting && let Some(at) = known.head() {
            self.heads.insert((at, journal));
        }
    }

    /// A journal's owner promises that all it stamps up to `w` is durable and below `head`. Of a journal that nothing
    /// is known of yet, promises are not kept: its owner will repeat itself.
    pub fn promised(&mut self, journal: JournalId, w: Stamp, head: Seq) {
        if let Some(known) = self.journals.get_mut(&journal) {
            known.promised(Promise { w, head });
        }
    }

    /// Forgets what the owner promised, for it to be said again: it is this very site, whose new process has yet to learn
    /// whether its disk holds all that it once said.
    pub fn forget_promise(&mut self, journal: JournalId) {
        if let Some(known) = self.journals.get_mut(&journal) {
            known.forget_promise();
        }
    }

    /// A site reports that its storage durably holds a journal up to `next`; this site reports like all others. A
    /// storage that differs from the site's last one replaces it, for good.
    pub fn counted(&mut self, site: SiteId, storage: StorageId, journal: JournalId, next: Seq) {
        self.holders.counted(site, storage, journal, next);
    }

    /// So much of these journals has its place already at a site that is further on.
    pub fn released_elsewhere(&mut self, released: impl IntoIterator<Item = (JournalId, Seq)>) {
        for (journal, next) in released {
            self.holders.released.advance(journal, next);
        }
    }

    /// Whether a site has reported with another storage since: what this one says counts no more.
    #[must_use]
    pub fn is_retired(&self, site: SiteId, storage: StorageId) -> bool {
        self.holders.is_retired(site, storage)
    }

    /// What a site's storage reports from here on is meant for the members of this epoch, and for those before.
    pub fn entered(&mut self, site: SiteId, storage: StorageId, epoch: MemberEpoch) {
        self.holders.entered(site, storage, epoch);
    }

    /// Releases what can be, at most `max` entries.
    pub fn release(&mut self, max: usize) -> Vec<Release> {
        self.release_where(max, |order, at, journal, stable| at <= stable && order.is_held_enough(journal))
    }

    /// A quorum holds the next entry, or did when somebody released it. Of what is adopted, a quorum held all when the adoption
    /// was written; and of what lies in front of a change of the members that somebody has entered, all that this one counts.
    fn is_held_enough(&self, journal: JournalId) -> bool {
        let adopted = self.journals.get(&journal).is_some_and(Journal::is_adopting);
        let enough = self.holders.quorum(journal).max(self.holders.passed(journal));
        adopted || self.next_unreleased(journal) < enough
    }

    fn release_where(
        &mut self,
        max: usize,
        may: impl Fn(&Order, Stamp, JournalId, Stamp) -> bool,
    ) -> Vec<Release> {
        let mut out = Vec::new();
        let mut stable = self.stable_point();
        while out.len() < max && self.broken.is_none() {
            let Some(&(at, journal)) = self.heads.first() else {
                if self.come_in_alone() {
                    stable = self.stable_point();
                    continue;
                }
                break;
            };
            if !may(self, at, journal, stable) || self.adopts_unheld(journal).is_some() {
                break;
            }
            let release = self.take();
            if release.effect != Effect::None {
                stable = self.stable_point();
            }
            out.push(release);
        }
        out
    }

    /// Recovery: releases again up to a position that was written down, without asking for promises or a quorum.
    ///
    /// # Panics
    /// If fewer entries are held than were released: they were durable before the position was.
    pub fn replay(&mut self, upto: u64) -> Vec<Release> {
        let mut out = Vec::new();
        while self.position < upto {
            assert!(
                !self.heads.is_empty() || self.come_in_alone(),
                "{upto} entries were released, but only {} are held",
                self.position
            );
            out.push(self.take());
        }
        out
    }

    /// Where all that took part has ended and nobody is left to open another journal, one that opens itself comes in. Only who
    /// remains alone after an operator gave all others up writes such an opening, so that there is one at most.
    fn come_in_alone(&mut self) -> bool {
        if !self.open_journals().all(|(_, journal)| journal.is_exhausted()) {
            return false;
        }
        let alone = |(id, journal): &(&JournalId, &Journal)| {
            self.holders.is_member(id.site) && journal.opens_itself(**id)
        };
        let Some(id) = self.journals.iter().find(alone).map(|(id, _)| *id) else { return false };
        let at = self.reached;
        self.journals.entry(id).or_default().open(at);
        self.turns.add(at, id, What::Opened);
        self.raise_head(id);
        true
    }

    /// Takes the smallest head.
    fn take(&mut self) -> Release {
        let (at, id) = self.heads.pop_first().expect("the caller has looked at it");
        assert!(at >= self.reached, "{at} would be released behind {}", self.reached);
        let journal = self.journals.get_mut(&id).expect("a journal with a head is known");
        let was_adopted = journal.is_adopting();
        let (seq, weight) = journal.pop();
        self.reached = at;
        self.position += 1;
        let effect = match weight {
            Weight::Data => Effect::None,
            Weight::Part { epoch } => self.part(id, epoch, at),
            Weight::Open { journal, first } => self.open_again(journal, first, at),
            Weight::Seal { journal, cut } => self.seal(id, journal, cut, at),
            Weight::Adopt { journal, .. } if was_adopted => Effect::AdoptVoid { journal },
            Weight::Adopt { journal, epoch, .. } if epoch != self.epoch() => Effect::AdoptVoid { journal },
            Weight::Adopt { journal, from, upto, .. } => self.adopt(journal, from, upto, at),
            Weight::Members { .. } if was_adopted => Effect::ChangeVoid,
            Weight::Members { epoch, change } => self.change(epoch, change, at),
        };
        self.raise_head(id);
        Release { journal: id, seq, at, effect }
    }

    fn raise_head(&mut self, id: JournalId) {
        if let Some(at) = self.journals.get(&id).and_then(Journal::head) {
            self.heads.insert((at, id));
        }
    }

    /// Void if it would leave too few sites to write in, or if the members are others than the one who leaves knew: it
    /// leaves only when what those before them ended is sealed.
    fn part(&mut self, id: JournalId, epoch: MemberEpoch, at: Stamp) -> Effect {
        if !self.is_open(id) || epoch != self.epoch() || !self.leaves_enough(&self.holders, Some(id)) {
            return Effect::PartVoid;
        }
        self.journals.entry(id).or_default().close();
        self.turns.add(at, id, What::Parted);
        Effect::Parted
    }

    /// Whether enough sites would be left to write in: every end that may be agreed on and is not in the order yet may
    /// take one away, and seals and openings must be written in what remains.
    fn leaves_enough(&self, holders: &Holders, leaving: Option<JournalId>) -> bool {
        // A member stands where the newest of its journals that ever took part does.
        let newest: BTreeMap<SiteId, (JournalId, &Journal)> = self
            .journals
            .iter()
            .filter(|(other, journal)| journal.took_part() && holders.is_member(other.site))
            .map(|(other, journal)| (other.site, (*other, journal)))
            .collect();
        let left = newest.values().filter(|(other, journal)| journal.is_open() && Some(*other) != leaving);
        let away = newest.values().filter(|(_, journal)| journal.is_sealed()).count();
        left.count() > self.kept_to_write(holders, away)
    }

    fn open_again(&mut self, id: JournalId, first: Seq, at: Stamp) -> Effect {
        if self.parted_first(id) != Some(first) {
            return Effect::OpenVoid { journal: id };
        }
        self.journals.entry(id).or_default().open(at);
        self.turns.add(at, id, What::Opened);
        self.raise_head(id);
        Effect::Opened { journal: id }
    }

    fn change(&mut self, epoch: MemberEpoch, change: Change, at: Stamp) -> Effect {
        let Some(changed) = self.changed(epoch, change) else { return Effect::ChangeVoid };
        self.holders = changed;
        if let Change::Remove { site } = change {
            // What it wrote without having heard of it comes in by adoption, like what lies beyond an agreed end.
            let left =
                self.journals.iter_mut().filter(|(id, journal)| id.site == site && !journal.is_sealed());
            for (id, journal) in left {
                journal.seal_here();
                self.turns.add(at, *id, What::Sealed { cut: journal.next() });
            }
        }
        Effect::Changed { epoch }
    }

    /// Who counts behind a change; none if it may not be made here.
    fn changed(&self, epoch: MemberEpoch, change: Change) -> Option<Holders> {
        let is_open = |site| self.journals.iter().any(|(id, journal)| id.site == site && journal.is_open());
        let mut holders = self.holders.clone();
        let counts = holders.change(epoch, change, is_open) && self.leaves_enough(&holders, None);
        counts.then_some(holders)
    }

    /// Whether a change of the members would act, were it next in the order.
    #[must_use]
    pub fn may_change(&self, change: Change) -> bool {
        self.changed(self.epoch().next(), change).is_some()
    }

    /// An open journal is sealed when all up to its end is released; one that takes no part, as far as it came: what is
    /// left of it can only come in by adoption, since its owner will not ask for an opening.
    fn seal(&mut self, by: JournalId, id: JournalId, cut: Seq, at: Stamp) -> Effect {
        if by == id || !self.may_seal(id, cut) {
            return Effect::SealVoid { journal: id };
        }
        self.journals.entry(id).or_default().seal(cut);
        self.turns.add(at, id, What::Sealed { cut });
        Effect::Sealed { journal: id }
    }

    /// Whether a seal of this journal at this end would act, were it next in the order.
    #[must_use]
    pub fn may_seal(&self, id: JournalId, cut: Seq) -> bool {
        let counts = self.holders.is_member(id.site) || self.holders.members.is_gone(id.site);
        let Some(known) = self.journals.get(&id) else { return counts };
        let passed = if known.is_open() { known.next() == cut } else { known.next() <= cut };
        counts && !known.is_sealed() && passed
    }

    fn adopt(&mut self, id: JournalId, from: Seq, upto: Seq, at: Stamp) -> Effect {
        if !self.may_adopt(id, from, upto) {
            return Effect::AdoptVoid { journal: id };
        }
        let journal = self.journals.get_mut(&id).expect("what may be adopted is known");
        assert!(journal.held() >= upto, "an adoption takes its place when all it adopts is held");
        journal.adopt(upto, at);
        self.turns.add(at, id, What::Adopted { from, upto });
        self.raise_head(id);
        Effect::Adopted { journal: id, upto }
    }

    fn may_adopt(&self, id: JournalId, from: Seq, upto: Seq) -> bool {
        // Of a removed site's journal that nothing is held of yet, everything may be adopted: others may hold some already.
        let (next, adopting) =
            self.journals.get(&id).map_or((0, false), |known| (known.next(), known.is_adopting()));
        self.is_sealed(id) && !adopting && next == from && upto > from
    }

    /// If the next entry of a journal adopts more than is held here: whose, how much is held, how much is adopted.
    fn adopts_unheld(&self, by: JournalId) -> Option<(JournalId, Seq, Seq)> {
        let adopter = self.journals.get(&by).filter(|known| !known.is_adopting())?;
        let Weight::Adopt { journal, from, upto, epoch } = adopter.front() else { return None };
        let held = self.journals.get(&journal).map_or(0, Journal::held);
        let counts = epoch == self.epoch() && self.may_adopt(journal, from, upto);
        (counts && held < upto).then_some((journal, held, upto))
    }

    /// The members have agreed where a journal ends: no promise of it is needed any more, once it is held that far.
    ///
    /// # Panics
    /// If more of it was released here, or another end was agreed on: both are impossible while votes are durable.
    pub fn ends_at(&mut self, id: JournalId, cut: Seq) {
        #[cfg(feature = "mutants")]
        if self.sorts_beyond {
            self.journals.entry(id).or_default().sorts_beyond = true;
        }
        let journal = self.journals.entry(id).or_default();
        let head = journal.head();
        journal.ends_at(cut);
        if let Some(at) = head.filter(|_| journal.head().is_none()) {
            self.heads.remove(&(at, id));
        }
    }

    /// Whether a seal has closed a journal in the merged order, or its site was removed.
    #[must_use]
    pub fn is_sealed(&self, journal: JournalId) -> bool {
        self.journals.get(&journal).is_some_and(Journal::is_sealed) || self.removed().contains(&journal.site)
    }

    /// Whether a journal takes part.
    #[must_use]
    pub fn is_open(&self, journal: JournalId) -> bool {
        self.journals.get(&journal).is_some_and(Journal::is_open)
    }

    /// Whether a journal that parted holds an opening of itself.
    #[must_use]
    pub fn opens_itself(&self, id: JournalId) -> bool {
        self.journals.get(&id).is_some_and(|journal| journal.opens_itself(id))
    }

    /// The journals that take part.
    pub fn open(&self) -> impl Iterator<Item = JournalId> {
        self.open_journals().map(|(id, _)| id)
    }

    /// The journals that are not sealed and take part, or have entries that wait.
    pub fn unsealed(&self) -> impl Iterator<Item = JournalId> {
        self.journals.keys().copied().filter(|journal| self.is_unsealed(*journal))
    }

    /// Whether a journal is not sealed and takes part, or has entries that wait.
    #[must_use]
    pub fn is_unsealed(&self, journal: JournalId) -> bool {
        let counts = |journal: &Journal| !journal.is_sealed() && (journal.is_open() || journal.is_waiting());
        self.journals.get(&journal).is_some_and(counts)
    }

    /// Which opening a journal waits for: the seq after its parting, 0 if it never took part; `None` if it takes part,
    /// if it is sealed, or if its site is no member.
    #[must_use]
    pub fn parted_first(&self, journal: JournalId) -> Option<Seq> {
        match self.journals.get(&journal) {
            Some(known) if known.is_open() || known.is_sealed() => None,
            _ if !self.holders.is_member(journal.site) => None,
            known => Some(known.map_or(0, Journal::next)),
        }
    }

    /// The latest turns of journals, in the merged order.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    /// The members at this position.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<SiteId> {
        self.holders.members.now()
    }

    /// How often they have changed, from the founders' epoch on.
    #[must_use]
    pub fn epoch(&self) -> MemberEpoch {
        self.holders.members.epoch()
    }

    /// The members of an epoch, if it has come.
    #[must_use]
    pub fn members_of(&self, epoch: MemberEpoch) -> Option<&BTreeSet<SiteId>> {
        self.holders.members.of(epoch)
    }

    /// Sites that are members no more, and never will be again.
    #[must_use]
    pub fn removed(&self) -> &BTreeSet<SiteId> {
        self.holders.members.removed()
    }

    /// An operator gave a member of this epoch up `by_force`, or the witness: all the others together are the quorum, until it is one
    /// no more. The witness's word counts only while it leaves half of the members.
    pub fn give_up(&mut self, site: SiteId, epoch: MemberEpoch, by_force: bool) {
        self.holders.give_up(site, epoch, by_force);
    }

    /// Whether a site was given up, and not added again since.
    #[must_use]
    pub fn is_given_up(&self, site: SiteId) -> bool {
        self.holders.is_given_up(site)
    }

    /// How many members are a quorum.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.holders.needed()
    }

    /// Who of the members of an epoch counts, those who were given up left out, and how many of them are a quorum; none if
    /// the epoch has not come.
    #[must_use]
    pub fn quorum_of(&self, epoch: MemberEpoch) -> Option<(BTreeSet<SiteId>, usize)> {
        let members = self.members_of(epoch)?;
        let remain = members.iter().copied().filter(|site| !self.is_given_up(*site)).collect();
        Some((remain, self.holders.needed_of(members)))
    }

    /// From which epoch on a site is, or was last, a member.
    #[must_use]
    pub fn since(&self, site: SiteId) -> MemberEpoch {
        self.holders.members.since(site)
    }

    /// Up to where a journal's entries have their places by their own stamps, those that were adopted left out; none of a
    /// journal that never took part, or whose site was removed.
    #[must_use]
    pub fn sorted(&self, journal: JournalId) -> Option<Seq> {
        let known = self.journals.get(&journal).filter(|_| !self.removed().contains(&journal.site))?;
        if known.is_sealed() { known.cut() } else { known.took_part().then(|| known.next()) }
    }

    /// With which epoch and data directory a site was added; founders were there from the start.
    #[must_use]
    pub fn added_with(&self, site: SiteId) -> Option<(MemberEpoch, StorageId)> {
        self.holders.members.added_with(site)
    }

    /// How many entries were released in all.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first entry of a journal that is not released.
    #[must_use]
    pub fn next_unreleased(&self, journal: JournalId) -> Seq {
        self.journals.get(&journal).map_or(0, Journal::next)
    }

    /// The highest stamp below which nothing new can appear.
    #[must_use]
    pub fn stable_point(&self) -> Stamp {
        self.open_journals().map(|(_, journal)| journal.promise()).min().unwrap_or(Stamp::ZERO)
    }

    /// The promise that stopped the order, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<BrokenPromise> {
        self.broken
    }

    fn open_journals(&self) -> impl Iterator<Item = (JournalId, &Journal)> {
        self.journals.iter().filter(|(_, journal)| journal.is_open()).map(|(id, journal)| (*id, journal))
    }

    /// What the next release waits for; `None` if nothing waits, or if it need not wait.
    #[must_use]
    pub fn blocker(&self) -> Option<Blocker> {
        if let Some(BrokenPromise { journal, seq, stamp, promised }) = self.broken {
            return Some(Blocker { journal, why: Why::BrokenPromise { seq, stamp, promised } });
        }
        let Some(&(needed, next)) = self.heads.first() else { return self.unopened() };
        let (behind, slowest) = self.open_journals().min_by_key(|(_, journal)| journal.promise())?;
        if slowest.promise() < needed {
            let why = match slowest.coming(needed) {
                Some(promise) => Why::HeadNotReached { held: slowest.held(), head: promise.head },
                None => Why::NoPromise { since: slowest.promise(), needed },
            };
            return Some(Blocker { journal: behind, why });
        }
        if let Some((journal, held, upto)) = self.adopts_unheld(next) {
            return Some(Blocker { journal, why: Why::AdoptedNotHeld { held, upto } });
        }
        if self.is_held_enough(next) {
            return None;
        }
        let seq = self.next_unreleased(next);
        let why = Why::NoQuorum { seq, holders: self.holders.of(next, seq), needed: self.holders.needed() };
        Some(Blocker { journal: next, why })
    }

    fn unopened(&self) -> Option<Blocker> {
        let (id, journal) = self.journals.iter().find(|(_, journal)| journal.is_waiting())?;
        let first = journal.next();
        let why =
            if journal.is_sealed() { Why::NotAdopted { from: first } } else { Why::NotOpened { first } };
        Some(Blocker { journal: *id, why })
    }
}

#[cfg(feature = "mutants")]
mod bent;
#[cfg(test)]
mod tests;
