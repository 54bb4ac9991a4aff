//! ListOffsets and OffsetForLeaderEpoch: where things are.

use crate::api::fetch::isolation;
use crate::api::metadata::LEADER_EPOCH;
use crate::api::{Call, Context};
use crate::broker::{Broker, ClusterView, FoundOffset, Isolation, OffsetAt, OffsetQuery};
use crate::errors::ErrorCode;
use crate::wire::{Fault, Frame, Malformed, Reader};

/// What stands for an offset, a time or an epoch that there is none of.
const NONE: i64 = -1;

struct Topic<T> {
    name: String,
    partitions: Vec<(i32, T)>,
}

/// An offset found, none there, or why not.
type Answered = Result<Option<FoundOffset>, ErrorCode>;

/// A question before its topic is looked up; `None` for one that never has an answer.
#[derive(Clone, Copy)]
struct Question {
    at: Option<OffsetAt>,
}

fn offset_at(timestamp: i64) -> Option<OffsetAt> {
    match timestamp {
        -1 => Some(OffsetAt::Latest),
        // −4 asks for the earliest record that is not in tiered storage; there is none such here.
        -2 | -4 => Some(OffsetAt::Earliest),
        -3 => Some(OffsetAt::MaxTime),
        time if time >= 0 => Some(OffsetAt::TimeMs(time)),
        _ => None,
    }
}

fn read_list(r: &mut Reader, version: i16) -> Result<(Isolation, Vec<Topic<Question>>), Malformed> {
    r.i32()?; // replica id
    let isolation = if version >= 2 { isolation(r.i8()?) } else { Isolation::Uncommitted };
    let topics = r.structs(2, |r| {
        let name = r.string()?;
        let partitions = r.structs(12, |r| {
            let number = r.i32()?;
            if version >= 4 {
                r.i32()?; // the leader epoch the client believes in
            }
            Ok((number, Question { at: offset_at(r.i64()?) }))
        })?;
        Ok(Topic { name, partitions })
    })?;
    Ok((isolation, topics))
}

/// Versions 1–9.
pub(super) async fn list_offsets<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let (isolation, topics) = read_list(&mut call.body, call.version)?;
    let answers = find_all(context, isolation, topics).await;
    let version = call.version;
    let mut w = call.writer();
    if version >= 2 {
        w.i32(0); // throttle time
    }
    w.structs(&answers, |w, topic| {
        w.string(&topic.name);
        w.structs(&topic.partitions, |w, (number, answered)| {
            let found = answered.as_ref().ok().copied().flatten();
            w.i32(*number);
            w.i16(answered.as_ref().err().copied().unwrap_or(ErrorCode::None).number());
            w.i64(found.and_then(|found| found.time_ms).unwrap_or(NONE));
            w.i64(found.map_or(NONE, |found| found.offset));
            if version >= 4 {
                w.i32(found.map_or(-1, |_| LEADER_EPOCH));
            }
        });
    });
    w.finish()
}

async fn find_all<B: Broker>(
    context: &Context<B>,
    isolation: Isolation,
    topics: Vec<Topic<Question>>,
) -> Vec<Topic<Answered>> {
    let view = context.broker.view();
    let mut queries = Vec::new();
    let mut place = |name: &str, number: i32, question: Question| {
        let query = look_up(&view, name, number, question, isolation)?;
        Ok(query.map(|query| {
            queries.push(query);
            queries.len() - 1
        }))
    };
    let placed = topics.into_iter().map(|topic| {
        let Topic { name, partitions } = topic;
        let partitions = partitions.into_iter().map(|(number, asked)| (number, place(&name, number, asked)));
        Topic { partitions: partitions.collect(), name }
    });
    let placed: Vec<Topic<Result<Option<usize>, ErrorCode>>> = placed.collect();
    let found = context.broker.offsets(queries).await;
    let answer = |place: Result<Option<usize>, ErrorCode>| match place?.map(|place| found.get(place)) {
        None => Ok(None),
        Some(Some(Ok(found))) => Ok(*found),
        Some(Some(Err(refusal))) => Err(ErrorCode::from(refusal)),
        Some(None) => Err(ErrorCode::UnknownTopicOrPartition),
    };
    let answered = placed.into_iter().map(|topic| Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(|(number, place)| (number, answer(place))).collect(),
    });
    answered.collect()
}

fn look_up(
    view: &ClusterView,
    name: &str,
    number: i32,
    question: Question,
    isolation: Isolation,
) -> Result<Option<OffsetQuery>, ErrorCode> {
    let topic = view.topic_with(name, number).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let query = |at| OffsetQuery { topic: topic.id, partition: number.cast_unsigned(), at, isolation };
    Ok(question.at.map(query))
}

/// Where the one epoch ends: nowhere. No log is ever cut, but one may be shorter here than where a client has read it; were it
/// told this end, it would take what is missing for lost and go back.
const NO_END: i64 = i64::MAX;

/// Versions 2–4. There is one epoch, and it does not end.
pub(super) async fn offset_for_leader_epoch<B: Broker>(
    context: &Context<B>,
    mut call: Call,
) -> Result<Frame, Fault> {
    let version = call.version;
    if version >= 3 {
        call.body.i32()?; // replica id
    }
    let topics = call.body.structs(2, |r| {
        let name = r.string()?;
        let partitions = r.structs(12, |r| {
            let (number, _believed, epoch) = (r.i32()?, r.i32()?, r.i32()?);
            Ok((number, Question { at: (epoch == LEADER_EPOCH).then_some(OffsetAt::Latest) }))
        })?;
        Ok(Topic { name, partitions })
    })?;
    let answers = find_all(context, Isolation::Uncommitted, topics).await;
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&answers, |w, topic| {
        w.string(&topic.name);
        w.structs(&topic.partitions, |w, (number, answered)| {
            let found = answered.as_ref().ok().copied().flatten();
            w.i16(answered.as_ref().err().copied().unwrap_or(ErrorCode::None).number());
            w.i32(*number);
            w.i32(found.map_or(-1, |_| LEADER_EPOCH));
            w.i64(found.map_or(NONE, |_| NO_END));
        });
    });
    w.finish()
}
