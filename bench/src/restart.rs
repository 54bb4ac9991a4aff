//! `bench restart`: how long a site that was killed needs until it serves again, with much on its disk.
//!
//! Three sites; one writes, one holds all of it, and the link to the third is so slow that it falls behind, which is why the
//! WAL grows to its bound: it waits for sites that lack what it holds. It is written in portions that the second keeps up
//! with, since beyond the bound the WAL waits for a majority. Then the first is killed and started again, several
//! times with its files in the page cache and several times with them dropped from it. The clock runs from the start of the
//! process until it has acknowledged a write and given out the last record that it held before.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use client::{Acks, FetchOptions};
use launch::{Cluster, Network};
use rustix::fs::{Advice, fadvise};
use wan::{Link, Matrix};

use crate::fill::Fill;
use crate::load::{Mark, one_record};
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::quantiles::median;
use crate::report::{Bar, Report, Section, Table, Wish};
use crate::target::{self, Place};
use crate::usage::Usage;

const SITES: [&str; 3] = ["restarts", "holds", "lags"];
const TOPIC: &str = "bench";
/// With a warm cache, from the start of the process to serving.
const WARM_S_MAX: f64 = 3.0;
/// Between any two sites.
const RTT_MS: f64 = 2.0;
/// How long followers may take behind the last write, and a site until it is ready.
const PATIENCE: Duration = Duration::from_secs(600);
const MIB: u64 = 1 << 20;
/// What is written before the second site is waited for.
const PORTION_BYTES: u64 = 256 * MIB;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// How large the WAL is, in MiB
    #[arg(long, default_value_t = 4_096)]
    wal_mib: u64,
    /// How much lies in segments, in MiB; at least as much as the WAL
    #[arg(long, default_value_t = 10_240)]
    segments_mib: u64,
    /// Restarts with a warm cache, and as many with a dropped one
    #[arg(long, default_value_t = 3)]
    restarts: usize,
    /// Bytes of a batch, at most
    #[arg(long, default_value_t = 65_536)]
    batch_bytes: usize,
    /// Partitions of the topic
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Rate of the links to the site that lags
    #[arg(long, default_value_t = 4.0)]
    lag_mbit: f64,
    #[command(flatten)]
    own: Own,
}

/// What is in the page cache when a site is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    Warm,
    Dropped,
}

/// One restart, all from the start of the process.
struct Restarted {
    cache: Cache,
    ready: Duration,
    serving: Duration,
    /// Of the process until it served.
    cpu_s: f64,
}

/// What lay on the disk.
#[derive(Debug, Clone, Copy)]
struct Lay {
    wal_bytes: u64,
    segments_bytes: u64,
    written: Duration,
}

impl Restart {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        // Nobody is fenced: the WAL is to be kept for the site that lags, and a cold restart may take its time.
        let settings =
            [format!("journal.wal_bytes_max={}", self.wal_mib * MIB), "peers.fence_timeout_ms=0".to_owned()];
        let own = self.own.clone().with(settings);
        let network =
            Network::Emulated { matrix: Matrix::uniform(&SITES, RTT_MS), seed: 1, guests: Vec::new() };
        let mut running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        self.slow_down(&running.cluster)?;
        let lay = self.fill(&running).await?;
        let mut restarts = Vec::new();
        for cache in [Cache::Warm, Cache::Dropped] {
            for _ in 0..self.restarts {
                let (after, one) = self.one(running, cache).await?;
                running = after;
                restarts.push(one);
            }
        }
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, lay, &restarts))
    }

    fn slow_down(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let emulator = cluster.emulator().context("the sites are joined by the emulator")?;
        let link = Link { rate_mbit: self.lag_mbit, queue_kib: 64, ..Link::delayed(RTT_MS / 2.0) };
        for from in &SITES[..2] {
            emulator.set(from, SITES[2], link)?;
        }
        Ok(())
    }

    fn filling(&self) -> Fill {
        Fill { topic: TOPIC, partitions: self.partitions, record_bytes: 1_024, batch_bytes: self.batch_bytes }
    }

    /// Writes until there is as much as wanted, and waits until two sites have it in merged order.
    async fn fill(&self, running: &Running) -> anyhow::Result<Lay> {
        let (places, fill) = (target::sites(running).await?, self.filling());
        target::topic(&places, &target::new_topic(TOPIC, self.partitions, None)).await?;
        let (began, mut filled) = (Instant::now(), 0);
        while filled < self.segments_mib * MIB {
            filled += fill.write(&places[0], PORTION_BYTES.min(self.segments_mib * MIB - filled)).await?;
            let ends = fill.ends(&places[0], &format!("{}.{TOPIC}", SITES[0])).await?;
            for place in &places[..2] {
                fill.reaches(place, TOPIC, &ends, PATIENCE).await?;
            }
        }
        let written = began.elapsed();
        let data = running.cluster.plan().data(SITES[0]);
        let is_commits = |file: &Path| file.extension().is_some_and(|end| end == "wal");
        let wal_bytes = size_of(&data.join("wal"), is_commits)?;
        let segments_bytes = size_of(&data.join("logs"), |_| true)?;
        Ok(Lay { wal_bytes, segments_bytes, written })
    }

    /// Kills the site and starts it again.
    async fn one(&self, mut running: Running, cache: Cache) -> anyhow::Result<(Running, Restarted)> {
        let started = tokio::task::spawn_blocking(move || {
            running.cluster.kill(SITES[0])?;
            prepare(&running.cluster.plan().data(SITES[0]), cache)?;
            let began = Instant::now();
            running.cluster.start(SITES[0])?;
            running.cluster.wait_ready(SITES[0], PATIENCE)?;
            anyhow::Ok((running, began, began.elapsed()))
        });
        let (running, began, ready) = started.await??;
        serves(&target::sites(&running).await?[0]).await?;
        let serving = began.elapsed();
        let process = running.cluster.process_id(SITES[0]).context("a site that serves is a process")?;
        Ok((running, Restarted { cache, ready, serving, cpu_s: Usage::of(process).cpu_s }))
    }

    fn report(&self, facts: Facts, lay: Lay, restarts: &[Restarted]) -> Report {
        let mut table = Table::new(&["page cache", "ready s", "serving s", "CPU-s"]);
        for one in restarts {
            let cache = if one.cache == Cache::Warm { "warm" } else { "dropped" };
            let (ready, serving) = (one.ready.as_secs_f64(), one.serving.as_secs_f64());
            table.row(vec![cache.into(), ready.into(), serving.into(), one.cpu_s.into()]);
        }
        let middle = |cache: Cache| {
            let of = restarts.iter().filter(|one| one.cache == cache);
            median(&of.map(|one| one.serving.as_secs_f64()).collect::<Vec<_>>())
        };
        let mut figures = Table::new(&["figure", "value"]);
        figures.row(vec!["WAL on the disk, GiB".into(), (lay.wal_bytes as f64 / GIB).into()]);
        figures.row(vec!["segments and their indexes, GiB".into(), (lay.segments_bytes as f64 / GIB).into()]);
        figures.row(vec![
            "written, and followed by the second site, in s".into(),
            lay.written.as_secs_f64().into(),
        ]);
        figures.row(vec!["serving with a warm cache, median s".into(), middle(Cache::Warm).into()]);
        figures.row(vec!["serving with a dropped cache, median s".into(), middle(Cache::Dropped).into()]);
        let sections = vec![
            Section { title: "In all".to_owned(), table: figures, ..Section::default() },
            Section {
                title: "Restarts".to_owned(),
                note: "Each behind a SIGKILL. From the start of the process until /readyz says yes; and until one record \
                       was acknowledged and the end of a log was read. CPU is the site's until then."
                    .to_owned(),
                table,
                ..Section::default()
            },
        ];
        Report {
            what: "restart".to_owned(),
            title: format!(
                "A site restarts with a WAL of {} MiB and segments of {} MiB",
                self.wal_mib, self.segments_mib
            ),
            facts,
            durability: "acks=1: synced (fdatasync) at the site that acknowledged; killed by SIGKILL, so the page cache stays"
                .to_owned(),
            bars: vec![Bar::hold(
                "serving after a restart with a warm cache, median",
                Wish::AtMost(WARM_S_MAX),
                middle(Cache::Warm),
                "s",
            )],
            sections,
        }
    }
}

const GIB: f64 = 1_073_741_824.0;

/// Writes a record and reads what stood before the end.
async fn serves(place: &Place) -> anyhow::Result<()> {
    let batch = one_record(Mark { source: 0, counts: false, due_ns: 0 }, 1_024);
    place.client.produce(TOPIC, 0, batch, Acks::Leader).await?;
    let end =
        Fill { topic: TOPIC, partitions: 1, record_bytes: 1, batch_bytes: 1 }.ends(place, TOPIC).await?;
    let last = end.first().map_or(0, |end| (end - 1).max(0));
    let read = place.client.fetch(TOPIC, 0, last, &FetchOptions::default()).await?;
    anyhow::ensure!(!read.batches.is_empty(), "the end of {TOPIC} cannot be read at {}", place.name);
    Ok(())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot look into {}", folder.display()))?
    {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(&entry.path())?),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}

fn size_of(folder: &Path, counts: impl Fn(&Path) -> bool) -> anyhow::Result<u64> {
    let files = files(folder)?;
    files.iter().filter(|file| counts(file)).map(|file| Ok(file.metadata()?.len())).sum()
}

/// Brings all files into the page cache, or out of it.
fn prepare(data: &Path, cache: Cache) -> anyhow::Result<()> {
    let mut buffer = vec![0; MIB as usize];
    for path in files(data)? {
        let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match cache {
            Cache::Warm => while file.read(&mut buffer)? > 0 {},
            Cache::Dropped => {
                // Only clean pages can be dropped.
                file.sync_all()?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Cache, files, prepare, size_of};

    #[test]
    fn files_are_found_in_folders_and_cold_or_warm_they_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/one"), [7; 10_000]).unwrap();
        std::fs::write(folder.path().join("two"), [8; 5]).unwrap();
        assert_eq!(files(folder.path()).unwrap().len(), 2);
        for cache in [Cache::Dropped, Cache::Warm] {
            prepare(folder.path(), cache).unwrap();
            assert_eq!(size_of(folder.path(), |_| true).unwrap(), 10_005);
        }
        assert_eq!(std::fs::read(folder.path().join("a/b/one")).unwrap(), [7; 10_000]);
    }
}
