//! What Prometheus is told.
//!
//! Two kinds of figures: those that are counted as things happen ([`WalMetrics`], [`KafkaMetrics`]), and those that are read
//! off a [`SiteStatus`] when somebody asks ([`Metrics::observe`]). The node only has to count; no figure is kept twice.
//! Every one carries the site's name as a label, so that the sites' figures can be laid side by side.

mod kafka;
mod site;
mod wal;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub use self::kafka::{Direction, KafkaMetrics};
use self::site::SiteMetrics;
pub use self::wal::WalMetrics;
use crate::answers::SiteStatus;

/// All figures of a site.
pub struct Metrics {
    registry: Registry,
    site: SiteMetrics,
    /// The write-ahead log.
    pub wal: WalMetrics,
    /// Kafka clients.
    pub kafka: KafkaMetrics,
}

impl Metrics {
    /// What [`Metrics::text`] is, as HTTP says it.
    pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Metrics of the site with this name, all at zero.
    #[must_use]
    pub fn new(site: &str) -> Metrics {
        let labels = [("site".into(), site.to_owned().into())];
        let mut registry = Registry::with_prefix_and_labels("meridian", labels.into_iter());
        Metrics {
            site: SiteMetrics::register(&mut registry),
            wal: WalMetrics::register(&mut registry),
            kafka: KafkaMetrics::register(&mut registry),
            registry,
        }
    }

    /// Takes over what a status says.
    pub fn observe(&self, status: &SiteStatus) {
        self.site.observe(status);
    }

    /// All figures in the OpenMetrics text form.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
