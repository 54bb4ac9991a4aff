//! `bench latency`: from the moment a record was due to the moments it is acknowledged, and readable everywhere.
//!
//! Every site writes one record per beat to one partition; readers at every site read the merged log and every origin log.
//! Then the same load again with `acks=all` to a topic that asks for two sites. Low load on purpose: this is about distance.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use client::Acks;
use launch::Network;
use tokio::task::JoinSet;
use wan::Matrix;

mod shown;

use crate::control::Ends;
use crate::load::{Driven, Stream, drive};
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::pace::Rhythm;
use crate::quantiles::Latencies;
use crate::report::Report;
use crate::target::{self, Place};
use crate::watch::Watcher;

/// Round trip between sites in one building.
const LAN_RTT_MS: f64 = 0.2;
/// How long readers may take behind the last record before what they have not seen counts as missing.
const GRACE: Duration = Duration::from_secs(5);
/// The first records are not counted: connections are made, caches are cold.
const WARM_UP: Duration = Duration::from_secs(2);
/// Silence between one site's turn and the next.
const TURN_GAP: Duration = Duration::from_secs(1);
const TOPIC: &str = "bench";
const TOPIC_HELD: &str = "bench-held";

/// Which sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Regions {
    /// eu-west, us-east, ap-southeast
    #[value(name = "3")]
    Three,
    /// and us-west, sa-east
    #[value(name = "5")]
    Five,
    /// Three sites 0.2 ms apart
    Lan,
}

impl Regions {
    fn sites(self) -> &'static [&'static str] {
        match self {
            Self::Three | Self::Lan => &["eu-west", "us-east", "ap-southeast"],
            Self::Five => &["eu-west", "us-east", "ap-southeast", "us-west", "sa-east"],
        }
    }

    fn matrix(self) -> anyhow::Result<Matrix> {
        Ok(match self {
            Self::Lan => Matrix::uniform(self.sites(), LAN_RTT_MS),
            Self::Three | Self::Five => Matrix::parse(include_str!("../../datacenters/rtt.toml"))?,
        })
    }
}

/// Who writes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Writing {
    /// All sites at once
    Together,
    /// One site after the other, so that nobody's records wait for another's
    InTurn,
}

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Sites, and how far apart
    #[arg(long, value_enum, default_value = "3")]
    regions: Regions,
    /// Who writes at a time
    #[arg(long, value_enum, default_value = "together")]
    writing: Writing,
    /// Records each second at each site
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds that are counted, of each of the two loads
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1_024)]
    record_bytes: usize,
    /// Drive these brokers instead of sites of our own: [name=]host:port, may be repeated
    #[arg(long, value_name = "BROKER")]
    bootstrap: Vec<String>,
    #[command(flatten)]
    own: Own,
}

/// The figures of a run.
#[derive(Debug, Default)]
struct Measured {
    together: bool,
    local: Vec<Driven>,
    two_sites: Vec<Driven>,
    /// By reader, then by source.
    merged: Vec<Vec<Latencies>>,
    /// By reader, then by source.
    origin: Vec<Vec<Latencies>>,
    /// By reader, then by source.
    control: Vec<Vec<Latencies>>,
    emulator: Option<wan::Lateness>,
}

impl Latency {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        if self.bootstrap.is_empty() {
            return self.measure_own(facts).await;
        }
        let places = target::brokers(&self.bootstrap).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        let mut measured = self.nothing_yet();
        let zero = Instant::now();
        let watchers = watch(&places, zero, |_| TOPIC.to_owned(), 1).await?;
        measured.local = self.load(&places, TOPIC, Acks::Leader, zero).await?;
        measured.merged = finish(watchers, &measured.local).await?;
        measured.two_sites = self.load(&places, TOPIC, Acks::All, Instant::now()).await?;
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        Ok(shown::report(&self.title(&names), facts, &names, None, &measured)?)
    }

    async fn measure_own(self, facts: Facts) -> anyhow::Result<Report> {
        let (sites, matrix) = (self.regions.sites(), self.regions.matrix()?);
        let ends = Ends::open(sites.len())?;
        let network = Network::Emulated { matrix: matrix.clone(), seed: 1, guests: ends.guests()? };
        let own = self.own.clone();
        let running = tokio::task::spawn_blocking(move || own.start(sites, network)).await??;
        let measured = self.measure(&running, ends, &matrix).await?;
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(shown::report(&self.title(sites), facts, sites, Some(&matrix), &measured)?)
    }

    async fn measure(&self, running: &Running, ends: Ends, matrix: &Matrix) -> anyhow::Result<Measured> {
        let sites = self.regions.sites();
        let places = target::sites(running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        target::topic(&places, &target::new_topic(TOPIC_HELD, 1, Some(2))).await?;
        let mut measured = self.nothing_yet();
        let zero = Instant::now();
        let merged = watch(&places, zero, |_| TOPIC.to_owned(), 1).await?;
        let origin = watch(&places, zero, |source| format!("{}.{TOPIC}", sites[source]), sites.len()).await?;
        let emulator = running.cluster.emulator();
        let rhythm = self.rhythm(0, 1);
        let control = emulator.map(|emulator| ends.start(emulator, matrix, sites, rhythm, Instant::now()));
        emulator.inspect(|emulator| emulator.forget_lateness());
        measured.local = self.load(&places, TOPIC, Acks::Leader, zero).await?;
        measured.merged = finish(merged, &measured.local).await?;
        measured.origin = finish(origin, &measured.local).await?;
        measured.emulator = emulator.map(|emulator| emulator.lateness());
        measured.control =
            control.transpose()?.map(|control| control.finish()).transpose()?.unwrap_or_default();
        measured.two_sites = self.load(&places, TOPIC_HELD, Acks::All, Instant::now()).await?;
        Ok(measured)
    }

    /// Loads all places at once.
    async fn load(
        &self,
        places: &[Place],
        topic: &str,
        acks: Acks,
        zero: Instant,
    ) -> anyhow::Result<Vec<Driven>> {
        let mut loads = JoinSet::new();
        let turn = Duration::from_secs(self.seconds) + WARM_UP + TURN_GAP;
        for (source, place) in places.iter().enumerate() {
            let stream = Stream {
                client: place.client.clone(),
                topic: topic.to_owned(),
                source: u16::try_from(source)?,
                acks,
                record_bytes: self.record_bytes,
            };
            // Marks count from `zero`, which the readers share; the load itself begins now.
            let mut began = Instant::now().saturating_duration_since(zero);
            if self.writing == Writing::InTurn {
                began += turn * u32::try_from(source)?;
            }
            let mut rhythm = self.rhythm(source, places.len());
            rhythm.offset += began;
            rhythm.warm_up += began;
            loads.spawn(async move { drive(stream, rhythm, zero).await.map(|driven| (source, driven)) });
        }
        let mut driven = Vec::new();
        while let Some(outcome) = loads.join_next().await {
            driven.push(outcome??);
        }
        driven.sort_by_key(|(source, _)| *source);
        Ok(driven.into_iter().map(|(_, driven)| driven).collect())
    }

    fn nothing_yet(&self) -> Measured {
        Measured { together: self.writing == Writing::Together, ..Measured::default() }
    }

    fn rhythm(&self, index: usize, of: usize) -> Rhythm {
        Rhythm::spread(index, of, self.rate, WARM_UP, Duration::from_secs(self.seconds))
    }

    fn title(&self, sites: &[&str]) -> String {
        let (count, rate, bytes) = (sites.len(), self.rate, self.record_bytes);
        let writing = if self.writing == Writing::Together { "together" } else { "in turn" };
        format!(
            "Latency of {count} sites writing {writing}, {rate} records of {bytes} bytes each second at each"
        )
    }
}

/// A reader at every place, of as many topics as are named.
async fn watch(
    places: &[Place],
    zero: Instant,
    topic: impl Fn(usize) -> String,
    topics: usize,
) -> anyhow::Result<Vec<Vec<Watcher>>> {
    let mut all = Vec::new();
    for place in places {
        let mut watchers = Vec::new();
        for number in 0..topics {
            watchers.push(Watcher::start(&place.client, topic(number), places.len(), zero).await?);
        }
        all.push(watchers);
    }
    Ok(all)
}

/// What each reader saw, by source: of its one topic, or of the topic that is the source's own.
async fn finish(readers: Vec<Vec<Watcher>>, driven: &[Driven]) -> anyhow::Result<Vec<Vec<Latencies>>> {
    let until = Instant::now() + GRACE;
    let acked: Vec<u64> = driven.iter().map(|driven| driven.acked.count()).collect();
    let mut all = Vec::new();
    for watchers in readers {
        let alone = watchers.len() == 1;
        let mut by_source = Vec::new();
        for (number, watcher) in watchers.into_iter().enumerate() {
            let of_source = |source: usize| if alone || source == number { acked[source] } else { 0 };
            let wanted: Vec<u64> = (0..acked.len()).map(of_source).collect();
            let seen = watcher.finish(&wanted, until).await?;
            if alone {
                by_source = seen;
            } else {
                by_source.push(seen[number].clone());
            }
        }
        all.push(by_source);
    }
    Ok(all)
}
