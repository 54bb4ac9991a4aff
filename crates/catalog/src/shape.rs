//! What a change that a site makes looks like: the birth of a topic, or scalars in maps that births made.
//!
//! Maps are named by the operation that made them, and by its actor: the two of the genesis, and those of a topic by its
//! birth's actor, which is its id. A change of the map of topics must be the birth of one, to the byte: any other would hide
//! the topic from those who know its birth.

use std::collections::BTreeSet;

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{Change, ScalarValue};
use entry::{ClusterId, TopicId};
use uuid::Uuid;

use crate::document::{GENESIS_ACTOR, birth};
use crate::error::ApplyError;

/// The operations that made the maps of the genesis, and of a birth.
const TOPICS: u64 = 1;
const DELETED: u64 = 2;
const TOPIC: u64 = 3;
const SETTINGS: u64 = 6;

/// What a change is.
#[derive(Debug)]
pub(crate) enum Shape {
    /// The birth of this topic.
    Birth(TopicId),
    /// A change of these topics, all of which must be born.
    Change(BTreeSet<TopicId>),
}

/// What a change is; it is refused if no site would make it.
pub(crate) fn of(cluster: ClusterId, change: &Change) -> Result<Shape, ApplyError> {
    let operations = change.decode().operations;
    let mut touched = BTreeSet::new();
    for op in &operations {
        match topic_of(op).map_err(|why| ApplyError::Refused(why.to_owned()))? {
            (TOPICS, id) if is_birth(cluster, id, change, &operations) => return Ok(Shape::Birth(id)),
            (TOPICS, _) => return Err(ApplyError::Refused("a topic can be born in one way only".to_owned())),
            (_, id) => touched.insert(id),
        };
    }
    Ok(Shape::Change(touched))
}

/// In which map an operation is, and which topic it touches.
fn topic_of(op: &Op) -> Result<(u64, TopicId), &'static str> {
    let ObjectId::Id(map) = &op.obj else { return Err("the root is nobody's to change") };
    let Key::Map(key) = &op.key else { return Err("there are no lists in a catalog") };
    let maker = <[u8; 16]>::try_from(map.actor().to_bytes()).map_err(|_| "an actor of another length")?;
    let of_genesis = maker == GENESIS_ACTOR;
    let scalar = matches!(op.action, OpType::Put(_) | OpType::Delete) && !op.insert;
    match (of_genesis, map.counter()) {
        (true, TOPICS | DELETED) => {
            let id = TopicId(key.parse().map_err(|_| "a topic without an id")?);
            let deletes = op.action == OpType::Put(ScalarValue::Boolean(true)) && !op.insert;
            if map.counter() == DELETED && !deletes {
                return Err("a deletion is for good");
            }
            Ok((map.counter(), id))
        }
        (false, TOPIC | SETTINGS) if scalar => Ok((map.counter(), TopicId(Uuid::from_bytes(maker)))),
        (false, TOPIC | SETTINGS) => Err("what a topic consists of is made by its birth alone"),
        _ => Err("there is no such map in a catalog"),
    }
}

fn is_birth(cluster: ClusterId, id: TopicId, change: &Change, operations: &[Op]) -> bool {
    let put = |name: &str| {
        let found = operations.iter().find(|op| matches!(&op.key, Key::Map(key) if key == name));
        found.and_then(Op::primitive_value)
    };
    let (Some(ScalarValue::Str(name)), Some(ScalarValue::Uint(generation))) =
        (put("name"), put("generation"))
    else {
        return false;
    };
    let Ok(generation) = u32::try_from(generation) else { return false };
    TopicId::derive(cluster, &name, generation) == id && birth(id, &name, generation).hash() == change.hash()
}
