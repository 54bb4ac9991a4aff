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

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, ScalarValueRef,
    ValueRef,
};
use entry::{ClusterId, TopicBody, TopicId};

use crate::error::ApplyError;
use crate::history::{Batch, History};
use crate::shape::{self, Shape};

/// Who makes the genesis.
pub(crate) const GENESIS_ACTOR: [u8; 16] = *b"meridian genesis";
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
        history.forget_bytes();
        Document { doc, topics, deleted, history }
    }

    /// All changes since the genesis, as a frame holds them.
    pub(crate) fn history(&self) -> &[u8] {
        self.history.bytes()
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
        let here = |hash: &ChangeHash| self.history.has(hash) || hashes.contains(hash);
        let missing: BTreeSet<_> = new.iter().flat_map(Change::deps).filter(|hash| !here(hash)).collect();
        if !missing.is_empty() {
            return Err(ApplyError::NotYet { missing: missing.len() });
        }
        let (mut history, mut touched, mut born) = (History::default(), BTreeSet::new(), BTreeSet::new());
        let mut batches = vec![Batch::default()];
        for change in new {
            if let Some(why) = self.history.objection(&history, &change) {
                return Err(refused(why));
            }
            match shape::of(cluster, &change)? {
                Shape::Birth(id) => drop(born.insert(id)),
                Shape::Change(topics) => {
                    if topics.iter().any(|id| !born.contains(id) && !self.is_born(*id)) {
                        return Err(ApplyError::NotYet { missing: 1 });
                    }
                    touched.extend(topics);
                }
            }
            history.push(&change);
            if !batches.last().is_some_and(|batch| batch.is_ordered(&change)) {
                batches.push(Batch::default());
            }
            batches.last_mut().expect("there is one").push(change);
        }
        for batch in batches {
            self.doc.apply_changes(batch.into_changes()).map_err(|error| refused(&error.to_string()))?;
        }
        self.history.append(history);
        touched.append(&mut born);
        Ok(touched)
    }

    fn has(&self, change: &Change) -> bool {
        self.history.has(&change.hash())
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
pub(crate) fn birth(id: TopicId, name: &str, generation: u32) -> Change {
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
