//! Runs a program where one can see it, and stops at the first that fails.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository's root")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A binary of the dev profile.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A program to run, in the repository's root.
pub(crate) struct Step {
    command: Command,
}

impl Step {
    pub(crate) fn program(program: impl AsRef<OsStr>) -> Step {
        let mut command = Command::new(program);
        command.current_dir(root());
        Step { command }
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(arguments: &[&str]) -> Step {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        Step::program(cargo).with(arguments)
    }

    pub(crate) fn built(name: &str) -> Step {
        Step::program(built(name))
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Step {
        self.command.args(arguments);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &Path) -> Step {
        self.command.env(name, value);
        self
    }

    /// Runs it with its output in view; anything but success is an error.
    pub(crate) fn run(mut self, what: &str) -> anyhow::Result<()> {
        println!("\n== {what}\n   {}", self.line());
        let began = Instant::now();
        let status = self.command.status().with_context(|| format!("cannot run {}", self.line()))?;
        let took_s = began.elapsed().as_secs_f64();
        anyhow::ensure!(status.success(), "{what}: failed after {took_s:.1} s ({status}): {}", self.line());
        println!("== {what}: done in {took_s:.1} s");
        Ok(())
    }

    /// Runs it in our place, as the last step there is: signals then reach it, and its exit code whoever asked.
    pub(crate) fn take_over(mut self, what: &str) -> anyhow::Result<()> {
        println!("\n== {what}\n   {}", self.line());
        let error = self.command.exec();
        Err(error).with_context(|| format!("cannot run {}", self.line()))
    }

    /// Whether it runs at all, with nothing shown.
    pub(crate) fn succeeds(mut self) -> bool {
        let silent = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|status| status.success())
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}
