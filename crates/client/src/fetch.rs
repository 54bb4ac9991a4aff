//! Reading: batches as they lie in the log, and where the log starts and ends.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest};

use crate::client::Lane;
use crate::connection::Connection;
use crate::error::check;
use crate::metadata::topic_name;
use crate::{Client, ClientError};

/// Which records of unfinished transactions are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All.
    ReadUncommitted,
    /// None.
    #[default]
    ReadCommitted,
}

/// How a fetch is asked for.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// At most this much in one answer, per partition and in all; one batch comes in any case.
    pub max_bytes: i32,
    /// The broker answers when it has this much,
    pub min_bytes: i32,
    /// or when this time is over.
    pub max_wait: Duration,
    /// Which records are shown.
    pub isolation: Isolation,
}

impl Default for FetchOptions {
    fn default() -> Self {
        let max_wait = Duration::from_millis(500);
        Self { max_bytes: 8 << 20, min_bytes: 1, max_wait, isolation: Isolation::default() }
    }
}

/// From where in which partition to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPosition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset wanted.
    pub offset: i64,
}

/// What a partition had.
#[derive(Debug, Clone)]
pub struct FetchAnswer {
    /// End of what is readable.
    pub high_watermark: i64,
    /// Start of what is kept.
    pub log_start: i64,
    /// Whole batches and perhaps a cut one at the end. The first may begin before the offset asked for.
    pub batches: Bytes,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first offset kept.
    Earliest,
    /// Behind the last one readable.
    Latest,
    /// The first record from this Unix time in milliseconds on.
    Time(i64),
}

/// Where a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; −1 when no record is that young.
    pub offset: i64,
    /// That record's time; −1 for the ends.
    pub timestamp_ms: i64,
}

impl Client {
    /// Reads one partition from an offset on. Waits at the broker as the options say; who reads several partitions at once does
    /// so with a client for each, see [`Client::apart`].
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: &FetchOptions,
    ) -> Result<FetchAnswer, ClientError> {
        let position = FetchPosition { topic: topic.to_owned(), partition, offset };
        let mut retry = self.retry();
        loop {
            let outcome = match self.leader(Lane::Read, topic, partition).await {
                Ok(leader) => fetch_at(&leader, std::slice::from_ref(&position), options).await,
                Err(error) => Err(error),
            };
            let answer =
                outcome.and_then(|mut answers| answers.pop().map_or_else(|| Err(unsaid(&position)), |a| a.1));
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.after(error).await?,
            }
            self.look_again(&[topic]).await;
        }
    }

    /// Where in a partition this place is.
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        position: Position,
        isolation: Isolation,
    ) -> Result<FoundOffset, ClientError> {
        let mut retry = self.retry();
        loop {
            let outcome = match self.leader(Lane::Ask, topic, partition).await {
                Ok(leader) => list_at(&leader, topic, partition, position, isolation).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(found) => return Ok(found),
                Err(error) => retry.after(error).await?,
            }
            self.look_again(&[topic]).await;
        }
    }
}

/// What each of these partitions had, in one request to one broker. A partition may be refused by itself.
pub(crate) async fn fetch_at(
    connection: &Connection,
    positions: &[FetchPosition],
    options: &FetchOptions,
) -> Result<Vec<(FetchPosition, Result<FetchAnswer, ClientError>)>, ClientError> {
    let request = fetch_request(positions, options);
    let response = connection.call_waiting(&request, options.max_wait).await?;
    check(response.error_code, || "fetch".to_owned(), None)?;
    Ok(positions.iter().map(|position| (position.clone(), answer_for(&response, position))).collect())
}

fn fetch_request(positions: &[FetchPosition], options: &FetchOptions) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for position in positions {
        let partition = FetchPartition::default()
            .with_partition(position.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(position.offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(options.max_bytes);
        match topics.iter_mut().find(|topic| topic.topic.0.as_str() == position.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                FetchTopic::default()
                    .with_topic(topic_name(&position.topic))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(options.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(options.min_bytes)
        .with_max_bytes(options.max_bytes)
        .with_isolation_level(options.isolation as i8)
        .with_session_epoch(-1)
        .with_topics(topics)
}

fn answer_for(response: &FetchResponse, position: &FetchPosition) -> Result<FetchAnswer, ClientError> {
    let topics = response.responses.iter().filter(|topic| topic.topic.0.as_str() == position.topic);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    let said = partitions.find(|said| said.partition_index == position.partition);
    let said = said.ok_or_else(|| unsaid(position))?;
    let FetchPosition { topic, partition, offset } = position;
    check(said.error_code, || format!("fetch {topic}/{partition} from {offset}"), None)?;
    Ok(FetchAnswer {
        high_watermark: said.high_watermark,
        log_start: said.log_start_offset,
        batches: said.records.clone().unwrap_or_default(),
    })
}

fn unsaid(position: &FetchPosition) -> ClientError {
    let reason = format!("nothing is said of {}/{}", position.topic, position.partition);
    ClientError::Malformed { call: "Fetch", reason }
}

async fn list_at(
    connection: &Connection,
    topic: &str,
    partition: i32,
    position: Position,
    isolation: Isolation,
) -> Result<FoundOffset, ClientError> {
    let timestamp = match position {
        Position::Latest => -1,
        Position::Earliest => -2,
        Position::Time(at_ms) => at_ms,
    };
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let asked = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation as i8)
        .with_topics(vec![asked]);
    let response = connection.call(&request).await?;
    let topics = response.topics.iter().filter(|said| said.name.0.as_str() == topic);
    let said = topics.flat_map(|said| &said.partitions).find(|said| said.partition_index == partition);
    let said = said.ok_or_else(|| ClientError::Malformed {
        call: "ListOffsets",
        reason: format!("nothing is said of {topic}/{partition}"),
    })?;
    check(said.error_code, || format!("look up an offset in {topic}/{partition}"), None)?;
    Ok(FoundOffset { offset: said.offset, timestamp_ms: said.timestamp })
}

/// The offset behind the last whole batch in what a fetch returned, or `None` if there is no whole batch.
///
/// Looks at three numbers of each header only, and stops at the first batch that is cut. Unlike [`batch::parse`] it accepts
/// batches that compaction has thinned or emptied, as other brokers serve them.
#[must_use]
pub fn log_end(mut batches: &[u8]) -> Option<i64> {
    /// Base offset and length, which the length does not count.
    const PREFIX: usize = 12;
    const LAST_OFFSET_DELTA: std::ops::Range<usize> = 23..27;
    let mut end = None;
    while let (Some(base), Some(length), Some(delta)) =
        (batches.first_chunk::<8>(), batches.get(8..PREFIX), batches.get(LAST_OFFSET_DELTA))
    {
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let Some(rest) = batches.get(PREFIX + length..) else { break };
        let delta = i32::from_be_bytes(delta.try_into().ok()?);
        end = i64::from_be_bytes(*base).checked_add(i64::from(delta) + 1).or(end);
        batches = rest;
    }
    end
}
