//! The two threads that wait for the disk: one for the WAL, one for checkpoints.
//!
//! They do as they are told and report back. A failed write or sync ends the process on the spot: what the kernel keeps
//! of a page after a failed flush is not what the disk holds, so nothing may be retried and nothing more acknowledged.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use disk::{Disk as _, DiskError, FileName};
use journal::checkpoint::Draft;
use journal::{WalOp, WalPosition, WalWrite};
use site::Event;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Command;
use crate::files::{Files, failed};

/// Something for a disk thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write to the WAL and sync.
    Write(WalWrite),
    /// Make a WAL segment ready ahead of its use.
    Prepare(WalOp),
    /// Sync the files, then write the checkpoint.
    Checkpoint { id: u64, sync: Vec<FileName>, position: WalPosition, state: Bytes },
}

/// Starts a disk thread. It ends when its sender is dropped.
pub(crate) fn start(
    name: &str,
    files: Files,
    events: UnboundedSender<Command>,
) -> std::io::Result<SyncSender<Job>> {
    let (jobs, inbox) = sync_channel(4);
    thread::Builder::new().name(name.to_owned()).spawn(move || work(files, &inbox, &events))?;
    Ok(jobs)
}

fn work(mut files: Files, inbox: &Receiver<Job>, events: &UnboundedSender<Command>) {
    while let Ok(job) = inbox.recv() {
        let event = match job {
            Job::Write(write) => {
                let id = write.id;
                match carry_out(&mut files, write) {
                    Ok(()) => Event::Written { id },
                    Err(DiskError::Full(_)) => Event::WriteRefused { id },
                    Err(error) => stop_now(&error),
                }
            }
            Job::Prepare(op) => match carry_out_one(&mut files, op) {
                Ok(()) => Event::Prepared { done: true },
                Err(DiskError::Full(_)) => Event::Prepared { done: false },
                Err(error) => stop_now(&error),
            },
            Job::Checkpoint { id, sync, position, state } => {
                match write_checkpoint(&mut files, &sync, position, &state) {
                    Ok(position) => Event::Checkpointed { id, drop_before: Some(position) },
                    Err(DiskError::Full(_)) => Event::Checkpointed { id, drop_before: None },
                    Err(error) => stop_now(&error),
                }
            }
        };
        if events.send(Command::Event(event)).is_err() {
            return;
        }
    }
}

fn carry_out(files: &mut Files, write: WalWrite) -> Result<(), DiskError> {
    write.ops.into_iter().try_for_each(|op| carry_out_one(files, op))
}

fn carry_out_one(files: &mut Files, op: WalOp) -> Result<(), DiskError> {
    match op {
        WalOp::Prepare { file, len, recycle } => prepare(files, &file, len, recycle.as_ref()),
        WalOp::WriteAt { file, offset, chunks } => write_chunks(files, &file, offset, &chunks),
        WalOp::Sync { file } => files.existing(&file)?.sync_data().map_err(|error| failed(&file, &error)),
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
