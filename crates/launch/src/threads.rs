//! What the threads of a process are at, as proc(5) has it.

use std::fmt;
use std::path::Path;

/// A thread as it was seen.
#[derive(Debug, Clone)]
pub struct Thread {
    /// What it calls itself.
    pub name: String,
    /// Its state, a letter; none if it has just ended.
    pub state: Option<char>,
    /// Where in the kernel it waits; empty or 0 if it does not.
    pub waits_in: String,
}

/// The threads of a process; none if there is no such process.
#[must_use]
pub fn threads(process: u32) -> Vec<Thread> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    threads.flatten().map(|thread| look(&thread.path())).collect()
}

/// Whether a process runs no more of its own code and is there only because some of its threads, which have been told to end,
/// are in the middle of a disk's operation.
pub(crate) fn is_held_by_a_disk(threads: &[Thread]) -> bool {
    let ended = |thread: &Thread| matches!(thread.state, Some('Z' | 'X') | None);
    threads.iter().any(ended) && threads.iter().all(|thread| ended(thread) || thread.state == Some('D'))
}

fn look(thread: &Path) -> Thread {
    let said = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
    let state = said("stat").rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    Thread { name: said("comm").trim().to_owned(), state, waits_in: said("wchan").trim().to_owned() }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.state.unwrap_or('?'), self.waits_in)
    }
}

#[cfg(test)]
mod tests {
    use super::{Thread, is_held_by_a_disk, threads};

    #[test]
    fn who_waits_for_a_disk_alone_is_told_from_who_runs() {
        let held = |states: &str| {
            let thread = |state| Thread { name: String::new(), state: Some(state), waits_in: String::new() };
            is_held_by_a_disk(&states.chars().map(thread).collect::<Vec<_>>())
        };
        assert!(held("ZD") && held("ZZDD"));
        assert!(!held("SD") && !held("ZSD") && !held("D") && !held("RS"));
    }

    /// A thread that waits is named, with its state.
    #[test]
    fn threads_are_told() {
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let sleeper = std::thread::Builder::new().name("sleeper".to_owned()).spawn(move || wait.recv());
        let said =
            || threads(std::process::id()).iter().map(Thread::to_string).collect::<Vec<_>>().join(", ");
        while !said().contains("sleeper S ") {
            std::thread::yield_now();
        }
        drop(hold);
        assert!(sleeper.expect("a thread").join().expect("no panic").is_err());
    }
}
