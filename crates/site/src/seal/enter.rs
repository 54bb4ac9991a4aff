//! From one epoch of members to the next: who votes there has learned how those before have voted.
//!
//! Behind a change of members a site votes in the former epoch no more. It votes in the new one, and what it reports counts
//! there, once it has *entered*: a majority of the members before, who vote there no more either, have told it their votes,
//! or one who has entered has. So whatever was decided under the former members is known to whoever votes under the new
//! ones. What a site learned is durable before it has entered. The rules are model-checked (`crates/order/tests/members`).

use std::collections::BTreeSet;

use agree::{Ballot, Verdict, Vote};
use entry::{JournalId, MemberEpoch, SiteId, StorageId};

use super::{Ending, REPEAT_US};
use crate::action::Action;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::start::Grant;
use crate::wire::{Message, Votes};

/// The way into the next epoch.
#[derive(Debug, Default)]
pub(super) struct Entering {
    to: MemberEpoch,
    /// Members of the epoch before that told their votes.
    told: BTreeSet<SiteId>,
    /// Whether somebody told who has entered already.
    led: bool,
    noted: bool,
    asked_us: Option<u64>,
}

impl Site {
    /// Whether this site votes: it is a member, and has entered the present epoch.
    pub(crate) fn votes(&self) -> bool {
        let careless = self.state.switch.has(Mutant::VotesUnentered);
        let entered = careless || self.state.seals.entered == self.merge.order.epoch();
        self.identity.synced && entered && self.is_voter(self.config.own)
    }

    /// Whether all that former members may have ended is sealed, so that only ends that the present ones agree on can still
    /// take somebody away: how many sites may leave is judged by these alone (`Order`).
    pub(crate) fn is_settled(&self) -> bool {
        let order = &self.merge.order;
        let ended = |ending: &Ending| ending.cut.is_some() || ending.vote.is_obliged();
        let mut journals = self.state.seals.journals.iter();
        !self.gives_up() && order.epoch() == MemberEpoch::GENESIS
            || (self.votes() && journals.all(|(journal, ending)| !ended(ending) || order.is_sealed(*journal)))
    }

    /// Whether this site votes in a ballot: those of other members are none of its business.
    pub(super) fn votes_in(&self, ballot: Ballot) -> bool {
        self.votes() && ballot.epoch == self.merge.order.epoch()
    }

    /// The members are others: what was under way among the former ones is taken up anew.
    pub(crate) fn members_changed(&mut self, epoch: MemberEpoch, step: &mut Step<'_>) {
        for ending in self.state.seals.journals.values_mut() {
            (ending.proposal, ending.tried_us) = (None, None);
            ending.silent.clear();
        }
        self.state.start.ask_others();
        if self.identity.journal().is_some_and(|own| self.merge.order.parted_first(own).is_some()) {
            // It had left, and is a member again: it was not known at its start that it has to be let in.
            self.state.start.parted();
        }
        let names: Vec<&str> = self.members().iter().map(|site| self.config.name_of(*site)).collect();
        self.tell(format!("members {}: {}", epoch.0, names.join(", ")), step);
        step.out.push(Action::ViewChanged);
    }

    /// The epoch that this site has to enter next.
    fn next_epoch(&self) -> Option<MemberEpoch> {
        let entered = self.state.seals.entered;
        if self.identity.synced {
            return (entered < self.merge.order.epoch()).then(|| entered.next());
        }
        self.added_here().filter(|epoch| entered < *epoch)
    }

    /// The epoch with which this very data directory became a member's, if it was empty before.
    fn added_here(&self) -> Option<MemberEpoch> {
        let (epoch, storage) = self.merge.order.added_with(self.config.own)?;
        (storage == self.identity.storage).then_some(epoch)
    }

    /// Whether this very data directory is the one with which the site was added: it has no votes to have lost.
    pub(super) fn was_added_here(&self) -> bool {
        self.added_here().is_some()
    }

    /// Enters the next epoch, or asks for what that takes.
    pub(super) fn enter_epoch(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.leave_to_successor(step)?;
        let Some(to) = self.next_epoch() else { return self.count_at_last(step) };
        if self.state.seals.entering.to != to {
            self.state.seals.entering = Entering { to, ..Entering::default() };
        }
        if self.state.seals.entering.noted {
            return Ok(());
        }
        if self.is_told() && self.holds_accepted() {
            self.state.seals.entering.noted = true;
            self.carry_votes();
            self.note_entered(to);
            return Ok(());
        }
        let now_us = step.now.mono_us;
        let entering = &mut self.state.seals.entering;
        if entering.asked_us.is_none_or(|at| now_us.saturating_sub(at) >= REPEAT_US) {
            entering.asked_us = Some(now_us);
            self.ask_for_votes(Some(to), step);
        }
        Ok(())
    }

    /// This site was added again with another data directory: what this one votes and holds counts no more.
    fn leave_to_successor(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let added = self.merge.order.added_with(self.config.own);
        let another = |(epoch, storage): (MemberEpoch, StorageId)| {
            storage != self.identity.storage && self.state.seals.entered < epoch
        };
        if self.identity.synced && added.is_some_and(another) {
            self.become_known_as(Identity { synced: false, ..self.identity.clone() }, step)?;
        }
        Ok(())
    }

    /// The next thing that is durable is that the epoch is entered. Of a site that was added on the way there the storage counts
    /// that it was added with: it had no votes to ask for, and so has told nobody.
    pub(super) fn note_entered(&mut self, to: MemberEpoch) {
        let entered = self.state.seals.entered;
        let added = |site: &SiteId| {
            let (epoch, storage) = self.merge.order.added_with(*site)?;
            let known = self.state.seals.renewed.get(site).is_some_and(|known| *known != storage);
            (known && epoch > entered && epoch <= to).then_some((*site, storage))
        };
        let added: Vec<(SiteId, StorageId)> = self.members().iter().filter_map(added).collect();
        for (site, storage) in added {
            self.take_for_valid(site, storage);
        }
        self.pipeline.note(Note::Entered(to));
    }

    /// What was only said to the former members binds this site no more.
    fn carry_votes(&mut self) {
        for (journal, ending) in &mut self.state.seals.journals {
            let vote = ending.vote.carried();
            if vote != ending.vote {
                ending.vote = vote;
                self.state.seals.unsaid.push_back(None);
                self.pipeline.note(Note::Vote(*journal, vote));
            }
        }
    }

    /// Whether enough have told.
    fn is_told(&self) -> bool {
        let entering = &self.state.seals.entering;
        let before = MemberEpoch(entering.to.0.saturating_sub(1));
        let Some((remain, needed)) = self.merge.order.quorum_of(before) else { return false };
        if entering.led || self.state.switch.has(Mutant::EntersUntold) {
            return true;
        }
        let is_own = |site: &SiteId| *site == self.config.own && self.identity.synced;
        remain.iter().filter(|site| is_own(site) || entering.told.contains(site)).count() >= needed
    }

    /// Whether this site holds all in front of every end that somebody has accepted, as far as it was told. A change takes one
    /// holder away at most; two in a row could otherwise leave what was agreed on with a minority.
    fn holds_accepted(&self) -> bool {
        let holds = |(journal, ending): (&JournalId, &Ending)| {
            let accepted = ending.vote.accepted.map(|(_, verdict)| verdict);
            match (ending.cut, accepted) {
                (Some(cut), _) | (None, Some(Verdict::Ends(cut))) => {
                    self.journals.durable(*journal) >= cut.next
                }
                _ => true,
            }
        };
        self.state.seals.journals.iter().all(holds)
    }

    /// A site that was added counts from when it has entered.
    fn count_at_last(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.identity.synced || !self.was_added_here() {
            return Ok(());
        }
        if self.become_known_as(Identity { synced: true, ..self.identity.clone() }, step)? {
            self.state.pulse.news = true;
            self.count_own();
            let text = "this site is a member: it counts and votes".to_owned();
            step.out.push(Action::Remark(text));
        }
        Ok(())
    }

    /// An epoch is entered, durably.
    pub(crate) fn entered(&mut self, epoch: MemberEpoch) {
        self.state.seals.entered = self.state.seals.entered.max(epoch);
        self.state.pulse.news = true;
    }

    /// Another site enters an epoch and asks how we have voted before it.
    pub(super) fn asked_by_entering(
        &self,
        from: SiteId,
        storage: StorageId,
        to: MemberEpoch,
        step: &mut Step<'_>,
    ) {
        let entered = self.state.seals.entered;
        if self.identity.synced && self.merge.order.epoch() >= to && entered.next() >= to {
            let votes = self.votes_for(storage, Some(to));
            step.out.push(control(from, Message::Votes(votes)));
        }
    }

    /// What this site tells one that learns its votes.
    pub(super) fn votes_for(&self, storage: StorageId, enters: Option<MemberEpoch>) -> Votes {
        let mut votes = self.state.seals.snapshot().votes;
        if enters.is_some() {
            votes.values_mut().for_each(|vote| *vote = vote.carried());
        }
        Votes {
            storage,
            enters,
            entered: self.state.seals.entered,
            votes,
            granted: self
                .state
                .granted
                .iter()
                .map(|(site, grant)| (*site, (grant.incarnation, grant.storage)))
                .collect(),
            held: self.journals.frontier(),
            remain: self.members().iter().copied().filter(|site| self.is_voter(*site)).collect(),
            storages: self.storages(),
        }
    }

    /// A site tells how it has voted before the epoch that this one is about to enter.
    pub(super) fn told_for_entering(&mut self, from: SiteId, to: MemberEpoch, told: &Votes) {
        if self.next_epoch() != Some(to)
            || self.state.seals.entering.to != to
            || self.state.seals.entering.noted
        {
            return;
        }
        self.learn_votes(told);
        let before = MemberEpoch(to.0.saturating_sub(1));
        let counts = self.merge.order.members_of(before).is_some_and(|members| members.contains(&from));
        let entering = &mut self.state.seals.entering;
        entering.led |= told.entered >= to;
        if counts {
            entering.told.insert(from);
        }
    }

    /// Another's votes and grants become this site's own.
    pub(super) fn learn_votes(&mut self, told: &Votes) {
        for (journal, theirs) in told.votes.iter().filter(|(_, theirs)| **theirs != Vote::default()) {
            let known = self.state.seals.of(*journal).vote;
            let vote = known.learned(theirs);
            if vote != known {
                self.state.seals.of(*journal).vote = vote;
                self.state.seals.unsaid.push_back(None);
                self.pipeline.note(Note::Vote(*journal, vote));
            }
        }
        for (site, (incarnation, storage)) in &told.granted {
            let known = self.state.granted.get(site).copied();
            let (incarnation, storage) = match known {
                Some(known) if known.incarnation > *incarnation => continue,
                Some(known) if (known.incarnation, known.storage) == (*incarnation, *storage) => continue,
                // Two directories were given one number: here it is nobody's.
                Some(known) if known.incarnation == *incarnation => (*incarnation, StorageId(0)),
                _ => (*incarnation, *storage),
            };
            self.state.granted.insert(*site, Grant { incarnation, storage, durable: true });
            self.pipeline.note(Note::Granted(*site, incarnation, storage));
        }
    }
}
