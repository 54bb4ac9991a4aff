//! Which site is connected by which connection, and who may take its place.
//!
//! One connection per pair. The lower id dials; the higher one knocks when it is left alone. Should both succeed, the
//! lower one's is kept, so both ends decide alike. A newcomer with the same nonce is the same process dialing again: it takes
//! over. With another nonce it is either that site restarted or a second process with the same id: if the old connection
//! still answers it is the latter, and the newcomer is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{ClientConfig, Connection, Endpoint};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::hello::Hello;
use crate::outbox::Outbox;
use crate::refusal::{Code, Ending, Refusal, Told};
use crate::{Event, PeerAddress, SiteName, Tuning, congestion};

/// A connection that has been kept.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) connection: Connection,
    pub(crate) outboxes: [Outbox; 3],
    nonce: u64,
    by_lower: bool,
}

/// A connection that wants to be kept.
pub(crate) struct Newcomer {
    pub(crate) connection: Connection,
    pub(crate) hello: Hello,
    pub(crate) by_lower: bool,
    pub(crate) outboxes: [Outbox; 3],
}

/// One peer and its connection, if any.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) peer: PeerAddress,
    live: watch::Sender<Option<Arc<Live>>>,
    /// What fitted on the way when it was last connected, in bytes.
    fitted: AtomicU64,
}

impl Slot {
    pub(crate) fn new(peer: PeerAddress) -> Self {
        Self { peer, live: watch::Sender::new(None), fitted: AtomicU64::new(0) }
    }

    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone()
    }

    /// Waits until the peer is connected, or is not.
    pub(crate) async fn until(&self, connected: bool) {
        let mut watched = self.live.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = watched.wait_for(|live| live.is_some() == connected).await;
    }

    /// A connection begins: it need not find out again what an earlier one knew.
    pub(crate) fn remind(&self, connection: &Connection) {
        congestion::remember(connection, self.fitted.load(Ordering::Relaxed));
    }

    /// A connection has ended.
    pub(crate) fn learn(&self, connection: &Connection) {
        let fits = congestion::fits(connection);
        if fits > 0 {
            self.fitted.store(fits, Ordering::Relaxed);
        }
    }

    pub(crate) fn clear(&self, generation: u64) {
        self.live.send_if_modified(|live| {
            let ours = live.as_ref().is_some_and(|live| live.generation == generation);
            if ours {
                *live = None;
            }
            ours
        });
    }

    fn keep(&self, live: &Arc<Live>) -> Result<(), Arc<Live>> {
        let mut taken = None;
        self.live.send_if_modified(|current| {
            taken.clone_from(current);
            if taken.is_none() {
                *current = Some(Arc::clone(live));
            }
            taken.is_none()
        });
        taken.map_or(Ok(()), Err)
    }

    async fn until_gone(&self, generation: u64) {
        let mut watched = self.live.subscribe();
        let gone = |live: &Option<Arc<Live>>| live.as_ref().is_none_or(|live| live.generation != generation);
        // As in `until`.
        let _ = watched.wait_for(gone).await;
    }
}

/// What all tasks of this room share.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) own: SiteName,
    pub(crate) nonce: u64,
    pub(crate) tuning: Tuning,
    pub(crate) endpoint: Endpoint,
    pub(crate) client: ClientConfig,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) slots: BTreeMap<u16, Slot>,
    pub(crate) told: Told,
    pub(crate) generations: AtomicU64,
}

impl Roster {
    pub(crate) fn hello(&self) -> Hello {
        Hello { site: self.own.site, nonce: self.nonce }
    }

    /// Gives the newcomer its site's place, or says why not. Whoever had it is closed first and has ended.
    pub(crate) async fn admit(&self, slot: &Slot, newcomer: Newcomer) -> Result<Arc<Live>, Refusal> {
        let Newcomer { connection, hello, by_lower, outboxes } = newcomer;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live { generation, connection, outboxes, nonce: hello.nonce, by_lower });
        while let Err(old) = slot.keep(&live) {
            self.judge(&old, &live, slot).await?;
            Refusal::new(Code::Superseded, "a newer connection takes over").close(&old.connection);
            slot.until_gone(old.generation).await;
        }
        Ok(live)
    }

    async fn judge(&self, old: &Live, new: &Live, slot: &Slot) -> Result<(), Refusal> {
        if old.nonce == new.nonce {
            let keep_old = old.by_lower && !new.by_lower;
            return if keep_old { Err(already_connected()) } else { Ok(()) };
        }
        let before = heard(&old.connection);
        let patience = self.tuning.keep_alive * 2 + old.connection.rtt() * 2;
        tokio::select! {
            _ = old.connection.closed() => return Ok(()),
            () = sleep(patience) => {}
        }
        if heard(&old.connection) == before {
            return Ok(());
        }
        let PeerAddress { site, name, .. } = &slot.peer;
        let reason = format!(
            "site {name} (id {site}) is already connected from {} and answers; two processes claim this id: stop one of them",
            old.connection.remote_address()
        );
        Err(Refusal::new(Code::Duplicate, reason))
    }

    /// A connection was not kept, on either side, and somebody should know.
    pub(crate) fn ended_badly(&self, site: Option<u16>, from: SocketAddr, ending: &Ending) {
        let reason = &*ending.reason;
        if ending.calls_us_duplicate
            && let Some(site) = site
        {
            // A full channel loses the event; the next attempt says it again.
            let _ = self.events.try_send(Event::CalledDuplicate { site, reason: reason.to_owned() });
        }
        if self.told.is_news(site, from.ip(), reason) {
            tracing::warn!(site, %from, reason, "a connection between sites was refused");
            let event = Event::Refused { site, address: from.to_string(), reason: reason.to_owned() };
            // A full channel loses the event; the log has it.
            let _ = self.events.try_send(event);
        }
    }
}

fn already_connected() -> Refusal {
    Refusal::new(Code::Superseded, "already connected")
}

/// A count that moves whenever the other end proves that it is there: every live peer acknowledges keep-alives.
fn heard(connection: &Connection) -> u64 {
    let frames = connection.stats().frame_rx;
    frames.acks + frames.ping + frames.stream + frames.datagram
}
