//! What leaves the coordinator: answers, and events for the log.

use serde::{Deserialize, Serialize};

use crate::Response;

/// One output, in the order it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The answer to the request with this ticket; exactly one for each.
    Reply {
        /// As given with the request.
        ticket: u64,
        /// The answer.
        response: Response,
    },
    /// Something an operator may want to read.
    Event(Event),
}

/// What happened to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Members are asked to rejoin.
    RebalanceStarted {
        /// The group's name.
        group: String,
        /// The generation that ends.
        generation: i32,
        /// Why.
        reason: String,
    },
    /// A generation has formed.
    Generation {
        /// The group's name.
        group: String,
        /// Its number.
        generation: i32,
        /// The leader's member id.
        leader: String,
        /// The chosen protocol.
        protocol: String,
        /// How many members it has.
        members: usize,
    },
    /// The leader has assigned; the generation works.
    Stable {
        /// The group's name.
        group: String,
        /// Its number.
        generation: i32,
    },
    /// A member is gone.
    MemberRemoved {
        /// The group's name.
        group: String,
        /// The member's id.
        member_id: String,
        /// Why.
        why: Removal,
    },
    /// The last member is gone.
    Empty {
        /// The group's name.
        group: String,
        /// The generation in which nobody is.
        generation: i32,
    },
}

/// Why a member was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// It said so.
    Left,
    /// It was silent longer than its session.
    SessionExpired,
    /// It did not rejoin in time.
    MissedJoin,
    /// It did not sync in time.
    MissedSync,
    /// A new process took its instance id.
    Replaced,
}
