//! Ids: what names a site, a journal, a storage, a cluster and a topic.
//!
//! All are plain numbers, so that they order the same way everywhere; where one is derived, the derivation is here.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One region's node; doubles as its Kafka broker id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SiteId(pub u16);

/// Which life of a site: a new one begins where a site cannot prove that it continues the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

/// All that one incarnation of a site has ever said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JournalId {
    /// The owner.
    pub site: SiteId,
    /// Which life of the owner.
    pub incarnation: Incarnation,
}

/// An entry's position in its journal, dense from 0.
pub type Seq = u64;

/// A topic's partition number, dense from 0.
pub type PartitionId = u32;

/// How often the members have changed, the founders' time being 1; 0 is no time at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberEpoch(pub u32);

impl MemberEpoch {
    /// The founders'.
    pub const GENESIS: MemberEpoch = MemberEpoch(1);

    /// The one that the next change makes.
    #[must_use]
    pub fn next(self) -> MemberEpoch {
        MemberEpoch(self.0.saturating_add(1))
    }
}

/// One data directory, drawn at random when it was made: what a frontier is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StorageId(pub u128);

/// The cluster; the same at all sites, compared in every hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub Uuid);

/// A topic, or one site's origin log of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub Uuid);

/// An incarnation's origin offsets begin at `incarnation << ORIGIN_RANGE_BITS`: room for 10^12 records each.
pub const ORIGIN_RANGE_BITS: u32 = 40;

/// The first origin offset of an incarnation.
#[must_use]
pub fn origin_base(incarnation: Incarnation) -> u64 {
    u64::from(incarnation.0) << ORIGIN_RANGE_BITS
}

impl JournalId {
    /// The journal of a site's first life.
    #[must_use]
    pub fn genesis(site: SiteId) -> JournalId {
        JournalId { site, incarnation: Incarnation(0) }
    }
}

impl TopicId {
    /// The id of the `generation`-th topic of this name: derived, so that sites which create one name at the same
    /// time mint the same id (decision 0001).
    #[must_use]
    pub fn derive(cluster: ClusterId, name: &str, generation: u32) -> TopicId {
        digest(&[b"meridian topic", cluster.0.as_bytes(), &generation.to_be_bytes(), name.as_bytes()])
    }

    /// The id under which clients see what one site wrote of this topic.
    #[must_use]
    pub fn origin(self, site: SiteId) -> TopicId {
        digest(&[b"meridian origin log", self.0.as_bytes(), &site.0.to_be_bytes()])
    }
}

fn digest(parts: &[&[u8]]) -> TopicId {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    TopicId(uuid::Builder::from_custom_bytes(id).into_uuid())
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.site.0, self.incarnation.0)
    }
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClusterId, SiteId, TopicId};
    use uuid::Uuid;

    #[test]
    fn topic_ids_are_the_same_for_ever() {
        let cluster = ClusterId(Uuid::from_u128(7));
        let orders = TopicId::derive(cluster, "orders", 0);
        assert_eq!(orders, TopicId::derive(cluster, "orders", 0));
        assert_ne!(orders, TopicId::derive(cluster, "orders", 1));
        assert_ne!(orders.origin(SiteId(1)), orders.origin(SiteId(2)));
        assert_eq!(orders.to_string(), "ea78393f-d69b-804c-8cc3-8320636ad2a7");
    }
}
