//! Bulk work on files, done beside the machine so that it never waits for it: chunks read for others, chunks written for
//! this site, whole files summed up, and the step that puts a copy in force.
//!
//! The machine asks with [`Action::Files`](crate::Action::Files) and is answered with
//! [`Event::FilesDone`](crate::Event::FilesDone); how a task is carried out on a [`Disk`] is written here, once for all
//! shells. At most one chunk is in memory per task.

use std::collections::BTreeMap;

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use journal::checkpoint::Draft;
use journal::{Contents, Unread, WalPosition};
use partition::{CompactDone, CompactWork, Proven};

use crate::action::Action;
use crate::site::{Fatal, Site, Step};

/// How much is written once more at a time.
const AGAIN_BYTES: u64 = 1 << 20;

/// A task for the shell, which answers it once, under its id. Tasks of one kind are done in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTask {
    /// To be named in the event.
    pub id: u64,
    /// What is to be done.
    pub work: FileWork,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileWork {
    /// Read a range.
    Read {
        /// The file.
        file: FileName,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        bytes: u32,
    },
    /// Write a range, buffered.
    Write {
        /// The file.
        file: FileName,
        /// Where the range begins.
        offset: u64,
        /// What is to stand there.
        bytes: Bytes,
    },
    /// Look at every byte from the front on, and sum them up.
    Sum {
        /// The file.
        file: FileName,
        /// How much of it.
        bytes: u64,
        /// Whether it is to be made durable first, and how much from the front on is to be written once more for that: what a
        /// former process left may look written, and yet be in the page cache only, if a sync failed that ended it.
        sync: Option<u64>,
    },
    /// Read a segment of the WAL.
    Segment(Unread),
    /// A step of compaction.
    Compact(CompactWork),
    /// Put a copy in force: the files are given their names in the waiting room, and then the checkpoint that relies on
    /// them is written. To be done behind all checkpoints and WAL segments that were ordered before.
    Install {
        /// Files of this site that the checkpoint relies on as well.
        sync: Vec<FileName>,
        /// From where to where.
        moves: Vec<(FileName, FileName)>,
        /// What replay begins with.
        position: WalPosition,
        /// The machine's state.
        state: Bytes,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAnswer {
    /// These bytes were read.
    Read(Bytes),
    /// The range was written.
    Written,
    /// This is the sum, and what of it is damaged.
    Summed(Proven),
    /// This is what the segment holds.
    Segment(Contents),
    /// This came of the step of compaction.
    Compacted(CompactDone),
    /// The copy is in force from the next start on.
    Installed,
    /// It was not done.
    Failed(DiskError),
}

/// A disk that failed is the end; one that is full is not.
pub(crate) fn refuse_failure(answer: FileAnswer) -> Result<(), Fatal> {
    match answer {
        FileAnswer::Failed(error) if error.is_full() => Ok(()),
        FileAnswer::Failed(error) => Err(error.into()),
        _ => Ok(()),
    }
}

impl FileWork {
    /// Does it, here and now.
    #[must_use]
    pub fn carry_out(&self, disk: &mut dyn Disk) -> FileAnswer {
        let done = match self {
            FileWork::Read { file, offset, bytes } => {
                disk.read(file, *offset, *bytes as usize).map(FileAnswer::Read)
            }
            FileWork::Write { file, offset, bytes } => {
                disk.write(file, *offset, bytes).map(|()| FileAnswer::Written)
            }
            FileWork::Sum { file, bytes, sync } => {
                let synced = sync.map_or(Ok(()), |again| make_durable(disk, file, again));
                synced.and_then(|()| look(disk, file, *bytes)).map(FileAnswer::Summed)
            }
            FileWork::Segment(unread) => unread.read(disk).map(FileAnswer::Segment),
            FileWork::Compact(work) => work.carry_out(disk).map(FileAnswer::Compacted),
            FileWork::Install { sync, moves, position, state } => {
                install(disk, sync, moves, *position, state).map(|()| FileAnswer::Installed)
            }
        };
        done.unwrap_or_else(FileAnswer::Failed)
    }

    /// Whether this writes: a failure then ends the process.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(
            self,
            FileWork::Write { .. }
                | FileWork::Sum { sync: Some(_), .. }
                | FileWork::Compact(CompactWork::Rewrite(_))
                | FileWork::Install { .. }
        )
    }
}

fn make_durable(disk: &mut dyn Disk, file: &FileName, again: u64) -> Result<(), DiskError> {
    let mut offset = 0;
    while offset < again {
        let bytes = disk.read(file, offset, AGAIN_BYTES.min(again - offset) as usize)?;
        disk.write(file, offset, &bytes)?;
        offset += bytes.len() as u64;
    }
    disk.sync(file)
}

fn look(disk: &dyn Disk, file: &FileName, bytes: u64) -> Result<Proven, DiskError> {
    let mut proven = partition::verify(disk, file, bytes)?;
    if file.last().ends_with(".checkpoint") && proven.damaged.is_empty() {
        let whole = disk.read(file, 0, usize::try_from(bytes).unwrap_or(usize::MAX))?;
        if !matches!(journal::checkpoint::decode(file, &whole), Ok(Ok(_))) {
            proven.damaged.push(0..bytes);
        }
    }
    Ok(proven)
}

fn install(
    disk: &mut dyn Disk,
    sync: &[FileName],
    moves: &[(FileName, FileName)],
    position: WalPosition,
    state: &[u8],
) -> Result<(), DiskError> {
    for file in sync {
        match disk.sync(file) {
            // A log that was deleted meanwhile needs no sync.
            Err(DiskError::Missing(_)) => {}
            other => other?,
        }
    }
    for (from, to) in moves {
        disk.rename(from, to)?;
    }
    // Twice: should the newest checkpoint be damaged one day, the one before must hold the copy too. Of what was copied,
    // the WAL holds nothing.
    for _ in 0..2 {
        let draft = Draft::write(disk, &FileName::root().join("checkpoint"), position, state)?;
        disk.sync(&draft.file())?;
        draft.commit(disk)?;
    }
    Ok(())
}

/// What a task was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A peer asked.
    Give(entry::SiteId, crate::donor::Ask),
    /// A peer asked, over a link that is gone, and with it the room that was set aside.
    Unasked,
    /// A part of a file that is being copied is written, or the whole of it summed up.
    Copy(FileName),
    /// A copy is put in force.
    Install,
    /// Whether so much of a file is what it must be.
    Look(FileName, u64),
    /// A damaged range is overwritten.
    Mend(FileName),
    /// What a segment of the WAL holds, or whether it still does.
    Segment(FileName),
    /// A log is compacted.
    Compact,
}

/// The tasks under way.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    next_id: u64,
    pub(crate) running: BTreeMap<u64, Purpose>,
}

impl Tasks {
    /// Orders a task.
    pub(crate) fn order(&mut self, purpose: Purpose, work: FileWork, step: &mut Step<'_>) {
        let id = self.next_id;
        self.next_id += 1;
        self.running.insert(id, purpose);
        step.out.push(Action::Files(FileTask { id, work }));
    }

    /// What a site has asked for over its former link is of no use to it: it asks anew.
    pub(crate) fn unask(&mut self, by: entry::SiteId) {
        let asked = |purpose: &&mut Purpose| matches!(purpose, Purpose::Give(site, _) if *site == by);
        self.running.values_mut().filter(asked).for_each(|purpose| *purpose = Purpose::Unasked);
    }
}

impl Site {
    /// A task is done.
    pub(crate) fn files_done(
        &mut self,
        id: u64,
        answer: FileAnswer,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        let purpose = self.state.tasks.running.remove(&id).expect("the shell answers each task once");
        match purpose {
            Purpose::Give(site, ask) => self.given(site, ask, answer, step),
            Purpose::Unasked => {}
            Purpose::Copy(file) => self.copy_file_done(&file, answer, step)?,
            Purpose::Install => self.install_done(answer, step)?,
            Purpose::Look(file, bytes) => self.looked(&file, bytes, answer, step)?,
            Purpose::Mend(file) => self.mended(&file, answer, step)?,
            Purpose::Segment(file) => self.segment_read(&file, answer, step),
            Purpose::Compact => self.compacted(answer, step)?,
        }
        Ok(())
    }
}
