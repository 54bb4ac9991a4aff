//! The network between the sites.
//!
//! Per pair of sites there is at most one connection that still takes messages. Each of its lanes is a reliable stream,
//! first in, first out, in each direction; pulses are datagrams, which may be lost, doubled or overtaken. A connection
//! that dies has delivered some prefix of each lane, and the two ends learn of it each in its own time; the next one
//! may be up at one end before the last is down at the other. A direction that is blocked delivers nothing, and what
//! its streams hold waits, until it heals or the connection is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use entry::SiteId;
use site::Lane;

use crate::rng::Rng;

/// One lane of one connection in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Which connection.
    pub generation: u64,
    /// Who sends.
    pub from: SiteId,
    /// Who receives.
    pub to: SiteId,
    /// Which lane.
    pub lane: Lane,
}

/// What the network does by itself.
#[derive(Debug, Clone)]
pub struct Weather {
    /// One-way delay per direction, in microseconds.
    pub delay_us: BTreeMap<(SiteId, SiteId), u64>,
    /// How much more it may be, in microseconds.
    pub jitter_us: u64,
    /// Of a thousand datagrams, how many are lost.
    pub loss_permille: u64,
    /// Of a thousand messages, how many come twice.
    pub double_permille: u64,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    weather: Weather,
    /// The connection of each pair (lower id first) that takes messages.
    current: BTreeMap<(SiteId, SiteId), u64>,
    streams: BTreeMap<Stream, VecDeque<Bytes>>,
    /// Deliveries that fell due while their direction was blocked.
    owed: BTreeMap<Stream, usize>,
    blocked: BTreeSet<(SiteId, SiteId)>,
    next_generation: u64,
    rng: Rng,
}

/// What became of a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A stream delivers its next message after this many microseconds.
    Stream(u64, Stream),
    /// Datagrams arrive after these many microseconds.
    Datagrams(Vec<u64>),
    /// The connection is gone.
    Nowhere,
}

fn pair(a: SiteId, b: SiteId) -> (SiteId, SiteId) {
    (a.min(b), a.max(b))
}

impl Net {
    /// A network without connections.
    #[must_use]
    pub fn new(weather: Weather, rng: Rng) -> Net {
        Net {
            weather,
            current: BTreeMap::new(),
            streams: BTreeMap::new(),
            owed: BTreeMap::new(),
            blocked: BTreeSet::new(),
            next_generation: 1,
            rng,
        }
    }

    /// How long something takes from one site to another, this time.
    pub fn delay_us(&mut self, from: SiteId, to: SiteId) -> u64 {
        let least = self.weather.delay_us.get(&(from, to)).copied().unwrap_or(1000);
        least + self.rng.below(self.weather.jitter_us + 1)
    }

    /// Tries to connect two sites; the new connection's number, unless a direction is blocked.
    pub fn connect(&mut self, a: SiteId, b: SiteId) -> Option<u64> {
        if self.is_blocked(a, b) || self.is_blocked(b, a) {
            return None;
        }
        self.give_up(a, b);
        let generation = self.next_generation;
        self.next_generation += 1;
        self.current.insert(pair(a, b), generation);
        Some(generation)
    }

    /// The connection that takes messages between two sites.
    #[must_use]
    pub fn current(&self, a: SiteId, b: SiteId) -> Option<u64> {
        self.current.get(&pair(a, b)).copied()
    }

    /// The connection of two sites dies: a random prefix of what is under way still arrives. Gives back its number.
    pub fn give_up(&mut self, a: SiteId, b: SiteId) -> Option<u64> {
        let generation = self.current.remove(&pair(a, b))?;
        for (stream, queue) in &mut self.streams {
            if stream.generation == generation {
                let kept = self.rng.below(queue.len() as u64 + 1);
                queue.truncate(usize::try_from(kept).unwrap_or(0));
            }
        }
        self.streams.retain(|stream, queue| stream.generation != generation || !queue.is_empty());
        Some(generation)
    }

    /// Takes a message for a connection.
    pub fn send(&mut self, stream: Stream, bytes: Bytes) -> Sent {
        if self.current(stream.from, stream.to) != Some(stream.generation) {
            return Sent::Nowhere;
        }
        if stream.lane == Lane::Pulse {
            return self.send_datagram(stream);
        }
        self.streams.entry(stream).or_default().push_back(bytes);
        Sent::Stream(self.delay_us(stream.from, stream.to), stream)
    }

    fn send_datagram(&mut self, stream: Stream) -> Sent {
        let (from, to) = (stream.from, stream.to);
        if self.is_blocked(from, to) || self.rng.chance(self.weather.loss_permille) {
            return Sent::Datagrams(Vec::new());
        }
        let copies = if self.rng.chance(self.weather.double_permille) { 2 } else { 1 };
        Sent::Datagrams((0..copies).map(|_| self.delay_us(from, to)).collect())
    }

    /// A delivery is due: the stream's next message, unless the direction is blocked or nothing is left of it.
    pub fn deliver(&mut self, stream: Stream) -> Option<Bytes> {
        if self.is_blocked(stream.from, stream.to) {
            *self.owed.entry(stream).or_default() += 1;
            return None;
        }
        self.streams.get_mut(&stream)?.pop_front()
    }

    /// Blocks one direction.
    pub fn block(&mut self, from: SiteId, to: SiteId) {
        self.blocked.insert((from, to));
    }

    /// Whether a direction is blocked.
    #[must_use]
    pub fn is_blocked(&self, from: SiteId, to: SiteId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Heals a direction; what is owed there is due after these many microseconds.
    pub fn heal(&mut self, from: SiteId, to: SiteId) -> Vec<(u64, Stream)> {
        self.blocked.remove(&(from, to));
        let mut due = Vec::new();
        for (stream, count) in &mut self.owed {
            if (stream.from, stream.to) == (from, to) {
                due.extend(std::iter::repeat_n(*stream, std::mem::take(count)));
            }
        }
        self.owed.retain(|_, count| *count > 0);
        due.into_iter().map(|stream| (self.delay_us(from, to), stream)).collect()
    }

    /// The directions that are blocked.
    #[must_use]
    pub fn blocked(&self) -> Vec<(SiteId, SiteId)> {
        self.blocked.iter().copied().collect()
    }

    /// Whether a message is delivered a second time.
    pub fn doubles(&mut self) -> bool {
        self.rng.chance(self.weather.double_permille)
    }

    /// From now on nothing is lost by itself.
    pub fn calm(&mut self) {
        self.weather.loss_permille = 0;
        self.weather.double_permille = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Net, Sent, Stream, Weather};
    use crate::rng::Rng;
    use bytes::Bytes;
    use entry::SiteId;
    use site::Lane;
    use std::collections::BTreeMap;

    const A: SiteId = SiteId(1);
    const B: SiteId = SiteId(2);

    fn net() -> (Net, Stream) {
        let weather =
            Weather { delay_us: BTreeMap::new(), jitter_us: 500, loss_permille: 0, double_permille: 0 };
        let mut net = Net::new(weather, Rng::stream(1, "net"));
        let generation = net.connect(A, B).unwrap();
        (net, Stream { generation, from: A, to: B, lane: Lane::Control })
    }

    #[test]
    fn streams_keep_their_order_and_a_dead_one_delivers_a_prefix() {
        let (mut net, stream) = net();
        for message in [b"a", b"b", b"c"] {
            assert!(matches!(net.send(stream, Bytes::from_static(message)), Sent::Stream(..)));
        }
        assert_eq!(net.deliver(stream).as_deref(), Some(&b"a"[..]));
        net.give_up(A, B);
        assert_eq!(net.send(stream, Bytes::new()), Sent::Nowhere);
        let rest: Vec<_> = std::iter::from_fn(|| net.deliver(stream)).collect();
        assert!([&b"b"[..], b"c"].starts_with(&rest.iter().map(|it| &it[..]).collect::<Vec<_>>()));
    }

    #[test]
    fn what_is_blocked_waits() {
        let (mut net, stream) = net();
        net.block(A, B);
        net.send(stream, Bytes::from_static(b"a"));
        assert_eq!(net.deliver(stream), None);
        assert_eq!(net.heal(A, B).len(), 1);
        assert_eq!(net.deliver(stream).as_deref(), Some(&b"a"[..]));
    }
}
