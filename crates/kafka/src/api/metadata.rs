//! Metadata and DescribeCluster: which sites there are, and whom to talk to about a partition.
//!
//! The leader of every partition, and the controller, is the one site that the client's home prefers among those alive
//! (see `home`); the leader epoch is 0 for ever. Nobody is turned away for asking elsewhere.

use std::sync::Arc;

use uuid::Uuid;

use crate::api::{Call, Context, once};
use crate::broker::{
    Broker, ClusterView, CreateTopic, SiteView, TopicRefusal, TopicView, is_legal_topic_name,
};
use crate::errors::ErrorCode;
use crate::home::FromHome;
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

/// The merged log is never rewritten, so there is only one epoch.
pub(super) const LEADER_EPOCH: i32 = 0;

/// What a client may do to a topic (bits of Kafka's ACL operations): everything that makes sense.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// What a client may do to the cluster.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// "Not asked for", where operations would stand.
const OPERATIONS_UNASKED: i32 = i32::MIN;

struct MetadataRequest {
    /// `None`: all of them.
    topics: Option<Vec<Named>>,
    may_create: bool,
    cluster_operations: bool,
    topic_operations: bool,
}

struct Named {
    id: Uuid,
    name: Option<String>,
}

impl Named {
    /// What it is looked up by.
    fn key(&self) -> Result<String, Uuid> {
        self.name.clone().ok_or(self.id)
    }
}

impl MetadataRequest {
    fn read(r: &mut Reader, version: i16) -> Result<MetadataRequest, Malformed> {
        let topics = r.nullable_structs(2, |r| {
            let id = if version >= 10 { r.uuid()? } else { Uuid::nil() };
            let name = if version >= 10 { r.nullable_string()? } else { Some(r.string()?) };
            Ok(Named { id, name })
        })?;
        // In version 0 an empty list means all; later, null does.
        let topics = topics.filter(|topics| version >= 1 || !topics.is_empty());
        let topics = topics.map(|topics| once(topics, Named::key, |_, _| ()));
        let may_create = if version >= 4 { r.bool()? } else { true };
        let cluster_operations = if (8..=10).contains(&version) { r.bool()? } else { false };
        let topic_operations = if version >= 8 { r.bool()? } else { false };
        Ok(MetadataRequest { topics, may_create, cluster_operations, topic_operations })
    }
}

/// A topic in the answer: found, or why not.
enum Found {
    Topic(Arc<TopicView>),
    Missing { named: Named, error: ErrorCode },
}

/// Versions 0–12.
pub(super) async fn metadata<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let request = MetadataRequest::read(&mut call.body, call.version)?;
    let MetadataRequest { topics, may_create, cluster_operations, topic_operations } = request;
    let found = match topics {
        None => context.broker.view().topics.values().cloned().map(Found::Topic).collect(),
        Some(named) => find_all(context, named, may_create).await,
    };
    let view = context.broker.view();
    let from_home = call.home(context, &view);
    let mut writer = call.writer();
    let answer =
        Answer { version: call.version, view: &view, home: &from_home, cluster_operations, topic_operations };
    answer.write(&mut writer, &found);
    writer.finish()
}

async fn find_all<B: Broker>(context: &Context<B>, named: Vec<Named>, may_create: bool) -> Vec<Found> {
    let mut found = Vec::with_capacity(named.len());
    for named in named {
        found.push(find(context, named, may_create).await);
    }
    found
}

async fn find<B: Broker>(context: &Context<B>, named: Named, may_create: bool) -> Found {
    let view = context.broker.view();
    let Some(name) = &named.name else {
        return match view.topics_by_id.get(&named.id) {
            Some(topic) => Found::Topic(Arc::clone(topic)),
            None => Found::Missing { named, error: ErrorCode::UnknownTopicId },
        };
    };
    if let Some(topic) = view.topics.get(name) {
        return Found::Topic(Arc::clone(topic));
    }
    if !is_legal_topic_name(name) {
        return Found::Missing { named, error: ErrorCode::InvalidTopic };
    }
    if !(may_create && view.auto_create) {
        return Found::Missing { named, error: ErrorCode::UnknownTopicOrPartition };
    }
    match create(context, name).await {
        Ok(topic) => Found::Topic(topic),
        Err(error) => Found::Missing { named, error },
    }
}

async fn create<B: Broker>(context: &Context<B>, name: &str) -> Result<Arc<TopicView>, ErrorCode> {
    let (name, settings) = (name.to_owned(), std::collections::BTreeMap::new());
    let wanted = CreateTopic { name: name.clone(), partitions: None, settings, only_validate: false };
    match context.broker.create_topic(wanted).await {
        Ok(topic) => Ok(topic),
        // Somebody else was quicker.
        Err(TopicRefusal::Exists(_)) => {
            context.broker.view().topics.get(&name).cloned().ok_or(ErrorCode::LeaderNotAvailable)
        }
        Err(refusal @ (TopicRefusal::NotWritable(_) | TopicRefusal::Stopping)) => {
            tracing::debug!(topic = name, %refusal, "a topic that a client asked for cannot be created now");
            Err(ErrorCode::LeaderNotAvailable)
        }
        Err(refusal) => Err(ErrorCode::from(&refusal)),
    }
}

struct Answer<'a> {
    version: i16,
    view: &'a ClusterView,
    home: &'a FromHome<'a>,
    cluster_operations: bool,
    topic_operations: bool,
}

impl Answer<'_> {
    fn write(&self, w: &mut Writer, found: &[Found]) {
        let version = self.version;
        if version >= 3 {
            w.i32(0); // throttle time
        }
        let sites: Vec<&SiteView> = self.home.told_sites().collect();
        w.structs(&sites, |w, site| write_site(w, self.home, site, version >= 1));
        if version >= 2 {
            w.nullable_string(Some(&self.view.cluster_id));
        }
        if version >= 1 {
            w.i32(self.home.leader());
        }
        let replicas = Replicas::of(self.view, self.home);
        w.structs(found, |w, found| self.write_topic(w, found, &replicas));
        if (8..=10).contains(&version) {
            w.i32(if self.cluster_operations { CLUSTER_OPERATIONS } else { OPERATIONS_UNASKED });
        }
    }

    fn write_topic(&self, w: &mut Writer, found: &Found, replicas: &Replicas) {
        let (error, name, id, topic) = match found {
            Found::Topic(topic) => (ErrorCode::None, Some(topic.name.as_str()), topic.id, Some(topic)),
            Found::Missing { named, error } => (*error, named.name.as_deref(), named.id, None),
        };
        w.i16(error.number());
        match self.version >= 12 {
            true => w.nullable_string(name),
            false => w.string(name.unwrap_or("")),
        }
        if self.version >= 10 {
            w.uuid(id);
        }
        if self.version >= 1 {
            w.bool(topic.is_some_and(|topic| topic.internal));
        }
        let partitions: Vec<u32> = (0..topic.map_or(0, |topic| topic.partitions)).collect();
        w.structs(&partitions, |w, partition| replicas.write(w, self.version, *partition));
        if self.version >= 8 {
            w.i32(if self.topic_operations { TOPIC_OPERATIONS } else { OPERATIONS_UNASKED });
        }
    }
}

/// Who has a partition: the same for all of them.
struct Replicas {
    leader: i32,
    all: Vec<i32>,
    live: Vec<i32>,
    away: Vec<i32>,
}

impl Replicas {
    /// The leader comes first, as clients expect of the preferred replica.
    fn of(view: &ClusterView, home: &FromHome<'_>) -> Replicas {
        let leader = home.leader();
        let mut all: Vec<i32> = view.sites.iter().map(|site| site.id).collect();
        all.sort_by_key(|id| (*id != leader, *id));
        let (live, away) = all.iter().partition(|id| view.live.contains(id));
        Replicas { leader, all, live, away }
    }

    fn write(&self, w: &mut Writer, version: i16, partition: u32) {
        w.i16(ErrorCode::None.number());
        w.i32(partition.cast_signed());
        w.i32(self.leader);
        if version >= 7 {
            w.i32(LEADER_EPOCH);
        }
        w.i32s(&self.all);
        w.i32s(&self.live);
        if version >= 5 {
            w.i32s(&self.away);
        }
    }
}

fn write_site(w: &mut Writer, home: &FromHome<'_>, site: &SiteView, with_rack: bool) {
    w.i32(site.id);
    w.string(&site.host);
    w.i32(i32::from(home.port(site)));
    if with_rack {
        w.nullable_string(Some(&site.name));
    }
}

/// Which kind of node DescribeCluster asks for, in version 1.
const BROKERS: i8 = 1;

/// Versions 0–1.
pub(super) fn describe_cluster<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let operations = call.body.bool()?;
    let kind = if call.version >= 1 { call.body.i8()? } else { BROKERS };
    let view = context.broker.view();
    let home = call.home(context, &view);
    let mut w = call.writer();
    w.i32(0); // throttle time
    let (error, message) = match kind {
        BROKERS => (ErrorCode::None, None),
        _ => (
            ErrorCode::MismatchedEndpointType,
            Some("every site is a broker; there are no controllers to ask"),
        ),
    };
    w.i16(error.number());
    w.nullable_string(message);
    if call.version >= 1 {
        w.i8(kind);
    }
    w.string(&view.cluster_id);
    w.i32(home.leader());
    let sites: Vec<&SiteView> = home.told_sites().collect();
    w.structs(&sites, |w, site| write_site(w, &home, site, true));
    w.i32(if operations { CLUSTER_OPERATIONS } else { OPERATIONS_UNASKED });
    w.finish()
}
