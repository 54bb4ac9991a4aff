//! What can go wrong, one small enum per operation.

use thiserror::Error;

use crate::name::NameError;
use crate::settings::SettingError;
use crate::topic::PARTITIONS_MAX;

/// Why a topic was not created.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// A live topic bears the name.
    #[error("topic {0} exists already")]
    Exists(String),
    /// The name is not one a topic may have.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The number of partitions is not acceptable.
    #[error(transparent)]
    BadPartitions(#[from] PartitionsError),
    /// A setting is not acceptable.
    #[error(transparent)]
    BadSetting(#[from] SettingError),
}

/// Why a topic was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeleteError {
    /// No live topic bears the name.
    #[error("there is no topic {0}")]
    Unknown(String),
}

/// Why a topic did not get more partitions.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrowError {
    /// No live topic bears the name.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// The number of partitions is not acceptable.
    #[error(transparent)]
    BadPartitions(#[from] PartitionsError),
}

/// Why a topic's settings were not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AlterError {
    /// No live topic bears the name.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// A setting is not acceptable.
    #[error(transparent)]
    BadSetting(#[from] SettingError),
}

/// Why a number of partitions is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartitionsError {
    /// None, or more than a topic may have.
    #[error("a topic has 1 to {PARTITIONS_MAX} partitions, not {0}")]
    OutOfRange(u32),
    /// Partition counts only grow.
    #[error("the topic has {held} partitions; {asked} is not more, and partitions cannot be taken away")]
    NotMore {
        /// How many it has.
        held: u32,
        /// How many were asked for.
        asked: u32,
    },
}

/// Why changes were not applied. Nothing of them took effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// Damaged, or not a frame of changes: refuse what was sent, or call what was stored damaged.
    #[error("these are no catalog changes: {0}")]
    Frame(&'static str),
    /// Written by newer code.
    #[error("catalog changes of format {0} are not known here: is another site newer?")]
    Version(u8),
    /// They build on changes that are not here: apply them again when those are.
    #[error("these catalog changes build on {missing} others that are not here yet")]
    NotYet {
        /// How many are missing.
        missing: usize,
    },
    /// They do what no site does, or an actor was used twice: refuse them.
    #[error("catalog changes were refused: {0}")]
    Refused(String),
}

/// Why a stored catalog was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Damaged, or not a catalog: use an older checkpoint, or copy one from another site.
    #[error("this is no stored catalog: {0}")]
    Damaged(String),
    /// Written by newer code: run that.
    #[error("a stored catalog of format {0} is not known here: was newer code running?")]
    Version(u8),
}
