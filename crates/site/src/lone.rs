//! The state inside a checkpoint without a site: the way in for a fuzzer, which has bytes and no cluster.

use bytes::Bytes;
use disk::FileName;

use crate::checkpoint::Checkpoint;

/// A state as it is written, and the files that it counts on, with how much of each; `None` if the bytes are none.
#[must_use]
pub fn state(bytes: &[u8]) -> Option<(Bytes, Vec<(FileName, u64)>)> {
    let state = Checkpoint::decode(bytes)?;
    Some((state.encode(), state.logs.files().collect()))
}
