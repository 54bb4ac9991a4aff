//! What one site answered its producers lately: so that a retry gets the answer it missed and is not journaled twice.
//!
//! This only saves work and offsets at one site; what counts is decided in the merged order ([`crate::Producers`]).
//! It is memory, gone with a restart.
//!
//! The second half guards a producer's order. After a retriable refusal, the batches the producer had already sent
//! behind the refused one get the same refusal, until the refused one has arrived: otherwise they would be journaled
//! before it. A producer that brings a later batch a second time, and the refused one not in between, will not bring that
//! here: it has been taken at another site, or given up. Then nothing waits for it any more.

use std::collections::{BTreeMap, VecDeque};

use clock::Stamp;
use entry::Seq;

use crate::producers::ProducerKey;
use crate::sequence::is_before;

/// How many answers are remembered per key: a Kafka client has at most five batches under way.
const ANSWERS_MAX: usize = 5;
/// How many batches behind a refused one are remembered; a client has fewer under way, and brings the first of them first.
const TURNED_AWAY_MAX: usize = 16;
/// How many keys are remembered; the one not heard of for longest goes first. About 300 bytes each.
const KEYS_MAX: usize = 100_000;

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalVerdict {
    /// Journal it.
    Fresh,
    /// It is in the journal; answer as then.
    Known {
        /// Where.
        seq: Seq,
        /// At which stamp.
        stamp: Stamp,
    },
    /// An earlier batch was refused and has not come again: refuse this one alike.
    AfterRefusal,
}

/// The latest answers of this site to idempotent producers.
#[derive(Debug, Clone, Default)]
pub struct LocalWindow {
    lately: BTreeMap<ProducerKey, Lately>,
    /// When each key was last used → the key.
    by_use: BTreeMap<u64, ProducerKey>,
    uses: u64,
}

#[derive(Debug, Clone, Default)]
struct Lately {
    answers: VecDeque<Answer>,
    /// The first sequence that was refused and has not come again.
    refused: Option<i32>,
    /// Later sequences that were turned away since it was refused last.
    turned_away: Vec<i32>,
    used: u64,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    base_sequence: i32,
    records: u32,
    seq: Seq,
    stamp: Stamp,
}

impl LocalWindow {
    /// Judges a batch that a producer sent.
    #[must_use]
    pub fn admit(&mut self, key: ProducerKey, base_sequence: i32, records: u32) -> LocalVerdict {
        let Some(lately) = self.lately.get_mut(&key) else { return LocalVerdict::Fresh };
        let same = |answer: &&Answer| answer.base_sequence == base_sequence && answer.records == records;
        if let Some(answer) = lately.answers.iter().find(same) {
            return LocalVerdict::Known { seq: answer.seq, stamp: answer.stamp };
        }
        let is_behind = lately.refused.is_some_and(|refused| is_before(refused, base_sequence));
        if is_behind && lately.turn_away(base_sequence) {
            LocalVerdict::AfterRefusal
        } else {
            LocalVerdict::Fresh
        }
    }

    /// A batch was journaled.
    pub fn appended(&mut self, key: ProducerKey, base_sequence: i32, records: u32, seq: Seq, stamp: Stamp) {
        let lately = self.used(key);
        if lately.refused == Some(base_sequence) {
            lately.waits_no_more();
        }
        if lately.answers.len() == ANSWERS_MAX {
            lately.answers.pop_front();
        }
        lately.answers.push_back(Answer { base_sequence, records, seq, stamp });
    }

    /// A batch got a retriable refusal.
    pub fn refused(&mut self, key: ProducerKey, base_sequence: i32) {
        self.used(key).refuse(base_sequence);
    }

    fn used(&mut self, key: ProducerKey) -> &mut Lately {
        self.uses += 1;
        if !self.lately.contains_key(&key) && self.lately.len() == KEYS_MAX {
            let (_, oldest) = self.by_use.pop_first().expect("every key was used at some time");
            self.lately.remove(&oldest);
        }
        let lately = self.lately.entry(key).or_default();
        self.by_use.remove(&lately.used);
        self.by_use.insert(self.uses, key);
        lately.used = self.uses;
        lately
    }
}

impl Lately {
    /// False if this batch was turned away before: what it was to wait for does not come.
    fn turn_away(&mut self, base_sequence: i32) -> bool {
        let is_first = !self.turned_away.contains(&base_sequence);
        match is_first {
            true if self.turned_away.len() < TURNED_AWAY_MAX => self.turned_away.push(base_sequence),
            true => {}
            false => self.waits_no_more(),
        }
        is_first
    }

    fn waits_no_more(&mut self) {
        self.refused = None;
        self.turned_away.clear();
    }

    fn refuse(&mut self, base_sequence: i32) {
        // It may be the refused one again: those behind it will follow again as well.
        if self.refused.is_none_or(|refused| !is_before(refused, base_sequence)) {
            self.turned_away.clear();
        }
        if self.refused.is_none_or(|refused| is_before(base_sequence, refused)) {
            self.refused = Some(base_sequence);
        }
    }
}

#[cfg(test)]
mod tests;
