//! One process per data directory.
//!
//! The operating system's lock does it; a note with the owner's process id is left for people, and for file systems that
//! forget locks.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use journal::owner::{FILE, Owner};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// A held data directory; it is given back when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: File,
}

/// Why the directory was not taken.
#[derive(Debug, Error)]
pub enum HoldError {
    /// Another process has it.
    #[error(
        "the data directory {folder} is in use by process {process}: stop that one first, or use another directory"
    )]
    InUse {
        /// The directory.
        folder: String,
        /// Who has it, as far as is known.
        process: String,
    },
    /// It cannot be used at all.
    #[error("cannot use the data directory {folder}: {cause}")]
    Unusable {
        /// The directory.
        folder: String,
        /// What the operating system said.
        cause: std::io::Error,
    },
}

/// Takes the directory, making it if need be.
pub(crate) fn take(folder: &Path, since_ms: u64) -> Result<Hold, HoldError> {
    let name = folder.display().to_string();
    let unusable = |cause| HoldError::Unusable { folder: name.clone(), cause };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let path = folder.join(FILE);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = options.map_err(unusable)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        let process = Owner::decode(&text).map_or("unknown".to_owned(), |owner| owner.process.to_string());
        return Err(HoldError::InUse { folder: name, process });
    }
    let nonce = crate::files::random().map(u128::from_le_bytes).map_err(unusable)?;
    let note = Owner { nonce, process: std::process::id(), since_ms };
    let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
    match written.and_then(|_| file.write_all(note.encode().as_bytes())) {
        // The lock is what counts.
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            tracing::warn!("no room to note in {name} which process has it");
        }
        other => other.map_err(unusable)?,
    }
    Ok(Hold { _file: file })
}

#[cfg(test)]
mod tests {
    use super::{HoldError, take};

    #[test]
    fn a_directory_in_use_is_refused_with_its_owner_named() {
        let folder = tempfile::tempdir().unwrap();
        let held = take(folder.path(), 1).unwrap();
        let refused = take(folder.path(), 2).unwrap_err();
        assert!(
            matches!(&refused, HoldError::InUse { process, .. } if *process == std::process::id().to_string())
        );
        drop(held);
        take(folder.path(), 3).unwrap();
    }
}
