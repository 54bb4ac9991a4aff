//! Replication: I say what I need, and whoever has it streams it to me. (What is sent: `relay`. What is taken: `receive`.)
//!
//! Normally a journal comes from its owner. When the owner cannot be reached, it comes from whichever greeted site holds
//! most of it, verbatim. Everything here may be repeated, reordered between lanes, or lost with a link: entries that are
//! known already are passed over, a gap is answered by asking again.

use entry::{JournalId, Seq, SiteId};

use crate::action::{Action, Lane};
use crate::mutant::Mutant;
use crate::peers::{Cursor, Source};
use crate::relay::Provable;
use crate::site::{Fatal, Site, Step};
use crate::wire::{CopyMessage, Message, Need};

/// A peer this far behind gets old entries on the catch-up lane, in entries.
const TAIL_ENTRIES: u64 = 256;
/// A gap is answered by asking again at most this often, in microseconds.
const ASK_AGAIN_US: u64 = 200_000;
/// Who is known to hold more of a journal and has sent nothing of it for this long is asked again, in microseconds.
const STALLED_US: u64 = 2_000_000;

impl Site {
    /// For every journal that somebody has more of than we: from whom shall it come?
    pub(crate) fn choose_sources(&mut self, step: &mut Step<'_>) {
        if self.is_witness() {
            return;
        }
        for journal in self.peers.journals() {
            if self.journals.is_quarantined(journal)
                || self.pipeline.is_low()
                || self.is_own_and_closed(journal)
                || self.state.copying.lacks(journal)
            {
                continue;
            }
            let next = self.journals.next(journal);
            let Some(best) = self.best_source(journal, step.now.mono_us) else { continue };
            let current = self.peers.sources.get(&journal).map(|source| source.site);
            if current == Some(best) {
                self.watch_source(journal, next, step);
                continue;
            }
            if let Some(old) = current.filter(|old| self.peers.is_greeted(*old)) {
                step.out.push(control(old, Message::Enough(journal)));
            }
            self.ask(journal, best, step);
        }
    }

    /// The owner if it is greeted, unless only others have more (its disk was lost); else who is asked already, unless
    /// another has more; else whoever has most.
    fn best_source(&self, journal: JournalId, mono_us: u64) -> Option<SiteId> {
        let owner = journal.site;
        let asks_owner = self.peers.is_greeted(owner) && self.may_ask(owner, journal, mono_us);
        if asks_owner && (self.gives(owner, journal, mono_us) || !self.is_to_be_had(journal, mono_us)) {
            return Some(owner);
        }
        let gives = |site: &SiteId| self.gives(*site, journal, mono_us);
        let current = self.peers.sources.get(&journal).map(|source| source.site);
        if let Some(current) = current.filter(|site| self.peers.is_greeted(*site) && gives(site)) {
            return Some(current);
        }
        self.peers.greeted().filter(gives).max_by_key(|site| self.peers.holds(*site, journal))
    }

    /// Whether a site may give what comes next of a journal: it has not dropped that, and is trusted with it.
    fn may_ask(&self, site: SiteId, journal: JournalId, mono_us: u64) -> bool {
        !self.state.copying.has_dropped(site, journal) && !self.is_distrusted(site, journal, mono_us)
    }

    /// Whether it has that, too.
    fn gives(&self, site: SiteId, journal: JournalId, mono_us: u64) -> bool {
        self.peers.holds(site, journal) > self.journals.next(journal) && self.may_ask(site, journal, mono_us)
    }

    /// Whether somebody in touch gives more of a journal than is here.
    pub(crate) fn is_to_be_had(&self, journal: JournalId, mono_us: u64) -> bool {
        self.peers.greeted().any(|site| self.gives(site, journal, mono_us))
    }

    /// What was passed over (the disk was full, a stamp was too far ahead) does not come again by itself: who has more
    /// and sends nothing is asked again.
    fn watch_source(&mut self, journal: JournalId, next: Seq, step: &mut Step<'_>) {
        let now_us = step.now.mono_us;
        let Some(source) = self.peers.sources.get_mut(&journal) else { return };
        let Source { site, asked: (_, asked_us), reached } = *source;
        let there = self.peers.frontiers.get(&site).and_then(|(_, held)| held.get(&journal)).copied();
        if reached.0 != next || there.unwrap_or(0) <= next {
            source.reached = (next, now_us);
        } else if now_us.saturating_sub(reached.1.max(asked_us)) >= STALLED_US {
            self.ask(journal, site, step);
        }
    }

    fn ask(&mut self, journal: JournalId, site: SiteId, step: &mut Step<'_>) {
        let from = self.journals.next(journal);
        let asked = (from, step.now.mono_us);
        self.peers.sources.insert(journal, Source { site, asked, reached: asked });
        step.out.push(control(site, Message::Need(Need { journal, from })));
    }

    /// A peer needs a journal from some entry on.
    pub(crate) fn need(&mut self, from: SiteId, need: Need) {
        let behind = self.journals.durable(need.journal).saturating_sub(need.from);
        let lane = if behind > TAIL_ENTRIES { Lane::CatchUp } else { Lane::Tail };
        if let Some(peer) = self.peers.links.get_mut(&from) {
            peer.cursors.insert(need.journal, Cursor { next: need.from, lane, shown: None });
        }
    }

    /// The link took entries off our hands.
    pub(crate) fn room(&mut self, site: SiteId, bytes: usize) {
        let window = self.window();
        if let Some(peer) = self.peers.links.get_mut(&site) {
            peer.credit = (peer.credit + bytes as i64).min(window);
        }
    }

    /// How much may be with the link to one peer, in bytes.
    pub(crate) fn window(&self) -> i64 {
        i64::try_from(self.config.limits.peer_window_bytes).unwrap_or(i64::MAX)
    }

    /// Hands a message to the link, which tells when it has room for as much again.
    pub(crate) fn send_bulk(&mut self, to: SiteId, lane: Lane, message: Message, step: &mut Step<'_>) {
        if let Some(peer) = self.peers.links.get_mut(&to) {
            peer.credit -= message.encoded_bytes() as i64;
            if self.state.switch.has(Mutant::CreditUnowed) {
                peer.credit = peer.credit.max(0);
            }
        }
        step.out.push(Action::Send { to, lane, message });
    }

    /// Sends every peer what it needs, as far as its link has room.
    pub(crate) fn pump(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let sites: Vec<SiteId> = self.peers.greeted().collect();
        for site in sites {
            while self.pump_once(site, step)? {}
        }
        Ok(())
    }

    /// One round over a peer's journals; returns whether anything was sent.
    fn pump_once(&mut self, site: SiteId, step: &mut Step<'_>) -> Result<bool, Fatal> {
        let Some(peer) = self.peers.links.get(&site) else { return Ok(false) };
        let behind =
            |(journal, cursor): &(&JournalId, &Cursor)| cursor.next < self.journals.durable(**journal);
        let due: Vec<(JournalId, Cursor)> =
            peer.cursors.iter().filter(behind).map(|(journal, cursor)| (*journal, *cursor)).collect();
        let mut sent = false;
        for (journal, cursor) in due {
            sent |= self.send_entries(site, journal, cursor, step)?;
        }
        Ok(sent)
    }

    /// Sends the next entries of a journal to a peer, if its link has room.
    fn send_entries(
        &mut self,
        to: SiteId,
        journal: JournalId,
        cursor: Cursor,
        step: &mut Step<'_>,
    ) -> Result<bool, Fatal> {
        let credit = self.peers.links.get(&to).map_or(0, |peer| peer.credit);
        let Some(most) = usize::try_from(credit).ok().filter(|credit| *credit > 0) else { return Ok(false) };
        let most = self.config.limits.message_bytes.min(most);
        let found = match self.provable((journal, cursor.next), most, step.disk) {
            Err(Fatal::Wal(error)) => {
                self.misread(error, step)?;
                return Ok(false);
            }
            other => other?,
        };
        let (next, shown, sent) = match found {
            Provable::Nothing => return Ok(false),
            Provable::Dropped(first) => {
                let message = CopyMessage::Dropped { journal, first };
                step.out.push(control(to, Message::Copy(message)));
                // Nothing of it is of use before that was taken over: the peer asks anew.
                (Seq::MAX, None, false)
            }
            Provable::Entries(vouched, certificate) => {
                let (next, shown) = (vouched.head.next, Some(vouched.head.certificate));
                let lane = cursor.lane;
                if cursor.shown != shown {
                    self.send_bulk(to, lane, Message::Certificate(certificate), step);
                }
                self.send_bulk(to, lane, Message::Entries(vouched), step);
                (next, shown, true)
            }
        };
        if let Some(peer) = self.peers.links.get_mut(&to) {
            peer.cursors.insert(journal, Cursor { next, shown, ..cursor });
        }
        Ok(sent)
    }

    /// A peer that was catching up holds all that it was sent: from here on it gets the tail.
    pub(crate) fn settle_lanes(&mut self, site: SiteId) {
        let frontier = self.peers.frontiers.get(&site).map(|(_, held)| held.clone()).unwrap_or_default();
        let Some(peer) = self.peers.links.get_mut(&site) else { return };
        for (journal, cursor) in &mut peer.cursors {
            if cursor.lane == Lane::CatchUp && frontier.get(journal).is_some_and(|held| *held >= cursor.next)
            {
                // What was shown on the other lane may come later than what is sent on this one.
                (cursor.lane, cursor.shown) = (Lane::Tail, None);
            }
        }
    }

    /// Asks for the rest of a journal again, if it was not asked for just now. What was asked for is behind all that is on
    /// its way already, and to ask for the same once more makes that longer.
    pub(crate) fn ask_again(&mut self, journal: JournalId, step: &mut Step<'_>) {
        let Some(source) = self.peers.sources.get(&journal).copied() else { return };
        let (from, asked_us) = source.asked;
        let is_new = from != self.journals.next(journal);
        let wait_us = if is_new { ASK_AGAIN_US } else { STALLED_US };
        if step.now.mono_us.saturating_sub(asked_us) >= wait_us
            && !self.state.copying.lacks(journal)
            && self.peers.is_greeted(source.site)
        {
            self.ask(journal, source.site, step);
        }
    }

    pub(crate) fn quarantine(&mut self, journal: JournalId, reason: &str, step: &mut Step<'_>) {
        if self.journals.quarantine(journal) {
            let name = self.journal_name(journal);
            self.alarm(
                format!("nothing more is taken of {name}: {reason}; compare the sites' dumps of it"),
                step,
            );
        }
    }

    pub(crate) fn journal_name(&self, journal: JournalId) -> String {
        format!("journal {journal} ({})", self.config.name_of(journal.site))
    }
}

/// A message on the control lane.
pub(crate) fn control(to: SiteId, message: Message) -> Action {
    Action::Send { to, lane: Lane::Control, message }
}
