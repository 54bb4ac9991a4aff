//! The one clock of this crate: the kernel's monotonic clock in nanoseconds.
//!
//! `std::time::Instant` would hide the number, but a timer descriptor and a packet's due time must be on the same
//! scale to the nanosecond, and a due time has to fit in a heap key.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a millisecond, as links are described in the one and scheduled in the other.
pub(crate) const NANOS_PER_MS: f64 = 1_000_000.0;

/// Nanoseconds since an arbitrary zero; never goes back.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("the monotonic clock starts at zero and only grows");
    let nanos = u64::try_from(now.tv_nsec).expect("the kernel keeps nanoseconds within one second");
    seconds * 1_000_000_000 + nanos
}

/// Milliseconds as whole nanoseconds, rounded.
pub(crate) fn ns_of_ms(ms: f64) -> u64 {
    (ms * NANOS_PER_MS).round() as u64
}
