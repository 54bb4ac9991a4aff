//! I-30: a vote is durable before it is told, and never goes back; who accepts an end holds all in front of it.
//! I-33: where a journal ends, a majority of the members of the ballot's epoch has accepted; a vote of a storage that is
//! gone does not count beside that of a site which knows so.
//! I-34: who votes in an epoch of members knows every end that was agreed on before it, and holds what it once held.

use std::collections::{BTreeMap, BTreeSet};

use agree::{Ballot, Said, Storages, Verdict as Decision, Vote};
use entry::{Cut, JournalId, MemberEpoch, Seq, SiteId, StorageId};
use site::Note;
use site::wire::Message;

use super::places::Places;
use super::truth::Truth;
use super::{Actor, Verdict, ensure};

/// What is on a site's platter about ends.
#[derive(Debug, Default)]
struct Booth {
    votes: BTreeMap<JournalId, Vec<Vote>>,
    /// Journals whose seals it holds.
    sealed: BTreeSet<JournalId>,
    /// Journals whose end it has noted.
    ended: BTreeMap<JournalId, Seq>,
    /// Which storages it knows to be another's latest.
    renewed: Storages,
    entered: MemberEpoch,
    /// Ballots that it has voted in while it had entered their epoch: that may be told later.
    cast: BTreeSet<(JournalId, u32, Ballot)>,
    /// What had its place in the order when this site lost its disk.
    owes: BTreeMap<JournalId, Seq>,
}

/// Who has accepted: with which storage, and what it knew of others' storages then.
type Acceptors = BTreeMap<SiteId, (StorageId, Storages)>;

/// All votes.
#[derive(Debug)]
pub(super) struct Votes {
    booths: BTreeMap<SiteId, Booth>,
    accepted: BTreeMap<(JournalId, u32, Ballot), Vec<(Decision, Acceptors)>>,
    /// In which epoch of members each end was agreed on.
    agreed: BTreeMap<JournalId, MemberEpoch>,
    /// The ends that sites had noted when the last image of their disks was taken.
    images: BTreeMap<SiteId, BTreeMap<JournalId, Seq>>,
}

impl Booth {
    /// Founders vote from the start.
    fn of_a_founder() -> Booth {
        Booth { entered: MemberEpoch::GENESIS, ..Booth::default() }
    }

    fn knows(&self, journal: JournalId) -> bool {
        self.ended.contains_key(&journal)
            || self.sealed.contains(&journal)
            || self.votes.get(&journal).and_then(|votes| votes.last()).is_some_and(Vote::is_obliged)
    }
}

/// In which order votes come.
fn rank(vote: &Vote) -> (u32, Ballot, Option<Ballot>) {
    (vote.attempt, vote.promised, vote.accepted.map(|(ballot, _)| ballot))
}

impl Votes {
    pub(super) fn new(founders: &[SiteId]) -> Votes {
        let booths = founders.iter().map(|site| (*site, Booth::of_a_founder())).collect();
        Votes { booths, accepted: BTreeMap::new(), agreed: BTreeMap::new(), images: BTreeMap::new() }
    }

    /// A site's disk is lost; so much had its place in the order.
    pub(super) fn lose(&mut self, site: SiteId, owes: BTreeMap<JournalId, Seq>) {
        self.booths.insert(site, Booth { owes, ..Booth::default() });
    }

    /// An image of a site's disk is taken.
    pub(super) fn imaged(&mut self, site: SiteId) {
        let ended = self.booths.get(&site).map(|booth| booth.ended.clone());
        self.images.insert(site, ended.unwrap_or_default());
    }

    /// A site's disk was put back: what it said may be unsaid, but for the ends that are in the image.
    pub(super) fn put_back(&mut self, site: SiteId) {
        let ended = self.images.get(&site).cloned().unwrap_or_default();
        self.booths.insert(site, Booth { ended, ..Booth::of_a_founder() });
    }

    /// Whether one of these sites has noted where a journal ends.
    pub(super) fn is_end_noted(&self, sites: &BTreeSet<SiteId>, journal: JournalId) -> bool {
        let mut booths = sites.iter().filter_map(|site| self.booths.get(site));
        booths.any(|booth| booth.ended.contains_key(&journal))
    }

    /// Whether a site has noted an end that is another one for those who go on, or that they have passed.
    pub(super) fn differs(&self, site: SiteId, places: &Places) -> bool {
        let mut ended = self.booths.get(&site).into_iter().flat_map(|booth| &booth.ended);
        ended.any(|(journal, next)| match places.end(*journal) {
            Some(end) => end != *next,
            None => places.next(*journal) > *next,
        })
    }

    /// What only those knew who were given up with a majority is decided anew.
    pub(super) fn go_back(&mut self, places: &Places) {
        self.agreed.retain(|journal, _| places.end(*journal).is_some());
    }

    /// Whether a site votes in an epoch.
    pub(super) fn has_entered(&self, site: SiteId, epoch: MemberEpoch) -> bool {
        self.booths.get(&site).is_some_and(|booth| booth.entered >= epoch)
    }

    /// A seal is on a site's platter: it knows that end without a note.
    pub(super) fn holds_seal(&mut self, site: SiteId, journal: JournalId) {
        self.booths.entry(site).or_default().sealed.insert(journal);
    }

    /// A note is on a site's platter.
    pub(super) fn noted(&mut self, truth: &Truth, places: &Places, by: Actor, note: &Note) -> Verdict {
        match note {
            Note::Vote(journal, vote) => self.voted(by, *journal, *vote),
            Note::Ended(journal, cut) => {
                self.booths.entry(by.site).or_default().ended.insert(*journal, cut.next);
                self.ended(places, *journal, *cut)
            }
            Note::Renewed(site, storage) => {
                self.booths.entry(by.site).or_default().renewed.insert(*site, *storage);
                Ok(())
            }
            Note::Entered(epoch) => self.entered(truth, by, *epoch),
            _ => Ok(()),
        }
    }

    fn voted(&mut self, by: Actor, journal: JournalId, vote: Vote) -> Verdict {
        let booth = self.booths.entry(by.site).or_default();
        let votes = booth.votes.entry(journal).or_default();
        let before = votes.last().copied().unwrap_or_default();
        let goes_back = if vote.attempt == before.attempt {
            vote.promised < before.promised || rank(&vote).2 < rank(&before).2
        } else {
            vote.attempt < before.attempt
        };
        ensure(!goes_back, "I-30", || {
            let (site, before, now) = (by.site, rank(&before), rank(&vote));
            format!("site {site} had voted {before:?} on the end of {journal} and votes {now:?}")
        })?;
        votes.push(vote);
        let ballots = [Some(vote.promised), vote.accepted.map(|(ballot, _)| ballot)];
        let here = ballots.into_iter().flatten().filter(|ballot| ballot.epoch == booth.entered);
        booth.cast.extend(here.map(|ballot| (journal, vote.attempt, ballot)));
        // Who accepts once more says anew which storages it knows to be gone.
        let accepts = |ballot: Ballot| vote.accepted != before.accepted || vote.promised == ballot;
        let Some((ballot, decision)) = vote.accepted.filter(|(ballot, _)| accepts(*ballot)) else {
            return Ok(());
        };
        let known = self.accepted.entry((journal, vote.attempt, ballot)).or_default();
        let acceptor = (by.storage, booth.renewed.clone());
        match known.iter_mut().find(|(other, _)| *other == decision) {
            Some((_, acceptors)) => {
                acceptors.insert(by.site, acceptor);
            }
            None => known.push((decision, BTreeMap::from([(by.site, acceptor)]))),
        }
        ensure(known.len() == 1, "I-30", || {
            format!("in one ballot on the end of {journal}, {ballot:?}, these were accepted: {known:?}")
        })
    }

    /// A site says something about a journal's end.
    pub(super) fn sent(&self, truth: &Truth, by: Actor, message: &Message) -> Verdict {
        let Message::Seal(journal, attempt, said) = message else { return Ok(()) };
        let booth = self.booths.get(&by.site);
        let entered = booth.map_or(MemberEpoch::default(), |booth| booth.entered);
        if let Said::Promised { ballot, .. } | Said::Accepted { ballot, .. } = said {
            let was_cast = booth.is_some_and(|booth| booth.cast.contains(&(*journal, *attempt, *ballot)));
            ensure(ballot.epoch == entered || was_cast, "I-34", || {
                let site = by.site;
                format!(
                    "site {site} votes in {ballot:?} on the end of {journal}, and has entered {entered:?}"
                )
            })?;
        }
        let votes = booth.and_then(|booth| booth.votes.get(journal));
        let noted = |is: &dyn Fn(&Vote) -> bool| votes.is_some_and(|votes| votes.iter().rev().any(is));
        let holds = match said {
            Said::Promised { ballot, accepted, .. } => noted(&|vote| {
                vote.attempt == *attempt && vote.promised == *ballot && vote.accepted == *accepted
            }),
            Said::Accepted { ballot, .. } => noted(&|vote| {
                let of = vote.accepted.filter(|(other, _)| other == ballot);
                vote.attempt == *attempt
                    && of.is_some_and(|(_, decision)| match decision {
                        Decision::Ends(cut) => truth.held(by.site, *journal) >= cut.next,
                        Decision::GoesOn => true,
                    })
            }),
            _ => return Ok(()),
        };
        ensure(holds, "I-30", || {
            let (site, last) = (by.site, votes.and_then(|votes| votes.last()));
            format!("site {site} says {said:?} about {journal}, and noted last {last:?}")
        })
    }

    /// Somebody knows where a journal ends.
    pub(super) fn ended(&mut self, places: &Places, journal: JournalId, cut: Cut) -> Verdict {
        if self.agreed.contains_key(&journal) {
            return Ok(());
        }
        let by_majority = |ballot: &Ballot, acceptors: &Acceptors| {
            places.is_enough(ballot.epoch, |site| counts(site, acceptors))
        };
        let of = self.accepted.range((journal, 0, Ballot::default())..);
        let of = of.take_while(|((other, ..), _)| *other == journal);
        let ballot = of
            .flat_map(|((.., ballot), all)| all.iter().map(move |(what, who)| (*ballot, what, who)))
            .find(|(ballot, what, who)| **what == Decision::Ends(cut) && by_majority(ballot, who))
            .map(|(ballot, ..)| ballot);
        ensure(ballot.is_some(), "I-33", || {
            format!(
                "journal {journal} ends before {}, and no majority has accepted that: {:?}",
                cut.next, self.accepted
            )
        })?;
        let Some(Ballot { epoch, .. }) = ballot else { return Ok(()) };
        self.agreed.insert(journal, epoch);
        let mut entered = self.booths.iter().filter(|(_, booth)| booth.entered > epoch);
        entered.try_for_each(|(site, booth)| knows(*site, booth, journal))
    }

    fn entered(&mut self, truth: &Truth, by: Actor, epoch: MemberEpoch) -> Verdict {
        let booth = self.booths.entry(by.site).or_default();
        booth.entered = epoch;
        let lacks = booth.owes.iter().find(|(journal, next)| truth.held(by.site, **journal) < **next);
        ensure(lacks.is_none(), "I-34", || {
            format!("site {} votes without what it held before its disk was lost: {lacks:?}", by.site)
        })?;
        let mut before = self.agreed.iter().filter(|(_, of)| **of < epoch);
        before.try_for_each(|(journal, _)| knows(by.site, booth, *journal))
    }
}

fn knows(site: SiteId, booth: &Booth, journal: JournalId) -> Verdict {
    ensure(booth.knows(journal), "I-34", || {
        let epoch = booth.entered.0;
        format!("site {site} votes in epoch {epoch} and does not know of the end of {journal} before it")
    })
}

/// Whether a site has accepted, and no other acceptor knew its storage to be gone.
fn counts(site: SiteId, acceptors: &Acceptors) -> bool {
    let is_gone = |storage: StorageId| {
        acceptors.values().any(|(_, renewed)| renewed.get(&site).is_some_and(|now| *now != storage))
    };
    acceptors.get(&site).is_some_and(|(storage, _)| !is_gone(*storage))
}

#[cfg(test)]
mod tests {
    use agree::{Ballot, Said, Storages, Verdict as Decision, Vote};
    use entry::{ChainHash, Cut, Incarnation, JournalId, MemberEpoch, SiteId, StorageId};
    use site::Note;
    use site::wire::Message;

    use super::Votes;
    use crate::checkers::places::Places;
    use crate::checkers::truth::Truth;
    use crate::checkers::{Actor, Verdict};

    const JOURNAL: JournalId = JournalId { site: SiteId(3), incarnation: Incarnation(0) };
    const END: Cut = Cut { next: 0, hash: ChainHash::START };

    /// Three sites, of which one journal's end is voted on.
    struct Polls {
        votes: Votes,
        places: Places,
        truth: Truth,
    }

    fn ballot(round: u32) -> Ballot {
        Ballot { epoch: MemberEpoch::GENESIS, round, by: 1 }
    }

    fn actor(site: u16, storage: u128) -> Actor {
        Actor { site: SiteId(site), storage: StorageId(storage), journal: None }
    }

    fn promised(round: u32) -> Vote {
        Vote::default().promise(ballot(round), END, 0, true).unwrap()
    }

    fn accepted(round: u32, decision: Decision) -> Vote {
        let none = Storages::new();
        promised(round).accept((ballot(round), decision), 9, &none, &none).unwrap()
    }

    impl Polls {
        fn new() -> Polls {
            let founders = [SiteId(1), SiteId(2), SiteId(3)];
            Polls { votes: Votes::new(&founders), places: Places::new(&founders), truth: Truth::default() }
        }

        fn notes(&mut self, site: u16, note: &Note) -> &'static str {
            let by = actor(site, site.into());
            breaks(self.votes.noted(&self.truth, &self.places, by, note))
        }

        fn says(&self, site: u16, said: Said) -> &'static str {
            let message = Message::Seal(JOURNAL, 0, said);
            breaks(self.votes.sent(&self.truth, actor(site, site.into()), &message))
        }
    }

    fn breaks(verdict: Verdict) -> &'static str {
        verdict.map_or_else(|violation| violation.invariant, |()| "nothing")
    }

    #[test]
    fn a_vote_that_is_told_too_early_or_taken_back_is_flagged() {
        let mut polls = Polls::new();
        let promise = |round, accepted| Said::Promised {
            ballot: ballot(round),
            storage: StorageId(1),
            held: END,
            accepted,
            consents: true,
        };
        assert_eq!(polls.says(1, promise(2, None)), "I-30");
        assert_eq!(polls.notes(1, &Note::Vote(JOURNAL, promised(2))), "nothing");
        assert_eq!(polls.says(1, promise(2, None)), "nothing");
        let accepts = Said::Accepted { ballot: ballot(2), storage: StorageId(1), renewed: Storages::new() };
        assert_eq!(polls.says(1, accepts.clone()), "I-30");
        let end = Decision::Ends(Cut { next: 1, ..END });
        assert_eq!(polls.notes(1, &Note::Vote(JOURNAL, accepted(2, end))), "nothing");
        assert_eq!(polls.says(1, accepts), "I-30", "it does not hold what lies in front of the end");
        assert_eq!(polls.notes(1, &Note::Vote(JOURNAL, promised(1))), "I-30");
        assert_eq!(polls.notes(2, &Note::Vote(JOURNAL, accepted(2, Decision::GoesOn))), "I-30", "another");
        assert_eq!(polls.notes(1, &Note::Entered(MemberEpoch(2))), "nothing");
        assert_eq!(polls.says(1, promise(2, None)), "nothing", "it had noted that before");
        let later = accepted(2, end).promise(ballot(3), END, 0, true).unwrap();
        assert_eq!(polls.notes(1, &Note::Vote(JOURNAL, later)), "nothing");
        assert_eq!(polls.says(1, promise(3, later.accepted)), "I-34", "it votes there no more");
    }

    #[test]
    fn an_end_that_a_minority_or_a_lost_disk_has_accepted_is_flagged() {
        let vote = Note::Vote(JOURNAL, accepted(1, Decision::Ends(END)));
        let mut polls = Polls::new();
        polls.notes(1, &vote);
        assert_eq!(polls.notes(1, &Note::Ended(JOURNAL, END)), "I-33");
        polls.notes(2, &Note::Renewed(SiteId(1), StorageId(11)));
        polls.notes(2, &vote);
        assert_eq!(
            polls.notes(1, &Note::Ended(JOURNAL, END)),
            "I-33",
            "the second knows that the first is gone"
        );
        polls.notes(3, &vote);
        assert_eq!(polls.notes(1, &Note::Ended(JOURNAL, END)), "nothing");
    }

    #[test]
    fn who_votes_under_new_members_without_knowing_of_ends_before_is_flagged() {
        let vote = Note::Vote(JOURNAL, accepted(1, Decision::Ends(END)));
        let mut polls = Polls::new();
        for site in [1, 2] {
            polls.notes(site, &vote);
        }
        polls.notes(1, &Note::Ended(JOURNAL, END));
        assert_eq!(polls.notes(1, &Note::Entered(MemberEpoch(2))), "nothing");
        assert_eq!(polls.notes(3, &Note::Entered(MemberEpoch(2))), "I-34");
        let owes = std::collections::BTreeMap::from([(JOURNAL, 1)]);
        polls.votes.lose(SiteId(2), owes);
        assert_eq!(polls.notes(2, &Note::Entered(MemberEpoch(1))), "I-34");
    }
}
