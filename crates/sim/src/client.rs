//! Clients: producers, idempotent and not, consumers that commit, and people who change topics.
//!
//! A client has a home site and moves on when it gets no answer or a refusal. It asks for a few things at a time, in
//! order, and asks again for the same until it is told yes or no: an idempotent producer sends the very same batch, with
//! the very same numbers, wherever it goes.

use std::collections::{BTreeMap, VecDeque};

use entry::{PartitionId, SiteId, TopicId};
use site::{Acknowledge, Answer, Append, Commit, Reading, Refusal, Request, Site};

use crate::checkers::{Asked, Checkers};
use crate::rng::Rng;
use crate::submission::Alone;
use crate::swarm::Kept;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Where it would be.
    pub home: SiteId,
    /// Where it is.
    pub at: SiteId,
    /// What it waits for, in order.
    pub open: VecDeque<Open>,
    /// Whether it has a wake-up call under way.
    pub rng: Rng,
    idempotent: bool,
    producer: Option<i64>,
    sequences: BTreeMap<(TopicId, PartitionId), i32>,
    positions: BTreeMap<(TopicId, PartitionId), u64>,
    group: String,
}

/// Something that a client waits for.
#[derive(Debug, Clone)]
pub struct Open {
    /// What it asked.
    pub asked: Asked,
    /// The ticket of its last attempt, while it waits for an answer.
    pub ticket: Option<u64>,
    /// When it waits no longer.
    pub until_us: u64,
}

/// What the rest of the world lets a client do.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// Whether it may delete topics.
    pub deletes: bool,
    /// Whether the topic `audit` bounds what only one site has of it.
    pub bounded: bool,
    /// Whether the topic `events` is compacted.
    pub compacted: bool,
    /// What the topics `orders` and `events` keep, if not all.
    pub kept: Option<Kept>,
    /// Whether what only one site has of the topic `audit` is bounded by its age too.
    pub floods: bool,
    /// Whether it changes its site also when it was answered.
    pub roams: bool,
    /// How many batches it sends at a time: from, and less than.
    pub at_once: (u64, u64),
    /// How many sites there are.
    pub sites: u16,
}

const NAMES: [&str; 3] = ["orders", "events", "audit"];
/// The one that may be bounded; whoever creates it says so, and nobody changes it.
const BOUNDED: &str = NAMES[2];
/// The one that may be compacted, likewise.
const COMPACTED: &str = NAMES[1];

impl Client {
    /// A client at its home.
    #[must_use]
    pub fn new(number: usize, home: SiteId, rng: Rng) -> Client {
        Client {
            home,
            at: home,
            open: VecDeque::new(),
            rng,
            idempotent: !number.is_multiple_of(3),
            producer: None,
            sequences: BTreeMap::new(),
            positions: BTreeMap::new(),
            group: format!("group-{}", number % 2),
        }
    }

    /// Nobody answered: the client moves on, and asks again. A producer without numbers may as well let it be.
    pub fn timed_out(&mut self, sites: u16) {
        self.move_on(sites);
        for open in &mut self.open {
            open.ticket = None;
        }
        let again = self.idempotent || self.rng.chance(500);
        self.open.retain(|open| again || open.asked.submission.is_none());
    }

    /// Goes home, or to any other site.
    pub fn move_on(&mut self, sites: u16) {
        let any = SiteId(u16::try_from(self.rng.between(1, u64::from(sites) + 1)).unwrap_or(1));
        self.at = if self.rng.chance(300) { self.home } else { any };
    }

    /// An answer came.
    pub fn answered(&mut self, ticket: u64, answer: &Result<Answer, Refusal>, sites: u16) {
        let Some(index) = self.open.iter().position(|open| open.ticket == Some(ticket)) else { return };
        match answer {
            Ok(answer) => {
                self.open.remove(index);
                if let Answer::ProducerId(id) = answer {
                    self.producer = Some(*id);
                }
            }
            Err(refusal) if is_retriable(refusal) => {
                self.open[index].ticket = None;
                if self.rng.chance(300) {
                    self.move_on(sites);
                }
            }
            Err(_) => {
                self.open.remove(index);
                // The numbers behind it mean nothing any more: the producer begins anew under another id.
                if self.idempotent {
                    self.producer = None;
                    self.sequences.clear();
                    self.open.retain(|open| open.asked.submission.is_none());
                }
            }
        }
    }

    /// Something new to ask of a site; changes of topics are made up out of names, the rest needs a topic.
    pub fn think(&mut self, site: &Site, checkers: &mut Checkers, allowed: Allowed) {
        if allowed.roams && self.rng.chance(500) {
            self.move_on(allowed.sites);
        }
        let topics: Vec<_> = site.topics().cloned().collect();
        let dice = self.rng.below(100);
        if topics.is_empty() || dice < 4 {
            return self.create(allowed);
        }
        let topic = self.rng.pick(&topics).clone();
        let partition = self.rng.below(u64::from(topic.partitions)) as PartitionId;
        match dice {
            4 if allowed.deletes => {
                checkers.submissions.doom(topic.id);
                self.push(Request::DeleteTopic { name: topic.name }, None, 1, false);
            }
            5 => {
                let partitions = topic.partitions + 1;
                self.push(Request::GrowTopic { name: topic.name, partitions }, None, 1, false);
            }
            6 => {
                let value = *self.rng.pick(&[Some("1"), Some("2"), None]);
                let settings = BTreeMap::from([("min.insync.sites".to_owned(), value.map(str::to_owned))]);
                self.push(Request::AlterTopic { name: topic.name, settings }, None, 1, false);
            }
            7..25 => {
                let end = site.extent(topic.id, partition, Reading::Merged).end;
                self.commit((topic.id, partition), end);
            }
            _ => {
                let (least, below) = allowed.at_once;
                let count = self.rng.between(least, below);
                for _ in 0..count {
                    self.append(&topic, partition, checkers);
                }
            }
        }
    }

    fn create(&mut self, allowed: Allowed) {
        let name = (*self.rng.pick(&NAMES)).to_owned();
        let mut settings = BTreeMap::new();
        if self.rng.chance(300) {
            settings.insert("min.insync.sites".to_owned(), "2".to_owned());
        }
        if self.rng.chance(200) {
            settings.insert("ack.all".to_owned(), "released".to_owned());
        }
        if self.rng.chance(200) {
            settings.insert("message.timestamp.type".to_owned(), "LogAppendTime".to_owned());
        }
        if allowed.compacted && name == COMPACTED {
            let given = [
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.1"),
                ("delete.retention.ms", "1000"),
            ];
            settings.extend(given.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        if allowed.bounded && name == BOUNDED {
            settings.insert("replication.max.unreplicated.bytes".to_owned(), "4000".to_owned());
        }
        if allowed.floods && name == BOUNDED {
            settings.insert("replication.max.unreplicated.ms".to_owned(), "300".to_owned());
        }
        if let Some(kept) = allowed.kept.filter(|_| name != BOUNDED) {
            let given = [("retention.ms", kept.age_ms), ("retention.bytes", kept.bytes)];
            let given = given.into_iter().filter_map(|(key, most)| Some((key, most?)));
            settings.extend(given.map(|(key, most)| (key.to_owned(), most.to_string())));
            settings.entry("cleanup.policy".to_owned()).and_modify(|policy| policy.push_str(",delete"));
        }
        let partitions = u32::try_from(self.rng.between(1, 4)).unwrap_or(1);
        self.push(Request::CreateTopic { name, partitions, settings }, None, 1, false);
    }

    /// Reads on from where it is, as far as there is something to read, and says how far it came; now and then it goes
    /// back. After a failover the end may be before where it is: it waits there.
    fn commit(&mut self, at: (TopicId, PartitionId), end: u64) {
        let position = self.positions.entry(at).or_default();
        if self.rng.chance(150) {
            *position /= 2;
        } else {
            *position = (*position + self.rng.below(10)).min(end.max(*position));
        }
        let positions = vec![(at.0, at.1, *position, format!("m{position}"))];
        self.push(Request::Commit(Commit { group: self.group.clone(), positions }), None, 1, false);
    }

    fn append(&mut self, topic: &catalog::Topic, partition: PartitionId, checkers: &mut Checkers) {
        let at = (topic.id, partition);
        if topic.settings.compacts {
            checkers.submissions.compact(topic.id);
        }
        let (bytes, ms) = (topic.settings.unreplicated_bytes_max, topic.settings.unreplicated_ms_max);
        if bytes.or(ms).is_some() {
            checkers.submissions.bound(topic.id, Alone { bytes, ms });
        }
        let (records, padding) = (self.rng.between(1, 4), *self.rng.pick(&[0, 30, 1500]));
        let numbering = match (self.idempotent, self.producer) {
            (false, _) => None,
            (true, Some(id)) => {
                let sequence = self.sequences.entry(at).or_default();
                let first = *sequence;
                *sequence += i32::try_from(records).unwrap_or(1);
                Some((id, first))
            }
            (true, None) => {
                if self.open.is_empty() {
                    self.push(Request::ProducerId, None, 1, false);
                }
                return;
            }
        };
        let (number, bytes) = checkers.submissions.make(at, records, padding, numbering);
        let all = self.rng.chance(600);
        let acknowledge = if all { Acknowledge::All } else { Acknowledge::Local };
        let append = Append { topic: topic.id, partition, records: bytes, acknowledge, patience_ms: 500 };
        // What a topic asks for may be altered while the request is under way: only what never changes is held against it.
        let released = all && topic.settings.ack_all == catalog::AckAll::Released;
        self.push(Request::Append(append), Some(number), 1, released);
    }

    fn push(&mut self, request: Request, submission: Option<usize>, sites: usize, released: bool) {
        let asked = Asked { request, submission, sites, released, stood: Vec::new() };
        self.open.push_back(Open { asked, ticket: None, until_us: 0 });
    }
}

fn is_retriable(refusal: &Refusal) -> bool {
    use Refusal::{Backlog, Busy, Clock, DiskFull, EarlierRefused, Halted, NotReady, Stopping, Unreplicated};
    matches!(
        refusal,
        NotReady(_)
            | Stopping
            | Halted(_)
            | DiskFull
            | Busy
            | Backlog { .. }
            | Clock(_)
            | EarlierRefused
            | Unreplicated { .. }
    )
}
