//! Changing topics.

use std::collections::BTreeMap;

use uuid::Uuid;

/// The longest name that Kafka clients accept.
const NAME_BYTES_MAX: usize = 249;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name, legal by Kafka's rules (the front looked); the node adds its own.
    pub name: String,
    /// Partitions; `None` for the cluster's default.
    pub partitions: Option<u32>,
    /// Settings that are not to be the defaults.
    pub settings: BTreeMap<String, String>,
    /// Only say whether it would be.
    pub only_validate: bool,
}

/// Partitions to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatePartitions {
    /// The topic.
    pub topic: Uuid,
    /// How many it shall have in all.
    pub total: u32,
    /// Only say whether it would.
    pub only_validate: bool,
}

/// Settings to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterTopic {
    /// The topic.
    pub topic: Uuid,
    /// Changes by key, one per key.
    pub changes: BTreeMap<String, SettingChange>,
    /// Only say whether they would be.
    pub only_validate: bool,
}

/// What becomes of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Reset,
}

/// Records to be dropped from the front of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteRecords {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// Those before this offset; `None` for all there are.
    pub before: Option<i64>,
}

/// Why a topic was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicRefusal {
    /// Do not retry.
    #[error("topic {0:?} exists already")]
    Exists(String),
    /// Refresh metadata, then decide.
    #[error("this topic does not exist here")]
    Unknown,
    /// Do not retry.
    #[error("no topic can have this name: {0}")]
    BadName(String),
    /// Do not retry.
    #[error("bad number of partitions: {0}")]
    BadPartitions(String),
    /// Do not retry.
    #[error("bad setting {key:?}: {reason}")]
    BadSetting {
        /// Which.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Do not retry.
    #[error("an origin log cannot be changed: change the topic itself")]
    ReadOnly,
    /// Do not retry.
    #[error("offset {0} is beyond the end of the log")]
    BeyondEnd(i64),
    /// Do not retry.
    #[error("not offered yet: {0}")]
    NotOffered(&'static str),
    /// Retry, here or at another site: nothing was changed.
    #[error("{0}")]
    NotWritable(String),
    /// Look whether it was changed before trying again.
    #[error("this site is stopping: whether the change was made will show at the other sites")]
    Stopping,
}

/// Whether Kafka's rules allow a topic of this name: clients refuse others.
#[must_use]
pub fn is_legal_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::is_legal_topic_name;

    #[test]
    fn names_follow_kafkas_rules() {
        assert!(is_legal_topic_name("eu-west.orders_1"));
        assert!(is_legal_topic_name(&"a".repeat(249)));
        for bad in ["", ".", "..", "a b", "ä", "a/b", "a\n", &"a".repeat(250)] {
            assert!(!is_legal_topic_name(bad), "{bad:?}");
        }
    }
}
