//! What a process has used so far, from the kernel's own account in /proc.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::machine::kib;

/// How often resident memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// A process's account at one moment, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    /// Bytes that it made the kernel write to a disk, or will: pages dirtied count at once.
    pub(crate) written_bytes: u64,
}

impl Usage {
    /// Of a running process; zeros of one that is gone.
    pub(crate) fn of(process_id: u32) -> Self {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{process_id}/{file}")).unwrap_or_default();
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        let written_bytes = field(&read("io"), "write_bytes: ");
        Self { cpu_s: cpu_ticks(&read("stat")) as f64 / ticks_per_s, written_bytes }
    }

    /// Of this process.
    pub(crate) fn own() -> Self {
        Self::of(std::process::id())
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - before.cpu_s,
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// User and system ticks of a stat line. The name before them may contain anything, so count from its last parenthesis.
fn cpu_ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|figure| figure.trim().parse().ok()).unwrap_or(0)
}

/// Watches a process's resident memory until asked for its peak.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    process_id: u32,
    peak_kib: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    pub(crate) fn start(process_id: u32) -> std::io::Result<Self> {
        let (peak_kib, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (peak, until) = (Arc::clone(&peak_kib), Arc::clone(&stop));
        let look = move || {
            while !until.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kib(process_id), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(look)?;
        Ok(Self { process_id, peak_kib, stop, thread: Some(thread) })
    }

    /// The most that was resident, in MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        let peak = self.peak_kib.fetch_max(resident_kib(self.process_id), Ordering::Relaxed);
        peak as f64 * 1_024.0 / 1e6
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn resident_kib(process_id: u32) -> u64 {
    kib(&std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default(), "VmRSS")
}

#[cfg(test)]
mod tests {
    use super::{MemoryWatch, Usage, cpu_ticks, field};

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b ( c) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20 0";
        assert_eq!(cpu_ticks(stat), 345);
        assert_eq!(cpu_ticks(""), 0);
        assert_eq!(field("rchar: 5\nwrite_bytes: 4096\n", "write_bytes: "), 4_096);
    }

    #[test]
    fn a_process_finds_itself() {
        let mut spun = 0_u64;
        let before = Usage::own();
        while Usage::own().since(before).cpu_s <= 0.0 {
            spun = std::hint::black_box(spun.wrapping_add(1));
        }
        let watch = MemoryWatch::start(std::process::id()).unwrap();
        assert!(watch.peak_mb() > 0.1 || watch.peak_mb() > 0.1);
    }
}
