//! Waiting for more to read: one counter per log, and those who wait for it to move.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use site::{Grown, Reading, Site};
use tokio::sync::watch;

/// The readable ends of all logs that anyone waits for.
#[derive(Debug, Default)]
pub(crate) struct Readable {
    ends: Mutex<BTreeMap<Grown, watch::Sender<u64>>>,
}

impl Readable {
    /// These logs grew.
    pub(crate) fn grew(&self, grown: &[Grown], site: &Site) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for log in grown {
            let Some(sender) = ends.get(log) else { continue };
            if sender.receiver_count() == 0 {
                ends.remove(log);
                continue;
            }
            let end = end_of(log, site);
            sender.send_if_modified(|known| std::mem::replace(known, end) != end);
        }
    }

    /// Watches a log's end. What it shows first may be stale: look at the machine after this, then wait.
    pub(crate) fn watch(&self, log: Grown, end: u64) -> watch::Receiver<u64> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(log).or_insert_with(|| watch::Sender::new(end)).subscribe()
    }
}

fn end_of(log: &Grown, site: &Site) -> u64 {
    let reading = log.origin.map_or(Reading::Merged, Reading::Origin);
    site.extent(log.topic, log.partition, reading).end
}
