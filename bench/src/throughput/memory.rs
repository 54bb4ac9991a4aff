//! What a site may hold in memory under a load, by the budget of docs/memory.md: windows × peers, what waits for its place
//! for a round trip, caches.
//!
//! The parts that a configuration sets are taken at their defaults: a run that overrides them changes the budget too.

use std::time::Duration;

/// A load as far as memory is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Bytes that clients have on the way.
    pub(super) on_the_way_bytes: usize,
    pub(super) peers: usize,
    /// Entries written in a second.
    pub(super) entries_s: f64,
    /// From durable to released.
    pub(super) release: Duration,
}

const MIB: f64 = 1_048_576.0;
/// Code, runtime, empty structures.
const BASE_MIB: f64 = 25.0;
/// Entries kept to serve peers: `site::Limits::hot_bytes`.
const HOT_MIB: f64 = 64.0;
/// Per peer: `limits.peer_window_bytes`, one lane's window under way, two lanes' inbound budget.
const PEER_MIB: f64 = 32.0 + 16.0 + 2.0 * 4.0;
/// An entry that is held and not released, without its records.
const ENTRY_BYTES: f64 = 250.0;
/// A client's bytes are in a request being read, in the queue for the WAL, and in the write under way.
const COPIES: f64 = 3.0;
/// What the allocator keeps beyond what is in use.
const ALLOCATOR: f64 = 1.25;

impl Load {
    /// The budget, in MB.
    pub(super) fn budget_mb(self) -> f64 {
        let fixed = (BASE_MIB + HOT_MIB + self.peers as f64 * PEER_MIB) * MIB;
        let clients = COPIES * self.on_the_way_bytes as f64;
        let unreleased = self.entries_s * self.release.as_secs_f64() * ENTRY_BYTES;
        (fixed + clients + unreleased) * ALLOCATOR / 1e6
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Load;

    #[test]
    fn the_budget_grows_with_clients_peers_and_what_waits() {
        let alone = Load { on_the_way_bytes: 0, peers: 0, entries_s: 0.0, release: Duration::ZERO };
        let budget = alone.budget_mb();
        assert!((116.0..117.0).contains(&budget), "{budget}");
        let more = [
            Load { on_the_way_bytes: 1_000_000, ..alone },
            Load { peers: 1, ..alone },
            Load { entries_s: 5_000.0, release: Duration::from_millis(300), ..alone },
        ];
        let grown = more.map(|load| load.budget_mb() - budget);
        assert!((grown[0] - 3.75).abs() < 0.01 && (grown[1] - 73.4).abs() < 0.1, "{grown:?}");
        assert!((grown[2] - 0.469).abs() < 0.01, "{grown:?}");
    }
}
