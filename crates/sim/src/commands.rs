//! What `sim` can be told to do.

pub mod exhaust;
pub mod long;
pub mod mutants;
pub mod seeds;
mod shrink;
mod table;
mod words;

use std::thread;

pub use words::Wanted;

/// As many threads as there are cores.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
