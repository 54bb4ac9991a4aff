//! The doors: one listener per home region, one count of connections and one budget of bytes behind all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::broker::Broker;
use crate::budget::Budget;
use crate::frame::FrameBounds;
use crate::limits::Limits;
use crate::session::{self, Arrival, End};

/// After a failed accept (no file descriptors left, as a rule).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refused connections are said this often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// The Kafka front of one node.
pub struct Front<B> {
    broker: Arc<B>,
    limits: Limits,
    requests: Budget,
    answers: Budget,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    total: usize,
    by_address: BTreeMap<IpAddr, Guest>,
    /// Refused since that was last said.
    refused: u64,
    refused_said: Option<Instant>,
}

/// Who comes from one address.
struct Guest {
    connections: usize,
    requests: Budget,
    answers: Budget,
}

/// One listener.
pub struct Door {
    /// Where clients come in.
    pub listener: TcpListener,
    /// The home region that this port stands for.
    pub home: String,
    /// How they prove who this is; `None` for plaintext, which only configuration may allow.
    pub tls: Option<TlsAcceptor>,
}

impl<B: Broker> Front<B> {
    /// A front before a node.
    ///
    /// # Panics
    /// If one request may be larger than all together: it would wait for ever.
    #[must_use]
    pub fn new(broker: Arc<B>, limits: Limits) -> Arc<Front<B>> {
        assert!(
            limits.frame_bytes_max <= limits.in_flight_bytes_max,
            "one request must fit into the budget of all"
        );
        let requests = Budget::new(limits.in_flight_bytes_max, limits.frame_bytes_max);
        let answers = Budget::new(limits.answer_bytes_max, limits.fetch_bytes_max);
        Arc::new(Front { broker, limits, requests, answers, connections: Mutex::default() })
    }

    /// Connections open now, through all doors.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Serves one door until `stop` turns true and its sessions have ended.
    pub async fn serve(self: Arc<Self>, door: Door, mut stop: watch::Receiver<bool>) {
        let home: Arc<str> = door.home.into();
        let mut sessions = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = session::stopped(&mut stop) => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => continue,
                accepted = door.listener.accept() => accepted,
            };
            match accepted {
                // One too many is let go of here and now: each that waited for its turn would keep a descriptor.
                Ok((stream, peer)) => match self.admit(peer.ip()) {
                    None => self.say_refused(peer),
                    Some(place) => {
                        let visit = Visit { stream, peer, home: Arc::clone(&home), tls: door.tls.clone() };
                        sessions.spawn(Arc::clone(&self).receive(visit, place, stop.clone()));
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept Kafka connections; trying on");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while sessions.join_next().await.is_some() {}
    }

    async fn receive(self: Arc<Self>, visit: Visit, place: Place<B>, mut stop: watch::Receiver<bool>) {
        let peer = visit.peer;
        let end = self.run(visit, &place, &mut stop).await;
        match end.is_fault() {
            true => tracing::warn!(%peer, "Kafka connection ended: {end}"),
            false => tracing::debug!(%peer, "Kafka connection ended: {end}"),
        }
    }

    /// A flood of connections is not to become a flood of lines.
    fn say_refused(&self, peer: SocketAddr) {
        let (most, per_address) = (self.limits.connections_max, self.limits.connections_per_address_max);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.refused += 1;
        if connections.refused_said.is_some_and(|at| at.elapsed() < REFUSED_EVERY) {
            return;
        }
        connections.refused_said = Some(Instant::now());
        let refused = std::mem::take(&mut connections.refused);
        tracing::warn!(
            %peer,
            refused,
            "too many Kafka connections (at most {most}, and {per_address} from one address): refused"
        );
    }

    async fn run(&self, visit: Visit, place: &Place<B>, stop: &mut watch::Receiver<bool>) -> End {
        let Visit { stream, peer, home, tls } = visit;
        if let Err(error) = stream.set_nodelay(true) {
            return End::Io(error);
        }
        let (broker, limits) = (Arc::clone(&self.broker), self.limits);
        let bounds = FrameBounds {
            bytes_max: limits.frame_bytes_max,
            time_max: limits.frame_time_max,
            budget: place.requests.clone(),
        };
        let arrival = Arrival { broker, limits, bounds, answers: place.answers.clone(), home, peer };
        let Some(tls) = tls else { return session::run(arrival, stream, stop).await };
        match timeout(limits.handshake_time_max, tls.accept(stream)).await {
            Ok(Ok(stream)) => session::run(arrival, stream, stop).await,
            Ok(Err(error)) => End::Handshake(error),
            Err(_) => End::SlowHandshake,
        }
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place<B>> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let here = connections.by_address.get(&address).map_or(0, |guest| guest.connections);
        let full = connections.total >= self.limits.connections_max;
        if full || here >= self.limits.connections_per_address_max {
            return None;
        }
        connections.total += 1;
        self.broker.connected(connections.total);
        let guest = connections.by_address.entry(address).or_insert_with(|| Guest {
            connections: 0,
            requests: self.requests.for_another_address(),
            answers: self.answers.for_another_address(),
        });
        guest.connections += 1;
        let (requests, answers) = (guest.requests.clone(), guest.answers.clone());
        Some(Place { front: Arc::clone(self), address, requests, answers })
    }

    fn dismiss(&self, address: IpAddr) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.total -= 1;
        self.broker.connected(connections.total);
        match connections.by_address.get_mut(&address) {
            Some(guest) if guest.connections > 1 => guest.connections -= 1,
            _ => drop(connections.by_address.remove(&address)),
        }
    }
}

struct Visit {
    stream: TcpStream,
    peer: SocketAddr,
    home: Arc<str>,
    tls: Option<TlsAcceptor>,
}

/// A connection's place among those that are allowed; given back when dropped.
struct Place<B: Broker> {
    front: Arc<Front<B>>,
    address: IpAddr,
    requests: Budget,
    answers: Budget,
}

impl<B: Broker> Drop for Place<B> {
    fn drop(&mut self) {
        self.front.dismiss(self.address);
    }
}
