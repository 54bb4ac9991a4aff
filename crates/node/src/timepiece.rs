//! What time it is, as the core is told it.
//!
//! Tests with real processes need clocks that are wrong, and that are set while a site runs. So a site can be told to
//! read an offset from a file, again and again; only the hidden flag `meridian serve --test-clock-offset-file` does that,
//! no configuration, and the log says so at the start.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clock::Now;
use tokio::time::Instant as Deadline;

/// Which wall clock a site goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WallClock {
    /// The machine's.
    Real,
    /// For tests: the machine's, and the milliseconds that this file says; 0 while it says nothing.
    Offset(PathBuf),
}

/// Monotonic and wall time, as the core is told them.
#[derive(Debug, Clone)]
pub(crate) struct Timepiece {
    began_us: u64,
    offset_ms: Arc<AtomicI64>,
}

/// Time since the machine was booted, sleep included: waking up must not look like a jump of the wall clock.
fn boot_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

impl Timepiece {
    pub(crate) fn start(wall: &WallClock) -> std::io::Result<Timepiece> {
        let offset_ms = Arc::new(AtomicI64::new(0));
        if let WallClock::Offset(file) = wall {
            follow(file.clone(), Arc::clone(&offset_ms))?;
        }
        Ok(Timepiece { began_us: boot_us(), offset_ms })
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now {
            mono_us: boot_us().saturating_sub(self.began_us),
            wall_ms: wall_ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed)),
        }
    }

    /// When so much time will have passed. (Counted from now: the runtime's own clock stands still while the machine sleeps.)
    pub(crate) fn at(&self, mono_us: u64) -> Deadline {
        Deadline::now() + Duration::from_micros(mono_us.saturating_sub(self.now().mono_us))
    }
}

/// Keeps the offset as the file has it. The first reading is there when this returns.
fn follow(file: PathBuf, offset_ms: Arc<AtomicI64>) -> std::io::Result<()> {
    /// Short against what any test waits for.
    const EVERY: Duration = Duration::from_millis(20);
    tracing::warn!(file = %file.display(), "a test shifts this site's wall clock");
    let read = move || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        offset_ms.store(text.trim().parse().unwrap_or(0), Ordering::Relaxed);
    };
    read();
    let forever = move || {
        loop {
            thread::sleep(EVERY);
            read();
        }
    };
    thread::Builder::new().name("shifted-clock".to_owned()).spawn(forever).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Timepiece, WallClock};

    #[test]
    fn after_a_sleep_of_the_machine_a_tick_comes_in_time() {
        let mut timepiece = Timepiece::start(&WallClock::Real).unwrap();
        // As if the machine had slept for twenty minutes, or as long as it has been up.
        timepiece.began_us = timepiece.began_us.saturating_sub(1_200_000_000);
        let due = timepiece.at(timepiece.now().mono_us + 50_000);
        assert!(due.saturating_duration_since(Deadline::now()).as_millis() <= 50);
    }
}
