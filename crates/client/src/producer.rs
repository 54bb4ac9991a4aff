//! A batching producer for commands: hands messages in, gets a receipt for each.
//!
//! Each partition has a task that gathers messages into a batch, writes it, and only then gathers the next: one batch on the
//! way keeps the order through any retry. (A benchmark that wants many on the way starts them itself, with
//! [`Client::produce_start`].) Each partition also has a producer id of its own, so that a write with an unknown end spoils the
//! numbering of that partition only: it goes on under a new id.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use batch::{Builder, Compression, NewRecord};
use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, ProducerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::check;
use crate::{Acks, Client, ClientError, ResponseError, partition_for_key};

/// Messages without a key go to one partition for so long, then to the next: that makes fuller batches than taking turns.
const KEYLESS_RUN: usize = 256;

/// Options of a producer.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Whose word a write waits for.
    pub acks: Acks,
    /// How long a batch waits for more messages.
    pub linger: Duration,
    /// A batch of so many bytes does not wait; no batch of several messages is larger.
    pub batch_bytes: usize,
    /// Number the batches, so that trying again never writes twice. Needs [`Acks::All`].
    pub idempotent: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// Messages that wait per partition; who sends more waits.
    pub queue_max: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            linger: Duration::from_millis(5),
            batch_bytes: 256 << 10,
            idempotent: true,
            compression: Compression::None,
            queue_max: 8_192,
        }
    }
}

/// One message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Decides the partition, if there is one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// In Unix milliseconds; now, if not given.
    pub timestamp_ms: Option<i64>,
}

/// Where a message ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The offset. Negative where the broker does not know it yet: then it is what the broker said for the whole batch.
    pub offset: i64,
    /// The broker's time of appending in Unix milliseconds, or −1 if records keep their own.
    pub append_time_ms: i64,
}

/// The promise of a delivery.
pub struct Receipt {
    receiver: oneshot::Receiver<Result<Delivery, ClientError>>,
}

impl Receipt {
    /// Waits until the message is delivered, or given up.
    pub async fn delivery(self) -> Result<Delivery, ClientError> {
        self.receiver.await.unwrap_or(Err(ClientError::Closed { what: "producer" }))
    }
}

struct Waiting {
    record: NewRecord,
    receipt: oneshot::Sender<Result<Delivery, ClientError>>,
}

impl Waiting {
    /// About what it takes in a batch.
    fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.record.headers.iter().map(|(name, value)| name.len() + length(value) + 8);
        length(&self.record.key) + length(&self.record.value) + headers.sum::<usize>() + 32
    }
}

/// A producer. What was handed in is still written after it is dropped, as long as the runtime lives.
pub struct Producer {
    client: Client,
    options: ProducerOptions,
    partitions: Mutex<HashMap<(String, i32), mpsc::Sender<Waiting>>>,
    keyless: Mutex<usize>,
}

impl Producer {
    /// A producer on this client.
    ///
    /// # Panics
    /// If it is to be idempotent without [`Acks::All`], which brokers refuse.
    #[must_use]
    pub fn new(client: Client, options: ProducerOptions) -> Self {
        assert!(!options.idempotent || options.acks == Acks::All, "idempotence needs all acknowledgements");
        Self { client, options, partitions: Mutex::default(), keyless: Mutex::default() }
    }

    /// Hands a message in: to the partition given, else to its key's, else to any. Waits while that partition's queue is full.
    pub async fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        message: Message,
    ) -> Result<Receipt, ClientError> {
        let partition = match partition {
            Some(partition) => partition,
            None => self.choose(self.client.partitions(topic).await?, &message),
        };
        let (receipt, receiver) = oneshot::channel();
        let record = NewRecord {
            timestamp: message.timestamp_ms.unwrap_or_else(now_ms),
            key: message.key,
            value: message.value,
            headers: message.headers,
        };
        let queue = self.queue(topic, partition);
        let sent = queue.send(Waiting { record, receipt }).await;
        sent.map_err(|_| ClientError::Closed { what: "producer" })?;
        Ok(Receipt { receiver })
    }

    fn choose(&self, partitions: i32, message: &Message) -> i32 {
        if let Some(key) = &message.key {
            return partition_for_key(key, partitions);
        }
        let mut sent = self.keyless.lock().unwrap_or_else(PoisonError::into_inner);
        *sent = sent.wrapping_add(1);
        let turn = *sent / KEYLESS_RUN % usize::try_from(partitions).unwrap_or(1);
        i32::try_from(turn).unwrap_or(0)
    }

    fn queue(&self, topic: &str, partition: i32) -> mpsc::Sender<Waiting> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = partitions.entry((topic.to_owned(), partition)).or_insert_with(|| {
            let (queue, queued) = mpsc::channel(self.options.queue_max.max(1));
            let writer = Writer {
                client: self.client.clone(),
                options: self.options.clone(),
                topic: topic.to_owned(),
                partition,
                queued,
                held: None,
                numbering: None,
            };
            tokio::spawn(writer.run());
            queue
        });
        queue.clone()
    }
}

/// Who writes, and the number of the next record.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    id: i64,
    epoch: i16,
    next: i32,
}

/// The task of one partition.
struct Writer {
    client: Client,
    options: ProducerOptions,
    topic: String,
    partition: i32,
    queued: mpsc::Receiver<Waiting>,
    /// Taken out of the queue, but too large for the batch that was being gathered.
    held: Option<Waiting>,
    numbering: Option<Numbering>,
}

impl Writer {
    async fn run(mut self) {
        while let Some(gathered) = self.gather().await {
            let outcome = self.write(&gathered).await;
            for (delta, waiting) in (0..).zip(gathered) {
                let delivery = outcome.clone().map(|(base, append_time_ms)| {
                    // A base below zero stands for the batch; adding to it could make it look like an offset.
                    let offset = if base < 0 { base } else { base + delta };
                    Delivery { partition: self.partition, offset, append_time_ms }
                });
                // Who does not care for the receipt has dropped it.
                let _ = waiting.receipt.send(delivery);
            }
        }
    }

    /// The messages of the next batch; `None` when the producer is gone and all is written.
    async fn gather(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.queued.recv().await?,
        };
        let mut bytes = first.bytes();
        let mut gathered = vec![first];
        let until = Instant::now() + self.options.linger;
        while bytes < self.options.batch_bytes {
            let Ok(Some(next)) = timeout_at(until, self.queued.recv()).await else { break };
            bytes += next.bytes();
            if bytes > self.options.batch_bytes {
                self.held = Some(next);
                break;
            }
            gathered.push(next);
        }
        Some(gathered)
    }

    /// Base offset and append time.
    async fn write(&mut self, gathered: &[Waiting]) -> Result<(i64, i64), ClientError> {
        let mut builder = Builder::new().compression(self.options.compression);
        if self.options.idempotent {
            let numbering = self.numbering().await?;
            builder = builder.producer(numbering.id, numbering.epoch, numbering.next);
        }
        gathered.iter().for_each(|waiting| builder.push(&waiting.record));
        let records = builder.build();
        match self.client.produce(&self.topic, self.partition, records, self.options.acks).await {
            Ok(answer) => {
                self.count(gathered.len());
                Ok((answer.base_offset, answer.append_time_ms))
            }
            // It was written by an earlier try whose answer was lost, too long ago for the broker to know where.
            Err(error) if error.code() == Some(ResponseError::DuplicateSequenceNumber) => {
                self.count(gathered.len());
                Ok((-1, -1))
            }
            Err(error) => {
                // Whether it was written may be unknown, and then so is the next number.
                self.numbering = None;
                Err(error)
            }
        }
    }

    async fn numbering(&mut self) -> Result<Numbering, ClientError> {
        if let Some(numbering) = self.numbering {
            return Ok(numbering);
        }
        let (id, epoch) = self.client.init_producer_id().await?;
        Ok(*self.numbering.insert(Numbering { id, epoch, next: 0 }))
    }

    fn count(&mut self, records: usize) {
        if let Some(numbering) = &mut self.numbering {
            numbering.next = sequence_after(numbering.next, records);
        }
    }
}

/// Numbers go round from the largest to zero.
fn sequence_after(sequence: i32, records: usize) -> i32 {
    let next = (i64::from(sequence) + records as i64) % (1 << 31);
    i32::try_from(next).expect("a remainder of 2^31 fits")
}

impl Client {
    /// A fresh producer id and its epoch.
    pub async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let mut retry = self.retry();
        loop {
            let outcome = self.call_any(&request).await;
            let outcome = outcome.and_then(|said| {
                check(said.error_code, || "get a producer id".to_owned(), None).map(|()| said)
            });
            match outcome {
                Ok(said) => return Ok((said.producer_id.0, said.producer_epoch)),
                Err(error) => retry.after(error).await?,
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::sequence_after;

    #[test]
    fn sequences_go_round_at_the_end() {
        assert_eq!(sequence_after(0, 3), 3);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }
}
