//! Readers that note when each marked record became visible to them.

use std::time::{Duration, Instant};

use client::{Client, ClientError, FetchOptions, Isolation, Position, ResponseError, log_end, read_records};
use tokio::task::JoinHandle;

use crate::load::{Mark, age};
use crate::quantiles::Latencies;

/// A reader at the end of partition 0 of one topic at one place.
pub(crate) struct Watcher {
    /// By source.
    pub(crate) seen: Vec<Latencies>,
    task: JoinHandle<ClientError>,
}

/// How often a watcher is asked whether it has seen everything.
const POLL: Duration = Duration::from_millis(50);

impl Watcher {
    /// Starts reading behind what is there now, over a connection of its own.
    pub(crate) async fn start(
        client: &Client,
        topic: String,
        sources: usize,
        zero: Instant,
    ) -> Result<Self, ClientError> {
        let client = client.apart();
        client.partitions(&topic).await?;
        let found = client.list_offset(&topic, 0, Position::Latest, Isolation::default()).await?;
        let seen: Vec<Latencies> = std::iter::repeat_with(Latencies::default).take(sources).collect();
        let reading = Reading { client, topic, offset: found.offset.max(0), zero, seen: seen.clone() };
        Ok(Self { seen, task: tokio::spawn(reading.run()) })
    }

    /// Waits until it has seen this many counted records of every source it should, but not longer than `until`; then ends it.
    /// Says why it ended by itself, if it did.
    pub(crate) async fn finish(self, wanted: &[u64], until: Instant) -> anyhow::Result<Vec<Latencies>> {
        let complete = || self.seen.iter().zip(wanted).all(|(seen, wanted)| seen.count() >= *wanted);
        while !complete() && Instant::now() < until && !self.task.is_finished() {
            tokio::time::sleep(POLL).await;
        }
        if self.task.is_finished() {
            return Err(self.task.await?.into());
        }
        self.task.abort();
        Ok(self.seen)
    }
}

struct Reading {
    client: Client,
    topic: String,
    offset: i64,
    zero: Instant,
    seen: Vec<Latencies>,
}

impl Reading {
    async fn run(mut self) -> ClientError {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    async fn step(&mut self) -> Result<(), ClientError> {
        let fetched = self.client.fetch(&self.topic, 0, self.offset, &FetchOptions::default()).await;
        let at = Instant::now();
        let answer = match fetched {
            Ok(answer) => answer,
            // The log begins further on than where an empty one said it would.
            Err(error) if error.code() == Some(ResponseError::OffsetOutOfRange) => {
                let position = Position::Earliest;
                self.offset =
                    self.client.list_offset(&self.topic, 0, position, Isolation::default()).await?.offset;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for read in read_records(&answer.batches, self.offset)? {
            let mark = read.record.value.as_deref().and_then(Mark::of).filter(|mark| mark.counts);
            if let Some(mark) = mark
                && let Some(seen) = self.seen.get(usize::from(mark.source))
            {
                seen.record(age(mark, self.zero, at));
            }
        }
        self.offset = log_end(&answer.batches).unwrap_or(self.offset).max(self.offset);
        Ok(())
    }
}
