//! Produce, Fetch, ListOffsets, InitProducerId, OffsetForLeaderEpoch, DeleteRecords.

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, FetchRequest, FetchResponse, InitProducerIdRequest, ListOffsetsRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, ProducerId, TransactionalId,
};
use uuid::Uuid;

use crate::client::{Server, batch, produce, text};
use crate::memory::KEYLESS;
use crate::topics::create;

pub(crate) fn fetch(topic: &str, id: Uuid, partitions: &[(i32, i64)], version: i16) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(number, offset)| {
            let partition = FetchPartition::default().with_partition(*number).with_fetch_offset(*offset);
            partition.with_partition_max_bytes(1 << 20)
        })
        .collect();
    let named = FetchTopic::default().with_partitions(partitions);
    let named = if version >= 13 { named.with_topic_id(id) } else { named.with_topic(text(topic).into()) };
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![named])
}

fn only(response: &FetchResponse) -> &PartitionData {
    assert_eq!(response.error_code, 0);
    &response.responses[0].partitions[0]
}

#[tokio::test]
async fn every_version_of_produce_and_fetch_carries_the_bytes_through() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut offset = 0;
    for version in 3..=11 {
        let id = create(&mut client, &format!("orders-{version}"), 1).await;
        let topic = format!("orders-{version}");
        for acks in [1, -1] {
            let response = client.ask(version, &produce(&topic, 0, batch(3, 2000, 7), acks)).await;
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!((answer.error_code, answer.base_offset), (0, offset));
            assert_eq!(response.responses[0].name, text(&topic));
            offset += 3;
        }
        for version in 4..=17 {
            let response = client.ask(version, &fetch(&topic, id, &[(0, 4)], version)).await;
            let data = only(&response);
            assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 6, 6));
            let records = data.records.clone().unwrap();
            assert_eq!(records.len(), 2000, "the batch around offset 4, whole");
            assert_eq!(&records[..8], 3_i64.to_be_bytes());
            assert_eq!(&records[12..16], [0; 4]);
            assert_eq!(&records[16..], &batch(3, 2000, 7)[16..]);
        }
        offset = 0;
    }
}

#[tokio::test]
async fn a_producer_is_told_what_is_wrong_and_with_which_partition() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    let code = |response: kafka_protocol::messages::ProduceResponse| {
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.error_message.clone().is_some())
    };
    assert_eq!(code(client.ask(9, &produce("orders", 1, batch(1, 99, 1), 1)).await), (3, true));
    assert_eq!(code(client.ask(9, &produce("nothing", 0, batch(1, 99, 1), 1)).await), (3, true));
    assert_eq!(code(client.ask(9, &produce("orders", 0, batch(1, 99, 1), 2)).await), (21, true));
    assert_eq!(code(client.ask(9, &produce("orders", 0, Bytes::from_static(b"x"), 1)).await), (2, true));
    let transactional = produce("orders", 0, batch(1, 99, 1), -1);
    let transactional = transactional.with_transactional_id(Some(TransactionalId(text("t"))));
    assert_eq!(code(client.ask(9, &transactional).await), (53, true));
    server.memory.edit_view(|view| {
        let mut topic = (*view.topics["orders"]).clone();
        topic.read_only = true;
        view.add_topic(topic.into());
    });
    assert_eq!(code(client.ask(9, &produce("orders", 0, batch(1, 99, 1), 1)).await), (17, true));
}

#[tokio::test]
async fn records_that_are_to_blame_are_named_one_by_one() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "prices", 1).await;
    for version in 3..=11 {
        let response = client.ask(version, &produce("prices", 0, batch(3, 99, KEYLESS), 1)).await;
        let answer = &response.responses[0].partition_responses[0];
        let blamed: Vec<i32> = answer.record_errors.iter().map(|blamed| blamed.batch_index).collect();
        let named: &[i32] = if version >= 8 { &[0, 2] } else { &[] };
        assert_eq!((answer.error_code, &blamed[..]), (87, named), "in {version}");
        assert!(answer.record_errors.iter().all(|blamed| blamed.batch_index_error_message.is_some()));
    }
}

#[tokio::test]
async fn batches_sent_without_waiting_are_appended_in_order_and_together() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    server.memory.hold(true);
    let mut asked = Vec::new();
    for number in 0..40 {
        let acks = if number % 5 == 4 { 0 } else { 1 };
        let correlation = client.send(9, &produce("orders", 0, batch(1, 100, number), acks)).await;
        if acks != 0 {
            asked.push(correlation);
        }
    }
    server.arrived(40).await;
    server.memory.hold(false);
    for (place, correlation) in asked.into_iter().enumerate() {
        let (answered, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!(answered, correlation, "answers keep the order, those of acks=0 left out");
        let offset = response.responses[0].partition_responses[0].base_offset;
        assert_eq!(offset, i64::try_from(place + place / 4).unwrap());
    }
    let order: Vec<u8> = server.memory.arrivals().iter().map(|records| records[60]).collect();
    assert_eq!(order, (0..40).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_fetch_waits_for_data_and_a_produce_behind_it_is_not_held_up() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = create(&mut client, "orders", 2).await;
    let waiting = fetch("orders", id, &[(0, 0), (1, 0)], 12).with_max_wait_ms(20_000);
    let fetched = client.send(12, &waiting).await;
    let produced = client.send(9, &produce("orders", 1, batch(2, 700, 3), 1)).await;
    let (first, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(first, fetched);
    assert_eq!(response.responses[0].partitions[0].records.as_deref(), Some(&[][..]));
    assert_eq!(response.responses[0].partitions[1].records.as_ref().unwrap().len(), 700);
    assert_eq!(client.receive::<ProduceRequest>(9).await.0, produced);
}

#[tokio::test]
async fn a_fetch_ends_empty_when_its_time_is_up() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = create(&mut client, "orders", 1).await;
    client.ask(9, &produce("orders", 0, batch(1, 100, 3), 1)).await;
    let more = fetch("orders", id, &[(0, 0)], 12).with_max_wait_ms(150).with_min_bytes(5000);
    let response = client.ask(12, &more).await;
    assert_eq!(only(&response).records.as_ref().unwrap().len(), 100, "too little, but the time is up");
    let parked = client.ask(12, &fetch("orders", id, &[(0, 500)], 12).with_max_wait_ms(50)).await;
    assert_eq!((only(&parked).error_code, only(&parked).high_watermark), (0, 1));
}

#[tokio::test]
async fn a_fetch_brings_one_batch_whatever_its_size_and_then_what_fits() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = create(&mut client, "orders", 1).await;
    for fill in 0..3 {
        client.ask(9, &produce("orders", 0, batch(1, 5000, fill), 1)).await;
    }
    let small = fetch("orders", id, &[(0, 0)], 11).with_max_bytes(1);
    assert_eq!(only(&client.ask(11, &small).await).records.as_ref().unwrap().len(), 5000);
    let two = fetch("orders", id, &[(0, 0)], 11).with_max_bytes(12_000);
    assert_eq!(only(&client.ask(11, &two).await).records.as_ref().unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_fetch_is_refused_by_partition_and_sessions_are_refused_as_a_whole() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = create(&mut client, "orders", 1).await;
    let long = |request: FetchRequest| request.with_max_wait_ms(60_000);
    let response = client.ask(12, &long(fetch("nothing", id, &[(0, 0)], 12))).await;
    assert_eq!(only(&response).error_code, 3);
    let response = client.ask(12, &long(fetch("orders", id, &[(9, 0)], 12))).await;
    assert_eq!(only(&response).error_code, 3);
    let response = client.ask(13, &long(fetch("", Uuid::from_u128(5), &[(0, 0)], 13))).await;
    assert_eq!(only(&response).error_code, 100);
    let response = client.ask(12, &long(fetch("orders", id, &[(0, -5)], 12))).await;
    assert_eq!(only(&response).error_code, 1);
    let begin = fetch("orders", id, &[(0, 0)], 12).with_session_epoch(0);
    assert_eq!(client.ask(12, &begin).await.session_id, 0);
    let foreign = fetch("orders", id, &[], 12).with_session_id(77).with_session_epoch(3);
    assert_eq!(client.ask(12, &foreign).await.error_code, 70);
}

#[tokio::test]
async fn offsets_are_found_by_their_names_and_by_time() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    for fill in [10, 30, 20] {
        client.ask(9, &produce("orders", 0, batch(2, 100, fill), 1)).await;
    }
    for version in 1..=9 {
        for (at, offset, time) in
            [(-1, 6, -1), (-2, 0, -1), (-3, 2, 30), (15, 2, 30), (99, -1, -1), (-4, 0, -1), (-5, -1, -1)]
        {
            let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(at);
            let missing = ListOffsetsPartition::default().with_partition_index(7).with_timestamp(at);
            let topic = ListOffsetsTopic::default().with_name(text("orders").into());
            let topic = topic.with_partitions(vec![missing, partition]);
            let response = client.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
            let [missing, found] = &response.topics[0].partitions[..] else { panic!("two asked for") };
            assert_eq!((missing.partition_index, missing.error_code, missing.offset), (7, 3, -1));
            assert_eq!(
                (found.error_code, found.offset, found.timestamp),
                (0, offset, time),
                "{at} in {version}"
            );
        }
    }
}

#[tokio::test]
async fn there_is_one_leader_epoch_and_no_log_is_ever_cut() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    client.ask(9, &produce("orders", 0, batch(5, 100, 1), 1)).await;
    for version in 2..=4 {
        for (epoch, answer) in [(0, (0, i64::MAX)), (3, (-1, -1))] {
            let partition = OffsetForLeaderPartition::default().with_partition(0).with_leader_epoch(epoch);
            let topic = OffsetForLeaderTopic::default().with_topic(text("orders").into());
            let topic = topic.with_partitions(vec![partition]);
            let response =
                client.ask(version, &OffsetForLeaderEpochRequest::default().with_topics(vec![topic])).await;
            let end = &response.topics[0].partitions[0];
            assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, answer.0, answer.1));
        }
    }
}

#[tokio::test]
async fn producer_ids_are_given_once_and_transactions_refused() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut last = ProducerId(0);
    for version in 0..=5 {
        let response =
            client.ask(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        assert!(response.producer_id > last);
        last = response.producer_id;
        let transactional =
            InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("t"))));
        assert_eq!(client.ask(version, &transactional).await.error_code, 53);
    }
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    client.ask(9, &produce("orders", 0, batch(5, 100, 1), 1)).await;
    for (version, before, answer) in [(0, 2, (0, 2)), (1, 9, (1, -1)), (2, -1, (0, 5))] {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(before);
        let topic =
            DeleteRecordsTopic::default().with_name(text("orders").into()).with_partitions(vec![partition]);
        let response = client.ask(version, &DeleteRecordsRequest::default().with_topics(vec![topic])).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), answer);
    }
}
