//! The world: one clock, one queue of what is due, and everything that happens to the sites in its order.
//!
//! Each step takes the next thing that is due (ties are broken by the seed), hands it to a site or a client, carries out what
//! comes of it, and lets the checkers look.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use disk::Disk;
use entry::SiteId;
use site::wire::Message;
use site::{Action, Answer, Event, Lane, Refusal, Request, Site};

use crate::checkers::{Asked, Checkers, Verdict, broken, ensure};
use crate::client::Client;
use crate::host::Host;
use crate::net::{Net, Stream};
use crate::operator::{Operator, known};
use crate::rng::Rng;
use crate::swarm::{Kind, Swarm};
use crate::trace::Trace;
use crate::{Options, trace};

/// Something that is due.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Tick(SiteId, u64),
    Inbox(SiteId, u64),
    Disk(SiteId, u64, u64),
    Up { at: SiteId, peer: SiteId, generation: u64 },
    Down { at: SiteId, peer: SiteId, generation: u64 },
    Stream(Stream),
    Datagram(Stream, Bytes),
    Room { site: SiteId, peer: SiteId, generation: u64, bytes: usize },
    Connect(SiteId, SiteId),
    Client(usize),
    Ask { ticket: u64, site: SiteId },
    Answered { client: usize, ticket: u64, answer: Result<Answer, Refusal> },
    Restart(SiteId),
    Heal(Vec<(SiteId, SiteId)>),
    Flap(SiteId, SiteId, u64),
    GiveUp(SiteId, SiteId, u64),
    Repair(SiteId),
    RoomAgain(SiteId),
    SetRight(SiteId),
    Errand(SiteId),
    On(SiteId),
    Forcing,
    Fault,
    Image,
}

struct Due {
    at_us: u64,
    tie: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at_us, self.tie) == (other.at_us, other.tie)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at_us, self.tie).cmp(&(other.at_us, other.tie))
    }
}

/// A client's request that a site has.
#[derive(Debug, Clone)]
pub(crate) struct Ticketed {
    pub(crate) client: usize,
    pub(crate) asked: Asked,
    /// Which process has it.
    pub(crate) at: Option<(SiteId, u64)>,
}

impl Ticketed {
    /// No more is asked of an append than its topic asks for now, as a site knows it. Two sites that create it at once with other
    /// settings differ in that until they have heard of each other.
    pub(crate) fn ask_for_less(&mut self, site: &site::Site) {
        let Request::Append(append) = &self.asked.request else { return };
        let topic = site.topic(append.topic);
        let sites = topic.map_or(1, |topic| usize::from(topic.settings.min_insync_sites).max(1));
        self.asked.sites = self.asked.sites.min(sites);
        self.asked.released &= topic.is_some_and(|topic| topic.settings.ack_all == catalog::AckAll::Released);
    }
}

/// Streams of randomness, one per part.
pub(crate) struct Dice {
    pub(crate) ties: Rng,
    pub(crate) disk: Rng,
    pub(crate) faults: Rng,
    pub(crate) shell: Rng,
    pub(crate) forger: Rng,
    pub(crate) operator: Rng,
}

/// Everything.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now_us: u64,
    queue: BinaryHeap<Reverse<Due>>,
    pub(crate) dice: Dice,
    pub(crate) net: Net,
    pub(crate) hosts: BTreeMap<SiteId, Host>,
    pub(crate) clients: Vec<Client>,
    pub(crate) tickets: BTreeMap<u64, Ticketed>,
    pub(crate) next_ticket: u64,
    pub(crate) checkers: Checkers,
    pub(crate) trace: Trace,
    pub(crate) swarm: Swarm,
    pub(crate) connecting: BTreeSet<(SiteId, SiteId)>,
    pub(crate) operator: Operator,
    /// Whether faults have ended.
    pub(crate) calm: bool,
    /// Until when clients write more than fits.
    pub(crate) floods_until_us: u64,
    pub(crate) steps: u64,
    /// Room for a step's actions, used again and again.
    actions: Vec<site::Action>,
    /// How often each kind of fault struck.
    pub(crate) struck: BTreeMap<Kind, u64>,
    /// How many faults there were, left out or not.
    pub(crate) faults: u64,
    /// Whether in the end nobody was left to write in the order.
    pub(crate) waits_for_operator: bool,
}

impl World {
    /// A cluster whose data directories are founded and whose processes are about to start.
    pub(crate) fn new(seed: u64, options: Options) -> World {
        let dice = Dice {
            ties: Rng::stream(seed, "ties"),
            disk: Rng::stream(seed, "disk"),
            faults: Rng::stream(seed, "faults"),
            shell: Rng::stream(seed, "shell"),
            forger: Rng::stream(seed, "forger"),
            operator: Rng::stream(seed, "operator"),
        };
        let sites = options.founders();
        let mut swarm = Swarm::of(&mut Rng::stream(seed, "swarm"));
        swarm.bound_wals(&mut Rng::stream(seed, "wals"));
        let all: Vec<SiteId> = (1..=known(options.sites, &options.also)).map(SiteId).collect();
        let mut weather = crate::swarm::weather(&all, &mut Rng::stream(seed, "weather"));
        if !options.plain {
            swarm.more(&mut weather, options.also.is_empty(), &mut Rng::stream(seed, "more"));
            swarm.latest(&mut Rng::stream(seed, "latest"));
        }
        swarm.bounded = !options.plain && Rng::stream(seed, "bounded").chance(300);
        swarm.compacted = !options.plain && Rng::stream(seed, "compacted").chance(300);
        swarm.also(&options.also);
        swarm.keep_less(&mut Rng::stream(seed, "kept"));
        if options.core_only {
            swarm.fences_for_sure();
        }
        let mut world = World {
            now_us: 0,
            queue: BinaryHeap::new(),
            net: Net::new(weather, Rng::stream(seed, "net")),
            hosts: BTreeMap::new(),
            clients: Vec::new(),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            checkers: Checkers::new(&sites, swarm.bounds).beside(options.witness()),
            trace: Trace::new(options.lines),
            actions: Vec::new(),
            struck: BTreeMap::new(),
            faults: 0,
            waits_for_operator: false,
            connecting: BTreeSet::new(),
            operator: Operator::default(),
            calm: false,
            floods_until_us: 0,
            steps: 0,
            options,
            dice,
            swarm,
        };
        let mut founding = Rng::stream(seed, "founding");
        let options_without_clients = world.options.without_clients.clone();
        for site in &sites {
            world.found(*site, &sites, &mut founding);
            world.at(0, What::Restart(*site));
        }
        if let Some(witness) = world.witness() {
            world.found_witness(witness, &mut founding);
        }
        world.tempt(&mut Rng::stream(seed, "forging"));
        for client in 0..world.swarm.clients {
            let home = sites[client % sites.len()];
            if options_without_clients.contains(&client) {
                world.clients.push(Client::new(client, home, Rng::stream(seed, "nobody")));
                continue;
            }
            world.clients.push(Client::new(client, home, Rng::stream(seed, &format!("client {client}"))));
            world.at(0, What::Client(client));
        }
        world.at(1000, What::Fault);
        world.at(1000, What::Image);
        world
    }

    /// Puts something on the list.
    pub(crate) fn at(&mut self, in_us: u64, what: What) {
        let due = Due { at_us: self.now_us + in_us, tie: self.dice.ties.draw(), what };
        self.queue.push(Reverse(due));
    }

    /// Runs until so many steps are done.
    pub(crate) fn run_steps(&mut self, steps: u64) -> Verdict {
        for _ in 0..steps {
            self.step()?;
        }
        Ok(())
    }

    /// Takes the next thing that is due.
    pub(crate) fn step(&mut self) -> Verdict {
        let Some(Reverse(due)) = self.queue.pop() else { return broken("I-16", "nothing is due any more") };
        self.now_us = due.at_us;
        self.steps += 1;
        match due.what {
            What::Tick(site, life) => {
                if let Some(process) = self.running(site, life) {
                    process.tick_us = None;
                    self.feed(site, Event::Tick)?;
                }
            }
            What::Inbox(site, life) => {
                if self.running(site, life).is_some() {
                    self.drive(site)?;
                }
            }
            What::Disk(site, life, job) => self.work(site, life, job)?,
            What::Up { at, peer, generation } => self.up(at, peer, generation)?,
            What::Down { at, peer, generation } => self.down(at, peer, generation)?,
            What::Stream(stream) => {
                if let Some(bytes) = self.net.deliver(stream) {
                    self.arrive(stream, &bytes)?;
                }
            }
            What::Datagram(stream, bytes) => self.arrive(stream, &bytes)?,
            What::Room { site, peer, generation, bytes } => {
                if self.knows(site, peer) == Some(generation) {
                    self.left(site, peer, bytes);
                    self.feed(site, Event::Room { site: peer, bytes })?;
                }
            }
            What::Connect(a, b) => self.connect(a, b),
            What::Client(client) => self.wake(client)?,
            What::Ask { ticket, site } => self.ask(ticket, site)?,
            What::Answered { client, ticket, answer } => self.answered(client, ticket, &answer),
            What::Restart(site) => self.restart(site)?,
            What::Heal(directions) => self.heal(&directions),
            What::Flap(site, other, for_us) => self.flap(site, other, for_us),
            What::GiveUp(a, b, generation) => self.give_up(a, b, generation),
            What::Repair(site) => self.repair(site),
            What::RoomAgain(site) => self.room_again(site)?,
            What::SetRight(site) => self.set_right(site),
            What::Errand(site) => self.errand(site)?,
            What::On(site) => self.on_again(site),
            What::Forcing => self.forcing()?,
            What::Fault => self.fault()?,
            What::Image => self.take_images(),
        }
        Ok(())
    }

    /// The process of a site, if it is still the one of this life.
    pub(crate) fn running(&mut self, site: SiteId, life: u64) -> Option<&mut crate::host::Process> {
        self.hosts.get_mut(&site).filter(|host| host.life == life)?.process.as_mut()
    }

    /// The connection that a site's process knows to a peer.
    pub(crate) fn knows(&self, site: SiteId, peer: SiteId) -> Option<u64> {
        self.hosts.get(&site)?.process.as_ref()?.links.get(&peer).copied()
    }

    /// The sites whose processes run.
    pub(crate) fn alive(&self) -> Vec<SiteId> {
        self.hosts.iter().filter(|(_, host)| host.process.is_some()).map(|(site, _)| *site).collect()
    }

    /// Something arrives at the end of a stream.
    fn arrive(&mut self, stream: Stream, bytes: &Bytes) -> Verdict {
        let Stream { generation, from, to, lane } = stream;
        // Data on a connection means that it is up.
        if self.net.current(from, to) == Some(generation) && self.knows(to, from) < Some(generation) {
            self.up(to, from, generation)?;
        }
        if self.knows(to, from) != Some(generation) {
            return Ok(());
        }
        if matches!(lane, Lane::Tail | Lane::CatchUp) {
            let back_us = self.net.delay_us(to, from);
            let room = What::Room { site: from, peer: to, generation, bytes: bytes.len() };
            self.at(back_us, room);
        }
        let copies = if lane != Lane::Control && self.net.doubles() { 2 } else { 1 };
        for _ in 0..copies {
            let message = Message::decode(bytes.clone());
            let Ok(message) = message else { return broken("I-52", "a site sent what does not read") };
            if let (Message::Hello(hello), Some(host)) = (&message, self.hosts.get_mut(&to))
                && let Some(process) = &mut host.process
            {
                process.told.insert(from, hello.protocol);
            }
            self.feed(to, Event::Message { from, message })?;
        }
        Ok(())
    }

    /// Hands an event to a site: at once, or together with what comes next.
    pub(crate) fn feed(&mut self, site: SiteId, event: Event) -> Verdict {
        let now_us = self.now_us;
        let together = self.dice.shell.chance(150);
        let Some(host) = self.hosts.get_mut(&site) else { return Ok(()) };
        let life = host.life;
        let Some(process) = &mut host.process else { return Ok(()) };
        process.inbox.push(event);
        if process.paused_until_us > now_us {
            return Ok(());
        }
        if together {
            let in_us = self.dice.shell.below(500);
            self.at(in_us, What::Inbox(site, life));
            return Ok(());
        }
        self.drive(site)
    }

    /// Lets a site take what lies in its inbox, and carries out what comes of it.
    pub(crate) fn drive(&mut self, id: SiteId) -> Verdict {
        let now_us = self.now_us;
        let Some(host) = self.hosts.get_mut(&id) else { return Ok(()) };
        let Some(process) = &mut host.process else { return Ok(()) };
        if process.paused_until_us > now_us || process.inbox.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut process.inbox);
        let hears = host.low.is_some() && events.iter().any(|event| matches!(event, Event::DiskLow(true)));
        let lines = self.trace.wants_lines();
        let told: Vec<String> = if lines { events.iter().map(trace::event).collect() } else { Vec::new() };
        events.iter().for_each(|event| self.trace.mark(trace::event_mark(event)));
        for event in &events {
            if let Event::LinkUp { site } = event {
                process.handed.remove(site);
            }
        }
        let mut actions = std::mem::take(&mut self.actions);
        let now = host.clock.now(now_us);
        self.checkers.shows(id, now.wall_ms);
        process.site.handle(now, events, &mut host.disk, &mut actions);
        if let Some(low) = host.low.as_mut().filter(|_| hears) {
            let begun = actions
                .iter()
                .map(|action| if let Action::Write(write) = action { write.bytes() } else { 0 });
            let waiting = process.site.waiting_bytes() + process.site.replica_bytes();
            low.heard(now_us, waiting + begun.sum::<usize>());
        }
        let dies_after = process.dies_after.take();
        process.halts = actions.iter().any(|action| matches!(action, Action::Halt(_)));
        actions.iter().for_each(|action| self.trace.mark(trace::action_mark(action)));
        self.trace.line(now_us, Some(id), || format!("{} →{}", told.join(","), trace::actions(&actions)));
        self.read(id, &actions)?;
        self.gave_up(id)?;
        for (index, action) in actions.drain(..).enumerate() {
            if dies_after == Some(index) {
                return self.kill(id, "between two actions");
            }
            self.carry_out(id, action)?;
            if self.hosts.get(&id).is_none_or(|host| host.process.is_none()) {
                return Ok(());
            }
        }
        self.actions = actions;
        self.look(id)?;
        self.schedule_tick(id);
        Ok(())
    }

    fn look(&mut self, id: SiteId) -> Verdict {
        if !self.steps.is_multiple_of(8) {
            return Ok(());
        }
        let Some(host) = self.hosts.get(&id) else { return Ok(()) };
        let Some(process) = &host.process else { return Ok(()) };
        if self.swarm.kept.is_some() {
            self.checkers.keeps(&process.site, &host.disk)?;
        }
        self.checkers.looked(host.actor(), &process.site)
    }

    /// Segments of the WAL that a step gave up are needed by nobody.
    fn gave_up(&mut self, id: SiteId) -> Verdict {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| !host.disk.dropped.is_empty()) else {
            return Ok(());
        };
        let dropped = std::mem::take(&mut host.disk.dropped);
        let by = host.actor();
        let bounded = self.swarm.wal_bytes_max < u64::MAX;
        let Some(process) = &host.process else { return Ok(()) };
        dropped.iter().try_for_each(|file| self.checkers.gave_up(by, &process.site, file, bounded))
    }

    fn schedule_tick(&mut self, id: SiteId) {
        let now_us = self.now_us;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        let due_us = host.clock.true_us(process.site.next_tick_us()).max(now_us + 1);
        if process.tick_us.is_some_and(|known| known <= due_us && known > now_us) {
            return;
        }
        process.tick_us = Some(due_us);
        self.at(due_us - now_us, What::Tick(id, life));
    }
}

impl World {
    /// Whether all sites run and agree, and no client waits.
    pub(crate) fn agree(&self) -> Verdict {
        let all_run = self.hosts.values().all(|host| host.process.is_some() || host.is_buried);
        ensure(all_run, "I-16", || "not all sites run".into())?;
        for (site, host) in self.hosts.iter().filter(|(_, host)| host.process.is_some()) {
            let unseen = host.disk.decayed.iter().find(|(_, is_named)| !**is_named);
            ensure(unseen.is_none(), "I-06", || format!("site {site} does not see damage: {unseen:?}"))?;
        }
        for (site, host) in &self.hosts {
            let hurt = host.disk.scratched.first().filter(|_| host.process.is_some());
            ensure(hurt.is_none(), "I-06", || {
                format!("site {site} has not taken back what it lacks of {hurt:?}")
            })?;
        }
        let alone = self.data_hosts().filter(|(_, host)| !host.is_buried).count() == 1;
        for (number, client) in self.clients.iter().enumerate() {
            // A topic may ask for two sites that hold what is acknowledged.
            ensure(client.open.is_empty() || alone, "I-16", || {
                format!("client {number} waits: {:?}", client.open.front())
            })?;
        }
        if let Some(process) = self.witness().and_then(|it| self.hosts.get(&it)?.process.as_ref()) {
            self.checkers.witness_agrees(&process.site)?;
        }
        self.checkers.agree(&self.pairs())
    }

    /// How much has come over: bytes of the files that sites take over at the moment, and entries that they hold.
    pub(crate) fn come_over(&self) -> u64 {
        let running = self.hosts.values().filter_map(|host| host.process.as_ref());
        let copied = |site: &Site| site.copy_status().map_or(0, |copy| copy.bytes_done);
        running.map(|process| copied(&process.site) + process.site.frontier().values().sum::<u64>()).sum()
    }

    /// Unless the order waits for an operator, as decision 0015 says that it may, what was found holds.
    pub(crate) fn unless_nobody_writes(&mut self, found: Verdict) -> Verdict {
        self.waits_for_operator = self.checkers.nobody_writes(&self.pairs());
        if self.waits_for_operator { Ok(()) } else { found }
    }

    /// What is readable is read again: of a compacted log less is left by now.
    pub(crate) fn read_all_again(&mut self) -> Verdict {
        for host in self.hosts.values() {
            if let Some(process) = &host.process {
                self.checkers.read_again(host.actor(), &process.site, &host.disk)?;
            }
        }
        Ok(())
    }

    /// The sites with data that run, and their disks.
    fn pairs<'a>(&'a self) -> Vec<(&'a Site, &'a dyn Disk)> {
        let pair = |host: &'a Host| -> Option<(&'a Site, &'a dyn Disk)> {
            Some((&host.process.as_ref()?.site, &host.disk as &dyn Disk))
        };
        self.data_hosts().filter_map(|(_, host)| pair(host)).collect()
    }
}
