//! The Automerge document: its genesis, the births of topics, and reading it.
//!
//! ```text
//! topics:  { "<topic id>": { name, generation, partitions, settings: { key: value } } }
//! deleted: { "<topic id>": true }
//! ```
//!
//! The genesis and each birth (name, generation and the empty settings of a topic) are made by actors that stand for
//! nobody, at time 0, from nothing but their content: whoever makes them makes the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, ScalarValue,
    ScalarValueRef, ValueRef,
};
use entry::{ClusterId, TopicBody, TopicId};
use uuid::Uuid;

use crate::error::ApplyError;
use crate::frame;

/// Who makes the genesis.
const GENESIS_ACTOR: [u8; 16] = *b"meridian genesis";
/// Every birth is made out of it, so it is not made anew each time.
static GENESIS: LazyLock<Document> = LazyLock::new(Document::empty);
const WRITES_FIT: &str = "writing to a map of this document cannot fail";

/// The document and where its two maps are.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    doc: Automerge,
    topics: ObjId,
    deleted: ObjId,
    history: History,
}

/// What the document says of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Name, generation, settings; the greatest number of partitions anybody put, 0 if nobody did.
    pub(crate) body: TopicBody,
    pub(crate) deleted: bool,
}

/// What was changed, as far as the next change has to go on from it.
#[derive(Debug, Clone, Default)]
struct History {
    /// The changes since the genesis, as a frame holds them, each behind those that it builds on.
    bytes: Vec<u8>,
    /// All of them, and the number of the last operation of each.
    changes: BTreeMap<ChangeHash, u64>,
    /// How many changes each actor has made, and the number of its last operation.
    actors: BTreeMap<ActorId, (u64, u64)>,
}

impl History {
    fn push(&mut self, change: &Change) {
        frame::put_change(&mut self.bytes, change);
        self.changes.insert(change.hash(), change.max_op());
        self.actors.insert(change.actor_id().clone(), (change.seq(), change.max_op()));
    }

    fn append(&mut self, next: History) {
        self.bytes.extend(next.bytes);
        self.changes.extend(next.changes);
        self.actors.extend(next.actors);
    }

    /// Why a change cannot be the next one behind `new`, which goes on from here. Automerge would panic over most of
    /// these, now or later.
    fn objection(&self, new: &History, change: &Change) -> Option<&'static str> {
        let last_op = |hash| new.changes.get(hash).or(self.changes.get(hash)).copied();
        let made = |actor: &ActorId| new.actors.get(actor).or(self.actors.get(actor)).copied();
        let Some(built_on) = change.deps().iter().map(last_op).collect::<Option<Vec<_>>>() else {
            return Some("one stands before another that it builds on");
        };
        let built_on = built_on.into_iter().max().unwrap_or(0);
        let (seq, own) = made(change.actor_id()).unwrap_or_default();
        if change.seq() != seq + 1 {
            return Some("one does not follow what its actor changed before");
        }
        if change.is_empty() || change.start_op().get() != built_on + 1 || own > built_on {
            return Some("one does not count on from the operations that it builds on");
        }
        if change.author().is_some() {
            return Some("one names an author beside its actor");
        }
        let stranger = |actor: &&ActorId| *actor != change.actor_id() && made(actor).is_none();
        change.other_actor_ids().iter().find(stranger).map(|_| "one names an actor that changed nothing")
    }
}

/// Changes that Automerge takes in one go.
///
/// It goes through them in an order of its own, in which a change stands behind those that it builds on, and counts on
/// each standing behind the one before of the same actor.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    deps: BTreeMap<ChangeHash, Vec<ChangeHash>>,
    last: BTreeMap<ActorId, ChangeHash>,
}

impl Batch {
    /// How many changes are looked through for the one before: those that one site made while another made none.
    const STEPS_MAX: usize = 100;

    /// Whether a change is sure to stand behind the one before of its actor.
    fn is_ordered(&self, change: &Change) -> bool {
        let Some(before) = self.last.get(change.actor_id()) else { return true };
        let mut behind = change.deps().to_vec();
        let mut seen = BTreeSet::new();
        while let Some(hash) = behind.pop() {
            if hash == *before {
                return true;
            }
            if seen.len() == Batch::STEPS_MAX {
                return false;
            }
            if seen.insert(hash) {
                behind.extend(self.deps.get(&hash).into_iter().flatten());
            }
        }
        false
    }

    fn push(&mut self, change: Change) {
        self.deps.insert(change.hash(), change.deps().to_vec());
        self.last.insert(change.actor_id().clone(), change.hash());
        self.changes.push(change);
    }
}

impl Document {
    /// The document that every copy begins with.
    pub(crate) fn genesis(actor: [u8; 16]) -> Document {
        let mut document = GENESIS.clone();
        document.doc.set_actor(ActorId::from(actor));
        document
    }

    fn empty() -> Document {
        let mut doc = Automerge::new().with_actor(ActorId::from(GENESIS_ACTOR));
        let mut tx = doc.transaction();
        let topics = tx.put_object(ROOT, "topics", ObjType::Map).expect(WRITES_FIT);
        let deleted = tx.put_object(ROOT, "deleted", ObjType::Map).expect(WRITES_FIT);
        tx.commit_with(at_no_time());
        let mut history = History::default();
        doc.get_changes(&[]).iter().for_each(|genesis| history.push(genesis));
        history.bytes.clear();
        Document { doc, topics, deleted, history }
    }

    /// All changes since the genesis, as a frame holds them.
    pub(crate) fn history(&self) -> &[u8] {
        &self.history.bytes
    }

    /// The changes that nothing here builds on yet, sorted.
    pub(crate) fn heads(&self) -> Vec<[u8; 32]> {
        let mut heads: Vec<_> = self.doc.get_heads().into_iter().map(|hash| hash.0).collect();
        heads.sort_unstable();
        heads
    }

    /// All topics in it.
    pub(crate) fn ids(&self) -> Vec<TopicId> {
        self.doc.keys(&self.topics).filter_map(|key| key.parse().ok()).map(TopicId).collect()
    }

    /// Whether the topic is born: in one way only, whoever did it.
    pub(crate) fn is_born(&self, id: TopicId) -> bool {
        self.child(&self.topics, &id.to_string()).is_some()
    }

    /// Makes sure that the topic is born; returns its birth.
    pub(crate) fn born(&mut self, id: TopicId, name: &str, generation: u32) -> Change {
        let birth = birth(id, name, generation);
        if !self.has(&birth) {
            self.history.push(&birth);
            self.doc.apply_changes([birth.clone()]).expect("a birth builds on the genesis alone");
        }
        birth
    }

    /// Puts a number of partitions and settings (`None` takes one away) to a topic that is born; returns the change,
    /// if it is one.
    pub(crate) fn put(
        &mut self,
        id: TopicId,
        partitions: Option<u32>,
        settings: &BTreeMap<String, Option<String>>,
    ) -> Option<Change> {
        let topic = self.child(&self.topics, &id.to_string()).expect("the topic is born");
        let held = self.child(&topic, "settings").expect("a birth has settings");
        self.write(|tx| {
            if let Some(partitions) = partitions {
                tx.put(&topic, "partitions", u64::from(partitions))?;
            }
            settings.iter().try_for_each(|(key, value)| match value {
                Some(value) => tx.put(&held, key.as_str(), value.as_str()),
                None => tx.delete(&held, key.as_str()),
            })
        })
    }

    /// Deletes a topic, for good.
    pub(crate) fn delete(&mut self, id: TopicId) -> Option<Change> {
        let deleted = self.deleted.clone();
        self.write(|tx| tx.put(&deleted, id.to_string(), true))
    }

    fn write(
        &mut self,
        what: impl FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError>,
    ) -> Option<Change> {
        let mut tx = self.doc.transaction();
        what(&mut tx).expect(WRITES_FIT);
        let (made, _) = tx.commit_with(at_no_time());
        let made = self.doc.get_change_by_hash(&made?)?;
        self.history.push(&made);
        Some(made)
    }

    /// Applies changes that somebody made, each behind those that it builds on; returns the topics that those of them
    /// which were not here yet touch.
    pub(crate) fn apply(
        &mut self,
        cluster: ClusterId,
        changes: Vec<Change>,
    ) -> Result<BTreeSet<TopicId>, ApplyError> {
        let refused = |why: &str| ApplyError::Refused(why.to_owned());
        let new: Vec<_> = changes.into_iter().filter(|change| !self.has(change)).collect();
        let hashes: BTreeSet<_> = new.iter().map(Change::hash).collect();
        let here = |hash: &ChangeHash| self.history.changes.contains_key(hash) || hashes.contains(hash);
        let missing: BTreeSet<_> = new.iter().flat_map(Change::deps).filter(|hash| !here(hash)).collect();
        if !missing.is_empty() {
            return Err(ApplyError::NotYet { missing: missing.len() });
        }
        let (mut history, mut touched) = (History::default(), BTreeSet::new());
        let mut batches = vec![Batch::default()];
        for change in new {
            if let Some(why) = self.history.objection(&history, &change) {
                return Err(refused(why));
            }
            touched.extend(topics_of(cluster, &change)?);
            history.push(&change);
            if !batches.last().is_some_and(|batch| batch.is_ordered(&change)) {
                batches.push(Batch::default());
            }
            batches.last_mut().expect("there is one").push(change);
        }
        for batch in batches {
            self.doc.apply_changes(batch.changes).map_err(|error| refused(&error.to_string()))?;
        }
        self.history.append(history);
        Ok(touched)
    }

    fn has(&self, change: &Change) -> bool {
        self.history.changes.contains_key(&change.hash())
    }

    /// What the document says of a topic.
    pub(crate) fn read(&self, id: TopicId) -> Option<Told> {
        let key = id.to_string();
        let topic = self.child(&self.topics, &key)?;
        let settings = self.child(&topic, "settings")?;
        let number =
            |key| self.doc.get_all(&topic, key).into_iter().flatten().filter_map(|(value, _)| value.as_u64());
        let settings = self.doc.map_range(&settings, ..).map(|item| (item.key.to_string(), item.value));
        let settings = settings.filter_map(|(key, value)| Some((key, text(value)?)));
        let body = TopicBody {
            id,
            name: self.doc.get(&topic, "name").ok()??.0.as_str()?.to_owned(),
            generation: u32::try_from(number("generation").max()?).ok()?,
            partitions: number("partitions").filter_map(|put| u32::try_from(put).ok()).max().unwrap_or(0),
            settings: settings.collect(),
        };
        let deleted = self.doc.get(&self.deleted, key).is_ok_and(|found| found.is_some());
        Some(Told { body, deleted })
    }

    fn child(&self, parent: &ObjId, key: &str) -> Option<ObjId> {
        self.doc.get(parent, key).ok()?.filter(|(value, _)| value.is_object()).map(|(_, child)| child)
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Scalar(ScalarValueRef::Str(text)) => Some(text.into_owned()),
        _ => None,
    }
}

fn at_no_time() -> CommitOptions {
    CommitOptions::default().with_time(0)
}

/// The change that a topic begins with: the same bytes wherever it is made.
fn birth(id: TopicId, name: &str, generation: u32) -> Change {
    let mut document = Document::genesis(id.0.into_bytes());
    let topics = document.topics.clone();
    let birth = document.write(|tx| {
        let topic = tx.put_object(&topics, id.to_string(), ObjType::Map)?;
        tx.put(&topic, "name", name)?;
        tx.put(&topic, "generation", u64::from(generation))?;
        tx.put_object(&topic, "settings", ObjType::Map).map(|_| ())
    });
    birth.expect("a birth writes something")
}

/// The topics that a change touches.
///
/// Maps are named by who made them: those of a topic by its birth's actor, which is its id. A change of the map of
/// topics must be the birth of one, to the byte: any other would hide the topic from those who know its birth.
fn topics_of(cluster: ClusterId, change: &Change) -> Result<BTreeSet<TopicId>, ApplyError> {
    let refused = |why: &str| ApplyError::Refused(why.to_owned());
    let operations = change.decode().operations;
    let mut touched = BTreeSet::new();
    for op in &operations {
        let ObjectId::Id(map) = &op.obj else { return Err(refused("the root is nobody's to change")) };
        let Key::Map(key) = &op.key else { return Err(refused("there are no lists in a catalog")) };
        let maker = <[u8; 16]>::try_from(map.actor().to_bytes())
            .map_err(|_| refused("an actor of another length"))?;
        if maker != GENESIS_ACTOR {
            touched.insert(TopicId(Uuid::from_bytes(maker)));
            continue;
        }
        let id = TopicId(key.parse().map_err(|_| refused("a topic without an id"))?);
        touched.insert(id);
        if matches!(op.action, OpType::Make(_)) && !is_birth(cluster, id, change, &operations) {
            return Err(refused("a topic can be born in one way only"));
        }
    }
    Ok(touched)
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

#[cfg(test)]
mod tests {
    use super::{Document, birth};
    use entry::TopicId;
    use uuid::Uuid;

    #[test]
    fn the_genesis_is_the_same_for_ever() {
        let heads = Document::genesis([7; 16]).heads();
        assert_eq!(heads, Document::genesis([8; 16]).heads());
        let text: String = heads.concat().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "4cfbca30662bc81c312ee63a33379885aa43ff01deec0697ccdb1b9ff8ed4de9");
    }

    #[test]
    fn a_birth_is_the_same_for_ever() {
        let birth = birth(TopicId(Uuid::from_u128(7)), "orders", 3);
        assert_eq!(
            birth.hash().to_string(),
            "c41a218d4991a31df263003cd6fc80ab177495696e8ef9bda157cc83a3583f9a"
        );
    }
}
