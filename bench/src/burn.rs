//! Burning CPU and doing nothing else: the control of a measurement in which something else used some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A thread burns and rests for so long at a time: less than a scheduler would let it go on.
const PERIOD: Duration = Duration::from_millis(2);

/// Threads that burn until this is dropped.
#[derive(Debug)]
pub(crate) struct Burn {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burn {
    /// As much as so many cores would, spread over as many threads as the machine has cores.
    pub(crate) fn start(cores: f64) -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let share = (cores / count as f64).clamp(0.0, 1.0);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..count {
            let until = Arc::clone(&stop);
            let burn = move || {
                let began = Instant::now();
                while !until.load(Ordering::Relaxed) {
                    // What was not to be had for a while, on a busy machine, is made up for.
                    match burnt() < began.elapsed().mul_f64(share) {
                        true => spin(),
                        false => std::thread::sleep(PERIOD),
                    }
                }
            };
            threads.push(std::thread::Builder::new().name("burn".to_owned()).spawn(burn)?);
        }
        Ok(Self { stop, threads })
    }
}

/// CPU time of this thread.
fn burnt() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn spin() {
    let began = Instant::now();
    while began.elapsed() < PERIOD {
        std::hint::spin_loop();
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Burn;
    use crate::usage::Usage;

    #[test]
    fn it_burns_until_it_is_dropped() {
        let before = Usage::own();
        let burn = Burn::start(1.0).unwrap();
        while Usage::own().since(before).cpu_s < 0.05 {
            std::thread::yield_now();
        }
        drop(burn);
    }
}
