//! The client against scripted brokers: order, retries, limits, and a group of one.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse,
    FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse,
    MetadataRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    ProduceRequest, ProduceResponse, ProducerId, SyncGroupRequest, SyncGroupResponse,
    join_group_response::JoinGroupResponseMember,
};

use crate::assign::{encode_assignment, encode_subscription};
use crate::metadata::{text, topic_name};
use crate::scripted::{Asked, Broker, Does, cluster};
use crate::{
    Acks, Client, ClientError, FetchOptions, GroupConsumer, GroupOptions, Message, NewTopic, Options,
    Producer, ProducerOptions, log_end,
};

fn options() -> Options {
    let millis = Duration::from_millis;
    Options {
        retry_pause: millis(1),
        request_timeout: millis(5_000),
        retry_for: millis(20_000),
        ..Options::default()
    }
}

async fn client(address: &str) -> Client {
    Client::connect(&[address.to_owned()], options()).await.unwrap()
}

fn produced(asked: &Asked, error: i16, base_offset: i64) -> Vec<u8> {
    let partition = PartitionProduceResponse::default().with_error_code(error).with_base_offset(base_offset);
    let topic =
        TopicProduceResponse::default().with_name(topic_name("t")).with_partition_responses(vec![partition]);
    asked.answer::<ProduceRequest>(&ProduceResponse::default().with_responses(vec![topic]))
}

fn records(asked: &Asked) -> Bytes {
    let mut request: ProduceRequest = asked.request();
    request.topic_data.remove(0).partition_data.remove(0).records.unwrap()
}

/// A header such as a batch has, with nothing behind it.
fn batch(base_offset: i64, records: i32) -> Vec<u8> {
    let mut batch = vec![0; 61];
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[8..12].copy_from_slice(&49_i32.to_be_bytes());
    batch[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    batch
}

#[tokio::test]
async fn answers_find_their_requests_in_whatever_order_they_come() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let mut held: Vec<Vec<u8>> = Vec::new();
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ => {
            let said = i64::from(records(asked)[0]);
            held.push(produced(asked, 0, said));
            let is_last = held.len() == 3;
            Does::Writes(if is_last { held.drain(..).rev().flatten().collect() } else { Vec::new() })
        }
    });
    let client = client(&address).await;
    let mut started = Vec::new();
    for mark in 0..3_u8 {
        started.push(client.produce_start("t", 0, Bytes::from(vec![mark; 70_000]), Acks::All).await.unwrap());
    }
    for (mark, in_flight) in (0..).zip(started) {
        let answer = in_flight.answer().await.unwrap();
        assert_eq!(answer.base_offset, mark);
        assert!(answer.sent <= answer.acked);
    }
}

#[tokio::test]
async fn a_refused_write_follows_the_leader_to_another_broker() {
    let (old, new) = (Broker::bind().await, Broker::bind().await);
    let (address, ports) = (old.address.clone(), [old.port, new.port]);
    let mut leader = 1;
    old.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&ports, leader))),
        _ => {
            leader = 2;
            Does::Writes(produced(asked, ResponseError::NotLeaderOrFollower.code(), -1))
        }
    });
    new.start(|asked| Does::Writes(produced(asked, 0, -(1 << 40))));
    let answer =
        client(&address).await.produce("t", 0, Bytes::from_static(b"x"), Acks::Leader).await.unwrap();
    assert_eq!(answer.base_offset, -(1 << 40), "what the broker says is passed on as it is");
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_and_a_final_refusal_is_final() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let mut closes = 2;
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ if closes > 0 => {
            closes -= 1;
            Does::Closes
        }
        _ if records(asked) == "large" => {
            Does::Writes(produced(asked, ResponseError::MessageTooLarge.code(), -1))
        }
        _ => Does::Writes(produced(asked, 0, 7)),
    });
    let client = client(&address).await;
    assert_eq!(client.produce("t", 0, Bytes::from_static(b"x"), Acks::All).await.unwrap().base_offset, 7);
    let error = client.produce("t", 0, Bytes::from_static(b"large"), Acks::All).await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::MessageTooLarge));
    assert!(error.to_string().contains("t/0"), "{error}");
}

#[tokio::test]
async fn a_change_is_tried_again_only_when_it_was_surely_not_made() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let mut answers = vec![0, ResponseError::RequestTimedOut.code(), 0, ResponseError::NotController.code()];
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ => {
            let said = CreatableTopicResult::default().with_error_code(answers.pop().unwrap());
            let response = CreateTopicsResponse::default().with_topics(vec![said]);
            Does::Writes(asked.answer::<CreateTopicsRequest>(&response))
        }
    });
    let (client, topic) = (client(&address).await, NewTopic { name: "t".to_owned(), ..NewTopic::default() });
    client.create_topic(&topic).await.expect("the second try succeeds");
    let error = client.create_topic(&topic).await.unwrap_err();
    assert_eq!(error.code(), Some(ResponseError::RequestTimedOut), "it may have been made");
}

#[tokio::test]
async fn writes_without_acknowledgement_do_not_confuse_what_follows() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let mut unanswered = 0;
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ if asked.request::<ProduceRequest>().acks == 0 => {
            unanswered += 1;
            Does::Writes(Vec::new())
        }
        _ => Does::Writes(produced(asked, 0, unanswered)),
    });
    let client = client(&address).await;
    for _ in 0..5 {
        client.produce("t", 0, Bytes::from_static(b"x"), Acks::None).await.unwrap();
    }
    assert_eq!(client.produce("t", 0, Bytes::from_static(b"x"), Acks::All).await.unwrap().base_offset, 5);
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_connection_and_everyone_waiting_hears_of_it() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ if records(asked) == "first" => Does::Writes(Vec::new()),
        _ => Does::Writes(vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    });
    let client = client(&address).await;
    let first = client.produce_start("t", 0, Bytes::from_static(b"first"), Acks::All).await.unwrap();
    let second = client.produce_start("t", 0, Bytes::from_static(b"second"), Acks::All).await.unwrap();
    for in_flight in [first, second] {
        let error = in_flight.answer().await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Lost { reason, .. } if reason.contains("2147483647")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_broker_that_only_knows_the_first_version_of_asking_is_asked_again() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let mut asked_as = Vec::new();
    broker.start_raw(move |asked| match asked.key {
        ApiKey::ApiVersions if asked.version > 0 => {
            asked_as.push(asked.version);
            let old = Asked::of_version(asked, 0);
            let code = ResponseError::UnsupportedVersion.code();
            Does::Writes(
                old.answer::<ApiVersionsRequest>(&ApiVersionsResponse::default().with_error_code(code)),
            )
        }
        ApiKey::ApiVersions => {
            let offered = [(ApiKey::Produce, 3, 7), (ApiKey::Metadata, 0, 4)].map(|(key, min, max)| {
                ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max)
            });
            let response = ApiVersionsResponse::default().with_api_keys(offered.to_vec());
            Does::Writes(asked.answer::<ApiVersionsRequest>(&response))
        }
        ApiKey::Metadata => {
            assert_eq!(asked.version, 4);
            Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1)))
        }
        _ => Does::Writes(produced(asked, 0, asked.version.into())),
    });
    let client = client(&address).await;
    assert_eq!(client.produce("t", 0, Bytes::from_static(b"x"), Acks::All).await.unwrap().base_offset, 7);
    let error = client.fetch("t", 0, 0, &FetchOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::NoVersion { call: "Fetch", .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let broker = Broker::bind().await;
    let address = broker.address.clone();
    drop(broker);
    let error = Client::connect(std::slice::from_ref(&address), options()).await.err().unwrap();
    assert!(matches!(&error, ClientError::Unreachable { address: at, .. } if *at == address), "{error}");
}

#[test]
fn the_end_of_what_was_read_is_that_of_the_last_whole_batch() {
    assert_eq!(log_end(&[]), None);
    let mut batches = batch(10, 5);
    assert_eq!(log_end(&batches), Some(15));
    batches.extend(batch(15, 1));
    assert_eq!(log_end(&batches), Some(16));
    batches.extend(&batch(16, 9)[..60]);
    assert_eq!(log_end(&batches), Some(16), "a cut batch does not count");
}

fn fetched(asked: &Asked) -> Vec<u8> {
    let request: FetchRequest = asked.request();
    let from = request.topics[0].partitions[0].fetch_offset;
    let records = if from < 45 { batch(40, 5) } else { Vec::new() };
    let partition = PartitionData::default().with_high_watermark(45).with_records(Some(Bytes::from(records)));
    let topic =
        FetchableTopicResponse::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
    asked.answer::<FetchRequest>(&FetchResponse::default().with_responses(vec![topic]))
}

/// A coordinator for a group of one whose progress stands at 42. It asks for a rebalance once.
fn coordinate(asked: &Asked, port: i32, generation: &mut i32, commits: &mut Vec<(i32, i64)>) -> Does {
    Does::Writes(match asked.key {
        ApiKey::FindCoordinator => asked.answer::<FindCoordinatorRequest>(
            &FindCoordinatorResponse::default()
                .with_node_id(BrokerId(1))
                .with_host(text("127.0.0.1"))
                .with_port(port),
        ),
        ApiKey::JoinGroup => {
            let request: JoinGroupRequest = asked.request();
            let mut response = JoinGroupResponse::default().with_member_id(text("m"));
            if request.member_id.is_empty() {
                response.error_code = ResponseError::MemberIdRequired.code();
            } else {
                *generation += 1;
                let member = JoinGroupResponseMember::default()
                    .with_member_id(text("m"))
                    .with_metadata(encode_subscription(&["t".to_owned()]));
                response = response
                    .with_generation_id(*generation)
                    .with_leader(text("m"))
                    .with_protocol_name(Some(text("range")))
                    .with_members(vec![member]);
            }
            asked.answer::<JoinGroupRequest>(&response)
        }
        ApiKey::SyncGroup => {
            let request: SyncGroupRequest = asked.request();
            let assignment = request.assignments[0].assignment.clone();
            assert_eq!(
                assignment,
                encode_assignment(&[("t".to_owned(), vec![0])].into()),
                "it leads and assigns"
            );
            asked.answer::<SyncGroupRequest>(&SyncGroupResponse::default().with_assignment(assignment))
        }
        ApiKey::Heartbeat => {
            let code = if *generation == 1 { ResponseError::RebalanceInProgress.code() } else { 0 };
            asked.answer::<HeartbeatRequest>(&HeartbeatResponse::default().with_error_code(code))
        }
        ApiKey::OffsetFetch => {
            let at = commits.last().map_or(42, |(_, offset)| *offset);
            let partition = OffsetFetchResponsePartition::default().with_committed_offset(at);
            let topic = OffsetFetchResponseTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            asked.answer::<OffsetFetchRequest>(&OffsetFetchResponse::default().with_topics(vec![topic]))
        }
        ApiKey::OffsetCommit => {
            let request: OffsetCommitRequest = asked.request();
            let at = request.topics[0].partitions[0].committed_offset;
            commits.push((request.generation_id_or_member_epoch, at));
            asked.answer::<OffsetCommitRequest>(&OffsetCommitResponse::default())
        }
        other => panic!("nobody should ask {other:?}"),
    })
}

#[tokio::test]
async fn a_member_reads_from_the_groups_progress_and_hands_over_before_a_rebalance() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let (mut generation, mut commits) = (0, Vec::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        ApiKey::Fetch => Does::Writes(fetched(asked)),
        _ => {
            let does = coordinate(asked, port, &mut generation, &mut commits);
            tell.send((asked.key, commits.clone())).unwrap();
            does
        }
    });
    let client = client(&address).await;
    let options = GroupOptions { heartbeat: Duration::ZERO, ..GroupOptions::default() };
    let mut consumer = GroupConsumer::new(&client, "g", &["t".to_owned()], options);
    let polled = consumer.poll().await.unwrap();
    assert_eq!((polled.len(), polled[0].from.offset, log_end(&polled[0].answer.batches)), (1, 42, Some(45)));
    assert_eq!(consumer.member_id(), "m");
    assert!(consumer.poll().await.unwrap().is_empty(), "all is read, and the group has rebalanced");
    assert_eq!(consumer.positions()[&("t".to_owned(), 0)], 45);
    let mut asked = Vec::new();
    while let Ok((key, commits)) = told.try_recv() {
        asked.push((key, commits));
    }
    let keys: Vec<ApiKey> = asked.iter().map(|(key, _)| *key).collect();
    let joins = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::OffsetFetch];
    let expected = [
        &[ApiKey::FindCoordinator, ApiKey::JoinGroup][..],
        &joins,
        &[ApiKey::Heartbeat, ApiKey::OffsetCommit],
        &joins,
    ];
    assert_eq!(keys, expected.concat());
    assert_eq!(asked.last().unwrap().1, [(1, 45)], "committed once, in the generation that ended");
    consumer.commit().await.unwrap();
    assert!(told.try_recv().is_err(), "nothing new to commit");
}

#[tokio::test]
async fn an_idempotent_producer_repeats_a_lost_batch_under_the_same_number() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut tries = 0;
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        ApiKey::InitProducerId => {
            let given =
                InitProducerIdResponse::default().with_producer_id(ProducerId(77)).with_producer_epoch(2);
            Does::Writes(asked.answer::<InitProducerIdRequest>(&given))
        }
        _ => {
            let info = batch::parse(&records(asked)).unwrap().info();
            tell.send((info.producer_id, info.producer_epoch, info.base_sequence, info.records)).unwrap();
            tries += 1;
            if tries == 2 {
                Does::Closes
            } else {
                Does::Writes(produced(asked, 0, i64::from(info.base_sequence) + 100))
            }
        }
    });
    let options = ProducerOptions { batch_bytes: 100, ..ProducerOptions::default() };
    let producer = Producer::new(client(&address).await, options);
    let mut receipts = Vec::new();
    for value in ["a", "b", "c", "d"] {
        let message = Message { value: Some(Bytes::from(value)), ..Message::default() };
        receipts.push(producer.send("t", None, message).await.unwrap());
    }
    for (offset, receipt) in (100..).zip(receipts) {
        let delivery = receipt.delivery().await.unwrap();
        assert_eq!((delivery.partition, delivery.offset), (0, offset));
    }
    let mut seen = Vec::new();
    while let Ok(batch) = told.try_recv() {
        seen.push(batch);
    }
    assert!(seen.iter().all(|(id, epoch, ..)| (*id, *epoch) == (77, 2)));
    assert_eq!(seen[1], seen[2], "the batch whose answer was lost came again unchanged");
    let numbers = seen.iter().map(|(.., sequence, records)| (*sequence, *records));
    let ends: i32 =
        numbers.clone().next_back().map(|(sequence, records)| sequence + records.cast_signed()).unwrap();
    assert_eq!(ends, 4);
}

#[tokio::test]
async fn an_unsettled_place_never_looks_like_an_offset() {
    let broker = Broker::bind().await;
    let (address, port) = (broker.address.clone(), broker.port);
    broker.start(move |asked| match asked.key {
        ApiKey::Metadata => Does::Writes(asked.answer::<MetadataRequest>(&cluster(&[port], 1))),
        _ => Does::Writes(produced(asked, 0, -(1 << 40))),
    });
    let options = ProducerOptions {
        idempotent: false,
        linger: Duration::from_millis(50),
        ..ProducerOptions::default()
    };
    let producer = Producer::new(client(&address).await, options);
    let message = Message { key: Some(Bytes::from("k")), ..Message::default() };
    let receipts =
        [producer.send("t", None, message.clone()).await, producer.send("t", Some(0), message).await];
    for receipt in receipts {
        assert_eq!(receipt.unwrap().delivery().await.unwrap().offset, -(1 << 40));
    }
}
