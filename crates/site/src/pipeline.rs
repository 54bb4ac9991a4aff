//! From "taken in" to "durable": what waits for the WAL.
//!
//! One write is in flight at a time; what comes meanwhile goes into the next one. That is the group commit. What is written
//! here and what is taken over from other sites wait in two lines, which share every write. A write that
//! finds no room stays at the head of the queue and is tried again: nothing that was taken in is ever taken back, so
//! nobody is told no about something that happens later all the same. What is durable and finds no room in the logs waits in
//! the same way, and the WAL waits with it.

use std::collections::VecDeque;

use clock::Stamp;
use entry::Encoded;
use journal::{Record, Wal, WalOp, WalWrite};

use crate::notes::Note;

/// How long a write that found no room rests before it is tried again, in microseconds.
const ROOM_RETRY_US: u64 = 250_000;

/// The WAL and what waits for it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// The write-ahead log.
    pub(crate) wal: Wal,
    /// Stamps of own entries that are not durable yet, in order.
    own: VecDeque<Stamp>,
    /// What the WAL holds and has not taken effect, since there is no room for it in the logs.
    due: VecDeque<Record>,
    /// Whether the disk is low: what is left is for what the sites agree on.
    low: bool,
    /// While the disk has no room: when to try again, in monotonic microseconds.
    full_until_us: Option<u64>,
    /// What is damaged, where that is why something durable waits.
    pub(crate) damaged: Option<String>,
    /// Before this no spare segment is ordered: there was no room for the last one.
    spare_after_us: u64,
}

impl Pipeline {
    pub(crate) fn new(wal: Wal) -> Pipeline {
        let (own, due) = (VecDeque::new(), VecDeque::new());
        Pipeline { wal, own, due, low: false, full_until_us: None, damaged: None, spare_after_us: 0 }
    }

    /// Gives an entry of this site's own journal to the WAL.
    pub(crate) fn own_entry(&mut self, entry: &Encoded) {
        self.own.push_back(entry.head.stamp);
        self.wal.push_entry(entry);
    }

    /// Gives entries of another site (or of our own that came back) to the WAL, with what vouches for them.
    pub(crate) fn vouched(&mut self, entries: &[Encoded], notes: impl IntoIterator<Item = Note>) {
        let entries = entries.iter().map(|entry| Record::Entry(entry.clone()));
        let notes = notes.into_iter().map(|note| Record::Note(note.encode()));
        self.wal.push_replica(entries.chain(notes));
    }

    /// Gives a note to the WAL.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a note is given away: nobody has a use for it afterwards"
    )]
    pub(crate) fn note(&mut self, note: Note) {
        self.wal.push_note(note.encode());
    }

    /// The next write, if none is in flight and something waits.
    pub(crate) fn start_write(&mut self, mono_us: u64) -> Option<WalWrite> {
        if self.is_behind() || self.rests(mono_us) { None } else { self.wal.start_write() }
    }

    /// Whether it is too early to try again.
    fn rests(&self, mono_us: u64) -> bool {
        self.full_until_us.is_some_and(|until| mono_us < until)
    }

    /// The next spare segment to be made, if one should be.
    pub(crate) fn order_spare(&mut self, mono_us: u64) -> Option<WalOp> {
        if mono_us < self.spare_after_us { None } else { self.wal.order_spare() }
    }

    /// A spare segment is there, or there was no room for it.
    pub(crate) fn prepared(&mut self, done: bool, mono_us: u64) {
        self.wal.prepared(done);
        if !done {
            self.spare_after_us = mono_us + ROOM_RETRY_US;
        }
    }

    /// A write is durable: what it held takes effect next, in order.
    pub(crate) fn written(&mut self, id: u64) {
        self.full_until_us = None;
        self.due.extend(self.wal.written(id));
    }

    /// What takes effect next; none while there was no room for it a moment ago.
    pub(crate) fn next_due(&mut self, mono_us: u64) -> Option<Record> {
        if self.rests(mono_us) {
            return None;
        }
        self.due.pop_front()
    }

    /// There was no room for it in the logs. Returns whether that is news.
    pub(crate) fn put_off(&mut self, record: Record, mono_us: u64) -> bool {
        self.due.push_front(record);
        self.full_until_us.replace(mono_us + ROOM_RETRY_US).is_none()
    }

    /// Whether something is durable that has not taken effect.
    pub(crate) fn is_behind(&self) -> bool {
        !self.due.is_empty()
    }

    /// All that is durable has taken effect, so there is room. Returns whether it waited for something damaged.
    pub(crate) fn caught_up(&mut self) -> bool {
        self.full_until_us = None;
        self.damaged.take().is_some()
    }

    /// An own entry is durable.
    pub(crate) fn own_durable(&mut self) {
        self.own.pop_front();
    }

    /// A write found no room. Returns whether that is news.
    pub(crate) fn refused(&mut self, id: u64, mono_us: u64) -> bool {
        self.wal.refused(id);
        self.full_until_us.replace(mono_us + ROOM_RETRY_US).is_none()
    }

    /// The shell says how the disk stands. Returns whether that is news.
    pub(crate) fn set_low(&mut self, low: bool) -> bool {
        std::mem::replace(&mut self.low, low) != low
    }

    /// Whether there is no room for records: the disk is low, or full.
    pub(crate) fn is_low(&self) -> bool {
        self.low || self.is_full()
    }

    /// Whether the disk has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.full_until_us.is_some()
    }

    /// Stamp of the first own entry that is not durable yet.
    pub(crate) fn first_own_stamp(&self) -> Option<Stamp> {
        self.own.front().copied()
    }
}
