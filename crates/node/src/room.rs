//! Room on the disk: when it is low, and what is set aside for then.
//!
//! While less than `limits.disk_free_bytes_min` is free the site is told that its disk is low: it takes no records, and
//! uses what is left for what it had taken in before and for what sites tell each other (votes, ceilings, release notes,
//! checkpoints). Of the last eighth nothing goes to the WAL any more: what is durable there goes into the logs next.
//!
//! Whoever else writes to the disk knows nothing of that. So a quarter of the bound is held in a file of zeros, and given
//! back when almost nothing is left: also before a start, which may have to build again what a power cut took from the
//! logs. Thus a site recovers on a disk without a free byte, reads, sends and votes, and takes records when there is room.
//! Where even that is too little, nothing ends: what is durable waits for its place in the logs, and a start waits too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use disk::{Disk as _, DiskError, FileName};
use site::Event;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Command;
use crate::files::Files;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Which part of the bound is set aside.
const RESERVE_SHARE: u64 = 4;
/// Which part of the bound is left to the logs.
const LOGS_SHARE: u64 = 8;

/// The bounds of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    files: Files,
    /// With less free than this the disk is low; 0 for never.
    low_below: u64,
    /// Whether it was low when it was last looked at. Clones share it.
    low: Arc<AtomicBool>,
}

impl Room {
    pub(crate) fn new(files: Files, low_below: u64) -> Room {
        Room { files, low_below, low: Arc::default() }
    }

    /// Whether the disk is low: what a machine that is opened while the node runs has not heard.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// With less free than this nothing is written to the WAL.
    pub(crate) fn logs_bytes(&self) -> u64 {
        self.low_below / LOGS_SHARE
    }

    fn reserve_bytes(&self) -> u64 {
        self.low_below / RESERVE_SHARE
    }

    fn file() -> FileName {
        FileName::root().join("reserve")
    }

    /// Gives back what was set aside if almost nothing else is left.
    ///
    /// # Errors
    /// [`DiskError`] if the file cannot be removed.
    pub(crate) fn give_back(&mut self) -> Result<(), DiskError> {
        let Ok(free_bytes) = self.files.free_bytes() else { return Ok(()) };
        if free_bytes >= self.logs_bytes() || self.files.len(&Room::file())?.is_none() {
            return Ok(());
        }
        tracing::warn!(free_bytes, "the disk is full: using what was set aside in the file `reserve`");
        self.files.remove(&Room::file())
    }

    /// Whether there is room for a start; what was set aside is given back for it.
    pub(crate) fn may_start(&mut self) -> bool {
        if let Err(error) = self.give_back() {
            tracing::warn!(%error, "cannot remove the file `reserve`");
        }
        // A file system that does not tell is found out by writing.
        self.files.free_bytes().map_or(true, |free_bytes| free_bytes >= self.logs_bytes())
    }

    /// What a start that failed like this waits for, and what to do about it.
    pub(crate) fn lack(&self, error: &str) -> String {
        let folder = self.files.root().display();
        let then = match self.logs_bytes() {
            0 => "there is some".to_owned(),
            bytes => format!("{bytes} bytes are free"),
        };
        format!(
            "{folder} has no room for a start ({error}): the site waits, and goes on by itself once {then}; remove other \
             files from that file system, or make it larger"
        )
    }

    /// Looks on a thread of its own, and tells the site when the disk becomes low or has room again.
    pub(crate) fn watch(mut self, events: UnboundedSender<Command>) -> std::io::Result<()> {
        let look = move || {
            loop {
                // A file system that does not tell is found out by writing.
                if let Ok(free_bytes) = self.files.free_bytes()
                    && let Some(low) = self.tend(free_bytes, self.is_low())
                {
                    self.low.store(low, Ordering::Relaxed);
                    if events.send(Command::Event(Event::DiskLow(low))).is_err() {
                        return;
                    }
                }
                if events.is_closed() {
                    return;
                }
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new().name("room".into()).spawn(look).map(drop)
    }

    /// Sets aside, or gives back, as this much is free; returns whether the disk is low, if that has changed.
    fn tend(&mut self, free_bytes: u64, low: bool) -> Option<bool> {
        if let Err(error) = self.give_back() {
            tracing::warn!(%error, "cannot remove the file `reserve`");
        }
        // A little more than the bound, so that it does not flicker.
        let enough = self.low_below.saturating_add(self.logs_bytes());
        if free_bytes >= enough.saturating_add(self.reserve_bytes()) {
            self.set_aside();
        }
        match low {
            false if free_bytes < self.low_below => {
                tracing::warn!(
                    free_bytes,
                    "less is free than limits.disk_free_bytes_min: no records are taken"
                );
                Some(true)
            }
            true if free_bytes >= enough => {
                tracing::info!(free_bytes, "the disk has room again: records are taken");
                Some(false)
            }
            _ => None,
        }
    }

    fn set_aside(&mut self) {
        let (file, bytes) = (Room::file(), self.reserve_bytes());
        if self.files.len(&file).is_ok_and(|held| held == Some(bytes)) {
            return;
        }
        if let Err(error) = self.fill(&file, bytes) {
            tracing::warn!(%error, "cannot set room aside in the file `reserve`; trying again");
            let _ = self.files.remove(&file);
        }
    }

    /// Real zeros: a hole would be nothing to give back.
    fn fill(&mut self, file: &FileName, bytes: u64) -> Result<(), DiskError> {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        self.files.remove(file)?;
        let mut at = 0;
        while at < bytes {
            let chunk = (bytes - at).min(ZEROS.len() as u64);
            self.files.write(file, at, &ZEROS[..usize::try_from(chunk).unwrap_or(ZEROS.len())])?;
            at += chunk;
        }
        if bytes == 0 { Ok(()) } else { self.files.sync(file) }
    }
}

#[cfg(test)]
mod tests {
    use disk::Disk as _;

    use super::Room;
    use crate::files::Files;

    const BOUND: u64 = 64 << 10;

    #[test]
    fn room_is_set_aside_while_there_is_some_and_the_site_hears_of_changes_only() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        let mut room = Room::new(files.clone(), BOUND);
        assert_eq!(room.tend(10 * BOUND, false), None);
        assert_eq!(files.len(&Room::file()), Ok(Some(BOUND / 4)));
        assert_eq!(room.tend(BOUND - 1, false), Some(true));
        assert_eq!(room.tend(BOUND - 1, true), None);
        assert_eq!(room.tend(BOUND, true), None, "it does not flicker");
        assert_eq!(room.tend(2 * BOUND, true), Some(false));
        assert_eq!(files.len(&Room::file()), Ok(Some(BOUND / 4)), "this disk has room all along");
    }

    #[test]
    fn what_was_set_aside_is_given_back_when_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().to_owned());
        files.write(&Room::file(), 0, &[0; 100]).unwrap();
        // No disk has so much free: by this bound it is full.
        Room::new(files.clone(), u64::MAX).give_back().unwrap();
        assert_eq!(files.len(&Room::file()), Ok(None));
        files.write(&Room::file(), 0, &[0; 100]).unwrap();
        Room::new(files.clone(), 8).give_back().unwrap();
        assert_eq!(files.len(&Room::file()), Ok(Some(100)));
    }

    #[test]
    fn without_a_bound_nothing_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        assert_eq!(Room::new(files.clone(), 0).tend(0, false), None);
        assert_eq!(files.len(&Room::file()), Ok(None));
    }
}
