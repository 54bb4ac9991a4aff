//! Checkpoints: how much of each file counts, and which files must be synced for it.

use std::collections::BTreeMap;

use disk::FileName;
use serde::{Deserialize, Serialize};

use crate::leaving::Leaving;
use crate::logs::At;
use crate::partition::PartitionState;

/// How much of each file counts. What lies beyond is as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogsState {
    pub(crate) partitions: BTreeMap<At, PartitionState>,
    pub(crate) leaving: Leaving,
}

/// What a checkpoint needs from the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Goes into the checkpoint.
    pub state: LogsState,
    /// Files that must be durable before the checkpoint is.
    pub sync: Vec<FileName>,
}

impl LogsState {
    /// The files that hold what cannot be built again, and how much of each counts.
    pub fn files(&self) -> impl Iterator<Item = (FileName, u64)> + '_ {
        self.partitions.iter().flat_map(|(at, held)| held.extents(*at))
    }
}
