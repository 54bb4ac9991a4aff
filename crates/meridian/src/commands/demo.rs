//! `meridian demo`: its arguments. The demo itself is the module [`crate::demo`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::demo::{self, Wishes};

/// Run several sites on this machine, with the round trips of a real cloud between them, and show what the queue does.
///
/// Writes at every site, reads everywhere, cuts one region off, goes on writing in it, heals, and compares. The sites are
/// processes of this binary at 127.0.0.1, .2, .3 …, Kafka ports 9092, 9093, 9094 …; they end with the demo.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many regions
    #[arg(long, default_value = "3", value_parser = PossibleValuesParser::new(["3", "5"]).map(|n| if n == "5" { 5_usize } else { 3 }))]
    regions: usize,
    /// Leave the sites up when the story is told, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Keep configurations, certificates, data and logs in this folder, which must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        demo::run(Wishes { regions: self.regions, keep: self.keep, data: self.data }).await
    }
}
