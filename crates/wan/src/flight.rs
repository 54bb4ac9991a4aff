//! Packets on their way, ordered by when they are due; among equals, by when they set out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use crate::fabric::WireId;

/// Which socket a packet leaves the emulator by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Outward: from a flow's exit socket to the listening site.
    Out { exit: u64 },
    /// Back: from the gate to the address that dialled it.
    Back { gate: u64, source: SocketAddr },
}

/// A packet under way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) wire: WireId,
    pub(crate) way: Way,
    pub(crate) payload: Vec<u8>,
}

/// A delay queue.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    heap: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    key: (u64, u64),
    packet: Packet,
}

impl Flight {
    /// Sends a packet on its way.
    pub(crate) fn depart(&mut self, due_ns: u64, packet: Packet) {
        self.serial += 1;
        self.heap.push(Reverse(Entry { key: (due_ns, self.serial), packet }));
    }

    /// When the next packet is due.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.key.0)
    }

    /// The next packet that is due by now, and when it was.
    pub(crate) fn land(&mut self, now_ns: u64) -> Option<(u64, Packet)> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.key.0, entry.packet))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::{Flight, Packet, Way};

    #[test]
    fn lands_in_order_of_due_time_then_departure() {
        let mut flight = Flight::default();
        for (due_ns, mark) in [(30, 1_u8), (10, 2), (20, 3), (10, 4)] {
            flight.depart(due_ns, Packet { wire: 0, way: Way::Out { exit: 0 }, payload: vec![mark] });
        }
        assert_eq!(flight.next_due_ns(), Some(10));
        assert!(flight.land(9).is_none());
        let order: Vec<u8> =
            std::iter::from_fn(|| flight.land(30)).map(|(_, packet)| packet.payload[0]).collect();
        assert_eq!(order, [2, 4, 3, 1]);
        assert_eq!(flight.next_due_ns(), None);
    }
}
