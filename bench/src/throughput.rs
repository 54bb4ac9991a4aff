//! `bench throughput`: how much is written, replicated and read in a second, beside what disk and loopback allow.
//!
//! Writers send the same prepared batch over and over with a window of batches on the way, each on a connection and partition of
//! its own; every acknowledgement comes after its sync. Preparing a batch is left out of the driver's account on purpose: it is
//! the producer's work, and the broker's is what is measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use batch::{Builder, NewRecord};
use bytes::Bytes;
use clap::Args;
use client::{Acks, Client};
use launch::Network;
use tokio::task::JoinSet;

mod memory;
mod read;
mod replicate;
mod shown;

use crate::limits::{disk_mb_s, loopback_mb_s, mb_s};
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::quantiles::Latencies;
use crate::report::Report;
use crate::target::{self, Place};
use crate::usage::{MemoryWatch, Usage};

const TOPIC: &str = "bench";
/// How long each of the machine's own limits is looked at, before and after.
const LIMIT_DURING: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Throughput {
    /// Seconds that are counted
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 3)]
    warm_up_seconds: u64,
    /// Writers, each with a connection and a partition
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// Batches that each writer has on the way
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1_024)]
    record_bytes: usize,
    /// Bytes of a batch, at most
    #[arg(long, default_value_t = 65_536)]
    batch_bytes: usize,
    /// Leave the three replicated sites out
    #[arg(long)]
    alone: bool,
    /// Drive these brokers instead of a site of our own: host:port, may be repeated; limits are still this machine's
    #[arg(long, value_name = "BROKER")]
    bootstrap: Vec<String>,
    /// With --bootstrap: the broker's process, if it runs on this machine, to see what it uses
    #[arg(long, value_name = "PID", requires = "bootstrap")]
    broker_process: Option<u32>,
    #[command(flatten)]
    own: Own,
}

/// The same batch for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) batch: Bytes,
    pub(crate) records: u64,
}

impl Parcel {
    /// As many records of that size as fit into a batch of so many bytes; one at least.
    pub(crate) fn fill(record_bytes: usize, batch_bytes: usize) -> Self {
        // Letters that do not repeat, in case anything on the way would make them shorter.
        let mut state = 88_172_645_463_325_252_u64;
        let mut value = || -> Vec<u8> {
            let mut letter = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                b' ' + (state % 95) as u8
            };
            (0..record_bytes).map(|_| letter()).collect()
        };
        let mut builder = Builder::new();
        let mut records = 0;
        loop {
            builder.push(&NewRecord::value(0, value()));
            records += 1;
            let one = builder.plain_bytes().div_ceil(records);
            if batch::HEADER_BYTES + builder.plain_bytes() + one > batch_bytes {
                return Self { batch: builder.build(), records: records as u64 };
            }
        }
    }
}

/// What the machine could do, before and after.
#[derive(Debug, Clone, Copy)]
struct Limits {
    disk: (f64, f64),
    loopback: (f64, f64),
}

/// The figures of a run.
#[derive(Debug)]
struct Measured {
    limits: Limits,
    written: Written,
    read: read::Read,
    replicated: Option<replicate::Replicated>,
}

/// What came of writing.
#[derive(Debug)]
struct Written {
    bytes: u64,
    took: Duration,
    acked: Latencies,
    node: Option<Used>,
    driver: Usage,
    /// Everything acknowledged since the start, in records: what a reader should find.
    records_in_all: u64,
}

/// What a process used meanwhile.
#[derive(Debug, Clone, Copy)]
struct Used {
    usage: Usage,
    peak_mb: f64,
}

impl Throughput {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let parcel = Parcel::fill(self.record_bytes, self.batch_bytes);
        let before = self.limits(&parcel).await?;
        let (written, read) = self.one(&parcel).await?;
        let after = self.limits(&parcel).await?;
        let limits = Limits { disk: (before.0, after.0), loopback: (before.1, after.1) };
        let replicated = if self.alone || !self.bootstrap.is_empty() {
            None
        } else {
            Some(replicate::measure(&self, &parcel).await?)
        };
        let measured = Measured { limits, written, read, replicated };
        Ok(shown::report(&self, facts, &parcel, &measured))
    }

    /// MB/s of the disk and of the loopback.
    async fn limits(&self, parcel: &Parcel) -> anyhow::Result<(f64, f64)> {
        let (own, unit) = (self.own.clone(), parcel.batch.clone());
        let measure = move || -> anyhow::Result<(f64, f64)> {
            let folder = own.scratch()?;
            Ok((disk_mb_s(folder.path(), LIMIT_DURING)?, loopback_mb_s(&unit, LIMIT_DURING)?))
        };
        tokio::task::spawn_blocking(measure).await?
    }

    /// One site, or the brokers named: writes, then reads all of it.
    async fn one(&self, parcel: &Parcel) -> anyhow::Result<(Written, read::Read)> {
        let partitions = i32::try_from(self.writers)?;
        if !self.bootstrap.is_empty() {
            let places = target::brokers(&self.bootstrap).await?;
            target::topic(&places, &target::new_topic(TOPIC, partitions, None)).await?;
            let ends = read::ends(&places[0].client, TOPIC, partitions).await?;
            let written = self.write(&places[0], parcel, self.broker_process).await?;
            let read = read::measure(&places[0].client, TOPIC, &ends, self.broker_process).await?;
            return Ok((written, read));
        }
        let running = self.start(&["alone"]).await?;
        let place = target::sites(&running).await?.pop().context("a cluster has a site")?;
        target::topic(std::slice::from_ref(&place), &target::new_topic(TOPIC, partitions, None)).await?;
        let ends = read::ends(&place.client, TOPIC, partitions).await?;
        let process_id = running.cluster.process_id("alone");
        let written = self.write(&place, parcel, process_id).await?;
        let read = read::measure(&place.client, TOPIC, &ends, process_id).await?;
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok((written, read))
    }

    async fn start(&self, sites: &'static [&'static str]) -> anyhow::Result<Running> {
        let own = self.own.clone();
        tokio::task::spawn_blocking(move || own.start(sites, Network::Direct)).await?
    }

    /// Writes for the agreed time and looks at what that cost.
    async fn write(
        &self,
        place: &Place,
        parcel: &Parcel,
        process_id: Option<u32>,
    ) -> anyhow::Result<Written> {
        let memory = process_id.map(MemoryWatch::start).transpose()?;
        let counting = Arc::new(Counting::default());
        let mut writers = JoinSet::new();
        for partition in 0..i32::try_from(self.writers)? {
            let writer = Writer {
                client: place.client.apart(),
                partition,
                parcel: parcel.clone(),
                window: self.window,
                counting: Arc::clone(&counting),
            };
            writers.spawn(writer.run());
        }
        tokio::time::sleep(Duration::from_secs(self.warm_up_seconds)).await;
        let before = (Instant::now(), counting.bytes(), process_id.map(Usage::of), Usage::own());
        counting.counts.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        counting.counts.store(false, Ordering::Relaxed);
        let (took, bytes) = (before.0.elapsed(), counting.bytes() - before.1);
        let node = process_id.zip(before.2).zip(memory.as_ref()).map(|((process_id, before), memory)| Used {
            usage: Usage::of(process_id).since(before),
            peak_mb: memory.peak_mb(),
        });
        let driver = Usage::own().since(before.3);
        counting.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        let records_in_all = counting.bytes() / parcel.batch.len() as u64 * parcel.records;
        Ok(Written { bytes, took, acked: counting.acked.clone(), node, driver, records_in_all })
    }
}

/// What writers have got acknowledged.
#[derive(Debug, Default)]
struct Counting {
    acked_bytes: AtomicU64,
    acked: Latencies,
    counts: AtomicBool,
    stop: AtomicBool,
}

impl Counting {
    fn bytes(&self) -> u64 {
        self.acked_bytes.load(Ordering::Relaxed)
    }
}

struct Writer {
    client: Client,
    partition: i32,
    parcel: Parcel,
    window: usize,
    counting: Arc<Counting>,
}

impl Writer {
    /// Keeps the window full until told to stop, then waits for what is on its way.
    async fn run(self) -> Result<(), client::ClientError> {
        let mut on_the_way = VecDeque::with_capacity(self.window);
        loop {
            let stopping = self.counting.stop.load(Ordering::Relaxed);
            if !stopping && on_the_way.len() < self.window {
                let batch = self.parcel.batch.clone();
                on_the_way
                    .push_back(self.client.produce_start(TOPIC, self.partition, batch, Acks::Leader).await?);
                continue;
            }
            let Some(oldest) = on_the_way.pop_front() else { return Ok(()) };
            let answer = oldest.answer().await?;
            self.counting.acked_bytes.fetch_add(self.parcel.batch.len() as u64, Ordering::Relaxed);
            if self.counting.counts.load(Ordering::Relaxed) {
                self.counting.acked.record(answer.acked.saturating_duration_since(answer.sent));
            }
        }
    }
}

impl Written {
    fn mb_s(&self) -> f64 {
        mb_s(self.bytes, self.took)
    }

    fn gb(&self) -> f64 {
        self.bytes as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::Parcel;

    #[test]
    fn a_parcel_is_as_full_as_it_can_be_and_passes_for_a_batch() {
        let parcel = Parcel::fill(1_024, 65_536);
        assert!((64_000..=65_536).contains(&parcel.batch.len()), "{}", parcel.batch.len());
        assert_eq!(parcel.records, 63);
        assert_eq!(client::read_records(&parcel.batch, 0).unwrap().len(), 63);
        assert_eq!(Parcel::fill(10_000, 100).records, 1, "one record at least");
    }
}
