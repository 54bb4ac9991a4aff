//! Three sites on the bare loopback: one is written to, the others follow. What that costs each.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::read::{ends, grown};
use super::{Parcel, TOPIC, Throughput, Used, Written};
use crate::limits::mb_s;
use crate::target::{self, Place};
use crate::usage::{MemoryWatch, Usage};

const SITES: [&str; 3] = ["writes", "follows-1", "follows-2"];

/// What came of it.
#[derive(Debug)]
pub(super) struct Replicated {
    pub(super) written: Written,
    /// Bytes acknowledged in all, warm-up included.
    pub(super) bytes: u64,
    /// By follower.
    pub(super) followers: Vec<Follower>,
}

/// How one of the others did.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) name: String,
    /// From the first write to its having all.
    pub(super) mb_s: f64,
    /// How long after the last acknowledgement it had all.
    pub(super) behind: Duration,
    /// How long after that it could show all in merged order.
    pub(super) merged_behind: Duration,
    pub(super) used: Used,
}

pub(super) async fn measure(plan: &Throughput, parcel: &Parcel) -> anyhow::Result<Replicated> {
    let running = plan.start(&SITES).await?;
    let places = target::sites(&running).await?;
    let partitions = i32::try_from(plan.writers)?;
    target::topic(&places, &target::new_topic(TOPIC, partitions, None)).await?;
    let origin = format!("{}.{TOPIC}", SITES[0]);
    let mut watched = Vec::new();
    for place in &places[1..] {
        place.client.partitions(&origin).await?;
        let process_id = running.cluster.process_id(&place.name).context("a site that runs is a process")?;
        let begun = Begun {
            place: place.clone(),
            origin_ends: ends(&place.client, &origin, partitions).await?,
            merged_ends: ends(&place.client, TOPIC, partitions).await?,
            process_id,
            before: Usage::of(process_id),
            memory: MemoryWatch::start(process_id)?,
        };
        watched.push(begun);
    }
    let began = Instant::now();
    let written = plan.write(&places[0], parcel, running.cluster.process_id(SITES[0])).await?;
    let ended = Instant::now();
    let records = written.records_in_all;
    let bytes = records / parcel.records * parcel.batch.len() as u64;
    let mut followers = Vec::new();
    for begun in watched {
        grown(&begun.place.client, &origin, &begun.origin_ends, records).await?;
        let (took, behind) = (began.elapsed(), ended.elapsed());
        let merged_behind = grown(&begun.place.client, TOPIC, &begun.merged_ends, records).await?;
        let usage = Usage::of(begun.process_id).since(begun.before);
        let used = Used { usage, peak_mb: begun.memory.peak_mb() };
        let (name, mb_s) = (begun.place.name, mb_s(bytes, took));
        followers.push(Follower { name, mb_s, behind, merged_behind, used });
    }
    tokio::task::spawn_blocking(move || drop(running)).await?;
    Ok(Replicated { written, bytes, followers })
}

/// A follower before anything is written.
struct Begun {
    place: Place,
    origin_ends: Vec<i64>,
    merged_ends: Vec<i64>,
    process_id: u32,
    before: Usage,
    memory: MemoryWatch,
}
