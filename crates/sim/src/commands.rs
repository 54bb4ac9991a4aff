//! What `sim` can be told to do, beyond running seeds.

pub mod exhaust;

use std::thread;

/// As many threads as there are cores.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
