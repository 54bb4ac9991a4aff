//! Versions nobody here speaks, bytes that are no Kafka at all, and requests that lie about their counts.

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::{
    self, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ProduceRequest, RequestHeader,
    ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, Server, batch, produce, text};

fn header(key: i16, version: i16) -> BytesMut {
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(key).with_request_api_version(version);
    header.with_client_id(Some(text("stranger"))).encode(&mut bytes, 1).unwrap();
    bytes
}

#[tokio::test]
async fn the_table_is_told_in_every_version_and_to_every_newer_one() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 0..=4 {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request = request.with_client_software_name(text("test")).with_client_software_version(text("1"));
        }
        let response = client.ask(version, &request).await;
        assert_eq!((response.error_code, response.api_keys.len()), (0, 25));
        let range = |key: i16| {
            let api = response.api_keys.iter().find(|api| api.api_key == key).unwrap();
            (api.min_version, api.max_version)
        };
        assert_eq!((range(0), range(1), range(18)), ((0, 11), (4, 17), (0, 4)));
    }
    let mut future = header(18, 99);
    future.extend_from_slice(b"a body that nobody knows \xff\xff\xff\xff");
    client.send_bytes(&future).await;
    let mut bytes = client.receive_bytes().await;
    ResponseHeader::decode(&mut bytes, 0).unwrap();
    let response = ApiVersionsResponse::decode(&mut bytes, 0).unwrap();
    assert_eq!((bytes.remaining(), response.error_code, response.api_keys.len()), (0, 35, 25));
    client.ask(3, &ApiVersionsRequest::default()).await;
}

/// Asks in the version after the last that is spoken; the answer must read as one of the last.
async fn is_refused<R: Request>(client: &mut Client<TcpStream>, max: i16) {
    client.send_bytes(&header(R::KEY, max + 1)).await;
    let mut bytes = client.receive_bytes().await;
    ResponseHeader::decode(&mut bytes, R::Response::header_version(max)).unwrap();
    R::Response::decode(&mut bytes, max).unwrap();
    assert_eq!(bytes.remaining(), 0, "API {}", R::KEY);
}

#[tokio::test]
async fn versions_that_are_not_spoken_get_an_answer_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = server.client().await;
    is_refused::<messages::ProduceRequest>(&mut client, 11).await;
    is_refused::<messages::FetchRequest>(&mut client, 17).await;
    is_refused::<messages::ListOffsetsRequest>(&mut client, 9).await;
    is_refused::<messages::MetadataRequest>(&mut client, 12).await;
    is_refused::<messages::OffsetCommitRequest>(&mut client, 9).await;
    is_refused::<messages::OffsetFetchRequest>(&mut client, 9).await;
    is_refused::<messages::FindCoordinatorRequest>(&mut client, 6).await;
    is_refused::<messages::JoinGroupRequest>(&mut client, 9).await;
    is_refused::<messages::HeartbeatRequest>(&mut client, 4).await;
    is_refused::<messages::LeaveGroupRequest>(&mut client, 5).await;
    is_refused::<messages::SyncGroupRequest>(&mut client, 5).await;
    is_refused::<messages::DescribeGroupsRequest>(&mut client, 5).await;
    is_refused::<messages::ListGroupsRequest>(&mut client, 5).await;
    is_refused::<messages::CreateTopicsRequest>(&mut client, 7).await;
    is_refused::<messages::DeleteTopicsRequest>(&mut client, 6).await;
    is_refused::<messages::DeleteRecordsRequest>(&mut client, 2).await;
    is_refused::<messages::InitProducerIdRequest>(&mut client, 5).await;
    is_refused::<messages::OffsetForLeaderEpochRequest>(&mut client, 4).await;
    is_refused::<messages::DescribeConfigsRequest>(&mut client, 4).await;
    is_refused::<messages::AlterConfigsRequest>(&mut client, 2).await;
    is_refused::<messages::CreatePartitionsRequest>(&mut client, 3).await;
    is_refused::<messages::DeleteGroupsRequest>(&mut client, 2).await;
    is_refused::<messages::IncrementalAlterConfigsRequest>(&mut client, 1).await;
    is_refused::<messages::DescribeClusterRequest>(&mut client, 1).await;
    client.send_bytes(&header(ProduceRequest::KEY, 2)).await;
    client.receive_bytes().await;
    client.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn what_is_no_kafka_is_hung_up_on() {
    let server = Server::start().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SSH-2.0-x\r\n",
        &[0xff; 64],
        &[0, 0, 0, 9, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut client = server.client().await;
        client.stream.write_all(garbage).await.unwrap();
        assert!(client.is_closed().await);
    }
    server.client().await.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn a_count_of_two_billion_topics_in_eight_bytes_ends_one_connection_only() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut request = header(MetadataRequest::KEY, 12);
    request.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]);
    client.send_bytes(&request).await;
    assert!(client.is_closed().await);
    server.client().await.ask(0, &ApiVersionsRequest::default()).await;
}

/// Sends one frame and waits for an answer or the end; then the server must still serve others.
async fn survives(server: &Server, bytes: &[u8]) {
    let mut client = server.client().await;
    client.send_bytes(bytes).await;
    client.stream.shutdown().await.unwrap();
    assert!(client.is_closed().await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_bytes_bring_the_server_down(
        bodies in prop::collection::vec((0_usize..25, any::<i16>(), prop::collection::vec(any::<u8>(), 0..120)), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start().await;
            let known = server.client().await.ask(0, &ApiVersionsRequest::default()).await.api_keys;
            for (place, version, body) in bodies {
                let api = &known[place];
                let span = api.max_version - api.min_version + 1;
                let mut request = header(api.api_key, api.min_version + version.rem_euclid(span));
                request.extend_from_slice(&body);
                survives(&server, &request).await;
            }
            server.client().await.ask(0, &ApiVersionsRequest::default()).await;
        });
    }

    #[test]
    fn no_damage_to_a_good_request_brings_the_server_down(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start().await;
            for (place, byte) in damage {
                let mut request = header(ProduceRequest::KEY, 9);
                request.extend_from_slice(&[0]);
                produce("orders", 0, batch(1, 90, 1), 1).encode(&mut request, 9).unwrap();
                let at = place.index(request.len());
                request[at] = byte;
                survives(&server, &request).await;
            }
            Client::over(server.client().await.stream).ask(0, &ApiVersionsRequest::default()).await;
        });
    }
}
