//! System calls that fail or are slow, through `strace` attached to a running site.
//!
//! A traced process stops at every system call, so it is slow all over while this lasts: a gray failure is part of either
//! fault. The tracer is told to go with SIGTERM, after which it lets the site go on untouched.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// The calls that make data durable.
const SYNCS: &str = "fdatasync,fsync";

/// A tracer at work.
#[derive(Debug)]
pub(crate) struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    /// Every sync takes so much longer.
    pub(crate) fn slow_syncs(process: u32, delay_ms: u64, log: &Path) -> anyhow::Result<Self> {
        Self::attach(process, &format!("inject={SYNCS}:delay_enter={}", delay_ms * 1_000), log)
    }

    /// The next sync of each thread fails.
    pub(crate) fn failed_sync(process: u32, log: &Path) -> anyhow::Result<Self> {
        Self::attach(process, &format!("inject={SYNCS}:error=EIO:when=1"), log)
    }

    fn attach(process: u32, what: &str, log: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-e", &format!("trace={SYNCS}"), "-e", what]);
        command.args(["-p", &process.to_string(), "-o"]).arg(log);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().context("cannot run strace")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Whether a call was made to fail or wait so far.
    pub(crate) fn has_struck(&self) -> bool {
        std::fs::read_to_string(&self.log)
            .is_ok_and(|log| log.contains("INJECTED") || log.contains("DELAYED"))
    }

    /// Lets the site go.
    pub(crate) fn detach(&mut self) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(process)) = (self.child.try_wait(), process) {
            // It may have gone with the site meanwhile.
            let _ = kill_process(process, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Whether processes can be traced here.
pub(crate) fn available() -> bool {
    let probe = Command::new("strace").args(["-q", "-o", "/dev/null", "true"]).status();
    probe.is_ok_and(|status| status.success())
}
