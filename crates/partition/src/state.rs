//! Checkpoints: how much of each file counts.

use std::collections::BTreeMap;

use disk::FileName;
use entry::{PartitionId, TopicId};
use serde::{Deserialize, Serialize};

/// How much of each file counts. What lies beyond is as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogsState {
    partitions: BTreeMap<(TopicId, PartitionId), u64>,
}

/// What a checkpoint needs from the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Goes into the checkpoint.
    pub state: LogsState,
    /// Files that must be durable before the checkpoint is.
    pub sync: Vec<FileName>,
}
