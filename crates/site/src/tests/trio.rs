//! Three sites, disks in memory, and links that deliver in order and at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use clock::Now;
use disk::{Disk as _, DiskError, FileName, MemoryDisk};
use entry::{ClusterId, Encoded, SiteId, StorageId, TopicId};
use journal::Chain;
use journal::checkpoint::Draft;
use uuid::Uuid;

use crate::notary::tests::TestNotary;
use crate::wire::{CopyMessage, Message, SignedHead, Vouched};
use crate::{
    Action, Answer, Entropy, Event, FileAnswer, FileWork, Fresh, Limits, Member, Reading, RecoverError,
    Refusal, Request, Site, SiteConfig, Ticket,
};

pub(super) struct Trio {
    now_us: u64,
    nodes: BTreeMap<u16, Node>,
    /// How far each site's wall clock is ahead.
    wall_ahead_ms: BTreeMap<u16, i64>,
    cut: Option<u16>,
    /// Two sites that do not hear each other, and others well.
    apart: Option<(u16, u16)>,
    answers: BTreeMap<Ticket, Result<Answer, Refusal>>,
    next_ticket: u64,
    starts: u8,
    limits: Limits,
    /// How often a machine was let go for another on the same disk.
    pub(super) restarts: usize,
    /// Alarms and remarks, and who made them.
    pub(super) said: Vec<(u16, String)>,
    /// Bytes that were sent in all, and after how many all links go silent.
    pub(super) sent_bytes: usize,
    pub(super) cut_after: Option<usize>,
    /// What a site makes of others' entries that it should pass on as they are.
    pub(super) forge: Option<(u16, Forge)>,
    /// Entries that went out, from whom and to whom, before anybody forged them.
    entries_sent: Vec<(u16, u16, Vouched)>,
    fence_timeout_ms: u64,
    /// Who refused whom, and why, where that is to be expected.
    pub(super) hangups: Option<Vec<(u16, u16, String)>>,
    /// Whether shells write to no file for lack of room.
    pub(super) crowded: bool,
    /// Which protocol a site speaks from its next start on, if not this version's.
    pub(super) protocols: BTreeMap<u16, u16>,
    /// How many sites the configuration lists, and which of them is the witness.
    known: u16,
    witness: Option<u16>,
    /// How long a site's disk takes for a sync, where that is not a moment.
    pub(super) sync_ms: BTreeMap<u16, u64>,
}

/// What is made of entries on their way.
pub(super) type Forge = fn(Vouched) -> Vouched;

#[derive(Default)]
struct Node {
    site: Option<Site>,
    disk: MemoryDisk,
    events: VecDeque<Event>,
    /// What its disk will have done, and when.
    on_disk: VecDeque<(u64, Event)>,
    stopped: bool,
}

fn config(
    own: u16,
    (known, witness): (u16, Option<u16>),
    fence_timeout_ms: u64,
    limits: &Limits,
) -> SiteConfig {
    let member = |id: u16| Member { site: SiteId(id), name: format!("site-{id}") };
    SiteConfig {
        cluster: ClusterId(Uuid::from_u128(9)),
        own: SiteId(own),
        members: (1..=known).map(member).collect(),
        witness: witness.map(SiteId),
        homes: BTreeMap::new(),
        protocol: crate::wire::PROTOCOL,
        clock_bound_ms: 500,
        start_wait_ms: 1000,
        alive_ms: 1000,
        fence_timeout_ms,
        limits: limits.clone(),
    }
}

impl Trio {
    pub(super) fn founded() -> Trio {
        Trio::fencing_after_ms(0)
    }

    /// Sites that are silent for so long are fenced by the others; 0 for never.
    pub(super) fn fencing_after_ms(fence_timeout_ms: u64) -> Trio {
        let limits = Limits { checkpoint_bytes: 2000, wal_segment_bytes: 1 << 16, ..Limits::default() };
        Trio::founded_with(limits, fence_timeout_ms)
    }

    pub(super) fn founded_with(limits: Limits, fence_timeout_ms: u64) -> Trio {
        Trio::founded_by((3, None), limits, fence_timeout_ms)
    }

    /// Without a timeout, with a WAL that is soon dropped.
    pub(super) fn founded_by_so_many(sites: u16) -> Trio {
        let (checkpoint_bytes, wal_segment_bytes) = (4000, 1 << 14);
        let (message_bytes, hot_bytes) = (2000, 2000);
        let limits =
            Limits { checkpoint_bytes, wal_segment_bytes, message_bytes, hot_bytes, ..Limits::default() };
        Trio::founded_by((sites, None), limits, 0)
    }

    /// So many sites that hold data and, with the next number, a witness.
    pub(super) fn witnessed(sites: u16, fence_timeout_ms: u64) -> Trio {
        let limits = Limits { checkpoint_bytes: 4000, wal_segment_bytes: 1 << 14, ..Limits::default() };
        Trio::founded_by((sites + 1, Some(sites + 1)), limits, fence_timeout_ms)
    }

    fn founded_by((known, witness): (u16, Option<u16>), limits: Limits, fence_timeout_ms: u64) -> Trio {
        let nodes = (1..=known).map(|id| (id, Node::default())).collect();
        let mut trio = Trio {
            now_us: 1_000_000,
            nodes,
            wall_ahead_ms: BTreeMap::new(),
            cut: None,
            apart: None,
            answers: BTreeMap::new(),
            next_ticket: 0,
            starts: 0,
            fence_timeout_ms,
            known,
            witness,
            limits,
            restarts: 0,
            said: Vec::new(),
            sent_bytes: 0,
            cut_after: None,
            forge: None,
            entries_sent: Vec::new(),
            hangups: None,
            crowded: false,
            protocols: BTreeMap::new(),
            sync_ms: BTreeMap::new(),
        };
        for id in 1..=known {
            let disk = &mut trio.nodes.get_mut(&id).unwrap().disk;
            let config = config(id, (known, witness), fence_timeout_ms, &trio.limits);
            let claim = if witness == Some(id) { Site::join } else { Site::bootstrap };
            claim(&config, fresh(u128::from(id)), disk).unwrap();
            trio.start(id);
        }
        trio.run_ms(50);
        trio
    }

    fn now(&self, id: u16) -> Now {
        let ahead_ms = self.wall_ahead_ms.get(&id).copied().unwrap_or(0);
        let true_ms = 1_767_225_600_000 + self.now_us / 1000;
        Now { mono_us: self.now_us, wall_ms: true_ms.saturating_add_signed(ahead_ms) }
    }

    /// Sets a site's wall clock.
    pub(super) fn set_ahead_ms(&mut self, id: u16, ahead_ms: i64) {
        self.wall_ahead_ms.insert(id, ahead_ms);
    }

    pub(super) fn start(&mut self, id: u16) {
        self.try_start(id).unwrap_or_else(|error| panic!("site {id} does not start: {error}"));
    }

    pub(super) fn try_start(&mut self, id: u16) -> Result<(), RecoverError> {
        self.starts += 1;
        let now = self.now(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let entropy = Entropy { actor: [self.starts; 16] };
        let mut config = config(id, (self.known, self.witness), self.fence_timeout_ms, &self.limits);
        config.protocol = self.protocols.get(&id).copied().unwrap_or(config.protocol);
        let notary = Arc::new(TestNotary(SiteId(id)));
        let (site, _) = Site::open(config, entropy, notary, now, &mut node.disk)?;
        node.site = Some(site);
        node.stopped = false;
        for other in self.others(id) {
            self.connect(id, other);
        }
        Ok(())
    }

    fn others(&self, id: u16) -> Vec<u16> {
        self.nodes.keys().copied().filter(|other| *other != id).collect()
    }

    pub(super) fn start_joining(&mut self, id: u16) {
        let config = config(id, (self.known, self.witness), self.fence_timeout_ms, &self.limits);
        let storage = 100 + u128::from(self.starts);
        let disk = &mut self.nodes.get_mut(&id).unwrap().disk;
        Site::join(&config, fresh(storage), disk).unwrap();
        self.start(id);
    }

    /// All sites learn of one more, in a rolling restart; its own disk is empty.
    pub(super) fn make_known(&mut self, id: u16) {
        self.known = id;
        for other in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop(other);
            self.start(other);
            self.run_ms(1500);
        }
        let node = Node::default();
        self.nodes.insert(id, node);
    }

    fn connect(&mut self, a: u16, b: u16) {
        let up = |node: &Node| node.site.is_some() && !node.stopped;
        let cut = [a, b].iter().any(|site| self.cut == Some(*site)) || self.are_apart(a, b);
        if cut || !up(&self.nodes[&a]) || !up(&self.nodes[&b]) {
            return;
        }
        self.push(a, Event::LinkUp { site: SiteId(b) });
        self.push(b, Event::LinkUp { site: SiteId(a) });
    }

    fn disconnect(&mut self, id: u16) {
        for other in self.others(id) {
            self.push(id, Event::LinkDown { site: SiteId(other) });
            self.push(other, Event::LinkDown { site: SiteId(id) });
        }
    }

    pub(super) fn crash(&mut self, id: u16) {
        self.disconnect(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.site = None;
        node.events.clear();
        node.on_disk.clear();
        self.run_ms(10);
    }

    pub(super) fn stop(&mut self, id: u16) {
        self.push(id, Event::Stop);
        self.run_ms(500);
        if !self.nodes[&id].stopped {
            // It could not tell the others that it leaves.
            self.run_ms(3500);
        }
        assert!(self.nodes[&id].stopped, "the site did not stop");
        self.crash(id);
    }

    pub(super) fn wipe(&mut self, id: u16) {
        self.nodes.get_mut(&id).unwrap().disk = MemoryDisk::new();
    }

    /// A site that does not run now will find no link.
    pub(super) fn isolate(&mut self, id: u16) {
        self.cut = Some(id);
    }

    pub(super) fn cut(&mut self, id: u16) {
        self.disconnect(id);
        self.cut = Some(id);
        self.run_ms(10);
    }

    /// Two sites lose each other, and both keep all others.
    pub(super) fn part(&mut self, a: u16, b: u16) {
        self.apart = Some((a, b));
        self.push(a, Event::LinkDown { site: SiteId(b) });
        self.push(b, Event::LinkDown { site: SiteId(a) });
        self.run_ms(10);
    }

    fn are_apart(&self, a: u16, b: u16) -> bool {
        self.apart == Some((a, b)) || self.apart == Some((b, a))
    }

    /// They hear each other again.
    pub(super) fn meet(&mut self) {
        if let Some((a, b)) = self.apart.take() {
            self.connect(a, b);
        }
    }

    pub(super) fn heal(&mut self, id: u16) {
        self.cut = None;
        for other in self.others(id) {
            self.connect(id, other);
        }
    }

    /// A site's disk, to look at or to damage.
    pub(super) fn disk(&mut self, id: u16) -> &mut MemoryDisk {
        &mut self.nodes.get_mut(&id).unwrap().disk
    }

    pub(super) fn push(&mut self, id: u16, event: Event) {
        self.nodes.get_mut(&id).unwrap().events.push_back(event);
    }

    pub(super) fn site(&self, id: u16) -> &Site {
        self.nodes[&id].site.as_ref().unwrap()
    }

    /// Where site `id` stands.
    pub(super) fn status(&self, id: u16) -> crate::Status {
        self.site(id).status(self.now_us)
    }

    /// What site `id` takes for alive.
    pub(super) fn alive(&self, id: u16) -> Vec<SiteId> {
        self.site(id).alive(self.now_us)
    }

    /// Whom site `id` sends clients to.
    pub(super) fn for_clients(&self, id: u16) -> Vec<SiteId> {
        self.site(id).for_clients(self.now_us)
    }

    /// Asks, and does not wait.
    pub(super) fn send(&mut self, id: u16, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.push(id, Event::Request { ticket, request });
        ticket
    }

    /// The answer, if it is there.
    pub(super) fn answer(&mut self, ticket: Ticket) -> Option<Result<Answer, Refusal>> {
        self.answers.remove(&ticket)
    }

    /// Asks, and runs until the answer is there.
    pub(super) fn ask(&mut self, id: u16, request: Request) -> Result<Answer, Refusal> {
        let ticket = self.send(id, request);
        for _ in 0..2000 {
            self.run_ms(1);
            if let Some(answer) = self.answers.remove(&ticket) {
                return answer;
            }
        }
        panic!("no answer; status: {:#?}", self.site(id).status(self.now_us));
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += 1000;
            let ids: Vec<u16> = self.nodes.keys().copied().collect();
            for id in &ids {
                let node = self.nodes.get_mut(id).unwrap();
                while node.on_disk.front().is_some_and(|(at_us, _)| *at_us <= self.now_us) {
                    node.events.extend(node.on_disk.pop_front().map(|(_, event)| event));
                }
                self.push(*id, Event::Tick);
            }
            while self.nodes.values().any(|node| !node.events.is_empty()) {
                for id in &ids {
                    self.step(*id);
                }
            }
        }
    }

    /// Time passes, and nothing happens.
    pub(super) fn skip_ms(&mut self, ms: u64) {
        self.now_us += ms * 1000;
    }

    /// Every site takes one step.
    pub(super) fn step_once(&mut self) {
        self.now_us += 10;
        let ids: Vec<u16> = self.nodes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.step(id));
    }

    fn step(&mut self, id: u16) {
        let now = self.now(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let events: Vec<_> = node.events.drain(..).collect();
        let Some(site) = node.site.as_mut().filter(|_| !node.stopped) else { return };
        let mut actions = Vec::new();
        site.handle(now, events, &mut node.disk, &mut actions);
        for action in actions {
            self.carry_out(id, action);
        }
    }

    fn carry_out(&mut self, id: u16, action: Action) {
        let node = self.nodes.get_mut(&id).unwrap();
        match action {
            Action::Write(write) => {
                let written = write.id;
                let event = match has_room(write.carry_out(&mut node.disk)) {
                    true => Event::Written { id: written },
                    false => Event::WriteRefused { id: written },
                };
                let at_us = self.now_us + self.sync_ms.get(&id).unwrap_or(&0) * 1000;
                match at_us > self.now_us {
                    true => node.on_disk.push_back((at_us, event)),
                    false => node.events.push_back(event),
                }
            }
            Action::Prepare(op) => {
                let done = has_room(op.carry_out(&mut node.disk));
                node.events.push_back(Event::Prepared { done });
            }
            Action::Checkpoint { id: checkpoint, position, state, sync } => {
                assert!(sync.iter().all(|file| node.disk.len(file).unwrap().is_some()));
                let folder = FileName::root().join("checkpoint");
                let drop_before = match Draft::write(&mut node.disk, &folder, position, &state) {
                    Ok(draft) => Some(draft.commit(&mut node.disk).unwrap()),
                    Err(DiskError::Full(_)) => None,
                    Err(error) => panic!("site {id}: {error}"),
                };
                node.events.push_back(Event::Checkpointed { id: checkpoint, drop_before });
            }
            Action::Send { to, message, .. } => self.deliver(id, to.0, &message),
            Action::Reply { ticket, answer } => {
                self.answers.insert(ticket, answer);
            }
            Action::Files(task) => {
                let answer = match task.work {
                    FileWork::Write { file, .. } if self.crowded => FileAnswer::Failed(DiskError::Full(file)),
                    work => work.carry_out(&mut node.disk),
                };
                node.events.push_back(Event::FilesDone { id: task.id, answer });
            }
            Action::Restart => {
                self.restarts += 1;
                self.disconnect(id);
                let node = self.nodes.get_mut(&id).unwrap();
                node.events.clear();
                node.on_disk.clear();
                self.start(id);
            }
            Action::GiveUpLinks { .. } => self.disconnect(id),
            Action::Stopped => node.stopped = true,
            Action::Hangup { to, reason } => {
                let hangups = self.hangups.as_mut();
                hangups.unwrap_or_else(|| panic!("site {id}: {reason}")).push((id, to.0, reason));
                self.push(id, Event::LinkDown { site: to });
                self.push(to.0, Event::LinkDown { site: SiteId(id) });
            }
            Action::Halt(reason) => panic!("site {id}: {reason}"),
            Action::Alarm(text) | Action::Remark(text) => self.said.push((id, text)),
            Action::Readable(_) | Action::ViewChanged => {}
        }
    }

    fn deliver(&mut self, from: u16, to: u16, message: &Message) {
        let cut = self.cut == Some(from) || self.cut == Some(to) || self.are_apart(from, to);
        if cut || self.nodes[&to].site.is_none() {
            return;
        }
        let mut message = message.clone();
        if let Message::Entries(vouched) = &mut message {
            self.entries_sent.push((from, to, vouched.clone()));
            let passed_on = vouched.head.journal.site.0 != from;
            if let Some((_, forge)) = self.forge.filter(|(forger, _)| passed_on && *forger == from) {
                *vouched = forge(vouched.clone());
            }
        }
        let bytes = message.encode();
        self.sent_bytes += bytes.len();
        if self.cut_after.is_some_and(|bytes| self.sent_bytes >= bytes) {
            return;
        }
        let bulk = |message: &Message| {
            matches!(
                message,
                Message::Entries(_) | Message::Certificate(_) | Message::Copy(CopyMessage::Here { .. })
            )
        };
        if bulk(&message) {
            self.push(from, Event::Room { site: SiteId(to), bytes: bytes.len() });
        }
        let message = Message::decode(bytes).unwrap();
        self.push(to, Event::Message { from: SiteId(from), message });
    }

    pub(super) fn forget_entries_sent(&mut self) {
        self.entries_sent.clear();
    }

    /// The entries that one site has sent another.
    pub(super) fn entries_sent(&self, from: u16, to: u16) -> Vec<Vouched> {
        let sent = self.entries_sent.iter().filter(|sent| (sent.0, sent.1) == (from, to));
        sent.map(|(_, _, vouched)| vouched.clone()).collect()
    }

    /// Sends a site an entry of another's journal as its owner would: signed.
    pub(super) fn push_signed(&mut self, to: u16, entry: &Encoded) {
        let owner = entry.head.journal.site;
        let chain = Chain { next: entry.head.seq + 1, hash: entry.hash(), stamp: entry.head.stamp };
        let cluster = config(owner.0, (self.known, None), 0, &self.limits).cluster;
        let (head, _) = SignedHead::sign(&TestNotary(owner), cluster, entry.head.journal, chain);
        let message = Message::Entries(Vouched { head, entries: entry.bytes.clone() });
        self.push(to, Event::Message { from: owner, message });
    }

    /// The values of all records that can be read in partition 0.
    pub(super) fn values(&self, id: u16, topic: TopicId, reading: Reading) -> Vec<String> {
        let (site, disk) = (self.site(id), &self.nodes[&id].disk);
        let extent = site.extent(topic, 0, reading);
        let mut values = Vec::new();
        let mut at = extent.start;
        while at < extent.end {
            let plan = site.plan(disk, (topic, 0, reading), at, 1 << 20).unwrap();
            assert!(plan.next_offset > at);
            let bytes = partition::read(disk, &plan.slices).unwrap();
            values.extend(decode(bytes));
            at = plan.next_offset;
        }
        values
    }

    /// A reader at a site comes upon damage.
    pub(super) fn came_upon_damage(&mut self, id: u16, file: &FileName) {
        self.push(id, Event::Damaged(file.clone()));
    }

    /// How many batches of the merged log of partition 0 read as they should.
    pub(super) fn sound_values(&self, id: u16, topic: TopicId) -> usize {
        let (site, disk) = (self.site(id), &self.nodes[&id].disk);
        let end = site.extent(topic, 0, Reading::Merged).end;
        let reads = |at: &u64| {
            let plan = site.plan(disk, (topic, 0, Reading::Merged), *at, 1).unwrap();
            partition::read(disk, &plan.slices).is_ok()
        };
        (0..end).filter(reads).count()
    }

    /// The names of all files of a site.
    pub(super) fn files(&self, id: u16) -> Vec<String> {
        let files = self.nodes[&id].disk.list(&FileName::root()).unwrap();
        files.iter().map(|file| file.as_str().to_owned()).collect()
    }

    pub(super) fn digest(&self, id: u16, topic: TopicId) -> [u8; 16] {
        let site = self.site(id);
        let end = site.extent(topic, 0, Reading::Merged).end;
        site.digest(&self.nodes[&id].disk, topic, 0, end).unwrap()
    }
}

fn has_room(done: Result<(), DiskError>) -> bool {
    match done {
        Err(DiskError::Full(_)) => false,
        other => other.map(|()| true).unwrap(),
    }
}

fn fresh(number: u128) -> Fresh {
    Fresh { storage: StorageId(number), wal_nonce: number + 1000 }
}

fn decode(mut bytes: bytes::Bytes) -> Vec<String> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let size = batch::parse_kept(&bytes).unwrap().info().size as usize;
        let one = bytes.split_to(size);
        for record in batch::records(&one, batch::DecompressLimits::default()).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}
