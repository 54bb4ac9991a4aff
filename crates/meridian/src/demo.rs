//! The demo: a queue over several regions, on one machine, told step by step.
//!
//! Everything in it is the real thing: the sites are processes of this binary started as an operator would start them, records
//! go in and out through the Kafka protocol, `verify` is the command of that name. Only the distances are emulated, with the
//! round trips of datacenters/rtt.toml.
//!
//! It leaves nothing behind: sites, emulator and, unless a folder was named, files go when it ends, is interrupted or fails.

mod board;
mod logs;
mod region;
mod screen;
mod story;
mod together;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use launch::{Cluster, Network, Plan, Ports};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::block_in_place;
use wan::Matrix;

use crate::demo::screen::Screen;

/// What the demo can be told.
pub(crate) struct Wishes {
    /// How many regions: 3 or 5.
    pub(crate) regions: usize,
    /// Leave the sites up at the end.
    pub(crate) keep: bool,
    /// Where files go, if they are to stay.
    pub(crate) data: Option<PathBuf>,
}

/// Regions in the order of their numbers.
const REGIONS: [&str; 5] = ["eu-west", "us-east", "ap-southeast", "us-west", "sa-east"];
/// Within the binary, so that it needs no repository beside it.
const ROUND_TRIPS: &str = include_str!("../../../datacenters/rtt.toml");
/// How long all sites together may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// A demo's journals are short: small segments, soon zero-filled. And clients go home soon.
const SETTINGS: [&str; 4] = [
    "journal.segment_bytes=16777216",
    "journal.segments_spare=1",
    "limits.disk_free_bytes_min=67108864",
    "peers.home_after_ms=3000",
];

/// Tells the whole story, or as much as happens before Ctrl-C.
pub(crate) async fn run(wishes: Wishes) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let folder = Folder::choose(wishes.data.as_deref())?;
    let mut screen = Screen::new();
    let matrix = Matrix::parse(ROUND_TRIPS).context("the built-in round trips")?;
    screen.title(wishes.regions);
    let names: Vec<String> = REGIONS[..wishes.regions].iter().map(|name| (*name).to_owned()).collect();
    let plan = Plan {
        meridian: std::env::current_exe().context("cannot find my own binary")?,
        folder: folder.path.clone(),
        sites: names,
        witness: None,
        network: Network::Emulated { matrix: matrix.clone(), seed: 0, guests: Vec::new() },
        ports: Ports::default(),
        settings: SETTINGS.map(str::to_owned).to_vec(),
    };
    let step = screen.begin("Certificates, a configuration and a data directory for each region");
    let mut cluster = block_in_place(|| Cluster::found(plan)).map_err(explained)?;
    screen.done(step, &format!("in {}", folder.path.display()));

    let outcome = tokio::select! {
        outcome = Box::pin(story::tell(&mut cluster, &matrix, &mut screen, wishes.keep)) => Some(outcome),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    screen.settle();
    let stopped = end(cluster).await;
    match outcome {
        None => screen.say("\nInterrupted; all sites have been stopped."),
        Some(Ok(())) => {
            stopped?;
            screen.say(&format!("\nAll sites have been stopped.{}", folder.farewell()));
        }
        Some(Err(error)) => {
            folder.stay();
            return Err(error);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A port that is taken is the one thing that goes wrong on other people's machines, mostly because of another demo.
fn explained(error: launch::LaunchError) -> anyhow::Error {
    match error {
        launch::LaunchError::Taken { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "{address} is taken: is another demo or site running here? Stop it, then try again"
            )
        }
        launch::LaunchError::Taken { address, source }
            if source.kind() == std::io::ErrorKind::AddrNotAvailable =>
        {
            let host = address.ip();
            anyhow::anyhow!(
                "{address}: {source}; on macOS make the address first: sudo ifconfig lo0 alias {host}"
            )
        }
        other => other.into(),
    }
}

/// Stops all sites at the same time, as one would before maintenance; what does not stop is killed.
async fn end(mut cluster: Cluster) -> anyhow::Result<()> {
    let sockets: Vec<PathBuf> = cluster.plan().sites.iter().map(|site| cluster.plan().data(site)).collect();
    for socket in sockets {
        // One that is gone already needs no telling.
        let _ = admin::client::stop(&admin::client::Address::parse(&socket.to_string_lossy())).await;
    }
    let stopping = tokio::task::spawn_blocking(move || {
        let sites = cluster.plan().sites.clone();
        sites.iter().try_for_each(|site| cluster.stop(site).map(drop))
    });
    tokio::time::timeout(STOP_PATIENCE, stopping).await.context("the sites take too long to stop")???;
    Ok(())
}

/// Where the demo's files are; removed in the end unless the user named it or something went wrong.
struct Folder {
    path: PathBuf,
    named: bool,
    stays: std::cell::Cell<bool>,
}

impl Folder {
    fn choose(wanted: Option<&Path>) -> anyhow::Result<Folder> {
        let own = || std::env::temp_dir().join(format!("meridian-demo-{}", std::process::id()));
        let path = wanted.map_or_else(own, Path::to_owned);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
        let empty = std::fs::read_dir(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .next()
            .is_none();
        anyhow::ensure!(
            empty,
            "{} is not empty: name a folder that is, or that is not there yet",
            path.display()
        );
        Ok(Folder { path, named: wanted.is_some(), stays: std::cell::Cell::new(wanted.is_some()) })
    }

    /// Leaves the files for whoever wants to see what went wrong.
    fn stay(&self) {
        self.stays.set(true);
        eprintln!("\nThe sites' logs are in {}", self.path.display());
    }

    fn farewell(&self) -> String {
        if self.named { format!(" Their files are in {}.", self.path.display()) } else { String::new() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.stays.get() {
            // What cannot be removed lies in the temporary folder, where somebody else cleans up.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Folder, REGIONS, ROUND_TRIPS};

    #[test]
    fn every_pair_of_regions_has_a_round_trip() {
        let matrix = wan::Matrix::parse(ROUND_TRIPS).unwrap();
        for (at, one) in REGIONS.iter().enumerate() {
            for other in &REGIONS[at + 1..] {
                assert!(matrix.rtt_ms(one, other).is_ok(), "{one} to {other}");
            }
        }
    }

    #[test]
    fn a_folder_of_ones_own_goes_and_a_named_one_stays_and_must_be_empty() {
        let own = Folder::choose(None).unwrap();
        let path = own.path.clone();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(own);
        assert!(!path.exists());

        let parent = tempfile::tempdir().unwrap();
        let named = parent.path().join("demo");
        drop(Folder::choose(Some(&named)).unwrap());
        assert!(named.is_dir());
        std::fs::write(named.join("file"), "x").unwrap();
        let refused = Folder::choose(Some(&named)).err().unwrap();
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }
}
