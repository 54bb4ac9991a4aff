//! Open-loop load: one marked record per beat and batch, and how long each took to be acknowledged.

use std::time::{Duration, Instant};

use batch::{Builder, NewRecord};
use bytes::Bytes;
use client::{Acks, Client};
use tokio::task::JoinSet;

use crate::pace::{self, Rhythm};
use crate::quantiles::Latencies;

/// What a record says of itself: who sent it, and when it was due, in nanoseconds since a moment that sender and readers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) source: u16,
    pub(crate) counts: bool,
    pub(crate) due_ns: u64,
}

/// Tells our records from others' in a topic that is not ours alone.
const MAGIC: [u8; 4] = *b"mark";
const MARK_BYTES: usize = 15;

impl Mark {
    /// A value of at least this length that begins with the mark.
    pub(crate) fn value(self, bytes: usize) -> Bytes {
        let mut value = Vec::with_capacity(bytes.max(MARK_BYTES));
        value.extend_from_slice(&MAGIC);
        value.extend_from_slice(&self.source.to_be_bytes());
        value.push(u8::from(self.counts));
        value.extend_from_slice(&self.due_ns.to_be_bytes());
        value.resize(bytes.max(MARK_BYTES), b'.');
        value.into()
    }

    /// The mark that a value begins with, if it does.
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        let rest = value.strip_prefix(&MAGIC)?;
        let (source, rest) = rest.split_first_chunk()?;
        let (counts, rest) = rest.split_first()?;
        let due_ns = u64::from_be_bytes(*rest.first_chunk()?);
        Some(Self { source: u16::from_be_bytes(*source), counts: *counts != 0, due_ns })
    }
}

/// Where a load goes and what it is made of.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) topic: String,
    pub(crate) source: u16,
    pub(crate) acks: Acks,
    pub(crate) record_bytes: usize,
}

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    /// From due to acknowledged.
    pub(crate) acked: Latencies,
    /// From due to handed to the connection: the driver's own part.
    pub(crate) handed: Latencies,
    pub(crate) counted: u64,
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<String>,
}

/// Sends a record at every beat and waits for all answers.
pub(crate) async fn drive(stream: Stream, rhythm: Rhythm, zero: Instant) -> anyhow::Result<Driven> {
    drive_until(stream, rhythm, zero, std::future::pending()).await
}

/// The same, but no longer than until this is over.
pub(crate) async fn drive_until(
    stream: Stream,
    rhythm: Rhythm,
    zero: Instant,
    over: impl Future<Output = ()>,
) -> anyhow::Result<Driven> {
    let mut beats = pace::start(rhythm, zero)?;
    let mut driven = Driven::default();
    let mut answers = JoinSet::new();
    let mut over = std::pin::pin!(over);
    loop {
        let beat = tokio::select! {
            () = &mut over => break,
            beat = beats.recv() => beat,
        };
        let Some(beat) = beat else { break };
        let counts = rhythm.counts(zero, beat);
        let mark = Mark { source: stream.source, counts, due_ns: since(zero, beat.due) };
        let batch = one_record(mark, stream.record_bytes);
        let started = stream.client.produce_start(&stream.topic, 0, batch, stream.acks).await;
        if counts {
            driven.counted += 1;
            driven.handed.record(beat.due.elapsed());
        }
        match started {
            Ok(on_its_way) => {
                let acked = counts.then(|| driven.acked.clone());
                answers.spawn(async move {
                    let answer = on_its_way.answer().await?;
                    if let Some(acked) = acked {
                        acked.record(answer.acked.saturating_duration_since(beat.due));
                    }
                    Ok::<(), client::ClientError>(())
                });
            }
            Err(error) => driven.refuse(&error),
        }
        while let Some(Ok(outcome)) = answers.try_join_next() {
            outcome.unwrap_or_else(|error| driven.refuse(&error));
        }
    }
    while let Some(outcome) = answers.join_next().await {
        outcome?.unwrap_or_else(|error| driven.refuse(&error));
    }
    Ok(driven)
}

impl Driven {
    fn refuse(&mut self, error: &client::ClientError) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(|| error.to_string());
    }
}

/// A batch of one marked record.
pub(crate) fn one_record(mark: Mark, bytes: usize) -> Bytes {
    Builder::new().record(&NewRecord::value(0, mark.value(bytes))).build()
}

/// Nanoseconds from `zero` to `at`.
pub(crate) fn since(zero: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(zero).as_nanos()).unwrap_or(u64::MAX)
}

/// How long ago a mark was due, seen from `at`.
pub(crate) fn age(mark: Mark, zero: Instant, at: Instant) -> Duration {
    Duration::from_nanos(since(zero, at).saturating_sub(mark.due_ns))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Mark, age, one_record};

    #[test]
    fn a_mark_survives_its_way_through_a_batch() {
        let mark = Mark { source: 7, counts: true, due_ns: 123_456_789 };
        let batch = one_record(mark, 1_024);
        let read = client::read_records(&batch, 0).unwrap();
        let value = read[0].record.value.clone().unwrap();
        assert_eq!((value.len(), Mark::of(&value)), (1_024, Some(mark)));
    }

    #[test]
    fn strangers_values_have_no_mark() {
        assert_eq!(Mark::of(b"hello"), None);
        assert_eq!(Mark::of(b"mark\0\x01"), None, "cut short");
    }

    #[test]
    fn ages_count_from_the_due_time() {
        let zero = Instant::now();
        let mark = Mark { source: 0, counts: true, due_ns: 2_000_000 };
        assert_eq!(age(mark, zero, zero + Duration::from_millis(5)), Duration::from_millis(3));
        assert_eq!(age(mark, zero, zero), Duration::ZERO);
    }
}
