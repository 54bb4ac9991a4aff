//! Figures of Kafka clients, counted where they are served.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Api {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: Direction,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Direction {
    /// From clients.
    In,
    /// To clients.
    Out,
}

/// Figures of Kafka clients.
#[derive(Debug, Clone)]
pub struct KafkaMetrics {
    connections: Gauge,
    requests: Family<Api, Counter>,
    seconds: Family<Api, Histogram, fn() -> Histogram>,
    bytes: Family<Way, Counter>,
}

/// From 100 µs to about 100 s: a long poll is among them.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(100e-6, 2.0, 20))
}

impl KafkaMetrics {
    pub(super) fn register(registry: &mut Registry) -> KafkaMetrics {
        let metrics = KafkaMetrics {
            connections: Gauge::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            bytes: Family::default(),
        };
        registry.register(
            "kafka_connections",
            "Open connections of Kafka clients",
            metrics.connections.clone(),
        );
        registry.register("kafka_requests", "Requests of Kafka clients, by API", metrics.requests.clone());
        registry.register_with_unit(
            "kafka_request",
            "Time from a request's last byte until its answer is made, by API; a long poll's wait included",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "kafka_traffic",
            "Bytes of requests and answers",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        metrics
    }

    /// A request of this API was answered.
    pub fn answered(&self, api: &'static str, seconds: f64) {
        self.requests.get_or_create(&Api { api }).inc();
        self.seconds.get_or_create(&Api { api }).observe(seconds);
    }

    /// Bytes went this way.
    pub fn carried(&self, direction: Direction, bytes: u64) {
        self.bytes.get_or_create(&Way { direction }).inc_by(bytes);
    }

    /// So many connections are open now.
    pub fn connected(&self, connections: usize) {
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }
}
