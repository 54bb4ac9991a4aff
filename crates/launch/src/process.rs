//! One site's process: started with its log in a file, asked to stop, or killed. Never anyone else's.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::threads::{Thread, has_exited, threads};

/// Lines of a log that an error shows.
const LOG_LINES: usize = 12;
const POLL: Duration = Duration::from_millis(10);
/// How long the kernel of a busy machine may take for what a process had asked of a disk before it ended.
const KERNEL_PATIENCE: Duration = Duration::from_secs(120);

/// Runs the binary to its end.
pub(crate) fn run(meridian: &Path, arguments: &[&Path]) -> Result<(), LaunchError> {
    let output = Command::new(meridian)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LaunchError::Binary { path: meridian.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let words: Vec<String> = arguments.iter().map(|word| word.display().to_string()).collect();
    Err(LaunchError::Failed { command: format!("meridian {}", words.join(" ")), said })
}

/// How a site ended that was asked to stop.
#[derive(Debug)]
pub enum Stopped {
    /// By itself, in time.
    InTime,
    /// By itself and in time as far as its own code goes; the kernel was done with it only so long after it was asked.
    Held(Duration),
    /// It was killed; this is what its threads were at.
    Killed(Vec<Thread>),
}

/// A site's process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `meridian serve`. What it says is added to the site's log.
    pub(crate) fn start(plan: &Plan, site: &str) -> Result<Self, LaunchError> {
        let path = plan.log(site);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|source| LaunchError::File { path: path.clone(), source })?;
        let twin = log.try_clone().map_err(|source| LaunchError::File { path, source })?;
        let mut command = Command::new(&plan.meridian);
        command.arg("serve").arg("--config").arg(plan.config(site));
        for setting in &plan.settings {
            command.arg("--set").arg(setting);
        }
        if plan.clock(site).exists() {
            command.arg("--test-clock-offset-file").arg(plan.clock(site));
        }
        let child = command.stdin(Stdio::null()).stdout(log).stderr(twin).spawn();
        let child = child.map_err(|source| LaunchError::Binary { path: plan.meridian.clone(), source })?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to stop and waits until it has; kills it after `patience`. One that has ended by then, and is there only because
    /// the kernel is not done with what its threads had asked of a disk, is given longer.
    pub(crate) fn stop(&mut self, site: &str, patience: Duration) -> Result<Stopped, LaunchError> {
        if self.ended().is_some() {
            return Ok(Stopped::InTime);
        }
        let refused = |reason: String| LaunchError::Signal { site: site.to_owned(), reason };
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| refused("its number is no process id".to_owned()))?;
        kill_process(pid, Signal::TERM).map_err(|error| refused(error.to_string()))?;
        let began = Instant::now();
        loop {
            let waited = began.elapsed();
            if self.ended().is_some() {
                return Ok(if waited < patience { Stopped::InTime } else { Stopped::Held(waited) });
            }
            if waited >= KERNEL_PATIENCE || waited >= patience && !has_exited(self.child.id()) {
                let threads = threads(self.child.id());
                self.kill();
                return Ok(Stopped::Killed(threads));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may be gone already, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log.
pub(crate) fn log_end(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
