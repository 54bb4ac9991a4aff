//! What every decoder that faces a disk or a network must bear: one function of bytes per decoder.
//!
//! Whatever the bytes: no panic, no more memory than a stated multiple of them, and what was decoded comes back the
//! same after it was encoded. Where a checksum stands in front, the functions also forge it, so that what lies behind
//! is reached. `fuzz/engine` feeds them with libFuzzer on nightly (`cargo xtask fuzz`); `cargo test` replays the
//! corpora on stable. What a fuzzer finds is fixed, and its input stays in the corpus.

mod budget;
mod kafka_request;
mod logs;
#[path = "../../crates/kafka/tests/memory/mod.rs"]
#[expect(dead_code, reason = "the front's own tests use more of it")]
mod memory;
mod partitions;
mod peer_frame;
mod said;
pub mod seeds;
mod sole;

pub use budget::Budget;

/// One decoder.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also of its corpus.
    pub name: &'static str,
    /// What it may take of memory.
    pub budget: Budget,
    take: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 14] = [
    target("batch", 70 << 20, 8, logs::batch),
    target("catalog", 32 << 20, 64, said::catalog),
    target("checkpoint", 1 << 20, 8, logs::checkpoint),
    target("entry", 1 << 20, 16, said::entry),
    target("identity", 1 << 20, 8, logs::identity),
    target("index", 4 << 20, 16, partitions::index),
    target("kafka_request", 8 << 20, 64, kafka_request::kafka_request),
    target("note", 1 << 20, 64, said::note),
    target("peer_frame", 1 << 20, 64, peer_frame::peer_frame),
    target("peer_message", 1 << 20, 64, said::peer_message),
    target("progress", 1 << 20, 64, said::progress),
    target("segment", 4 << 20, 64, partitions::segment),
    target("state", 8 << 20, 64, said::state),
    target("wal", 8 << 20, 16, logs::wal),
];

const fn target(name: &'static str, fixed_bytes: usize, per_byte: usize, take: fn(&[u8])) -> Target {
    Target { name, budget: Budget { fixed_bytes, per_byte }, take }
}

impl Target {
    /// Feeds it.
    ///
    /// # Panics
    /// If the decoder does, or takes more memory than it may, or what it read does not come back.
    pub fn feed(&self, bytes: &[u8]) {
        self.budget.within(self.name, bytes.len(), || (self.take)(bytes));
    }

    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Target> {
        TARGETS.iter().copied().find(|target| target.name == name)
    }
}
