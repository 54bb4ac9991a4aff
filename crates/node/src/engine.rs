//! The thread that owns the site.
//!
//! Everything that changes or looks at the machine comes through one inbox, in order. The thread takes what has come,
//! feeds it in, carries out the actions, and sleeps until there is more or a tick is due. While too much of the
//! peers' entries waits for the WAL it leaves further ones where they are, so that flow control reaches back to who sent them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clock::Now;
use site::{Entropy, Event, Notary, Site, SiteConfig};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::{Instant, sleep_until};

use crate::carry::{Carrier, Ending};
use crate::files::{Files, random};
use crate::room::Room;
use crate::timepiece::Timepiece;

/// Something for the engine.
pub(crate) enum Command {
    /// An event for the machine.
    Event(Event),
    /// A client's request, who waits for it, and the room that its records take in the inbox.
    Request(site::Request, tokio::sync::oneshot::Sender<Reply>, Option<OwnedSemaphorePermit>),
    /// A look at the machine.
    Look(Look),
}

/// Something that looks at the machine and changes nothing.
pub(crate) type Look = Box<dyn FnOnce(&Site, &Files, Now) + Send>;

/// What a client's request came to.
pub(crate) type Reply = Result<site::Answer, site::Refusal>;

/// The inboxes of the engine.
pub(crate) struct Inbox {
    /// Commands of this node: small, or bounded by whoever sends them.
    pub(crate) commands: UnboundedReceiver<Command>,
    /// What peers say.
    pub(crate) peers: Receiver<peer::Event>,
}

/// While this much of theirs waits for the WAL, peers' entries are left in their inbox.
const PEERS_WAIT_BYTES: usize = 32 << 20;
/// Commands taken at a time: what comes in one go shares one settling and one sync.
const COMMANDS_AT_ONCE: usize = 256;
/// How often it looks for room where there was none to open another machine.
const REOPEN: Duration = Duration::from_millis(500);

pub(crate) struct Engine {
    pub(crate) site: Site,
    pub(crate) files: Files,
    pub(crate) room: Room,
    pub(crate) carrier: Carrier,
    pub(crate) timepiece: Timepiece,
    pub(crate) config: SiteConfig,
    pub(crate) notary: Arc<dyn Notary>,
    /// Where there was no room to open another machine: when that is tried again.
    pub(crate) reopens_at: Option<Instant>,
}

impl Engine {
    /// Runs the engine on a thread of its own until the site has stopped.
    pub(crate) fn start(self, inbox: Inbox) -> std::io::Result<thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("site".into()).spawn(move || runtime.block_on(self.run(inbox)))
    }

    async fn run(mut self, mut inbox: Inbox) {
        let mut commands = Vec::with_capacity(COMMANDS_AT_ONCE);
        let mut events = Vec::new();
        while !self.carrier.stopped() {
            let next_tick = self.timepiece.at(self.site.next_tick_us());
            let deadline = self.reopens_at.unwrap_or(next_tick);
            let peers_may = self.site.replica_bytes() < PEERS_WAIT_BYTES;
            tokio::select! {
                taken = inbox.commands.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if taken == 0 {
                        return;
                    }
                    for command in commands.drain(..) {
                        self.command(command, &mut events);
                    }
                }
                Some(event) = inbox.peers.recv(), if peers_may => {
                    events.extend(self.carrier.heard(event));
                    while events.len() < COMMANDS_AT_ONCE && let Ok(event) = inbox.peers.try_recv() {
                        events.extend(self.carrier.heard(event));
                    }
                }
                () = sleep_until(deadline) => events.push(Event::Tick),
            }
            self.feed(&mut events);
        }
    }

    /// Lets go of the machine and opens another on the same data directory, at once or when there is room for that.
    fn reopen(&mut self) {
        if self.reopens_at.is_some() && !self.room.may_start() {
            self.reopens_at = Some(Instant::now() + REOPEN);
            return;
        }
        let actor = match random() {
            Ok(actor) => actor,
            Err(error) => return self.carrier.end(Ending::Halted(error.to_string())),
        };
        let (config, notary) = (self.config.clone(), Arc::clone(&self.notary));
        let (entropy, now) = (Entropy { actor }, self.timepiece.now());
        match Site::open(config, entropy, notary, now, &mut self.files) {
            Err(error) if error.is_full() => {
                if self.reopens_at.replace(Instant::now() + REOPEN).is_none() {
                    tracing::warn!("{}", self.room.lack(&error.to_string()));
                }
            }
            Ok((site, recovery)) => {
                self.reopens_at = None;
                let released = site.released();
                tracing::info!(records = recovery.records, released, "started again from a copy");
                self.site = site;
                self.carrier.views().renew(&self.site, self.timepiece.now().mono_us);
                self.carrier.readable().renew(&self.site);
                if self.room.is_low() {
                    self.feed(&mut vec![Event::DiskLow(true)]);
                }
            }
            Err(error) => self.carrier.end(Ending::Halted(error.to_string())),
        }
    }

    fn command(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::Event(event) => events.push(event),
            Command::Request(request, waiting, _room) => {
                let ticket = self.carrier.ticket(waiting);
                events.push(Event::Request { ticket, request });
            }
            // A look sees what was asked for before it.
            Command::Look(look) => {
                self.feed(events);
                look(&self.site, &self.files, self.timepiece.now());
            }
        }
    }

    fn feed(&mut self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut actions = Vec::new();
        let now = self.timepiece.now();
        self.site.handle(now, events.drain(..), &mut self.files, &mut actions);
        for action in actions {
            self.carrier.carry_out(action, &self.site, now.mono_us);
        }
        let again = self.reopens_at.is_some_and(|at| Instant::now() >= at);
        if self.carrier.takes_restart() || again {
            self.reopen();
        }
        self.carrier.views().renew_if_due(&self.site, now.mono_us);
        self.carrier.forget_gone(events);
    }
}
