//! Which site is connected by which connection, and who may take its place.
//!
//! One connection per pair. The lower id dials; the higher one knocks when it is left alone. Should both succeed, the
//! lower one's is kept, so both ends decide alike; later either may renew the connection. A newcomer with the same nonce is the same process dialing again: it takes
//! over. With another nonce it is either that site restarted or a second process with the same id: if the old connection
//! still answers it is the latter, and the newcomer is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::hello::Hello;
use crate::outbox::Outbox;
use crate::refusal::{Code, Ending, Refusal, Told};
use crate::trust::Trust;
use crate::{Certificate, Event, PeerAddress, SiteName, Tuning, congestion};

/// A connection that is older than this is not about to be made by the other end too: whoever renews it may.
const SETTLED: Duration = Duration::from_secs(5);

/// A connection that has been kept.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) connection: Connection,
    pub(crate) outboxes: [Outbox; 3],
    pub(crate) born: Instant,
    /// How long it may last.
    pub(crate) life: Duration,
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
    renew: Notify,
}

impl Slot {
    pub(crate) fn new(peer: PeerAddress) -> Self {
        Self { peer, live: watch::Sender::new(None), fitted: AtomicU64::new(0), renew: Notify::new() }
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

    /// Asks that the connection be renewed before its time.
    pub(crate) fn ask_to_renew(&self) {
        self.renew.notify_one();
    }

    pub(crate) async fn until_asked_to_renew(&self) {
        self.renew.notified().await;
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

    pub(crate) async fn until_gone(&self, generation: u64) {
        let mut watched = self.live.subscribe();
        let gone = |live: &Option<Arc<Live>>| live.as_ref().is_none_or(|live| live.generation != generation);
        // As in `until`.
        let _ = watched.wait_for(gone).await;
    }
}

/// What is shown to other sites, and what is asked of them.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    pub(crate) trust: Trust,
}

/// What all tasks of this room share.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) own: SiteName,
    pub(crate) nonce: u64,
    pub(crate) tuning: Tuning,
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: RwLock<Arc<Credentials>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) slots: BTreeMap<u16, Slot>,
    pub(crate) told: Told,
    pub(crate) generations: AtomicU64,
}

impl Roster {
    pub(crate) fn hello(&self) -> Hello {
        Hello { site: self.own.site, nonce: self.nonce }
    }

    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The site that the other end's certificate names, if it is trusted at this time.
    pub(crate) fn certified(&self, connection: &Connection, at: UnixTime) -> Result<SiteName, Refusal> {
        let judged = self.credentials().trust.site_of(&shown(connection), at);
        judged.map_err(|reason| Refusal::new(Code::Identity, reason))
    }

    /// How long a connection may last.
    fn life(&self, connection: &Connection) -> Duration {
        let until = shown(connection).first().and_then(|it| Certificate::of(it).ok()).map(|it| it.until());
        let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        left.unwrap_or_default().min(self.tuning.connection_age)
    }

    /// Gives the newcomer its site's place, or says why not. Whoever had it is closed first and has ended.
    pub(crate) async fn admit(&self, slot: &Slot, newcomer: Newcomer) -> Result<Arc<Live>, Refusal> {
        let Newcomer { connection, hello, by_lower, outboxes } = newcomer;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let (born, life) = (Instant::now(), self.life(&connection));
        let nonce = hello.nonce;
        let live = Arc::new(Live { generation, connection, outboxes, born, life, nonce, by_lower });
        while let Err(old) = slot.keep(&live) {
            self.judge(&old, &live, slot).await?;
            Refusal::new(Code::Superseded, "a newer connection takes over").close(&old.connection);
            slot.until_gone(old.generation).await;
        }
        // Whom to trust may have changed after the newcomer was looked at and before it could be found in its place.
        if let Err(refusal) = self.certified(&live.connection, UnixTime::now()) {
            slot.clear(generation);
            return Err(refusal);
        }
        Ok(live)
    }

    async fn judge(&self, old: &Live, new: &Live, slot: &Slot) -> Result<(), Refusal> {
        if old.nonce == new.nonce {
            let keep_old = old.by_lower && !new.by_lower && old.born.elapsed() < SETTLED;
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

/// The certificates that the other end has shown.
fn shown(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity();
    let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}

pub(crate) fn already_connected() -> Refusal {
    Refusal::new(Code::Superseded, "already connected")
}

/// A count that moves whenever the other end proves that it is there: every live peer acknowledges keep-alives.
pub(crate) fn heard(connection: &Connection) -> u64 {
    let frames = connection.stats().frame_rx;
    frames.acks + frames.ping + frames.stream + frames.datagram
}
