//! A member's vote on one journal's end, and what members say to each other about it.

use std::collections::BTreeMap;

use entry::{Cut, MemberEpoch, Seq, SiteId, StorageId};
use serde::{Deserialize, Serialize};

/// Which storage each site votes with.
pub type Storages = BTreeMap<SiteId, StorageId>;

/// One try to agree; of two, the higher counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Of which members: only they vote in it.
    pub epoch: MemberEpoch,
    /// How often it was tried.
    pub round: u32,
    /// The number of the site that tries.
    pub by: u16,
}

/// What the members decide about a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It ends here.
    Ends(Cut),
    /// It goes on: its owner is not silent after all, or too many others are away. Another attempt may follow; what was
    /// frozen for this one thaws.
    GoesOn,
}

/// What a member has promised and accepted. It is durable before it is told, and never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// How often it was decided that the journal goes on: all else here is of the attempt since.
    pub attempt: u32,
    /// No ballot below this is voted for any more.
    pub promised: Ballot,
    /// What was accepted last, and in which ballot.
    pub accepted: Option<(Ballot, Verdict)>,
    /// From now on, no more of the journal than this is reported for the quorum of a release.
    pub reports: Option<Seq>,
    /// How much was held when a ballot was first promised, or later, if more than that had been released by then.
    pub held: Option<Cut>,
    /// Whether an end would be accepted. Told with the promise and kept to, so that an end that is asked for does not
    /// stand still because too many others are away.
    pub consents: bool,
}

/// What members say about one journal's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// I find the owner silent. Do you? Asked before any vote, since a vote binds.
    Suspect,
    /// So do I.
    Silent,
    /// Vote in this ballot: a majority finds the owner silent, or an operator or the owner's next life asks.
    Prepare {
        /// Which.
        ballot: Ballot,
    },
    /// I will, and in none below it.
    Promised {
        /// Which.
        ballot: Ballot,
        /// The storage that will vote.
        storage: StorageId,
        /// How much of the journal it held when it first promised, or by now if that is less than it has released.
        held: Cut,
        /// What it has accepted.
        accepted: Option<(Ballot, Verdict)>,
        /// Whether it would accept an end.
        consents: bool,
    },
    /// Let it be decided so.
    Accept {
        /// In this ballot.
        ballot: Ballot,
        /// How.
        verdict: Verdict,
        /// Who has promised it, with which storages.
        promisers: Storages,
    },
    /// For my part it is.
    Accepted {
        /// In this ballot.
        ballot: Ballot,
        /// The storage that votes.
        storage: StorageId,
        /// The storages of sites that lost an earlier one, as far as the voter knows.
        renewed: Storages,
    },
    /// Not in this ballot.
    Refused {
        /// Which.
        ballot: Ballot,
        /// This higher one was promised.
        promised: Ballot,
    },
    /// A majority has accepted this.
    Decided(Verdict),
}

/// Why a member does not vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoVote {
    /// It has promised this ballot.
    Promised(Ballot),
    /// It does not hold all that lies below the cut; ask again when it does.
    NotHeld,
    /// A promise of this ballot was given by a storage that is gone.
    Gone,
}

impl Vote {
    /// Promises a ballot, holding `held` of the journal, of which all below `released` is released here; the same one may be
    /// promised again. What was held at first is told, so that an end stays where it is while its journal grows, but never
    /// less than is released: others may have been a majority without this member, and be none any more. `consents` says
    /// whether an end would be accepted now; once it was said, it stands.
    ///
    /// # Errors
    /// [`NoVote::Promised`] if a higher one was promised.
    pub fn promise(self, ballot: Ballot, held: Cut, released: Seq, consents: bool) -> Result<Vote, NoVote> {
        if self.promised > ballot {
            return Err(NoVote::Promised(self.promised));
        }
        let reports = Some(self.reports.unwrap_or(held.next));
        let consents = self.consents || consents;
        let first = self.held.filter(|first| first.next >= released);
        Ok(Vote { promised: ballot, reports, held: Some(first.unwrap_or(held)), consents, ..self })
    }

    /// Accepts a verdict. `held` is how much of the journal is durable here; `promisers` gave their promise to the ballot;
    /// `renewed` are the storages of sites that lost an earlier one.
    ///
    /// # Errors
    /// [`NoVote`] says why not.
    pub fn accept(
        self,
        (ballot, verdict): (Ballot, Verdict),
        held: Seq,
        promisers: &Storages,
        renewed: &Storages,
    ) -> Result<Vote, NoVote> {
        if promisers.iter().any(|(site, storage)| is_gone(*site, *storage, renewed)) {
            return Err(NoVote::Gone);
        }
        if self.promised > ballot {
            return Err(NoVote::Promised(self.promised));
        }
        if matches!(verdict, Verdict::Ends(cut) if held < cut.next) {
            return Err(NoVote::NotHeld);
        }
        let consents = self.consents || matches!(verdict, Verdict::Ends(_));
        Ok(Vote { promised: ballot, accepted: Some((ballot, verdict)), consents, ..self })
    }

    /// A member that lost its votes takes another's for its own. It cannot know what it reported before: of a journal that
    /// anybody voted on it reports nothing until the cut is known.
    #[must_use]
    pub fn learned(self, theirs: &Vote) -> Vote {
        let known = if theirs.attempt > self.attempt { Vote::attempt(theirs.attempt) } else { self };
        if theirs.attempt < known.attempt || theirs.promised == Ballot::default() {
            return known;
        }
        let later = |vote: &Vote| vote.accepted.map(|(ballot, _)| ballot);
        let accepted = if later(theirs) > later(&known) { theirs.accepted } else { known.accepted };
        let promised = known.promised.max(theirs.promised);
        let consents = known.consents || theirs.consents;
        Vote { promised, accepted, reports: Some(0), consents, ..known }
    }

    /// Whether an end was accepted, so that it may have been decided.
    #[must_use]
    pub fn is_obliged(&self) -> bool {
        matches!(self.accepted, Some((_, Verdict::Ends(_))))
    }

    /// What of a vote goes over to other members. A consent binds only in ballots of those who were told of it: were it
    /// learned by all, each would consent to whatever anybody has, and more could end at once than `Order` provides for.
    #[must_use]
    pub fn carried(self) -> Vote {
        Vote { consents: self.is_obliged(), ..self }
    }

    /// A member that has not voted in this attempt.
    #[must_use]
    pub fn attempt(attempt: u32) -> Vote {
        Vote { attempt, ..Vote::default() }
    }

    /// Whether there is a vote in this attempt.
    #[must_use]
    pub fn is_cast(&self) -> bool {
        self.promised != Ballot::default()
    }
}

/// Whether a site has voted with another storage since.
pub(crate) fn is_gone(site: SiteId, storage: StorageId, renewed: &Storages) -> bool {
    renewed.get(&site).is_some_and(|now| *now != storage)
}
