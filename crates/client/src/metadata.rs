//! What brokers say of the cluster: who they are, and who leads which partition.

use std::collections::BTreeMap;

use kafka_protocol::error::ParseResponseErrorCode as _;
use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse, TopicName, metadata_request, metadata_response,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::ResponseError;

/// The cluster as one broker described it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Same at every broker of a cluster.
    pub cluster_id: Option<String>,
    /// Where changes to topics are sent.
    pub controller: i32,
    /// Brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// Topics by name.
    pub topics: BTreeMap<String, Topic>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Host and port, as a connection takes them.
    pub address: String,
    /// Where it stands: at our own brokers, the site's name.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its id; nil where the broker is too old to say.
    pub id: Uuid,
    /// Why it cannot be used, if so.
    pub error: Option<ResponseError>,
    /// Its partitions by number.
    pub partitions: BTreeMap<i32, Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The broker to write to and read from; −1 if there is none.
    pub leader: i32,
}

impl Metadata {
    /// The broker to ask about a partition.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<&Broker> {
        let partition = self.topics.get(topic)?.partitions.get(&partition)?;
        self.brokers.get(&partition.leader)
    }

    /// Takes over a newer answer, which may be about some topics only.
    pub(crate) fn absorb(&mut self, newer: Self) {
        let Self { cluster_id, controller, brokers, topics } = newer;
        (self.cluster_id, self.controller, self.brokers) = (cluster_id, controller, brokers);
        self.topics.extend(topics);
    }
}

/// Asks about these topics, or about all.
pub(crate) fn request(topics: Option<&[&str]>, may_create: bool) -> MetadataRequest {
    let named =
        |name: &&str| metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
        .with_allow_auto_topic_creation(may_create)
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl From<MetadataResponse> for Metadata {
    fn from(response: MetadataResponse) -> Self {
        let broker = |broker: metadata_response::MetadataResponseBroker| {
            let id = broker.node_id.0;
            let address = address(&broker.host, broker.port);
            (id, Broker { id, address, rack: broker.rack.map(|rack| rack.to_string()) })
        };
        let topic = |topic: metadata_response::MetadataResponseTopic| {
            let partition = |p: metadata_response::MetadataResponsePartition| {
                (p.partition_index, Partition { leader: p.leader_id.0 })
            };
            let partitions = topic.partitions.into_iter().map(partition).collect();
            let seen = Topic { id: topic.topic_id, error: topic.error_code.err(), partitions };
            Some((topic.name?.to_string(), seen))
        };
        Self {
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller: response.controller_id.0,
            brokers: response.brokers.into_iter().map(broker).collect(),
            topics: response.topics.into_iter().filter_map(topic).collect(),
        }
    }
}

/// Host and port as one text, IPv6 in brackets.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
