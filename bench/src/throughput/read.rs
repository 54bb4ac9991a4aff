//! How fast what was written is read again: a reader on a connection of its own for every partition, all at once.

use std::time::{Duration, Instant};

use client::{Client, ClientError, FetchOptions, Isolation, Position, log_end};
use tokio::task::JoinSet;

use crate::limits::mb_s;
use crate::usage::Usage;

/// Enough to see a rate; more would only take longer.
const BYTES_MAX: u64 = 2_000_000_000;
/// An answer's size, as consumers that want throughput ask for it.
const FETCH_BYTES: i32 = 8 << 20;
/// How long a log may take to show what was acknowledged.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// What came of reading.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) node: Option<Usage>,
    pub(super) driver: Usage,
}

impl Read {
    pub(super) fn mb_s(&self) -> f64 {
        mb_s(self.bytes, self.took)
    }
}

/// Where each partition's log ends now.
pub(super) async fn ends(client: &Client, topic: &str, partitions: i32) -> Result<Vec<i64>, ClientError> {
    let mut ends = Vec::new();
    for partition in 0..partitions {
        let found = client.list_offset(topic, partition, Position::Latest, Isolation::default()).await?;
        ends.push(found.offset.max(0));
    }
    Ok(ends)
}

/// Waits until the logs together have grown by this many records since these ends; says how long that took.
pub(super) async fn grown(
    client: &Client,
    topic: &str,
    from: &[i64],
    records: u64,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let partitions = i32::try_from(from.len())?;
    loop {
        let now = ends(client, topic, partitions).await?;
        let grown: i64 = now.iter().zip(from).map(|(now, from)| now - from).sum();
        if u64::try_from(grown)? >= records {
            return Ok(began.elapsed());
        }
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "{topic} shows {grown} of {records} acknowledged records after {} s",
            PATIENCE.as_secs()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Reads from these offsets to the ends.
pub(super) async fn measure(
    client: &Client,
    topic: &str,
    from: &[i64],
    process_id: Option<u32>,
) -> anyhow::Result<Read> {
    // What is acknowledged is readable a moment later; reading measures reading, not that moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let to = ends(client, topic, i32::try_from(from.len())?).await?;
    let before = (Instant::now(), process_id.map(Usage::of), Usage::own());
    let (ways, mut readers) = (from.len().max(1), JoinSet::new());
    for (partition, (from, to)) in (0..).zip(from.iter().zip(to)) {
        let share = BYTES_MAX / u64::try_from(ways)?;
        let reader = Reader { client: client.apart(), topic: topic.to_owned(), partition };
        readers.spawn(reader.run(*from, to, share));
    }
    let mut bytes = 0;
    while let Some(read) = readers.join_next().await {
        bytes += read??;
    }
    let node = process_id.zip(before.1).map(|(process_id, before)| Usage::of(process_id).since(before));
    Ok(Read { bytes, took: before.0.elapsed(), node, driver: Usage::own().since(before.2) })
}

struct Reader {
    client: Client,
    topic: String,
    partition: i32,
}

impl Reader {
    /// Reads until an offset or a number of bytes is reached; gives back the bytes.
    async fn run(self, from: i64, to: i64, bytes_max: u64) -> Result<u64, ClientError> {
        let options = FetchOptions { max_bytes: FETCH_BYTES, ..FetchOptions::default() };
        let (mut offset, mut bytes) = (from, 0);
        while offset < to && bytes < bytes_max {
            let answer = self.client.fetch(&self.topic, self.partition, offset, &options).await?;
            bytes += answer.batches.len() as u64;
            offset = log_end(&answer.batches).unwrap_or(offset);
        }
        Ok(bytes)
    }
}
