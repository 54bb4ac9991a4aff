//! `bench wan`: what one link carries, against distance and loss; what two links make of one bottleneck; what a byte costs.
//!
//! Real sites: one is written to faster than its link carries, another follows, and the rate at which the follower's origin log
//! grows is the goodput. Every point has a cluster of its own, so that no point inherits what another's link had learnt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use client::{Acks, Client, Isolation, Position};
use launch::Network;
use tokio::task::JoinHandle;
use wan::{Emulator, Link, LinkStats, Matrix};

mod shown;

use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::pace::{self, Rhythm};
use crate::report::Report;
use crate::target::{self, Place};
use crate::throughput::Parcel;

const TOPIC: &str = "bench";
const SITES: [&str; 3] = ["from", "to-1", "to-2"];
/// The writer stays this far ahead of what has arrived: the link never runs dry, and memory stays what it is.
const AHEAD_BYTES: u64 = 48 << 20;
const RECORD_BYTES: usize = 1_024;
const BATCH_BYTES: usize = 65_536;
/// Distance at which the cost of a byte is measured.
const COST_RTT_MS: f64 = 80.0;
const POLL: Duration = Duration::from_millis(20);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wan {
    /// Round trips in ms
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 20.0, 80.0, 150.0, 300.0])]
    rtt_ms: Vec<f64>,
    /// Shares of packets lost, in percent, each way
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.1, 1.0, 2.0])]
    loss_percent: Vec<f64>,
    /// Rate of the link in Mbit/s
    #[arg(long, default_value_t = 200.0)]
    rate_mbit: f64,
    /// Seconds that are counted, of each point
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 4)]
    warm_up_seconds: u64,
    /// MB/s at which the cost of a byte is measured
    #[arg(long, default_value_t = 10.0)]
    cost_mb_s: f64,
    /// Only these parts
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Goodput, Part::Share, Part::Cost])]
    parts: Vec<Part>,
    #[command(flatten)]
    own: Own,
}

/// A part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Goodput,
    Share,
    Cost,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Goodput => "goodput",
            Self::Share => "share",
            Self::Cost => "cost",
        })
    }
}

/// One point of the goodput grid.
#[derive(Debug, Clone, Copy)]
struct Point {
    rtt_ms: f64,
    loss_percent: f64,
    mb_s: f64,
    /// IP-level bytes towards the receiver for each byte of batches that it got.
    wire_per_byte: f64,
    queue_full: u64,
}

/// Two links through one bottleneck.
#[derive(Debug)]
struct Share {
    rtt_ms: (f64, f64),
    mb_s: (f64, f64),
}

/// What a byte costs.
#[derive(Debug)]
struct Cost {
    mb_s: f64,
    towards: f64,
    back: f64,
    packets_s: (f64, f64),
}

impl Wan {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let parcel = Parcel::fill(RECORD_BYTES, BATCH_BYTES);
        let (mut points, mut shares, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        if self.parts.contains(&Part::Goodput) {
            for rtt_ms in &self.rtt_ms {
                for loss_percent in &self.loss_percent {
                    let point = self.point(*rtt_ms, *loss_percent, &parcel).await?;
                    eprintln!("{rtt_ms} ms, {loss_percent} % loss: {:.1} MB/s", point.mb_s);
                    points.push(point);
                }
            }
        }
        if self.parts.contains(&Part::Share) {
            for rtt_ms in [(80.0, 80.0), (40.0, 150.0)] {
                shares.push(self.share(rtt_ms, &parcel).await?);
            }
        }
        if self.parts.contains(&Part::Cost) {
            costs.push(self.cost(&parcel).await?);
        }
        Ok(shown::report(&self, facts, &points, &shares, &costs))
    }

    async fn point(&self, rtt_ms: f64, loss_percent: f64, parcel: &Parcel) -> anyhow::Result<Point> {
        let link = Link {
            delay_ms: rtt_ms / 2.0,
            loss: loss_percent / 100.0,
            rate_mbit: self.rate_mbit,
            ..Link::default()
        };
        let pair = Pair::start(&self.own, &[rtt_ms]).await?;
        pair.lay(SITES[1], link)?;
        let feed = Feed::start(&pair, parcel, &pair.to[..1]);
        tokio::time::sleep(Duration::from_secs(self.warm_up_seconds)).await;
        let before = (Instant::now(), pair.arrived(0).await?, pair.link_stats(SITES[0], SITES[1])?);
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (took, after) = (before.0.elapsed(), pair.arrived(0).await?);
        let stats = pair.link_stats(SITES[0], SITES[1])?;
        feed.end().await?;
        pair.end().await?;
        let bytes = parcel.bytes_of(after - before.1);
        let wire_bytes = stats.delivered.bytes - before.2.delivered.bytes;
        Ok(Point {
            rtt_ms,
            loss_percent,
            mb_s: bytes / 1e6 / took.as_secs_f64(),
            wire_per_byte: wire_bytes as f64 / bytes,
            queue_full: stats.drops.queue_full - before.2.drops.queue_full,
        })
    }

    async fn share(&self, rtt_ms: (f64, f64), parcel: &Parcel) -> anyhow::Result<Share> {
        let pair = Pair::start(&self.own, &[rtt_ms.0, rtt_ms.1]).await?;
        let bottleneck = [(SITES[0], SITES[1]), (SITES[0], SITES[2])];
        pair.emulator()?.share(self.rate_mbit, Link::default().queue_kib, &bottleneck)?;
        let feed = Feed::start(&pair, parcel, &pair.to);
        tokio::time::sleep(Duration::from_secs(self.warm_up_seconds)).await;
        let (began, one, other) = (Instant::now(), pair.arrived(0).await?, pair.arrived(1).await?);
        // Twice as long: shares settle slowly.
        tokio::time::sleep(Duration::from_secs(2 * self.seconds)).await;
        let took_s = began.elapsed().as_secs_f64();
        let (one, other) = (pair.arrived(0).await? - one, pair.arrived(1).await? - other);
        feed.end().await?;
        pair.end().await?;
        let mb_s = |records: u64| parcel.bytes_of(records) / 1e6 / took_s;
        Ok(Share { rtt_ms, mb_s: (mb_s(one), mb_s(other)) })
    }

    async fn cost(&self, parcel: &Parcel) -> anyhow::Result<Cost> {
        let pair = Pair::start(&self.own, &[COST_RTT_MS]).await?;
        let per_s = self.cost_mb_s * 1e6 / parcel.batch.len() as f64;
        let (warm_up, during) =
            (Duration::from_secs(self.warm_up_seconds), Duration::from_secs(2 * self.seconds));
        let slack = Duration::from_secs(1);
        let rhythm = Rhythm::spread(0, 1, per_s, warm_up, during + slack);
        let (client, batch) = (pair.from.client.clone(), parcel.batch.clone());
        let load: JoinHandle<anyhow::Result<()>> = tokio::spawn(async move {
            let mut beats = pace::start(rhythm, Instant::now())?;
            while beats.recv().await.is_some() {
                let on_its_way = client.produce_start(TOPIC, 0, batch.clone(), Acks::Leader).await?;
                tokio::spawn(on_its_way.answer());
            }
            Ok(())
        });
        tokio::time::sleep(warm_up).await;
        let counters = || -> anyhow::Result<(LinkStats, LinkStats)> {
            Ok((pair.link_stats(SITES[0], SITES[1])?, pair.link_stats(SITES[1], SITES[0])?))
        };
        let (began, records, before) = (Instant::now(), pair.arrived(0).await?, counters()?);
        tokio::time::sleep(during).await;
        let (took_s, records, after) =
            (began.elapsed().as_secs_f64(), pair.arrived(0).await? - records, counters()?);
        load.await??;
        pair.end().await?;
        let bytes = parcel.bytes_of(records);
        let more = |after: &LinkStats, before: &LinkStats| {
            let (after, before) = (after.delivered, before.delivered);
            ((after.bytes - before.bytes) as f64 / bytes, (after.packets - before.packets) as f64 / took_s)
        };
        let (towards, back) = (more(&after.0, &before.0), more(&after.1, &before.1));
        Ok(Cost {
            mb_s: bytes / 1e6 / took_s,
            towards: towards.0,
            back: back.0,
            packets_s: (towards.1, back.1),
        })
    }
}

impl Parcel {
    /// The bytes of the batches that so many records make up.
    fn bytes_of(&self, records: u64) -> f64 {
        records as f64 / self.records as f64 * self.batch.len() as f64
    }
}

/// A site that is written to, and one or two that follow.
struct Pair {
    running: Running,
    from: Place,
    to: Vec<Place>,
    /// Where the followers' copies of the origin log began.
    began: Vec<u64>,
}

impl Pair {
    /// A cluster whose followers are this far from the first site, from its start on: a link that has learnt one distance needs
    /// a while to believe in another.
    async fn start(own: &Own, rtt_ms: &[f64]) -> anyhow::Result<Self> {
        let (own, sites) = (own.clone(), rtt_ms.len() + 1);
        let network = Network::Emulated { matrix: star(rtt_ms)?, seed: 1, guests: Vec::new() };
        let running = tokio::task::spawn_blocking(move || own.start(&SITES[..sites], network)).await??;
        let mut places = target::sites(&running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        let from = places.remove(0);
        let mut began = Vec::new();
        for place in &places {
            place.client.partitions(&origin()).await?;
            began.push(end_of_origin(&place.client).await?);
        }
        Ok(Self { running, from, to: places, began })
    }

    fn emulator(&self) -> anyhow::Result<&Emulator> {
        self.running.cluster.emulator().context("this cluster was started with an emulator")
    }

    /// Links the first site and another, alike in both directions.
    fn lay(&self, other: &str, link: Link) -> anyhow::Result<()> {
        let emulator = self.emulator()?;
        emulator.set(SITES[0], other, link)?;
        Ok(emulator.set(other, SITES[0], link)?)
    }

    /// Records that a follower has got.
    async fn arrived(&self, follower: usize) -> anyhow::Result<u64> {
        Ok(end_of_origin(&self.to[follower].client).await?.saturating_sub(self.began[follower]))
    }

    fn link_stats(&self, from: &str, to: &str) -> anyhow::Result<LinkStats> {
        let stats = self.emulator()?.stats().into_iter();
        stats.into_iter().find(|stats| stats.from == from && stats.to == to).context("no such link")
    }

    async fn end(self) -> anyhow::Result<()> {
        Ok(tokio::task::spawn_blocking(move || drop(self.running)).await?)
    }
}

/// Followers at these distances; between each other they are as far apart as the farther of the two.
fn star(rtt_ms: &[f64]) -> anyhow::Result<Matrix> {
    // The emulator's matrix refuses 0 as a slip of the pen.
    let least = |rtt_ms: f64| rtt_ms.max(0.001);
    let mut text = format!("[rtt_ms.{}]\n", SITES[0]);
    for (site, rtt_ms) in SITES[1..].iter().zip(rtt_ms) {
        text.push_str(&format!("{site} = {}\n", least(*rtt_ms)));
    }
    let farthest = rtt_ms.iter().copied().fold(0.0, f64::max);
    text.push_str(&format!("[rtt_ms.{}]\n{} = {}\n", SITES[1], SITES[2], least(farthest)));
    Ok(Matrix::parse(&text)?)
}

fn origin() -> String {
    format!("{}.{TOPIC}", SITES[0])
}

async fn end_of_origin(client: &Client) -> anyhow::Result<u64> {
    let found = client.list_offset(&origin(), 0, Position::Latest, Isolation::default()).await?;
    Ok(u64::try_from(found.offset.max(0))?)
}

/// A writer that stays ahead of all its followers.
struct Feed {
    stop: Arc<AtomicBool>,
    arrived: JoinHandle<()>,
    writer: JoinHandle<anyhow::Result<()>>,
}

impl Feed {
    fn start(pair: &Pair, parcel: &Parcel, followers: &[Place]) -> Self {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let arrived = tokio::spawn(follow(followers.to_vec(), pair.began.clone(), Arc::clone(&most)));
        let writer = Ahead {
            client: pair.from.client.clone(),
            parcel: parcel.clone(),
            stop: Arc::clone(&stop),
            arrived: most,
        };
        Self { stop, arrived, writer: tokio::spawn(writer.run()) }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.arrived.abort();
        self.writer.await?
    }
}

/// Keeps `most` at what the fastest of the followers has got, so that none of them ever waits for the writer.
async fn follow(followers: Vec<Place>, began: Vec<u64>, most: Arc<AtomicU64>) {
    loop {
        for (place, began) in followers.iter().zip(&began) {
            if let Ok(end) = end_of_origin(&place.client).await {
                most.fetch_max(end.saturating_sub(*began), Ordering::Relaxed);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

struct Ahead {
    client: Client,
    parcel: Parcel,
    stop: Arc<AtomicBool>,
    arrived: Arc<AtomicU64>,
}

impl Ahead {
    /// Batches that are on the way to the site at a time.
    const WINDOW: usize = 16;

    async fn run(self) -> anyhow::Result<()> {
        let mut written = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let arrived = self.arrived.load(Ordering::Relaxed);
            if self.parcel.bytes_of(written.saturating_sub(arrived)) > AHEAD_BYTES as f64 {
                tokio::time::sleep(POLL).await;
                continue;
            }
            let mut on_the_way = Vec::with_capacity(Self::WINDOW);
            for _ in 0..Self::WINDOW {
                let batch = self.parcel.batch.clone();
                on_the_way.push(self.client.produce_start(TOPIC, 0, batch, Acks::Leader).await?);
            }
            for one in on_the_way {
                one.answer().await?;
                written += self.parcel.records;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::star;

    #[test]
    fn followers_are_as_far_as_asked() {
        let matrix = star(&[40.0, 150.0]).unwrap();
        assert_eq!(matrix.rtt_ms("from", "to-1").unwrap(), 40.0);
        assert_eq!(matrix.rtt_ms("from", "to-2").unwrap(), 150.0);
        assert_eq!(matrix.rtt_ms("to-1", "to-2").unwrap(), 150.0);
        assert!(star(&[0.0]).is_ok());
    }
}
