//! Figures of the write-ahead log, counted by the thread that writes it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Figures of the write-ahead log.
#[derive(Debug, Clone)]
pub struct WalMetrics {
    write_seconds: Histogram,
    written_bytes: Counter,
}

impl WalMetrics {
    pub(super) fn register(registry: &mut Registry) -> WalMetrics {
        // From 50 µs, a fast disk's sync, to about 3 s, a disk in distress.
        let write_seconds = Histogram::new(exponential_buckets(50e-6, 2.0, 17));
        let written_bytes = Counter::default();
        registry.register_with_unit(
            "wal_write",
            "Time from handing a group of records to the disk until it is synced",
            Unit::Seconds,
            write_seconds.clone(),
        );
        registry.register_with_unit(
            "wal_written",
            "Bytes written to the write-ahead log",
            Unit::Bytes,
            written_bytes.clone(),
        );
        WalMetrics { write_seconds, written_bytes }
    }

    /// A group was written and synced.
    pub fn written(&self, bytes: u64, seconds: f64) {
        self.write_seconds.observe(seconds);
        self.written_bytes.inc_by(bytes);
    }
}
