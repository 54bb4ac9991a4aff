//! CreateTopics, DeleteTopics, CreatePartitions and DeleteRecords: changing what there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::api::{Call, Context};
use crate::broker::{
    Broker, ClusterView, CreatePartitions, CreateTopic, DeleteRecords, TopicRefusal, TopicView,
    is_legal_topic_name,
};
use crate::errors::ErrorCode;
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

/// A refusal with words for the person who asked.
pub(super) struct Refused {
    pub(super) error: ErrorCode,
    pub(super) message: String,
}

impl From<TopicRefusal> for Refused {
    fn from(refusal: TopicRefusal) -> Refused {
        Refused { error: ErrorCode::from(&refusal), message: refusal.to_string() }
    }
}

impl Refused {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { error, message: message.into() }
    }
}

/// Writes an error code, and behind it the message where the version has one.
pub(super) fn write_outcome<T>(w: &mut Writer, outcome: &Result<T, Refused>, with_message: bool) {
    let refused = outcome.as_ref().err();
    w.i16(refused.map_or(ErrorCode::None, |refused| refused.error).number());
    if with_message {
        w.nullable_string(refused.map(|refused| refused.message.as_str()));
    }
}

/// A topic that may be changed.
pub(super) fn changeable(view: &ClusterView, name: &str) -> Result<Arc<TopicView>, Refused> {
    let topic = view.topics.get(name).ok_or(TopicRefusal::Unknown)?;
    if topic.read_only {
        return Err(TopicRefusal::ReadOnly.into());
    }
    Ok(Arc::clone(topic))
}

struct Creation {
    name: String,
    partitions: i32,
    replication: i16,
    /// Partition numbers that the client placed by hand. Where they shall lie is not for it to say: every site has all.
    placed: Vec<i32>,
    settings: BTreeMap<String, String>,
}

impl Creation {
    fn read(r: &mut Reader) -> Result<Creation, Malformed> {
        let (name, partitions, replication) = (r.string()?, r.i32()?, r.i16()?);
        let placed = r.structs(5, |r| {
            let number = r.i32()?;
            r.i32s()?;
            Ok(number)
        })?;
        let settings = r.structs(2, |r| Ok((r.string()?, r.nullable_string()?)))?;
        let settings = settings.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(Creation { name, partitions, replication, placed, settings })
    }

    fn wanted(self, only_validate: bool) -> Result<CreateTopic, Refused> {
        if !is_legal_topic_name(&self.name) {
            let rule =
                "1 to 249 of the characters a-z A-Z 0-9 . _ -, but neither \".\" nor \"..\"".to_owned();
            return Err(TopicRefusal::BadName(rule).into());
        }
        if self.replication == 0 || self.replication < -1 {
            let message = "the replication factor is a positive number or -1; every site holds every topic whatever it is";
            return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
        }
        let partitions = self.count()?;
        Ok(CreateTopic { name: self.name, partitions, settings: self.settings, only_validate })
    }

    fn count(&self) -> Result<Option<u32>, Refused> {
        let mut placed = self.placed.clone();
        placed.sort_unstable();
        match (self.partitions, placed.len()) {
            (-1, 0) => Ok(None),
            (count, 0) if count > 0 => Ok(Some(count.cast_unsigned())),
            (-1, count) if placed.iter().zip(0..).all(|(number, place)| *number == place) => {
                Ok(u32::try_from(count).ok())
            }
            _ => Err(TopicRefusal::BadPartitions(format!("{} asked for", self.partitions)).into()),
        }
    }
}

/// Versions 2–7.
pub(super) async fn create_topics<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let creations = call.body.structs(12, Creation::read)?;
    call.body.i32()?; // timeout: local disk speed
    let only_validate = call.body.bool()?;
    let mut seen = BTreeMap::<String, u32>::new();
    for creation in &creations {
        *seen.entry(creation.name.clone()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(creations.len());
    for creation in creations {
        let name = creation.name.clone();
        let outcome = match seen.get(&name) {
            Some(1) => create(context, creation, only_validate).await,
            _ => Err(Refused::new(ErrorCode::InvalidRequest, "the request names this topic twice")),
        };
        results.push((name, outcome));
    }
    let view = context.broker.view();
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&results, |w, (name, outcome)| write_created(w, call.version, (&view, name, outcome)));
    w.finish()
}

async fn create<B: Broker>(
    context: &Context<B>,
    creation: Creation,
    only_validate: bool,
) -> Result<Arc<TopicView>, Refused> {
    let wanted = creation.wanted(only_validate)?;
    Ok(context.broker.create_topic(wanted).await?)
}

type Created<'a> = (&'a ClusterView, &'a str, &'a Result<Arc<TopicView>, Refused>);

fn write_created(w: &mut Writer, version: i16, (view, name, outcome): Created<'_>) {
    let topic = outcome.as_ref().ok();
    w.string(name);
    if version >= 7 {
        w.uuid(topic.map_or(Uuid::nil(), |topic| topic.id));
    }
    write_outcome(w, outcome, true);
    if version >= 5 {
        w.i32(topic.map_or(-1, |topic| topic.partitions.cast_signed()));
        w.i16(topic.map_or(-1, |_| i16::try_from(view.sites.len()).unwrap_or(i16::MAX)));
        // Never null, whatever the schema allows: the Java client does not expect it.
        let settings: Vec<_> = topic.iter().flat_map(|topic| &topic.settings).collect();
        w.structs(&settings, |w, (key, value)| {
            w.string(key);
            w.nullable_string(Some(value));
            w.bool(false); // read-only
            w.i8(super::configs::SOURCE_TOPIC);
            w.bool(false); // sensitive
        });
    }
}

struct Deletion {
    name: Option<String>,
    id: Uuid,
}

/// Versions 1–6; from 6 on a topic may be named by its id.
pub(super) async fn delete_topics<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let deletions = match version >= 6 {
        true => call.body.structs(17, |r| Ok(Deletion { name: r.nullable_string()?, id: r.uuid()? }))?,
        false => {
            let names = call.body.strings()?;
            names.into_iter().map(|name| Deletion { name: Some(name), id: Uuid::nil() }).collect()
        }
    };
    let mut results = Vec::with_capacity(deletions.len());
    for mut deletion in deletions {
        let outcome = delete(context, &mut deletion).await;
        results.push((deletion, outcome));
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&results, |w, (deletion, outcome)| {
        w.nullable_string(deletion.name.as_deref());
        if version >= 6 {
            w.uuid(deletion.id);
        }
        write_outcome(w, outcome, version >= 5);
    });
    w.finish()
}

/// Deletes, and completes the name or id that the client did not give.
async fn delete<B: Broker>(context: &Context<B>, deletion: &mut Deletion) -> Result<(), Refused> {
    let view = context.broker.view();
    let unknown_id = || Refused::new(ErrorCode::UnknownTopicId, "no topic has this id");
    let name = match &deletion.name {
        Some(name) => name.clone(),
        None => view.topics_by_id.get(&deletion.id).ok_or_else(unknown_id)?.name.clone(),
    };
    let topic = changeable(&view, &name)?;
    *deletion = Deletion { name: Some(name), id: topic.id };
    Ok(context.broker.delete_topic(topic.id).await?)
}

/// Versions 0–3.
pub(super) async fn create_partitions<B: Broker>(
    context: &Context<B>,
    mut call: Call,
) -> Result<Frame, Fault> {
    let wanted = call.body.structs(6, |r| {
        let (name, total) = (r.string()?, r.i32()?);
        r.nullable_structs(4, Reader::i32s)?; // where they shall lie: every site has all
        Ok((name, total))
    })?;
    call.body.i32()?; // timeout
    let only_validate = call.body.bool()?;
    let mut results = Vec::with_capacity(wanted.len());
    for (name, total) in wanted {
        let outcome = grow(context, &name, total, only_validate).await;
        results.push((name, outcome));
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&results, |w, (name, outcome)| {
        w.string(name);
        write_outcome(w, outcome, true);
    });
    w.finish()
}

async fn grow<B: Broker>(
    context: &Context<B>,
    name: &str,
    total: i32,
    only_validate: bool,
) -> Result<(), Refused> {
    let topic = changeable(&context.broker.view(), name)?;
    let total = u32::try_from(total).ok().filter(|total| *total > topic.partitions);
    let Some(total) = total else {
        let reason = format!("the topic has {} and can only get more", topic.partitions);
        return Err(TopicRefusal::BadPartitions(reason).into());
    };
    Ok(context.broker.create_partitions(CreatePartitions { topic: topic.id, total, only_validate }).await?)
}

/// Versions 0–2.
pub(super) async fn delete_records<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let topics = call.body.structs(2, |r| Ok((r.string()?, r.structs(12, |r| Ok((r.i32()?, r.i64()?)))?)))?;
    let mut results = Vec::with_capacity(topics.len());
    for (name, partitions) in topics {
        let mut outcomes = Vec::with_capacity(partitions.len());
        for (number, before) in partitions {
            outcomes.push((number, cut(context, &name, number, before).await));
        }
        results.push((name, outcomes));
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&results, |w, (name, outcomes)| {
        w.string(name);
        w.structs(outcomes, |w, (number, outcome)| {
            w.i32(*number);
            w.i64(outcome.as_ref().map_or(-1, |start| *start));
            write_outcome(w, outcome, false);
        });
    });
    w.finish()
}

async fn cut<B: Broker>(context: &Context<B>, name: &str, number: i32, before: i64) -> Result<i64, Refused> {
    let topic = changeable(&context.broker.view(), name)?;
    if !topic.has(number) {
        return Err(TopicRefusal::Unknown.into());
    }
    let before = match before {
        -1 => None,
        before if before < 0 => return Err(TopicRefusal::BeyondEnd(before).into()),
        before => Some(before),
    };
    let wanted = DeleteRecords { topic: topic.id, partition: number.cast_unsigned(), before };
    Ok(context.broker.delete_records(wanted).await?)
}
