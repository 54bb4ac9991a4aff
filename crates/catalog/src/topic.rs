//! A topic as the view shows it.

use std::collections::BTreeMap;

use entry::{TopicBody, TopicId};

use crate::error::PartitionsError;
use crate::settings::Settings;

/// Most partitions a topic may have: each costs files and memory at every site.
pub const PARTITIONS_MAX: u32 = 10_000;

/// What a topic is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Settings that differ from the defaults.
    pub settings: BTreeMap<String, String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The id, derived from cluster, name and generation.
    pub id: TopicId,
    /// The name that clients use.
    pub name: String,
    /// How many topics of this name were deleted before it.
    pub generation: u32,
    /// Number of partitions; only grows.
    pub partitions: u32,
    /// Settings as they were given: those that differ from the defaults.
    pub given: BTreeMap<String, String>,
    /// All settings, understood.
    pub settings: Settings,
    /// Whether it was deleted, which is final.
    pub deleted: bool,
}

impl Topic {
    /// What a journal restates before its first batch of this topic.
    #[must_use]
    pub fn restated(&self) -> TopicBody {
        TopicBody {
            id: self.id,
            name: self.name.clone(),
            generation: self.generation,
            partitions: self.partitions,
            settings: self.given.clone(),
        }
    }
}

pub(crate) fn check_partitions(partitions: u32) -> Result<(), PartitionsError> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        Ok(())
    } else {
        Err(PartitionsError::OutOfRange(partitions))
    }
}
