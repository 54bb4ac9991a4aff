//! Groups: a member's whole life in every version, and what is seen of it from outside.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{Client, Server, text};
use crate::memory::ELSEWHERE;
use crate::topics::create;

fn group(version: i16) -> GroupId {
    GroupId(text(&format!("group-{version}")))
}

fn joining(version: i16, metadata: Bytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group(version))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as the only member; answers member id and generation.
async fn join(client: &mut Client<TcpStream>, version: i16) -> (StrBytes, i32) {
    let mut request = joining(version, Bytes::from_static(b"me"));
    let mut response = client.ask(version, &request).await;
    if version >= 4 {
        assert_eq!((response.error_code, response.generation_id), (79, -1));
        request = request.with_member_id(response.member_id);
        response = client.ask(version, &request).await;
    }
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_eq!(response.leader, response.member_id);
    assert_eq!(response.protocol_name, Some(text("range")));
    assert_eq!(&response.members[0].metadata[..], b"me");
    if version >= 7 {
        assert_eq!(response.protocol_type, Some(text("consumer")));
    }
    (response.member_id, response.generation_id)
}

async fn sync(client: &mut Client<TcpStream>, version: i16, member: &StrBytes, generation: i32) {
    let part = SyncGroupRequestAssignment::default().with_member_id(member.clone());
    let mut request = SyncGroupRequest::default()
        .with_group_id(group(version))
        .with_generation_id(generation)
        .with_member_id(member.clone())
        .with_assignments(vec![part.with_assignment(Bytes::from_static(b"part"))]);
    let version = version.min(5);
    if version >= 5 {
        request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    let response = client.ask(version, &request).await;
    assert_eq!((response.error_code, &response.assignment[..]), (0, &b"part"[..]));
    if version >= 5 {
        assert_eq!(response.protocol_name, Some(text("range")));
    }
    let response = client.ask(version, &request.with_generation_id(99)).await;
    assert_eq!((response.error_code, response.assignment.len()), (22, 0));
}

async fn leave(client: &mut Client<TcpStream>, version: i16, member: StrBytes) {
    let version_of_leave = version.min(5);
    let request = LeaveGroupRequest::default().with_group_id(group(version));
    if version_of_leave < 3 {
        let response = client.ask(version_of_leave, &request.clone().with_member_id(member)).await;
        assert_eq!(response.error_code, 0);
        let response = client.ask(version_of_leave, &request.with_member_id(text("nobody"))).await;
        assert_eq!(response.error_code, 25);
        return;
    }
    let members = [member, text("nobody")].map(|member| MemberIdentity::default().with_member_id(member));
    let response = client.ask(version_of_leave, &request.with_members(members.into())).await;
    assert_eq!((response.error_code, response.members.len()), (0, 2));
    assert_eq!((response.members[0].error_code, response.members[1].error_code), (0, 25));
}

#[tokio::test]
async fn a_member_joins_syncs_beats_and_leaves_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 0..=9 {
        let (member, generation) = join(&mut client, version).await;
        sync(&mut client, version, &member, generation).await;
        let beat = HeartbeatRequest::default().with_group_id(group(version)).with_generation_id(generation);
        let response = client.ask(version.min(4), &beat.clone().with_member_id(member.clone())).await;
        assert_eq!(response.error_code, 0);
        let response = client.ask(version.min(4), &beat.with_member_id(text("nobody"))).await;
        assert_eq!(response.error_code, 25);
        let describe =
            DescribeGroupsRequest::default().with_groups(vec![group(version), GroupId(text("none"))]);
        let response = client.ask(version.min(5), &describe).await;
        let [known, unknown] = &response.groups[..] else { panic!("two asked for") };
        assert_eq!((known.group_state.as_str(), known.protocol_data.as_str()), ("Stable", "range"));
        assert_eq!(known.members[0].client_id, text("test-client"));
        assert_eq!(known.members[0].client_host, text("/127.0.0.1"));
        assert_eq!(&known.members[0].member_assignment[..], b"part");
        assert_eq!((unknown.error_code, unknown.group_state.as_str()), (0, "Dead"));
        leave(&mut client, version, member).await;
    }
    let nameless = client.ask(5, &JoinGroupRequest::default().with_protocol_type(text("consumer"))).await;
    assert_eq!(nameless.error_code, 24);
}

#[tokio::test]
async fn groups_are_listed_and_deleted() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (member, _) = join(&mut client, 0).await;
    for version in 0..=5 {
        let response = client.ask(version, &ListGroupsRequest::default()).await;
        assert_eq!((response.error_code, response.groups.len()), (0, 1));
        assert_eq!(response.groups[0].protocol_type, text("consumer"));
        if version >= 4 {
            let stable = ListGroupsRequest::default().with_states_filter(vec![text("Empty")]);
            assert_eq!(client.ask(version, &stable).await.groups.len(), 0);
        }
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group(0), GroupId(text("none"))]);
        let response = client.ask(version, &request).await;
        assert_eq!((response.results[0].error_code, response.results[1].error_code), (68, 69));
    }
    leave(&mut client, 0, member).await;
    let response = client.ask(2, &DeleteGroupsRequest::default().with_groups_names(vec![group(0)])).await;
    assert_eq!(response.results[0].error_code, 0);
}

#[tokio::test]
async fn a_coordinator_is_found_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client_of_us_east().await;
    let port = i32::from(server.addresses[1].port());
    for version in 0..=3 {
        let response = client.ask(version, &FindCoordinatorRequest::default().with_key(text("g"))).await;
        assert_eq!((response.error_code, response.node_id.0, response.port), (0, 1, port));
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]);
        let response = client.ask(version, &request).await;
        assert_eq!(response.coordinators.len(), 2);
        assert_eq!((response.coordinators[1].key.as_str(), response.coordinators[1].port), ("h", port));
    }
    let shares = FindCoordinatorRequest::default().with_key_type(2).with_coordinator_keys(vec![text("g")]);
    assert_eq!(client.ask(6, &shares).await.coordinators[0].error_code, 42);
}

fn commit(version: i16, offset: i64) -> OffsetCommitRequest {
    let partition = |number| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(number);
        partition.with_committed_offset(offset).with_committed_metadata(Some(text("note")))
    };
    let topic = |name: &str, partitions| {
        OffsetCommitRequestTopic::default().with_name(text(name).into()).with_partitions(partitions)
    };
    OffsetCommitRequest::default()
        .with_group_id(group(version))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![
            topic("orders", vec![partition(0), partition(9)]),
            topic("none", vec![partition(0)]),
        ])
}

#[tokio::test]
async fn progress_is_committed_and_told_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 2).await;
    for version in 2..=9 {
        let response = client.ask(version, &commit(version, 40)).await;
        let codes =
            response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        assert_eq!(codes.collect::<Vec<_>>(), [0, 3, 3]);
        let strange = commit(version, 40).with_generation_id_or_member_epoch(3);
        assert_eq!(client.ask(version, &strange).await.topics[0].partitions[0].error_code, 25);
    }
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic::default().with_name(text("orders").into());
        let topics = vec![topic.with_partition_indexes(vec![1, 0])];
        let request = OffsetFetchRequest::default().with_group_id(group(2)).with_topics(Some(topics));
        let response = client.ask(version, &request).await;
        let told = |place: usize| {
            let partition = &response.topics[0].partitions[place];
            let note = partition.metadata.as_ref().unwrap().as_str();
            (partition.error_code, partition.committed_offset, note)
        };
        assert_eq!((told(0), told(1)), ((0, -1, ""), (0, 40, "note")));
        if version >= 2 {
            let all = OffsetFetchRequest::default().with_group_id(group(2)).with_topics(None);
            let response = client.ask(version, &all).await;
            assert_eq!((response.topics.len(), response.topics[0].partitions.len()), (1, 1));
        }
    }
    for version in 8..=9 {
        let topic = OffsetFetchRequestTopics::default().with_name(text("orders").into());
        let topics = Some(vec![topic.with_partition_indexes(vec![0])]);
        let known = OffsetFetchRequestGroup::default().with_group_id(group(2)).with_topics(topics.clone());
        let unknown =
            OffsetFetchRequestGroup::default().with_group_id(GroupId(text("none"))).with_topics(topics);
        let all = OffsetFetchRequestGroup::default().with_group_id(group(3)).with_topics(None);
        let response =
            client.ask(version, &OffsetFetchRequest::default().with_groups(vec![known, unknown, all])).await;
        let told = |place: usize| {
            let group = &response.groups[place];
            (group.error_code, group.topics[0].partitions[0].committed_offset)
        };
        assert_eq!((told(0), told(1), told(2)), ((0, 40), (0, -1), (0, 40)));
    }
}

#[tokio::test]
async fn a_group_that_is_named_many_times_is_described_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask(0, &joining(0, Bytes::from(vec![7; 1 << 20]))).await;
    let mut names = vec![group(0); 2_100];
    names[1] = GroupId(text("none"));
    let response = client.ask(5, &DescribeGroupsRequest::default().with_groups(names)).await;
    let told: Vec<_> =
        response.groups.iter().map(|told| (told.group_id.as_str(), told.members.len())).collect();
    assert_eq!(told, [("group-0", 1), ("none", 0)]);
}

#[tokio::test]
async fn a_request_for_more_than_one_answer_takes_ends_its_connection_alone() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask(0, &joining(0, Bytes::from(vec![7; 1 << 20]))).await;
    server.memory.copy_group("group-0", 300);
    let names = |count: usize| (0..count).map(|number| GroupId(text(&format!("group-0-{number}")))).collect();
    let mut greedy = server.client().await;
    greedy.send(5, &DescribeGroupsRequest::default().with_groups(names(300))).await;
    assert_eq!(greedy.stream.read(&mut [0; 1]).await.unwrap(), 0, "not one byte of an answer");
    let response = client.ask(5, &DescribeGroupsRequest::default().with_groups(names(3))).await;
    assert_eq!(response.groups.len(), 3);
}

#[tokio::test]
async fn progress_that_is_asked_for_twice_is_told_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 2).await;
    client.ask(2, &commit(2, 40)).await;
    let topic = |name: &str, partitions| {
        OffsetFetchRequestTopics::default().with_name(text(name).into()).with_partition_indexes(partitions)
    };
    let asks = |topics| OffsetFetchRequestGroup::default().with_group_id(group(2)).with_topics(Some(topics));
    let twice = vec![
        asks(vec![topic("orders", vec![1, 0, 1]), topic("none", vec![3])]),
        asks(vec![topic("orders", vec![0])]),
    ];
    let response = client.ask(8, &OffsetFetchRequest::default().with_groups(twice)).await;
    let told: Vec<_> = response.groups.iter().flat_map(|group| &group.topics).collect();
    let places = |place: usize| {
        let partitions = &told[place].partitions;
        partitions.iter().map(|told| (told.partition_index, told.committed_offset)).collect::<Vec<_>>()
    };
    assert_eq!((response.groups.len(), told.len()), (1, 2));
    assert_eq!((places(0), places(1)), (vec![(1, -1), (0, 40)], vec![(3, -1)]));
}

#[tokio::test]
async fn a_refusal_to_tell_progress_reads_as_one_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 2).await;
    let topic = |name: &str, partitions| {
        OffsetFetchRequestTopic::default().with_name(text(name).into()).with_partition_indexes(partitions)
    };
    let topics = vec![topic("orders", vec![1, 0]), topic("none", vec![3])];
    let asked = OffsetFetchRequest::default().with_group_id(GroupId(text(ELSEWHERE)));
    for version in 1..=7 {
        let response = client.ask(version, &asked.clone().with_topics(Some(topics.clone()))).await;
        if version >= 2 {
            assert_eq!((response.error_code, response.topics.len()), (16, 0));
            continue;
        }
        let told = response.topics.iter().flat_map(|topic| &topic.partitions).map(|told| {
            let note = told.metadata.as_ref().unwrap().as_str();
            (told.partition_index, told.error_code, told.committed_offset, note)
        });
        assert_eq!(told.collect::<Vec<_>>(), [(1, 16, -1, ""), (0, 16, -1, ""), (3, 16, -1, "")]);
    }
    // All topics: no client asks for them in version 1, but nothing breaks.
    let asks_for_all =
        [&[0, 9, 0, 1, 0, 0, 0, 77, 255, 255, 0, 9][..], ELSEWHERE.as_bytes(), &[255; 4]].concat();
    client.send_bytes(&asks_for_all).await;
    assert_eq!(&client.receive_bytes().await[..], [0, 0, 0, 77, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_note_of_more_than_four_kib_is_refused_for_its_partition_alone() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 2).await;
    let partition = |number, bytes| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(number);
        partition.with_committed_offset(7).with_committed_metadata(Some(text(&"n".repeat(bytes))))
    };
    let topic = OffsetCommitRequestTopic::default().with_name(text("orders").into());
    let topic = topic.with_partitions(vec![partition(0, 4097), partition(1, 4096)]);
    let request = commit(2, 7).with_topics(vec![topic]);
    for version in 2..=9 {
        let response = client.ask(version, &request).await;
        let codes = response.topics[0].partitions.iter().map(|told| (told.partition_index, told.error_code));
        assert_eq!(codes.collect::<Vec<_>>(), [(0, 12), (1, 0)]);
    }
    let all = OffsetFetchRequest::default().with_group_id(group(2)).with_topics(None);
    let told = client.ask(7, &all).await;
    let kept = told.topics[0].partitions.iter().map(|told| (told.partition_index, told.committed_offset));
    assert_eq!(kept.collect::<Vec<_>>(), [(1, 7)], "and nothing of it is kept");
}
