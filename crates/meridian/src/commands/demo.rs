//! `meridian demo`: three sites on this machine. Not written yet.

use std::process::ExitCode;

use clap::Args;

/// What the demo can be told.
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    #[expect(clippy::unused_async, reason = "the demo will start sites and wait for them")]
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("the demo is not there yet; start sites with `meridian serve`")
    }
}
