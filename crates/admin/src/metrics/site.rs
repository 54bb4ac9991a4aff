//! Figures that are read off a status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::answers::{CertificateStatus, JournalStatus, PeerStatus, SiteStatus, Unreplicated};

/// A figure that goes up and down.
type Level = Gauge<u64, AtomicU64>;
/// One in seconds or another unit with a fraction.
type Measure = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfJournal {
    journal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPeer {
    peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTopic {
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCertificate {
    certificate: String,
    key: String,
}

#[derive(Debug, Default)]
pub(super) struct SiteMetrics {
    writing: Level,
    alive: Level,
    alarms: Level,
    wal_bytes: Level,
    wal_kept_for: Level,
    copy: CopyMetrics,
    certificates: CertificateMetrics,
    unreplicated: UnreplicatedMetrics,
    order: OrderMetrics,
    journals: JournalMetrics,
    peers: PeerMetrics,
}

#[derive(Debug, Default)]
struct CopyMetrics {
    wanted_bytes: Level,
    here_bytes: Level,
}

#[derive(Debug, Default)]
struct CertificateMetrics {
    due: Family<OfCertificate, Measure>,
    until: Family<OfCertificate, Measure>,
}

#[derive(Debug, Default)]
struct UnreplicatedMetrics {
    bytes: Family<OfTopic, Level>,
    age_seconds: Family<OfTopic, Measure>,
    held_back: Family<OfTopic, Level>,
}

#[derive(Debug, Default)]
struct OrderMetrics {
    stable_lag_seconds: Measure,
    blocked_seconds: Measure,
    released: Counter,
    unreleased: Level,
    passed_over: Family<OfReason, Counter>,
}

#[derive(Debug, Default)]
struct JournalMetrics {
    held: Family<OfJournal, Level>,
    lag: Family<OfJournal, Level>,
    lag_bytes: Family<OfJournal, Level>,
    unreleased: Family<OfJournal, Level>,
    promise_lag_seconds: Family<OfJournal, Measure>,
}

#[derive(Debug, Default)]
struct PeerMetrics {
    up: Family<OfPeer, Level>,
    rtt_seconds: Family<OfPeer, Measure>,
    window_bytes: Family<OfPeer, Level>,
    queued_bytes: Family<OfPeer, Level>,
    lost_packets: Family<OfPeer, Level>,
    sent_bytes: Family<OfPeer, Level>,
    received_bytes: Family<OfPeer, Level>,
}

fn plain(registry: &mut Registry, name: &str, about: &str, metric: &(impl Metric + Clone)) {
    registry.register(name, about, metric.clone());
}

fn with(registry: &mut Registry, name: &str, unit: Unit, about: &str, metric: &(impl Metric + Clone)) {
    registry.register_with_unit(name, about, unit, metric.clone());
}

fn entries() -> Unit {
    Unit::Other("entries".to_owned())
}

fn packets() -> Unit {
    Unit::Other("packets".to_owned())
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

/// Sets a counter whose count is kept elsewhere.
fn count(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}

impl SiteMetrics {
    pub(super) fn register(registry: &mut Registry) -> SiteMetrics {
        let metrics = SiteMetrics::default();
        plain(registry, "writing", "1 while this site takes writes", &metrics.writing);
        plain(registry, "sites_alive", "Sites heard from lately, this one included", &metrics.alive);
        plain(registry, "alarms", "Alarms that stand", &metrics.alarms);
        with(registry, "wal_disk", Unit::Bytes, "Size of the write-ahead log", &metrics.wal_bytes);
        let kept_for = "Sites that lack something of what the write-ahead log has kept longest";
        plain(registry, "wal_kept_for_sites", kept_for, &metrics.wal_kept_for);
        let wanted = "Size of the files that are being copied from another site, 0 if none are";
        with(registry, "copy_wanted", Unit::Bytes, wanted, &metrics.copy.wanted_bytes);
        with(registry, "copy_here", Unit::Bytes, "What of them is here", &metrics.copy.here_bytes);
        metrics.certificates.register(registry);
        metrics.unreplicated.register(registry);
        metrics.order.register(registry);
        metrics.journals.register(registry);
        metrics.peers.register(registry);
        metrics
    }

    pub(super) fn observe(&self, status: &SiteStatus) {
        let writes = status.halt.not_writing.is_none() && status.halt.halted.is_none();
        self.writing.set(u64::from(writes));
        self.alive.set(status.alive.len() as u64);
        self.alarms.set(status.alarms.len() as u64);
        self.wal_bytes.set(status.wal_bytes);
        self.wal_kept_for.set(status.wal_kept_for.len() as u64);
        let copy = status.copy.clone().unwrap_or_default();
        self.copy.wanted_bytes.set(copy.bytes);
        self.copy.here_bytes.set(copy.bytes_done);
        self.certificates.observe(&status.certificates);
        self.unreplicated.observe(&status.unreplicated);
        self.order.observe(status);
        status.journals.iter().for_each(|journal| self.journals.observe(journal));
        status.peers.iter().for_each(|peer| self.peers.observe(peer));
    }
}

impl CertificateMetrics {
    fn register(&self, registry: &mut Registry) {
        let due = "When a certificate should be renewed, in Unix time";
        with(registry, "certificate_due_timestamp", Unit::Seconds, due, &self.due);
        let until = "When a certificate expires, in Unix time";
        with(registry, "certificate_until_timestamp", Unit::Seconds, until, &self.until);
    }

    fn observe(&self, certificates: &[CertificateStatus]) {
        // Others may have taken their place.
        self.due.clear();
        self.until.clear();
        for it in certificates {
            let of = OfCertificate { certificate: it.name.clone(), key: it.key.clone() };
            self.due.get_or_create(&of).set(seconds(it.due_ms));
            self.until.get_or_create(&of).set(seconds(it.until_ms));
        }
    }
}

impl UnreplicatedMetrics {
    fn register(&self, registry: &mut Registry) {
        let bytes = "What of a topic that bounds it no other site is known to hold";
        with(registry, "unreplicated", Unit::Bytes, bytes, &self.bytes);
        let age = "How old the first of that is";
        with(registry, "unreplicated_age", Unit::Seconds, age, &self.age_seconds);
        let held_back = "Writes that wait until another site holds more of their topic";
        plain(registry, "held_back_writes", held_back, &self.held_back);
    }

    fn observe(&self, topics: &BTreeMap<String, Unreplicated>) {
        // A topic may be deleted, or its bound lifted.
        self.bytes.clear();
        self.age_seconds.clear();
        self.held_back.clear();
        for (topic, only) in topics {
            let of = OfTopic { topic: topic.clone() };
            self.bytes.get_or_create(&of).set(only.bytes);
            self.age_seconds.get_or_create(&of).set(seconds(only.age_ms));
            self.held_back.get_or_create(&of).set(only.held_back);
        }
    }
}

impl OrderMetrics {
    fn register(&self, registry: &mut Registry) {
        let lag = "How far the stable point is behind this site's clock, 0 if nothing waits for it";
        with(registry, "stable_point_lag", Unit::Seconds, lag, &self.stable_lag_seconds);
        let blocked = "For how long the next release has been waiting, 0 if nothing waits";
        with(registry, "release_blocked", Unit::Seconds, blocked, &self.blocked_seconds);
        with(registry, "released", entries(), "Entries released in all", &self.released);
        with(registry, "unreleased", entries(), "Entries held and not released", &self.unreleased);
        let passed = "Entries that the merge passed over, by reason";
        with(registry, "passed_over", entries(), passed, &self.passed_over);
    }

    fn observe(&self, status: &SiteStatus) {
        self.stable_lag_seconds.set(seconds(status.stable_lag_ms));
        self.blocked_seconds.set(status.blocker.as_ref().map_or(0.0, |blocker| seconds(blocker.for_ms)));
        count(&self.released, status.released);
        self.unreleased.set(status.unreleased);
        for (reason, entries) in &status.passed_over {
            count(&self.passed_over.get_or_create(&OfReason { reason: reason.clone() }), *entries);
        }
    }
}

impl JournalMetrics {
    fn register(&self, registry: &mut Registry) {
        plain(registry, "journal_held_seq", "Next entry of a journal that is not durable here", &self.held);
        let lag = "Entries of a journal known to exist and not held here";
        with(registry, "journal_lag", entries(), lag, &self.lag);
        let bytes = "What a journal is known to have and is not held here, estimated from its latest entries";
        with(registry, "journal_lag", Unit::Bytes, bytes, &self.lag_bytes);
        let unreleased = "Entries of a journal held here and not released";
        with(registry, "journal_unreleased", entries(), unreleased, &self.unreleased);
        let promise = "How far a journal's latest promise is behind this site's clock";
        with(registry, "journal_promise_lag", Unit::Seconds, promise, &self.promise_lag_seconds);
    }

    fn observe(&self, status: &JournalStatus) {
        let of = OfJournal { journal: status.journal.clone() };
        self.held.get_or_create(&of).set(status.held);
        self.lag.get_or_create(&of).set(status.lag_entries());
        if let Some(bytes) = status.lag_bytes {
            self.lag_bytes.get_or_create(&of).set(bytes);
        }
        self.unreleased.get_or_create(&of).set(status.unreleased_entries());
        self.promise_lag_seconds.get_or_create(&of).set(seconds(status.promise_lag_ms));
    }
}

impl PeerMetrics {
    fn register(&self, registry: &mut Registry) {
        plain(registry, "peer_up", "1 while the link to a site is up", &self.up);
        with(registry, "peer_rtt", Unit::Seconds, "Smoothed round-trip time to a site", &self.rtt_seconds);
        let window = "Bytes that may be under way to a site";
        with(registry, "peer_window", Unit::Bytes, window, &self.window_bytes);
        with(
            registry,
            "peer_queued",
            Unit::Bytes,
            "Bytes that wait to be sent to a site",
            &self.queued_bytes,
        );
        // Of the current connection, so they start anew with it: gauges, not counters.
        let lost = "Packets to a site that were lost on the current connection";
        with(registry, "peer_connection_lost", packets(), lost, &self.lost_packets);
        let sent = "Bytes sent to a site on the current connection";
        with(registry, "peer_connection_sent", Unit::Bytes, sent, &self.sent_bytes);
        let received = "Bytes received from a site on the current connection";
        with(registry, "peer_connection_received", Unit::Bytes, received, &self.received_bytes);
    }

    fn observe(&self, status: &PeerStatus) {
        let of = OfPeer { peer: status.site.clone() };
        self.up.get_or_create(&of).set(u64::from(status.up));
        self.rtt_seconds.get_or_create(&of).set(status.rtt_us as f64 / 1e6);
        self.window_bytes.get_or_create(&of).set(status.window_bytes);
        self.queued_bytes.get_or_create(&of).set(status.queued_bytes);
        self.lost_packets.get_or_create(&of).set(status.lost_packets);
        self.sent_bytes.get_or_create(&of).set(status.sent_bytes);
        self.received_bytes.get_or_create(&of).set(status.received_bytes);
    }
}
