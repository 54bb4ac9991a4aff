//! Links and hellos: who is at the other end, and whether we belong together.
//!
//! The link's certificate has already proved which site speaks. The hello says what must be the same at both ends; a
//! difference is an operator's mistake, so each has a sentence that says which and what to do.

use entry::{MemberEpoch, SiteId};
use order::Order;

use crate::action::Action;
use crate::config::Member;
use crate::identity::Identity;
use crate::mutant::Mutant;
use crate::peers::Peer;
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{Hello, JOURNALS_MAX, Message};

impl Site {
    pub(crate) fn link_up(&mut self, site: SiteId, step: &mut Step<'_>) {
        self.peers.links.insert(site, Peer::new(self.window()));
        self.state.tasks.unask(site);
        self.peers.sources.retain(|_, source| source.site != site);
        self.accepted_by(site, step);
        step.out.push(control(site, Message::Hello(self.hello(site))));
    }

    pub(crate) fn link_down(&mut self, site: SiteId) {
        self.peers.links.remove(&site);
        self.peers.sources.retain(|_, source| source.site != site);
    }

    fn hello(&self, to: SiteId) -> Hello {
        Hello {
            protocol: self.config.protocol,
            cluster: self.config.cluster,
            site: self.config.own,
            storage: self.identity.storage,
            founders: self.identity.founders.clone(),
            removed: self.merge.order.removed().contains(&to),
            sites: self.config.members.iter().map(|it| (it.site, it.name.clone())).collect(),
            homes: self.config.homes.clone(),
            witness: self.config.witness,
            held: self.journals.heads(),
            promised: self.peers.promises.iter().map(|(journal, (w, _))| (*journal, *w)).collect(),
            frozen: self.frozen(),
            given_up: self.state.seals.given_up.values().cloned().collect(),
            stands: self.stands(),
        }
    }

    /// A peer said something.
    pub(crate) fn message(
        &mut self,
        from: SiteId,
        message: Message,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        if !self.peers.links.contains_key(&from) {
            return Ok(());
        }
        if let Message::Hello(hello) = &message {
            self.greeted(from, hello, step)?;
        }
        // Who does not belong here, or has not said so yet, is nobody to send clients to.
        if !self.peers.is_greeted(from) {
            return Ok(());
        }
        self.peers.heard_us.insert(from, step.now.mono_us);
        match message {
            Message::Hello(_) => {}
            Message::Pulse(pulse) => self.pulse(from, pulse, step),
            Message::Votes(told) => self.votes_told(from, &told),
            Message::GivenUp(records) => self.told_given_up(from, records, step),
            Message::AskWitness(ask) => self.asked_as_witness(from, &ask, step),
            // It holds nothing and votes on nothing else.
            _ if self.is_witness() => {}
            Message::Need(need) => self.need(from, need),
            Message::Enough(journal) => {
                if let Some(peer) = self.peers.links.get_mut(&from) {
                    peer.cursors.remove(&journal);
                }
            }
            Message::Entries(entries) => self.entries(from, &entries, step),
            Message::Certificate(certificate) => {
                if let Some(peer) = self.peers.links.get_mut(&from) {
                    peer.shows(certificate);
                }
            }
            Message::OpenMe { journal, first } => self.sponsor(journal, first, step),
            Message::AskIncarnation(asked, storage) => self.asked_for_incarnation(from, asked, storage, step),
            Message::Incarnation { asked, storage, granted, next, epoch }
                if storage == self.identity.storage =>
            {
                let granted = granted.then_some(epoch);
                self.incarnation_answer(from, asked, granted, next, step);
            }
            Message::Incarnation { .. } => {}
            Message::Copy(message) => self.copy_message(from, message, step)?,
            Message::Seal(journal, attempt, said) => self.seal_said(from, journal, (attempt, said), step),
            Message::AskVotes(storage, enters) => self.asked_for_votes(from, storage, enters, step),
        }
        Ok(())
    }

    fn greeted(&mut self, from: SiteId, hello: &Hello, step: &mut Step<'_>) -> Result<(), Fatal> {
        if hello.storage == self.identity.storage {
            let name = self.config.name_of(from).to_owned();
            let advice = "give the copy an empty directory";
            self.halt(&format!("{name} runs on a copy of this site's data directory"), advice, step);
        }
        if let Err(difference) = self.belongs(from, hello) {
            self.alarm(difference.clone(), step);
            step.out.push(Action::Hangup { to: from, reason: difference });
            return Ok(());
        }
        if !self.learn_founders(&hello.founders, step)? {
            let reason = "there is no room on this site's disk to note who the members are".to_owned();
            step.out.push(Action::Hangup { to: from, reason });
            return Ok(());
        }
        self.state.removed |= hello.removed;
        let held = hello.held.iter().map(|(journal, (next, _))| (*journal, *next)).collect();
        // Who comes back with a storage that it had given up is told of the later one by our pulses.
        if !self.merge.order.is_retired(from, hello.storage) {
            self.peers.learn_frontier(from, hello.storage, &held, &hello.frozen);
            self.count_peer(from);
        }
        self.heard_as_witness(Some(hello.frozen.epoch));
        self.peers.protocols.insert(from, hello.protocol);
        self.compare_heads(from, hello, step);
        if let Some(peer) = self.peers.links.get_mut(&from) {
            peer.greeted = Some(hello.storage);
        }
        self.state.pulse.news = true;
        self.told_given_up(from, hello.given_up.clone(), step);
        self.start_heard(from, hello);
        self.tell_endings(from, step);
        step.out.push(Action::ViewChanged);
        Ok(())
    }

    /// A directory that joins is told who the first members were: before that it can take nothing in. Returns whether there
    /// was room to note it.
    fn learn_founders(&mut self, founders: &[SiteId], step: &mut Step<'_>) -> Result<bool, Fatal> {
        if !self.identity.founders.is_empty() || founders.is_empty() {
            return Ok(true);
        }
        let told = Identity { founders: founders.to_vec(), ..self.identity.clone() };
        let noted = self.become_known_as(told, step)?;
        if noted {
            self.merge.order = Order::new(self.config.own, founders);
        }
        Ok(noted)
    }

    fn belongs(&self, from: SiteId, hello: &Hello) -> Result<(), String> {
        let name = self.config.name_of(from);
        let (theirs, ours) = (hello.protocol, self.config.protocol);
        if theirs.abs_diff(ours) > 1 {
            return Err(format!(
                "{name} speaks protocol {theirs}, this site {ours}: upgrade one version at a time"
            ));
        }
        if hello.cluster != self.config.cluster {
            let (theirs, ours) = (hello.cluster, self.config.cluster);
            return Err(format!(
                "{name} belongs to cluster {theirs}, this site to {ours}: one configuration is wrong"
            ));
        }
        if hello.site != from {
            let said = hello.site;
            return Err(format!(
                "{name} says it is site {said}, but its certificate says {from}: it has the wrong files"
            ));
        }
        if hello.storage == self.identity.storage {
            return Err(format!("{name} runs on a copy of this site's data directory: give it an empty one"));
        }
        self.agrees(name, hello)?;
        if let Some(apart) = self.is_apart(from, hello) {
            return Err(apart);
        }
        if hello.held.len().max(hello.promised.len()).max(hello.stands.len()) > JOURNALS_MAX {
            return Err(format!("{name} speaks of more than {JOURNALS_MAX} journals"));
        }
        Ok(())
    }

    /// Whether what both configurations say is the same; each may know sites and homes that the other does not.
    fn agrees(&self, name: &str, hello: &Hello) -> Result<(), String> {
        let ours = &self.identity.founders;
        if hello.founders.is_empty() && ours.is_empty() {
            return Err(format!(
                "neither {name} nor this site belongs to the cluster yet: another one has to tell"
            ));
        }
        if ours != &hello.founders && !ours.is_empty() && !hello.founders.is_empty() {
            return Err(format!(
                "{name} is of a cluster that other sites have founded: it has the wrong directory"
            ));
        }
        for Member { site, name: known } in &self.config.members {
            let other = hello.sites.get(site).filter(|other| *other != known);
            let twin = hello.sites.iter().find(|(id, other)| *id != site && *other == known);
            if let Some((id, other)) = other.map(|other| (site, other)).or(twin) {
                return Err(format!(
                    "in {name}'s configuration site {id} is {other}, here site {site} is {known}: make both files say the same"
                ));
            }
        }
        self.agrees_on_witness(name, hello)?;
        for (home, port) in &self.config.homes {
            if let Some(other) = hello.homes.get(home).filter(|other| *other != port) {
                return Err(format!(
                    "in {name}'s configuration home {home} has port {other}, here {port}: make both files say the same"
                ));
            }
        }
        Ok(())
    }

    /// Whether both take the same site for the witness; one may not know of it yet.
    fn agrees_on_witness(&self, name: &str, hello: &Hello) -> Result<(), String> {
        let ours = self.config.witness.filter(|site| hello.witness != Some(*site));
        let theirs = hello.witness.filter(|site| self.config.witness != Some(*site));
        let known = |site: &SiteId| hello.sites.contains_key(site) && self.config.knows(*site);
        let disputed = ours.into_iter().chain(theirs).find(known);
        if let Some(site) = disputed.or(ours.and(theirs)) {
            let site = hello.sites.get(&site).map_or("another", |site| site);
            return Err(format!(
                "{name}'s configuration and this one do not agree on whether {site} is the witness, and there can be one \
                 only: make both files say the same"
            ));
        }
        Ok(())
    }

    /// Two sites that hold equally much of a journal must hold the same of it.
    fn compare_heads(&mut self, from: SiteId, hello: &Hello, step: &mut Step<'_>) {
        let ours = self.journals.heads();
        for (journal, (next, hash)) in &hello.held {
            if ours.get(journal).is_some_and(|(held, head)| held == next && head != hash) {
                let name = self.config.name_of(from).to_owned();
                if Some(*journal) == self.identity.journal() {
                    self.halt_own(&format!("{name} holds another history of it"), step);
                } else if self.journals.quarantine(*journal) {
                    let which = self.journal_name(*journal);
                    self.alarm(
                        format!("nothing more is taken of {which}: {name} holds another history of it"),
                        step,
                    );
                }
            }
        }
    }

    /// Whether all members have told, since this process began, that they read what came with a protocol.
    pub(crate) fn all_read(&self, protocol: u16) -> bool {
        let reads = |site: &SiteId| self.peers.protocols.get(site).is_some_and(|theirs| *theirs >= protocol);
        let others = self.members().iter().filter(|site| **site != self.config.own);
        let all = others.into_iter().all(reads) || self.state.switch.has(Mutant::WritesUnread);
        self.config.protocol >= protocol && all
    }

    /// Tells the order what a peer is known to hold.
    pub(crate) fn count_peer(&mut self, site: SiteId) {
        if !self.config.knows(site) {
            return;
        }
        if let Some((storage, held)) = self.peers.frontiers.get(&site) {
            let epoch = self.peers.frozen.get(&site).map_or(MemberEpoch::default(), |frozen| frozen.epoch);
            self.merge.order.entered(site, *storage, epoch);
            for journal in held.keys() {
                let counted = self.peers.counts(site, *journal, self.state.seals.attempt(*journal));
                self.merge.order.counted(site, *storage, *journal, counted);
            }
        }
    }

    /// Takes note of who is alive, and says so when clients are to be sent to other sites than before.
    pub(crate) fn watch_liveness(&mut self, step: &mut Step<'_>) {
        self.state.alive = self.alive(step.now.mono_us);
        let for_clients: Vec<SiteId> =
            self.state.alive.iter().copied().filter(|site| self.is_for_clients(*site)).collect();
        if for_clients != self.state.for_clients {
            self.state.for_clients = for_clients;
            step.out.push(Action::ViewChanged);
        }
    }

    /// Members that clients are to be sent to, in id order: heard from within the configured time, and by their own word
    /// able to take writes.
    #[must_use]
    pub fn for_clients(&self, mono_us: u64) -> Vec<SiteId> {
        self.alive(mono_us).into_iter().filter(|site| self.is_for_clients(*site)).collect()
    }

    fn is_for_clients(&self, site: SiteId) -> bool {
        if site == self.config.own {
            self.takes_clients()
        } else {
            !self.peers.without_clients.contains(&site)
        }
    }

    /// Members heard from within the configured time, and this site, in id order.
    #[must_use]
    pub fn alive(&self, mono_us: u64) -> Vec<SiteId> {
        let recent = |site: &SiteId| {
            let heard = self.peers.heard_us.get(site).copied();
            heard.is_some_and(|at| mono_us.saturating_sub(at) <= self.config.alive_ms * 1000)
        };
        let mut alive: Vec<_> = self.others().filter(recent).chain([self.config.own]).collect();
        alive.sort_unstable();
        alive
    }
}
