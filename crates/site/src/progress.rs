//! How far every group has come: the join of all deltas held here.
//!
//! Deltas are joined as soon as they are durable; they do not wait for the merged order, since the join does not care
//! in which order they come.

use std::collections::BTreeMap;

use clock::Stamp;
use crdt::{Epoch, Join, Progress};
use entry::{Move, PartitionId, ProgressBody, SiteId, TopicId};
use serde::{Deserialize, Serialize};

/// A group's position in one partition: a product of two joins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The position, as a CRDT.
    pub progress: Progress,
    label: Label,
}

/// What a client attached to a position; the label of the furthest position is kept, and of two at one position the
/// greater text. Field order is the order of comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
struct Label {
    epoch: Epoch,
    offset: u64,
    text: String,
}

impl Position {
    fn of(moved: &Move) -> Position {
        let label = Label {
            epoch: moved.progress.epoch(),
            offset: moved.progress.committed(),
            text: moved.metadata.clone(),
        };
        Position { progress: moved.progress.clone(), label }
    }

    /// What the client attached.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.label.text
    }
}

impl Join for Position {
    fn join(&mut self, other: &Position) -> bool {
        let further = other.label > self.label;
        if further {
            self.label = other.label.clone();
        }
        self.progress.join(&other.progress) || further
    }
}

/// The positions of all groups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Positions {
    groups: BTreeMap<String, BTreeMap<(TopicId, PartitionId), Position>>,
}

impl Positions {
    /// Takes a delta in. Returns whether it said anything new.
    pub fn join(&mut self, delta: &ProgressBody) -> bool {
        let group = self.groups.entry(delta.group.clone()).or_default();
        let mut changed = false;
        for moved in &delta.moves {
            changed |= group.entry((moved.topic, moved.partition)).or_default().join(&Position::of(moved));
        }
        changed
    }

    /// A bug on purpose: forgets what a delta is about to be joined with.
    pub(crate) fn forget(&mut self, delta: &ProgressBody) {
        let group = self.groups.entry(delta.group.clone()).or_default();
        delta.moves.iter().for_each(|moved| {
            group.remove(&(moved.topic, moved.partition));
        });
    }

    /// The delta that moves a group to `offset`: forward in its epoch, or, to a lower place, as a rewind.
    #[must_use]
    pub fn moved(&self, group: &str, to: &Target, stamp: Stamp, site: SiteId) -> Move {
        let mut progress = self
            .position(group, to.topic, to.partition)
            .map(|held| held.progress.clone())
            .unwrap_or_default();
        if to.offset < progress.committed() {
            progress.rewind(to.offset, stamp.raw(), site.0);
        } else {
            progress.commit(to.offset);
        }
        Move { topic: to.topic, partition: to.partition, progress, metadata: to.metadata.clone() }
    }

    /// A group's position in one partition.
    #[must_use]
    pub fn position(&self, group: &str, topic: TopicId, partition: PartitionId) -> Option<&Position> {
        self.groups.get(group)?.get(&(topic, partition))
    }

    /// All positions of a group.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&(TopicId, PartitionId), &Position)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// The names of all groups that ever committed.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }
}

/// Where a commit wants a group to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: u64,
    /// What the client attached.
    pub metadata: String,
}

#[cfg(test)]
mod tests {
    use super::{Positions, Target};
    use clock::Stamp;
    use entry::{ProgressBody, SiteId, TopicId};
    use uuid::Uuid;

    fn target(offset: u64) -> Target {
        Target { topic: TopicId(Uuid::from_u128(1)), partition: 0, offset, metadata: format!("at {offset}") }
    }

    fn commit(positions: &mut Positions, offset: u64, at: u64) -> ProgressBody {
        let moved = positions.moved("g", &target(offset), Stamp::from_raw(at), SiteId(1));
        let delta = ProgressBody { group: "g".into(), moves: vec![moved] };
        positions.join(&delta);
        delta
    }

    fn read(positions: &Positions) -> (u64, &str) {
        let position = positions.position("g", target(0).topic, 0).expect("it was committed");
        (position.progress.committed(), position.metadata())
    }

    #[test]
    fn a_rewind_wins_over_the_higher_position_it_saw() {
        let (mut here, mut there) = (Positions::default(), Positions::default());
        let deltas = [commit(&mut here, 10, 1), commit(&mut here, 4, 2), commit(&mut here, 6, 3)];
        assert_eq!(read(&here), (6, "at 6"));
        for delta in deltas.iter().rev() {
            there.join(delta);
        }
        assert_eq!(there, here);
    }
}
