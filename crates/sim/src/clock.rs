//! The clocks that a site sees: never quite right, sometimes wrong.
//!
//! The simulator alone knows true time. A site's wall clock has an offset that jumps and a rate that drifts; its
//! monotonic clock begins anew with every process and drifts along, but never goes back.

use clock::Now;

/// Unix milliseconds at which true time begins.
pub const BASE_UNIX_MS: u64 = 1_790_000_000_000;

/// One site's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SimClock {
    /// How far the wall clock is off, in milliseconds.
    pub offset_ms: i64,
    /// How much too fast both clocks run, in parts per million.
    pub drift_ppm: i64,
    /// True time at which the process began, in microseconds.
    pub began_us: u64,
}

impl SimClock {
    /// What the site sees at a true time.
    #[must_use]
    pub fn now(&self, true_us: u64) -> Now {
        let wall_us = drifted(true_us, self.drift_ppm);
        let wall_ms = i64::try_from(BASE_UNIX_MS + wall_us / 1000).unwrap_or(i64::MAX) + self.offset_ms;
        Now {
            mono_us: wall_us - drifted(self.began_us, self.drift_ppm),
            wall_ms: u64::try_from(wall_ms).unwrap_or(0),
        }
    }

    /// The true time at which the monotonic clock shows `mono_us`.
    #[must_use]
    pub fn true_us(&self, mono_us: u64) -> u64 {
        let seen = i128::from(mono_us) + i128::from(drifted(self.began_us, self.drift_ppm));
        let exact = seen * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        u64::try_from(exact).unwrap_or(u64::MAX) + 1
    }
}

fn drifted(true_us: u64, ppm: i64) -> u64 {
    let moved = i128::from(true_us) + i128::from(true_us) * i128::from(ppm) / 1_000_000;
    u64::try_from(moved).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{BASE_UNIX_MS, SimClock};

    #[test]
    fn a_clock_is_off_as_it_is_told() {
        let clock = SimClock { offset_ms: -200, drift_ppm: 1000, began_us: 5_000_000 };
        let now = clock.now(10_000_000);
        assert_eq!((now.mono_us, now.wall_ms), (5_005_000, BASE_UNIX_MS + 10_010 - 200));
        let back = clock.true_us(now.mono_us);
        assert!((10_000_000..=10_000_002).contains(&back), "{back}");
    }
}
