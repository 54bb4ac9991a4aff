//! What a site is told about itself and the others, and its named limits.

use std::collections::BTreeMap;

use entry::{ClusterId, SiteId};

/// One site that is or may become a member, as every site's configuration lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The site.
    pub site: SiteId,
    /// Its name: `eu-west`.
    pub name: String,
}

/// What a site is told at its start; the same at all sites but for `own`.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This site.
    pub own: SiteId,
    /// Every site that is known, this one included. At a bootstrap those that hold data are the founders; who is a member later
    /// is agreed on.
    pub members: Vec<Member>,
    /// Which of them is the witness, if one is: it holds no data and is never a member.
    pub witness: Option<SiteId>,
    /// The homes of clients and their ports: what is known at two sites must be the same at both.
    pub homes: BTreeMap<String, u16>,
    /// The protocol that this process speaks: the one of its version. Only the simulator, which upgrades sites, has another.
    pub protocol: u16,
    /// How far a clock may be ahead of ours, in milliseconds.
    pub clock_bound_ms: u64,
    /// How long a start waits to hear from all others before it continues its journal anyway, in milliseconds.
    pub start_wait_ms: u64,
    /// After how long a silent site counts as away when clients are sent to a live one, in milliseconds.
    pub alive_ms: u64,
    /// After how long without a new promise the members fence a site by themselves, in milliseconds; 0 for never.
    pub fence_timeout_ms: u64,
    /// Limits.
    pub limits: Limits,
}

/// Limits of the machine; each bounds a queue.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest record batch, in bytes. A topic may set a lower one.
    pub batch_bytes_max: usize,
    /// Bytes of own appends that may wait for the WAL before new ones are refused.
    pub waiting_bytes_max: usize,
    /// Appends that may wait for the clock (a start, a jump) before new ones are refused.
    pub waiting_appends_max: usize,
    /// Entries that may be held here without a place in the order, each some 250 bytes of memory, before new appends are
    /// refused. What comes from others is taken in all the same: it may be what the order waits for.
    pub unreleased_max: usize,
    /// Bytes on their way to one peer that it has not yet taken off our hands.
    pub peer_window_bytes: usize,
    /// Bytes of entries in one message to a peer.
    pub message_bytes: usize,
    /// WAL bytes written between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Size of a WAL segment, in bytes.
    pub wal_segment_bytes: u64,
    /// How large the WAL may grow for the sake of sites that lack what it holds, in bytes.
    pub wal_bytes_max: u64,
    /// How much of its files this site gives to others per second, in bytes.
    pub copy_bytes_per_second: u64,
    /// How much of its own files this site looks at per second, in bytes; 0 for never.
    pub look_bytes_per_second: u64,
    /// WAL segments that are done and kept to be used again.
    pub wal_segments_spare: usize,
    /// Recent entries kept in memory to serve peers, in bytes.
    pub hot_bytes: usize,
    /// How often, by merged stamps, it is looked at what need not be kept, in milliseconds. Not this machine's to choose:
    /// the same at all sites, for ever. Only the simulator, whose time is short, has another.
    pub period_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_bytes_max: 8 << 20,
            waiting_bytes_max: 64 << 20,
            waiting_appends_max: 10_000,
            unreleased_max: 10_000_000,
            peer_window_bytes: 16 << 20,
            message_bytes: 512 << 10,
            checkpoint_bytes: 256 << 20,
            wal_segment_bytes: 64 << 20,
            wal_bytes_max: 4 << 30,
            copy_bytes_per_second: 64 << 20,
            look_bytes_per_second: 8 << 20,
            wal_segments_spare: 8,
            hot_bytes: 64 << 20,
            period_ms: 10_000,
        }
    }
}

impl SiteConfig {
    /// The name of a site, for messages.
    #[must_use]
    pub fn name_of(&self, site: SiteId) -> &str {
        self.members.iter().find(|member| member.site == site).map_or("a stranger", |member| &member.name)
    }

    /// The sites that hold data: at a bootstrap they are the founders.
    pub(crate) fn founders(&self) -> Vec<SiteId> {
        let sites = self.members.iter().map(|member| member.site);
        sites.filter(|site| Some(*site) != self.witness).collect()
    }

    /// Whether a site is known.
    #[must_use]
    pub fn knows(&self, site: SiteId) -> bool {
        self.members.iter().any(|member| member.site == site)
    }
}
