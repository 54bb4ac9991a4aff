//! Writing batches: one at a time with patience, or many on the way at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;

use crate::client::Lane;
use crate::connection::Pending;
use crate::error::check;
use crate::wire::{Produce, decode};
use crate::{Client, ClientError};

/// Whose word a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody's; nothing is known of it.
    None,
    /// The leader's.
    Leader,
    /// That of all replicas the topic asks for.
    #[default]
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a broker answered to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// The first record's offset. Negative where the broker does not say it: far below −1 when its place is not settled yet.
    pub base_offset: i64,
    /// The broker's time of appending in Unix milliseconds, or −1 if the records keep their own.
    pub append_time_ms: i64,
    /// When the request was handed to the connection.
    pub sent: Instant,
    /// When the whole answer was here.
    pub acked: Instant,
}

/// A batch on its way.
pub struct InFlight {
    pending: Pending,
    version: i16,
    sent: Instant,
    topic: String,
    partition: i32,
}

impl InFlight {
    /// Waits for the answer.
    pub async fn answer(self) -> Result<ProduceAnswer, ClientError> {
        let answer = self.pending.answer().await?;
        let acked = answer.at;
        let response = decode::<ProduceRequest>(answer.frame, self.version)?;
        let topic = response.responses.into_iter().find(|topic| topic.name.0.as_str() == self.topic);
        let mut partitions = topic.into_iter().flat_map(|topic| topic.partition_responses);
        let Some(said) = partitions.find(|partition| partition.index == self.partition) else {
            let reason = format!("nothing is said of {}/{}", self.topic, self.partition);
            return Err(ClientError::Malformed { call: "Produce", reason });
        };
        let what = || format!("produce to {}/{}", self.topic, self.partition);
        check(said.error_code, what, said.error_message.as_deref())?;
        let (base_offset, append_time_ms) = (said.base_offset, said.log_append_time_ms);
        Ok(ProduceAnswer { base_offset, append_time_ms, sent: self.sent, acked })
    }
}

/// How long a broker may take to gather the acknowledgements it was asked for.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Writes one built batch to a partition, following its leader and trying again as the options say.
    ///
    /// Trying again may write it twice, unless the batch carries a producer id and sequence. With [`Acks::None`] the answer is
    /// made up: offset −1, acknowledged when handed over.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: Bytes,
        acks: Acks,
    ) -> Result<ProduceAnswer, ClientError> {
        let mut retry = self.retry();
        loop {
            let outcome = if acks == Acks::None {
                self.produce_unanswered(topic, partition, records.clone()).await
            } else {
                self.produce_once(topic, partition, records.clone(), acks).await
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.after(error).await?,
            }
            self.look_again(&[topic]).await;
        }
    }

    async fn produce_once(
        &self,
        topic: &str,
        partition: i32,
        records: Bytes,
        acks: Acks,
    ) -> Result<ProduceAnswer, ClientError> {
        self.produce_start(topic, partition, records, acks).await?.answer().await
    }

    /// Sends one batch without waiting for its answer and without trying again. Batches of one caller to one partition arrive in
    /// the order they were started in. Waits only while the connection has too many on the way.
    ///
    /// # Panics
    /// With [`Acks::None`], which brokers do not answer.
    pub async fn produce_start(
        &self,
        topic: &str,
        partition: i32,
        records: Bytes,
        acks: Acks,
    ) -> Result<InFlight, ClientError> {
        assert_ne!(acks, Acks::None, "a write without acknowledgement has no answer to wait for");
        let connection = self.leader(Lane::Write, topic, partition).await?;
        let version = connection.version::<ProduceRequest>()?;
        let sent = Instant::now();
        let produce = request(topic, partition, records, acks);
        let pending = connection.produce(&produce, version).await?;
        Ok(InFlight { pending, version, sent, topic: topic.to_owned(), partition })
    }

    async fn produce_unanswered(
        &self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Result<ProduceAnswer, ClientError> {
        let connection = self.leader(Lane::Write, topic, partition).await?;
        let version = connection.version::<ProduceRequest>()?;
        let sent = Instant::now();
        connection.produce_unanswered(&request(topic, partition, records, Acks::None), version).await?;
        Ok(ProduceAnswer { base_offset: -1, append_time_ms: -1, sent, acked: Instant::now() })
    }
}

fn request(topic: &str, partition: i32, records: Bytes, acks: Acks) -> Produce<'_> {
    let timeout_ms = i32::try_from(ACK_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
    Produce { topic, partition, records, acks: acks.code(), timeout_ms }
}
