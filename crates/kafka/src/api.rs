//! The table of what clients may ask for, and the way from a request's bytes to the one who answers it.
//!
//! The ranges are what is implemented, no more: clients choose how they work by them. Taken together they look like one
//! real release (3.9), because some libraries infer a release from them. Each family of APIs has a file, with its
//! requests' and answers' fields by version, and what is done in between.

mod configs;
mod coordinator;
mod fetch;
mod group_admin;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod progress;
mod refuse;
mod topics;
mod versions;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;

use crate::broker::{Broker, ClusterView};
use crate::budget::Budget;
use crate::home::FromHome;
use crate::limits::Limits;
use crate::pipeline::Turn;
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

/// What a client may ask for, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    CreatePartitions = 37,
    DeleteGroups = 42,
    IncrementalAlterConfigs = 44,
    DescribeCluster = 60,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// The first version with compact encodings and tagged fields.
    flexible_from: i16,
    pub(crate) turn: Turn,
}

const fn api(key: ApiKey, name: &'static str, versions: (i16, i16), flexible_from: i16) -> Api {
    let turn = if matches!(key, ApiKey::Produce) { Turn::Overlapping } else { Turn::Alone };
    Api { key, name, min: versions.0, max: versions.1, flexible_from, turn }
}

/// Everything a client may ask for.
pub(crate) static TABLE: [Api; 25] = [
    api(ApiKey::Produce, "Produce", (3, 11), 9),
    api(ApiKey::Fetch, "Fetch", (4, 17), 12),
    api(ApiKey::ListOffsets, "ListOffsets", (1, 9), 6),
    api(ApiKey::Metadata, "Metadata", (0, 12), 9),
    api(ApiKey::OffsetCommit, "OffsetCommit", (2, 9), 8),
    api(ApiKey::OffsetFetch, "OffsetFetch", (1, 9), 6),
    api(ApiKey::FindCoordinator, "FindCoordinator", (0, 6), 3),
    api(ApiKey::JoinGroup, "JoinGroup", (0, 9), 6),
    api(ApiKey::Heartbeat, "Heartbeat", (0, 4), 4),
    api(ApiKey::LeaveGroup, "LeaveGroup", (0, 5), 4),
    api(ApiKey::SyncGroup, "SyncGroup", (0, 5), 4),
    api(ApiKey::DescribeGroups, "DescribeGroups", (0, 5), 5),
    api(ApiKey::ListGroups, "ListGroups", (0, 5), 3),
    api(ApiKey::ApiVersions, "ApiVersions", (0, 4), 3),
    api(ApiKey::CreateTopics, "CreateTopics", (2, 7), 5),
    api(ApiKey::DeleteTopics, "DeleteTopics", (1, 6), 4),
    api(ApiKey::DeleteRecords, "DeleteRecords", (0, 2), 2),
    api(ApiKey::InitProducerId, "InitProducerId", (0, 5), 2),
    api(ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", (2, 4), 4),
    api(ApiKey::DescribeConfigs, "DescribeConfigs", (1, 4), 4),
    api(ApiKey::AlterConfigs, "AlterConfigs", (0, 2), 2),
    api(ApiKey::CreatePartitions, "CreatePartitions", (0, 3), 2),
    api(ApiKey::DeleteGroups, "DeleteGroups", (0, 2), 2),
    api(ApiKey::IncrementalAlterConfigs, "IncrementalAlterConfigs", (0, 1), 1),
    api(ApiKey::DescribeCluster, "DescribeCluster", (0, 1), 0),
];

impl Api {
    fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Begins an answer. That of ApiVersions has the old header for ever: the client does not know yet who answers.
    fn writer(&self, version: i16, correlation: i32) -> Writer {
        let flexible = self.is_flexible(version);
        Writer::answer(correlation, flexible, flexible && self.key != ApiKey::ApiVersions)
    }
}

/// What every answer may draw on.
pub(crate) struct Context<B> {
    pub(crate) broker: Arc<B>,
    pub(crate) limits: Limits,
    /// Record bytes of answers that were not written yet.
    pub(crate) answers: Budget,
    pub(crate) home: Arc<str>,
    pub(crate) client_host: String,
}

/// A request whose header has been read.
pub(crate) struct Call {
    pub(crate) api: &'static Api,
    pub(crate) version: i16,
    pub(crate) client_id: Option<String>,
    correlation: i32,
    body: Reader,
}

impl Call {
    fn writer(&self) -> Writer {
        self.api.writer(self.version, self.correlation)
    }

    /// The cluster as this client is to see it.
    fn home<'a, B>(&self, context: &Context<B>, view: &'a ClusterView) -> FromHome<'a> {
        FromHome::new(view, &context.home, self.client_id.as_deref())
    }
}

/// What a request names, each thing once and in the order of first mention: an answer says all about each of them, and would
/// otherwise be as many times as large as the request names it.
fn once<T, K: Ord>(named: Vec<T>, key: impl Fn(&T) -> K, merge: impl Fn(&mut T, T)) -> Vec<T> {
    let (mut places, mut all) = (BTreeMap::new(), Vec::new());
    for next in named {
        match places.entry(key(&next)) {
            Entry::Occupied(place) => merge(&mut all[*place.get()], next),
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(next);
            }
        }
    }
    all
}

/// Joins what a request asks about one thing in two places; `None` asks for all of it.
fn join<T>(wanted: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    match (wanted, more) {
        (Some(wanted), Some(more)) => wanted.extend(more),
        (wanted, _) => *wanted = None,
    }
}

/// What a request's header says.
pub(crate) enum Asked {
    /// Something that is spoken here.
    Call(Call),
    /// A known API in a version that is not spoken here, and what to say to that.
    Unsupported { api: &'static Api, version: i16, answer: Frame },
    /// An API that does not exist here.
    Unknown(i16),
}

/// Reads a request's header.
///
/// What stands behind the correlation id is looked at only in versions that are spoken here: newer headers and bodies
/// may look different.
pub(crate) fn ask(bytes: Bytes) -> Result<Asked, Malformed> {
    let mut header = Reader::new(bytes, false);
    let (key, version, correlation) = (header.i16()?, header.i16()?, header.i32()?);
    let Some(api) = TABLE.iter().find(|api| api.key as i16 == key) else { return Ok(Asked::Unknown(key)) };
    if !(api.min..=api.max).contains(&version) {
        return Ok(Asked::Unsupported { api, version, answer: refuse::version(api, version, correlation) });
    }
    let client_id = header.header_string()?;
    let mut body = header.into_body(api.is_flexible(version));
    body.tags()?;
    Ok(Asked::Call(Call { api, version, client_id, correlation, body }))
}

/// Answers a request; `None` where the client expects no answer.
pub(crate) async fn answer<B: Broker>(context: &Context<B>, call: Call) -> Result<Option<Frame>, Fault> {
    let frame = match call.api.key {
        ApiKey::Produce => return produce::produce(context, call).await,
        ApiKey::Fetch => fetch::fetch(context, call).await,
        ApiKey::ListOffsets => offsets::list_offsets(context, call).await,
        ApiKey::Metadata => metadata::metadata(context, call).await,
        ApiKey::OffsetCommit => progress::offset_commit(context, call).await,
        ApiKey::OffsetFetch => progress::offset_fetch(context, call).await,
        ApiKey::FindCoordinator => coordinator::find_coordinator(context, call),
        ApiKey::JoinGroup => groups::join_group(context, call).await,
        ApiKey::Heartbeat => groups::heartbeat(context, call).await,
        ApiKey::LeaveGroup => groups::leave_group(context, call).await,
        ApiKey::SyncGroup => groups::sync_group(context, call).await,
        ApiKey::DescribeGroups => group_admin::describe_groups(context, call).await,
        ApiKey::ListGroups => group_admin::list_groups(context, call).await,
        ApiKey::ApiVersions => Ok(versions::api_versions(&call)),
        ApiKey::CreateTopics => topics::create_topics(context, call).await,
        ApiKey::DeleteTopics => topics::delete_topics(context, call).await,
        ApiKey::DeleteRecords => topics::delete_records(context, call).await,
        ApiKey::InitProducerId => produce::init_producer_id(context, call).await,
        ApiKey::OffsetForLeaderEpoch => offsets::offset_for_leader_epoch(context, call).await,
        ApiKey::DescribeConfigs => configs::describe_configs(context, call),
        ApiKey::AlterConfigs => configs::alter_configs(context, call).await,
        ApiKey::CreatePartitions => topics::create_partitions(context, call).await,
        ApiKey::DeleteGroups => group_admin::delete_groups(context, call).await,
        ApiKey::IncrementalAlterConfigs => configs::incremental_alter_configs(context, call).await,
        ApiKey::DescribeCluster => metadata::describe_cluster(context, call),
    };
    frame.map(Some)
}
