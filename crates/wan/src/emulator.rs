//! The handle: starts the threads, names the addresses, changes links while traffic flows, counts, stops.
//!
//! A change holds for the next packet, since handle and threads share one [`Fabric`](crate::fabric) under a mutex; no
//! command is queued that could be late. Dropping the handle stops and joins every thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use crate::fabric::{Fabric, WireId};
use crate::forward::{Forwarder, GateSpec, SharedFabric, lock};
use crate::link::{BadLink, Lateness, Link, LinkStats, Rate};
use crate::overrun::overrun_packets;
use crate::stream::{Proxy, Streams};
use crate::topology::{SITES_MAX, SiteEnd, Topology};

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    names: Vec<String>,
    gates: BTreeMap<WireId, SocketAddr>,
    fabric: SharedFabric,
    stop: OwnedFd,
    forwarder: Option<JoinHandle<()>>,
    streams: Mutex<Option<Streams>>,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Fewer than two sites, or more than one thread can serve.
    #[error("{0} sites: give 2 to {SITES_MAX}")]
    Sites(usize),
    /// Two sites of one name.
    #[error("two sites are called {0}: names must differ")]
    SameName(String),
    /// A site that the emulator's sockets cannot reach.
    #[error("site {0} listens on an IPv6 address: the emulator speaks IPv4 only")]
    NotIpv4(String),
    /// A link or pipe that cannot be.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A gate could not be opened.
    #[error("cannot open a gate at {address}: {source}; choose another address under `gates`")]
    Gate {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a thread or descriptor.
    #[error("cannot start the emulator: {0}")]
    System(#[from] io::Error),
}

/// Why a link could not be looked up or changed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LinkError {
    /// No such site.
    #[error("no site is called {0}")]
    Unknown(String),
    /// A site has no link to itself.
    #[error("{0} has no link to itself")]
    Itself(String),
    /// The description is out of range.
    #[error("link {from} to {to}: {source}")]
    Bad {
        /// The sending site.
        from: String,
        /// The receiving site.
        to: String,
        /// What is wrong.
        source: BadLink,
    },
    /// A proxy could not be opened.
    #[error("cannot open a proxy: {0}")]
    Proxy(String),
}

impl Emulator {
    /// Opens a gate for every ordered pair and starts carrying.
    ///
    /// # Errors
    /// If the topology contradicts itself or an address is taken.
    pub fn start(topology: &Topology) -> Result<Self, StartError> {
        let names = checked_names(&topology.sites)?;
        let fabric = Arc::new(Mutex::new(Fabric::new(names.len() * names.len(), topology.seed)));
        let (gates, addresses) = open_gates(&topology.sites, topology.gates)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
        let forwarder = Forwarder::new(Arc::clone(&fabric), gates, &stop)?;
        let mut emulator =
            Self { names, gates: addresses, fabric, stop, forwarder: None, streams: Mutex::new(None) };
        emulator.lay(topology)?;
        let thread = std::thread::Builder::new().name("wan-forward".to_owned());
        emulator.forwarder = Some(thread.spawn(move || forwarder.run())?);
        Ok(emulator)
    }

    /// Applies a topology's links and pipes.
    fn lay(&self, topology: &Topology) -> Result<(), LinkError> {
        for spec in &topology.links {
            self.set(&spec.from, &spec.to, spec.link)?;
        }
        for pipe in &topology.pipes {
            let pairs: Vec<(&str, &str)> =
                pipe.links.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
            self.share(pipe.rate_mbit, pipe.queue_kib, &pairs)?;
        }
        Ok(())
    }

    /// The sites' names, in the topology's order.
    pub fn sites(&self) -> &[String] {
        &self.names
    }

    /// What `from` dials to reach `to` through the emulator.
    ///
    /// # Errors
    /// If there is no such pair.
    pub fn address(&self, from: &str, to: &str) -> Result<SocketAddr, LinkError> {
        let wire = self.wire(from, to)?;
        Ok(*self.gates.get(&wire).expect("a gate was opened for every ordered pair"))
    }

    /// How a directed pair is linked now.
    ///
    /// # Errors
    /// If there is no such pair.
    pub fn link(&self, from: &str, to: &str) -> Result<Link, LinkError> {
        let wire = self.wire(from, to)?;
        Ok(lock(&self.fabric).wire(wire).link)
    }

    /// Changes one direction from the next packet on.
    ///
    /// # Errors
    /// If there is no such pair or the description is out of range.
    pub fn set(&self, from: &str, to: &str, link: Link) -> Result<(), LinkError> {
        let wire = self.wire(from, to)?;
        link.check().map_err(|source| LinkError::Bad { from: from.to_owned(), to: to.to_owned(), source })?;
        lock(&self.fabric).set(wire, link);
        Ok(())
    }

    /// Sends several directed pairs through one new bottleneck, after each pair's own rate.
    ///
    /// # Errors
    /// If a pair does not exist or the rate is out of range.
    pub fn share(&self, rate_mbit: f64, queue_kib: u32, pairs: &[(&str, &str)]) -> Result<(), LinkError> {
        let as_link = Link { rate_mbit, queue_kib, ..Link::default() };
        let (from, to) = pairs.first().copied().unwrap_or_default();
        as_link.check().map_err(|source| LinkError::Bad {
            from: from.to_owned(),
            to: to.to_owned(),
            source,
        })?;
        let wires: Result<Vec<WireId>, LinkError> =
            pairs.iter().map(|(from, to)| self.wire(from, to)).collect();
        let rate: Rate = as_link.rate();
        lock(&self.fabric).share(rate, &wires?);
        Ok(())
    }

    /// Makes one direction a black hole, for what is on its way too.
    ///
    /// # Errors
    /// If there is no such pair.
    pub fn cut(&self, from: &str, to: &str) -> Result<(), LinkError> {
        let wire = self.wire(from, to)?;
        lock(&self.fabric).set_cut(wire, true);
        Ok(())
    }

    /// Undoes [`Emulator::cut`].
    ///
    /// # Errors
    /// If there is no such pair.
    pub fn heal(&self, from: &str, to: &str) -> Result<(), LinkError> {
        let wire = self.wire(from, to)?;
        lock(&self.fabric).set_cut(wire, false);
        Ok(())
    }

    /// Cuts a site off from all others, both ways.
    ///
    /// # Errors
    /// If there is no such site.
    pub fn cut_site(&self, site: &str) -> Result<(), LinkError> {
        self.set_site(site, true)
    }

    /// Undoes [`Emulator::cut_site`], and every single cut of the site's links.
    ///
    /// # Errors
    /// If there is no such site.
    pub fn heal_site(&self, site: &str) -> Result<(), LinkError> {
        self.set_site(site, false)
    }

    /// A TCP address at which clients near `from` reach `target` near `to`, with the delays of the pair's two links.
    /// Streams feel delay, jitter, rate and cuts (bytes wait until the heal); loss is the kernels' business.
    ///
    /// # Errors
    /// If there is no such pair or no port is free.
    pub fn proxy(&self, from: &str, to: &str, target: SocketAddr) -> Result<SocketAddr, LinkError> {
        let (outward, homeward) = (self.wire(from, to)?, self.wire(to, from)?);
        let refused = |error: io::Error| LinkError::Proxy(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.is_none() {
            *streams = Some(Streams::start(Arc::clone(&self.fabric)).map_err(refused)?);
        }
        let running = streams.as_ref().expect("started just above");
        running.open(Proxy { listener, target, outward, homeward }).map_err(refused)?;
        Ok(address)
    }

    /// Resets every proxied TCP connection from `from` to `to`.
    ///
    /// # Errors
    /// If there is no such pair.
    pub fn reset(&self, from: &str, to: &str) -> Result<(), LinkError> {
        let wire = self.wire(from, to)?;
        if let Some(streams) = self.streams.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            streams.reset(wire);
        }
        Ok(())
    }

    /// What every directed link has carried since the start.
    pub fn stats(&self) -> Vec<LinkStats> {
        let fabric = lock(&self.fabric);
        self.gates.keys().map(|id| self.stats_of(&fabric, *id)).collect()
    }

    /// The emulator's own error: how much later than due packets went.
    pub fn lateness(&self) -> Lateness {
        lock(&self.fabric).lateness()
    }

    /// Forgets the error so far, to look at one phase of a run alone.
    pub fn forget_lateness(&self) {
        lock(&self.fabric).forget_lateness();
    }

    /// Packets that the kernel dropped before a gate could take them: unintended loss. `None` where it is not told.
    pub fn overrun_packets(&self) -> Option<u64> {
        let mut addresses: Vec<SocketAddr> = self.gates.values().copied().collect();
        addresses.extend(lock(&self.fabric).exits());
        overrun_packets(&addresses)
    }

    fn stats_of(&self, fabric: &Fabric, id: WireId) -> LinkStats {
        let wire = fabric.wire(id);
        let tally = wire.tally.clone();
        LinkStats {
            from: self.names[id / self.names.len()].clone(),
            to: self.names[id % self.names.len()].clone(),
            offered: tally.offered,
            delivered: tally.delivered,
            drops: tally.drops,
            marks: tally.marks,
            queue_bytes_max: tally.queue_bytes_max,
            cut: wire.cut,
        }
    }

    fn set_site(&self, site: &str, cut: bool) -> Result<(), LinkError> {
        let (n, site) = (self.names.len(), self.index(site)?);
        let mut fabric = lock(&self.fabric);
        for other in (0..n).filter(|other| *other != site) {
            fabric.set_cut(site * n + other, cut);
            fabric.set_cut(other * n + site, cut);
        }
        Ok(())
    }

    fn index(&self, name: &str) -> Result<usize, LinkError> {
        let found = self.names.iter().position(|known| known == name);
        found.ok_or_else(|| LinkError::Unknown(name.to_owned()))
    }

    fn wire(&self, from: &str, to: &str) -> Result<WireId, LinkError> {
        let (from_index, to_index) = (self.index(from)?, self.index(to)?);
        if from_index == to_index {
            return Err(LinkError::Itself(from.to_owned()));
        }
        Ok(from_index * self.names.len() + to_index)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _told = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.forwarder.take() {
            let _ended = thread.join();
        }
    }
}

fn checked_names(sites: &[SiteEnd]) -> Result<Vec<String>, StartError> {
    if !(2..=SITES_MAX).contains(&sites.len()) {
        return Err(StartError::Sites(sites.len()));
    }
    if let Some(site) = sites.iter().find(|site| !site.listen.is_ipv4()) {
        return Err(StartError::NotIpv4(site.name.clone()));
    }
    let mut seen = BTreeSet::new();
    match sites.iter().find(|site| !seen.insert(&site.name)) {
        Some(twice) => Err(StartError::SameName(twice.name.clone())),
        None => Ok(sites.iter().map(|site| site.name.clone()).collect()),
    }
}

/// Binds a gate for every ordered pair, counting up from `base` if there is one.
fn open_gates(
    sites: &[SiteEnd],
    base: Option<SocketAddr>,
) -> Result<(Vec<GateSpec>, BTreeMap<WireId, SocketAddr>), StartError> {
    let n = sites.len();
    let (mut gates, mut addresses) = (Vec::new(), BTreeMap::new());
    let mut next = base;
    for outward in (0..n * n).filter(|wire| wire / n != wire % n) {
        let (from, to) = (outward / n, outward % n);
        let address = next.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let refused = |source| StartError::Gate { address, source };
        let socket = UdpSocket::bind(address).map_err(refused)?;
        addresses.insert(outward, socket.local_addr().map_err(refused)?);
        gates.push(GateSpec { socket, target: sites[to].listen, outward, homeward: to * n + from });
        next = next.map(|address| SocketAddr::new(address.ip(), address.port().wrapping_add(1)));
    }
    Ok((gates, addresses))
}
