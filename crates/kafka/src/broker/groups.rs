//! Consumer groups of the classic kind: members, generations, progress.
//!
//! A group's protocols and assignments are the clients' own bytes; nobody on this side of the socket reads them.

use bytes::Bytes;
use uuid::Uuid;

/// A member wants to be in the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: String,
    /// The member's id; empty if it has none yet.
    pub member: String,
    /// Its lasting name, if it is a static member.
    pub instance: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// Silent for this long, it is out.
    pub session_timeout_ms: u32,
    /// How long a rebalance may wait for it.
    pub rebalance_timeout_ms: u32,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// What it can speak, most wanted first.
    pub protocols: Vec<Protocol>,
    /// Whether a new member is first told its id ([`GroupRefusal::MemberIdRequired`]) and joins again with it.
    pub knows_id_round: bool,
    /// Whether the leader may be told to leave the assignment to the coordinator.
    pub may_skip_assignment: bool,
    /// Why it joins, in its own words.
    pub reason: Option<String>,
}

/// A way of sharing out partitions that a member can speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name (`range`, …).
    pub name: String,
    /// The member's own bytes.
    pub metadata: Bytes,
}

/// A member is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The generation's number.
    pub generation: i32,
    /// What kind of group this is.
    pub protocol_type: String,
    /// The protocol that all members speak.
    pub protocol: String,
    /// The leader's member id.
    pub leader: String,
    /// The member's own id.
    pub member: String,
    /// For the leader, everyone; for others, nobody.
    pub members: Vec<JoinedMember>,
    /// Whether the leader need not compute an assignment.
    pub skip_assignment: bool,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
    /// Its bytes for the chosen protocol.
    pub metadata: Bytes,
}

/// A join was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct JoinRefusal {
    /// Why.
    #[source]
    pub why: GroupRefusal,
    /// The id to join with next time ([`GroupRefusal::MemberIdRequired`]), else the one it came with.
    pub member: String,
}

/// A member asks for its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group: String,
    /// The generation it is in.
    pub generation: i32,
    /// Its id.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
    /// The kind of group it believes to be in, if it says so.
    pub protocol_type: Option<String>,
    /// The protocol it believes was chosen, if it says so.
    pub protocol: Option<String>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group this is.
    pub protocol_type: String,
    /// The protocol chosen.
    pub protocol: String,
    /// The leader's bytes for this member.
    pub assignment: Bytes,
}

/// A member is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: String,
    /// The generation it is in.
    pub generation: i32,
    /// Its id.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
}

/// Members go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: String,
    /// Who.
    pub members: Vec<LeavingMember>,
}

/// A member that goes, named by its id, by its lasting name, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id; empty if an operator removes it by its lasting name.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
}

/// How far a group has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// The generation, or −1 from a client outside the group's membership.
    pub generation: i32,
    /// The member's id, or empty.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
    /// Partitions and offsets.
    pub partitions: Vec<CommitPartition>,
}

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The topic, or an origin log's id.
    pub topic: Uuid,
    /// The partition, known to exist when the front looked.
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or −1.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: String,
}

/// Whose progress, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWanted {
    /// The group.
    pub group: String,
    /// Topic and partition; `None` for all that the group has committed.
    pub partitions: Option<Vec<(Uuid, u32)>>,
}

/// Progress in a partition; partitions without any are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The topic, or an origin log's id.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
    /// As committed.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: String,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members, perhaps progress.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// The leader is asked for the assignment.
    CompletingRebalance,
    /// Everyone has a part.
    Stable,
    /// Nobody knows it.
    Dead,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// `consumer`, `connect`, … or empty.
    pub protocol_type: String,
    /// What it is doing.
    pub state: GroupState,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// What it is doing.
    pub state: GroupState,
    /// `consumer`, `connect`, … or empty.
    pub protocol_type: String,
    /// The protocol chosen, or empty.
    pub protocol: String,
    /// Who is in.
    pub members: Vec<GroupMember>,
}

/// A member in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member: String,
    /// Its lasting name.
    pub instance: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// Its bytes for the chosen protocol.
    pub metadata: Bytes,
    /// Its part.
    pub assignment: Bytes,
}

/// Why a group call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// Find the coordinator again.
    #[error("this site does not coordinate the group")]
    NotCoordinator,
    /// Retry.
    #[error("this site is still learning what the group has done")]
    Loading,
    /// Retry.
    #[error("the group's coordinator is not known now, or has no room for more")]
    NotAvailable,
    /// Do not retry.
    #[error("a group's name is empty or too long")]
    BadGroupName,
    /// Join again.
    #[error("this generation is over")]
    OldGeneration,
    /// Join again with no member id.
    #[error("the group has no such member")]
    UnknownMember,
    /// Join again.
    #[error("a rebalance is under way")]
    Rebalancing,
    /// Do not retry.
    #[error("the member shares no protocol with the group")]
    NoSharedProtocol,
    /// Do not retry.
    #[error("session timeout outside the bounds that this cluster allows")]
    BadSessionTimeout,
    /// Join again with the id given.
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// Stop: a newer member has this lasting name.
    #[error("another member has taken this lasting name")]
    FencedInstance,
    /// Do not retry.
    #[error("the group has as many members as it may")]
    Full,
    /// Do not retry.
    #[error("nobody knows this group")]
    UnknownGroup,
    /// Do not retry.
    #[error("the group has members")]
    NotEmpty,
    /// Refresh metadata, then decide.
    #[error("this topic or partition does not exist here")]
    UnknownTopic,
    /// Do not retry: something in the call is larger than this site keeps.
    #[error("something in the call is larger than a group may hold")]
    TooLarge,
    /// Retry.
    #[error("this site takes no commits now")]
    NotWritable,
}
