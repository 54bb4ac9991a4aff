//! The desk where clients wait: who is answered when, and which retries are known already.

use std::collections::{BTreeMap, VecDeque};

use clock::Stamp;
use entry::{Seq, TopicId};
use order::LocalWindow;

use crate::action::Answer;
use crate::event::{Request, Ticket};
use crate::progress::Positions;
use crate::unreplicated::HeldBack;

/// Everything a client may be waiting for.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Requests that wait for the clock, a producer-id range or the next journal, in order of arrival.
    pub(crate) deferred: VecDeque<(Ticket, Request)>,
    /// Writes that wait for others to hold more of their topic.
    pub(crate) held_back: HeldBack,
    /// Answers that wait for an own entry to be held well enough, by its seq.
    pub(crate) pending: BTreeMap<Seq, Vec<Pending>>,
    /// Retries that are known already.
    pub(crate) window: LocalWindow,
    /// Topics that this incarnation has restated.
    pub(crate) restated: std::collections::BTreeSet<TopicId>,
    /// Those of them whose restatement is durable: what a checkpoint may say.
    pub(crate) restated_durably: std::collections::BTreeSet<TopicId>,
    /// Where groups will be once everything that was said is durable.
    pub(crate) intended: Positions,
    /// Producer ids that were given out.
    pub(crate) producer_ids: ProducerIds,
}

/// One answer that waits.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) answer: Answer,
    pub(crate) until: Until,
}

/// What an answer waits for, beside that the entry is durable here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until {
    /// So many sites hold it durably, this one included.
    pub(crate) sites: usize,
    /// It has its place in the merged log.
    pub(crate) released: bool,
}

impl Until {
    pub(crate) const DURABLE: Until = Until { sites: 1, released: false };
    pub(crate) const RELEASED: Until = Until { sites: 1, released: true };
}

/// Producer ids: the millisecond of the last one, and how many it had.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProducerIds {
    ms: u64,
    given: u64,
}

/// How many ids one millisecond has.
const IDS_PER_MS: u64 = 64;
/// Where a stamp's milliseconds begin.
const MS_SHIFT: u32 = 22;

impl ProducerIds {
    /// The next number, of 48 bits; `None` if this millisecond has no more.
    fn next_in(&mut self, ms: u64) -> Option<u64> {
        if ms > self.ms {
            *self = ProducerIds { ms, given: 0 };
        }
        if self.given == IDS_PER_MS {
            return None;
        }
        self.given += 1;
        Some(self.ms * IDS_PER_MS + self.given - 1)
    }

    /// The next number that belongs to a stamp just drawn.
    pub(crate) fn next(&mut self, stamp: Stamp) -> Option<u64> {
        self.next_in(stamp.raw() >> MS_SHIFT)
    }
}

impl Desk {
    /// A client waits for an own entry.
    pub(crate) fn wait(&mut self, seq: Seq, pending: Pending) {
        self.pending.entry(seq).or_default().push(pending);
    }

    /// A fresh journal begins: what is known of the former one's entries says nothing of it. Returns who still waits.
    pub(crate) fn begin_anew(&mut self) -> Vec<Pending> {
        self.window = LocalWindow::default();
        self.restated.clear();
        self.restated_durably.clear();
        std::mem::take(&mut self.pending).into_values().flatten().collect()
    }

    /// The client waits no longer.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.deferred.retain(|(waiting, _)| *waiting != ticket);
        for waiting in self.pending.values_mut() {
            waiting.retain(|pending| pending.ticket != ticket);
        }
        self.pending.retain(|_, waiting| !waiting.is_empty());
    }

    /// Takes the answers whose condition is met: `met` is asked with each entry's seq and condition.
    pub(crate) fn take_met(&mut self, below: Seq, met: impl Fn(Seq, Until) -> bool) -> Vec<Pending> {
        let mut out = Vec::new();
        let mut emptied = Vec::new();
        for (seq, waiting) in self.pending.range_mut(..below) {
            let (done, rest) = waiting.drain(..).partition(|pending| met(*seq, pending.until));
            *waiting = rest;
            out.extend::<Vec<Pending>>(done);
            if waiting.is_empty() {
                emptied.push(*seq);
            }
        }
        for seq in emptied {
            self.pending.remove(&seq);
        }
        out
    }

    /// An own entry has its place (or, a duplicate, none): who waited for that and for nothing else.
    pub(crate) fn released(&mut self, seq: Seq, base_offset: Option<u64>) -> Vec<Pending> {
        let Some(waiting) = self.pending.get_mut(&seq) else { return Vec::new() };
        for pending in waiting.iter_mut().filter(|pending| pending.until.released) {
            if let Answer::Appended { base_offset: slot, .. } = &mut pending.answer {
                *slot = base_offset;
            }
        }
        let (done, mut rest): (Vec<_>, Vec<_>) =
            waiting.drain(..).partition(|pending| pending.until == Until::RELEASED);
        rest.iter_mut().for_each(|pending| pending.until.released = false);
        *waiting = rest;
        if waiting.is_empty() {
            self.pending.remove(&seq);
        }
        done
    }
}

/// An answer for an append whose merged place is not known.
pub(crate) fn appended(stamp: Stamp) -> Answer {
    Answer::Appended { base_offset: None, stamp }
}

#[cfg(test)]
mod tests {
    use super::{IDS_PER_MS, ProducerIds};
    use clock::Stamp;

    #[test]
    fn ids_of_rising_stamps_never_repeat() {
        let mut ids = ProducerIds::default();
        let at = |ms: u64, count: u64| Stamp::from_raw(ms << 22 | count);
        let first: Vec<_> = (0..IDS_PER_MS).map(|count| ids.next(at(5, count)).expect("room")).collect();
        assert_eq!(ids.next(at(5, 99)), None);
        let second = ids.next(at(6, 0)).expect("a new millisecond");
        assert!(first.windows(2).all(|pair| pair[0] < pair[1]) && first.iter().all(|id| *id < second));
        // A process that starts anew knows nothing of these, but its stamps are later.
        assert!(ProducerIds::default().next(at(7, 0)).expect("room") > second);
    }
}
