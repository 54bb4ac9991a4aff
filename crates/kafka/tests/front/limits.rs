//! What one client cannot do to the others: size, time, number.

use std::time::Duration;

use kafka::Limits;
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Client, Server, batch, produce};
use crate::data::fetch;
use crate::topics::create;

#[tokio::test]
async fn a_request_that_claims_too_much_ends_the_connection_before_it_is_read() {
    let server = Server::start().await;
    for length in [i32::MAX, -1, 7, (32 << 20) + 1] {
        let mut client = server.client().await;
        client.stream.write_all(&length.to_be_bytes()).await.unwrap();
        assert!(client.is_closed().await, "{length}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_ends_the_connection() {
    let limits = Limits { frame_time_max: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(limits).await;
    for beginning in [&[0, 0][..], &[0, 0, 0, 50, 0, 18]] {
        let mut client = server.client().await;
        client.stream.write_all(beginning).await.unwrap();
        assert!(client.is_closed().await);
    }
    let mut patient = server.client().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    patient.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn requests_wait_for_their_share_of_the_budget() {
    let limits = Limits { frame_bytes_max: 10_000, in_flight_bytes_max: 15_000, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut setup = server.client().await;
    create(&mut setup, "orders", 1).await;
    server.memory.hold(true);
    let mut all = tokio::task::JoinSet::new();
    for fill in 0..8 {
        let mut client = server.client().await;
        all.spawn(async move { client.ask(9, &produce("orders", 0, batch(1, 9000, fill), 1)).await });
    }
    server.arrived(1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.memory.arrivals().len(), 1, "the budget has room for one");
    server.memory.hold(false);
    for response in all.join_all().await {
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
}

/// A client that comes from this address of the loopback.
async fn client_from(server: &Server, address: &str) -> Client<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    Client::over(socket.connect(server.addresses[0]).await.unwrap())
}

#[tokio::test]
async fn a_flood_from_one_address_leaves_the_others_their_half_of_the_budget() {
    let limits = Limits { frame_bytes_max: 10_000, in_flight_bytes_max: 20_000, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut setup = server.client().await;
    create(&mut setup, "orders", 1).await;
    server.memory.hold(true);
    let mut all = tokio::task::JoinSet::new();
    for fill in 0..8 {
        let mut client = server.client().await;
        all.spawn(async move { client.ask(9, &produce("orders", 0, batch(1, 9000, fill), 1)).await });
    }
    server.arrived(1).await;
    let mut honest = client_from(&server, "127.0.0.2").await;
    all.spawn(async move { honest.ask(9, &produce("orders", 0, batch(1, 9000, 100), 1)).await });
    server.arrived(2).await;
    server.memory.hold(false);
    for response in all.join_all().await {
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test]
async fn clients_that_do_not_read_hold_no_more_than_their_share() {
    // More than the sockets' own buffers take.
    const BATCH_BYTES: usize = 20 << 20;
    let limits =
        Limits { fetch_bytes_max: BATCH_BYTES, answer_bytes_max: 2 * BATCH_BYTES, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut setup = server.client().await;
    let id = create(&mut setup, "orders", 1).await;
    setup.ask(9, &produce("orders", 0, batch(1, BATCH_BYTES, 1), 1)).await;
    let request = || fetch("orders", id, &[(0, 0)], 12).with_max_bytes(i32::MAX);
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.send(12, &request()).await;
        slow.push(client);
    }
    let mut honest = client_from(&server, "127.0.0.2").await;
    for _ in 0..3 {
        let response = honest.ask(12, &request()).await;
        assert_eq!(response.responses[0].partitions[0].records.as_ref().unwrap().len(), BATCH_BYTES);
    }
    // One of the slow ones has its answer under way, the others wait for theirs: each gets it once it is read.
    for mut client in slow {
        let (_, response) = client.receive::<FetchRequest>(12).await;
        assert_eq!(response.responses[0].partitions[0].records.as_ref().unwrap().len(), BATCH_BYTES);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let limits = Limits { connections_max: 3, connections_per_address_max: 2, ..Limits::default() };
    let server = Server::with(limits).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    first.ask(0, &ApiVersionsRequest::default()).await;
    second.ask(0, &ApiVersionsRequest::default()).await;
    assert!(server.client().await.is_closed().await);
    drop(second);
    while server.front.connections() > 1 {
        tokio::task::yield_now().await;
    }
    server.client().await.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn a_connection_without_requests_ends() {
    let limits = Limits { idle_time_max: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(limits).await;
    assert!(server.client().await.is_closed().await);
}

#[tokio::test]
async fn at_the_end_owed_answers_are_given_and_connections_closed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    server.memory.hold(true);
    client.send(9, &produce("orders", 0, batch(1, 100, 1), 1)).await;
    server.arrived(1).await;
    server.stop.send_replace(true);
    server.memory.hold(false);
    let (_, response) = client.receive::<kafka_protocol::messages::ProduceRequest>(9).await;
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 0);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn many_small_requests_in_one_write_are_all_answered() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for _ in 0..500 {
        client.send(12, &MetadataRequest::default().with_topics(None)).await;
    }
    for correlation in 1..=500 {
        assert_eq!(client.receive::<MetadataRequest>(12).await.0, correlation);
    }
}

#[tokio::test]
async fn the_node_is_told_of_every_answer_and_of_open_connections() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    client.send(9, &produce("orders", 0, batch(1, 1000, 1), 0)).await;
    client.ask(3, &ApiVersionsRequest::default()).await;
    let (answered, connections) = server.memory.told();
    let names: Vec<_> = answered.iter().map(|it| it.api).collect();
    assert_eq!((names.as_slice(), connections), (&["CreateTopics", "Produce", "ApiVersions"][..], 1));
    assert!(answered[1].request_bytes > 1000, "{answered:?}");
    assert_eq!(answered[1].answer_bytes, 0, "acks=0 is not answered");
    assert!(answered[0].answer_bytes > 4 && answered[2].answer_bytes > 4, "{answered:?}");
    drop(client);
    while server.memory.told().1 > 0 {
        tokio::task::yield_now().await;
    }
}
