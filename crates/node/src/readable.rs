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
            show(sender, end_of(log, site));
        }
    }

    /// A log ends there, as was just seen at the machine, on its thread: nobody is to be woken by an older end.
    pub(crate) fn ends(&self, log: Grown, end: u64) {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&log).into_iter().for_each(|sender| show(sender, end));
    }

    /// Another machine shows the logs from here on.
    pub(crate) fn renew(&self, site: &Site) {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().for_each(|(log, sender)| show(sender, end_of(log, site)));
    }

    /// Watches a log's end. What it shows first may be stale: look at the machine after this, say what [`Readable::ends`], then
    /// wait.
    pub(crate) fn watch(&self, log: Grown, end: u64) -> watch::Receiver<u64> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(log).or_insert_with(|| watch::Sender::new(end)).subscribe()
    }
}

fn show(sender: &watch::Sender<u64>, end: u64) {
    sender.send_if_modified(|known| std::mem::replace(known, end) != end);
}

fn end_of(log: &Grown, site: &Site) -> u64 {
    let reading = log.origin.map_or(Reading::Merged, Reading::Origin);
    site.extent(log.topic, log.partition, reading).end
}

#[cfg(test)]
mod tests {
    use entry::TopicId;
    use site::Grown;
    use uuid::Uuid;

    use super::Readable;

    /// One who came with an older end left it to all who came later: each of them was woken at once, again and again.
    #[test]
    fn who_watches_is_not_woken_by_an_end_that_is_known() {
        let readable = Readable::default();
        let log = Grown { topic: TopicId(Uuid::nil()), partition: 0, origin: None };
        let _first = readable.watch(log, 3);
        let second = readable.watch(log, 7);
        assert_eq!(*second.borrow(), 3, "stale");
        readable.ends(log, 7);
        assert_eq!(*second.borrow(), 7);
    }
}
