//! A topic as the view shows it.

use std::collections::BTreeMap;

use entry::{TopicBody, TopicId};

use crate::error::PartitionsError;
use crate::settings::{AckAll, Settings, TimestampType};

/// Most partitions a topic may have: each costs files and memory at every site.
pub const PARTITIONS_MAX: u32 = 10_000;

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
    pub settings: BTreeMap<String, String>,
    /// All settings, understood.
    pub understood: Settings,
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
            settings: self.settings.clone(),
        }
    }

    /// Largest record batch this topic takes, in bytes, where the machine takes `limit`.
    #[must_use]
    pub fn max_message_bytes(&self, limit: usize) -> usize {
        self.understood.max_message_bytes.min(limit)
    }

    /// Whether `acks=all` waits until a batch is readable in the merged log.
    #[must_use]
    pub fn acknowledges_released(&self) -> bool {
        self.understood.ack_all == AckAll::Released
    }

    /// How many sites must hold a batch before `acks=all` is answered, this one included.
    #[must_use]
    pub fn min_insync_sites(&self) -> usize {
        usize::from(self.understood.min_insync_sites)
    }

    /// Whether timestamps say when the origin took a record in.
    #[must_use]
    pub fn log_append_time(&self) -> bool {
        self.understood.timestamp_type == TimestampType::LogAppendTime
    }
}

pub(crate) fn check_partitions(partitions: u32) -> Result<(), PartitionsError> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        Ok(())
    } else {
        Err(PartitionsError::OutOfRange(partitions))
    }
}
