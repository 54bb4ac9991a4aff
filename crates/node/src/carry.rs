//! Carrying out what the machine asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use entry::SiteId;
use peer::SendError;
use site::wire::Message;
use site::{Action, Event, FileWork, Lane, Site, Ticket};
use tokio::sync::{oneshot, watch};

use crate::engine::Reply;
use crate::readable::Readable;
use crate::views::Views;
use crate::writer::Job;

/// Carries actions out.
pub(crate) struct Carrier {
    ends: Ends,
    next_ticket: u64,
    waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    /// The connection that counts, per peer.
    generations: BTreeMap<SiteId, u64>,
    /// Whether the machine is to be let go for another.
    restart: bool,
}

/// How the engine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In good order.
    Stopped,
    /// It cannot go on.
    Halted(String),
}

/// Where actions go.
pub(crate) struct Ends {
    pub(crate) wal: SyncSender<Job>,
    pub(crate) checkpoints: SyncSender<Job>,
    pub(crate) copies: SyncSender<Job>,
    pub(crate) links: Arc<peer::Links>,
    pub(crate) readable: Arc<Readable>,
    pub(crate) views: Arc<Views>,
    pub(crate) ended: watch::Sender<Option<Ending>>,
}

impl Carrier {
    pub(crate) fn new(ends: Ends) -> Carrier {
        Carrier {
            ends,
            next_ticket: 0,
            waiting: BTreeMap::new(),
            generations: BTreeMap::new(),
            restart: false,
        }
    }

    /// What clients are told of the cluster.
    pub(crate) fn views(&self) -> &Views {
        &self.ends.views
    }

    /// Who waits for logs to grow.
    pub(crate) fn readable(&self) -> &Readable {
        &self.ends.readable
    }

    /// Whether the engine's work is done.
    pub(crate) fn stopped(&self) -> bool {
        self.ends.ended.borrow().is_some()
    }

    /// A ticket for someone who waits.
    pub(crate) fn ticket(&mut self, waiting: oneshot::Sender<Reply>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// Tickets whose client went away are withdrawn.
    pub(crate) fn forget_gone(&mut self, events: &mut Vec<Event>) {
        /// Looking through all who wait is worth it only now and then.
        const EVERY: u64 = 1024;
        if !self.next_ticket.is_multiple_of(EVERY) {
            return;
        }
        let gone: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.is_closed())
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in gone {
            self.waiting.remove(&ticket);
            events.push(Event::Forget(ticket));
        }
    }

    pub(crate) fn carry_out(&mut self, action: Action, site: &Site, mono_us: u64) {
        match action {
            // A disk thread that is gone has ended the process, or is about to.
            Action::Write(write) => drop(self.ends.wal.send(Job::Write(write))),
            Action::Prepare(op) => drop(self.ends.checkpoints.send(Job::Prepare(op))),
            Action::Checkpoint { id, sync, position, state } => {
                drop(self.ends.checkpoints.send(Job::Checkpoint { id, sync, position, state }));
            }
            Action::Files(task) => {
                // A copy comes into force behind every checkpoint.
                let installs = matches!(task.work, FileWork::Install { .. });
                let thread = if installs { &self.ends.checkpoints } else { &self.ends.copies };
                drop(thread.send(Job::Files(task)));
            }
            Action::Restart => self.restart = true,
            Action::Send { to, lane, message } => self.send(to, lane, &message),
            Action::Hangup { to, reason } => {
                tracing::warn!(peer = to.0, reason, "hanging up");
                self.ends.links.reset(to.0, &reason);
            }
            Action::GiveUpLinks { reason } => self.ends.links.give_up(&reason),
            Action::Reply { ticket, answer } => {
                if let Some(waiting) = self.waiting.remove(&ticket) {
                    let _ = waiting.send(answer);
                }
            }
            Action::Readable(grown) => self.ends.readable.grew(&grown, site),
            Action::ViewChanged => self.ends.views.renew(site, mono_us),
            Action::Alarm(text) => tracing::warn!("{text}"),
            Action::Remark(text) => tracing::info!("{text}"),
            Action::Stopped => self.end(Ending::Stopped),
            Action::Halt(reason) => self.end(Ending::Halted(reason)),
        }
    }

    /// Whether the machine is to be let go for another: then nobody who waits is answered, and all links begin anew.
    pub(crate) fn takes_restart(&mut self) -> bool {
        let restart = std::mem::take(&mut self.restart);
        if restart {
            self.waiting.clear();
            for site in std::mem::take(&mut self.generations).into_keys() {
                self.ends.links.reset(site.0, "this site starts again from a copy");
            }
        }
        restart
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.ends.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(ending);
            }
            first
        });
    }

    fn send(&mut self, to: SiteId, lane: Lane, message: &Message) {
        let Some(generation) = self.generations.get(&to).copied() else { return };
        let bytes = message.encode();
        let sent = match lane {
            Lane::Pulse => self.ends.links.send_pulse(to.0, generation, bytes),
            Lane::Control => self.ends.links.send(to.0, generation, peer::Lane::Control, bytes),
            Lane::Tail => self.ends.links.send(to.0, generation, peer::Lane::Tail, bytes),
            Lane::CatchUp => self.ends.links.send(to.0, generation, peer::Lane::CatchUp, bytes),
        };
        match sent {
            Ok(()) => {}
            // Nothing may be missing between what a link has carried and what it carries next: it begins anew.
            Err(error @ (SendError::Full { .. } | SendError::TooLarge(_))) if lane != Lane::Pulse => {
                tracing::warn!(peer = to.0, %error, "hanging up: the link does not take what is sent");
                self.ends.links.reset(to.0, &error.to_string());
            }
            Err(error) => tracing::debug!(peer = to.0, %error, "not sent"),
        }
    }

    /// What a link says, as events of the machine. What an old connection still had to say counts no more.
    pub(crate) fn heard(&mut self, event: peer::Event) -> Option<Event> {
        let current = |generations: &BTreeMap<SiteId, u64>, site: u16, generation: u64| {
            generations.get(&SiteId(site)) == Some(&generation)
        };
        match event {
            peer::Event::Up { site, generation } => {
                self.generations.insert(SiteId(site), generation);
                Some(Event::LinkUp { site: SiteId(site) })
            }
            peer::Event::Down { site, generation, .. } => {
                if !current(&self.generations, site, generation) {
                    return None;
                }
                self.generations.remove(&SiteId(site));
                Some(Event::LinkDown { site: SiteId(site) })
            }
            peer::Event::Room { site, generation, bytes, .. } => {
                let bulk = current(&self.generations, site, generation);
                bulk.then_some(Event::Room { site: SiteId(site), bytes })
            }
            // The link has said so in the log.
            peer::Event::Refused { .. } => None,
            peer::Event::CalledDuplicate { site, reason } => {
                Some(Event::CalledDuplicate { by: SiteId(site), reason })
            }
            peer::Event::Frame { site, generation, bytes, .. } => {
                if !current(&self.generations, site, generation) {
                    return None;
                }
                match Message::decode(bytes) {
                    Ok(message) => Some(Event::Message { from: SiteId(site), message }),
                    Err(error) => {
                        tracing::warn!(peer = site, %error, "hanging up on a message that does not read");
                        self.ends.links.reset(site, &error.to_string());
                        None
                    }
                }
            }
        }
    }
}
