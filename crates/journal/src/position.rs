//! Where a commit stands in the WAL, and how its files are named.

use disk::FileName;
use serde::{Deserialize, Serialize};

/// A place between two commits: what a checkpoint remembers, and where a replay goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WalPosition {
    /// Number of the commit that comes next, dense from 1 over the whole life of the WAL.
    pub lsn: u64,
    /// Number of the segment that holds the commit before.
    pub segment: u32,
    /// Where in that segment the commit before ended. The next one stands here, or at the front of the next segment.
    pub offset: u32,
}

impl WalPosition {
    /// Before the first commit of all.
    pub const START: WalPosition = WalPosition { lsn: 1, segment: 1, offset: 0 };
}

impl Default for WalPosition {
    fn default() -> WalPosition {
        WalPosition::START
    }
}

const SEGMENT: &str = ".wal";
const SPARE: &str = ".spare";

/// `0000000001.wal` in `folder`.
pub(crate) fn segment_file(folder: &FileName, segment: u32) -> FileName {
    folder.join(format!("{segment:010}{SEGMENT}"))
}

/// A prepared or retired file that waits to become a segment.
pub(crate) fn spare_file(folder: &FileName, number: u32) -> FileName {
    folder.join(format!("{number:010}{SPARE}"))
}

pub(crate) fn segment_number(file: &FileName) -> Option<u32> {
    file.last().strip_suffix(SEGMENT)?.parse().ok()
}

pub(crate) fn spare_number(file: &FileName) -> Option<u32> {
    file.last().strip_suffix(SPARE)?.parse().ok()
}
