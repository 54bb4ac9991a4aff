//! Metadata, DescribeCluster, CreateTopics, DeleteTopics, CreatePartitions and the settings.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AlterConfigsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
    MetadataResponse, incremental_alter_configs_request as incremental,
};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::client::{Client, Server, text};

/// Creates a topic; answers its id.
pub(crate) async fn create(client: &mut Client<TcpStream>, name: &str, partitions: i32) -> Uuid {
    let topic = CreatableTopic::default().with_name(text(name).into()).with_num_partitions(partitions);
    let topic = topic.with_replication_factor(-1);
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(response.topics[0].error_code, 0);
    response.topics[0].topic_id
}

fn metadata(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(text(name).into())));
    MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(true)
}

fn leaders(response: &MetadataResponse) -> Vec<i32> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.leader_id.0).collect()
}

#[tokio::test]
async fn every_version_of_metadata_names_sites_and_topics() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 0..=12 {
        let name = format!("orders-{version}");
        let response = client.ask(version, &metadata(&[&name, "bad name"])).await;
        let port = i32::from(server.addresses[0].port());
        let brokers: Vec<_> = response.brokers.iter().map(|broker| (broker.node_id.0, broker.port)).collect();
        assert_eq!(brokers, [(1, port)], "the other site is not up");
        assert_eq!(leaders(&response), [1; 4], "created, with four partitions");
        assert_eq!(response.topics[0].partitions[0].replica_nodes, [BrokerId(1), BrokerId(2)]);
        assert_eq!(response.topics[0].partitions[0].isr_nodes, [BrokerId(1)]);
        assert_eq!(response.topics[1].error_code, 17);
        if version >= 1 {
            assert_eq!(response.controller_id, BrokerId(1));
            assert_eq!(response.brokers[0].rack, Some(text("eu-west")));
        }
        if version >= 2 {
            assert_eq!(response.cluster_id, Some(text("memory-cluster")));
        }
        if version >= 7 {
            assert_eq!(response.topics[0].partitions[0].leader_epoch, 0);
        }
        let all = MetadataRequest::default().with_topics((version == 0).then(Vec::new));
        assert_eq!(client.ask(version, &all).await.topics.len(), usize::try_from(version).unwrap() + 1);
        if version >= 1 {
            assert_eq!(client.ask(version, &metadata(&[])).await.topics.len(), 0);
        }
        if version >= 10 {
            let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
            let ids = vec![by_id(response.topics[0].topic_id), by_id(Uuid::from_u128(5))];
            let response = client.ask(12, &MetadataRequest::default().with_topics(Some(ids))).await;
            assert_eq!(response.topics[0].name, Some(text(&name).into()));
            assert_eq!(response.topics[1].error_code, 100);
        }
    }
}

#[tokio::test]
async fn nothing_is_created_for_a_client_that_does_not_want_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let unwanted = metadata(&["orders"]).with_allow_auto_topic_creation(false);
    assert_eq!(client.ask(12, &unwanted).await.topics[0].error_code, 3);
    server.memory.edit_view(|view| view.auto_create = false);
    assert_eq!(client.ask(12, &metadata(&["orders"])).await.topics[0].error_code, 3);
}

#[tokio::test]
async fn the_port_and_the_marker_decide_who_leads() {
    let server = Server::start().await;
    let ports = server.addresses.map(|address| i32::from(address.port()));
    let (mut here, mut there) = (server.client().await, server.client_of_us_east().await);
    create(&mut here, "orders", 2).await;
    let seen = |response: &MetadataResponse| {
        let brokers =
            response.brokers.iter().map(|broker| (broker.node_id.0, broker.port)).collect::<Vec<_>>();
        (leaders(response), response.controller_id.0, brokers)
    };
    let alone = there.ask(12, &metadata(&["orders"])).await;
    assert_eq!(seen(&alone), (vec![1, 1], 1, vec![(1, ports[1])]), "its home's site is away");
    server.memory.edit_view(|view| view.live.extend([2]));
    let both = |port| vec![(1, port), (2, port)];
    assert_eq!(seen(&here.ask(12, &metadata(&["orders"])).await), (vec![1, 1], 1, both(ports[0])));
    assert_eq!(seen(&there.ask(12, &metadata(&["orders"])).await), (vec![2, 2], 2, both(ports[1])));
    here.id = "app|meridian_home=us-east";
    assert_eq!(seen(&here.ask(12, &metadata(&["orders"])).await), (vec![2, 2], 2, both(ports[1])));
    let cluster = there.ask(1, &DescribeClusterRequest::default().with_endpoint_type(1)).await;
    assert_eq!((cluster.controller_id.0, cluster.brokers.len(), cluster.error_code), (2, 2, 0));
    let cluster = there.ask(0, &DescribeClusterRequest::default()).await;
    assert_eq!(cluster.brokers[1].port, ports[1]);
    let controllers = there.ask(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!(controllers.error_code, 114);
}

#[tokio::test]
async fn topics_are_created_grown_and_deleted_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 2..=7 {
        let topic = |name: &str, partitions: i32| {
            let topic =
                CreatableTopic::default().with_name(text(name).into()).with_num_partitions(partitions);
            topic.with_replication_factor(1)
        };
        let setting =
            CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("5")));
        let place = |number| {
            CreatableReplicaAssignment::default()
                .with_partition_index(number)
                .with_broker_ids(vec![BrokerId(1)])
        };
        let topics = vec![
            topic("a", 3).with_configs(vec![setting]),
            topic("b", -1).with_assignments(vec![place(1), place(0)]),
            topic("c", 0),
            topic("bad/name", 1),
            topic("d", 1).with_replication_factor(0),
            topic("twice", 1),
            topic("twice", 1),
        ];
        let response = client.ask(version, &CreateTopicsRequest::default().with_topics(topics)).await;
        let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 0, 37, 17, 38, 42, 42]);
        if version >= 5 {
            assert_eq!((response.topics[0].num_partitions, response.topics[1].num_partitions), (3, 2));
            assert_eq!(response.topics[0].configs.as_ref().unwrap().len(), 1);
            assert_eq!(response.topics[1].configs.as_ref().unwrap().len(), 0);
        }
        let again =
            client.ask(version, &CreateTopicsRequest::default().with_topics(vec![topic("a", 1)])).await;
        assert_eq!(again.topics[0].error_code, 36);
        let grown = CreatePartitionsTopic::default().with_name(text("a").into()).with_count(5);
        let shrunk = CreatePartitionsTopic::default().with_name(text("b").into()).with_count(1);
        let grow = CreatePartitionsRequest::default().with_topics(vec![grown, shrunk]);
        let response = client.ask((version - 2).min(3), &grow).await;
        assert_eq!((response.results[0].error_code, response.results[1].error_code), (0, 37));
        let names = vec![text("a").into(), text("b").into(), text("none").into()];
        let deletion = match version - 1 {
            6 => DeleteTopicsRequest::default().with_topics(
                names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name))).collect(),
            ),
            _ => DeleteTopicsRequest::default().with_topic_names(names),
        };
        let response = client.ask(version - 1, &deletion).await;
        let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 0, 3]);
    }
    let id = create(&mut client, "by-id", 1).await;
    let states =
        [id, Uuid::from_u128(5)].map(|id| DeleteTopicState::default().with_name(None).with_topic_id(id));
    let response = client.ask(6, &DeleteTopicsRequest::default().with_topics(states.into())).await;
    assert_eq!((response.responses[0].error_code, response.responses[1].error_code), (0, 100));
    assert_eq!(response.responses[0].name, Some(text("by-id").into()));
}

async fn described(
    client: &mut Client<TcpStream>,
    version: i16,
    kind: i8,
    name: &str,
) -> (i16, Vec<(String, String, i8)>) {
    let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
    let resource = resource.with_configuration_keys((version < 3).then(Vec::new));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let response = client.ask(version, &request).await;
    let one = &response.results[0];
    let configs = one.configs.iter().map(|config| {
        let value = config.value.as_ref().unwrap().to_string();
        (config.name.to_string(), value, config.config_source)
    });
    (one.error_code, configs.collect())
}

#[tokio::test]
async fn settings_are_shown_and_changed_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    create(&mut client, "orders", 1).await;
    let shown = |policy: (&str, i8), time: (&str, i8)| {
        let one = |key: &str, (value, source): (&str, i8)| (key.to_owned(), value.to_owned(), source);
        (0, vec![one("cleanup.policy", policy), one("retention.ms", time)])
    };
    let defaults = shown(("delete", 5), ("604800000", 5));
    for version in 1..=4 {
        assert_eq!(described(&mut client, version, 2, "orders").await, defaults);
        assert_eq!(described(&mut client, version, 2, "nothing").await.0, 3);
        assert_eq!(described(&mut client, version, 4, "1").await.1[0].2, 4);
        assert_eq!(described(&mut client, version, 4, "2").await.0, 42);
        assert_eq!(described(&mut client, version, 16, "x").await.0, 42);
    }
    for version in 0..=1 {
        let edit = |key: &str, operation: i8, value: Option<&str>| {
            let edit =
                incremental::AlterableConfig::default().with_name(text(key)).with_config_operation(operation);
            edit.with_value(value.map(text))
        };
        let change = |edits| {
            let resource = incremental::AlterConfigsResource::default().with_resource_type(2);
            let resource = resource.with_resource_name(text("orders")).with_configs(edits);
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        };
        let edits = vec![edit("cleanup.policy", 2, Some("compact")), edit("retention.ms", 0, Some("7"))];
        assert_eq!(client.ask(version, &change(edits)).await.responses[0].error_code, 0);
        let changed = shown(("delete,compact", 1), ("7", 1));
        assert_eq!(described(&mut client, 4, 2, "orders").await, changed);
        let bad = [
            edit("retention.ms", 2, Some("7")),
            edit("none.such", 0, Some("7")),
            edit("retention.ms", 0, None),
        ];
        for edit in bad {
            assert_eq!(client.ask(version, &change(vec![edit])).await.responses[0].error_code, 40);
        }
        let edits = vec![edit("cleanup.policy", 1, None), edit("retention.ms", 1, None)];
        assert_eq!(client.ask(version, &change(edits)).await.responses[0].error_code, 0);
        assert_eq!(described(&mut client, 4, 2, "orders").await, defaults);
    }
    for version in 0..=2 {
        for (key, value, after) in [
            ("retention.ms", "9", shown(("delete", 5), ("9", 1))),
            ("cleanup.policy", "compact", shown(("compact", 1), ("604800000", 5))),
        ] {
            let config = AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
            let resource =
                AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("orders"));
            let resource = resource.with_configs(vec![config]);
            let request = AlterConfigsRequest::default().with_resources(vec![resource]);
            assert_eq!(client.ask(version, &request).await.responses[0].error_code, 0);
            assert_eq!(described(&mut client, 4, 2, "orders").await, after);
        }
    }
}

#[tokio::test]
async fn topics_that_are_named_many_times_are_told_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = create(&mut client, "orders", 2).await;
    let named = |id| MetadataRequestTopic::default().with_name(Some(text("orders").into())).with_topic_id(id);
    let unnamed = MetadataRequestTopic::default().with_name(None).with_topic_id(Uuid::from_u128(5));
    let many = vec![named(Uuid::nil()), unnamed.clone(), named(id), unnamed, named(Uuid::from_u128(9))];
    let response = client.ask(12, &MetadataRequest::default().with_topics(Some(many))).await;
    let told: Vec<_> =
        response.topics.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect();
    assert_eq!(told, [(0, 2), (100, 0)]);
    let configs = |name: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| text(key)).collect();
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name))
            .with_configuration_keys(Some(keys))
    };
    let twice = vec![
        configs("orders", &["retention.ms"]),
        configs("none", &[]),
        configs("orders", &["cleanup.policy"]),
    ];
    let response = client.ask(4, &DescribeConfigsRequest::default().with_resources(twice)).await;
    let told: Vec<_> =
        response.results.iter().map(|told| (told.resource_name.as_str(), told.configs.len())).collect();
    assert_eq!(told, [("orders", 2), ("none", 0)]);
}
