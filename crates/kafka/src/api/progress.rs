//! OffsetCommit and OffsetFetch: how far a group has come.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::api::{Call, Context, join, once};
use crate::broker::{Broker, ClusterView, Commit, CommitPartition, Committed, GroupWanted};
use crate::errors::{ErrorCode, code_of};
use crate::limits::NOTE_BYTES_MAX;
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

struct Topic<T> {
    name: String,
    partitions: Vec<T>,
}

/// One partition of a commit, before its topic is looked up.
struct Position {
    number: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
}

impl Position {
    fn read(r: &mut Reader, version: i16) -> Result<Position, Malformed> {
        let (number, offset) = (r.i32()?, r.i64()?);
        let leader_epoch = if version >= 6 { r.i32()? } else { -1 };
        Ok(Position { number, offset, leader_epoch, metadata: r.nullable_string()?.unwrap_or_default() })
    }
}

/// Versions 2–9.
pub(super) async fn offset_commit<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let r = &mut call.body;
    let (group, generation, member) = (r.string()?, r.i32()?, r.string()?);
    let instance = if version >= 7 { r.nullable_string()? } else { None };
    if version <= 4 {
        r.i64()?; // how long to keep it: the cluster's own setting decides
    }
    let topics = r.structs(2, |r| {
        let name = r.string()?;
        Ok(Topic { name, partitions: r.structs(14, |r| Position::read(r, version))? })
    })?;
    let commit = Commit { group, generation, member, instance, partitions: Vec::new() };
    let answers = commit_all(context, commit, topics).await;
    let mut w = call.writer();
    if version >= 3 {
        w.i32(0); // throttle time
    }
    w.structs(&answers, |w, topic| {
        w.string(&topic.name);
        w.structs(&topic.partitions, |w, (number, error)| {
            w.i32(*number);
            w.i16(error.number());
        });
    });
    w.finish()
}

async fn commit_all<B: Broker>(
    context: &Context<B>,
    mut commit: Commit,
    topics: Vec<Topic<Position>>,
) -> Vec<Topic<(i32, ErrorCode)>> {
    let view = context.broker.view();
    let mut answers = Vec::with_capacity(topics.len());
    for topic in topics {
        let place = |position: Position| {
            let number = position.number;
            let looked_up = look_up(&view, &topic.name, position);
            (number, looked_up.map(|partition| commit.partitions.push(partition)))
        };
        let partitions: Vec<_> = topic.partitions.into_iter().map(place).collect();
        answers.push(Topic { name: topic.name, partitions });
    }
    let outcome = match commit.partitions.is_empty() {
        true => Ok(Vec::new()),
        false => context.broker.commit(commit).await,
    };
    let mut each = outcome.as_ref().map_or(&[][..], Vec::as_slice).iter();
    let all = outcome.as_ref().err().map_or(ErrorCode::None, ErrorCode::from);
    let mut error_of = |place: Result<(), ErrorCode>| match place {
        Err(error) => error,
        Ok(()) => each.next().map_or(all, code_of),
    };
    let answer = |topic: Topic<(i32, Result<(), ErrorCode>)>| Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(|(number, place)| (number, error_of(place))).collect(),
    };
    answers.into_iter().map(answer).collect()
}

fn look_up(view: &ClusterView, name: &str, position: Position) -> Result<CommitPartition, ErrorCode> {
    let Position { number, offset, leader_epoch, metadata } = position;
    let topic = view.topic_with(name, number).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if offset < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    if metadata.len() > NOTE_BYTES_MAX {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(CommitPartition { topic: topic.id, partition: number.cast_unsigned(), offset, leader_epoch, metadata })
}

/// What one group is asked for.
struct Asked {
    group: String,
    /// `None`: everything it has committed.
    topics: Option<Vec<Topic<i32>>>,
}

/// A partition and what was committed there, if anything.
type Place = (i32, Option<Committed>);

/// What one group has committed, in the order in which it was asked for; with a refusal, what it was asked for alone.
struct Told {
    group: String,
    topics: Vec<Topic<Place>>,
    error: ErrorCode,
}

/// From this version on, an error of the group has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;

/// From this version on, several groups in one request.
const BATCHED_FROM: i16 = 8;

fn read_topics(r: &mut Reader) -> Result<Option<Vec<Topic<i32>>>, Malformed> {
    r.nullable_structs(5, |r| Ok(Topic { name: r.string()?, partitions: r.i32s()? }))
}

impl Asked {
    /// Asks for each topic and partition once.
    fn once(self) -> Asked {
        let topics = self.topics.map(|topics| {
            let name = |topic: &Topic<i32>| topic.name.clone();
            let mut topics = once(topics, name, |topic, again| topic.partitions.extend(again.partitions));
            for topic in &mut topics {
                topic.partitions = once(std::mem::take(&mut topic.partitions), |number| *number, |_, _| ());
            }
            topics
        });
        Asked { topics, ..self }
    }
}

fn read_groups(r: &mut Reader, version: i16) -> Result<Vec<Asked>, Malformed> {
    if version < BATCHED_FROM {
        return Ok(vec![Asked { group: r.string()?, topics: read_topics(r)? }]);
    }
    r.structs(2, |r| {
        let group = r.string()?;
        if version >= 9 {
            r.nullable_string()?; // member id and epoch of the newer kind of group
            r.i32()?;
        }
        Ok(Asked { group, topics: read_topics(r)? })
    })
}

/// Versions 1–9. An unknown group has committed nothing; that is not an error.
pub(super) async fn offset_fetch<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let asked = read_groups(&mut call.body, version)?;
    let group = |asked: &Asked| asked.group.clone();
    let asked = once(asked, group, |asked, again| join(&mut asked.topics, again.topics));
    let mut told = Vec::with_capacity(asked.len());
    for asked in asked {
        told.push(tell(context, asked.once()).await);
    }
    let mut w = call.writer();
    if version >= 3 {
        w.i32(0); // throttle time
    }
    match version >= BATCHED_FROM {
        true => w.structs(&told, |w, told| {
            w.string(&told.group);
            write_topics(w, version, told);
            w.i16(told.error.number());
        }),
        false => {
            write_topics(&mut w, version, &told[0]);
            if version >= GROUP_ERROR_FROM {
                w.i16(told[0].error.number());
            }
        }
    }
    w.finish()
}

async fn tell<B: Broker>(context: &Context<B>, asked: Asked) -> Told {
    let view = context.broker.view();
    let Asked { group, topics } = asked;
    let partitions = topics.as_ref().map(|topics| known(&view, topics));
    let committed = context.broker.committed(GroupWanted { group: group.clone(), partitions }).await;
    let error = code_of(&committed);
    let committed = committed.unwrap_or_default();
    let topics = match topics {
        Some(topics) => in_order(&view, topics, committed),
        None => everything(&view, committed),
    };
    Told { group, topics, error }
}

fn known(view: &ClusterView, topics: &[Topic<i32>]) -> Vec<(Uuid, u32)> {
    let partitions =
        topics.iter().flat_map(|topic| topic.partitions.iter().map(|number| (&topic.name, *number)));
    let known = partitions
        .filter_map(|(name, number)| Some((view.topic_with(name, number)?.id, number.cast_unsigned())));
    known.collect()
}

fn in_order(view: &ClusterView, topics: Vec<Topic<i32>>, committed: Vec<Committed>) -> Vec<Topic<Place>> {
    let mut by_place: BTreeMap<(Uuid, u32), Committed> =
        committed.into_iter().map(|committed| ((committed.topic, committed.partition), committed)).collect();
    let mut find = |name: &str, number: i32| {
        let topic = view.topic_with(name, number)?;
        by_place.remove(&(topic.id, number.cast_unsigned()))
    };
    let told = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|number| (*number, find(&topic.name, *number)));
        Topic { partitions: partitions.collect(), name: topic.name }
    });
    told.collect()
}

fn everything(view: &ClusterView, committed: Vec<Committed>) -> Vec<Topic<Place>> {
    let mut by_name = BTreeMap::<String, Vec<Place>>::new();
    for committed in committed {
        // What was committed for a topic that is gone has no name to be told under.
        if let Some(topic) = view.topics_by_id.get(&committed.topic) {
            let place = (committed.partition.cast_signed(), Some(committed));
            by_name.entry(topic.name.clone()).or_default().push(place);
        }
    }
    by_name.into_iter().map(|(name, partitions)| Topic { name, partitions }).collect()
}

/// An error of the group stands in its own place, and no topics with it, as in Kafka; where it has no such place, in each
/// partition's. Without it "not now" would read as "nothing committed", and clients would begin anew.
fn write_topics(w: &mut Writer, version: i16, told: &Told) {
    let (topics, error) = match told.error {
        ErrorCode::None => (&told.topics[..], ErrorCode::None),
        error if version < GROUP_ERROR_FROM => (&told.topics[..], error),
        _ => (&[][..], ErrorCode::None),
    };
    w.structs(topics, |w, topic| {
        w.string(&topic.name);
        w.structs(&topic.partitions, |w, (number, committed)| {
            w.i32(*number);
            w.i64(committed.as_ref().map_or(-1, |committed| committed.offset));
            if version >= 5 {
                w.i32(committed.as_ref().map_or(-1, |committed| committed.leader_epoch));
            }
            w.nullable_string(Some(committed.as_ref().map_or("", |committed| &committed.metadata)));
            w.i16(error.number());
        });
    });
}
