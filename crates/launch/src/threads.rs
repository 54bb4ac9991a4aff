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

/// Whether a process has exited: its first thread is gone, and so are the others as soon as they leave the kernel.
pub(crate) fn has_exited(process: u32) -> bool {
    matches!(look(Path::new(&format!("/proc/{process}/task/{process}"))).state, Some('Z' | 'X'))
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
    use super::{Thread, has_exited, threads};

    /// Until somebody asks how it ended, a process that has exited is still there.
    #[test]
    fn who_has_exited_is_told_from_who_runs() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        assert!(!has_exited(child.id()));
        drop(child.stdin.take());
        while !has_exited(child.id()) {
            std::thread::yield_now();
        }
        assert!(child.wait().expect("a child").success());
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
