//! I-22: after any restart, whatever the clock did, what a site stamps exceeds every promise that it sent.
//! I-26: a site's stamps increase strictly over its whole life, also past stamps of entries that a crash took away.

use std::collections::BTreeMap;

use clock::Stamp;
use entry::{Encoded, JournalId, Seq};
use site::wire::Message;

use super::{Actor, Verdict, ensure};

/// What was promised and stamped.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    promised: BTreeMap<JournalId, BTreeMap<Stamp, Seq>>,
    stamped: BTreeMap<JournalId, Stamp>,
}

impl Clocks {
    /// A site sends its promise.
    pub(super) fn sent(&mut self, by: Actor, message: &Message) {
        let (Message::Pulse(pulse), Some(own)) = (message, by.journal) else { return };
        if let Some((w, head)) = pulse.promises.get(&own) {
            let known = self.promised.entry(own).or_default();
            let slot = known.entry(*w).or_insert(*head);
            *slot = (*slot).min(*head);
        }
    }

    /// A site stamps a new entry.
    pub(super) fn minted(&mut self, entry: &Encoded) -> Verdict {
        let (journal, seq, stamp) = (entry.head.journal, entry.head.seq, entry.head.stamp);
        let promised = self.promised.get(&journal);
        let against = promised.and_then(|known| known.range(stamp..).find(|(_, head)| **head <= seq));
        ensure(against.is_none(), "I-22", || {
            let (w, head) = against.map_or((Stamp::ZERO, 0), |(w, head)| (*w, *head));
            format!(
                "entry {seq} of journal {journal} is stamped {stamp}, but {w} was promised with head {head}"
            )
        })?;
        let last = self.stamped.insert(journal, stamp);
        ensure(last.is_none_or(|last| last < stamp), "I-26", || {
            let last = last.unwrap_or_default();
            format!("entry {seq} of journal {journal} is stamped {stamp}, not later than {last} before it")
        })
    }
}
