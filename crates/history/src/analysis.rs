//! What all checks share: the orders of all logs, the writers, and which log belongs to which.

use std::collections::BTreeMap;

use crate::event::Place;
use crate::evidence::{Placing, Witness};
use crate::gather::{History, Log, LogId};
use crate::order::Order;
use crate::writers::{Writers, numbered};

/// A history, looked through once.
#[derive(Debug)]
pub(crate) struct Analysis<'h> {
    pub(crate) history: &'h History,
    pub(crate) orders: Vec<Order>,
    pub(crate) writers: Writers,
    /// What the sites say.
    pub(crate) witness: Witness<'h>,
    /// By log: the merged log of the same topic and partition; itself, for a merged log.
    home: Vec<LogId>,
    /// By log: its origin logs.
    origins: BTreeMap<LogId, Vec<LogId>>,
}

impl<'h> Analysis<'h> {
    pub(crate) fn new(history: &'h History) -> Self {
        let home = homes(&history.logs);
        let writers = Writers::new(history, &home);
        let orders = orders(history, &writers);
        let mut origins: BTreeMap<LogId, Vec<LogId>> = BTreeMap::new();
        for (log, home) in logs(history).zip(&home).filter(|(log, home)| log != *home) {
            origins.entry(*home).or_default().push(log);
        }
        let witness = Witness::new(&history.evidence);
        Self { history, orders, writers, witness, home, origins }
    }

    pub(crate) fn order(&self, log: LogId) -> &Order {
        &self.orders[log.0 as usize]
    }

    pub(crate) fn home(&self, log: LogId) -> LogId {
        self.home[log.0 as usize]
    }

    pub(crate) fn is_merged(&self, log: LogId) -> bool {
        self.history.logs[log.0 as usize].origin.is_none()
    }

    /// The merged log of a place, if clients had to do with it.
    pub(crate) fn log_of(&self, place: &Place) -> Option<LogId> {
        let is_it = |log: &Log| log.origin.is_none() && (&log.topic, log.partition) == (&place.0, place.1);
        self.logs().find(|log| is_it(&self.history.logs[log.0 as usize]))
    }

    /// Where the sites say that a merged log's record was put, and why.
    pub(crate) fn placing(&self, merged: LogId, index: u32) -> Option<&'h Placing> {
        let log = &self.history.logs[merged.0 as usize];
        self.witness.of(&(log.topic.clone(), log.partition), self.order(merged).offset(index))
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = LogId> + use<> {
        logs(self.history)
    }

    pub(crate) fn origins(&self, merged: LogId) -> &[LogId] {
        self.origins.get(&merged).map_or(&[], Vec::as_slice)
    }

    /// The one origin log that holds a value of a merged log, once; `None` if none is known to, or it stands there again.
    pub(crate) fn origin_of(&self, merged: LogId, value: u64) -> Option<LogId> {
        let places = |log: &LogId| self.order(*log).places(value).map(move |_| *log).collect::<Vec<_>>();
        let mut holding = self.origins(merged).iter().flat_map(places);
        let first = holding.next();
        first.filter(|_| holding.next().is_none())
    }
}

fn logs(history: &History) -> impl Iterator<Item = LogId> + use<> {
    (0..u32::try_from(history.logs.len()).unwrap_or(u32::MAX)).map(LogId)
}

/// A merged log that nobody named is missing from the history: its origin logs then stand for themselves.
fn homes(logs: &[Log]) -> Vec<LogId> {
    let number = |at: usize| LogId(u32::try_from(at).expect("logs are numbered so"));
    let merged: BTreeMap<(&str, u32), LogId> = logs
        .iter()
        .enumerate()
        .filter(|(_, log)| log.origin.is_none())
        .map(|(at, log)| ((log.topic.as_str(), log.partition), number(at)))
        .collect();
    let of = |(at, log): (usize, &Log)| {
        merged.get(&(log.topic.as_str(), log.partition)).copied().unwrap_or(number(at))
    };
    logs.iter().enumerate().map(of).collect()
}

/// Offsets are believed from every poll, whatever became of it, and from sends that happened.
fn orders(history: &History, writers: &Writers) -> Vec<Order> {
    let mut seen: Vec<Vec<(u64, u64)>> = vec![Vec::new(); history.logs.len()];
    for (at, call) in numbered(&history.calls) {
        for polled in call.polled() {
            seen[polled.log.0 as usize].push((polled.offset, polled.value));
        }
        for sent in call.sent().iter().filter(|_| writers.happened(at)) {
            if let Some(offset) = sent.offset {
                seen[sent.log.0 as usize].push((offset, sent.value));
            }
        }
    }
    seen.into_iter().map(Order::new).collect()
}
