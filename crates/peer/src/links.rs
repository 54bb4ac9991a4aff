//! The public face of this room: start links, send on them, look at them, close them.
//!
//! Everything here is quick and never waits for the network; what waits lives in `dial`, `accept` and `session`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Event, Identity, Lane};

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
    /// How much of a bulk lane may be under way: about twice rate times round trip.
    pub lane_window_bytes: u32,
    /// How much may wait to be sent in a bulk lane.
    pub queue_bytes: usize,
    /// How much of a bulk lane may be delivered as events that nobody has dropped.
    pub inbound_bytes: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_millis(500),
            idle: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
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
        256 + self.peers.len() * 512
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
    _private: (),
}

impl Links {
    /// Listens, and connects to every peer for as long as this lives.
    pub async fn start(_config: LinkConfig, _events: mpsc::Sender<Event>) -> Result<Self, StartError> {
        Ok(Self { _private: () })
    }

    /// The address listened on (with the real port, where 0 was asked for).
    pub fn local_address(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 0))
    }

    /// Queues a frame. Never waits.
    pub fn send(&self, site: u16, _generation: u64, _lane: Lane, _bytes: Bytes) -> Result<(), SendError> {
        Err(SendError::NotUp(site))
    }

    /// Sends what only matters while fresh: as a datagram that may be lost or overtaken, or, where it does not fit in
    /// one, as a control frame.
    pub fn send_pulse(&self, site: u16, _generation: u64, _bytes: Bytes) -> Result<(), SendError> {
        Err(SendError::NotUp(site))
    }

    /// How every link is doing, in the order of site ids.
    pub fn stats(&self) -> Vec<LinkStats> {
        Vec::new()
    }

    /// Drops the connection to a site; it is made anew.
    pub fn reset(&self, _site: u16, _reason: &str) {}

    /// Tells every peer goodbye and ends all tasks.
    pub async fn close(self) {}
}
