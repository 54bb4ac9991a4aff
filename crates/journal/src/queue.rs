//! What waits for a commit: one line for what this node writes, one for what it takes over from others.
//!
//! While only one line waits, a commit takes what a frame holds. While both wait, each gets the same number of bytes of
//! every commit, so that a flood in one line costs the other at most the time that its own share takes. What is taken
//! over is never more than a share, since who writes here may come at any moment and waits for the commit under way.
//!
//! What this node writes may pass what came before it, but not the other way round: an own entry is stamped above all
//! that had been taken in when it was made, and nothing stamped higher becomes durable before it.

use std::collections::VecDeque;

use crate::frame::{FRAME_BYTES_MAX, HEAD_BYTES, Queued};
use crate::record::Record;

/// Bytes of one line in one commit while the other line waits too: enough to make a sync worth its while.
const SHARE_BYTES: usize = 8 << 20;

/// Records that become durable together or not at all.
#[derive(Debug)]
struct Group {
    /// The number of its arrival.
    arrival: u64,
    records: Vec<Queued>,
    /// What it adds to a frame.
    frame_bytes: usize,
}

/// One line.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Group>,
    /// Of the records alone.
    bytes: usize,
}

/// Both lines.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    own: Line,
    others: Line,
    arrivals: u64,
    /// Whose turn it is to be sure of at least one record.
    others_first: bool,
}

impl Queue {
    pub(crate) fn push_own(&mut self, record: Record) {
        self.arrivals += 1;
        self.own.push(self.arrivals, vec![record]);
    }

    /// # Panics
    /// If together they are longer than a frame.
    pub(crate) fn push_others(&mut self, records: Vec<Record>) {
        self.arrivals += 1;
        self.others.push(self.arrivals, records);
    }

    pub(crate) fn own_bytes(&self) -> usize {
        self.own.bytes
    }

    pub(crate) fn others_bytes(&self) -> usize {
        self.others.bytes
    }

    /// The records of the next commit, whose frame is to be no longer than this; at least one group, if any waits.
    pub(crate) fn take(&mut self, frame_bytes_max: usize) -> Vec<Queued> {
        let both = !self.own.waiting.is_empty() && !self.others.waiting.is_empty();
        let share = if both { SHARE_BYTES.min(frame_bytes_max / 2) } else { SHARE_BYTES };
        let (own, others) = (if both { share } else { frame_bytes_max }, share);
        let mut commit = Commit { taken: Vec::new(), room: frame_bytes_max.saturating_sub(HEAD_BYTES) };
        self.others_first = !self.others_first;
        if !self.others_first {
            self.others.take(0, self.own.first(), &mut commit);
        }
        self.own.take(own, u64::MAX, &mut commit);
        self.others.take(others, self.own.first(), &mut commit);
        commit.taken
    }
}

/// A commit in the making.
struct Commit {
    taken: Vec<Queued>,
    room: usize,
}

impl Line {
    fn push(&mut self, arrival: u64, records: Vec<Record>) {
        self.bytes += records.iter().map(|record| record.bytes().len()).sum::<usize>();
        let records: Vec<Queued> = records.into_iter().map(Queued::new).collect();
        let frame_bytes = records.iter().map(Queued::frame_bytes).sum();
        assert!(HEAD_BYTES + frame_bytes <= FRAME_BYTES_MAX, "{frame_bytes} bytes fit no frame together");
        self.waiting.push_back(Group { arrival, records, frame_bytes });
    }

    /// When the first that waits arrived.
    fn first(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |group| group.arrival)
    }

    /// Takes from the front what arrived before: one group if there is room for it or nothing else was taken, and more
    /// up to a share.
    fn take(&mut self, share: usize, before: u64, commit: &mut Commit) {
        let mut used = 0;
        while let Some(first) = self.waiting.front() {
            let bytes = first.frame_bytes;
            let fits = bytes <= commit.room && (used == 0 || used + bytes <= share);
            if first.arrival >= before || (!fits && !commit.taken.is_empty()) {
                return;
            }
            used += bytes;
            commit.room = commit.room.saturating_sub(bytes);
            self.bytes -= first.records.iter().map(|queued| queued.record.bytes().len()).sum::<usize>();
            commit.taken.extend(self.waiting.pop_front().into_iter().flat_map(|group| group.records));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Queue, SHARE_BYTES};
    use crate::frame::Queued;
    use crate::record::Record;

    fn record(mark: u8, bytes: usize) -> Record {
        Record::Note(Bytes::from(vec![mark; bytes]))
    }

    /// How many records of each line a commit took.
    fn counts(taken: &[Queued]) -> (usize, usize) {
        let own = taken.iter().filter(|queued| queued.record.bytes()[0] == 1).count();
        (own, taken.len() - own)
    }

    #[test]
    fn neither_line_starves_the_other() {
        let mut queue = Queue::default();
        for _ in 0..64 {
            queue.push_own(record(1, 1 << 20));
            queue.push_others(vec![record(2, 1 << 20)]);
        }
        for _ in 0..8 {
            let (own, others) = counts(&queue.take(64 << 20));
            assert!(own == 7 && (7..=8).contains(&others), "a share each: {own} and {others}");
        }
        queue.push_others(vec![record(2, 10)]);
        while queue.others_bytes() > 0 {
            assert!(counts(&queue.take(64 << 20)).1 > 0);
        }
        assert_eq!(queue.own_bytes(), 0);
    }

    #[test]
    fn what_others_wrote_does_not_pass_what_was_written_here_before_it_came() {
        let mut queue = Queue::default();
        (0..20).for_each(|_| queue.push_own(record(1, 1 << 20)));
        queue.push_others(vec![record(2, 10)]);
        queue.push_own(record(1, 10));
        assert_eq!(counts(&queue.take(64 << 20)), (7, 0));
        assert_eq!(counts(&queue.take(64 << 20)), (7, 0));
        assert_eq!(counts(&queue.take(64 << 20)), (7, 1));
    }

    #[test]
    fn one_alone_takes_what_a_frame_holds_but_what_is_taken_over_no_more_than_its_share() {
        let mut queue = Queue::default();
        (0..32).for_each(|_| queue.push_own(record(1, 1 << 20)));
        assert_eq!(counts(&queue.take(64 << 20)), (32, 0));
        (0..32).for_each(|_| queue.push_others(vec![record(2, 1 << 20)]));
        let (own, others) = counts(&queue.take(64 << 20));
        assert!(own == 0 && others <= SHARE_BYTES >> 20, "{others}");
    }

    #[test]
    fn what_belongs_together_is_not_parted() {
        let mut queue = Queue::default();
        queue.push_others(vec![record(2, 500), record(2, 300)]);
        queue.push_others(vec![record(2, 500), record(2, 1)]);
        queue.push_others(vec![record(2, 1_000), record(2, 1_000), record(2, 1)]);
        let took: Vec<_> = (0..3).map(|_| counts(&queue.take(1_000))).collect();
        assert_eq!(took, [(0, 2), (0, 2), (0, 3)]);
        assert_eq!(queue.others_bytes(), 0);
    }

    #[test]
    fn records_that_do_not_fit_together_take_turns() {
        let mut queue = Queue::default();
        for _ in 0..4 {
            queue.push_own(record(1, 900));
            queue.push_others(vec![record(2, 900)]);
        }
        let took: Vec<_> = (0..4).map(|_| counts(&queue.take(1_000))).collect();
        assert_eq!(took, [(1, 0), (0, 1), (1, 0), (0, 1)]);
        assert_eq!(counts(&queue.take(500)), (1, 0), "one that is too long for any goes alone");
    }

    #[test]
    fn each_line_keeps_its_order() {
        let mut queue = Queue::default();
        for n in 0..50 {
            queue.push_own(record(1, 1 + n));
            queue.push_others(vec![record(2, 1 + n)]);
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        while queue.own_bytes() + queue.others_bytes() > 0 {
            for queued in queue.take(300) {
                let bytes = queued.record.bytes();
                if bytes[0] == 1 { own.push(bytes.len()) } else { others.push(bytes.len()) }
            }
        }
        assert_eq!((own, others), ((1..=50).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>()));
    }
}
