//! Pulses: where every site stands, told often and cheaply.
//!
//! A pulse carries promises and frontiers, own and passed on, so that sites which cannot reach each other still learn
//! both through a third; whether clients are to be sent here; and, while somebody stands in front of a change that this
//! site has released, what it has released. It says the whole of it each time: any one of them may be lost.

use std::collections::BTreeMap;

use entry::{JournalId, Seq, SiteId};

use crate::action::{Action, Lane};
use crate::mutant::Mutant;
use crate::site::{Site, Step};
use crate::wire::{JOURNALS_MAX, Message, Pulse};

/// With news, a pulse goes out at most this often, in microseconds.
const NEWS_EVERY_US: u64 = 4_000;
/// While something waits for promises, one goes out at least this often.
const WAITING_EVERY_US: u64 = 10_000;
/// Without any news, a pulse still says that this site is alive.
const ALIVE_EVERY_US: u64 = 200_000;

impl Site {
    pub(crate) fn pulse_if_due(&mut self, step: &mut Step<'_>) {
        if step.now.mono_us < self.next_pulse_us() {
            return;
        }
        self.state.pulse.last_us = step.now.mono_us;
        self.state.pulse.news = false;
        let pulse = self.make_pulse(step);
        for site in self.peers.greeted() {
            step.out.push(Action::Send {
                to: site,
                lane: Lane::Pulse,
                message: Message::Pulse(pulse.clone()),
            });
        }
    }

    pub(crate) fn next_pulse_us(&self) -> u64 {
        let every = if self.state.pulse.news {
            NEWS_EVERY_US
        } else if self.merge.unreleased() > 0 {
            WAITING_EVERY_US
        } else {
            ALIVE_EVERY_US
        };
        self.state.pulse.last_us + every
    }

    fn make_pulse(&mut self, step: &Step<'_>) -> Pulse {
        if let Some((journal, w, head)) = self.own_promise(step.now) {
            self.peers.learn_promise(journal, (w, head), step.now.mono_us);
        }
        // The witness passes nothing on: two sites that hear each other through it alone are out of touch.
        let mut pulse = match self.is_witness() {
            true => Pulse::default(),
            false => Pulse {
                promises: self.peers.promises.clone(),
                frontiers: self.peers.frontiers.clone(),
                frozen: self.peers.frozen.clone(),
                released: self.released_for_those_behind(),
                takes_clients: self.takes_clients(),
            },
        };
        pulse.frozen.insert(self.config.own, self.frozen());
        let held = match self.state.switch.has(Mutant::FrontierBeforeSync) {
            true => self.journals.taken_in(),
            false => self.journals.frontier(),
        };
        pulse.frontiers.insert(self.config.own, (self.identity.storage, held));
        pulse
    }

    /// What this site has released of each journal, while somebody in touch has not entered the epoch in which it stands.
    fn released_for_those_behind(&self) -> BTreeMap<JournalId, Seq> {
        let epoch = self.merge.order.epoch();
        let is_behind = |site| self.peers.frozen.get(&site).is_some_and(|frozen| frozen.epoch < epoch);
        if !self.peers.greeted().any(is_behind) {
            return BTreeMap::new();
        }
        let released = |journal: JournalId| {
            let end = self.state.seals.cut(journal).map_or(Seq::MAX, |cut| cut.next);
            (journal, self.merge.next_in_effect(journal).min(end))
        };
        self.journals.frontier().into_keys().map(released).collect()
    }

    /// A peer says where it, and those it hears, stand.
    pub(crate) fn pulse(&mut self, from: SiteId, pulse: Pulse, step: &mut Step<'_>) {
        let held = pulse.frontiers.values().map(|(_, held)| held.len()).sum::<usize>();
        let frozen = pulse.frozen.values().map(|frozen| frozen.journals.len()).sum::<usize>();
        let said = held + frozen + pulse.promises.len() + pulse.released.len();
        if said > JOURNALS_MAX {
            let reason = format!("{} speaks of more than {JOURNALS_MAX} journals", self.config.name_of(from));
            return step.out.push(Action::Hangup { to: from, reason });
        }
        match pulse.takes_clients {
            true => self.peers.without_clients.remove(&from),
            false => self.peers.without_clients.insert(from),
        };
        self.heard_as_witness(pulse.frozen.values().map(|frozen| frozen.epoch).max());
        for (journal, (w, head)) in pulse.promises {
            if Some(journal) != self.identity.journal()
                && self.peers.learn_promise(journal, (w, head), step.now.mono_us)
            {
                self.merge.order.promised(journal, w, head);
            }
        }
        if self.is_member(from) {
            self.merge.order.released_elsewhere(pulse.released);
        }
        for (site, (storage, held)) in pulse.frontiers {
            if site == self.config.own {
                self.remembered(storage, &held);
            }
            // Of itself a site speaks with authority; of others it may know an older storage than we do.
            let stale =
                site != from && self.peers.frontiers.get(&site).is_some_and(|(known, _)| *known != storage);
            let given_up = stale || self.merge.order.is_retired(site, storage);
            if site != self.config.own && !given_up {
                let frozen = pulse.frozen.get(&site).cloned().unwrap_or_default();
                self.peers.learn_frontier(site, storage, &held, &frozen);
                self.count_peer(site);
            }
        }
        self.settle_lanes(from);
        self.notice_own_elsewhere(from, step);
    }

    /// Whether a greeted peer shows more of our own journal than we have.
    fn notice_own_elsewhere(&mut self, from: SiteId, step: &mut Step<'_>) {
        let Some(journal) = self.identity.journal() else { return };
        if self.peers.holds(from, journal) > self.journals.next(journal) && self.is_own_and_closed(journal) {
            self.more_elsewhere(from, step);
        }
    }
}
