//! One journal as the order sees it: what is held and not released, and what its owner has promised.

use std::collections::{BTreeMap, VecDeque};

use clock::Stamp;
use entry::{JournalId, Seq};
use serde::{Deserialize, Serialize};

use crate::release::Weight;

/// How many promises may wait for their heads.
///
/// A held entry is a promise of its own stamp, so that a promise forgotten costs next to nothing; when there are more,
/// the newest takes the place of the one before it.
const PROMISES_WAITING_MAX: usize = 256;

/// A journal. An unreleased entry costs the eight bytes of its stamp.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The first entry not released.
    next: Seq,
    /// The stamps of the entries from `next` on.
    waiting: VecDeque<Stamp>,
    /// Those of the waiting entries that are more than data.
    turns: BTreeMap<Seq, Weight>,
    /// Nothing that is not held is stamped at or below this.
    promise: Stamp,
    /// Promises whose heads are not reached, both fields rising.
    coming: VecDeque<Promise>,
    /// Where the journal takes part: the stamp below which nothing of it sorts.
    floor: Option<Stamp>,
    /// The agreed end, once this site knows it: nothing from here on sorts by its own stamp.
    cut: Option<Seq>,
    /// Whether a seal closed it in the merged order, for good.
    sealed: bool,
    /// What is being adopted: where it ends, and where it sorts.
    adopting: Option<(Seq, Stamp)>,
    /// A bug on purpose.
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    pub(crate) sorts_beyond: bool,
}

/// What an owner says of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    /// Everything stamped up to here …
    pub(crate) w: Stamp,
    /// … is below this.
    pub(crate) head: Seq,
}

impl Journal {
    /// A journal that takes part from the start.
    pub(crate) fn genesis() -> Journal {
        Journal { floor: Some(Stamp::ZERO), ..Journal::default() }
    }

    /// The first entry that is not held.
    pub(crate) fn held(&self) -> Seq {
        self.next + self.waiting.len() as u64
    }

    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    pub(crate) fn is_open(&self) -> bool {
        self.floor.is_some()
    }

    /// Whether it ever was open, or was sealed.
    pub(crate) fn took_part(&self) -> bool {
        self.is_open() || self.sealed || self.next > 0
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What the order may rely on: of a journal that has ended, and is held up to its end, nothing is to come.
    pub(crate) fn promise(&self) -> Stamp {
        if self.cut.is_some_and(|cut| self.held() >= cut) { Stamp::MAX } else { self.promise }
    }

    pub(crate) fn cut(&self) -> Option<Seq> {
        self.cut
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub(crate) fn is_adopting(&self) -> bool {
        self.adopting.is_some()
    }

    /// Whether an entry lies beyond the end, as far as that is known.
    pub(crate) fn is_beyond(&self, seq: Seq) -> bool {
        #[cfg(feature = "mutants")]
        if self.sorts_beyond {
            return false;
        }
        self.cut.is_some_and(|cut| seq >= cut)
    }

    /// Whether nothing of it is to come: it has ended, and all up to its end has its place.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.cut == Some(self.next)
    }

    /// Whether an opening of itself waits in it, for where it parted.
    pub(crate) fn opens_itself(&self, id: JournalId) -> bool {
        let opening = Weight::Open { journal: id, first: self.next };
        !self.is_open() && !self.sealed && self.turns.values().any(|weight| *weight == opening)
    }

    /// What the first waiting entry does.
    pub(crate) fn front(&self) -> Weight {
        self.turns.get(&self.next).copied().unwrap_or(Weight::Data)
    }

    /// The stamp below which nothing of an open journal sorts.
    pub(crate) fn floor(&self) -> Option<Stamp> {
        self.floor
    }

    /// Where the first waiting entry sorts, if the journal takes part.
    pub(crate) fn head(&self) -> Option<Stamp> {
        let first = *self.waiting.front()?;
        match self.adopting {
            Some((_, at)) => Some(at),
            None if self.is_beyond(self.next) => None,
            None => Some(self.floor?.max(first)),
        }
    }

    /// What binds the entry `seq`, held promises and coming ones alike: it must be stamped above this.
    pub(crate) fn bound(&self, seq: Seq) -> Stamp {
        let coming = self.coming.iter().filter(|promise| promise.head <= seq).map(|promise| promise.w);
        coming.fold(self.promise, Stamp::max)
    }

    /// The first waiting promise of at least `w`.
    pub(crate) fn coming(&self, w: Stamp) -> Option<Promise> {
        self.coming.iter().find(|promise| promise.w >= w).copied()
    }

    /// Takes the next entry in.
    pub(crate) fn hold(&mut self, stamp: Stamp, weight: Weight) {
        if weight != Weight::Data {
            self.turns.insert(self.held(), weight);
        }
        self.waiting.push_back(stamp);
        self.promise = self.promise.max(stamp);
        while self.coming.front().is_some_and(|promise| promise.head <= self.held()) {
            let reached = self.coming.pop_front().expect("there is a front");
            self.promise = self.promise.max(reached.w);
        }
    }

    /// Takes a promise in; it counts once its head is reached.
    pub(crate) fn promised(&mut self, promise: Promise) {
        if promise.head <= self.held() {
            self.promise = self.promise.max(promise.w);
            return;
        }
        let says_as_much = |known: &Promise| known.head <= promise.head && known.w >= promise.w;
        if promise.w <= self.promise || self.coming.iter().any(says_as_much) {
            return;
        }
        self.coming.retain(|known| known.head < promise.head || known.w > promise.w);
        if self.coming.len() == PROMISES_WAITING_MAX {
            self.coming.pop_back();
        }
        let at = self.coming.partition_point(|known| known.head < promise.head);
        self.coming.insert(at, promise);
    }

    /// Forgets all promises; what is held binds as it ever did.
    pub(crate) fn forget_promise(&mut self) {
        self.promise = self.waiting.back().copied().unwrap_or(Stamp::ZERO);
        self.coming.clear();
    }

    /// The first waiting entry has its place.
    pub(crate) fn pop(&mut self) -> (Seq, Weight) {
        self.waiting.pop_front().expect("only a journal with a waiting entry is asked for one");
        let seq = self.next;
        self.next += 1;
        if self.adopting.is_some_and(|(upto, _)| self.next >= upto) {
            self.adopting = None;
        }
        (seq, self.turns.remove(&seq).unwrap_or(Weight::Data))
    }

    pub(crate) fn open(&mut self, floor: Stamp) {
        self.floor = Some(floor);
    }

    pub(crate) fn close(&mut self) {
        self.floor = None;
    }

    /// The journal's end is known.
    ///
    /// # Panics
    /// If more was released, or another end was known: the members agree on one end, and not below what was released.
    pub(crate) fn ends_at(&mut self, cut: Seq) {
        assert!(
            self.sealed || self.next <= cut,
            "entry {} was released, the journal ends at {cut}",
            self.next
        );
        assert!(
            self.cut.is_none_or(|known| known == cut),
            "a journal ends once: at {:?}, at {cut}",
            self.cut
        );
        self.cut = Some(cut);
    }

    /// A seal has its place: the journal takes no part any more.
    pub(crate) fn seal(&mut self, cut: Seq) {
        self.ends_at(cut);
        self.sealed = true;
        self.floor = None;
    }

    /// The journal's site was removed: what is not released by now can only be adopted, wherever its end was agreed on.
    pub(crate) fn seal_here(&mut self) {
        self.sealed = true;
        self.floor = None;
    }

    /// What is held up to `upto` sorts at `at`.
    pub(crate) fn adopt(&mut self, upto: Seq, at: Stamp) {
        self.adopting = Some((upto, at));
    }
}

#[cfg(test)]
mod tests {
    use clock::Stamp;

    use super::{Journal, PROMISES_WAITING_MAX, Promise};
    use crate::release::Weight;

    fn promise(w: u64, head: u64) -> Promise {
        Promise { w: Stamp::from_raw(w), head }
    }

    #[test]
    fn a_promise_counts_when_its_head_is_reached() {
        let mut journal = Journal::genesis();
        journal.promised(promise(9, 2));
        journal.hold(Stamp::from_raw(3), Weight::Data);
        assert_eq!(journal.promise(), Stamp::from_raw(3));
        journal.hold(Stamp::from_raw(5), Weight::Data);
        assert_eq!(journal.promise(), Stamp::from_raw(9));
    }

    #[test]
    fn promises_in_any_order_keep_only_what_tells_something() {
        let mut journal = Journal::genesis();
        for said in [promise(7, 3), promise(5, 4), promise(4, 2), promise(6, 3), promise(9, 5)] {
            journal.promised(said);
        }
        assert_eq!(journal.coming, [promise(4, 2), promise(7, 3), promise(9, 5)]);
        assert_eq!(journal.bound(3), Stamp::from_raw(7));
    }

    #[test]
    fn waiting_promises_are_bounded_and_the_newest_stays() {
        let mut journal = Journal::genesis();
        for n in 1..=2 * PROMISES_WAITING_MAX as u64 {
            journal.promised(promise(n * 10, n));
        }
        assert_eq!(journal.coming.len(), PROMISES_WAITING_MAX);
        assert_eq!(journal.coming.back().map(|last| last.head), Some(2 * PROMISES_WAITING_MAX as u64));
    }
}
