//! The thread that carries datagrams: one epoll over all sockets and one timer, for all pairs.
//!
//! A *gate* is the socket that `from` dials to reach `to`. For each address that dials it there is an *exit*, a socket
//! of its own connected to `to`, so that `to` sees flows apart and its answers find their way back: what comes in at an
//! exit leaves by its gate. So it works whichever site dials, from whatever port.
//!
//! One thread, since a shared pipe and the order of a link are only meaningful in one order of arrival, and since on a
//! small machine a second thread would steal the time that the emulated sites need. It sleeps on a timer descriptor,
//! whose resolution is the kernel's (a plain poll rounds to milliseconds), and asks for a higher priority if it may.
//!
//! It refuses nothing and never blocks on a socket: what a site's socket will not take is lost, as on a real network.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::sockopt;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tracing::{debug, warn};

use crate::fabric::{Fabric, Fate, Passage, WireId};
use crate::flight::{Flight, Packet, Way};
use crate::link::DATAGRAM_OVERHEAD_BYTES;
use crate::monotonic::now_ns;
use crate::urgency::hurry;

/// Kernel buffer per socket: 4 MiB is a burst of about 3,000 full packets while this thread is not scheduled.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Datagrams taken from one socket before due ones are let go again.
const BATCH: usize = 32;
/// Addresses that may dial one gate. The one longest silent makes room.
const FLOWS_PER_GATE_MAX: usize = 64;
/// Payload buffers kept for reuse.
const SPARE_MAX: usize = 4_096;
/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;

const TOKEN_STOP: u64 = 0;
const TOKEN_TIMER: u64 = 1;
const TOKEN_PORT_MIN: u64 = 2;

/// What the forwarder, the stream proxy and the emulator's handle share.
pub(crate) type SharedFabric = Arc<Mutex<Fabric>>;

/// The fabric, also after a thread that held it has panicked: its numbers are valid at every step.
pub(crate) fn lock(fabric: &Mutex<Fabric>) -> MutexGuard<'_, Fabric> {
    fabric.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A gate to open: a bound socket, where it leads, and the wires of its two directions.
#[derive(Debug)]
pub(crate) struct GateSpec {
    pub(crate) socket: UdpSocket,
    pub(crate) target: SocketAddr,
    pub(crate) outward: WireId,
    pub(crate) homeward: WireId,
}

#[derive(Debug)]
enum Port {
    Gate { spec: GateSpec, flows: BTreeMap<SocketAddr, Flow> },
    Exit { socket: UdpSocket, gate: u64, source: SocketAddr, homeward: WireId },
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    exit: u64,
    last_ns: u64,
}

/// The forwarder's whole state; [`Forwarder::run`] is its thread.
#[derive(Debug)]
pub(crate) struct Forwarder {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed_ns: Option<u64>,
    ports: BTreeMap<u64, Port>,
    next_token: u64,
    flight: Flight,
    fabric: SharedFabric,
    spare: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Forwarder {
    /// Opens the gates. `stop` becoming readable ends [`Forwarder::run`].
    pub(crate) fn new(fabric: SharedFabric, gates: Vec<GateSpec>, stop: &OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, stop, EventData::new_u64(TOKEN_STOP), EventFlags::IN)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TOKEN_TIMER), EventFlags::IN | EventFlags::ET)?;
        let mut forwarder = Self {
            epoll,
            timer,
            armed_ns: None,
            ports: BTreeMap::new(),
            next_token: TOKEN_PORT_MIN,
            flight: Flight::default(),
            fabric,
            spare: Vec::new(),
            scratch: vec![0; DATAGRAM_BYTES_MAX],
        };
        for spec in gates {
            prepare(&spec.socket)?;
            let token = forwarder.watch(&spec.socket)?;
            forwarder.ports.insert(token, Port::Gate { spec, flows: BTreeMap::new() });
        }
        Ok(forwarder)
    }

    /// Carries packets until told to stop.
    pub(crate) fn run(mut self) {
        let urgency = hurry();
        debug!(?urgency, "carrying");
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            if let Err(error) = self.arm() {
                warn!(%error, "cannot set the timer; the emulator stops");
                return;
            }
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    warn!(%error, "cannot wait for packets; the emulator stops");
                    return;
                }
            }
            for event in &events {
                match event.data.u64() {
                    TOKEN_STOP => return,
                    TOKEN_TIMER => self.armed_ns = None,
                    token => self.receive(token),
                }
                self.release();
            }
            self.release();
        }
    }

    /// Sets the timer to the next due packet, unless it is set already.
    fn arm(&mut self) -> io::Result<()> {
        let next_ns = self.flight.next_due_ns();
        if next_ns == self.armed_ns {
            return Ok(());
        }
        let at = next_ns.unwrap_or(0);
        let parts = (i64::try_from(at / 1_000_000_000), i64::try_from(at % 1_000_000_000));
        let (Ok(tv_sec), Ok(tv_nsec)) = parts else { return Err(ErrorKind::InvalidInput.into()) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let when = Itimerspec { it_interval: never, it_value: Timespec { tv_sec, tv_nsec } };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &when)?;
        self.armed_ns = next_ns;
        Ok(())
    }

    /// Takes a batch of what a port has received. Level-triggered: the rest comes with the next wait.
    fn receive(&mut self, token: u64) {
        for _ in 0..BATCH {
            let received = match self.ports.get(&token) {
                Some(Port::Gate { spec, .. }) => spec.socket.recv_from(&mut self.scratch),
                Some(Port::Exit { socket, source, .. }) => {
                    socket.recv(&mut self.scratch).map(|length| (length, *source))
                }
                None => return,
            };
            match received {
                Ok((length, source)) => self.carry(token, source, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A refused port shows up here once per refused datagram: the site is not up. Go on.
                Err(error) => debug!(%error, "datagram refused"),
            }
        }
    }

    /// Puts the datagram in the scratch buffer on its way.
    fn carry(&mut self, token: u64, source: SocketAddr, length: usize) {
        let now = now_ns();
        let Some((wire, way)) = self.way(token, source, now) else { return };
        let fate = lock(&self.fabric).admit(wire, now, length as u64 + DATAGRAM_OVERHEAD_BYTES);
        let Fate { first, twin } = fate;
        for passage in [first, twin].into_iter().flatten() {
            let payload = self.copy(length, passage);
            self.flight.depart(passage.due_ns, Packet { wire, way, payload });
        }
    }

    /// The wire and the way out for what arrives at a port from `source`.
    fn way(&mut self, token: u64, source: SocketAddr, now: u64) -> Option<(WireId, Way)> {
        match self.ports.get_mut(&token)? {
            Port::Exit { gate, source, homeward, .. } => {
                Some((*homeward, Way::Back { gate: *gate, source: *source }))
            }
            Port::Gate { spec, flows } => {
                let wire = spec.outward;
                if let Some(flow) = flows.get_mut(&source) {
                    flow.last_ns = now;
                    return Some((wire, Way::Out { exit: flow.exit }));
                }
                match self.open_exit(token, source, now) {
                    Ok(exit) => Some((wire, Way::Out { exit })),
                    Err(error) => {
                        warn!(%error, %source, "no socket for a new flow; its packet is lost");
                        None
                    }
                }
            }
        }
    }

    /// A socket of its own for an address that dials a gate for the first time.
    fn open_exit(&mut self, gate: u64, source: SocketAddr, now: u64) -> io::Result<u64> {
        let Some(Port::Gate { spec, .. }) = self.ports.get(&gate) else {
            return Err(ErrorKind::NotFound.into());
        };
        let (target, homeward) = (spec.target, spec.homeward);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(target)?;
        prepare(&socket)?;
        let exit = self.watch(&socket)?;
        lock(&self.fabric).note_exit(exit, socket.local_addr()?);
        self.ports.insert(exit, Port::Exit { socket, gate, source, homeward });
        let Some(Port::Gate { flows, .. }) = self.ports.get_mut(&gate) else {
            return Err(ErrorKind::NotFound.into());
        };
        flows.insert(source, Flow { exit, last_ns: now });
        let full = flows.len() > FLOWS_PER_GATE_MAX;
        let silent =
            flows.iter().min_by_key(|(_, flow)| flow.last_ns).map(|(source, flow)| (*source, flow.exit));
        if let Some((source, exit)) = silent.filter(|_| full) {
            flows.remove(&source);
            self.ports.remove(&exit);
            lock(&self.fabric).forget_exit(exit);
        }
        Ok(exit)
    }

    fn watch(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let token = self.next_token;
        self.next_token += 1;
        epoll::add(&self.epoll, socket, EventData::new_u64(token), EventFlags::IN)?;
        Ok(token)
    }

    fn copy(&mut self, length: usize, passage: Passage) -> Vec<u8> {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(&self.scratch[..length]);
        if let Some(bit) = passage.flip.filter(|_| length > 0) {
            let bit = bit % (length as u64 * 8);
            let byte = usize::try_from(bit / 8).expect("a position within a datagram fits usize");
            payload[byte] ^= 1 << (bit % 8);
        }
        payload
    }

    /// Lets everything go that is due.
    fn release(&mut self) {
        loop {
            let now = now_ns();
            let Some((due_ns, packet)) = self.flight.land(now) else { return };
            let bytes = packet.payload.len() as u64 + DATAGRAM_OVERHEAD_BYTES;
            let arrives = {
                let mut fabric = lock(&self.fabric);
                fabric.note_late(now - due_ns);
                fabric.arrive(packet.wire, bytes)
            };
            if arrives {
                self.send(&packet);
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(packet.payload);
            }
        }
    }

    /// Hands a packet to the kernel. A flow that is gone or a site that is down loses it.
    fn send(&self, packet: &Packet) {
        let sent = match packet.way {
            Way::Out { exit } => match self.ports.get(&exit) {
                Some(Port::Exit { socket, .. }) => socket.send(&packet.payload),
                _ => return,
            },
            Way::Back { gate, source } => match self.ports.get(&gate) {
                Some(Port::Gate { spec, .. }) => spec.socket.send_to(&packet.payload, source),
                _ => return,
            },
        };
        if let Err(error) = sent {
            debug!(%error, "datagram not taken");
        }
    }
}

/// Non-blocking, with room for bursts: beyond the system's limit where we may, else up to it.
pub(crate) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    widen(socket);
    Ok(())
}

/// Gives a socket large kernel buffers; whoever measures through the emulator wants the same at the ends.
pub(crate) fn widen(socket: &impl AsFd) {
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        let _capped = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        let _capped = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
}
