//! What all commands are told alike: which binary, where to keep data, where to leave results.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use launch::{Cluster, Network, Plan, PortBlock};
use tempfile::TempDir;
use wan::Link;

use crate::report::Report;

/// How long a cluster may take to be ready: certificates, zero-filled log segments, and a busy machine.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// Where results go.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Leave the report in this folder as DATE-WHAT.{txt,json,html}
    #[arg(long, global = true, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Added to the names of the report's files
    #[arg(long, global = true, value_name = "WORD")]
    label: Option<String>,
}

impl Output {
    /// Prints a report and, if asked for, leaves it in the folder.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<()> {
        let text = crate::text::page(report);
        print!("{text}");
        let Some(folder) = &self.results else { return Ok(()) };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let label = self.label.as_ref().map(|label| format!("-{label}")).unwrap_or_default();
        let stem = format!("{}-{}{label}", report.facts.date(), report.what);
        let json = serde_json::to_string_pretty(report)?;
        for (ending, body) in [("txt", text), ("json", json), ("html", crate::html::page(report))] {
            let path = folder.join(format!("{stem}.{ending}"));
            std::fs::write(&path, body).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        Ok(())
    }
}

/// How clusters of our own are started.
#[derive(Debug, Clone, Args)]
pub(crate) struct Own {
    /// The meridian binary; by default the one beside this one
    #[arg(long, value_name = "FILE")]
    meridian: Option<PathBuf>,
    /// Keep data on this folder's filesystem instead of the system's temporary one; what is made there is removed
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The first of 16 ports for the sites; some that are free by default
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=65_520))]
    port: Option<u16>,
    /// Override a key of every site's configuration, such as journal.segment_bytes=16777216; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// A cluster that runs, and the folder it lives in, which goes when it goes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) cluster: Cluster,
    _ports: PortBlock,
    _folder: TempDir,
}

impl Running {
    /// Gives every link between these sites a delay of half this round trip, and this rate each way.
    pub(crate) fn lay(&self, sites: &[&str], rtt_ms: f64, rate_mbit: f64) -> anyhow::Result<()> {
        let emulator = self.cluster.emulator().context("the sites are joined by the emulator")?;
        for from in sites {
            for to in sites.iter().filter(|to| *to != from) {
                emulator.set(from, to, Link { rate_mbit, ..Link::delayed(rtt_ms / 2.0) })?;
            }
        }
        Ok(())
    }
}

impl Own {
    /// The same with more keys overridden; what the command line says of them counts more.
    pub(crate) fn with(mut self, settings: impl IntoIterator<Item = String>) -> Self {
        self.settings.splice(..0, settings);
        self
    }

    /// A folder of our own on the filesystem that is to be measured.
    pub(crate) fn scratch(&self) -> anyhow::Result<TempDir> {
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("mb-");
            builder
        };
        let made = match &self.folder {
            Some(folder) => builder().tempdir_in(folder),
            None => builder().tempdir(),
        };
        made.context("cannot make a folder for data; name another with --folder")
    }

    /// Starts these sites and waits until all are ready.
    pub(crate) fn start(&self, sites: &[&str], network: Network) -> anyhow::Result<Running> {
        let folder = self.scratch()?;
        let ports = PortBlock::take(self.port, sites.len())?;
        let plan = Plan {
            meridian: self.binary()?,
            folder: folder.path().to_owned(),
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            witness: None,
            network,
            ports: ports.ports(),
            settings: self.settings.clone(),
        };
        let mut cluster = Cluster::found(plan)?;
        cluster.start_all(READY_PATIENCE)?;
        Ok(Running { cluster, _ports: ports, _folder: folder })
    }

    fn binary(&self) -> anyhow::Result<PathBuf> {
        if let Some(binary) = &self.meridian {
            return Ok(binary.clone());
        }
        let own = std::env::current_exe().context("cannot tell where this binary lies")?;
        let beside = own.parent().unwrap_or(Path::new(".")).join("meridian");
        anyhow::ensure!(
            beside.exists(),
            "{} is not there: build it with `cargo build --release -p meridian`, or name it with --meridian",
            beside.display()
        );
        Ok(beside)
    }
}
