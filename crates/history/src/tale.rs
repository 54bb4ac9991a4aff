//! Short histories for tests, told in one line per call.

use std::collections::BTreeMap;

use crate::check::check;
use crate::class::Class;
use crate::event::{Event, Kind, Place};
use crate::evidence::{Evidence, Placing, Shift, Turn, TurnKind};
use crate::gather::{Gather, History};
use crate::report::{Promises, Report};

const MEMBERS: [&str; 3] = ["eu", "us", "ap"];

/// A history in the making. Calls follow each other, two microseconds apart.
#[derive(Debug)]
pub(crate) struct Tale {
    events: Vec<Event>,
    clock_us: u64,
    site: String,
    promises: Promises,
    evidence: Evidence,
}

impl Tale {
    pub(crate) fn new() -> Self {
        Self {
            events: Vec::new(),
            clock_us: 0,
            site: "eu".to_owned(),
            promises: Promises::default(),
            evidence: Evidence::default(),
        }
    }

    pub(crate) fn at(&mut self, site: &str) -> &mut Self {
        site.clone_into(&mut self.site);
        self
    }

    pub(crate) fn promising(&mut self, promises: Promises) -> &mut Self {
        self.promises = promises;
        self
    }

    pub(crate) fn send(&mut self, process: u32, topic: &str, value: u64) -> &mut Self {
        self.transaction(process, &[(topic, value)], &[])
    }

    pub(crate) fn poll(&mut self, process: u32, topic: &str, records: &[(i64, u64)]) -> &mut Self {
        let polled: Vec<_> = records.iter().map(|(offset, value)| (topic, *offset, *value)).collect();
        self.transaction(process, &[], &polled)
    }

    /// Sends and polls, all in partition 0.
    pub(crate) fn transaction(
        &mut self,
        process: u32,
        sent: &[(&str, u64)],
        polled: &[(&str, i64, u64)],
    ) -> &mut Self {
        let sent: Vec<_> = sent.iter().map(|(topic, value)| ((*topic).to_owned(), 0, None, *value)).collect();
        let spot =
            |(topic, offset, value): &(&str, i64, u64)| ((*topic).to_owned(), 0, Some(*offset), *value);
        let polled = polled.iter().map(spot).collect();
        self.call(process, |invoke, done| {
            invoke.sent.clone_from(&sent);
            done.sent = sent;
            done.polled = polled;
        })
    }

    pub(crate) fn subscribe(&mut self, process: u32, group: &str) -> &mut Self {
        self.call(process, |invoke, _| invoke.group = Some(group.to_owned()))
    }

    pub(crate) fn assign(&mut self, process: u32, topics: &[&str]) -> &mut Self {
        let places: Vec<Place> = topics.iter().map(|topic| ((*topic).to_owned(), 0)).collect();
        self.call(process, |invoke, _| invoke.assigned = Some(places))
    }

    /// The last call certainly did not happen.
    pub(crate) fn failed(&mut self) -> &mut Self {
        self.done().kind = Kind::Fail;
        self
    }

    /// Nobody knows about the last call.
    pub(crate) fn unsure(&mut self) -> &mut Self {
        self.done().kind = Kind::Info;
        self
    }

    /// The last send was told its offset.
    pub(crate) fn told(&mut self, offset: i64) -> &mut Self {
        self.done().sent[0].2 = Some(offset);
        self
    }

    /// Before the last poll, its group moved this topic's partition.
    pub(crate) fn moved(&mut self, topic: &str) -> &mut Self {
        self.done().moved = vec![(topic.to_owned(), 0)];
        self
    }

    /// The last poll is one of the final reads.
    pub(crate) fn last(&mut self) -> &mut Self {
        let at = self.events.len() - 2;
        self.events[at].last = true;
        self
    }

    /// The last call was asked for before the one before it was answered.
    pub(crate) fn overlapping(&mut self) -> &mut Self {
        let at = self.events.len() - 2;
        self.events[at].at_us = self.events[at - 1].at_us - 1;
        self
    }

    /// The sites say that this stands next in partition 0: in which journal, when it was taken, when it is sorted. Stamps are
    /// milliseconds here.
    pub(crate) fn placed(&mut self, topic: &str, journal: &str, time_ms: u64, sorted_ms: u64) -> &mut Self {
        let place = (topic.to_owned(), 0);
        let offset = self.evidence.placings.iter().filter(|placing| placing.place == place).count() as u64;
        let (records, journal, stamp) = (1, journal.to_owned(), sorted_ms);
        let placing = Placing { place, offset, records, journal, time_ms, stamp, sorted_ms, sent_as: None };
        self.evidence.placings.push(placing);
        self
    }

    /// And that this was sent by this producer, in this epoch.
    pub(crate) fn sent_as(&mut self, producer: i64, epoch: i16) -> &mut Self {
        self.evidence.placings.last_mut().expect("something was placed").sent_as = Some((producer, epoch));
        self
    }

    /// The sites say that this happened to a journal.
    pub(crate) fn turn(&mut self, journal: &str, stamp: u64, what: TurnKind) -> &mut Self {
        self.evidence.turns.push(Turn { journal: journal.to_owned(), stamp, what });
        self
    }

    /// What comes next is asked for at this time.
    pub(crate) fn since_ms(&mut self, ms: u64) -> &mut Self {
        self.clock_us = ms * 1000;
        self
    }

    /// The last call was answered at this time.
    pub(crate) fn until_ms(&mut self, ms: u64) -> &mut Self {
        self.done().at_us = ms * 1000;
        self.since_ms(ms)
    }

    /// The clock of a site was set so.
    pub(crate) fn shifted(&mut self, site: &str, from_ms: u64, until_ms: u64, ahead_ms: i64) -> &mut Self {
        self.evidence.shifts.push(Shift { site: site.to_owned(), from_ms, until_ms, ahead_ms });
        self
    }

    /// The sites' clocks differ by no more than this.
    pub(crate) fn bound(&mut self, bound_ms: u64) -> &mut Self {
        self.evidence.bound_ms = bound_ms;
        self
    }

    pub(crate) fn history(&self) -> History {
        let members: Vec<String> = MEMBERS.iter().map(|site| (*site).to_owned()).collect();
        let mut gather = Gather::new(&members);
        self.events.iter().for_each(|event| gather.add(event).unwrap());
        gather.testify(self.evidence.clone());
        gather.finish().unwrap()
    }

    pub(crate) fn report(&self) -> Report {
        check(&self.history(), &self.promises)
    }

    /// What was found, cycles aside.
    pub(crate) fn counts(&self) -> BTreeMap<Class, u64> {
        let (_, others) = self.split();
        others
    }

    /// The cycles that were found.
    pub(crate) fn cycles(&self) -> BTreeMap<Class, u64> {
        let (cycles, _) = self.split();
        cycles
    }

    fn split(&self) -> (BTreeMap<Class, u64>, BTreeMap<Class, u64>) {
        let found = self.report().found.into_iter().map(|(class, verdict)| (class, verdict.count));
        found.partition(|(class, _)| {
            matches!(class, Class::G0(_) | Class::G1c(_) | Class::GSingle(_) | Class::G2(_))
        })
    }

    fn done(&mut self) -> &mut Event {
        self.events.last_mut().expect("a tale begins with a call")
    }

    fn call(&mut self, process: u32, fill: impl FnOnce(&mut Event, &mut Event)) -> &mut Self {
        let number = self.events.len() as u64;
        let line = |at_us, kind, site: &str| Event {
            at_us,
            process,
            site: site.to_owned(),
            call: number,
            kind,
            began_us: None,
            sent: Vec::new(),
            polled: Vec::new(),
            moved: Vec::new(),
            assigned: None,
            group: None,
            last: false,
        };
        let mut invoke = line(self.clock_us, Kind::Invoke, &self.site);
        let mut done = line(self.clock_us + 2, Kind::Ok, &self.site);
        self.clock_us += 4;
        fill(&mut invoke, &mut done);
        self.events.extend([invoke, done]);
        self
    }
}

/// Nothing was found.
pub(crate) fn none() -> BTreeMap<Class, u64> {
    BTreeMap::new()
}

/// Only this was found, so often.
pub(crate) fn only(class: Class, count: u64) -> BTreeMap<Class, u64> {
    BTreeMap::from([(class, count)])
}
