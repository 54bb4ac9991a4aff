//! Producing.

use std::future::Future;
use std::time::Duration;

use batch::BatchError;
use kafka::broker::{Acks, ProduceBatch, ProduceRefusal, Produced, ProducerId, ProducerIdRefusal};
use site::{Acknowledge, Answer, Append, Reading, Refusal, Request};
use tokio::time::timeout;
use uuid::Uuid;

use crate::files::random;
use crate::front::Front;

/// The base offset in an answer whose merged place is not known yet. Some clients add a record's number to it without a
/// guard, so it is far below zero: no client may ever show what looks like an offset.
const UNPLACED_BASE_OFFSET: i64 = -(1 << 40);

/// A write that is held back is refused by the machine when its client's patience is over, and that answer says more
/// than a timeout: it gets a tick and a little more to come first.
const REFUSAL_GRACE: Duration = Duration::from_millis(300);

impl Front {
    /// Appends a batch: it has its place in the journal's queue when this returns, before anything is awaited.
    pub(crate) fn append(
        &self,
        batch: ProduceBatch,
    ) -> impl Future<Output = Result<Produced, ProduceRefusal>> + Send + use<> {
        let log = self.views.current().log(batch.topic);
        let keyless = self.keyless(&batch);
        let waiting = match log {
            Some((_, Reading::Merged)) if !keyless.is_empty() => {
                Err(ProduceRefusal::Keyless { records: keyless })
            }
            Some((topic, Reading::Merged)) => {
                let acknowledge = if batch.acks == Acks::All { Acknowledge::All } else { Acknowledge::Local };
                let (partition, records, patience_ms) = (batch.partition, batch.records, batch.timeout_ms);
                // Who waits no longer, or never did, has paid for its request no more, and the machine may still be to take it.
                let room = self.bounds.to_write(records.len()).ok_or(ProduceRefusal::Overloaded);
                let append = Append { topic, partition, records, acknowledge, patience_ms };
                room.map(|room| self.request_within(Request::Append(append), Some(room)))
            }
            Some((_, Reading::Origin(_))) => Err(ProduceRefusal::ReadOnly),
            None => Err(ProduceRefusal::UnknownTopic),
        };
        let patience = Duration::from_millis(u64::from(batch.timeout_ms.max(1))) + REFUSAL_GRACE;
        let (acks, append_time) = (batch.acks, self.appends_time(batch.topic));
        async move {
            let waiting = waiting?;
            if acks == Acks::None {
                return Ok(Produced {
                    base_offset: UNPLACED_BASE_OFFSET,
                    log_append_time_ms: None,
                    log_start: 0,
                });
            }
            let reply = timeout(patience, waiting).await.map_err(|_| ProduceRefusal::TimedOut)?;
            match reply
                .map_err(|_| ProduceRefusal::NotWritable("this site is stopping".into()))?
                .map_err(|why| refusal(&why))?
            {
                Answer::Appended { base_offset, stamp } => {
                    let offset = base_offset.and_then(|offset| i64::try_from(offset).ok());
                    let time = i64::try_from(stamp.unix_ms()).unwrap_or(i64::MAX);
                    Ok(Produced {
                        base_offset: offset.unwrap_or(UNPLACED_BASE_OFFSET),
                        log_append_time_ms: append_time.then_some(time),
                        log_start: 0,
                    })
                }
                other => unreachable!("an append is answered as one, not with {other:?}"),
            }
        }
    }

    /// Records of a compacted topic need keys. Looked for here, since it takes unpacking, which the engine has no time for.
    fn keyless(&self, batch: &ProduceBatch) -> Vec<u32> {
        let view = self.views.current();
        let topic = view.cluster.topics_by_id.get(&batch.topic);
        let policy = topic.and_then(|topic| topic.settings.get("cleanup.policy"));
        if policy.is_none_or(|policy| !policy.contains("compact")) {
            return Vec::new();
        }
        // What cannot be unpacked is kept as it is; of what is no batch at all the machine says what is wrong with it.
        batch::keyless(&batch.records, batch::DecompressLimits::default()).unwrap_or_default()
    }

    fn appends_time(&self, topic: Uuid) -> bool {
        let view = self.views.current();
        let topic = view.cluster.topics_by_id.get(&topic);
        topic
            .and_then(|topic| topic.settings.get("message.timestamp.type"))
            .is_some_and(|kind| kind == "LogAppendTime")
    }

    /// Draws a producer id that no site has ever given out. A site that takes no records draws one at random: a client asks whom
    /// it has reached first, keeps to that one, and writes elsewhere only with an id.
    pub(crate) async fn draw_producer_id(&self) -> Result<ProducerId, ProducerIdRefusal> {
        match self.request(Request::ProducerId).await {
            Ok(Ok(Answer::ProducerId(id))) => Ok(ProducerId { id, epoch: 0 }),
            Ok(Ok(other)) => unreachable!("a producer id was asked for, not {other:?}"),
            Ok(Err(refusal)) => {
                let drawn = random().map_err(|_| ProducerIdRefusal::NotReady(refusal.to_string()))?;
                Ok(ProducerId { id: random_id(drawn), epoch: 0 })
            }
            Err(_) => Err(ProducerIdRefusal::NotReady("this site is stopping".into())),
        }
    }
}

/// An id out of the half of all ids that no site draws from its stamps: 62 random bits.
fn random_id(drawn: [u8; 8]) -> i64 {
    i64::try_from(1 << 62 | u64::from_le_bytes(drawn) >> 2).expect("63 bits")
}

fn refusal(refusal: &Refusal) -> ProduceRefusal {
    match refusal {
        Refusal::UnknownPartition => ProduceRefusal::UnknownTopic,
        Refusal::DiskFull => ProduceRefusal::DiskFull,
        Refusal::Busy => ProduceRefusal::Overloaded,
        Refusal::Unreplicated { .. } => ProduceRefusal::HeldBack(refusal.to_string()),
        Refusal::EarlierRefused => ProduceRefusal::AfterRefused,
        Refusal::TooLarge { bytes, max } => ProduceRefusal::TooLarge { bytes: *bytes, bytes_max: *max },
        Refusal::NotOneBatch(_) => ProduceRefusal::Invalid(refusal.to_string()),
        Refusal::BadBatch(error) => bad_batch(error),
        Refusal::NotReady(_)
        | Refusal::Stopping
        | Refusal::Halted(_)
        | Refusal::Backlog { .. }
        | Refusal::Clock(_)
        | Refusal::Fence(_)
        | Refusal::Members(_)
        | Refusal::Catalog(_) => ProduceRefusal::NotWritable(refusal.to_string()),
    }
}

fn bad_batch(error: &BatchError) -> ProduceRefusal {
    match error {
        BatchError::Crc { .. } | BatchError::Truncated { .. } => ProduceRefusal::Corrupt(error.to_string()),
        BatchError::Magic { .. } => ProduceRefusal::OldFormat,
        BatchError::TooLarge { bytes, limit } => {
            ProduceRefusal::TooLarge { bytes: *bytes, bytes_max: *limit }
        }
        _ => ProduceRefusal::Invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::random_id;

    #[test]
    fn ids_at_random_are_apart_from_those_of_sites() {
        let first = (i64::from(site::SITE_ID_MAX) + 1) << 48;
        assert_eq!(random_id([0; 8]), first, "the id of the first site that no configuration may list");
        assert_eq!(random_id([0xff; 8]), i64::MAX);
    }
}
