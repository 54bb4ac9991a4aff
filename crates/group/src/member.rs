//! One member of one group, and what it waits for.

use bytes::Bytes;

use crate::settings::NEW_MEMBER_WAIT_MS;
use crate::{Client, Join, Protocol};

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client: Client,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    pub(crate) rebalance_ms: u64,
    /// Order of arrival; the earliest leads.
    pub(crate) ordinal: u64,
    /// The ticket of a join that waits for its generation.
    pub(crate) joining: Option<u64>,
    /// The ticket of a sync that waits for the leader's.
    pub(crate) syncing: Option<u64>,
    /// Has come for its assignment in this generation.
    pub(crate) synced: bool,
    /// Has never been in a formed generation, so it has no session to keep alive yet.
    pub(crate) is_new: bool,
    session_ms: u64,
    expires_ms: u64,
}

impl Member {
    pub(crate) fn new(now_ms: u64, ordinal: u64, join: &Join) -> Self {
        Self {
            instance_id: join.claim.instance_id.clone(),
            client: join.client.clone(),
            protocols: kept(&join.protocols),
            assignment: Bytes::new(),
            rebalance_ms: rebalance_ms(join),
            ordinal,
            joining: None,
            syncing: None,
            synced: false,
            is_new: true,
            session_ms: u64::from(join.session_ms),
            expires_ms: now_ms.saturating_add(NEW_MEMBER_WAIT_MS),
        }
    }

    /// Takes over what a member that joins again says of itself.
    pub(crate) fn update(&mut self, join: &Join) {
        self.client = join.client.clone();
        self.protocols = kept(&join.protocols);
        self.rebalance_ms = rebalance_ms(join);
        self.session_ms = u64::from(join.session_ms);
    }

    pub(crate) fn touch(&mut self, now_ms: u64) {
        let silence_ms = if self.is_new { NEW_MEMBER_WAIT_MS } else { self.session_ms };
        self.expires_ms = now_ms.saturating_add(silence_ms);
    }

    /// When it counts as lost. A member whose request waits here cannot heartbeat, so it does not expire;
    /// only one that is new may have gone away unnoticed, and gets a long time instead.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (!waits || self.is_new).then_some(self.expires_ms)
    }

    /// The answer to a waiting join is out: from here on its session counts.
    pub(crate) fn admit(&mut self, now_ms: u64) {
        self.is_new = false;
        self.synced = false;
        self.touch(now_ms);
    }

    pub(crate) fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered.name == protocol)
    }

    pub(crate) fn bytes(&self) -> usize {
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        let client = self.client.id.len() + self.client.host.len();
        join_bytes(&self.protocols) + self.assignment.len() + instance + client
    }
}

/// No time at all to rejoin would empty the group at every rebalance; the oldest clients mean their session.
fn rebalance_ms(join: &Join) -> u64 {
    u64::from(if join.rebalance_ms == 0 { join.session_ms } else { join.rebalance_ms })
}

pub(crate) fn join_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

/// Copies: a slice of the request would keep the whole frame it came in.
fn kept(protocols: &[Protocol]) -> Vec<Protocol> {
    let copy = |protocol: &Protocol| Protocol {
        name: protocol.name.clone(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(copy).collect()
}
