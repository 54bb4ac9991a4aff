//! The catalog as its users see it: what is asked of it, and its typed view.

use std::collections::BTreeMap;

use bytes::Bytes;
use entry::{ClusterId, TopicBody, TopicId};

use crate::error::{AlterError, ApplyError, CreateError, DeleteError, GrowError, LoadError};
use crate::topic::{NewTopic, Topic};

/// Who writes changes: 16 random bytes, drawn afresh at every process start. Used twice, it would number two different
/// changes alike, which no copy can join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor(pub [u8; 16]);

/// Topics and their settings.
#[derive(Debug, Clone)]
pub struct Catalog {
    cluster: ClusterId,
    topics: BTreeMap<TopicId, Topic>,
}

impl Catalog {
    /// The catalog that every copy begins with: no topics.
    #[must_use]
    pub fn genesis(cluster: ClusterId, actor: Actor) -> Catalog {
        let _ = actor;
        Catalog { cluster, topics: BTreeMap::new() }
    }

    /// A catalog that [`Catalog::save`] wrote.
    ///
    /// # Errors
    /// [`LoadError`] if the bytes are damaged, of another version, or of another genesis.
    pub fn load(cluster: ClusterId, bytes: &[u8], actor: Actor) -> Result<Catalog, LoadError> {
        let _ = (cluster, bytes, actor);
        unimplemented!()
    }

    /// The whole catalog, history included.
    #[must_use]
    pub fn save(&self) -> Bytes {
        unimplemented!()
    }

    /// Creates a topic. `reserved` are prefixes that no name may have. Returns its id and the changes to be journaled;
    /// they are applied here at once.
    ///
    /// # Errors
    /// [`CreateError`]; nothing has changed then.
    pub fn create(&mut self, new: &NewTopic, reserved: &[String]) -> Result<(TopicId, Bytes), CreateError> {
        let _ = (new, reserved);
        unimplemented!()
    }

    /// Deletes the live topic of this name, for good.
    ///
    /// # Errors
    /// [`DeleteError`]; nothing has changed then.
    pub fn delete(&mut self, name: &str) -> Result<(TopicId, Bytes), DeleteError> {
        let _ = name;
        unimplemented!()
    }

    /// Gives the live topic of this name more partitions.
    ///
    /// # Errors
    /// [`GrowError`]; nothing has changed then.
    pub fn grow(&mut self, name: &str, partitions: u32) -> Result<(TopicId, Bytes), GrowError> {
        let _ = (name, partitions);
        unimplemented!()
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
        let _ = (name, settings);
        unimplemented!()
    }

    /// Applies changes that some site made; again, if need be. Returns the topics they touch.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing of them took effect then.
    pub fn apply(&mut self, changes: &Bytes) -> Result<Vec<TopicId>, ApplyError> {
        let _ = changes;
        unimplemented!()
    }

    /// Makes sure that a restated topic is known. Says whether the restatement is sound (its id is the one derived
    /// from its name); an unsound one changes nothing.
    pub fn restate(&mut self, body: &TopicBody) -> bool {
        let _ = (body, self.cluster);
        unimplemented!()
    }

    /// A topic, deleted or not.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The live topic of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        let _ = name;
        unimplemented!()
    }

    /// How many topics of this name were deleted: the generation of the next one.
    #[must_use]
    pub fn generation(&self, name: &str) -> u32 {
        let _ = name;
        unimplemented!()
    }

    /// The live topics, by name.
    pub fn live(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values().filter(|topic| !topic.deleted)
    }

    /// A digest of the document's heads: equal where the same changes were applied.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        unimplemented!()
    }
}
