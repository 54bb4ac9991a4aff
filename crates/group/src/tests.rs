//! What members see, told as short stories with one coordinator and a clock that only the test moves.

use bytes::Bytes;

use crate::{
    CheckCommit, Claim, Client, Coordinator, Heartbeat, Join, Joined, Leave, Leaving, Output, Protocol,
    Refusal, Request, Response, Settings, StateName, Sync,
};

/// A coordinator with its clock, and the answers that nobody has looked at yet.
struct House {
    coordinator: Coordinator,
    now_ms: u64,
    ticket: u64,
    answers: Vec<(u64, Response)>,
}

fn join(member_id: &str) -> Join {
    Join {
        claim: Claim { group: "g".into(), member_id: member_id.into(), instance_id: None },
        client: Client { id: "app".into(), host: "127.0.0.1".into() },
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "m")],
        session_ms: 10_000,
        rebalance_ms: 60_000,
        ..Join::default()
    }
}

fn static_join(member_id: &str, instance: &str) -> Join {
    let mut join = join(member_id);
    join.claim.instance_id = Some(instance.into());
    join
}

fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::copy_from_slice(metadata.as_bytes()) }
}

fn claim(member_id: &str) -> Claim {
    Claim { group: "g".into(), member_id: member_id.into(), instance_id: None }
}

impl House {
    fn new() -> Self {
        Self::with(Settings::new(1, 7))
    }

    fn with(settings: Settings) -> Self {
        Self { coordinator: Coordinator::new(settings), now_ms: 1_000, ticket: 0, answers: Vec::new() }
    }

    fn keep(&mut self, out: Vec<Output>) {
        self.answers.extend(out.into_iter().filter_map(|output| match output {
            Output::Reply { ticket, response } => Some((ticket, response)),
            Output::Event(_) => None,
        }));
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.ticket += 1;
        let mut out = Vec::new();
        self.coordinator.handle(self.now_ms, self.ticket, request, &mut out);
        self.keep(out);
        self.ticket
    }

    /// Lets time pass, ticking at every deadline on the way.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while let Some(due_ms) = self.coordinator.next_deadline().filter(|due_ms| *due_ms <= until_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            let mut out = Vec::new();
            self.coordinator.tick(self.now_ms, &mut out);
            self.keep(out);
        }
        self.now_ms = until_ms;
    }

    fn answer(&mut self, ticket: u64) -> Option<Response> {
        let at = self.answers.iter().position(|(answered, _)| *answered == ticket)?;
        Some(self.answers.remove(at).1)
    }

    fn joined(&mut self, ticket: u64) -> Joined {
        match self.answer(ticket) {
            Some(Response::Join(Ok(joined))) => joined,
            other => panic!("expected a place in a generation, got {other:?}"),
        }
    }

    fn join_refused(&mut self, ticket: u64) -> Refusal {
        match self.answer(ticket) {
            Some(Response::Join(Err(refusal))) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn sync(&mut self, joined: &Joined, assignments: &[(&str, &'static str)]) -> u64 {
        let assignments =
            assignments.iter().map(|(id, part)| ((*id).to_owned(), Bytes::from_static(part.as_bytes())));
        self.ask(Request::Sync(Sync {
            claim: claim(&joined.member_id),
            generation: joined.generation,
            assignments: assignments.collect(),
            ..Sync::default()
        }))
    }

    fn synced(&mut self, ticket: u64) -> Result<Bytes, Refusal> {
        match self.answer(ticket) {
            Some(Response::Sync(result)) => result.map(|synced| synced.assignment),
            other => panic!("expected the answer to a sync, got {other:?}"),
        }
    }

    fn heartbeat(&mut self, joined: &Joined) -> Result<(), Refusal> {
        let (claim, generation) = (claim(&joined.member_id), joined.generation);
        let ticket = self.ask(Request::Heartbeat(Heartbeat { claim, generation }));
        match self.answer(ticket) {
            Some(Response::Heartbeat(result)) => result,
            other => panic!("expected the answer to a heartbeat, got {other:?}"),
        }
    }

    fn commit(&mut self, claim: Claim, generation: i32) -> Result<(), Refusal> {
        let ticket = self.ask(Request::CheckCommit(CheckCommit { claim, generation }));
        match self.answer(ticket) {
            Some(Response::CheckCommit(result)) => result,
            other => panic!("expected the answer to a commit, got {other:?}"),
        }
    }

    fn leave(&mut self, member_id: &str, instance: Option<&str>) -> Result<(), Refusal> {
        let leaving = Leaving { member_id: member_id.into(), instance_id: instance.map(str::to_owned) };
        let ticket = self.ask(Request::Leave(Leave { group: "g".into(), members: vec![leaving] }));
        match self.answer(ticket) {
            Some(Response::Leave(Ok(mut left))) => left.remove(0).result,
            other => panic!("expected the answer to a leave, got {other:?}"),
        }
    }

    fn state(&mut self) -> StateName {
        let ticket = self.ask(Request::Describe { group: "g".into() });
        match self.answer(ticket) {
            Some(Response::Describe(description)) => description.state,
            other => panic!("expected a description, got {other:?}"),
        }
    }

    /// Two members in a stable generation: leader first.
    fn pair(&mut self) -> (Joined, Joined) {
        let (a, b) = (self.ask(Request::Join(join(""))), self.ask(Request::Join(join(""))));
        self.pass(2_000);
        let (a, b) = (self.joined(a), self.joined(b));
        let at_b = self.sync(&b, &[]);
        assert!(self.answers.is_empty(), "the follower waits for the leader");
        let at_a = self.sync(&a, &[(&a.member_id, "left"), (&b.member_id, "right")]);
        assert_eq!(self.synced(at_a), Ok(Bytes::from("left")));
        assert_eq!(self.synced(at_b), Ok(Bytes::from("right")));
        assert_eq!(self.state(), StateName::Stable);
        (a, b)
    }
}

#[test]
fn the_first_joiners_gather_and_the_earliest_leads() {
    let mut house = House::new();
    let a = house.ask(Request::Join(join("")));
    house.pass(499);
    assert!(house.answers.is_empty(), "still gathering");
    let b = house.ask(Request::Join(join("")));
    house.pass(1);
    assert!(house.answers.is_empty(), "the newcomer has extended the wait");
    house.pass(500);
    let (a, b) = (house.joined(a), house.joined(b));
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((&a.leader, &b.leader), (&a.member_id, &a.member_id));
    assert_eq!(a.members.len(), 2);
    assert!(b.members.is_empty());
    assert_eq!(crate::minted_by(&a.member_id), Some((1, 7)));
}

#[test]
fn a_new_dynamic_member_is_told_its_id_first() {
    let mut house = House::new();
    let ticket = house.ask(Request::Join(Join { must_know_id: true, ..join("") }));
    let Refusal::MemberIdRequired { member_id } = house.join_refused(ticket) else { panic!("an id is due") };
    let ticket = house.ask(Request::Join(Join { must_know_id: true, ..join(&member_id) }));
    house.pass(500);
    assert_eq!(house.joined(ticket).member_id, member_id);
}

#[test]
fn a_promised_id_lapses_with_its_session_and_holds_nobody_up() {
    let mut house = House::new();
    let ticket = house.ask(Request::Join(Join { must_know_id: true, ..join("") }));
    let Refusal::MemberIdRequired { member_id } = house.join_refused(ticket) else { panic!("an id is due") };
    house.pass(10_000);
    assert_eq!(house.state(), StateName::Dead, "a group nobody ever joined is forgotten");
    let ticket = house.ask(Request::Join(join(&member_id)));
    assert_eq!(house.join_refused(ticket), Refusal::UnknownMember);
}

#[test]
fn strangers_are_told_to_join_anew() {
    let mut house = House::new();
    let stranger = Joined {
        generation: 3,
        member_id: "app-2.1-1.0000000000000000".into(),
        leader: String::new(),
        protocol_type: String::new(),
        protocol: String::new(),
        skips_assignment: false,
        members: Vec::new(),
    };
    for _ in 0..2 {
        assert_eq!(house.heartbeat(&stranger), Err(Refusal::UnknownMember));
        assert_eq!(house.commit(claim(&stranger.member_id), 3), Err(Refusal::UnknownMember));
        assert_eq!(house.leave(&stranger.member_id, None), Err(Refusal::UnknownMember));
        let ticket = house.sync(&stranger, &[]);
        assert_eq!(house.synced(ticket), Err(Refusal::UnknownMember));
        let ticket = house.ask(Request::Join(join(&stranger.member_id)));
        assert_eq!(house.join_refused(ticket), Refusal::UnknownMember);
        if house.state() == StateName::Dead {
            house.pair();
        }
    }
}

#[test]
fn a_third_member_sends_everyone_back_to_join() {
    let mut house = House::new();
    let (a, b) = house.pair();
    let c = house.ask(Request::Join(join("")));
    assert_eq!(house.heartbeat(&a), Err(Refusal::RebalanceInProgress));
    assert_eq!(house.commit(claim(&a.member_id), a.generation), Ok(()), "handing over is allowed");
    let again = [house.ask(Request::Join(join(&a.member_id))), house.ask(Request::Join(join(&b.member_id)))];
    let [a2, b2] = again.map(|ticket| house.joined(ticket));
    let c = house.joined(c);
    assert_eq!([a2.generation, b2.generation, c.generation], [2, 2, 2]);
    assert_eq!(a2.leader, a.leader, "the leader stays");
    assert_eq!(house.commit(claim(&a.member_id), 2), Err(Refusal::RebalanceInProgress));
    assert_eq!(house.commit(claim(&a.member_id), 1), Err(Refusal::IllegalGeneration { current: 2 }));
    assert_eq!(house.heartbeat(&a2), Ok(()), "between join and sync");
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut house = House::new();
    let (a, b) = house.pair();
    let mut newcomer = join("");
    newcomer.rebalance_ms = 5_000;
    let c = house.ask(Request::Join(newcomer));
    let a2 = house.ask(Request::Join(Join { rebalance_ms: 5_000, ..join(&a.member_id) }));
    house.pass(60_000);
    assert_eq!((house.joined(a2).generation, house.joined(c).generation), (2, 2));
    assert_eq!(house.heartbeat(&b), Err(Refusal::UnknownMember));
}

#[test]
fn a_silent_member_expires_and_the_rest_rebalances() {
    let mut house = House::new();
    let (a, b) = house.pair();
    house.pass(6_000);
    assert_eq!(house.heartbeat(&a), Ok(()));
    house.pass(6_000);
    assert_eq!(house.heartbeat(&a), Err(Refusal::RebalanceInProgress));
    assert_eq!(house.heartbeat(&b), Err(Refusal::UnknownMember));
    let a2 = house.ask(Request::Join(join(&a.member_id)));
    assert_eq!(house.joined(a2).generation, 2);
}

#[test]
fn a_leader_that_never_assigns_is_replaced() {
    let mut house = House::new();
    let (a, b) = (house.ask(Request::Join(join(""))), house.ask(Request::Join(join(""))));
    house.pass(1_000);
    let (a, b) = (house.joined(a), house.joined(b));
    let waiting = house.sync(&b, &[]);
    for _ in 0..20 {
        house.pass(4_000);
        let _ = house.heartbeat(&a);
    }
    assert_eq!(house.synced(waiting), Err(Refusal::RebalanceInProgress));
    assert_eq!(house.heartbeat(&a), Err(Refusal::UnknownMember));
}

#[test]
fn a_waiting_sync_is_sent_back_when_the_group_changes() {
    let mut house = House::new();
    let (a, b) = (house.ask(Request::Join(join(""))), house.ask(Request::Join(join(""))));
    house.pass(1_000);
    let (a, b) = (house.joined(a), house.joined(b));
    let waiting = house.sync(&b, &[]);
    assert_eq!(house.leave(&a.member_id, None), Ok(()));
    assert_eq!(house.synced(waiting), Err(Refusal::RebalanceInProgress));
    let b2 = house.ask(Request::Join(join(&b.member_id)));
    let b2 = house.joined(b2);
    assert_eq!(b2.leader, b.member_id);
}

#[test]
fn the_last_to_leave_empties_the_group_and_it_can_be_deleted() {
    let mut house = House::new();
    let (a, b) = house.pair();
    let delete = |house: &mut House| {
        let ticket = house.ask(Request::Delete { group: "g".into() });
        house.answer(ticket)
    };
    assert_eq!(delete(&mut house), Some(Response::Delete(Err(Refusal::NonEmpty))));
    assert_eq!(
        house.commit(claim(""), -1),
        Err(Refusal::UnknownMember),
        "an outsider may not disturb members"
    );
    assert_eq!((house.leave(&a.member_id, None), house.leave(&b.member_id, None)), (Ok(()), Ok(())));
    assert_eq!(house.state(), StateName::Empty);
    assert_eq!(house.commit(claim(""), -1), Ok(()));
    assert_eq!(delete(&mut house), Some(Response::Delete(Ok(()))));
    assert_eq!(delete(&mut house), Some(Response::Delete(Err(Refusal::UnknownGroup))));
    assert_eq!(house.commit(claim(""), -1), Ok(()), "a group nobody coordinates is empty");
    assert_eq!(house.coordinator.next_deadline(), None);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut house = House::new();
    let (a, b) =
        (house.ask(Request::Join(static_join("", "i1"))), house.ask(Request::Join(static_join("", "i2"))));
    house.pass(1_000);
    let (a, b) = (house.joined(a), house.joined(b));
    let (at_b, at_a) = (house.sync(&b, &[]), house.sync(&a, &[(&b.member_id, "right")]));
    assert_eq!((house.synced(at_b), house.synced(at_a)), (Ok(Bytes::from("right")), Ok(Bytes::new())));

    let b2 = house.ask(Request::Join(static_join("", "i2")));
    let b2 = house.joined(b2);
    assert_eq!((b2.generation, &b2.leader), (1, &a.member_id));
    assert_ne!(b2.member_id, b.member_id);
    let at_b = house.sync(&b2, &[]);
    assert_eq!(house.synced(at_b), Ok(Bytes::from("right")));
    let old = Claim { instance_id: Some("i2".into()), ..claim(&b.member_id) };
    assert_eq!(house.commit(old, 1), Err(Refusal::FencedInstance), "the former process is fenced");
    assert_eq!(house.leave(&b.member_id, Some("i2")), Err(Refusal::FencedInstance));
    let mut again = static_join(&b.member_id, "i2");
    again.reason = Some("ghost".into());
    let ghost = house.ask(Request::Join(again));
    assert_eq!(house.join_refused(ghost), Refusal::FencedInstance);
    assert_eq!(house.leave("", Some("i2")), Ok(()), "an operator names the instance alone");
}

#[test]
fn a_returning_static_leader_leaves_the_assignment_as_it_is() {
    let mut house = House::new();
    let a = house.ask(Request::Join(static_join("", "i1")));
    house.pass(1_000);
    let a = house.joined(a);
    let at_a = house.sync(&a, &[(&a.member_id, "all")]);
    assert_eq!(house.synced(at_a), Ok(Bytes::from("all")));

    let old = house.ask(Request::Join(static_join("", "i1")));
    let old = house.joined(old);
    assert_eq!((&old.leader, old.members.len()), (&a.member_id, 0), "it must not take itself for the leader");

    let new = house.ask(Request::Join(Join { can_skip_assignment: true, ..static_join("", "i1") }));
    let new = house.joined(new);
    assert!(new.skips_assignment);
    assert_eq!((&new.leader, new.members.len()), (&new.member_id, 1));
    let at_new = house.sync(&new, &[]);
    assert_eq!(house.synced(at_new), Ok(Bytes::from("all")));
}

#[test]
fn the_protocol_most_members_prefer_wins_and_strangers_to_it_are_refused() {
    let mut house = House::new();
    let offers =
        |names: &[&str]| Join { protocols: names.iter().map(|n| protocol(n, n)).collect(), ..join("") };
    let tickets = [
        house.ask(Request::Join(offers(&["range", "sticky"]))),
        house.ask(Request::Join(offers(&["sticky", "range"]))),
        house.ask(Request::Join(offers(&["own", "sticky", "range"]))),
    ];
    let refused = house.ask(Request::Join(offers(&["own"])));
    assert_eq!(house.join_refused(refused), Refusal::InconsistentProtocol);
    let refused = house.ask(Request::Join(Join { protocol_type: "connect".into(), ..offers(&["range"]) }));
    assert_eq!(house.join_refused(refused), Refusal::InconsistentProtocol);
    house.pass(2_000);
    let [a, _, _] = tickets.map(|ticket| house.joined(ticket));
    assert_eq!(a.protocol, "sticky");
    assert_eq!(a.members[0].metadata, Bytes::from("sticky"));
    let mut sync = Sync { claim: claim(&a.member_id), generation: 1, ..Sync::default() };
    sync.protocol = Some("range".into());
    let ticket = house.ask(Request::Sync(sync));
    assert_eq!(house.synced(ticket), Err(Refusal::InconsistentProtocol));
}

#[test]
fn a_follower_that_repeats_its_join_disturbs_nobody_but_the_leader_asks_for_a_rebalance() {
    let mut house = House::new();
    let (a, b) = house.pair();
    let again = house.ask(Request::Join(join(&b.member_id)));
    assert_eq!(house.joined(again).generation, 1);
    assert_eq!(house.state(), StateName::Stable);
    let again = house.ask(Request::Join(join(&a.member_id)));
    assert_eq!(house.state(), StateName::PreparingRebalance);
    let twice = house.ask(Request::Join(join(&a.member_id)));
    assert_eq!(
        house.join_refused(again),
        Refusal::RebalanceInProgress,
        "the older of two joins is answered too"
    );
    let b2 = house.ask(Request::Join(join(&b.member_id)));
    assert_eq!((house.joined(twice).generation, house.joined(b2).generation), (2, 2));
}

#[test]
fn those_who_wait_hear_that_coordination_has_moved() {
    let mut house = House::new();
    let (a, _) = house.pair();
    let waiting = house.ask(Request::Join(join(&a.member_id)));
    let mut out = Vec::new();
    house.coordinator.stop_coordinating("g", &mut out);
    house.keep(out);
    assert_eq!(house.join_refused(waiting), Refusal::NotCoordinator);
    assert_eq!(house.coordinator.groups().count(), 0);
    assert_eq!(house.coordinator.next_deadline(), None);
}

#[test]
fn limits_refuse_what_is_too_much() {
    let mut settings = Settings::new(1, 0);
    settings.limits.groups = 1;
    settings.limits.members = 1;
    settings.limits.join_bytes = 10;
    settings.limits.total_bytes = 30;
    let mut house = House::with(settings);
    let refused = |house: &mut House, join: Join| {
        let ticket = house.ask(Request::Join(join));
        house.join_refused(ticket)
    };
    let mut long = join("");
    long.protocols[0].metadata = Bytes::from_static(&[0; 11]);
    assert!(matches!(refused(&mut house, long), Refusal::TooLarge { given: 16, max: 10, .. }));
    let short = Join { session_ms: 999, ..join("") };
    assert!(matches!(refused(&mut house, short), Refusal::InvalidSession { min_ms: 1_000, .. }));
    let mut nameless = join("");
    nameless.claim.group.clear();
    assert!(matches!(refused(&mut house, nameless), Refusal::InvalidGroupId { .. }));
    let fits = house.ask(Request::Join(join("")));
    house.pass(500);
    let member = house.joined(fits);
    assert_eq!(refused(&mut house, join("")), Refusal::GroupFull { max: 1 });
    let mut other = join("");
    other.claim.group = "h".into();
    assert_eq!(refused(&mut house, other.clone()), Refusal::OutOfRoom);
    assert_eq!(house.leave(&member.member_id, None), Ok(()));
    let ticket = house.ask(Request::Join(other));
    house.pass(500);
    assert_eq!(house.joined(ticket).generation, 1, "an empty group gives way");
}

#[test]
fn an_empty_group_is_forgotten_after_a_while() {
    let mut house = House::new();
    let (a, b) = house.pair();
    assert_eq!((house.leave(&a.member_id, None), house.leave(&b.member_id, None)), (Ok(()), Ok(())));
    house.pass(599_999);
    assert_eq!(house.state(), StateName::Empty);
    house.pass(1);
    assert_eq!(house.state(), StateName::Dead);
}
