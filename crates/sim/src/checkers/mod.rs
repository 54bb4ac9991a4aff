//! The checkers: what must hold, each in its own module, each invariant by its number.
//!
//! They look at what leaves the machine (writes, messages, replies, readable logs) and at the platters, never at what a
//! site believes. All of them work step by step; a step costs what it changed.

mod behind;
mod clock;
mod compaction;
mod convergence;
mod durability;
mod forced;
mod frontier;
#[cfg(test)]
mod histories;
mod history;
mod lives;
mod logs;
mod places;
mod pressure;
mod progress;
mod release;
mod retention;
mod seals;
#[cfg(test)]
mod shown;
pub mod truth;
mod versions;
mod votes;
mod witness;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use disk::{Disk, FileName};
use entry::{Encoded, JournalId, Seq, SiteId, StorageId};
use journal::Record;
use site::wire::{GivenUp, Message};
use site::{Answer, Note, Request, Site};

use crate::submission::Submissions;
#[cfg(test)]
pub(crate) use histories::breaks;
pub use pressure::Bounds;
use truth::Truth;
pub use versions::Reads;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its number.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.seen)
    }
}

/// A checker's word.
pub type Verdict = Result<(), Violation>;

/// Fails with an invariant's number.
pub(crate) fn broken<T>(invariant: &'static str, seen: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { invariant, seen: seen.into() })
}

/// How often each invariant was held against something, by its number.
pub type Checked = [u64; INVARIANTS];

/// Numbers go up to here.
pub const INVARIANTS: usize = 64;

thread_local! {
    /// A run is one thread's; counting must cost next to nothing.
    static CHECKED: [Cell<u64>; INVARIANTS] = const { [const { Cell::new(0) }; INVARIANTS] };
}

/// A run begins.
pub(crate) fn begin_count() {
    CHECKED.with(|checked| checked.iter().for_each(|count| count.set(0)));
}

/// What was counted since.
pub(crate) fn counted() -> Checked {
    CHECKED.with(|checked| checked.each_ref().map(Cell::get))
}

/// The number in `I-20`.
#[must_use]
pub fn number_of(invariant: &str) -> usize {
    let digits = invariant.bytes().filter(u8::is_ascii_digit);
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')) % INVARIANTS
}

/// Holds if `holds`; else it is this invariant that does not.
pub(crate) fn ensure(holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) -> Verdict {
    let number = number_of(invariant);
    CHECKED.with(|checked| checked[number].set(checked[number].get() + 1));
    if holds { Ok(()) } else { broken(invariant, seen()) }
}

/// All checkers and what they know.
#[derive(Debug)]
pub struct Checkers {
    /// What is on the platters.
    pub truth: Truth,
    /// What clients asked for.
    pub submissions: Submissions,
    clock: clock::Clocks,
    behind: behind::Behind,
    durability: durability::Durability,
    logs: logs::Readings,
    release: release::Releases,
    progress: progress::Progresses,
    lives: lives::Lives,
    votes: votes::Votes,
    bounds: Option<Bounds>,
    /// The witness, where there is one.
    witness: Option<SiteId>,
    /// Sites that were given up and have released otherwise than those who remained, and run.
    apart: BTreeSet<SiteId>,
}

/// Who acts, and the journal it writes.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// The site.
    pub site: SiteId,
    /// Its data directory.
    pub storage: StorageId,
    /// Its journal.
    pub journal: Option<JournalId>,
}

impl Checkers {
    /// Checkers for a cluster of these founders, whose sites are told to hold so much at most.
    #[must_use]
    pub fn new(founders: &[SiteId], bounds: Option<Bounds>) -> Checkers {
        Checkers {
            truth: Truth::default(),
            submissions: Submissions::default(),
            clock: clock::Clocks::default(),
            behind: behind::Behind::default(),
            durability: durability::Durability::default(),
            logs: logs::Readings::default(),
            release: release::Releases::new(founders),
            progress: progress::Progresses::default(),
            lives: lives::Lives::default(),
            votes: votes::Votes::new(founders),
            bounds,
            witness: None,
            apart: BTreeSet::new(),
        }
    }

    /// The same, with a witness beside them.
    #[must_use]
    pub fn beside(self, witness: Option<SiteId>) -> Checkers {
        Checkers { witness, ..self }
    }

    /// A site gave these records to its disk.
    pub fn wrote(&mut self, by: Actor, records: &[Record]) -> Verdict {
        pressure::wrote(self.bounds, by, records)?;
        for entry in records.iter().filter_map(truth::entry) {
            history::wrote(&mut self.truth, by, entry)?;
            if Some(entry.head.journal) == by.journal && self.truth.known(entry).is_none() {
                self.clock.minted(by.site, entry)?;
                self.behind.minted(&self.truth, &self.submissions, by.site, entry)?;
            }
        }
        Ok(())
    }

    /// A site gave these records to its disk: each is read by whom it has to be.
    pub fn wrote_for(&self, by: Actor, reads: &Reads<'_>, records: &[Record]) -> Verdict {
        versions::wrote(&self.truth, by, reads, records)
    }

    /// These records are on the platter now.
    pub fn durable(&mut self, by: Actor, records: &[Record]) -> Verdict {
        records.iter().try_for_each(|record| match record {
            Record::Entry(entry) => self.entry_durable(by, entry),
            Record::Note(bytes) => self.note_durable(by, bytes),
        })
    }

    fn entry_durable(&mut self, by: Actor, entry: &Encoded) -> Verdict {
        let fresh = history::durable(&mut self.truth, by, entry)?;
        self.clock.durable(by.site, entry);
        if let Ok(entry::Body::Seal(seal)) = entry.body() {
            self.votes.holds_seal(by.site, seal.journal);
        }
        if fresh {
            self.release.minted(&self.truth, entry)?;
            self.submissions.journaled(entry);
            durability::only_here(&self.truth, &self.submissions, by, entry)?;
            self.logs.retention.minted(entry);
            let (journal, seq) = (entry.head.journal, entry.head.seq);
            pressure::backlog(self.bounds, by, (journal, seq), self.release.places.next(journal))?;
        }
        Ok(())
    }

    fn note_durable(&mut self, by: Actor, bytes: &[u8]) -> Verdict {
        let note = Note::decode(bytes);
        ensure(note.is_some(), "I-05", || "a note that does not read".into())?;
        let Some(note) = note else { return Ok(()) };
        if self.apart.contains(&by.site) {
            return Ok(());
        }
        if let Note::GivenUp(record) = &note {
            self.gave_site_up(by.site, record)?;
        }
        if let Note::Ended(journal, cut) = note {
            self.release.ended(&self.truth, journal, cut)?;
        }
        if let Note::Released(position) = note {
            self.release.places.released(&self.truth, by.site, position)?;
        }
        // The witness votes on no end, and notes which epochs it has heard of.
        if matches!(note, Note::Entered(_)) && Some(by.site) == self.witness {
            return Ok(());
        }
        self.votes.noted(&self.truth, &self.release.places, by, &note)
    }

    /// A decision is on a site's platter. Where a majority is given up, what only that one had released may be shown otherwise
    /// from now on, and what only it had agreed on decided otherwise: that, and nothing else.
    fn gave_site_up(&mut self, by: SiteId, record: &GivenUp) -> Verdict {
        let is_new = self.release.places.forced.noted(by, record);
        if Some(by) == self.witness {
            witness::noted(&self.release.places, by)?;
        }
        if !is_new || !self.release.places.is_majority_given_up() {
            return Ok(());
        }
        let remain = self.remain();
        let knows_end = |journal| self.votes.is_end_noted(&remain, journal);
        self.release.go_back(&self.truth, knows_end);
        self.votes.go_back(&self.release.places);
        let ends = self.logs.go_back(&remain);
        self.submissions.go_back(&ends);
        Ok(())
    }

    /// A file of a site's logs is damaged: reading it may fail from now on, though it must not read otherwise.
    pub fn hurt(&mut self, site: SiteId) {
        self.logs.hurt.insert(site);
    }

    /// Whether a site has damaged files.
    #[must_use]
    pub fn is_hurt(&self, site: SiteId) -> bool {
        self.logs.hurt.contains(&site)
    }

    /// All of a site's logs are whole.
    pub fn is_whole(&mut self, site: SiteId) {
        self.logs.hurt.remove(&site);
    }

    /// The members that nobody has given up.
    #[must_use]
    pub fn remain(&self) -> BTreeSet<SiteId> {
        self.release.places.remain(self.release.places.latest().0)
    }

    /// Whether a site has noted a decision by force about itself that still stands, or is a member no more because of one.
    #[must_use]
    pub fn knows_that_it_is_given_up(&self, site: SiteId) -> bool {
        self.knows_of(site, site)
    }

    /// Whether a site has noted a decision about another that still stands, or by which that one is a member no more.
    #[must_use]
    pub fn knows_of(&self, by: SiteId, site: SiteId) -> bool {
        let places = &self.release.places;
        places.forced.knows(by, site, places.since(site, places.latest().0))
    }

    /// Whether a site that starts has released otherwise than those who gave it up; none as long as nobody can tell.
    #[must_use]
    pub fn is_apart(&self, site: SiteId) -> Option<bool> {
        self.release.places.is_apart(site)
    }

    /// A site is back among those who gave it up.
    pub fn is_back(&mut self, site: SiteId) {
        self.release.places.is_back(site);
    }

    /// Whether a site that runs has released otherwise than those who gave it up.
    #[must_use]
    pub fn has_other_history(&self, site: SiteId) -> bool {
        self.apart.contains(&site)
    }

    /// Whether others may refuse a site that comes back: it has released otherwise, or knows ends that are others.
    #[must_use]
    pub fn may_be_refused(&self, site: SiteId) -> bool {
        self.is_apart(site) != Some(false) || self.votes.differs(site, &self.release.places)
    }

    /// A site of another history runs.
    pub fn runs_apart(&mut self, site: SiteId) {
        self.apart.insert(site);
    }

    /// I-33: two histories never become one: all that their sites tell each other is hello.
    pub fn keeps_apart(&self, from: SiteId, to: SiteId, message: &Message) -> Verdict {
        // The witness is of no history.
        let is_beside = [from, to].into_iter().any(|site| Some(site) == self.witness);
        let apart = self.apart.contains(&from) != self.apart.contains(&to) && !is_beside;
        ensure(!apart || matches!(message, Message::Hello(_)), "I-33", || {
            format!("site {from} takes {to} for one of its own, though their histories differ")
        })
    }

    /// A site's process is gone; what was on its way to the disk may or may not be there.
    pub fn ended(&mut self, site: SiteId) {
        self.truth.ended(site);
        self.behind.ended(site);
    }

    /// An image of a site's disk is taken, to be put back later.
    pub fn imaged(&mut self, site: SiteId) {
        self.votes.imaged(site);
    }

    /// A site's disk was put back: it holds this now, and what was seen there before binds it no more.
    pub fn put_back(&mut self, site: SiteId, found: BTreeMap<JournalId, Seq>) {
        let mut own = self.truth.frontier(site).into_iter().filter(|(journal, _)| journal.site == site);
        if own.any(|(journal, next)| found.get(&journal).is_none_or(|left| *left < next)) {
            self.lives.holds_less(site);
        }
        self.truth.put_back(site, found);
        self.votes.put_back(site);
        self.release.places.lose(site);
        self.logs.forget(site);
        self.progress.forget(site);
        self.clock.put_back(site);
        self.lives.put_back(site);
    }

    /// A site's disk is lost with all that was on it, or the site never comes back.
    pub fn lost(&mut self, site: SiteId) {
        let placed = self.truth.frontier(site).into_keys();
        let placed = placed.map(|journal| (journal, self.release.places.next(journal))).collect();
        self.votes.lose(site, placed);
        if Some(site) == self.witness {
            self.release.places.forced.void(site);
        }
        self.release.places.lose(site);
        self.apart.remove(&site);
        self.truth.lose(site);
        self.logs.forget(site);
        self.progress.lose(site);
        self.clock.forget(site);
        self.lives.lost(site);
    }

    /// Whether nobody is left to write seals and openings, at the price that decision 0015 names: whatever takes part has
    /// ended or is of a life whose disk was lost, which is counted nowhere; and there is such a life.
    #[must_use]
    pub fn nobody_writes(&self, sites: &[(&Site, &dyn Disk)]) -> bool {
        let was_lost = |journal| self.lives.was_lost(journal);
        let taking_part = || sites.iter().flat_map(|(site, _)| site.taking_part());
        taking_part().all(|(journal, ended)| ended || was_lost(journal))
            && taking_part().any(|(journal, _)| was_lost(journal))
    }

    /// A site has taken over a copy: what it holds now, somebody else held before.
    pub fn took_over(&mut self, site: SiteId, found: &BTreeMap<JournalId, Seq>) -> Verdict {
        let unknown = self.truth.took_over(site, found);
        ensure(unknown.is_none(), "I-04", || {
            format!("site {site} took over entries of {unknown:?} that nobody held")
        })
    }

    /// A site has recovered.
    pub fn opened(&mut self, by: Actor, site: &Site, disk: &dyn Disk) -> Verdict {
        durability::recovered(&self.truth, by, site)?;
        if self.apart.contains(&by.site) {
            return Ok(());
        }
        self.lives.looked(site.identity())?;
        self.release.places.released(&self.truth, by.site, site.released())?;
        self.members_looked(site)?;
        self.read_again(by, site, disk)
    }

    /// All that was readable at a site is read once more. It may be running: what is on its platter since a moment ago
    /// need not be known to it.
    pub fn read_again(&mut self, by: Actor, site: &Site, disk: &dyn Disk) -> Verdict {
        if self.apart.contains(&by.site) {
            return Ok(());
        }
        let look = logs::Look { id: by.site, site, disk };
        let (truth, submissions, release) = (&self.truth, &mut self.submissions, &mut self.release);
        self.logs.opened(look, &mut logs::Oracle { truth, submissions, release })?;
        self.progress.looked(by.site, site, &self.logs)
    }

    /// A site sends this.
    pub fn sent(&mut self, by: Actor, message: &Message) -> Verdict {
        frontier::sent(&self.truth, by, message)?;
        if Some(by.site) != self.witness {
            self.clock.sent(by, message);
            self.behind.sent(by.site, message, self.release.places.latest().1);
        }
        self.votes.sent(&self.truth, by, message)?;
        if Some(by.site) == self.witness {
            witness::sent(&self.release.places, by.site, message)?;
        }
        self.release.sent(&self.truth, message)?;
        history::sent(&self.truth, message)
    }

    /// A site answers a client's request.
    pub fn replied(&mut self, by: Actor, site: &Site, request: &Asked, answer: &Answer) -> Verdict {
        self.durability.replied(&self.truth, by, request, answer, &self.submissions)?;
        if let (Request::Commit(commit), Answer::Committed) = (&request.request, answer) {
            self.progress.committed(by.site, site, commit, &request.stood)?;
        }
        Ok(())
    }

    /// A site says that there is more to read.
    pub fn readable(&mut self, by: Actor, site: &Site, disk: &dyn Disk, grown: &[site::Grown]) -> Verdict {
        if self.apart.contains(&by.site) {
            return Ok(());
        }
        let look = logs::Look { id: by.site, site, disk };
        let (truth, submissions, release) = (&self.truth, &mut self.submissions, &mut self.release);
        let mut oracle = logs::Oracle { truth, submissions, release };
        grown.iter().try_for_each(|log| self.logs.grew(look, *log, &mut oracle))
    }

    /// A look at where the logs of a site begin.
    pub fn keeps(&mut self, site: &Site, disk: &dyn Disk) -> Verdict {
        self.logs.retention.looked(site, disk)
    }

    /// A look at a site that is running.
    pub fn looked(&mut self, by: Actor, site: &Site) -> Verdict {
        self.lives.looked(site.identity())?;
        if self.apart.contains(&by.site) {
            return Ok(());
        }
        self.members_looked(site)?;
        self.progress.looked(by.site, site, &self.logs)
    }

    /// A directory that joins and has been told nothing knows no members yet.
    fn members_looked(&self, site: &Site) -> Verdict {
        let identity = site.identity();
        if identity.founders.is_empty() {
            return Ok(());
        }
        let places = &self.release.places;
        places.looked(identity.site, site.released(), (site.epoch(), site.members()))?;
        if !places.forced.has_noted(identity.site) || site.released() > places.position() {
            return Ok(());
        }
        let shown = site.given_up().into_iter().map(|(record, _)| (record.site, record.epoch));
        let since = places.since(identity.site, site.epoch());
        places.forced.looked(identity.site, shown, (site.is_writing(), since))
    }

    /// The latest members, as far as anybody has released a change.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<SiteId> {
        self.release.places.latest().1
    }

    /// The members of the epoch before, while not all have entered the one after.
    fn members_before(&self) -> Option<&BTreeSet<SiteId>> {
        self.release.places.before().filter(|_| !self.is_settled())
    }

    /// Whether a site was a member in the epoch before, and not all have entered the one after.
    #[must_use]
    pub fn was_member(&self, site: SiteId) -> bool {
        self.members_before().is_some_and(|before| before.contains(&site))
    }

    /// How many disks may be missing at a time: fewer than half the members', and while not all of them have entered
    /// their epoch, fewer than half of those before.
    #[must_use]
    pub fn may_miss(&self) -> usize {
        let members = self.members().len();
        let least = self.members_before().map_or(members, |before| before.len().min(members));
        (least - 1) / 2
    }

    /// Whether no change of the members is under way: all have entered their epoch.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let (epoch, members) = self.release.places.latest();
        !self.release.places.is_changing() && members.iter().all(|site| self.votes.has_entered(*site, epoch))
    }

    /// Sites that are members no more.
    #[must_use]
    pub fn removed(&self) -> &BTreeSet<SiteId> {
        self.release.places.removed()
    }

    /// A site's wall clock shows this.
    pub fn shows(&mut self, site: SiteId, wall_ms: u64) {
        self.clock.shows(site, wall_ms);
        self.behind.shows(site, wall_ms);
    }

    /// Whether anybody has said that a journal has ended.
    #[must_use]
    pub fn has_ended(&self, journal: JournalId) -> bool {
        self.release.has_ended(journal)
    }

    /// A site gave up a file of its WAL that held these bytes.
    pub fn gave_up(&mut self, by: Actor, site: &Site, file: &(FileName, Vec<u8>), bounded: bool) -> Verdict {
        let (members, places) = (site.members(), &self.release.places);
        let lost = |it: &SiteId| places.forced.is_given_up(*it, places.since(*it, site.epoch()));
        let is_enough = |holders: &BTreeSet<SiteId>| {
            let mut remain = members.iter().filter(|it| !lost(it));
            let all = holders.len() == members.len();
            all || bounded && (holders.len() > members.len() / 2 || remain.all(|it| holders.contains(it)))
        };
        lives::gave_up(&self.truth, (members, is_enough), by, file)
    }

    /// Whether the sites agree on everything, and everything that was acknowledged is there.
    pub fn agree(&self, sites: &[(&Site, &dyn Disk)]) -> Verdict {
        let moving: Vec<&Site> = sites.iter().map(|(site, _)| *site).collect();
        convergence::settled(&moving)?;
        convergence::equal(sites)?;
        self.submissions.finish(&self.truth)?;
        self.finish(sites)
    }

    /// Whether the witness votes, and holds nothing.
    pub fn witness_agrees(&self, site: &Site) -> Verdict {
        witness::agrees(site)
    }

    fn finish(&self, sites: &[(&Site, &dyn Disk)]) -> Verdict {
        sites.iter().try_for_each(|(site, _)| self.release.places.is_taken_back(site.identity().site))?;
        sites.iter().try_for_each(|(site, _)| self.lives.finish(site.identity()))?;
        self.progress.finish(sites)?;
        self.durability.finish(&self.truth)
    }
}

/// A request as a site was asked it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// What it wants to append, if it does.
    pub submission: Option<usize>,
    /// How many sites must hold it before it is acknowledged.
    pub sites: usize,
    /// Whether it must be readable before it is acknowledged.
    pub released: bool,
    /// Where the group stood at the site when it was asked to commit.
    pub stood: Vec<Option<(crdt::Epoch, u64)>>,
}
