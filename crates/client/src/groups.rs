//! Groups from outside: who coordinates, who is in them, how far they have come.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest,
};

use crate::assign::decode_assignment;
use crate::client::Lane;
use crate::connection::Connection;
use crate::error::check;
use crate::metadata::{address, text, topic_name};
use crate::{Client, ClientError};

/// One group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its name.
    pub group: String,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Where it stands; empty where the broker is too old to say.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

/// One group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// Where it stands.
    pub state: String,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// The assignor in use.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The client behind it.
    pub client_id: String,
    /// Where that connects from.
    pub client_host: String,
    /// Its partitions by topic; empty where its assignment is not that of a consumer.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// How far a group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// What the committer noted beside it.
    pub metadata: String,
}

/// Who commits. A stranger (generation −1, no id) may commit for a group without members.
#[derive(Debug, Clone)]
pub(crate) struct Committer<'a> {
    pub(crate) group: &'a str,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

/// Progress by topic and partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

impl Client {
    /// A connection to a group's coordinator.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<Connection, ClientError> {
        let request = FindCoordinatorRequest::default().with_key(text(group)).with_key_type(0);
        let said = self.call_any(&request).await?;
        check(said.error_code, || format!("find the coordinator of {group}"), said.error_message.as_deref())?;
        self.connection(Lane::Coordinate, &address(&said.host, said.port)).await
    }

    /// All groups, asked of every broker that can be reached.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let metadata = self.refresh(Some(&[])).await?;
        let mut listings = Vec::new();
        for broker in metadata.brokers.values() {
            let said = match self.call_at(&broker.address, &ListGroupsRequest::default()).await {
                Ok(said) => said,
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Lost { .. })) => {
                    tracing::warn!(%error, "its groups are missing from the list");
                    continue;
                }
                Err(error) => return Err(error),
            };
            check(said.error_code, || "list groups".to_owned(), None)?;
            listings.extend(said.groups.into_iter().map(|group| GroupListing {
                group: group.group_id.0.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                coordinator: broker.id,
            }));
        }
        listings.sort();
        Ok(listings)
    }

    /// One group. One that does not exist is described as dead.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let mut retry = self.retry();
        let said = loop {
            let outcome = match self.coordinator(group).await {
                Ok(coordinator) => coordinator.call(&request).await,
                Err(error) => Err(error),
            };
            let outcome =
                outcome.and_then(|mut said| said.groups.pop().ok_or_else(|| unsaid("DescribeGroups")));
            let outcome = outcome.and_then(|said| {
                check(said.error_code, || format!("describe group {group}"), None).map(|()| said)
            });
            match outcome {
                Ok(said) => break said,
                Err(error) => retry.after(error).await?,
            }
        };
        let members = said.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            partitions: partitions(&said.protocol_type, &member.member_assignment),
        });
        Ok(GroupDescription {
            group: group.to_owned(),
            state: said.group_state.to_string(),
            protocol_type: said.protocol_type.to_string(),
            protocol: said.protocol_data.to_string(),
            members: members.collect(),
        })
    }

    /// Deletes an empty group and its progress.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        let said = self.coordinator(group).await?.call(&request).await?;
        let said = said.results.first().ok_or_else(|| unsaid("DeleteGroups"))?;
        check(said.error_code, || format!("delete group {group}"), None)
    }

    /// How far a group has come, in these partitions or (`None`) wherever it has committed.
    pub async fn committed(
        &self,
        group: &str,
        partitions: Option<&[(String, i32)]>,
    ) -> Result<BTreeMap<(String, i32), Committed>, ClientError> {
        let mut retry = self.retry();
        loop {
            let outcome = match self.coordinator(group).await {
                Ok(coordinator) => committed_at(&coordinator, group, partitions).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(committed) => return Ok(committed),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Sets the progress of a group that has no members.
    pub async fn commit_for(
        &self,
        group: &str,
        offsets: &BTreeMap<(String, i32), i64>,
    ) -> Result<(), ClientError> {
        let committer = Committer { group, member_id: "", instance_id: None, generation: -1 };
        let mut retry = self.retry();
        loop {
            let outcome = match self.coordinator(group).await {
                Ok(coordinator) => commit_at(&coordinator, &committer, offsets).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) => retry.after(error).await?,
            }
        }
    }
}

pub(crate) async fn committed_at(
    coordinator: &Connection,
    group: &str,
    partitions: Option<&[(String, i32)]>,
) -> Result<BTreeMap<(String, i32), Committed>, ClientError> {
    use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
    let topics = partitions.map(|partitions| {
        by_topic(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)))
            .into_iter()
            .map(|(topic, partitions)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(partitions)
            })
            .collect()
    });
    let request = OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(topics);
    let said = coordinator.call(&request).await?;
    check(said.error_code, || format!("fetch the progress of {group}"), None)?;
    let mut committed = BTreeMap::new();
    for topic in said.topics {
        for partition in topic.partitions {
            let name = topic.name.0.as_str();
            let what = || format!("fetch the progress of {group} in {name}/{}", partition.partition_index);
            check(partition.error_code, what, None)?;
            if partition.committed_offset >= 0 {
                let metadata = partition.metadata.map(|text| text.to_string()).unwrap_or_default();
                let at = Committed { offset: partition.committed_offset, metadata };
                committed.insert((name.to_owned(), partition.partition_index), at);
            }
        }
    }
    Ok(committed)
}

pub(crate) async fn commit_at(
    coordinator: &Connection,
    committer: &Committer<'_>,
    offsets: &Offsets,
) -> Result<(), ClientError> {
    let of_topic = |(topic, partitions): (&str, Vec<(i32, i64)>)| {
        let partition = |(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition)
                .with_committed_offset(offset)
        };
        OffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions.into_iter().map(partition).collect())
    };
    let offsets = offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), (*partition, *offset)));
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(committer.group))
        .with_member_id(text(committer.member_id))
        .with_group_instance_id(committer.instance_id.map(text))
        .with_generation_id_or_member_epoch(committer.generation)
        .with_topics(by_topic(offsets).into_iter().map(of_topic).collect());
    let said = coordinator.call(&request).await?;
    for topic in &said.topics {
        for partition in &topic.partitions {
            let what = || {
                format!("commit for {} in {}/{}", committer.group, topic.name.0, partition.partition_index)
            };
            check(partition.error_code, what, None)?;
        }
    }
    Ok(())
}

fn by_topic<'a, T>(items: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (topic, item) in items {
        topics.entry(topic).or_default().push(item);
    }
    topics
}

fn partitions(protocol_type: &str, assignment: &Bytes) -> BTreeMap<String, Vec<i32>> {
    if protocol_type == "consumer" {
        decode_assignment(assignment).unwrap_or_default()
    } else {
        BTreeMap::new()
    }
}

pub(crate) fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

fn unsaid(call: &'static str) -> ClientError {
    ClientError::Malformed { call, reason: "it says nothing of what was asked".to_owned() }
}
