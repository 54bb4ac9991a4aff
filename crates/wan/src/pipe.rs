//! A rate limit with a queue in front of it: what makes a link slow, and a full link slower still.
//!
//! The queue is virtual. A pipe remembers when it will have sent all it has taken; a packet leaves when the ones before
//! it and itself have been serialised. What does not fit into the queue is dropped at its tail, and until then waiting
//! grows with the backlog, as in a router with a deep buffer. Several links may share one pipe.

use crate::link::Rate;

/// A rate-limited stretch of road.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    rate: Rate,
    /// When everything taken so far will have left.
    free_ns: u64,
}

impl Pipe {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, free_ns: 0 }
    }

    /// Changes rate and queue; what has been taken keeps its time.
    pub(crate) fn set(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Bytes still waiting or being sent at `now_ns`.
    pub(crate) fn backlog_bytes(&self, now_ns: u64) -> u64 {
        match self.rate.ns_per_byte() {
            Some(cost) => (self.free_ns.saturating_sub(now_ns) as f64 / cost).round() as u64,
            None => 0,
        }
    }

    /// Takes `bytes` that arrive at `now_ns` and says when the last of them has left, or `None` if the queue is full.
    /// A packet that finds the pipe idle is always taken, however small the queue.
    pub(crate) fn pass(&mut self, now_ns: u64, bytes: u64) -> Option<u64> {
        let Some(cost) = self.rate.ns_per_byte() else { return Some(now_ns) };
        let backlog = self.backlog_bytes(now_ns);
        if backlog > 0 && backlog + bytes > self.rate.queue_bytes {
            return None;
        }
        self.free_ns = self.free_ns.max(now_ns) + (bytes as f64 * cost).round() as u64;
        Some(self.free_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::Pipe;
    use crate::link::Rate;

    /// 8 Mbit/s is one byte per microsecond.
    fn one_byte_per_us(queue_bytes: u64) -> Pipe {
        Pipe::new(Rate { mbit: 8.0, queue_bytes })
    }

    #[test]
    fn unlimited_passes_at_once() {
        let mut pipe = Pipe::new(Rate { mbit: 0.0, queue_bytes: 0 });
        assert_eq!(pipe.pass(5, 1_000_000), Some(5));
        assert_eq!(pipe.backlog_bytes(5), 0);
    }

    #[test]
    fn serialises_one_after_the_other() {
        let mut pipe = one_byte_per_us(10_000);
        assert_eq!(pipe.pass(0, 1_000), Some(1_000_000));
        assert_eq!(pipe.pass(0, 1_000), Some(2_000_000));
        assert_eq!(pipe.pass(5_000_000, 1_000), Some(6_000_000), "an idle pipe starts anew");
    }

    #[test]
    fn a_full_queue_drops_at_its_tail_and_drains() {
        let mut pipe = one_byte_per_us(3_000);
        let taken = (0..10).filter(|_| pipe.pass(0, 1_000).is_some()).count();
        assert_eq!(taken, 3);
        assert_eq!(pipe.backlog_bytes(0), 3_000);
        assert_eq!(pipe.pass(1_000_000, 1_000), Some(4_000_000), "one packet has left, one place is free");
    }

    #[test]
    fn an_idle_pipe_takes_a_packet_larger_than_its_queue() {
        let mut pipe = one_byte_per_us(100);
        assert_eq!(pipe.pass(0, 1_500), Some(1_500_000));
        assert_eq!(pipe.pass(0, 1), None);
    }
}
