//! The state that recovery starts from, kept twice.
//!
//! A checkpoint is written beside the ones in use, synced, and only then given its name; so a crash leaves the old
//! ones or the new one, never half of one. The last two stay: if the newest is damaged, the one before it and a longer
//! replay give the same state. For that the WAL has to reach back to the older one, which [`Draft::commit`] answers with.
//!
//! File `checkpoint/<number>.checkpoint`, big-endian:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..4 | `MCKP` |
//! | 4..6 | format version, 1 |
//! | 6..8 | zero |
//! | 8..16 | number, one more than the one before |
//! | 16..24 | WAL position: lsn |
//! | 24..28 | WAL position: segment |
//! | 28..32 | WAL position: offset |
//! | 32..40 | length of the state in bytes |
//! | 40..72 | BLAKE3 over bytes 0..40 and the state |
//! | 72.. | the state, which means nothing here |

use bytes::Bytes;
use disk::{Disk, DiskError, FileName};
use thiserror::Error;

use crate::WalPosition;

const MAGIC: [u8; 4] = *b"MCKP";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 72;
const SUMMED_BYTES: usize = 40;
const SUFFIX: &str = ".checkpoint";
const DRAFT: &str = "draft";

/// The largest state, in bytes: what a start will hold in memory.
pub const STATE_BYTES_MAX: u64 = 4 << 30;

/// A state and where the WAL goes on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Dense from 1.
    pub number: u64,
    /// The state holds everything before this.
    pub position: WalPosition,
    /// Opaque.
    pub state: Bytes,
}

/// What was found at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The newest whole checkpoint.
    pub checkpoint: Checkpoint,
    /// A newer one that is damaged; to be reported loudly.
    pub damaged: Option<(FileName, Damage)>,
}

/// What is wrong with a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// Not as long as it says, or shorter than any.
    #[error("it is not as long as it says")]
    Length,
    /// Not a checkpoint.
    #[error("it does not begin like a checkpoint")]
    NoHead,
    /// It does not match its checksum.
    #[error("it does not match its checksum")]
    Sum,
}

/// Why there is nothing to start from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// There are checkpoints, and none is whole.
    #[error(
        "no checkpoint is whole; {file}: {damage}. Nothing was changed. Keep a copy of this directory, then repair \
         this site from another: start it with an empty data directory"
    )]
    AllDamaged {
        /// The newest.
        file: FileName,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A newer version wrote it.
    #[error("{file} has checkpoint format {version}: start the version that wrote it, or a newer one")]
    Newer {
        /// The file.
        file: FileName,
        /// Its version.
        version: u16,
    },
    /// A file operation failed: try again once the disk works.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A checkpoint that is written but not yet in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a draft is in force only after its file is synced and it is committed"]
pub struct Draft {
    folder: FileName,
    number: u64,
    position: WalPosition,
}

impl Draft {
    /// Writes a checkpoint beside the ones in use, buffered.
    ///
    /// # Errors
    /// [`DiskError`]; the ones in use are untouched.
    pub fn write(
        disk: &mut dyn Disk,
        folder: &FileName,
        position: WalPosition,
        state: &[u8],
    ) -> Result<Draft, DiskError> {
        assert!(
            state.len() as u64 <= STATE_BYTES_MAX,
            "a state of {} bytes could not be read back",
            state.len()
        );
        let number = numbers(disk, folder)?.last().map_or(1, |newest| newest + 1);
        let draft = Draft { folder: folder.clone(), number, position };
        let file = draft.file();
        disk.remove(&file)?;
        disk.write(&file, 0, &encode_head(number, position, state))?;
        disk.write(&file, HEAD_BYTES as u64, state)?;
        Ok(draft)
    }

    /// The file to sync before [`Draft::commit`].
    #[must_use]
    pub fn file(&self) -> FileName {
        self.folder.join(DRAFT)
    }

    /// Puts the synced draft in force and drops all but the last two. Answers up to where the WAL may be dropped: the position
    /// of the older one kept, or the start while there is only one.
    ///
    /// # Errors
    /// [`DiskError`]; either the old ones or the new one are in force.
    pub fn commit(self, disk: &mut dyn Disk) -> Result<WalPosition, DiskError> {
        let older = newest_whole(disk, &self.folder)?;
        disk.rename(&self.file(), &name(&self.folder, self.number))?;
        let kept = [Some(self.number), older.as_ref().map(|older| older.number)];
        for number in numbers(disk, &self.folder)? {
            if !kept.contains(&Some(number)) {
                disk.remove(&name(&self.folder, number))?;
            }
        }
        Ok(older.map_or(WalPosition::START, |older| older.position))
    }
}

/// The newest whole checkpoint in `folder`; `None` if there never was one.
///
/// # Errors
/// [`CheckpointError`]; nothing is changed.
pub fn read(disk: &dyn Disk, folder: &FileName) -> Result<Option<Found>, CheckpointError> {
    let mut damaged = None;
    for number in numbers(disk, folder)?.into_iter().rev() {
        match read_one(disk, folder, number)? {
            Ok(checkpoint) => return Ok(Some(Found { checkpoint, damaged })),
            Err(damage) => damaged = damaged.or(Some((name(folder, number), damage))),
        }
    }
    match damaged {
        Some((file, damage)) => Err(CheckpointError::AllDamaged { file, damage }),
        None => Ok(None),
    }
}

/// The file of the newest checkpoint in `folder`, and its length.
///
/// # Errors
/// [`DiskError`] if the folder cannot be read.
pub fn newest(disk: &dyn Disk, folder: &FileName) -> Result<Option<(FileName, u64)>, DiskError> {
    let Some(number) = numbers(disk, folder)?.pop() else { return Ok(None) };
    let file = name(folder, number);
    Ok(disk.len(&file)?.map(|len| (file, len)))
}

fn newest_whole(disk: &dyn Disk, folder: &FileName) -> Result<Option<Checkpoint>, DiskError> {
    for number in numbers(disk, folder)?.into_iter().rev() {
        match read_one(disk, folder, number) {
            Ok(Ok(checkpoint)) => return Ok(Some(checkpoint)),
            Err(CheckpointError::Disk(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

fn read_one(
    disk: &dyn Disk,
    folder: &FileName,
    number: u64,
) -> Result<Result<Checkpoint, Damage>, CheckpointError> {
    let file = name(folder, number);
    let len = disk.len(&file)?.unwrap_or(0);
    if len < HEAD_BYTES as u64 || len - HEAD_BYTES as u64 > STATE_BYTES_MAX {
        return Ok(Err(Damage::Length));
    }
    let bytes = disk.read(&file, 0, len as usize)?;
    match decode(&file, &bytes)? {
        Ok(found) if found.number != number => Ok(Err(Damage::Length)),
        other => Ok(other),
    }
}

/// Reads the bytes of a checkpoint file, wherever they come from.
///
/// # Errors
/// [`CheckpointError::Newer`]; what is wrong with bytes of a known version is the inner error.
pub fn decode(file: &FileName, bytes: &Bytes) -> Result<Result<Checkpoint, Damage>, CheckpointError> {
    if bytes.len() < HEAD_BYTES {
        return Ok(Err(Damage::Length));
    }
    if bytes[..4] != MAGIC {
        return Ok(Err(Damage::NoHead));
    }
    let state = bytes.slice(HEAD_BYTES..);
    if sum(&bytes[..SUMMED_BYTES], &state) != bytes[SUMMED_BYTES..HEAD_BYTES] {
        return Ok(Err(Damage::Sum));
    }
    let version = number_at(bytes, 4, 2) as u16;
    if version != VERSION {
        return Err(CheckpointError::Newer { file: file.clone(), version });
    }
    if number_at(bytes, 32, 8) != state.len() as u64 {
        return Ok(Err(Damage::Length));
    }
    let number = number_at(bytes, 8, 8);
    let position = WalPosition {
        lsn: number_at(bytes, 16, 8),
        segment: number_at(bytes, 24, 4) as u32,
        offset: number_at(bytes, 28, 4) as u32,
    };
    Ok(Ok(Checkpoint { number, position, state }))
}

fn encode_head(number: u64, position: WalPosition, state: &[u8]) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&VERSION.to_be_bytes());
    out[8..16].copy_from_slice(&number.to_be_bytes());
    out[16..24].copy_from_slice(&position.lsn.to_be_bytes());
    out[24..28].copy_from_slice(&position.segment.to_be_bytes());
    out[28..32].copy_from_slice(&position.offset.to_be_bytes());
    out[32..40].copy_from_slice(&(state.len() as u64).to_be_bytes());
    let sum = sum(&out[..SUMMED_BYTES], state);
    out[SUMMED_BYTES..].copy_from_slice(&sum);
    out
}

fn sum(head: &[u8], state: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(head).update(state).finalize().as_bytes()
}

fn number_at(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn name(folder: &FileName, number: u64) -> FileName {
    folder.join(format!("{number:010}{SUFFIX}"))
}

/// Numbers of the checkpoints in `folder`, rising.
fn numbers(disk: &dyn Disk, folder: &FileName) -> Result<Vec<u64>, DiskError> {
    let number = |file: &FileName| file.last().strip_suffix(SUFFIX)?.parse().ok();
    let mut numbers: Vec<u64> = disk.list(folder)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
