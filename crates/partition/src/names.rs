//! Names of files. Numbers have leading zeros where sorting names should sort what they mean.

use disk::FileName;
use entry::{JournalId, PartitionId, TopicId};

/// Everything of this room.
pub(crate) fn root() -> FileName {
    FileName::root().join("logs")
}

/// Everything of one topic.
pub(crate) fn topic(topic: TopicId) -> FileName {
    root().join(topic.to_string())
}

/// Everything of one partition.
pub(crate) fn folder(topic: TopicId, partition: PartitionId) -> FileName {
    root().join(format!("{topic}/{partition}"))
}

/// The merged log of a partition.
pub(crate) fn merged(folder: &FileName) -> FileName {
    folder.join("merged.index")
}

/// One segment of a journal's origin log.
pub(crate) fn segment(folder: &FileName, journal: JournalId, first: u64) -> FileName {
    folder.join(format!("origin/{journal}/{first:020}.log"))
}

/// The index of that segment.
pub(crate) fn index(folder: &FileName, journal: JournalId, first: u64) -> FileName {
    folder.join(format!("origin/{journal}/{first:020}.index"))
}

/// The index of the segment in this file.
pub(crate) fn index_of(segment: &FileName) -> FileName {
    let name = segment.as_str();
    let index = format!("{}.index", name.strip_suffix(".log").unwrap_or(name));
    FileName::new(&index).expect("as good a name as the segment's")
}

/// One segment of a generation of what was compacted, and its index.
pub(crate) fn compacted(folder: &FileName, generation: u64, first: u64) -> (FileName, FileName) {
    let name = |end| folder.join(format!("compacted/{generation:010}/{first:020}.{end}"));
    (name("log"), name("index"))
}

/// Whether a segment is one of those.
pub(crate) fn is_compacted(file: &FileName) -> bool {
    file.as_str().split('/').nth_back(2) == Some("compacted")
}

#[cfg(test)]
mod tests {
    use super::{folder, merged, segment};
    use entry::{Incarnation, JournalId, SiteId, TopicId};
    use uuid::Uuid;

    #[test]
    fn names_say_whose_and_from_where() {
        let folder = folder(TopicId(Uuid::from_u128(1)), 2);
        let journal = JournalId { site: SiteId(3), incarnation: Incarnation(4) };
        assert_eq!(merged(&folder).as_str(), "logs/00000000-0000-0000-0000-000000000001/2/merged.index");
        assert!(segment(&folder, journal, 5).as_str().ends_with("/2/origin/3.4/00000000000000000005.log"));
    }
}
