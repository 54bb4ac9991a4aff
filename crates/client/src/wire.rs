//! Requests as frames, answers from frames.
//!
//! A frame is a list of byte pieces, written with one vectored write: the records of a produce request go from their owner to
//! the socket without being copied. The newest version that both sides speak is used, up to the ceiling in [`version_max`]
//! (above it, calls name topics by id or change shape in ways this client has no use for).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::ClientError;

/// Pieces of one frame, without its length prefix.
pub(crate) type Pieces = Vec<Bytes>;

/// The newest version of a call that this client speaks; `None` for calls it does not make.
pub(crate) fn version_max(key: ApiKey) -> Option<i16> {
    Some(match key {
        ApiKey::Produce => 11,
        ApiKey::Fetch | ApiKey::Metadata => 12,
        ApiKey::ListOffsets => 8,
        ApiKey::OffsetCommit | ApiKey::JoinGroup => 9,
        ApiKey::OffsetFetch | ApiKey::CreateTopics => 7,
        ApiKey::LeaveGroup | ApiKey::SyncGroup | ApiKey::DescribeGroups | ApiKey::DeleteTopics => 5,
        ApiKey::Heartbeat | ApiKey::ListGroups | ApiKey::DescribeConfigs | ApiKey::InitProducerId => 4,
        ApiKey::FindCoordinator | ApiKey::ApiVersions | ApiKey::CreatePartitions => 3,
        ApiKey::DeleteGroups => 2,
        ApiKey::IncrementalAlterConfigs | ApiKey::DescribeCluster => 1,
        _ => return None,
    })
}

/// How errors name a call.
pub(crate) fn call_name(key: i16) -> &'static str {
    match ApiKey::try_from(key) {
        Ok(ApiKey::Produce) => "Produce",
        Ok(ApiKey::Fetch) => "Fetch",
        Ok(ApiKey::ListOffsets) => "ListOffsets",
        Ok(ApiKey::Metadata) => "Metadata",
        Ok(ApiKey::OffsetCommit) => "OffsetCommit",
        Ok(ApiKey::OffsetFetch) => "OffsetFetch",
        Ok(ApiKey::FindCoordinator) => "FindCoordinator",
        Ok(ApiKey::JoinGroup) => "JoinGroup",
        Ok(ApiKey::Heartbeat) => "Heartbeat",
        Ok(ApiKey::LeaveGroup) => "LeaveGroup",
        Ok(ApiKey::SyncGroup) => "SyncGroup",
        Ok(ApiKey::DescribeGroups) => "DescribeGroups",
        Ok(ApiKey::ListGroups) => "ListGroups",
        Ok(ApiKey::ApiVersions) => "ApiVersions",
        Ok(ApiKey::CreateTopics) => "CreateTopics",
        Ok(ApiKey::DeleteTopics) => "DeleteTopics",
        Ok(ApiKey::InitProducerId) => "InitProducerId",
        Ok(ApiKey::DescribeConfigs) => "DescribeConfigs",
        Ok(ApiKey::IncrementalAlterConfigs) => "IncrementalAlterConfigs",
        Ok(ApiKey::CreatePartitions) => "CreatePartitions",
        Ok(ApiKey::DeleteGroups) => "DeleteGroups",
        Ok(ApiKey::DescribeCluster) => "DescribeCluster",
        _ => "an unnamed call",
    }
}

/// A whole request as one piece.
pub(crate) fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation: i32,
    client_id: &str,
) -> Result<Pieces, ClientError> {
    let mut frame = BytesMut::new();
    let header = header(R::KEY, version, correlation, client_id);
    let written = header.encode(&mut frame, R::header_version(version));
    written.and_then(|()| request.encode(&mut frame, version)).map_err(|reason| {
        ClientError::Unspeakable { call: call_name(R::KEY), reason: format!("{reason:#}") }
    })?;
    Ok(vec![frame.freeze()])
}

/// The body of an answer, behind its header.
pub(crate) fn decode<R: Request>(mut frame: Bytes, version: i16) -> Result<R::Response, ClientError> {
    let read = ResponseHeader::decode(&mut frame, R::Response::header_version(version));
    read.and_then(|_| R::Response::decode(&mut frame, version))
        .map_err(|reason| ClientError::Malformed { call: call_name(R::KEY), reason: format!("{reason:#}") })
}

fn header(key: i16, version: i16, correlation: i32, client_id: &str) -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())))
}

/// One batch for one partition.
#[derive(Debug, Clone)]
pub(crate) struct Produce<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: Bytes,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
}

/// First version whose strings and arrays are compact and whose structures end in tags.
const PRODUCE_FLEXIBLE: i16 = 9;

/// A produce request as three pieces, the middle one being the caller's records themselves.
pub(crate) fn encode_produce(
    produce: &Produce<'_>,
    version: i16,
    correlation: i32,
    client_id: &str,
) -> Result<Pieces, ClientError> {
    let too_long = |what: &str| ClientError::Unspeakable {
        call: "Produce",
        reason: format!("{what} is too long for the protocol"),
    };
    let topic_length = i16::try_from(produce.topic.len()).map_err(|_| too_long("the topic name"))?;
    let records_length = i32::try_from(produce.records.len()).map_err(|_| too_long("the batch"))?;
    let flexible = version >= PRODUCE_FLEXIBLE;
    let mut head = BytesMut::with_capacity(128 + produce.topic.len());
    header(ApiKey::Produce as i16, version, correlation, client_id)
        .encode(&mut head, if flexible { 2 } else { 1 })
        .map_err(|reason| ClientError::Unspeakable { call: "Produce", reason: format!("{reason:#}") })?;
    if flexible {
        head.put_u8(0); // no transactional id
        head.put_i16(produce.acks);
        head.put_i32(produce.timeout_ms);
        head.put_u8(2); // one topic
        put_unsigned_varint(&mut head, topic_length.unsigned_abs().into(), 1);
        head.put_slice(produce.topic.as_bytes());
        head.put_u8(2); // one partition
        head.put_i32(produce.partition);
        put_unsigned_varint(&mut head, records_length.unsigned_abs(), 1);
        // Behind the records: the tags of partition, topic and request, all empty.
        Ok(vec![head.freeze(), produce.records.clone(), Bytes::from_static(&[0, 0, 0])])
    } else {
        head.put_i16(-1); // no transactional id
        head.put_i16(produce.acks);
        head.put_i32(produce.timeout_ms);
        head.put_i32(1); // one topic
        head.put_i16(topic_length);
        head.put_slice(produce.topic.as_bytes());
        head.put_i32(1); // one partition
        head.put_i32(produce.partition);
        head.put_i32(records_length);
        Ok(vec![head.freeze(), produce.records.clone()])
    }
}

/// Compact lengths are one more than they say, so that zero can mean null.
fn put_unsigned_varint(out: &mut BytesMut, length: u32, more: u32) {
    let mut rest = length + more;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ProduceRequest, TopicName};
    use kafka_protocol::protocol::StrBytes;

    use super::{Produce, encode, encode_produce};

    #[test]
    fn a_produce_in_pieces_is_the_same_bytes_as_one_encoded_whole() {
        for (version, size) in
            (3..=11).flat_map(|version| [0, 100, 127, 128, 70_000].map(|size| (version, size)))
        {
            let records = Bytes::from(vec![7_u8; size]);
            let produce = Produce {
                topic: "eu-west.orders",
                partition: 3,
                records: records.clone(),
                acks: -1,
                timeout_ms: 9,
            };
            let pieces = encode_produce(&produce, version, 42, "me").unwrap();
            assert_eq!(pieces[1].as_ptr(), records.as_ptr(), "the records are not copied");
            let partition = PartitionProduceData::default().with_index(3).with_records(Some(records));
            let topic = TopicProduceData::default()
                .with_name(TopicName(StrBytes::from_static_str("eu-west.orders")))
                .with_partition_data(vec![partition]);
            let whole =
                ProduceRequest::default().with_acks(-1).with_timeout_ms(9).with_topic_data(vec![topic]);
            let whole = encode(&whole, version, 42, "me").unwrap();
            assert_eq!(pieces.concat(), whole.concat(), "version {version}, {size} bytes");
        }
    }
}
