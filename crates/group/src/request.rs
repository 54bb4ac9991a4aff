//! What members and operators ask of a coordinator, as plain data: free of the wire, so that it can be recorded and replayed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One request. The ticket that travels beside it comes back with the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Become a member, or rejoin for the next generation. Answered when the generation has formed.
    Join(Join),
    /// Hand in (leader) and receive one's assignment. Answered when the leader has handed it in.
    Sync(Sync),
    /// Say that one is alive and learn whether a rebalance is on.
    Heartbeat(Heartbeat),
    /// Take members out of the group.
    Leave(Leave),
    /// May this member commit progress now? Accepting it counts as a sign of life.
    CheckCommit(CheckCommit),
    /// All groups coordinated here.
    List,
    /// One group with its members.
    Describe {
        /// The group's name.
        group: String,
    },
    /// Forget an empty group. Its progress is the caller's to delete.
    Delete {
        /// The group's name.
        group: String,
    },
}

/// Who asks: a member of a group, perhaps a static one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claim {
    /// The group's name.
    pub group: String,
    /// The member's id; empty when it has none yet.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
}

/// The client behind a member, for operators to recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Client {
    /// `client.id`.
    pub id: String,
    /// Where it connects from.
    pub host: String,
}

/// One assignment protocol that a member offers, most wanted first in its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: String,
    /// What the leader needs to know of the member; opaque here.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Join {
    /// Who asks. An empty member id asks for a new one.
    pub claim: Claim,
    /// The client behind it.
    pub client: Client,
    /// `consumer`, `connect`, …: all members must agree on it.
    pub protocol_type: String,
    /// What the member can do, most wanted first.
    pub protocols: Vec<Protocol>,
    /// How long the member may be silent.
    pub session_ms: u32,
    /// How long the others wait for it to rejoin. (Version 0 has no such field: pass the session there.)
    pub rebalance_ms: u32,
    /// Version 4 and later: a new dynamic member is told its id first and joins with it, so that a lost answer leaves no ghost.
    pub must_know_id: bool,
    /// Version 9 and later: a returning static leader can be told to leave the assignment as it is.
    pub can_skip_assignment: bool,
    /// Why it joins, for the log.
    pub reason: Option<String>,
    /// Random bits for a new member id, drawn by the caller, so that ids cannot be guessed.
    pub nonce: u64,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sync {
    /// Who asks.
    pub claim: Claim,
    /// The generation it was told when it joined.
    pub generation: i32,
    /// Version 5 and later: what it thinks the group runs. A mismatch is refused.
    pub protocol_type: Option<String>,
    /// Version 5 and later: the protocol it thinks was chosen.
    pub protocol: Option<String>,
    /// From the leader: each member's assignment, by member id. Empty from all others.
    pub assignments: Vec<(String, Bytes)>,
}

/// Heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who asks.
    pub claim: Claim,
    /// Its generation.
    pub generation: i32,
}

/// LeaveGroup, for one or many members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leave {
    /// The group's name.
    pub group: String,
    /// Who leaves.
    pub members: Vec<Leaving>,
}

/// One who leaves: by member id, or a static one by its instance id alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaving {
    /// The member's id; may be empty where the instance id is given.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
}

/// Whether a commit may be journaled. A consumer that assigns itself has generation −1 and an empty member id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckCommit {
    /// Who commits.
    pub claim: Claim,
    /// Its generation, or −1.
    pub generation: i32,
}
