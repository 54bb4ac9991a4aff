//! From lines to a history: invocations and completions become calls, names become numbers.

use std::collections::BTreeMap;

use crate::event::{Event, Kind, Place, Spot};
use crate::evidence::Evidence;

/// A log, by its number in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId(pub u32);

/// A log's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    /// The topic without any origin.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The site, if it is an origin log.
    pub origin: Option<String>,
}

impl std::fmt::Display for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Log { topic, partition, origin } = self;
        match origin {
            Some(site) => write!(out, "{site}.{topic}/{partition}"),
            None => write!(out, "{topic}/{partition}"),
        }
    }
}

/// A record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// To which log.
    pub log: LogId,
    /// Where it went, if the client was told.
    pub offset: Option<u64>,
    /// What.
    pub value: u64,
}

/// A record that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polled {
    /// From which log.
    pub log: LogId,
    /// Where it was.
    pub offset: u64,
    /// What.
    pub value: u64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not.
    Fail,
    /// Nobody knows.
    Info,
}

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Sent or received records; both at once is a transaction.
    Work {
        /// In the order they were sent.
        sent: Vec<Sent>,
        /// In the order they came.
        polled: Vec<Polled>,
        /// Partitions that the group moved since the process's last call.
        moved: Vec<LogId>,
    },
    /// Chose partitions.
    Assign(Vec<LogId>),
    /// Joined a group, by its number in the history.
    Subscribe(u32),
}

/// One call of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who.
    pub process: u32,
    /// Where, by number in the history.
    pub site: u16,
    /// When it was asked for.
    pub invoked_us: u64,
    /// When it was answered; `u64::MAX` if it never was.
    pub completed_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did.
    pub deed: Deed,
    /// Part of the final reads.
    pub last: bool,
}

impl Call {
    /// Records sent.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        if let Deed::Work { sent, .. } = &self.deed { sent } else { &[] }
    }

    /// Records received.
    #[must_use]
    pub fn polled(&self) -> &[Polled] {
        if let Deed::Work { polled, .. } = &self.deed { polled } else { &[] }
    }
}

/// All that clients did and saw, in the order in which it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The calls.
    pub calls: Vec<Call>,
    /// Names of logs.
    pub logs: Vec<Log>,
    /// Names of sites.
    pub sites: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// What the sites say, if they were asked.
    pub evidence: Evidence,
}

/// Why lines are no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    /// A completion of what was not asked for, or a second one.
    #[error("process {process} completes call {call} that is not under way")]
    NotUnderWay {
        /// The process.
        process: u32,
        /// Its call.
        call: u64,
    },
    /// A call number used twice.
    #[error("process {process} invokes call {call} twice")]
    Twice {
        /// The process.
        process: u32,
        /// Its call.
        call: u64,
    },
    /// A record was received without an offset.
    #[error("process {process} received value {value} of {topic}/{partition} without an offset")]
    NoOffset {
        /// The process.
        process: u32,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The value.
        value: u64,
    },
    /// One value sent twice to one log proves nothing.
    #[error("value {value} was sent twice to {log}")]
    SentTwice {
        /// The log.
        log: String,
        /// The value.
        value: u64,
    },
}

/// Gathers lines.
#[derive(Debug, Default)]
pub struct Gather {
    history: History,
    members: Vec<String>,
    logs: BTreeMap<Place, LogId>,
    open: BTreeMap<(u32, u64), usize>,
}

impl Gather {
    /// For a cluster of these sites: a topic named after one of them is an origin log.
    #[must_use]
    pub fn new(members: &[String]) -> Self {
        Self { members: members.to_vec(), ..Self::default() }
    }

    /// Takes one line. The lines of one process must come in order; those of different processes need not.
    ///
    /// # Errors
    /// [`GatherError`] if the line contradicts earlier ones.
    pub fn add(&mut self, event: &Event) -> Result<(), GatherError> {
        let key = (event.process, event.call);
        if event.kind == Kind::Invoke {
            let call = self.begin(event, event.at_us, Outcome::Info, u64::MAX)?;
            return match self.open.insert(key, call) {
                None => Ok(()),
                Some(_) => Err(GatherError::Twice { process: event.process, call: event.call }),
            };
        }
        let outcome = match event.kind {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Info | Kind::Invoke => Outcome::Info,
        };
        match (self.open.remove(&key), event.began_us) {
            (Some(call), _) => self.complete(call, event, outcome),
            (None, Some(began_us)) => self.begin(event, began_us, outcome, event.at_us).map(|_| ()),
            (None, None) => Err(GatherError::NotUnderWay { process: event.process, call: event.call }),
        }
    }

    /// Takes what the sites say of their merged logs.
    pub fn testify(&mut self, evidence: Evidence) {
        self.history.evidence = evidence;
    }

    /// The history. Calls that were never completed are `Info`.
    ///
    /// # Errors
    /// [`GatherError::SentTwice`].
    pub fn finish(self) -> Result<History, GatherError> {
        let mut history = self.history;
        history.calls.sort_by_key(|call| (call.invoked_us, call.process));
        let mut sent: Vec<(LogId, u64)> =
            history.calls.iter().flat_map(|call| call.sent()).map(|sent| (sent.log, sent.value)).collect();
        sent.sort_unstable();
        match sent.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(history),
            Some(pair) => {
                let log = history.logs[pair[0].0.0 as usize].to_string();
                Err(GatherError::SentTwice { log, value: pair[0].1 })
            }
        }
    }

    fn begin(
        &mut self,
        event: &Event,
        invoked_us: u64,
        outcome: Outcome,
        completed_us: u64,
    ) -> Result<usize, GatherError> {
        let deed = if let Some(places) = &event.assigned {
            Deed::Assign(places.iter().map(|place| self.log(place)).collect())
        } else if let Some(group) = &event.group {
            Deed::Subscribe(number(&mut self.history.groups, group))
        } else {
            let sent = event.sent.iter().map(|spot| self.sent(spot)).collect();
            let moved = event.moved.iter().map(|place| self.log(place)).collect();
            Deed::Work { sent, polled: self.polled(event)?, moved }
        };
        let site = number(&mut self.history.sites, &event.site);
        let site = u16::try_from(site).expect("a cluster has fewer sites than a u16 counts");
        let (process, last) = (event.process, event.last);
        self.history.calls.push(Call { process, site, invoked_us, completed_us, outcome, deed, last });
        Ok(self.history.calls.len() - 1)
    }

    fn complete(&mut self, call: usize, event: &Event, outcome: Outcome) -> Result<(), GatherError> {
        let received = self.polled(event)?;
        let told: Vec<Sent> = event.sent.iter().map(|spot| self.sent(spot)).collect();
        let shifted: Vec<LogId> = event.moved.iter().map(|place| self.log(place)).collect();
        let call = &mut self.history.calls[call];
        (call.outcome, call.completed_us) = (outcome, event.at_us);
        if let Deed::Work { sent, polled, moved } = &mut call.deed {
            polled.extend(received);
            moved.extend(shifted);
            for record in sent {
                let same = told.iter().find(|told| (told.log, told.value) == (record.log, record.value));
                record.offset = same.and_then(|told| told.offset).or(record.offset);
            }
        }
        Ok(())
    }

    fn sent(&mut self, (topic, partition, offset, value): &Spot) -> Sent {
        let log = self.log(&(topic.clone(), *partition));
        Sent { log, offset: offset.and_then(|offset| u64::try_from(offset).ok()), value: *value }
    }

    fn polled(&mut self, event: &Event) -> Result<Vec<Polled>, GatherError> {
        let mut polled = Vec::with_capacity(event.polled.len());
        for (topic, partition, offset, value) in &event.polled {
            let offset = offset.and_then(|offset| u64::try_from(offset).ok());
            let offset = offset.ok_or_else(|| GatherError::NoOffset {
                process: event.process,
                topic: topic.clone(),
                partition: *partition,
                value: *value,
            })?;
            polled.push(Polled { log: self.log(&(topic.clone(), *partition)), offset, value: *value });
        }
        Ok(polled)
    }

    fn log(&mut self, place: &Place) -> LogId {
        if let Some(known) = self.logs.get(place) {
            return *known;
        }
        let (name, partition) = place;
        let of_member = name.split_once('.').filter(|(site, _)| self.members.iter().any(|m| m == site));
        let log = match of_member {
            Some((site, topic)) => {
                Log { topic: topic.to_owned(), partition: *partition, origin: Some(site.to_owned()) }
            }
            None => Log { topic: name.clone(), partition: *partition, origin: None },
        };
        let id = LogId(u32::try_from(self.history.logs.len()).expect("no run has four billion logs"));
        self.history.logs.push(log);
        self.logs.insert(place.clone(), id);
        id
    }
}

/// The number of a name, which is given one if it has none.
fn number(names: &mut Vec<String>, name: &str) -> u32 {
    let known = names.iter().position(|known| known == name);
    let at = known.unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    u32::try_from(at).expect("no run has four billion names")
}

#[cfg(test)]
mod tests {
    use super::{Gather, GatherError, Outcome};
    use crate::event::{Event, Kind};

    fn event(call: u64, kind: Kind) -> Event {
        Event {
            at_us: 10 + call,
            process: 1,
            site: "eu".to_owned(),
            call,
            kind,
            began_us: None,
            sent: Vec::new(),
            polled: Vec::new(),
            moved: Vec::new(),
            assigned: None,
            group: None,
            last: false,
        }
    }

    #[test]
    fn a_call_is_an_invocation_and_its_completion() {
        let mut gather = Gather::new(&["eu".to_owned()]);
        let sent = vec![("orders".to_owned(), 0, None, 5)];
        gather.add(&Event { sent, ..event(1, Kind::Invoke) }).unwrap();
        let told = vec![("orders".to_owned(), 0, Some(7), 5)];
        gather.add(&Event { sent: told, at_us: 30, ..event(1, Kind::Ok) }).unwrap();
        let lost = vec![("orders".to_owned(), 0, None, 6)];
        gather.add(&Event { sent: lost, ..event(2, Kind::Invoke) }).unwrap();
        let polled = vec![("eu.orders".to_owned(), 0, Some(0), 5)];
        gather.add(&Event { polled, began_us: Some(13), ..event(3, Kind::Ok) }).unwrap();
        let history = gather.finish().unwrap();
        assert_eq!(history.calls[0].sent()[0].offset, Some(7));
        assert_eq!((history.calls[0].outcome, history.calls[0].completed_us), (Outcome::Ok, 30));
        assert_eq!((history.calls[1].outcome, history.calls[1].completed_us), (Outcome::Info, u64::MAX));
        assert_eq!(history.logs[1].origin.as_deref(), Some("eu"));
        assert_eq!(history.logs[1].to_string(), "eu.orders/0");
    }

    #[test]
    fn an_unknown_merged_offset_is_no_offset() {
        let mut gather = Gather::new(&[]);
        let sent = vec![("orders".to_owned(), 0, Some(-(1 << 40)), 5)];
        gather.add(&Event { sent, ..event(1, Kind::Invoke) }).unwrap();
        assert_eq!(gather.finish().unwrap().calls[0].sent()[0].offset, None);
    }

    #[test]
    fn lines_that_prove_nothing_are_refused() {
        let mut gather = Gather::new(&[]);
        let not_under_way = gather.add(&event(1, Kind::Ok));
        assert_eq!(not_under_way, Err(GatherError::NotUnderWay { process: 1, call: 1 }));
        let send = |call| Event { sent: vec![("t".to_owned(), 0, None, 5)], ..event(call, Kind::Invoke) };
        gather.add(&send(1)).unwrap();
        assert_eq!(gather.add(&send(1)), Err(GatherError::Twice { process: 1, call: 1 }));
        gather.add(&send(2)).unwrap();
        assert!(matches!(gather.finish(), Err(GatherError::SentTwice { value: 5, .. })));
        let polled = vec![("t".to_owned(), 0, None, 5)];
        let nowhere = Gather::new(&[]).add(&Event { polled, began_us: Some(1), ..event(3, Kind::Ok) });
        assert!(matches!(nowhere, Err(GatherError::NoOffset { value: 5, .. })));
    }
}
