//! `bench death`: how long the merged log stands still when a region dies.
//!
//! Three sites at a real cloud's distances, all written to; in turn one of them is killed. The clock runs from the kill until
//! a record that was due after it is readable in merged order at each site that is left: until then every promise that the
//! dead site did not make is missed. It must be noticed, its journal's end voted on, and that end take its place in the order.
//! The dead one then comes back, as a fresh incarnation whose records are readable everywhere, before the next one dies.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use client::{Acks, Client, FetchOptions, Isolation, Position, log_end, read_records};
use launch::Network;
use tokio::task::{JoinHandle, JoinSet};
use wan::Matrix;

use crate::load::{Driven, Mark, Stream, drive, one_record, since};
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::pace::Rhythm;
use crate::quantiles::median;
use crate::report::{Bar, Report, Section, Table, Wish};
use crate::target::{self, Place};

const SITES: [&str; 3] = ["eu-west", "us-east", "ap-southeast"];
const TOPIC: &str = "bench";
/// How much longer than the fence timeout the log may stand still: noticing is done by then, and what is left is a vote and
/// a release among sites that are at most a quarter of a second apart.
const BEYOND_MS_MAX: f64 = 2_000.0;
/// How long the log may stand still before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a site may take to be ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);
const RECORD_BYTES: usize = 1_024;
/// For loads that end when they are told to.
const ENDLESS: Duration = Duration::from_secs(24 * 3_600);
/// From one record to the next that asks whether a site is back in the order.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// What such a record bears instead of the number of its load.
const PROBE: u16 = u16::MAX;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Death {
    /// Deaths, of each region in turn
    #[arg(long, default_value_t = 20)]
    deaths: usize,
    /// After how long a silent site is fenced
    #[arg(long, default_value_t = 10_000)]
    fence_timeout_ms: u64,
    /// Seconds of peace before each death
    #[arg(long, default_value_t = 2)]
    settle_seconds: u64,
    /// Records each second at each site
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    #[command(flatten)]
    own: Own,
}

/// One death.
struct Died {
    site: &'static str,
    /// By survivor: from the kill until a later record was readable.
    still: Vec<(String, Duration)>,
    /// From the restart until its records were readable everywhere.
    back: Duration,
}

impl Died {
    fn longest_ms(&self) -> f64 {
        self.still.iter().map(|(_, still)| still.as_secs_f64() * 1e3).fold(0.0, f64::max)
    }
}

impl Death {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let matrix = Matrix::parse(include_str!("../../datacenters/rtt.toml"))?;
        // Clients of the one that comes back are to write there at once.
        let settings = [
            format!("peers.fence_timeout_ms={}", self.fence_timeout_ms),
            "peers.home_after_ms=1000".to_owned(),
        ];
        let own = self.own.clone().with(settings);
        let network = Network::Emulated { matrix, seed: 1, guests: Vec::new() };
        let mut running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        let places = target::sites(&running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        let mut died = Vec::new();
        for death in 0..self.deaths {
            let (after, one) = self.one(running, death % SITES.len()).await?;
            running = after;
            died.push(one);
        }
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, &died))
    }

    /// Lets one site die and come back.
    async fn one(&self, mut running: Running, victim: usize) -> anyhow::Result<(Running, Died)> {
        let (name, zero) = (SITES[victim], Instant::now());
        let places = target::sites(&running).await?;
        let survivors: Vec<_> = places.iter().filter(|place| place.name != name).cloned().collect();
        let loads: Vec<_> =
            (0..).zip(&places).map(|(source, place)| self.load(source, place, zero)).collect();
        tokio::time::sleep(Duration::from_secs(self.settle_seconds)).await;
        let mut ends = Vec::new();
        for place in &survivors {
            ends.push(end_of(&place.client).await?);
        }
        // A kill returns when the process is gone, which takes a moment that counts.
        let died = Instant::now();
        running = blocking(running, move |running| Ok(running.cluster.kill(name)?)).await?;
        let mut watching = JoinSet::new();
        for (place, from) in survivors.iter().cloned().zip(ends) {
            watching.spawn(async move {
                let later = move |mark: Mark| mark.source != PROBE && mark.due_ns > since(zero, died);
                let seen = readable(&place.client.apart(), from, later).await;
                seen.map(|at| (place.name, at.saturating_duration_since(died)))
            });
        }
        let mut still = Vec::new();
        while let Some(one) = watching.join_next().await {
            still.push(one??);
        }
        still.sort();
        loads.iter().for_each(JoinHandle::abort);
        let began = Instant::now();
        running = blocking(running, move |running| {
            running.cluster.start(name)?;
            Ok(running.cluster.wait_ready(name, READY_PATIENCE)?)
        })
        .await?;
        let home = running.cluster.kafka(name)?.to_string();
        back_in_order(&target::sites(&running).await?, (victim, &home)).await?;
        Ok((running, Died { site: name, still, back: began.elapsed() }))
    }

    /// Writes until it is told to stop. That of the one that dies dies with it.
    fn load(&self, source: u16, place: &Place, zero: Instant) -> JoinHandle<anyhow::Result<Driven>> {
        let stream = Stream {
            client: place.client.apart(),
            topic: TOPIC.to_owned(),
            source,
            acks: Acks::Leader,
            record_bytes: RECORD_BYTES,
        };
        let rhythm = Rhythm::spread(usize::from(source), SITES.len(), self.rate, Duration::ZERO, ENDLESS);
        tokio::spawn(drive(stream, rhythm, zero))
    }

    fn report(&self, facts: Facts, died: &[Died]) -> Report {
        let columns = ["death", "of", "still, one ms", "still, other ms", "back in the order after ms"];
        let mut table = Table::new(&columns);
        for (number, one) in died.iter().enumerate() {
            let still = |at: usize| one.still.get(at).map(|(_, still)| still.as_secs_f64() * 1e3);
            table.row(vec![
                (number as u64 + 1).into(),
                one.site.into(),
                still(0).into(),
                still(1).into(),
                (one.back.as_secs_f64() * 1e3).into(),
            ]);
        }
        let longest: Vec<f64> = died.iter().map(Died::longest_ms).collect();
        let (middle, most) = (median(&longest), longest.iter().copied().fold(f64::NAN, f64::max));
        let timeout_ms = self.fence_timeout_ms as f64;
        let mut summary = Table::new(&["figure", "median ms", "max ms"]);
        summary.row(vec!["merged log stands still".into(), middle.into(), most.into()]);
        summary.row(vec!["fence timeout".into(), timeout_ms.into(), timeout_ms.into()]);
        summary.row(vec!["beyond it".into(), (middle - timeout_ms).into(), (most - timeout_ms).into()]);
        let wish = Wish::AtMost(timeout_ms + BEYOND_MS_MAX);
        let sections = vec![
            Section { title: "In all".to_owned(), table: summary, ..Section::default() },
            Section {
                title: "Deaths".to_owned(),
                note: "From SIGKILL until a record that was due after it is readable in merged order at each of the other \
                       two; and from the start of the dead one until what is written there is readable everywhere."
                    .to_owned(),
                table,
                ..Section::default()
            },
        ];
        Report {
            what: "death".to_owned(),
            title: format!(
                "A region dies, {} times, with a fence timeout of {timeout_ms} ms and {} records each second at each site",
                died.len(),
                self.rate
            ),
            facts,
            durability:
                "acks=1: synced (fdatasync) at the site that acknowledged; readable: held by two of three"
                    .to_owned(),
            bars: vec![
                Bar::hold("merged log stands still, median", wish, middle, "ms"),
                Bar::hold("merged log stands still, max", wish, most, "ms"),
            ],
            sections,
        }
    }
}

/// Does what blocks with a cluster that has to be given back.
async fn blocking(
    mut running: Running,
    what: impl FnOnce(&mut Running) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<Running> {
    let done = tokio::task::spawn_blocking(move || what(&mut running).map(|()| running));
    done.await?
}

async fn end_of(client: &Client) -> anyhow::Result<i64> {
    Ok(client.list_offset(TOPIC, 0, Position::Latest, Isolation::default()).await?.offset.max(0))
}

/// When a record with such a mark became readable.
async fn readable(client: &Client, mut from: i64, wanted: impl Fn(Mark) -> bool) -> anyhow::Result<Instant> {
    let began = Instant::now();
    client.partitions(TOPIC).await?;
    loop {
        let answer = client.fetch(TOPIC, 0, from, &FetchOptions::default()).await?;
        let at = Instant::now();
        let records = read_records(&answer.batches, from)?;
        let mut marks = records.iter().filter_map(|read| read.record.value.as_deref().and_then(Mark::of));
        if marks.any(&wanted) {
            return Ok(at);
        }
        from = log_end(&answer.batches).unwrap_or(from).max(from);
        anyhow::ensure!(began.elapsed() < PATIENCE, "the merged log stands still for {PATIENCE:?}");
    }
}

/// Waits until what is written at a site is readable in merged order everywhere.
async fn back_in_order(places: &[Place], (site, home): (usize, &str)) -> anyhow::Result<()> {
    let writes = places.get(site).context("there is such a site")?.client.apart();
    let mut watching = JoinSet::new();
    for place in places {
        let (client, from) = (place.client.apart(), end_of(&place.client).await?);
        watching.spawn(async move { readable(&client, from, |mark| mark.source == PROBE).await });
    }
    let probes = async {
        let batch = one_record(Mark { source: PROBE, counts: false, due_ns: 0 }, RECORD_BYTES);
        loop {
            // Its clients may be elsewhere for a moment still; refused or not, the next one asks again.
            let known = writes.refresh(Some(&[TOPIC])).await;
            if known.is_ok_and(|known| known.leader(TOPIC, 0).is_some_and(|broker| broker.address == home)) {
                let _ = writes.produce(TOPIC, 0, batch.clone(), Acks::Leader).await;
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    };
    let all_seen = async {
        while let Some(seen) = watching.join_next().await {
            seen??;
        }
        Ok(())
    };
    tokio::select! {
        () = probes => unreachable!("probes never end"),
        seen = all_seen => seen,
    }
}
