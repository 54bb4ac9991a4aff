//! The rules of all links, as a value: given a packet's length and the time, what becomes of it.
//!
//! No socket, no clock, no thread is in here, so that order, loss, queues and accounting can be tested to the
//! nanosecond. The forwarder and the stream proxy share one fabric under a mutex; so a change made through the
//! emulator's handle holds for the very next packet.
//!
//! A packet's way: cut? fits the MTU? the link's own pipe, then a shared one, then chance (loss, duplication, flipped
//! bits), then delay and jitter. Loss comes after the pipes: what is lost has used the rate, as on a real path.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hdrhistogram::Histogram;

use crate::dice::Dice;
use crate::link::{Count, Drops, Lateness, Link, Marks, Rate};
use crate::monotonic::ns_of_ms;
use crate::pipe::Pipe;

/// Bytes one link may hold at a time. Above it the emulator, not the emulated, would run out of memory.
const IN_FLIGHT_BYTES_MAX: u64 = 256 << 20;

/// Lateness is recorded up to here; a second late is as bad as two.
const LATE_NS_MAX: u64 = 1_000_000_000;

/// One directed pair's index in a [`Fabric`].
pub(crate) type WireId = usize;

/// One way a packet arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passage {
    /// When.
    pub(crate) due_ns: u64,
    /// With which bit flipped, if any, counted from the first bit and modulo the length.
    pub(crate) flip: Option<u64>,
}

/// What becomes of a packet: it arrives never, once or twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) first: Option<Passage>,
    pub(crate) twin: Option<Passage>,
}

/// Whether a piece of a stream may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It arrives at this time.
    Due(u64),
    /// The pipe's queue is full: ask again at this time.
    Wait(u64),
}

/// What a wire has done so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) offered: Count,
    pub(crate) delivered: Count,
    pub(crate) drops: Drops,
    pub(crate) marks: Marks,
    pub(crate) queue_bytes_max: u64,
}

/// One direction between two sites.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Link,
    pub(crate) cut: bool,
    pub(crate) tally: Tally,
    own: Pipe,
    shared: Option<usize>,
    dice: Dice,
    last_due_ns: u64,
    in_flight_bytes: u64,
}

/// All links of an emulator.
#[derive(Debug)]
pub(crate) struct Fabric {
    wires: Vec<Wire>,
    shared: Vec<Pipe>,
    late: Histogram<u64>,
    exits: BTreeMap<u64, SocketAddr>,
}

impl Fabric {
    /// As many perfect wires as asked for, each with its own chance.
    pub(crate) fn new(wires: usize, seed: u64) -> Self {
        let late =
            Histogram::new_with_bounds(1, LATE_NS_MAX, 2).expect("the bounds are constants and in order");
        let wires = (0_u64..).take(wires).map(|number| Wire::new(Dice::new(seed, number))).collect();
        Self { wires, shared: Vec::new(), late, exits: BTreeMap::new() }
    }

    pub(crate) fn wire(&self, id: WireId) -> &Wire {
        &self.wires[id]
    }

    /// Gives a wire new behaviour; packets on their way keep their times.
    pub(crate) fn set(&mut self, id: WireId, link: Link) {
        let wire = &mut self.wires[id];
        wire.link = link;
        wire.own.set(link.rate());
    }

    /// Cuts or heals a wire. A cut also swallows what is on its way.
    pub(crate) fn set_cut(&mut self, id: WireId, cut: bool) {
        self.wires[id].cut = cut;
    }

    /// Adds a pipe that the given wires share.
    pub(crate) fn share(&mut self, rate: Rate, wires: &[WireId]) {
        let pipe = self.shared.len();
        self.shared.push(Pipe::new(rate));
        for id in wires {
            self.wires[*id].shared = Some(pipe);
        }
    }

    /// Decides about a packet of `bytes` (IP level) that enters a wire now.
    pub(crate) fn admit(&mut self, id: WireId, now_ns: u64, bytes: u64) -> Fate {
        let wire = &mut self.wires[id];
        wire.tally.offered.add(bytes);
        if wire.cut {
            wire.tally.drops.cut += 1;
            return Fate::default();
        }
        if bytes > u64::from(wire.link.mtu) {
            wire.tally.drops.too_big += 1;
            return Fate::default();
        }
        let Some(sent_ns) = wire.pass(&mut self.shared, now_ns, bytes) else {
            wire.tally.drops.queue_full += 1;
            return Fate::default();
        };
        wire.travel(sent_ns, bytes)
    }

    /// Decides about a piece of a TCP stream. Streams are not lost, reordered or dropped: their kernel would repair it.
    pub(crate) fn admit_stream(&mut self, id: WireId, now_ns: u64, bytes: u64) -> Turn {
        let wire = &mut self.wires[id];
        let Some(sent_ns) = wire.pass(&mut self.shared, now_ns, bytes) else {
            return Turn::Wait(now_ns + STREAM_RETRY_NS);
        };
        wire.tally.offered.add(bytes);
        wire.in_flight_bytes += bytes;
        Turn::Due(wire.in_order(sent_ns))
    }

    /// A packet has reached the far end. False if the wire has been cut since it left: it never arrives.
    pub(crate) fn arrive(&mut self, id: WireId, bytes: u64) -> bool {
        let wire = &mut self.wires[id];
        wire.in_flight_bytes = wire.in_flight_bytes.saturating_sub(bytes);
        if wire.cut {
            wire.tally.drops.cut += 1;
            return false;
        }
        wire.tally.delivered.add(bytes);
        true
    }

    /// Notes how much later than due a packet went.
    pub(crate) fn note_late(&mut self, late_ns: u64) {
        self.late.saturating_record(late_ns.max(1));
    }

    /// The emulator's own error so far.
    pub(crate) fn lateness(&self) -> Lateness {
        let at = |quantile| self.late.value_at_quantile(quantile) as f64 / 1_000.0;
        Lateness {
            packets: self.late.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.late.max() as f64 / 1_000.0,
        }
    }

    /// Notes where a flow's own socket is, so that the kernel's drop counters can be asked about it.
    pub(crate) fn note_exit(&mut self, exit: u64, address: SocketAddr) {
        self.exits.insert(exit, address);
    }

    pub(crate) fn forget_exit(&mut self, exit: u64) {
        self.exits.remove(&exit);
    }

    pub(crate) fn exits(&self) -> Vec<SocketAddr> {
        self.exits.values().copied().collect()
    }

    /// Forgets the error so far, so that one phase of a run can be looked at alone.
    pub(crate) fn forget_lateness(&mut self) {
        self.late.reset();
    }
}

/// How long a stream waits before it asks for room in a full queue again.
const STREAM_RETRY_NS: u64 = 1_000_000;

impl Wire {
    fn new(dice: Dice) -> Self {
        let link = Link::default();
        Self {
            link,
            cut: false,
            tally: Tally::default(),
            own: Pipe::new(link.rate()),
            shared: None,
            dice,
            last_due_ns: 0,
            in_flight_bytes: 0,
        }
    }

    /// Through the link's own pipe and the shared one; `None` if a queue is full.
    fn pass(&mut self, shared: &mut [Pipe], now_ns: u64, bytes: u64) -> Option<u64> {
        if self.in_flight_bytes + bytes > IN_FLIGHT_BYTES_MAX {
            return None;
        }
        let mut sent_ns = self.own.pass(now_ns, bytes)?;
        let mut backlog = self.own.backlog_bytes(now_ns);
        if let Some(pipe) = self.shared.map(|index| &mut shared[index]) {
            sent_ns = pipe.pass(sent_ns, bytes)?;
            backlog = backlog.max(pipe.backlog_bytes(now_ns));
        }
        self.tally.queue_bytes_max = self.tally.queue_bytes_max.max(backlog);
        Some(sent_ns)
    }

    /// Chance, then delay.
    fn travel(&mut self, sent_ns: u64, bytes: u64) -> Fate {
        if self.dice.hits(self.link.loss) {
            self.tally.drops.lost += 1;
            return Fate::default();
        }
        let due_ns = if self.dice.hits(self.link.reorder) {
            self.tally.marks.reordered += 1;
            self.unordered(sent_ns) + ns_of_ms(self.link.reorder_ms)
        } else {
            self.in_order(sent_ns)
        };
        let first = self.passage(due_ns, bytes);
        let twin = self.dice.hits(self.link.duplicate).then(|| {
            self.tally.marks.duplicated += 1;
            self.passage(due_ns, bytes)
        });
        Fate { first: Some(first), twin }
    }

    fn passage(&mut self, due_ns: u64, bytes: u64) -> Passage {
        self.in_flight_bytes += bytes;
        let flip = self.dice.hits(self.link.corrupt).then(|| self.dice.roll());
        self.tally.marks.corrupted += u64::from(flip.is_some());
        Passage { due_ns, flip }
    }

    /// Arrival by delay and jitter alone.
    fn unordered(&mut self, sent_ns: u64) -> u64 {
        let jitter_ms = if self.link.jitter_ms > 0.0 { self.dice.unit() * self.link.jitter_ms } else { 0.0 };
        sent_ns + ns_of_ms(self.link.delay_ms + jitter_ms)
    }

    /// Arrival that no earlier packet is overtaken by, jitter or a shortened delay notwithstanding.
    fn in_order(&mut self, sent_ns: u64) -> u64 {
        self.last_due_ns = self.unordered(sent_ns).max(self.last_due_ns);
        self.last_due_ns
    }
}

#[cfg(test)]
mod tests;
