//! What a coordinator is told once, and the limits it keeps so that no client can fill the node's memory.

use serde::{Deserialize, Serialize};

/// Settings of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The site that coordinates; part of every member id it hands out.
    pub site: u16,
    /// Its incarnation, or any number that differs between process lives: members of a former life are then strangers.
    pub incarnation: u32,
    /// Sessions shorter than this are refused.
    pub session_ms_min: u32,
    /// Sessions longer than this are refused.
    pub session_ms_max: u32,
    /// How long the first join to an empty group waits for others.
    pub initial_rebalance_delay_ms: u32,
    /// How much is kept.
    pub limits: Limits,
}

impl Settings {
    /// Clients are seen in practice with sessions from one second up; Kafka's six-second floor would refuse them.
    pub const SESSION_MS_MIN: u32 = 1_000;
    /// Kafka's ceiling: half an hour.
    pub const SESSION_MS_MAX: u32 = 1_800_000;
    /// Kafka waits three seconds so that a fleet that starts at once forms one generation. Each newcomer extends the wait here as
    /// there, so half a second already gathers a fleet, and a lone consumer starts reading six times sooner.
    pub const INITIAL_REBALANCE_DELAY_MS: u32 = 500;

    /// The defaults, for this site and incarnation.
    #[must_use]
    pub fn new(site: u16, incarnation: u32) -> Self {
        Self {
            site,
            incarnation,
            session_ms_min: Self::SESSION_MS_MIN,
            session_ms_max: Self::SESSION_MS_MAX,
            initial_rebalance_delay_ms: Self::INITIAL_REBALANCE_DELAY_MS,
            limits: Limits::default(),
        }
    }
}

/// Upper bounds on what clients can make a coordinator hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Groups at one node.
    pub groups: usize,
    /// Members of one group, those with a promised id included.
    pub members: usize,
    /// Bytes of protocols in one join.
    pub join_bytes: usize,
    /// Bytes of assignments in one sync.
    pub assignment_bytes: usize,
    /// Metadata and assignments of all groups together.
    pub total_bytes: usize,
}

impl Default for Limits {
    /// Room for the largest fleets we know of (hundreds of members with thousands of partitions), and a quarter GiB in all.
    fn default() -> Self {
        Self {
            groups: 10_000,
            members: 2_000,
            join_bytes: 1 << 20,
            assignment_bytes: 16 << 20,
            total_bytes: 256 << 20,
        }
    }
}

/// Longest group id, in bytes: generous beside Kafka's topic limit of 249.
pub(crate) const GROUP_ID_BYTES_MAX: usize = 1_024;
/// Longest instance id: Kafka's own limit, that of topic names.
pub(crate) const INSTANCE_ID_BYTES_MAX: usize = 249;
/// Protocols in one join: clients offer one to four.
pub(crate) const PROTOCOLS_MAX: usize = 32;
/// A joiner that has no session yet is dropped after this long: it cannot heartbeat while it waits. Kafka's value.
pub(crate) const NEW_MEMBER_WAIT_MS: u64 = 5 * 60 * 1000;
/// An empty group stays listed this long; its progress lives elsewhere and is not affected.
pub(crate) const EMPTY_GROUP_KEPT_MS: u64 = 10 * 60 * 1000;
