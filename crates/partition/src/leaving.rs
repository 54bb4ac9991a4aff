//! Topics and segments that are gone, until their files are.
//!
//! The last two checkpoints are kept, so that a damaged one is no disaster. The older one may still name the files of a
//! topic or a segment that was removed since; they stay until two checkpoints have been taken without it. What waits is part of the
//! checkpoint, so that a restart neither removes too early nor forgets.

use std::collections::BTreeMap;

use disk::{Disk, DiskError, FileName};
use entry::TopicId;
use serde::{Deserialize, Serialize};

use crate::names;

/// As many checkpoints as are kept: when so many know nothing of a topic, none does.
const CHECKPOINTS: u8 = 2;

/// Topics without logs, and how many durable checkpoints were taken without them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Leaving {
    topics: BTreeMap<TopicId, u8>,
    /// The same of single files.
    files: BTreeMap<String, u8>,
    /// Those that the checkpoint being written knows to be gone.
    #[serde(skip)]
    taken: Vec<TopicId>,
    #[serde(skip)]
    taken_files: Vec<String>,
}

impl Leaving {
    /// A topic is gone from now on.
    pub(crate) fn add(&mut self, topic: TopicId) {
        self.topics.entry(topic).or_insert(0);
    }

    /// Nothing of a file is wanted from now on.
    pub(crate) fn add_file(&mut self, file: &FileName) {
        self.files.entry(file.as_str().to_owned()).or_insert(0);
    }

    /// Whether a file is gone, by itself or with its topic.
    pub(crate) fn holds(&self, file: &FileName) -> bool {
        self.files.contains_key(file.as_str())
            || self.topics.keys().any(|topic| file.is_below(&names::topic(*topic)))
    }

    /// What a checkpoint says: once it is read, it has been durable.
    pub(crate) fn checkpoint(&mut self) -> Leaving {
        self.taken = self.topics.keys().copied().collect();
        let counted = self.topics.iter().map(|(topic, count)| (*topic, count.saturating_add(1)));
        self.taken_files = self.files.keys().cloned().collect();
        let files = self.files.iter().map(|(file, count)| (file.clone(), count.saturating_add(1)));
        Leaving { topics: counted.collect(), files: files.collect(), ..Leaving::default() }
    }

    /// The checkpoint is durable: what no checkpoint names any more is removed.
    pub(crate) fn checkpointed(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        for topic in std::mem::take(&mut self.taken) {
            let Some(count) = self.topics.get_mut(&topic) else { continue };
            *count = count.saturating_add(1);
            if *count >= CHECKPOINTS {
                for file in disk.list(&names::topic(topic))? {
                    disk.remove(&file)?;
                }
                self.topics.remove(&topic);
            }
        }
        for file in std::mem::take(&mut self.taken_files) {
            let Some(count) = self.files.get_mut(&file) else { continue };
            *count = count.saturating_add(1);
            if *count >= CHECKPOINTS {
                // The state that says so may be another site's: it has no say over what is not of this room.
                if let Some(name) = FileName::new(&file).ok().filter(|name| name.is_below(&names::root())) {
                    disk.remove(&name)?;
                }
                self.files.remove(&file);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use disk::{Disk, FileName, MemoryDisk};

    use super::Leaving;

    #[test]
    fn only_files_of_this_room_go() {
        let (mut disk, mut leaving) = (MemoryDisk::new(), Leaving::default());
        let files = ["identity", "logs/a.log"].map(|name| FileName::new(name).unwrap());
        for file in &files {
            disk.write(file, 0, b"it").unwrap();
            leaving.add_file(file);
        }
        for _ in 0..2 {
            leaving.checkpoint();
            leaving.checkpointed(&mut disk).unwrap();
        }
        assert_eq!(disk.list(&FileName::root()).unwrap(), [files[0].clone()]);
    }
}
