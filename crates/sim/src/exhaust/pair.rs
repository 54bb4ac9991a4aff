//! Two sites on a table, whose disks keep diaries.
//!
//! Nothing goes wrong here and nothing is random: it only makes a short life with all that a site does to its disk, and
//! notes at every moment what a site had told anybody.

use std::collections::{BTreeMap, VecDeque};

use clock::{Now, Stamp};
use entry::{ClusterId, JournalId, PartitionId, Seq, SiteId, StorageId, TopicId};
use site::wire::Message;
use site::{
    Action, Answer, Entropy, Event, Fresh, Grown, Limits, Member, Reading, Request, Site, SiteConfig, Ticket,
};
use uuid::Uuid;

use super::platter::Diary;
use crate::checkers::truth;
use crate::clock::BASE_UNIX_MS;
use crate::host::{Flight, Job};
use crate::notary::SimNotary;

/// The site that is looked at.
pub(crate) const WATCHED: SiteId = SiteId(1);
const OTHER: SiteId = SiteId(2);

/// A merged log's end, and its digest up to there.
pub(crate) type Shown = BTreeMap<(TopicId, PartitionId), (u64, [u8; 16])>;

/// What a site has told: to clients, to the other site, to readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Everything of its own journal below is acknowledged.
    pub(crate) acknowledged: Seq,
    /// Said to be held.
    pub(crate) held: BTreeMap<JournalId, Seq>,
    /// The highest stamp promised or given to a client.
    pub(crate) stamp: Stamp,
    /// Shown to readers.
    pub(crate) shown: Shown,
}

/// One of the two.
pub(crate) struct Node {
    pub(crate) site: Site,
    pub(crate) disk: Diary,
    inbox: VecDeque<Event>,
    jobs: VecDeque<Job>,
    told: Told,
    /// The seq of each own entry given to the disk, by its stamp.
    stamps: BTreeMap<Stamp, Seq>,
    /// What was told, each with the number of disk operations before it.
    pub(crate) history: Vec<(usize, Told)>,
}

/// The two of them.
pub(crate) struct Pair {
    now_us: u64,
    nodes: [Node; 2],
    next_ticket: u64,
}

/// What both are told, with everything small.
pub(crate) fn config(own: SiteId) -> SiteConfig {
    let member = |site: SiteId| Member { site, name: format!("site-{site}") };
    SiteConfig {
        cluster: ClusterId(Uuid::from_u128(0x51)),
        own,
        members: vec![member(WATCHED), member(OTHER)],
        witness: None,
        homes: BTreeMap::new(),
        protocol: site::wire::PROTOCOL,
        clock_bound_ms: 500,
        start_wait_ms: 200,
        alive_ms: 2_000,
        fence_timeout_ms: 0,
        limits: Limits {
            checkpoint_bytes: 3 << 10,
            wal_segment_bytes: 16 << 10,
            hot_bytes: 4 << 10,
            ..Limits::default()
        },
    }
}

/// What a process sees of time: its own since it began, and a wall clock.
pub(crate) fn time(mono_us: u64, wall_ms: u64) -> Now {
    Now { mono_us, wall_ms: BASE_UNIX_MS + wall_ms }
}

impl Node {
    fn founded(own: SiteId, other: SiteId) -> Node {
        let mut disk = Diary::default();
        let fresh = Fresh { storage: StorageId(u128::from(own.0)), wal_nonce: 0x77 + u128::from(own.0) };
        Site::bootstrap(&config(own), fresh, &mut disk).expect("an empty disk takes an identity");
        let entropy = Entropy { actor: [own.0 as u8; 16] };
        let opened = Site::open(config(own), entropy, SimNotary::of(own, 1), time(0, 0), &mut disk);
        Node {
            site: opened.expect("what was just founded opens").0,
            disk,
            inbox: VecDeque::from([Event::LinkUp { site: other }]),
            jobs: VecDeque::new(),
            told: Told::default(),
            stamps: BTreeMap::new(),
            history: vec![(0, Told::default())],
        }
    }

    /// Takes what came, then does one step of what the disk has to do. Gives back what is to be sent.
    fn turn(&mut self, now: Now) -> Vec<Message> {
        let mut actions = Vec::new();
        self.site.handle(now, self.inbox.drain(..), &mut self.disk, &mut actions);
        let before = self.told.clone();
        let sent = actions.into_iter().filter_map(|action| self.carry_out(action)).collect();
        if before != self.told {
            self.history.push((self.disk.ops.len(), self.told.clone()));
        }
        self.work();
        sent
    }

    fn carry_out(&mut self, action: Action) -> Option<Message> {
        match action {
            Action::Write(write) => {
                let flight = Flight::of(&write);
                let own = self.site.identity().journal();
                for entry in flight.iter().flat_map(|flight| &flight.records).filter_map(truth::entry) {
                    if Some(entry.head.journal) == own {
                        self.stamps.insert(entry.head.stamp, entry.head.seq);
                    }
                }
                self.jobs.push_back(Job::write(write));
            }
            Action::Prepare(op) => self.jobs.push_back(Job::prepare(op)),
            Action::Checkpoint { id, sync, position, state } => {
                self.jobs.push_back(Job::checkpoint(id, sync, position, state));
            }
            Action::Send { message, .. } => {
                self.told(&message);
                return Some(message);
            }
            Action::Reply { answer, .. } => {
                self.answered(&answer.expect("nothing is refused on the table"));
            }
            Action::Readable(grown) => grown.iter().for_each(|log| self.shown(log)),
            Action::Files(task) => self.jobs.push_back(Job::files(task)),
            Action::ViewChanged | Action::Alarm(_) | Action::Remark(_) => {}
            Action::Stopped
            | Action::Restart
            | Action::GiveUpLinks { .. }
            | Action::Hangup { .. }
            | Action::Halt(_) => {
                panic!("a quiet life has none of {action:?}")
            }
        }
        None
    }

    fn told(&mut self, message: &Message) {
        let Message::Pulse(pulse) = message else { return };
        let identity = self.site.identity();
        if let Some((w, _)) = identity.journal().and_then(|own| pulse.promises.get(&own)) {
            self.told.stamp = self.told.stamp.max(*w);
        }
        if let Some((_, held)) = pulse.frontiers.get(&identity.site) {
            self.told.held.clone_from(held);
        }
    }

    fn answered(&mut self, answer: &Answer) {
        if let Answer::Appended { stamp, .. } = answer {
            self.told.stamp = self.told.stamp.max(*stamp);
            let seq = self.stamps.get(stamp).copied().expect("what is acknowledged was given to the disk");
            self.told.acknowledged = self.told.acknowledged.max(seq + 1);
        }
    }

    fn shown(&mut self, log: &Grown) {
        if log.origin.is_none() {
            let end = self.site.extent(log.topic, log.partition, Reading::Merged).end;
            let digest = self.site.digest(&self.disk, log.topic, log.partition, end);
            self.told
                .shown
                .insert((log.topic, log.partition), (end, digest.expect("what is readable reads")));
        }
    }

    /// One step of every job, so that steps of one fall between those of another.
    fn work(&mut self) {
        for _ in 0..self.jobs.len() {
            let Some(mut job) = self.jobs.pop_front() else { return };
            if let Some(step) = job.steps.pop_front() {
                job.step(step, &mut self.disk).expect("a disk in memory refuses nothing");
            }
            if job.steps.is_empty() {
                self.inbox.push_back(job.done);
            } else {
                self.jobs.push_back(job);
            }
        }
    }
}

impl Pair {
    /// Two sites that have just been founded and know of each other.
    pub(crate) fn new() -> Pair {
        let nodes = [Node::founded(WATCHED, OTHER), Node::founded(OTHER, WATCHED)];
        Pair { now_us: 0, nodes, next_ticket: 1 }
    }

    /// The one that is looked at.
    pub(crate) fn watched(&self) -> &Node {
        &self.nodes[0]
    }

    /// A client asks the watched site, or the other.
    pub(crate) fn ask(&mut self, of_other: bool, request: Request) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.nodes[usize::from(of_other)].inbox.push_back(Event::Request { ticket, request });
    }

    /// Half a millisecond passes.
    pub(crate) fn turn(&mut self) {
        self.now_us += 500;
        let now = time(self.now_us, self.now_us / 1000);
        for (at, from) in [(0, WATCHED), (1, OTHER)] {
            if self.now_us >= self.nodes[at].site.next_tick_us() {
                self.nodes[at].inbox.push_back(Event::Tick);
            }
            let sent = self.nodes[at].turn(now);
            let there = &mut self.nodes[1 - at];
            there.inbox.extend(sent.into_iter().map(|message| Event::Message { from, message }));
        }
    }
}
