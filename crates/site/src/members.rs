//! Who the members are: what an operator may change of it, and how.
//!
//! The configuration lists the sites that are known, with names and addresses; who of them is a member, and counts for
//! quorums and votes, is agreed on in the merged order (`order::members`). A site is added when it holds what the members
//! hold, so that the larger quorum waits for nobody; it is removed when its journal takes part no more. Each change is an
//! entry in this site's own journal and is answered when it has its place.

use std::collections::BTreeSet;

use clock::Now;
use entry::{Body, Change, MemberEpoch, MembersBody, Seq, SiteId};
use order::MEMBERS_MAX;

use crate::action::{Answer, Refusal};
use crate::append::Taken;
use crate::desk::Until;
use crate::mutant::Mutant;
use crate::site::Site;

/// How much a site may lack when it is added, in entries: what is on its way to it while others write.
const LACKING_MAX: Seq = 10_000;

impl Site {
    /// The members at the merged position.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<SiteId> {
        self.merge.order.members()
    }

    /// How often they have changed, from the founders' epoch on.
    #[must_use]
    pub fn epoch(&self) -> MemberEpoch {
        self.merge.order.epoch()
    }

    pub(crate) fn is_member(&self, site: SiteId) -> bool {
        self.members().contains(&site)
    }

    /// The other members.
    pub(crate) fn others(&self) -> impl Iterator<Item = SiteId> {
        self.members().iter().copied().filter(|site| *site != self.config.own)
    }

    /// How many members make a quorum: a majority, or all who remain while some are given up.
    pub(crate) fn quorum(&self) -> usize {
        if self.state.switch.has(Mutant::OneOfTheRest) && self.gives_up() {
            return 1;
        }
        self.merge.order.needed()
    }

    /// Why this site may write nothing, if it is not a member.
    pub(crate) fn no_member(&self) -> Option<Refusal> {
        let own = self.config.own;
        let careless = self.state.switch.has(Mutant::GivenUpWrites) && self.is_member(own);
        if (self.is_voter(own) || careless) && !self.state.removed {
            return None;
        }
        if self.is_witness() {
            let text = "it is the witness, which holds no records: write to another site";
            return Some(Refusal::NotReady(text.to_owned()));
        }
        if self.merge.order.is_given_up(self.config.own) {
            let text = match self.gave_up_by_witness() {
                true => {
                    "the others went on without it while it was away, as the witness let them: it becomes a member again as \
                     soon as it holds what they hold"
                }
                false => {
                    "an operator gave it up while it was away, and the others have gone on: `meridian site add` at one of \
                     them makes it a member again"
                }
            };
            return Some(Refusal::NotReady(text.to_owned()));
        }
        let text = match self.state.removed || self.merge.order.removed().contains(&self.config.own) {
            true => "it was removed from the cluster; write to another one and stop this one for good",
            false => "it is not a member yet: `meridian site add` makes it one",
        };
        Some(Refusal::NotReady(text.to_owned()))
    }

    /// Writes a change of the members into the journal, if it may be made.
    pub(crate) fn change_members(&mut self, add: bool, site: SiteId, now: Now) -> Result<Taken, Refusal> {
        let change = if add { self.addition(site) } else { self.removal(site) }.map_err(Refusal::Members)?;
        if !self.merge.order.may_change(change) {
            let text =
                "too few members would be left that take part: start those that are stopped, and ask again";
            return Err(Refusal::Members(text.into()));
        }
        let own = self.identity.journal().filter(|own| self.merge.order.is_open(*own));
        if own.is_none() {
            return Err(Refusal::NotReady("its journal takes no part in the order yet".into()));
        }
        let epoch = self.merge.order.epoch().next();
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let body = Body::Members(MembersBody { epoch, change });
        let seq = self.say(stamp, body).map_err(|_| Refusal::Busy)?;
        Ok(Taken::Waits(seq, Answer::Members, Until::RELEASED))
    }

    fn addition(&self, site: SiteId) -> Result<Change, String> {
        let name = self.config.name_of(site);
        if self.is_member(site) {
            return Err(format!("{name} is a member already"));
        }
        if self.config.witness == Some(site) {
            return Err(format!("{name} is the witness: it holds no records, and is never a member"));
        }
        if self.merge.order.removed().contains(&site) {
            return Err(format!(
                "{name} was removed, and ids are not used again: give the site another id and name"
            ));
        }
        if self.gives_up() {
            return Err(format!(
                "sites that were given up are members still: ask again for {name} in a moment"
            ));
        }
        if self.members().len() >= MEMBERS_MAX {
            return Err(format!("there are {MEMBERS_MAX} members, and more are not possible"));
        }
        let known = self.peers.frontiers.get(&site).filter(|_| self.peers.is_greeted(site));
        let Some((storage, _)) = known else {
            return Err(format!(
                "{name} cannot be reached: start it (`meridian join`, then `serve`) and ask again"
            ));
        };
        let lacks = |journal| {
            self.merge.order.next_unreleased(journal).saturating_sub(self.peers.holds(site, journal))
        };
        let lacking: Seq = self.journals.frontier().into_keys().map(lacks).sum();
        if lacking > LACKING_MAX {
            return Err(format!(
                "{name} still lacks {lacking} entries: it is taking them over; ask again later"
            ));
        }
        Ok(Change::Add { site, storage: *storage })
    }

    fn removal(&self, site: SiteId) -> Result<Change, String> {
        let name = self.config.name_of(site);
        if !self.is_member(site) {
            return Err(format!("{name} is not a member"));
        }
        if self.members().len() == 1 {
            return Err(format!("{name} is the only member"));
        }
        if self.merge.order.open().any(|journal| journal.site == site) {
            return Err(format!(
                "{name} takes part in the order: stop it (`meridian site stop`), or fence it if it is gone, and ask again"
            ));
        }
        Ok(Change::Remove { site })
    }
}
