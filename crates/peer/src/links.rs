//! The public face of this room: start links, send on them, look at them, close them.
//!
//! Everything here is quick and never waits for the network; what waits lives in `connect` and `session`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, SendDatagramError, ServerConfig, TokioRuntime};
use rustix::net::sockopt;
use rustls::pki_types::UnixTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::outbox::Closed;
use crate::refusal::{Code, Refusal, Told};
use crate::roster::{Credentials, Live, Roster, Slot};
use crate::session::EVENTS_PER_PEER;
use crate::{Event, Identity, Lane, MAX_FRAME_BYTES, connect, renew, tls};

/// What the socket's buffers are to hold: 200 Mbit/s for a third of a second.
const SOCKET_BYTES: usize = 8 << 20;

/// Where another site is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its number.
    pub site: u16,
    /// Its name, which its certificate has to carry.
    pub name: String,
    /// `host:port`; looked up anew for each attempt.
    pub address: String,
}

/// The few things worth tuning. The defaults suit 200 Mbit/s over 300 ms.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How often a silent link shows that it is alive.
    pub keep_alive: Duration,
    /// After how much silence a link is dead.
    pub idle: Duration,
    /// How long a connection may take to be set up.
    pub handshake: Duration,
    /// The first and the longest wait between attempts to connect.
    pub backoff: (Duration, Duration),
    /// How old a connection may become.
    pub connection_age: Duration,
    /// How much of a bulk lane may be under way: about twice rate times round trip.
    pub lane_window_bytes: u32,
    /// How much may wait to be sent in a bulk lane.
    pub queue_bytes: usize,
    /// How much of a bulk lane may be delivered as events that nobody has dropped.
    pub inbound_bytes: usize,
}

impl Tuning {
    /// What all lanes of a connection may have under way.
    pub(crate) fn send_window(&self) -> u64 {
        u64::from(self.lane_window_bytes) * 4
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_millis(500),
            idle: Duration::from_secs(5),
            handshake: Duration::from_secs(3),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            connection_age: Duration::from_hours(24),
            lane_window_bytes: 16 << 20,
            queue_bytes: 18 << 20,
            inbound_bytes: 4 << 20,
        }
    }
}

/// What [`Links::start`] needs to know.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Who we are.
    pub identity: Identity,
    /// The UDP address that others reach us at.
    pub listen: SocketAddr,
    /// All other sites.
    pub peers: Vec<PeerAddress>,
    /// Usually the default.
    pub tuning: Tuning,
}

impl LinkConfig {
    /// How long the event channel should be so that bulk never takes a control frame's place.
    pub fn event_capacity(&self) -> usize {
        256 + self.peers.len() * EVENTS_PER_PEER
    }
}

/// Why links could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen for other sites on UDP {listen}: {cause}")]
    Bind {
        /// The configured address.
        listen: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The key does not fit the certificate, or the authority is no authority.
    #[error("the certificates cannot be used between sites: {0}")]
    Tls(String),
    /// Two peers have one id, or a peer has ours.
    #[error("site id {0} is given to two sites; ids must differ")]
    DuplicateId(u16),
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such connection now; wait for the next `Up`.
    #[error("site {0} is not connected")]
    NotUp(u16),
    /// A newer connection has replaced the one meant.
    #[error("the connection meant is gone; number {0} is current")]
    Stale(u64),
    /// The lane's queue is full; wait for `Room`.
    #[error("the lane's queue holds {queued} bytes and takes no more for now")]
    Full {
        /// What waits.
        queued: usize,
    },
    /// The frame is above `MAX_FRAME_BYTES` and never can be sent.
    #[error("a frame of {0} bytes is too large to send")]
    TooLarge(usize),
}

/// How a link is doing.
#[derive(Debug, Clone, Default)]
pub struct LinkStats {
    /// To which site.
    pub site: u16,
    /// Whether it is up.
    pub up: bool,
    /// The current connection's number, 0 while down.
    pub generation: u64,
    /// Smoothed round-trip time.
    pub rtt_us: u64,
    /// Packets lost on this connection.
    pub lost_packets: u64,
    /// Packets sent on this connection.
    pub sent_packets: u64,
    /// Bytes that the congestion controller lets be under way.
    pub cwnd_bytes: u64,
    /// The largest packet the path takes.
    pub mtu_bytes: u16,
    /// UDP payload bytes sent on this connection.
    pub sent_bytes: u64,
    /// UDP payload bytes received on this connection.
    pub received_bytes: u64,
    /// Bytes waiting per lane: control, tail, catch-up.
    pub queued_bytes: [usize; 3],
}

/// All links of a site. Cheap to share behind an `Arc`; dropping it closes everything.
#[derive(Debug)]
pub struct Links {
    roster: Arc<Roster>,
    listen: SocketAddr,
    tasks: JoinSet<()>,
}

impl Links {
    /// Listens, and connects to every peer for as long as this lives.
    pub async fn start(config: LinkConfig, events: mpsc::Sender<Event>) -> Result<Self, StartError> {
        let LinkConfig { identity, listen, peers, tuning } = config;
        let slots = slots(&identity, peers)?;
        let mut random = [0; 8];
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let drawn = provider.secure_random.fill(&mut random);
        drawn.map_err(|_| StartError::Tls("the system gives no random numbers".to_owned()))?;
        let nonce = u64::from_be_bytes(random);
        let (server, client) = tls::configs(&identity, &tuning, nonce).map_err(StartError::Tls)?;
        let endpoint =
            endpoint(server.clone(), listen).map_err(|cause| StartError::Bind { listen, cause })?;
        let listen = endpoint.local_addr().map_err(|cause| StartError::Bind { listen, cause })?;
        let credentials = RwLock::new(Arc::new(Credentials { server, client, trust: identity.trust }));
        let roster = Arc::new(Roster {
            own: identity.own,
            nonce,
            tuning,
            endpoint,
            credentials,
            events,
            slots,
            told: Told::default(),
            generations: AtomicU64::new(1),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(connect::accept(Arc::clone(&roster)));
        for site in roster.slots.keys() {
            tasks.spawn(connect::keep_connected(Arc::clone(&roster), *site));
            tasks.spawn(renew::keep_young(Arc::clone(&roster), *site));
        }
        Ok(Self { roster, listen, tasks })
    }

    /// The address listened on (with the real port, where 0 was asked for).
    pub fn local_address(&self) -> SocketAddr {
        self.listen
    }

    /// Queues a frame. Never waits.
    pub fn send(&self, site: u16, generation: u64, lane: Lane, bytes: Bytes) -> Result<(), SendError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(SendError::TooLarge(bytes.len()));
        }
        let live = self.live(site, generation)?;
        live.outboxes[lane.index()].push(bytes).map_err(|closed| match closed {
            Closed::Full(queued) => SendError::Full { queued },
            Closed::Gone => SendError::NotUp(site),
        })
    }

    /// Sends what only matters while fresh: as a datagram that may be lost or overtaken, or, where it does not fit in
    /// one, as a control frame.
    pub fn send_pulse(&self, site: u16, generation: u64, bytes: Bytes) -> Result<(), SendError> {
        let live = self.live(site, generation)?;
        match live.connection.send_datagram(bytes.clone()) {
            Ok(()) => Ok(()),
            Err(SendDatagramError::ConnectionLost(_)) => Err(SendError::NotUp(site)),
            Err(_) => self.send(site, generation, Lane::Control, bytes),
        }
    }

    /// How every link is doing, in the order of site ids.
    pub fn stats(&self) -> Vec<LinkStats> {
        let of = |slot: &Slot| match slot.live() {
            Some(live) => live_stats(slot.peer.site, &live),
            None => LinkStats { site: slot.peer.site, ..LinkStats::default() },
        };
        self.roster.slots.values().map(of).collect()
    }

    /// Shows other certificates from here on, and trusts other ones. A connection whose other end is trusted no more ends at
    /// once; the others are renewed while they carry. Gives the sites whose connection ended, and why.
    ///
    /// # Errors
    /// [`StartError::Tls`]; then everything stays as it was.
    pub fn renew(&self, identity: &Identity) -> Result<Vec<(u16, String)>, StartError> {
        let roster = &self.roster;
        if identity.own != roster.own {
            return Err(StartError::Tls(format!(
                "they are those of {}, not of {}",
                identity.own, roster.own
            )));
        }
        let made = tls::configs(identity, &roster.tuning, roster.nonce).map_err(StartError::Tls)?;
        // All but the certificates stays, the key above all with which addresses are asked to try again.
        let mut server = roster.credentials().server.clone();
        server.crypto = made.0.crypto;
        roster.endpoint.set_server_config(Some(server.clone()));
        let renewed = Credentials { server, client: made.1, trust: identity.trust.clone() };
        *roster.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(roster.slots.values().filter_map(|slot| self.judge_anew(slot)).collect())
    }

    fn judge_anew(&self, slot: &Slot) -> Option<(u16, String)> {
        let live = slot.live()?;
        let judged = self.roster.certified(&live.connection, UnixTime::now());
        let Err(refusal) = judged else {
            slot.ask_to_renew();
            return None;
        };
        refusal.close(&live.connection);
        Some((slot.peer.site, refusal.reason))
    }

    /// Drops the connection to a site; it is made anew.
    pub fn reset(&self, site: u16, reason: &str) {
        if let Some(live) = self.roster.slots.get(&site).and_then(Slot::live) {
            Refusal::new(Code::Reset, reason).close(&live.connection);
        }
    }

    /// Closes every connection, and neither makes nor takes another one for as long as this lives.
    pub fn give_up(&self, reason: &str) {
        self.roster.endpoint.close(quinn::VarInt::from_u32(Code::Goodbye as u32), reason.as_bytes());
    }

    /// Tells every peer goodbye and ends all tasks.
    pub async fn close(mut self) {
        connect::say_goodbye(&self.roster).await;
        self.tasks.shutdown().await;
    }

    fn live(&self, site: u16, generation: u64) -> Result<Arc<Live>, SendError> {
        let live = self.roster.slots.get(&site).and_then(Slot::live).ok_or(SendError::NotUp(site))?;
        if live.generation == generation { Ok(live) } else { Err(SendError::Stale(live.generation)) }
    }
}

/// An endpoint whose socket holds what comes while the machine is busy with something else for a moment.
fn endpoint(server: ServerConfig, listen: SocketAddr) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(listen)?;
    // Above the system's limit only with the right to it; below it, the buffers are as large as it lets them be.
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BYTES).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BYTES)?;
    }
    // The kernel tells twice what it was asked for.
    let given = sockopt::socket_recv_buffer_size(&socket)? / 2;
    if given < SOCKET_BYTES {
        tracing::warn!(
            given,
            wanted = SOCKET_BYTES,
            "packets of fast links may be lost here; raise net.core.rmem_max"
        );
    }
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
}

fn slots(identity: &Identity, peers: Vec<PeerAddress>) -> Result<BTreeMap<u16, Slot>, StartError> {
    let mut slots = BTreeMap::new();
    for peer in peers {
        let site = peer.site;
        if site == identity.own.site || slots.insert(site, Slot::new(peer)).is_some() {
            return Err(StartError::DuplicateId(site));
        }
    }
    Ok(slots)
}

fn live_stats(site: u16, live: &Live) -> LinkStats {
    let stats = live.connection.stats();
    LinkStats {
        site,
        up: true,
        generation: live.generation,
        rtt_us: stats.path.rtt.as_micros() as u64,
        lost_packets: stats.path.lost_packets,
        sent_packets: stats.path.sent_packets,
        cwnd_bytes: stats.path.cwnd,
        mtu_bytes: stats.path.current_mtu,
        sent_bytes: stats.udp_tx.bytes,
        received_bytes: stats.udp_rx.bytes,
        queued_bytes: Lane::ALL.map(|lane| live.outboxes[lane.index()].queued_bytes()),
    }
}
