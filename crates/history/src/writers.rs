//! Who wrote a value, what became of it, and who has read it.

use crate::gather::{Call, History, LogId, Outcome};

/// (log, value), as sorted lists: a history of millions is asked often.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    /// (log it was sent to, value, call).
    writes: Vec<(LogId, u64, u32)>,
    /// (log it was read from, value), by polls that succeeded.
    read: Vec<(LogId, u64)>,
    /// By call: its writes happened, as its outcome says or as one of them shows by having been read.
    happened: Vec<bool>,
}

impl Writers {
    /// `home` gives, for an origin log, the merged log that its records were sent to.
    pub(crate) fn new(history: &History, home: &[LogId]) -> Self {
        let mut writers = Self { happened: vec![false; history.calls.len()], ..Self::default() };
        for (at, call) in numbered(&history.calls) {
            writers.writes.extend(call.sent().iter().map(|sent| (sent.log, sent.value, at)));
            if call.outcome == Outcome::Ok {
                writers.read.extend(call.polled().iter().map(|polled| (polled.log, polled.value)));
                writers.happened[at as usize] = true;
            }
        }
        writers.writes.sort_unstable();
        writers.read.sort_unstable();
        writers.read.dedup();
        let shown: Vec<u32> =
            writers.read.iter().filter_map(|(log, value)| writers.of(home[log.0 as usize], *value)).collect();
        for call in shown {
            if history.calls[call as usize].outcome == Outcome::Info {
                writers.happened[call as usize] = true;
            }
        }
        writers
    }

    /// The call that wrote a value to the log it was sent to.
    pub(crate) fn of(&self, log: LogId, value: u64) -> Option<u32> {
        let at = self.writes.partition_point(|(l, v, _)| (*l, *v) < (log, value));
        self.writes.get(at).filter(|(l, v, _)| (*l, *v) == (log, value)).map(|(_, _, call)| *call)
    }

    /// Whether anyone has read a value from this very log.
    pub(crate) fn is_read(&self, log: LogId, value: u64) -> bool {
        self.read.binary_search(&(log, value)).is_ok()
    }

    /// What was read of one log.
    pub(crate) fn read_of(&self, log: LogId) -> impl Iterator<Item = u64> + '_ {
        let from = self.read.partition_point(|(l, _)| *l < log);
        self.read[from..].iter().take_while(move |(l, _)| *l == log).map(|(_, value)| *value)
    }

    /// Whether a call's writes must be in the log.
    pub(crate) fn happened(&self, call: u32) -> bool {
        self.happened[call as usize]
    }
}

/// Calls with their numbers.
pub(crate) fn numbered(calls: &[Call]) -> impl Iterator<Item = (u32, &Call)> {
    (0..).zip(calls)
}
