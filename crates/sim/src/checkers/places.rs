//! I-21, I-33: whatever has its place in the merged order was held by a majority of those who were members there: in front
//! of a change of the members by those before it, behind it by those after it.
//! I-34: every site has the same members in the same epoch; each epoch is the one before it and one site more or less, made
//! by an entry at one place of the order; who was removed never comes back.
//! I-33, too: as long as no disk is lost, there always is a member whose journal is open and has not ended. Where an operator
//! has given members up, all who remain are as good as a majority (decision 0014); nobody is left out whom no operator gave up.
//!
//! The order is worked out here once more, plainly, from what is on the platters and from where journals end: up to the
//! place that a site has noted as released, and no further, since up to there nothing can come in between.

mod former;

use std::collections::{BTreeMap, BTreeSet};

use clock::Stamp;
use entry::{AdoptBody, Body, Change, Encoded, JournalId, MemberEpoch, Seq, SiteId};

use super::forced::Forced;
use super::truth::Truth;
use super::{Verdict, broken, ensure};

/// What an entry does to the order.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Nothing,
    Part(MemberEpoch),
    Open(JournalId, Seq),
    Seal(JournalId, Seq),
    Adopt(AdoptBody, MemberEpoch),
    Members(MemberEpoch, Change),
}

/// One journal, as far as it was ever durable anywhere.
#[derive(Debug, Default)]
struct Lane {
    said: Vec<(Stamp, Turn)>,
    /// In which epochs its entries had their places, as far as they have any.
    placed: Vec<MemberEpoch>,
    /// Where it takes part: the stamp below which nothing of it sorts.
    floor: Option<Stamp>,
    cut: Option<Seq>,
    sealed: bool,
    adopting: Option<(Seq, Stamp)>,
}

/// The merged order, as far as anybody has released it.
#[derive(Debug)]
pub(super) struct Places {
    lanes: BTreeMap<JournalId, Lane>,
    /// The members of every epoch, from the founders' on.
    epochs: BTreeMap<MemberEpoch, BTreeSet<SiteId>>,
    /// From which position on.
    begins: BTreeMap<u64, MemberEpoch>,
    removed: BTreeSet<SiteId>,
    /// Those that were given up and have not been added again.
    gone: BTreeSet<SiteId>,
    /// In which epochs sites were added.
    added: BTreeSet<(SiteId, MemberEpoch)>,
    /// Whom operators have given up.
    pub(super) forced: Forced,
    /// What stands at each position.
    sequence: Vec<(JournalId, Seq)>,
    /// Where the last of it sorts.
    reached: Stamp,
    /// How far each site has noted that it has released.
    noted: BTreeMap<SiteId, u64>,
    /// From which position on sites have released what those who gave them up had not, and what.
    former: BTreeMap<SiteId, (usize, Vec<(JournalId, Seq)>)>,
}

fn majority(members: &BTreeSet<SiteId>) -> usize {
    members.len() / 2 + 1
}

impl Lane {
    fn next(&self) -> Seq {
        self.placed.len() as Seq
    }

    /// Where the first entry without a place sorts.
    fn head(&self) -> Option<Stamp> {
        let (stamp, _) = self.said.get(self.placed.len())?;
        match self.adopting {
            Some((_, at)) => Some(at),
            None if self.cut.is_some_and(|cut| self.next() >= cut) => None,
            None => Some(self.floor?.max(*stamp)),
        }
    }

    fn took_part(&self) -> bool {
        self.floor.is_some() || self.sealed || !self.placed.is_empty()
    }

    /// Whether nothing of it is to come.
    fn is_exhausted(&self) -> bool {
        self.cut == Some(self.next())
    }

    /// Whether an opening of itself waits in it, for where it parted.
    fn opens_itself(&self, id: JournalId) -> bool {
        let opens = |(_, turn): &(Stamp, Turn)| matches!(turn, Turn::Open(journal, first) if *journal == id && *first == self.next());
        self.floor.is_none() && !self.sealed && self.said[self.placed.len()..].iter().any(opens)
    }
}

impl Places {
    pub(super) fn new(founders: &[SiteId]) -> Places {
        let open =
            |site: &SiteId| (JournalId::genesis(*site), Lane { floor: Some(Stamp::ZERO), ..Lane::default() });
        Places {
            lanes: founders.iter().map(open).collect(),
            epochs: BTreeMap::from([(MemberEpoch::GENESIS, founders.iter().copied().collect())]),
            begins: BTreeMap::from([(0, MemberEpoch::GENESIS)]),
            removed: BTreeSet::new(),
            gone: BTreeSet::new(),
            added: BTreeSet::new(),
            forced: Forced::default(),
            sequence: Vec::new(),
            reached: Stamp::ZERO,
            noted: BTreeMap::new(),
            former: BTreeMap::new(),
        }
    }

    /// How many entries have their places.
    pub(super) fn position(&self) -> u64 {
        self.sequence.len() as u64
    }

    /// An entry is durable for the first time.
    pub(super) fn minted(&mut self, entry: &Encoded) {
        let turn = match entry.body() {
            Ok(Body::Part) => Turn::Part(entry.head.epoch),
            Ok(Body::Open(open)) => Turn::Open(open.journal, open.first),
            Ok(Body::Seal(seal)) => Turn::Seal(seal.journal, seal.cut.next),
            Ok(Body::Adopt(adopt)) => Turn::Adopt(adopt, entry.head.epoch),
            Ok(Body::Members(members)) => Turn::Members(members.epoch, members.change),
            _ => Turn::Nothing,
        };
        self.lanes.entry(entry.head.journal).or_default().said.push((entry.head.stamp, turn));
    }

    /// A site knows where a journal ends.
    pub(super) fn ended(&mut self, journal: JournalId, cut: Seq) {
        self.lanes.entry(journal).or_default().cut.get_or_insert(cut);
    }

    /// The latest epoch, and its members.
    pub(super) fn latest(&self) -> (MemberEpoch, &BTreeSet<SiteId>) {
        let (epoch, members) = self.epochs.last_key_value().expect("there were founders");
        (*epoch, members)
    }

    /// Whether a change of the members has been written and has no place yet.
    pub(super) fn is_changing(&self) -> bool {
        let changes = |(_, turn): &(Stamp, Turn)| matches!(turn, Turn::Members(..));
        self.lanes.values().any(|lane| lane.said[lane.placed.len()..].iter().any(changes))
    }

    /// The members of the epoch before the latest.
    pub(super) fn before(&self) -> Option<&BTreeSet<SiteId>> {
        self.epochs.values().rev().nth(1)
    }

    /// Who was removed.
    pub(super) fn removed(&self) -> &BTreeSet<SiteId> {
        &self.removed
    }

    /// How far a journal has its places.
    pub(super) fn next(&self, journal: JournalId) -> Seq {
        self.lanes.get(&journal).map_or(0, Lane::next)
    }

    /// The epoch in which an entry has its place; the one of now where it has none yet.
    fn epoch_at(&self, journal: JournalId, seq: Seq) -> MemberEpoch {
        let placed = self.lanes.get(&journal).and_then(|lane| lane.placed.get(usize::try_from(seq).ok()?));
        placed.copied().unwrap_or_else(|| self.latest().0)
    }

    /// From which epoch on a site is a member, in a later one.
    pub(super) fn since(&self, site: SiteId, epoch: MemberEpoch) -> MemberEpoch {
        let mut added = self.added.range((site, MemberEpoch::default())..=(site, epoch));
        added.next_back().map_or(MemberEpoch::GENESIS, |(_, epoch)| *epoch)
    }

    /// The members of an epoch that nobody has given up.
    pub(super) fn remain(&self, epoch: MemberEpoch) -> BTreeSet<SiteId> {
        let members = self.epochs.get(&epoch).into_iter().flatten().copied();
        members.filter(|site| !self.forced.is_given_up(*site, self.since(*site, epoch))).collect()
    }

    /// Whether these are a majority of the members of an epoch, or all who remain of them where some were given up.
    pub(super) fn is_enough(&self, epoch: MemberEpoch, counts: impl Fn(SiteId) -> bool) -> bool {
        let Some(members) = self.epochs.get(&epoch) else { return false };
        if members.iter().filter(|site| counts(**site)).count() >= majority(members) {
            return true;
        }
        let remain = self.remain(epoch);
        !remain.is_empty() && remain.len() < members.len() && remain.into_iter().all(counts)
    }

    /// Who was given up and runs in the end is a member again.
    pub(super) fn is_taken_back(&self, site: SiteId) -> Verdict {
        let remains = || self.remain(self.latest().0).contains(&site);
        let was_removed = self.removed.contains(&site);
        ensure(!self.forced.was_given_up(site) || was_removed || remains(), "I-32", || {
            format!("site {site} was given up, is back, and is no member again")
        })
    }

    /// Whether enough of the members at its place hold an entry, or rightly said so; how many do.
    pub(super) fn is_held(&self, truth: &Truth, journal: JournalId, seq: Seq) -> Result<(), usize> {
        let epoch = self.epoch_at(journal, seq);
        let members = &self.epochs[&epoch];
        let holds = |site| truth.is_rightly_counted(site, journal, seq);
        let holders = || members.iter().filter(|site| holds(**site)).count();
        if self.is_enough(epoch, holds) { Ok(()) } else { Err(holders()) }
    }

    /// Whether enough of the members of some epoch hold an entry, or rightly said so.
    pub(super) fn is_held_in_some_epoch(&self, truth: &Truth, journal: JournalId, seq: Seq) -> bool {
        let holds = |site| truth.is_rightly_counted(site, journal, seq);
        self.epochs.keys().any(|epoch| self.is_enough(*epoch, holds))
    }

    /// A site has released up to a position.
    pub(super) fn released(&mut self, truth: &Truth, site: SiteId, position: u64) -> Verdict {
        self.noted.insert(site, position);
        while self.position() < position {
            let Some((at, id)) = self.sorts_next() else {
                let known = self.position();
                return broken(
                    "I-21",
                    format!("site {site} has released {position} entries; {known} could be sorted"),
                );
            };
            self.check(truth, id)?;
            self.place(at, id);
            self.somebody_can_write(truth)?;
        }
        Ok(())
    }

    /// Which journal's entry has the next place, and where it sorts. Where all that took part has ended, a journal that opens
    /// itself comes in.
    fn sorts_next(&mut self) -> Option<(Stamp, JournalId)> {
        let first = |lanes: &BTreeMap<JournalId, Lane>| {
            lanes.iter().filter_map(|(id, lane)| Some((lane.head()?, *id))).min()
        };
        let head = first(&self.lanes);
        let mut open = self.lanes.values().filter(|lane| lane.floor.is_some());
        if head.is_some() || !open.all(Lane::is_exhausted) {
            return head;
        }
        let members = self.latest().1;
        let alone = |(id, lane): &(&JournalId, &Lane)| members.contains(&id.site) && lane.opens_itself(**id);
        let id = *self.lanes.iter().find(alone)?.0;
        self.lanes.entry(id).or_default().floor = Some(self.reached);
        first(&self.lanes)
    }

    /// Enough of the members hold a journal's next entry; if it makes one a member no more, an operator has given that one up.
    fn check(&self, truth: &Truth, id: JournalId) -> Verdict {
        let ((epoch, members), seq) = (self.latest(), self.next(id));
        if let Some((_, Turn::Members(_, Change::GiveUp { site }))) = self.lanes[&id].said.get(seq as usize) {
            ensure(self.forced.is_given_up(*site, MemberEpoch::default()), "I-33", || {
                format!("entry {seq} of journal {id} gives {site} up, as nobody has decided")
            })?;
        }
        let number = if epoch == MemberEpoch::GENESIS { "I-21" } else { "I-33" };
        let is_held = self.is_enough(epoch, |site| truth.is_rightly_counted(site, id, seq));
        ensure(is_held, number, || {
            let holders = truth.rightly_counted_among(members, id, seq);
            format!(
                "entry {seq} of journal {id} was released in epoch {}, on {holders} platters of its members {members:?}, of \
                 which {:?} remain",
                epoch.0,
                self.remain(epoch)
            )
        })
    }

    /// The next entry has its place.
    fn place(&mut self, at: Stamp, id: JournalId) {
        let epoch = self.latest().0;
        let lane = self.lanes.entry(id).or_default();
        let was_adopted = lane.adopting.is_some();
        let (_, turn) = lane.said[lane.placed.len()];
        self.sequence.push((id, lane.next()));
        lane.placed.push(epoch);
        lane.adopting = lane.adopting.filter(|(upto, _)| lane.next() < *upto);
        self.reached = at;
        self.take(turn, (at, id, was_adopted));
    }

    fn take(&mut self, turn: Turn, (at, by, was_adopted): (Stamp, JournalId, bool)) {
        let (epoch, members) = (self.latest().0, self.latest().1.clone());
        match turn {
            Turn::Nothing => {}
            Turn::Part(of) => {
                let open = self.lanes[&by].floor.is_some();
                if open && of == epoch && self.leaves_enough(&members, Some(by)) {
                    self.lanes.entry(by).or_default().floor = None;
                }
            }
            Turn::Open(journal, first) => {
                let is_member = members.contains(&journal.site);
                let lane = self.lanes.entry(journal).or_default();
                if is_member && lane.floor.is_none() && !lane.sealed && lane.next() == first {
                    lane.floor = Some(at);
                }
            }
            Turn::Seal(journal, cut) => {
                let is_member = members.contains(&journal.site) || self.gone.contains(&journal.site);
                let lane = self.lanes.entry(journal).or_default();
                let passed = if lane.floor.is_some() { lane.next() == cut } else { lane.next() <= cut };
                if by != journal && is_member && !lane.sealed && passed {
                    (lane.sealed, lane.floor) = (true, None);
                    lane.cut.get_or_insert(cut);
                }
            }
            Turn::Adopt(adopt, of) => {
                let was_removed = self.removed.contains(&adopt.journal.site);
                let lane = self.lanes.entry(adopt.journal).or_default();
                let follows = lane.next() == adopt.from && adopt.upto.next > adopt.from;
                let free = !was_adopted && of == epoch && lane.adopting.is_none();
                if free && follows && (lane.sealed || was_removed) {
                    lane.adopting = Some((adopt.upto.next, at));
                }
            }
            Turn::Members(of, change) if !was_adopted && of == epoch.next() => {
                self.change(of, change, members);
            }
            Turn::Members(..) => {}
        }
    }

    fn change(&mut self, epoch: MemberEpoch, change: Change, mut members: BTreeSet<SiteId>) {
        let fits = match change {
            Change::Add { site, .. } => !self.removed.contains(&site) && members.insert(site),
            Change::Remove { site } | Change::GiveUp { site } => {
                let open = self.lanes.iter().any(|(id, lane)| id.site == site && lane.floor.is_some());
                !open && members.len() > 1 && members.remove(&site)
            }
        };
        if !fits || !self.leaves_enough(&members, None) {
            return;
        }
        match change {
            Change::Add { site, .. } => {
                self.gone.remove(&site);
                self.added.insert((site, epoch));
            }
            Change::Remove { site } => {
                self.removed.insert(site);
                let left = self.lanes.iter_mut().filter(|(id, _)| id.site == site);
                left.for_each(|(_, lane)| lane.sealed = true);
            }
            Change::GiveUp { site } => {
                self.gone.insert(site);
            }
        }
        self.epochs.insert(epoch, members);
        self.begins.insert(self.position(), epoch);
    }

    /// Whether enough members stay open for all ends that may have been agreed on (decision 0015).
    fn leaves_enough(&self, members: &BTreeSet<SiteId>, leaving: Option<JournalId>) -> bool {
        let newest: BTreeMap<SiteId, (JournalId, &Lane)> = self
            .lanes
            .iter()
            .filter(|(id, lane)| lane.took_part() && members.contains(&id.site))
            .map(|(id, lane)| (id.site, (*id, lane)))
            .collect();
        let left = newest.values().filter(|(id, lane)| lane.floor.is_some() && Some(*id) != leaving).count();
        let away = newest.values().filter(|(_, lane)| lane.sealed).count();
        let ended_max = members.len() * ((members.len() - 1) / 2) / majority(members);
        left > ended_max.saturating_sub(away)
    }

    /// Somebody is left to write seals and openings in.
    fn somebody_can_write(&self, truth: &Truth) -> Verdict {
        let (epoch, members) = self.latest();
        if truth.has_lost_disks() || self.remain(epoch).len() < members.len() {
            return Ok(());
        }
        let writes = |lane: &Lane| lane.floor.is_some() && lane.cut.is_none();
        ensure(self.lanes.values().any(writes), "I-33", || {
            format!("every open journal has ended, after {} entries", self.position())
        })
    }

    /// A site's disk is lost, and with it what it had released.
    pub(super) fn lose(&mut self, site: SiteId) {
        self.noted.remove(&site);
        self.former.remove(&site);
        self.forced.lose(site);
    }

    /// Where a journal ends, if those who go on know it.
    pub(super) fn end(&self, journal: JournalId) -> Option<Seq> {
        self.lanes.get(&journal)?.cut
    }

    /// Where the last entry that has a place sorts.
    pub(super) fn reached(&self) -> Stamp {
        self.reached
    }

    /// A look at a site that has released so many entries: its members are those of that place.
    pub(super) fn looked(
        &self,
        site: SiteId,
        position: u64,
        (epoch, members): (MemberEpoch, &BTreeSet<SiteId>),
    ) -> Verdict {
        if position > self.position() {
            // It is about to note that it has released more.
            return Ok(());
        }
        let (_, there) =
            self.begins.range(..=position).next_back().expect("the founders' epoch is the first");
        let known = &self.epochs[there];
        ensure((there, known) == (&epoch, members), "I-34", || {
            format!(
                "site {site} has released {position} entries and is in epoch {} of {members:?}; there it is epoch {} of \
                 {known:?}",
                epoch.0, there.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clock::Stamp;
    use entry::{
        Body, ChainHash, Change, Encoded, Entry, JournalId, MemberEpoch, MembersBody, Seq, SiteId, StorageId,
        TrimBody,
    };

    use super::Places;
    use crate::checkers::Verdict;
    use crate::checkers::truth::Truth;

    pub(super) const FOUNDERS: [SiteId; 3] = [SiteId(1), SiteId(2), SiteId(3)];

    pub(super) fn entry(site: u16, seq: Seq, raw: u64, body: Body) -> Encoded {
        let (journal, epoch) = (JournalId::genesis(SiteId(site)), MemberEpoch(1));
        let (stamp, previous) = (Stamp::from_raw(raw), ChainHash::START);
        Entry { journal, seq, stamp, epoch, previous, body }.encode().unwrap()
    }

    fn add(epoch: u32, site: u16) -> Body {
        let change = Change::Add { site: SiteId(site), storage: StorageId(9) };
        Body::Members(MembersBody { epoch: MemberEpoch(epoch), change })
    }

    /// A history of entries and who holds each; what the release of all of them breaks.
    fn released(history: &[(Encoded, &[u16])]) -> (Places, Verdict) {
        let (mut places, mut truth) = (Places::new(&FOUNDERS), Truth::default());
        for (entry, holders) in history {
            places.minted(entry);
            holders.iter().for_each(|site| {
                truth.add(SiteId(*site), entry);
            });
        }
        let verdict = places.released(&truth, SiteId(1), history.len() as u64);
        (places, verdict)
    }

    pub(super) fn breaks(verdict: &Verdict) -> &str {
        verdict.as_ref().map_or_else(|violation| violation.invariant, |()| "nothing")
    }

    #[test]
    fn behind_a_change_the_members_after_it_count() {
        let mark = |raw| entry(2, 0, raw, Body::Trim(TrimBody::MARK));
        let change = (entry(1, 0, 10, add(2, 4)), &[1, 2][..]);
        let (places, verdict) = released(&[change.clone(), (mark(20), &[2, 3, 4])]);
        assert_eq!(breaks(&verdict), "nothing");
        assert_eq!(places.latest(), (MemberEpoch(2), &(1..=4).map(SiteId).collect::<BTreeSet<_>>()));
        assert_eq!(breaks(&released(&[change.clone(), (mark(20), &[2, 3])]).1), "I-33", "two of four");
        assert_eq!(breaks(&released(&[(mark(5), &[2, 4]), change]).1), "I-21", "the fourth is none yet");
    }

    #[test]
    fn what_could_not_be_sorted_was_not_released() {
        let (mut places, verdict) = released(&[(entry(1, 0, 10, add(3, 4)), &[1, 2])]);
        assert_eq!(
            (breaks(&verdict), places.latest().0),
            ("nothing", MemberEpoch(1)),
            "an epoch is left out"
        );
        assert_eq!(breaks(&places.released(&Truth::default(), SiteId(1), 2)), "I-21");
    }

    #[test]
    fn other_members_than_those_of_the_place_are_flagged() {
        let (places, _) = released(&[(entry(1, 0, 10, add(2, 4)), &[1, 2])]);
        let looked = |position, epoch, sites: &[u16]| {
            let members = sites.iter().map(|site| SiteId(*site)).collect();
            places.looked(SiteId(2), position, (MemberEpoch(epoch), &members))
        };
        assert_eq!(breaks(&looked(0, 1, &[1, 2, 3])), "nothing");
        assert_eq!(breaks(&looked(1, 2, &[1, 2, 3, 4])), "nothing");
        assert_eq!(breaks(&looked(1, 1, &[1, 2, 3])), "I-34", "it has forgotten");
        assert_eq!(breaks(&looked(0, 2, &[1, 2, 3, 4])), "I-34", "it is ahead of the order");
        assert_eq!(breaks(&looked(1, 2, &[1, 2, 3, 5])), "I-34");
    }

    #[test]
    fn a_site_that_is_given_up_in_the_order_and_by_nobody_is_flagged() {
        let change = Change::GiveUp { site: SiteId(3) };
        let gives_up = Body::Members(MembersBody { epoch: MemberEpoch(2), change });
        assert_eq!(breaks(&released(&[(entry(1, 0, 10, gives_up), &[1, 2])]).1), "I-33");
    }

    #[test]
    fn nobody_left_to_write_is_flagged() {
        let (mut places, mut truth) = (Places::new(&FOUNDERS), Truth::default());
        FOUNDERS.iter().for_each(|site| places.ended(JournalId::genesis(*site), 1));
        let entry = entry(1, 0, 10, Body::Trim(TrimBody::MARK));
        places.minted(&entry);
        FOUNDERS.iter().for_each(|site| {
            truth.add(*site, &entry);
        });
        assert_eq!(breaks(&places.released(&truth, SiteId(1), 1)), "I-33");
    }
}
