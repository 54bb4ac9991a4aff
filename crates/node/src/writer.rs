//! The two threads that wait for the disk: one for the WAL, one for checkpoints.
//!
//! They do as they are told and report back. A failed write or sync ends the process on the spot: what the kernel keeps
//! of a page after a failed flush is not what the disk holds, so nothing may be retried and nothing more acknowledged.
//! A disk that is about to be full is another matter: it is found out before a write, and the site tries again.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use admin::WalMetrics;
use bytes::Bytes;
use disk::{Disk as _, DiskError, FileName};
use journal::checkpoint::Draft;
use journal::{WalOp, WalPosition, WalWrite};
use site::{Event, FileAnswer, FileTask, FileWork};
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Command;
use crate::files::{Files, failed, unsynced};

/// Something for a disk thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write to the WAL and sync.
    Write(WalWrite),
    /// Make a WAL segment ready ahead of its use.
    Prepare(WalOp),
    /// Sync the files, then write the checkpoint.
    Checkpoint { id: u64, sync: Vec<FileName>, position: WalPosition, state: Bytes },
    /// Read, write or look at files of logs and copies.
    Files(FileTask),
}

/// Jobs that may wait for a thread. The site keeps fewer than this under way of every kind, so it never waits itself.
const JOBS_MAX: usize = 1024;

/// A disk thread, and what it works with.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) files: Files,
    /// With less free than this, the disk counts as full; what is left is for logs and checkpoints.
    pub(crate) free_bytes_min: u64,
    pub(crate) metrics: WalMetrics,
    pub(crate) events: UnboundedSender<Command>,
}

impl Writer {
    /// Starts the thread. It ends when the sender of its jobs is dropped.
    pub(crate) fn start(mut self, name: &str) -> std::io::Result<SyncSender<Job>> {
        let (jobs, inbox) = sync_channel(JOBS_MAX);
        thread::Builder::new().name(name.to_owned()).spawn(move || self.work(&inbox))?;
        Ok(jobs)
    }

    fn work(&mut self, inbox: &Receiver<Job>) {
        let mut had_room = true;
        while let Ok(job) = inbox.recv() {
            let event = match job {
                // What frees room again is not held up by the lack of it.
                Job::Checkpoint { id, sync, position, state } => self.checkpoint(id, &sync, position, &state),
                Job::Write(write) => {
                    match self.has_room(write.ops.iter().map(takes_bytes).sum(), &mut had_room) {
                        true => self.write(write),
                        false => Event::WriteRefused { id: write.id },
                    }
                }
                Job::Files(task) => match self.has_room(file_bytes(&task.work), &mut had_room) {
                    true => self.files(&task),
                    false => {
                        let answer = FileAnswer::Failed(DiskError::Full(FileName::root()));
                        Event::FilesDone { id: task.id, answer }
                    }
                },
                Job::Prepare(op) => match self.has_room(takes_bytes(&op), &mut had_room) {
                    true => self.prepare(op),
                    false => Event::Prepared { done: false },
                },
            };
            if self.events.send(Command::Event(event)).is_err() {
                return;
            }
        }
    }

    /// Whether this fits and leaves enough free; says so when that changes.
    fn has_room(&self, takes_bytes: u64, had_room: &mut bool) -> bool {
        if takes_bytes == 0 {
            return true;
        }
        // A file system that does not tell is asked by writing.
        let Ok(free_bytes) = self.files.free_bytes() else { return true };
        let has_room = free_bytes >= self.free_bytes_min.saturating_add(takes_bytes);
        match (*had_room, has_room) {
            (true, false) => tracing::warn!(
                free_bytes,
                "the disk is full but for what logs and checkpoints may need: writes wait until it has more"
            ),
            (false, true) => tracing::info!(free_bytes, "the disk has room again"),
            _ => {}
        }
        *had_room = has_room;
        has_room
    }

    fn write(&mut self, write: WalWrite) -> Event {
        let (id, bytes, began) = (write.id, write.bytes(), Instant::now());
        match carry_out(&mut self.files, write) {
            Ok(()) => {
                self.metrics.written(bytes as u64, began.elapsed().as_secs_f64());
                Event::Written { id }
            }
            Err(error) if error.is_full() => Event::WriteRefused { id },
            Err(error) => stop_now(&error),
        }
    }

    fn prepare(&mut self, op: WalOp) -> Event {
        match carry_out_one(&mut self.files, op) {
            Ok(()) => Event::Prepared { done: true },
            Err(error) if error.is_full() => Event::Prepared { done: false },
            Err(error) => stop_now(&error),
        }
    }

    fn files(&mut self, task: &FileTask) -> Event {
        match task.work.carry_out(&mut self.files) {
            FileAnswer::Failed(error) if task.work.writes() && !error.is_full() => stop_now(&error),
            answer => Event::FilesDone { id: task.id, answer },
        }
    }

    fn checkpoint(&mut self, id: u64, sync: &[FileName], position: WalPosition, state: &Bytes) -> Event {
        match write_checkpoint(&mut self.files, sync, position, state) {
            Ok(position) => Event::Checkpointed { id, drop_before: Some(position) },
            Err(error) if error.is_full() => Event::Checkpointed { id, drop_before: None },
            Err(error) => stop_now(&error),
        }
    }
}

/// What a task on files takes of the disk.
fn file_bytes(work: &FileWork) -> u64 {
    match work {
        FileWork::Write { bytes, .. } => bytes.len() as u64,
        FileWork::Compact(work) => partition::Pass::bytes_of(work),
        _ => 0,
    }
}

/// What an operation takes of the disk, sooner or later and at most.
fn takes_bytes(op: &WalOp) -> u64 {
    /// What is durable goes into the logs next, and there a full disk would be the end of the process.
    const COPIES: u64 = 2;
    match op {
        WalOp::Prepare { len, .. } => *len,
        WalOp::WriteAt { chunks, .. } => COPIES * chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(),
        WalOp::Sync { .. } => 0,
    }
}

fn carry_out(files: &mut Files, write: WalWrite) -> Result<(), DiskError> {
    write.ops.into_iter().try_for_each(|op| carry_out_one(files, op))
}

fn carry_out_one(files: &mut Files, op: WalOp) -> Result<(), DiskError> {
    match op {
        WalOp::Prepare { file, len, recycle } => prepare(files, &file, len, recycle.as_ref()),
        WalOp::WriteAt { file, offset, chunks } => write_chunks(files, &file, offset, &chunks),
        WalOp::Sync { file } => files.existing(&file)?.sync_data().map_err(|error| unsynced(&file, &error)),
    }
}

/// A new segment is filled with zeros and synced once, so that later syncs have no metadata to commit.
fn prepare(
    files: &mut Files,
    file: &FileName,
    len: u64,
    recycle: Option<&FileName>,
) -> Result<(), DiskError> {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    if let Some(retired) = recycle
        && files.len(retired)?.is_some()
    {
        files.rename(retired, file)?;
    }
    let handle = files.made(file)?;
    let mut at = files.len(file)?.unwrap_or(0);
    if at >= len {
        return Ok(());
    }
    while at < len {
        let bytes = (len - at).min(ZEROS.len() as u64);
        let wrote = handle.write_all_at(&ZEROS[..usize::try_from(bytes).unwrap_or(ZEROS.len())], at);
        if let Err(error) = wrote {
            // What was taken is given back, so that a full disk is not made fuller.
            let _ = files.remove(file);
            return Err(failed(file, &error));
        }
        at += bytes;
    }
    files.sync(file)
}

fn write_chunks(files: &Files, file: &FileName, mut at: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
    /// Chunks below this size are gathered first: a system call costs more than copying them.
    const SMALL_BYTES: usize = 16 << 10;
    let handle = files.existing(file)?;
    let mut gathered = Vec::new();
    for chunk in chunks {
        if chunk.len() < SMALL_BYTES {
            gathered.write_all(chunk).map_err(|error| failed(file, &error))?;
            if gathered.len() < 16 * SMALL_BYTES {
                continue;
            }
        }
        at = flush(&handle, file, at, &mut gathered)?;
        if chunk.len() >= SMALL_BYTES {
            handle.write_all_at(chunk, at).map_err(|error| failed(file, &error))?;
            at += chunk.len() as u64;
        }
    }
    flush(&handle, file, at, &mut gathered).map(|_| ())
}

fn flush(handle: &std::fs::File, file: &FileName, at: u64, gathered: &mut Vec<u8>) -> Result<u64, DiskError> {
    handle.write_all_at(gathered, at).map_err(|error| failed(file, &error))?;
    let end = at + gathered.len() as u64;
    gathered.clear();
    Ok(end)
}

fn write_checkpoint(
    files: &mut Files,
    sync: &[FileName],
    position: WalPosition,
    state: &Bytes,
) -> Result<WalPosition, DiskError> {
    for file in sync {
        match files.sync(file) {
            // A log that was deleted meanwhile needs no sync.
            Err(DiskError::Missing(_)) => {}
            other => other?,
        }
    }
    let draft = Draft::write(files, &FileName::root().join("checkpoint"), position, state)?;
    files.sync(&draft.file())?;
    draft.commit(files)
}

fn stop_now(error: &DiskError) -> ! {
    tracing::error!(%error, "the disk failed: stopping at once, so that nothing more is acknowledged; check the disk, then restart");
    std::process::exit(crate::EXIT_DISK)
}

#[cfg(test)]
mod tests {
    use admin::Metrics;
    use bytes::Bytes;
    use disk::{Disk as _, FileName};
    use journal::{WalOp, WalWrite};
    use site::Event;
    use tokio::sync::mpsc;

    use super::{Job, Writer, takes_bytes};
    use crate::engine::Command;
    use crate::files::Files;

    fn file() -> FileName {
        FileName::new("wal/1").unwrap()
    }

    fn write(id: u64) -> Job {
        let prepare = WalOp::Prepare { file: file(), len: 8192, recycle: None };
        let chunks = vec![Bytes::from(vec![7; 4096])];
        let ops =
            vec![prepare, WalOp::WriteAt { file: file(), offset: 0, chunks }, WalOp::Sync { file: file() }];
        Job::Write(WalWrite { id, ops })
    }

    /// What a disk thread that is to keep so much free says to these jobs.
    fn said(files: &Files, free_bytes_min: u64, metrics: &Metrics, jobs: Vec<Job>) -> Vec<Event> {
        let (events, mut told) = mpsc::unbounded_channel();
        let writer = Writer { files: files.clone(), free_bytes_min, metrics: metrics.wal.clone(), events };
        let inbox = writer.start("wal").unwrap();
        let mut said = Vec::new();
        for job in jobs {
            inbox.send(job).unwrap();
            let Some(Command::Event(event)) = told.blocking_recv() else { panic!("a job is answered") };
            said.push(event);
        }
        said
    }

    #[test]
    fn a_write_takes_its_segment_and_its_place_in_the_wal_and_in_the_logs() {
        let Job::Write(write) = write(1) else { unreachable!("it is a write") };
        assert_eq!(write.ops.iter().map(takes_bytes).sum::<u64>(), 8192 + 2 * 4096);
    }

    #[test]
    fn nothing_is_written_while_too_little_is_free_and_the_same_write_works_later() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let metrics = Metrics::new("eu-west");
        let spare = || Job::Prepare(WalOp::Prepare { file: file(), len: 4096, recycle: None });
        let refused = said(&files, u64::MAX, &metrics, vec![write(7), spare()]);
        assert!(
            matches!(refused[..], [Event::WriteRefused { id: 7 }, Event::Prepared { done: false }]),
            "{refused:?}"
        );
        assert_eq!(files.len(&file()), Ok(None));
        assert!(metrics.text().contains("meridian_wal_written_bytes_total{site=\"eu-west\"} 0\n"));

        let taken = said(&files, 0, &metrics, vec![write(7)]);
        assert!(matches!(taken[..], [Event::Written { id: 7 }]), "{taken:?}");
        assert_eq!(files.read(&file(), 0, 4096).unwrap(), vec![7; 4096]);
        let text = metrics.text();
        assert!(text.contains("meridian_wal_written_bytes_total{site=\"eu-west\"} 4096\n"), "{text}");
        assert!(text.contains("meridian_wal_write_seconds_count{site=\"eu-west\"} 1\n"), "{text}");
    }
}
