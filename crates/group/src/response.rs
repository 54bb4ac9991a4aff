//! What a coordinator answers. One variant per request, so that the front can encode an answer knowing only the ticket.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Client, Protocol, Refusal};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To a join. After [`Refusal::MemberIdRequired`] the member joins again with the id in it.
    Join(Result<Joined, Refusal>),
    /// To a sync.
    Sync(Result<Synced, Refusal>),
    /// To a heartbeat.
    Heartbeat(Result<(), Refusal>),
    /// To a leave: refused as a whole, or member by member in the order asked.
    Leave(Result<Vec<Left>, Refusal>),
    /// To a commit check.
    CheckCommit(Result<(), Refusal>),
    /// To a list.
    List(Vec<Listing>),
    /// To a describe. A group that is not known here is described as dead.
    Describe(Description),
    /// To a delete.
    Delete(Result<(), Refusal>),
}

/// A place in a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The asker's member id.
    pub member_id: String,
    /// The leader's member id.
    pub leader: String,
    /// What kind of group it is.
    pub protocol_type: String,
    /// The protocol chosen by vote.
    pub protocol: String,
    /// The leader is to sync without assigning: what was assigned stands.
    pub skips_assignment: bool,
    /// For the leader: every member with its metadata for the chosen protocol. Empty for the others.
    pub members: Vec<MemberMetadata>,
}

/// One member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberMetadata {
    /// The member's id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// What it offers for the chosen protocol.
    pub metadata: Bytes,
}

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The member's own part; empty when the leader gave it none.
    pub assignment: Bytes,
    /// What kind of group it is.
    pub protocol_type: String,
    /// The protocol chosen by vote.
    pub protocol: String,
}

/// One member's answer within a leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// As asked.
    pub member_id: String,
    /// As asked.
    pub instance_id: Option<String>,
    /// Whether it left.
    pub result: Result<(), Refusal>,
}

/// Where a group stands, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateName {
    /// No members; progress may exist.
    Empty,
    /// Members are joining the next generation.
    PreparingRebalance,
    /// The generation has formed; its leader's assignment is awaited.
    CompletingRebalance,
    /// All have their assignment.
    Stable,
    /// Not known here.
    Dead,
}

impl StateName {
    /// The name as Kafka's tools print it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// One group in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its name.
    pub group: String,
    /// Empty while nobody has joined.
    pub protocol_type: String,
    /// Where it stands.
    pub state: StateName,
}

/// One group in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub group: String,
    /// Where it stands.
    pub state: StateName,
    /// The running generation.
    pub generation: i32,
    /// Empty while nobody has joined.
    pub protocol_type: String,
    /// The chosen protocol; empty outside a generation.
    pub protocol: String,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
}

/// One member in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDescription {
    /// The member's id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The client behind it.
    pub client: Client,
    /// Its metadata for the chosen protocol; empty while a rebalance is on.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A member's metadata for one protocol, empty where it does not offer it.
pub(crate) fn metadata_for(protocols: &[Protocol], name: &str) -> Bytes {
    protocols
        .iter()
        .find(|protocol| protocol.name == name)
        .map_or_else(Bytes::new, |found| found.metadata.clone())
}
