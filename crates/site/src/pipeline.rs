//! From "taken in" to "durable": what waits for the WAL, and what its next sync makes true.
//!
//! One write is in flight at a time; what comes meanwhile goes into the next one. That is the group commit, and it also
//! means that everything taken in before a write started is durable when the write is done, in the same order.

use std::collections::VecDeque;

use batch::BatchInfo;
use entry::Encoded;
use journal::{Wal, WalWrite};

use crate::notes::Note;

/// One thing on its way to the disk.
#[derive(Debug)]
pub(crate) enum Staged {
    /// An entry, own or remote; its batch's header, if it is one.
    Entry(Encoded, Option<BatchInfo>),
    /// A note.
    Note(Note),
}

/// The WAL and what waits for it.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// The write-ahead log.
    pub(crate) wal: Wal,
    staged: VecDeque<Staged>,
    /// How many of the staged belong to the write in flight, and its id.
    writing: Option<(u64, usize)>,
    /// Whether the last write found no room.
    pub(crate) full: bool,
}

impl Pipeline {
    pub(crate) fn new(wal: Wal) -> Pipeline {
        Pipeline { wal, staged: VecDeque::new(), writing: None, full: false }
    }

    /// Gives an entry to the WAL.
    pub(crate) fn entry(&mut self, entry: Encoded, info: Option<BatchInfo>) {
        self.wal.push_entry(&entry);
        self.staged.push_back(Staged::Entry(entry, info));
    }

    /// Gives a note to the WAL.
    pub(crate) fn note(&mut self, note: Note) {
        self.wal.push_note(note.encode());
        self.staged.push_back(Staged::Note(note));
    }

    /// The next write, if none is in flight and something waits.
    pub(crate) fn start_write(&mut self) -> Option<WalWrite> {
        if self.writing.is_some() {
            return None;
        }
        let write = self.wal.start_write()?;
        self.writing = Some((write.id, self.staged.len()));
        Some(write)
    }

    /// A write is durable: what it held, in order.
    pub(crate) fn written(&mut self, id: u64) -> Vec<Staged> {
        let (expected, count) = self.writing.take().expect("a write is done only after it was started");
        assert_eq!(expected, id, "writes are done one at a time");
        self.wal.written(id);
        self.full = false;
        self.staged.drain(..count).collect()
    }

    /// A write found no room: nothing of it counts, nor of what waited behind it. Returns the notes among them, which
    /// must be written all the same when there is room.
    pub(crate) fn refused(&mut self, id: u64) -> Vec<Note> {
        let (expected, _) = self.writing.take().expect("a write is refused only after it was started");
        assert_eq!(expected, id, "writes are done one at a time");
        self.wal.refused(id);
        self.full = true;
        self.staged.drain(..).filter_map(|staged| if let Staged::Note(note) = staged { Some(note) } else { None }).collect()
    }

    /// The first own entry that is not durable yet.
    pub(crate) fn first_of(&self, journal: entry::JournalId) -> Option<&Encoded> {
        self.staged.iter().find_map(|staged| match staged {
            Staged::Entry(entry, _) if entry.head.journal == journal => Some(entry),
            _ => None,
        })
    }
}
