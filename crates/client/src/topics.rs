//! Topics and the cluster, as an operator sees and changes them.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use uuid::Uuid;

use crate::error::check;
use crate::metadata::{address, text, topic_name};
use crate::{Broker, Client, ClientError};

/// How long brokers may take to carry a change out.
const CHANGE_TIMEOUT_MS: i32 = 30_000;
/// Kafka's number for "a topic" among the things that have settings.
const RESOURCE_TOPIC: i8 = 2;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` leaves it to the broker.
    pub partitions: Option<i32>,
    /// Its settings.
    pub settings: BTreeMap<String, String>,
}

/// A topic that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its id; nil where the broker is too old to say.
    pub id: Uuid,
    /// How many partitions it got; −1 where the broker is too old to say.
    pub partitions: i32,
}

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, unless it is secret.
    pub value: Option<String>,
    /// Nobody has set it: it is what the brokers do by themselves.
    pub is_default: bool,
    /// It cannot be changed.
    pub is_read_only: bool,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// Where changes are sent.
    pub controller: i32,
    /// All brokers, also those without partitions.
    pub brokers: Vec<Broker>,
}

impl Client {
    /// Creates a topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Created, ClientError> {
        let setting = |(name, value): (&String, &String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let asked = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions.unwrap_or(-1))
            .with_replication_factor(-1)
            .with_configs(topic.settings.iter().map(setting).collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        self.change(async || {
            let said = self.call_controller(&request).await?.topics.pop();
            let said = said.ok_or_else(|| unsaid("CreateTopics"))?;
            let what = || format!("create topic {}", topic.name);
            check(said.error_code, what, said.error_message.as_deref())?;
            Ok(Created { id: said.topic_id, partitions: said.num_partitions })
        })
        .await
    }

    /// Deletes a topic and its records.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(topic)])
            .with_timeout_ms(CHANGE_TIMEOUT_MS);
        self.change(async || {
            let said = self.call_controller(&request).await?.responses.pop();
            let said = said.ok_or_else(|| unsaid("DeleteTopics"))?;
            check(said.error_code, || format!("delete topic {topic}"), said.error_message.as_deref())
        })
        .await
    }

    /// Raises a topic's number of partitions to this.
    pub async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), ClientError> {
        let asked = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(partitions)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![asked]).with_timeout_ms(CHANGE_TIMEOUT_MS);
        self.change(async || {
            let said = self.call_controller(&request).await?.results.pop();
            let said = said.ok_or_else(|| unsaid("CreatePartitions"))?;
            let what = || format!("raise the partitions of {topic} to {partitions}");
            check(said.error_code, what, said.error_message.as_deref())
        })
        .await
    }

    /// A topic's settings.
    pub async fn describe_configs(&self, topic: &str) -> Result<Vec<Setting>, ClientError> {
        /// Kafka's number for "set by default".
        const SOURCE_DEFAULT: i8 = 5;
        let asked = DescribeConfigsResource::default()
            .with_resource_type(RESOURCE_TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
        let said = self.call_any(&request).await?.results.pop().ok_or_else(|| unsaid("DescribeConfigs"))?;
        check(said.error_code, || format!("describe topic {topic}"), said.error_message.as_deref())?;
        let settings = said.configs.into_iter().map(|config| Setting {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            is_default: config.config_source == SOURCE_DEFAULT,
            is_read_only: config.read_only,
        });
        Ok(settings.collect())
    }

    /// Changes some of a topic's settings: to a value, or with `None` back to the default.
    pub async fn alter_configs(
        &self,
        topic: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), ClientError> {
        let change = |(name, value): (&String, &Option<String>)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(i8::from(value.is_none()))
                .with_value(value.as_deref().map(text))
        };
        let asked = AlterConfigsResource::default()
            .with_resource_type(RESOURCE_TOPIC)
            .with_resource_name(text(topic))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![asked]);
        self.change(async || {
            let said = self.call_controller(&request).await?.responses.pop();
            let said = said.ok_or_else(|| unsaid("IncrementalAlterConfigs"))?;
            check(said.error_code, || format!("alter topic {topic}"), said.error_message.as_deref())
        })
        .await
    }

    /// Tries a change again while it is refused by a broker that does not take changes now. Only then is it known not to
    /// have been made: after anything else a second try could find it done.
    async fn change<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut retry = self.retry();
        loop {
            match attempt().await {
                Err(error) if error.code() == Some(ResponseError::NotController) => {
                    retry.after(error).await?;
                    // Another may be named by now. That this may fail too is left to the next try to find out.
                    let _ = self.refresh(Some(&[])).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The cluster and its brokers.
    pub async fn describe_cluster(&self) -> Result<Cluster, ClientError> {
        let request = DescribeClusterRequest::default();
        let said = self.call_any(&request).await?;
        check(said.error_code, || "describe the cluster".to_owned(), said.error_message.as_deref())?;
        let brokers = said.brokers.into_iter().map(|broker| Broker {
            id: broker.broker_id.0,
            address: address(&broker.host, broker.port),
            rack: broker.rack.map(|rack| rack.to_string()),
        });
        Ok(Cluster {
            id: said.cluster_id.to_string(),
            controller: said.controller_id.0,
            brokers: brokers.collect(),
        })
    }
}

fn unsaid(call: &'static str) -> ClientError {
    ClientError::Malformed { call, reason: "it says nothing of what was asked".to_owned() }
}
