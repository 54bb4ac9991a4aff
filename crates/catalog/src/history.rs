//! What was changed, and whether a change can be the next one.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, Change, ChangeHash};

use crate::frame;

/// What was changed, as far as the next change has to go on from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The changes since the genesis, as a frame holds them, each behind those that it builds on.
    bytes: Vec<u8>,
    /// All of them, and the number of the last operation of each.
    changes: BTreeMap<ChangeHash, u64>,
    /// How many changes each actor has made, and the number of its last operation.
    actors: BTreeMap<ActorId, (u64, u64)>,
}

impl History {
    pub(crate) fn push(&mut self, change: &Change) {
        frame::put_change(&mut self.bytes, change);
        self.changes.insert(change.hash(), change.max_op());
        self.actors.insert(change.actor_id().clone(), (change.seq(), change.max_op()));
    }

    pub(crate) fn append(&mut self, next: History) {
        self.bytes.extend(next.bytes);
        self.changes.extend(next.changes);
        self.actors.extend(next.actors);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The genesis is in every copy anyway.
    pub(crate) fn forget_bytes(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn has(&self, change: &ChangeHash) -> bool {
        self.changes.contains_key(change)
    }

    /// Why a change cannot be the next one behind `new`, which goes on from here. Automerge would panic over most of
    /// these, now or later.
    pub(crate) fn objection(&self, new: &History, change: &Change) -> Option<&'static str> {
        let last_op = |hash| new.changes.get(hash).or(self.changes.get(hash)).copied();
        let made = |actor: &ActorId| new.actors.get(actor).or(self.actors.get(actor)).copied();
        let Some(built_on) = change.deps().iter().map(last_op).collect::<Option<Vec<_>>>() else {
            return Some("one stands before another that it builds on");
        };
        let built_on = built_on.into_iter().max().unwrap_or(0);
        let (seq, own) = made(change.actor_id()).unwrap_or_default();
        if change.seq() != seq + 1 {
            return Some("one does not follow what its actor changed before");
        }
        if change.is_empty() || change.start_op().get() != built_on + 1 || own > built_on {
            return Some("one does not count on from the operations that it builds on");
        }
        if change.author().is_some() {
            return Some("one names an author beside its actor");
        }
        let stranger = |actor: &ActorId| actor != change.actor_id() && made(actor).is_none();
        let strange = change.other_actor_ids().iter().any(stranger);
        strange.then_some("one names an actor that changed nothing")
    }
}

/// Changes that Automerge takes in one go.
///
/// It goes through them in an order of its own, in which a change stands behind those that it builds on, and counts on
/// each standing behind the one before of the same actor.
#[derive(Default)]
pub(crate) struct Batch {
    changes: Vec<Change>,
    deps: BTreeMap<ChangeHash, Vec<ChangeHash>>,
    last: BTreeMap<ActorId, ChangeHash>,
}

impl Batch {
    /// How many changes are looked through for the one before: those that one site made while another made none.
    const STEPS_MAX: usize = 100;

    /// Whether a change is sure to stand behind the one before of its actor.
    pub(crate) fn is_ordered(&self, change: &Change) -> bool {
        let Some(before) = self.last.get(change.actor_id()) else { return true };
        let mut behind = change.deps().to_vec();
        let mut seen = BTreeSet::new();
        while let Some(hash) = behind.pop() {
            if hash == *before {
                return true;
            }
            if seen.len() == Batch::STEPS_MAX {
                return false;
            }
            if seen.insert(hash) {
                behind.extend(self.deps.get(&hash).into_iter().flatten());
            }
        }
        false
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.deps.insert(change.hash(), change.deps().to_vec());
        self.last.insert(change.actor_id().clone(), change.hash());
        self.changes.push(change);
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}
