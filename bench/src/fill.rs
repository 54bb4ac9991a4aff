//! Filling a topic: so many bytes as fast as a site takes them, and waiting until another one shows them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::{Acks, Isolation, Position};
use tokio::task::JoinSet;

use crate::target::Place;
use crate::throughput::Parcel;

/// Batches without an answer, of each partition.
const UNANSWERED_MAX: usize = 32;
const POLL: Duration = Duration::from_millis(20);

/// A topic that is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) topic: &'static str,
    pub(crate) partitions: i32,
    pub(crate) record_bytes: usize,
    pub(crate) batch_bytes: usize,
}

impl Fill {
    /// Writes at least so much to each partition in equal parts; says how much it was.
    pub(crate) async fn write(self, place: &Place, bytes: u64) -> anyhow::Result<u64> {
        let parcel = Parcel::fill(self.record_bytes, self.batch_bytes);
        let share = bytes.div_ceil(u64::try_from(self.partitions)?.max(1));
        let mut writers = JoinSet::new();
        for partition in 0..self.partitions {
            let (client, batch) = (place.client.apart(), parcel.batch.clone());
            writers.spawn(async move {
                let (mut unanswered, mut written) = (VecDeque::new(), 0);
                while written < share || !unanswered.is_empty() {
                    if written < share && unanswered.len() < UNANSWERED_MAX {
                        let sent = client.produce_start(self.topic, partition, batch.clone(), Acks::Leader);
                        unanswered.push_back(sent.await?);
                        written += batch.len() as u64;
                    } else if let Some(oldest) = unanswered.pop_front() {
                        oldest.answer().await?;
                    }
                }
                anyhow::Ok(written)
            });
        }
        let mut written = 0;
        while let Some(one) = writers.join_next().await {
            written += one??;
        }
        Ok(written)
    }

    /// Where each partition of a log ends at this place.
    pub(crate) async fn ends(self, place: &Place, log: &str) -> anyhow::Result<Vec<i64>> {
        let mut ends = Vec::new();
        for partition in 0..self.partitions {
            let found =
                place.client.list_offset(log, partition, Position::Latest, Isolation::default()).await?;
            ends.push(found.offset.max(0));
        }
        Ok(ends)
    }

    /// Waits until each partition of a log has come so far at this place.
    pub(crate) async fn reaches(
        self,
        place: &Place,
        log: &str,
        ends: &[i64],
        patience: Duration,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let now = self.ends(place, log).await?;
            if now.iter().zip(ends).all(|(now, end)| now >= end) {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < patience,
                "{log} at {} is at {now:?} of {ends:?} and stays there",
                place.name
            );
            tokio::time::sleep(POLL).await;
        }
    }
}
