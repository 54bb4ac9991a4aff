//! Why a coordinator says no. One small list for all requests, since members react to the reason, not to the request.

use serde::{Deserialize, Serialize};

/// A refusal; each names the Kafka error it becomes, and what the member does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// UNKNOWN_MEMBER_ID: join anew, without a member id.
    #[error("no such member in this group here: join again without a member id")]
    UnknownMember,
    /// MEMBER_ID_REQUIRED: join again with this id.
    #[error("join again with the member id {member_id}")]
    MemberIdRequired {
        /// The id to join with.
        member_id: String,
    },
    /// ILLEGAL_GENERATION: the group has moved on; join again.
    #[error("the group is in generation {current}, not in that one: join again")]
    IllegalGeneration {
        /// The running generation.
        current: i32,
    },
    /// REBALANCE_IN_PROGRESS: commit, then join again.
    #[error("the group is rebalancing: join again")]
    RebalanceInProgress,
    /// FENCED_INSTANCE_ID: another process uses the same instance id; stop.
    #[error("another member has taken this group.instance.id: give each process its own")]
    FencedInstance,
    /// INCONSISTENT_GROUP_PROTOCOL: fix the configuration.
    #[error(
        "the members of this group share no protocol with that one: configure a common assignor and protocol type"
    )]
    InconsistentProtocol,
    /// INVALID_SESSION_TIMEOUT: fix the configuration.
    #[error("session timeout must lie between {min_ms} ms and {max_ms} ms")]
    InvalidSession {
        /// The shortest allowed.
        min_ms: u32,
        /// The longest allowed.
        max_ms: u32,
    },
    /// INVALID_GROUP_ID: fix the configuration.
    #[error("a group id has 1 to {max_bytes} bytes")]
    InvalidGroupId {
        /// The longest allowed.
        max_bytes: usize,
    },
    /// INVALID_REQUEST: something in it is larger than this node is willing to keep.
    #[error("{what} of {given} is above the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: Bounded,
        /// How large it is.
        given: usize,
        /// How large it may be.
        max: usize,
    },
    /// GROUP_MAX_SIZE_REACHED: no more members.
    #[error("the group already has {max} members")]
    GroupFull {
        /// As many as fit.
        max: usize,
    },
    /// COORDINATOR_NOT_AVAILABLE: this node coordinates as much as it can hold; retry later.
    #[error("this coordinator has no room for more group state: retry later")]
    OutOfRoom,
    /// NOT_COORDINATOR: ask again who coordinates the group.
    #[error("the group is coordinated elsewhere now: look its coordinator up again")]
    NotCoordinator,
    /// NON_EMPTY_GROUP: stop its members first.
    #[error("the group has members: stop them first")]
    NonEmpty,
    /// GROUP_ID_NOT_FOUND: nothing to delete here.
    #[error("no such group here")]
    UnknownGroup,
}

/// What a [`Refusal::TooLarge`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bounded {
    /// Protocols offered in one join.
    Protocols,
    /// Bytes of all protocols in one join.
    JoinBytes,
    /// Bytes of all assignments in one sync.
    AssignmentBytes,
    /// Bytes of `group.instance.id`.
    InstanceIdBytes,
    /// Members named in one leave or assignment.
    Members,
}

impl std::fmt::Display for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Protocols => "number of protocols",
            Self::JoinBytes => "size of member metadata",
            Self::AssignmentBytes => "size of the assignments",
            Self::InstanceIdBytes => "length of group.instance.id",
            Self::Members => "number of members named",
        })
    }
}
