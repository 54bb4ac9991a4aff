//! Random schedules: members that come, go, stall and are cut off in any order, against the rules that must hold throughout.
//!
//! - Every ticket is answered exactly once.
//! - Within a generation there is one leader, and every member gets from it what the leader gave this member.
//! - No two members may commit for the same part at the same time: a part is owned by who was given it in the running generation.
//! - No group gets stuck: once members behave, time brings it to a stable generation with all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::{
    CheckCommit, Claim, Client, Coordinator, Heartbeat, Join, Leave, Leaving, Output, Protocol, Refusal,
    Request, Response, Settings, Sync,
};

const GROUP: &str = "g";
const PEOPLE: usize = 5;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A person does what a client would do next.
    Act(usize),
    /// A person hears nothing of its last answer and starts from scratch, its membership forgotten.
    Restart(usize),
    /// A person repeats its last join, as after a lost connection.
    Repeat(usize),
    /// A person leaves in good order.
    Leave(usize),
    /// A person changes what it offers and joins again.
    Change(usize),
    /// Time passes.
    Pass(u64),
    /// Coordination moves away.
    Move,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PEOPLE;
    let step = prop_oneof![
        12 => who.clone().prop_map(Step::Act),
        1 => who.clone().prop_map(Step::Restart),
        1 => who.clone().prop_map(Step::Repeat),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.prop_map(Step::Change),
        6 => (1_u64..4_000).prop_map(Step::Pass),
        1 => (4_000_u64..40_000).prop_map(Step::Pass),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..160)
}

/// A client as simple as one can be.
#[derive(Debug, Default, Clone)]
struct Person {
    instance_id: Option<String>,
    must_know_id: bool,
    flavour: u8,
    member_id: String,
    /// The generation it was told, and the members it is to assign if it leads.
    generation: Option<(i32, Vec<String>)>,
    /// It holds an assignment of that generation.
    holds: Option<Bytes>,
    /// The ticket it waits for.
    waits: Option<u64>,
}

struct World {
    coordinator: Coordinator,
    now_ms: u64,
    ticket: u64,
    people: Vec<Person>,
    open: BTreeSet<u64>,
    /// What each leader handed out, by generation and member. Starts over when coordination moves.
    given: BTreeMap<(i32, String), Bytes>,
    leaders: BTreeMap<i32, String>,
}

impl World {
    fn new(kinds: &[u8]) -> Self {
        let person = |(at, kind): (usize, &u8)| Person {
            instance_id: (kind % 3 == 0).then(|| format!("instance-{at}")),
            must_know_id: kind % 2 == 0,
            ..Person::default()
        };
        Self {
            coordinator: Coordinator::new(Settings::new(1, 0)),
            now_ms: 0,
            ticket: 0,
            people: kinds.iter().enumerate().map(person).collect(),
            open: BTreeSet::new(),
            given: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Act(who) => self.act(who),
            Step::Restart(who) => self.people[who].forget(),
            Step::Repeat(who) => self.join(who),
            Step::Leave(who) => self.leave(who),
            Step::Change(who) => {
                self.people[who].flavour = self.people[who].flavour.wrapping_add(1);
                self.join(who);
            }
            Step::Pass(ms) => self.pass(ms),
            Step::Move => self.move_away(),
        }
        self.check_exclusive();
    }

    fn act(&mut self, who: usize) {
        let person = self.people[who].clone();
        if person.waits.is_some() {
            return;
        }
        let claim = person.claim();
        match (person.generation, person.holds) {
            (None, _) => self.join(who),
            (Some((generation, members)), None) => {
                // Parts are the same in every generation, as partitions are: that is what must not be owned twice.
                let part = |(at, id): (usize, &String)| (id.clone(), Bytes::from(vec![at as u8]));
                let assignments: Vec<(String, Bytes)> = members.iter().enumerate().map(part).collect();
                for (id, part) in &assignments {
                    self.given.insert((generation, id.clone()), part.clone());
                }
                self.ask(who, Request::Sync(Sync { claim, generation, assignments, ..Sync::default() }));
            }
            (Some((generation, _)), Some(_)) => {
                self.ask(who, Request::Heartbeat(Heartbeat { claim, generation }));
            }
        }
    }

    fn join(&mut self, who: usize) {
        let person = &self.people[who];
        let flavours = ["range", "sticky"]
            .map(|name| Protocol { name: name.into(), metadata: Bytes::copy_from_slice(&[person.flavour]) });
        let join = Join {
            claim: person.claim(),
            client: Client { id: format!("person-{who}"), host: String::new() },
            protocol_type: "consumer".into(),
            protocols: flavours.into(),
            session_ms: 10_000,
            rebalance_ms: 5_000,
            must_know_id: person.must_know_id,
            can_skip_assignment: person.must_know_id,
            ..Join::default()
        };
        self.ask(who, Request::Join(join));
    }

    fn leave(&mut self, who: usize) {
        let Claim { group, member_id, instance_id } = self.people[who].claim();
        self.people[who].forget();
        self.ask(who, Request::Leave(Leave { group, members: vec![Leaving { member_id, instance_id }] }));
    }

    fn move_away(&mut self) {
        let mut out = Vec::new();
        self.coordinator.stop_coordinating(GROUP, &mut out);
        self.given.clear();
        self.leaders.clear();
        self.people.iter_mut().for_each(|person| person.holds = None);
        self.hear(out);
        assert!(self.open.is_empty(), "a ticket outlived its group: {:?}", self.open);
    }

    fn ask(&mut self, who: usize, request: Request) {
        self.ticket += 1;
        self.open.insert(self.ticket);
        self.people[who].waits = Some(self.ticket);
        let mut out = Vec::new();
        self.coordinator.handle(self.now_ms, self.ticket, request, &mut out);
        self.hear(out);
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while let Some(due_ms) = self.coordinator.next_deadline().filter(|due_ms| *due_ms <= until_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            let mut out = Vec::new();
            self.coordinator.tick(self.now_ms, &mut out);
            self.hear(out);
        }
        self.now_ms = until_ms;
        if self.coordinator.groups().next().is_none() {
            self.given.clear();
            self.leaders.clear();
        }
    }

    fn hear(&mut self, out: Vec<Output>) {
        for output in out {
            let Output::Reply { ticket, response } = output else { continue };
            assert!(self.open.remove(&ticket), "ticket {ticket} was answered twice or never asked");
            if let Some(who) = self.people.iter().position(|person| person.waits == Some(ticket)) {
                self.people[who].waits = None;
                self.learn(who, response);
            }
        }
    }

    fn learn(&mut self, who: usize, response: Response) {
        let refusal = match response {
            Response::Join(Ok(joined)) => {
                if joined.leader == joined.member_id {
                    let earlier = self.leaders.insert(joined.generation, joined.member_id.clone());
                    let is_new = earlier.is_none_or(|id| id == joined.member_id || joined.skips_assignment);
                    assert!(is_new, "two leaders in generation {}", joined.generation);
                }
                let person = &mut self.people[who];
                let members = joined.members.into_iter().filter(|_| !joined.skips_assignment);
                person.generation =
                    Some((joined.generation, members.map(|member| member.member_id).collect()));
                person.member_id = joined.member_id;
                person.holds = None;
                return;
            }
            Response::Sync(Ok(synced)) => {
                let (generation, _) = self.people[who].generation.clone().expect("it synced a generation");
                if self.people[who].instance_id.is_none() {
                    let key = (generation, self.people[who].member_id.clone());
                    let given = self.given.get(&key).cloned().unwrap_or_default();
                    assert_eq!(synced.assignment, given, "not what the leader gave {key:?}");
                }
                self.people[who].holds = Some(synced.assignment);
                return;
            }
            Response::Heartbeat(Ok(())) | Response::Leave(_) => return,
            Response::Join(Err(refusal))
            | Response::Sync(Err(refusal))
            | Response::Heartbeat(Err(refusal)) => refusal,
            other => panic!("nobody asked for {other:?}"),
        };
        self.obey(who, refusal);
    }

    fn obey(&mut self, who: usize, refusal: Refusal) {
        let person = &mut self.people[who];
        person.generation = None;
        person.holds = None;
        match refusal {
            Refusal::MemberIdRequired { member_id } => person.member_id = member_id,
            Refusal::RebalanceInProgress | Refusal::IllegalGeneration { .. } => {}
            Refusal::UnknownMember | Refusal::NotCoordinator | Refusal::FencedInstance => person.forget(),
            other => panic!("an honest member was told: {other}"),
        }
    }

    /// Asks for each holder whether it may commit; the parts of those who may are all different.
    fn check_exclusive(&mut self) {
        let mut owned = BTreeSet::new();
        for who in 0..self.people.len() {
            let person = self.people[who].clone();
            let (Some((generation, _)), Some(part)) = (person.generation.clone(), person.holds.clone())
            else {
                continue;
            };
            let mut out = Vec::new();
            let commit = CheckCommit { claim: person.claim(), generation };
            self.coordinator.handle(self.now_ms, u64::MAX, Request::CheckCommit(commit), &mut out);
            let [Output::Reply { response: Response::CheckCommit(result), .. }] = &out[..] else {
                panic!("expected one answer, got {out:?}");
            };
            if result.is_ok() && !part.is_empty() {
                assert!(owned.insert(part.clone()), "two members may commit for {part:?}");
            }
        }
    }

    /// From here on everybody behaves. All must end up in one stable generation, each with its part.
    fn calm_down(&mut self) {
        for _ in 0..200 {
            for who in 0..self.people.len() {
                self.act(who);
            }
            self.pass(1_000);
        }
        let generations: BTreeSet<_> =
            self.people.iter().map(|p| p.generation.as_ref().map(|(g, _)| *g)).collect();
        assert_eq!(generations.len(), 1, "not in one generation: {:?}", self.people);
        assert!(self.people.iter().all(|person| person.holds.is_some()), "without a part: {:?}", self.people);
        self.move_away();
        assert_eq!(self.coordinator.next_deadline(), None);
    }
}

impl Person {
    fn claim(&self) -> Claim {
        Claim {
            group: GROUP.into(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
        }
    }

    fn forget(&mut self) {
        self.member_id.clear();
        self.generation = None;
        self.holds = None;
        self.waits = None;
    }
}

proptest! {
    #[test]
    fn any_schedule_keeps_the_rules_and_ends_in_one_generation(
        kinds in proptest::collection::vec(any::<u8>(), PEOPLE),
        steps in steps(),
    ) {
        let mut world = World::new(&kinds);
        for step in &steps {
            world.step(step);
        }
        world.calm_down();
    }
}
