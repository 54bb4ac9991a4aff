//! The catalog as its users see it: what is asked of it, and its typed view.
//!
//! The view is kept beside the document; a change makes the topics it touches be read again, and no others.

use std::collections::BTreeMap;

use bytes::Bytes;
use entry::{ClusterId, TopicBody, TopicId};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::error::{AlterError, ApplyError, CreateError, DeleteError, GrowError, LoadError, PartitionsError};
use crate::frame;
use crate::name::check_name;
use crate::settings::{Settings, check_setting};
use crate::topic::{NewTopic, PARTITIONS_MAX, Topic, check_partitions};

/// The version of stored catalogs that this code writes.
const VERSION: u8 = 2;
const SAVED_HEAD_BYTES: usize = 5;

/// Who marks the changes made here: 16 random bytes, drawn afresh at every process start. Used twice, it would number two
/// different changes alike, which no copy can join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor(pub [u8; 16]);

/// Topics and their settings.
#[derive(Debug, Clone)]
pub struct Catalog {
    cluster: ClusterId,
    document: Document,
    /// What was restated before (or beyond what) the document told.
    restated: BTreeMap<TopicId, TopicBody>,
    topics: BTreeMap<TopicId, Topic>,
    names: BTreeMap<String, BTreeMap<u32, TopicId>>,
}

/// What is stored, behind a version and a checksum. Of the document it is the changes, so that they pass the same door
/// as those in journals, wherever they come from.
#[derive(Serialize, Deserialize)]
struct Saved {
    history: Vec<u8>,
    restated: Vec<TopicBody>,
}

impl Catalog {
    /// The catalog that every copy begins with: no topics.
    #[must_use]
    pub fn genesis(cluster: ClusterId, actor: Actor) -> Catalog {
        Catalog::with(cluster, Document::genesis(actor.0), BTreeMap::new())
    }

    fn with(cluster: ClusterId, document: Document, restated: BTreeMap<TopicId, TopicBody>) -> Catalog {
        let ids = document.ids();
        let mut catalog =
            Catalog { cluster, document, restated, topics: BTreeMap::new(), names: BTreeMap::new() };
        ids.into_iter().for_each(|id| catalog.look_again(id));
        catalog
    }

    /// A catalog that [`Catalog::save`] wrote.
    ///
    /// # Errors
    /// [`LoadError`] if the bytes are damaged, or of another version.
    pub fn load(cluster: ClusterId, bytes: &[u8], actor: Actor) -> Result<Catalog, LoadError> {
        let damaged = |what: &str| LoadError::Damaged(what.to_owned());
        let (head, body) =
            bytes.split_first_chunk::<SAVED_HEAD_BYTES>().ok_or_else(|| damaged("too short"))?;
        let [version, crc @ ..] = *head;
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        if crc32c::crc32c(body) != u32::from_be_bytes(crc) {
            return Err(damaged("its checksum is wrong"));
        }
        let saved: Saved = postcard::from_bytes(body).map_err(|_| damaged("it does not read"))?;
        let mut document = Document::genesis(actor.0);
        let applied = frame::take_changes(&saved.history, usize::MAX)
            .and_then(|changes| document.apply(cluster, changes));
        applied.map_err(|error| damaged(&error.to_string()))?;
        let restated = saved.restated.into_iter().map(|body| (body.id, body)).collect();
        Ok(Catalog::with(cluster, document, restated))
    }

    /// The whole catalog, history included.
    #[must_use]
    pub fn save(&self) -> Bytes {
        let restated = self.restated.values().cloned().collect();
        let saved = Saved { history: self.document.history().to_vec(), restated };
        let bytes = postcard::to_extend(&saved, vec![0; SAVED_HEAD_BYTES]);
        let mut bytes = bytes.expect("plain data with known lengths always encodes");
        let crc = crc32c::crc32c(&bytes[SAVED_HEAD_BYTES..]);
        bytes[0] = VERSION;
        bytes[1..SAVED_HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
        bytes.into()
    }

    /// Creates a topic. `reserved` are prefixes that no name may have. Returns its id and the changes to be journaled;
    /// they are applied here at once.
    ///
    /// # Errors
    /// [`CreateError`]; nothing has changed then.
    pub fn create(&mut self, new: &NewTopic, reserved: &[String]) -> Result<(TopicId, Bytes), CreateError> {
        let NewTopic { name, partitions, settings } = new;
        check_name(name, reserved)?;
        check_partitions(*partitions)?;
        settings.iter().try_for_each(|(key, value)| check_setting(key, Some(value)))?;
        if self.by_name(name).is_some() {
            return Err(CreateError::Exists(name.clone()));
        }
        let generation = self.generation(name);
        let id = TopicId::derive(self.cluster, name, generation);
        let birth = self.document.born(id, name, generation);
        let settings = settings.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let change = self.document.put(id, Some(*partitions), &settings);
        self.look_again(id);
        Ok((id, frame::encode(&[birth].into_iter().chain(change).collect::<Vec<_>>())))
    }

    /// Deletes the live topic of this name, for good.
    ///
    /// # Errors
    /// [`DeleteError`]; nothing has changed then.
    pub fn delete(&mut self, name: &str) -> Result<(TopicId, Bytes), DeleteError> {
        let id = self.by_name(name).ok_or_else(|| DeleteError::Unknown(name.to_owned()))?.id;
        let change = self.document.delete(id);
        self.look_again(id);
        Ok((id, frame::encode(change.as_slice())))
    }

    /// Gives the live topic of this name more partitions.
    ///
    /// # Errors
    /// [`GrowError`]; nothing has changed then.
    pub fn grow(&mut self, name: &str, partitions: u32) -> Result<(TopicId, Bytes), GrowError> {
        check_partitions(partitions)?;
        let topic = self.by_name(name).ok_or_else(|| GrowError::Unknown(name.to_owned()))?;
        if partitions <= topic.partitions {
            return Err(PartitionsError::NotMore { held: topic.partitions, asked: partitions }.into());
        }
        let id = topic.id;
        let change = self.document.put(id, Some(partitions), &BTreeMap::new());
        self.look_again(id);
        Ok((id, frame::encode(change.as_slice())))
    }

    /// Changes settings of the live topic of this name; `None` gives one back its default.
    ///
    /// # Errors
    /// [`AlterError`]; nothing has changed then.
    pub fn alter(
        &mut self,
        name: &str,
        settings: &BTreeMap<String, Option<String>>,
    ) -> Result<(TopicId, Bytes), AlterError> {
        settings.iter().try_for_each(|(key, value)| check_setting(key, value.as_deref()))?;
        let id = self.by_name(name).ok_or_else(|| AlterError::Unknown(name.to_owned()))?.id;
        let change = self.document.put(id, None, settings);
        self.look_again(id);
        Ok((id, frame::encode(change.as_slice())))
    }

    /// Applies changes that some site made; again, if need be. Returns the topics that are touched by what was not here
    /// yet.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing of them took effect then.
    pub fn apply(&mut self, changes: &Bytes) -> Result<Vec<TopicId>, ApplyError> {
        let touched = self.document.apply(self.cluster, frame::decode(changes)?)?;
        touched.iter().for_each(|id| self.look_again(*id));
        Ok(touched.into_iter().collect())
    }

    /// Makes sure that a restated topic is known, with at least as many partitions. Says whether the restatement is
    /// sound (its id is the one derived from its name); an unsound one changes nothing.
    pub fn restate(&mut self, body: &TopicBody) -> bool {
        let sound = TopicId::derive(self.cluster, &body.name, body.generation) == body.id
            && (1..=PARTITIONS_MAX).contains(&body.partitions);
        if !sound {
            return false;
        }
        if !self.document.is_born(body.id) {
            self.document.born(body.id, &body.name, body.generation);
        }
        let known = self.restated.entry(body.id).or_insert_with(|| body.clone());
        if (known.partitions, &known.settings) < (body.partitions, &body.settings) {
            known.clone_from(body);
        }
        self.look_again(body.id);
        true
    }

    /// Reads one topic again.
    fn look_again(&mut self, id: TopicId) {
        let Some(mut told) = self.document.read(id) else { return };
        if let Some(restated) = self.restated.get(&id) {
            if restated.partitions <= told.body.partitions {
                self.restated.remove(&id);
            } else {
                if told.body.partitions == 0 {
                    told.body.settings.clone_from(&restated.settings);
                }
                told.body.partitions = restated.partitions;
            }
        }
        let TopicBody { name, generation, partitions, settings: given, .. } = told.body;
        if partitions == 0 {
            return;
        }
        self.names.entry(name.clone()).or_default().insert(generation, id);
        let settings = Settings::of(&given);
        let deleted = told.deleted;
        self.topics.insert(id, Topic { id, name, generation, partitions, given, settings, deleted });
    }

    /// A topic, deleted or not.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The live topic of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        self.named(name).rev().find(|topic| !topic.deleted)
    }

    /// How many topics of this name were deleted: the generation of the next one.
    #[must_use]
    pub fn generation(&self, name: &str) -> u32 {
        self.named(name).rev().find(|topic| topic.deleted).map_or(0, |topic| topic.generation + 1)
    }

    fn named(&self, name: &str) -> impl DoubleEndedIterator<Item = &Topic> {
        self.names.get(name).into_iter().flat_map(|ids| ids.values()).filter_map(|id| self.topics.get(id))
    }

    /// The live topics, by name.
    pub fn live(&self) -> impl Iterator<Item = &Topic> {
        self.names.keys().filter_map(|name| self.by_name(name))
    }

    /// Every topic there ever was, by id.
    pub fn ever(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// A digest of the document's heads: equal where the same changes were applied.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.document.heads().concat()).as_bytes()
    }
}
