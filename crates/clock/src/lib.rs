//! Stamps and the hybrid logical clock, as values that are told the time.
//!
//! Time is here to order what different sites say and to know that nothing older can still come. It is never trusted
//! to be right, only to increase: a stamp is never given twice and never below an earlier one, across restarts and
//! whatever the wall clock does. Where that collides with staying near the wall clock, the write waits.
//!
//! This room never reads a clock: whoever calls says what time it is, as a [`Now`].

mod hybrid;
mod stamp;
mod wall;

pub use hybrid::{CEILING_RESERVE_MS, CEILING_SPARE_MS, HybridClock, MintError, ObserveError};
pub use stamp::Stamp;
pub use wall::Now;

#[cfg(test)]
mod tests;
