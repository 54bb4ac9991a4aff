//! The thread that owns the site.
//!
//! Everything that changes or looks at the machine comes through one inbox, in order. The thread takes what has come,
//! feeds it in, carries out the actions, and sleeps until there is more or a tick is due. While too much of the
//! peers' entries waits for the WAL it leaves further ones where they are, so that flow control reaches back to who sent them.

use std::sync::Arc;
use std::thread;

use clock::Now;
use site::{Entropy, Event, Notary, Site, SiteConfig};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::sleep_until;

use crate::carry::{Carrier, Ending};
use crate::files::{Files, random};
use crate::timepiece::Timepiece;

/// Something for the engine.
pub(crate) enum Command {
    /// An event for the machine.
    Event(Event),
    /// A client's request, and who waits for it.
    Request(site::Request, tokio::sync::oneshot::Sender<Reply>),
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

pub(crate) struct Engine {
    pub(crate) site: Site,
    pub(crate) files: Files,
    pub(crate) carrier: Carrier,
    pub(crate) timepiece: Timepiece,
    pub(crate) config: SiteConfig,
    pub(crate) notary: Arc<dyn Notary>,
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
            let deadline = self.timepiece.at(self.site.next_tick_us());
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

    /// Lets go of the machine and opens another on the same data directory.
    fn reopen(&mut self) {
        let opened = random().map_err(|error| error.to_string()).and_then(|actor| {
            let (config, notary) = (self.config.clone(), Arc::clone(&self.notary));
            let (entropy, now) = (Entropy { actor }, self.timepiece.now());
            Site::open(config, entropy, notary, now, &mut self.files).map_err(|error| error.to_string())
        });
        match opened {
            Ok((site, recovery)) => {
                let released = site.released();
                tracing::info!(records = recovery.records, released, "started again from a copy");
                self.site = site;
                self.carrier.views().renew(&self.site, self.timepiece.now().mono_us);
            }
            Err(error) => self.carrier.end(Ending::Halted(error)),
        }
    }

    fn command(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::Event(event) => events.push(event),
            Command::Request(request, waiting) => {
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
        if self.carrier.takes_restart() {
            self.reopen();
        }
        self.carrier.views().renew_if_due(&self.site, now.mono_us);
        self.carrier.forget_gone(events);
    }
}
