//! A site that is its whole cluster: it makes the state that a checkpoint holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::Now;
use disk::{FileName, MemoryDisk};
use entry::{ClusterId, SiteId, StorageId, TopicId};
use journal::checkpoint::Draft;
use site::wire::PROTOCOL;
use site::{
    Acknowledge, Action, Answer, Append, Claim, Commit, Entropy, Event, Fresh, Limits, Member, NotBelieved,
    Notary, Request, Signed, Site, SiteConfig, Ticket,
};
use uuid::Uuid;

const SITE: SiteId = SiteId(1);

/// Signs with nothing, and believes everything.
#[derive(Debug)]
struct Credulous;

impl Notary for Credulous {
    fn sign(&self, _: &[u8]) -> Signed {
        Signed {
            certificate: Bytes::from_static(b"a certificate"),
            signature: Bytes::from_static(b"a signature"),
        }
    }

    fn check(&self, _: Claim<'_>) -> Result<(), NotBelieved> {
        Ok(())
    }
}

struct Sole {
    site: Site,
    disk: MemoryDisk,
    now_us: u64,
    topic: Option<TopicId>,
    /// The latest checkpoint's state.
    state: Bytes,
}

/// The state of a site with a topic, some records in it, and a group that has read some of them.
pub(crate) fn state(batch: &Bytes) -> Bytes {
    let mut sole = Sole::founded();
    let settings = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    sole.ask(Request::CreateTopic { name: "orders".into(), partitions: 2, settings });
    let topic = sole.topic.expect("the name is free");
    for partition in [0, 1, 0] {
        let (records, acknowledge) = (batch.clone(), Acknowledge::All);
        sole.ask(Request::Append(Append { topic, partition, records, acknowledge, patience_ms: 1000 }));
    }
    sole.ask(Request::Commit(Commit { group: "g".into(), positions: vec![(topic, 0, 2, "m".into())] }));
    sole.ask(Request::CreateTopic { name: "more".into(), partitions: 1, settings: BTreeMap::new() });
    sole.state
}

fn config() -> SiteConfig {
    SiteConfig {
        cluster: ClusterId(Uuid::from_u128(0x51)),
        own: SITE,
        members: vec![Member { site: SITE, name: "eu-west".to_owned() }],
        witness: None,
        homes: BTreeMap::from([("eu-west".to_owned(), 9092)]),
        protocol: PROTOCOL,
        clock_bound_ms: 500,
        start_wait_ms: 1000,
        alive_ms: 1000,
        fence_timeout_ms: 0,
        limits: Limits { checkpoint_bytes: 1, wal_segment_bytes: 1 << 16, ..Limits::default() },
    }
}

impl Sole {
    fn founded() -> Sole {
        let mut disk = MemoryDisk::new();
        let fresh = Fresh { storage: StorageId(5), wal_nonce: 0x5eed };
        Site::bootstrap(&config(), fresh, &mut disk).expect("an empty disk takes a site");
        let (entropy, notary) = (Entropy { actor: [4; 16] }, Arc::new(Credulous));
        let opened = Site::open(config(), entropy, notary, now(0), &mut disk);
        let (site, _) = opened.expect("what was just founded opens");
        let mut sole = Sole { site, disk, now_us: 0, topic: None, state: Bytes::new() };
        sole.run();
        sole
    }

    /// Asks, and gives it time.
    fn ask(&mut self, request: Request) {
        self.take(Event::Request { ticket: Ticket(0), request });
        self.run();
    }

    fn run(&mut self) {
        (0..200).for_each(|_| self.take(Event::Tick));
    }

    fn take(&mut self, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            self.now_us += 10_000;
            let mut actions = Vec::new();
            self.site.handle(now(self.now_us), events, &mut self.disk, &mut actions);
            events = actions.into_iter().filter_map(|action| self.carry_out(action)).collect();
        }
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Write(write) => {
                write.carry_out(&mut self.disk).expect("memory takes everything");
                Some(Event::Written { id: write.id })
            }
            Action::Prepare(op) => {
                op.carry_out(&mut self.disk).expect("memory takes everything");
                Some(Event::Prepared { done: true })
            }
            Action::Checkpoint { id, position, state, .. } => {
                let folder = FileName::root().join("checkpoint");
                let draft = Draft::write(&mut self.disk, &folder, position, &state);
                let written = draft.and_then(|draft| draft.commit(&mut self.disk));
                self.state = state;
                Some(Event::Checkpointed { id, drop_before: written.ok() })
            }
            Action::Reply { answer: Ok(Answer::Topic(topic)), .. } => {
                self.topic = Some(topic);
                None
            }
            _ => None,
        }
    }
}

fn now(mono_us: u64) -> Now {
    Now { mono_us, wall_ms: 1_790_000_000_000 + mono_us / 1000 }
}
