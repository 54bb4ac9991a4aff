//! One group: its phase, its members, and the two barriers every generation passes.
//!
//! ```text
//! Empty ──join──> Preparing ──all joined, or time is up──> AwaitingSync ──leader syncs──> Stable
//!   ^                 │  ^                                      │                            │
//!   └───nobody left───┘  └──────── a member comes, changes or goes ─────────────────────────┘
//! ```
//! Invariants, asserted: a member waits for a join only while preparing and for a sync only while awaiting one; members of a
//! formed generation share a protocol.

use std::collections::BTreeMap;

use crate::output::{Event, Output, Removal};
use crate::response::{Description, MemberDescription, MemberMetadata, StateName, metadata_for};
use crate::{Claim, Joined, Protocol, Refusal, Response, Settings};

use crate::member::Member;

/// What every step is given: the time, the settings, and where outputs go.
pub(crate) struct Turn<'a> {
    pub(crate) now_ms: u64,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    pub(crate) fn reply(&mut self, ticket: u64, response: Response) {
        self.out.push(Output::Reply { ticket, response });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }
}

#[derive(Debug)]
pub(crate) enum Phase {
    Empty { since_ms: u64 },
    Preparing(Barrier),
    AwaitingSync,
    Stable,
}

/// The barrier that joins wait at.
#[derive(Debug)]
pub(crate) struct Barrier {
    pub(crate) closes_ms: u64,
    /// Only when the group was empty: wait a little for others, longer when they do come.
    pub(crate) gathering: Option<Gathering>,
}

#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) ends_ms_max: u64,
    pub(crate) newcomer: bool,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) members: BTreeMap<String, Member>,
    /// Instance id to member id.
    pub(crate) instances: BTreeMap<String, String>,
    /// Ids handed out for a join that has not come yet, and until when they are good.
    pub(crate) promised: BTreeMap<String, u64>,
    /// Members that have not synced by then are removed.
    pub(crate) sync_closes_ms: Option<u64>,
}

impl Group {
    pub(crate) fn new(name: &str, now_ms: u64) -> Self {
        Self {
            name: name.to_owned(),
            phase: Phase::Empty { since_ms: now_ms },
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised: BTreeMap::new(),
            sync_closes_ms: None,
        }
    }

    /// Is this a member, and the one that holds its instance id?
    pub(crate) fn check_member(&self, claim: &Claim) -> Result<(), Refusal> {
        if let Some(instance) = &claim.instance_id {
            match self.instances.get(instance) {
                None => return Err(Refusal::UnknownMember),
                Some(holder) if *holder != claim.member_id => return Err(Refusal::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(&claim.member_id) { Ok(()) } else { Err(Refusal::UnknownMember) }
    }

    pub(crate) fn check_generation(&self, generation: i32) -> Result<(), Refusal> {
        if generation == self.generation {
            Ok(())
        } else {
            Err(Refusal::IllegalGeneration { current: self.generation })
        }
    }

    /// The longest any member asked the others to wait for it.
    pub(crate) fn rebalance_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_ms).max().unwrap_or(0)
    }

    /// Sends everybody back to the join barrier, unless they are there already.
    pub(crate) fn start_rebalance(&mut self, turn: &mut Turn<'_>, reason: String) {
        let wait_ms = self.rebalance_ms();
        let gathering_ms = u64::from(turn.settings.initial_rebalance_delay_ms);
        let barrier = match self.phase {
            Phase::Preparing(_) => return,
            Phase::Empty { .. } if gathering_ms > 0 => Barrier {
                closes_ms: turn.now_ms.saturating_add(gathering_ms),
                gathering: Some(Gathering {
                    ends_ms_max: turn.now_ms.saturating_add(wait_ms.max(gathering_ms)),
                    newcomer: false,
                }),
            },
            _ => Barrier { closes_ms: turn.now_ms.saturating_add(wait_ms), gathering: None },
        };
        self.refuse_syncs(turn, &Refusal::RebalanceInProgress);
        self.sync_closes_ms = None;
        self.phase = Phase::Preparing(barrier);
        turn.event(Event::RebalanceStarted { group: self.name.clone(), generation: self.generation, reason });
    }

    /// Answers all waiting syncs with a refusal.
    pub(crate) fn refuse_syncs(&mut self, turn: &mut Turn<'_>, refusal: &Refusal) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.touch(turn.now_ms);
                turn.reply(ticket, Response::Sync(Err(refusal.clone())));
            }
        }
    }

    /// Forms the next generation if nobody is missing.
    pub(crate) fn close_if_complete(&mut self, turn: &mut Turn<'_>) {
        let Phase::Preparing(barrier) = &self.phase else { return };
        let gathers = barrier.gathering.is_some() && !self.members.is_empty();
        let all_joined = self.members.values().all(|member| member.joining.is_some());
        if all_joined && self.promised.is_empty() && !gathers {
            self.close_barrier(turn);
        }
    }

    /// Forms the next generation of those who have joined.
    pub(crate) fn close_barrier(&mut self, turn: &mut Turn<'_>) {
        let late = self.members.iter().filter(|(_, m)| m.joining.is_none() && m.instance_id.is_none());
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.remove(turn, &id, Removal::MissedJoin);
        }
        if self.members.is_empty() {
            self.become_empty(turn);
        } else if self.elect() {
            self.form_generation(turn);
        } else {
            // Only static members are left and none is back: wait on until one is, or their sessions end.
            let closes_ms = turn.now_ms.saturating_add(self.rebalance_ms().max(1));
            self.phase = Phase::Preparing(Barrier { closes_ms, gathering: None });
        }
    }

    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.generation = following(self.generation);
        self.phase = Phase::Empty { since_ms: turn.now_ms };
        self.protocol_type.clear();
        self.protocol.clear();
        self.leader.clear();
        turn.event(Event::Empty { group: self.name.clone(), generation: self.generation });
    }

    /// The leader stays if it has joined; else the earliest member that has. False if none has.
    fn elect(&mut self) -> bool {
        if self.members.get(&self.leader).is_some_and(|leader| leader.joining.is_some()) {
            return true;
        }
        let joined = self.members.iter().filter(|(_, member)| member.joining.is_some());
        let Some((first, _)) = joined.min_by_key(|(_, member)| member.ordinal) else { return false };
        self.leader = first.clone();
        true
    }

    fn form_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = following(self.generation);
        self.protocol = self.elect_protocol();
        self.phase = Phase::AwaitingSync;
        self.sync_closes_ms = Some(turn.now_ms.saturating_add(self.rebalance_ms()));
        turn.event(Event::Generation {
            group: self.name.clone(),
            generation: self.generation,
            leader: self.leader.clone(),
            protocol: self.protocol.clone(),
            members: self.members.len(),
        });
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.admit(turn.now_ms);
            if let Some(ticket) = member.joining.take() {
                turn.reply(ticket, Response::Join(Ok(joined)));
            }
        }
    }

    /// Each member votes for the first of its protocols that all offer; the leader's order breaks a tie.
    pub(crate) fn elect_protocol(&self) -> String {
        let common = |name: &str| self.members.values().all(|member| member.offers(name));
        let vote =
            |member: &Member| member.protocols.iter().find(|p| common(&p.name)).map(|p| p.name.clone());
        let votes: Vec<String> = self.members.values().filter_map(vote).collect();
        let leader = &self.members[&self.leader];
        let candidates = leader.protocols.iter().rev().filter(|protocol| common(&protocol.name));
        let winner = candidates.max_by_key(|protocol| votes.iter().filter(|v| **v == protocol.name).count());
        let winner = winner.map(|protocol| protocol.name.clone());
        assert!(winner.is_some(), "members were admitted to {} although they share no protocol", self.name);
        winner.unwrap_or_default()
    }

    /// Would these protocols leave the group with one that all share? `except` is the member they replace.
    pub(crate) fn agrees(&self, protocol_type: &str, protocols: &[Protocol], except: Option<&str>) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| Some(id.as_str()) != except).peekable();
        if others.peek().is_none() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let others: Vec<&Member> = others.map(|(_, member)| member).collect();
        self.protocol_type == protocol_type
            && protocols.iter().any(|protocol| others.iter().all(|member| member.offers(&protocol.name)))
    }

    /// A member's place in the running generation; the leader also learns who else is in it.
    pub(crate) fn joined(&self, member_id: &str) -> Joined {
        let leads = self.leader == member_id;
        let listing = |(id, member): (&String, &Member)| MemberMetadata {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: metadata_for(&member.protocols, &self.protocol),
        };
        Joined {
            generation: self.generation,
            member_id: member_id.to_owned(),
            leader: self.leader.clone(),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            skips_assignment: false,
            members: self.members.iter().filter(|_| leads).map(listing).collect(),
        }
    }

    /// Takes a member out, answering what it waits for. The caller then settles the phase.
    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, member_id: &str, why: Removal) {
        let Some(member) = self.members.remove(member_id) else { return };
        let refusal = if why == Removal::Replaced { Refusal::FencedInstance } else { Refusal::UnknownMember };
        refuse_waiting(turn, &member, &refusal);
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance).is_some_and(|holder| holder == member_id)
        {
            self.instances.remove(instance);
        }
        turn.event(Event::MemberRemoved { group: self.name.clone(), member_id: member_id.to_owned(), why });
    }

    /// After members or promised ids have gone: rebalance, or let the barrier close without them.
    pub(crate) fn settle_removal(&mut self, turn: &mut Turn<'_>, removed: usize, reason: &str) {
        if removed > 0 && matches!(self.phase, Phase::AwaitingSync | Phase::Stable) {
            self.start_rebalance(turn, reason.to_owned());
        }
        self.close_if_complete(turn);
    }

    /// Answers everyone who waits, because the group is coordinated elsewhere from now on.
    pub(crate) fn dissolve(self, turn: &mut Turn<'_>) {
        for member in self.members.values() {
            refuse_waiting(turn, member, &Refusal::NotCoordinator);
        }
    }

    pub(crate) fn state(&self) -> StateName {
        match self.phase {
            Phase::Empty { .. } => StateName::Empty,
            Phase::Preparing(_) => StateName::PreparingRebalance,
            Phase::AwaitingSync => StateName::CompletingRebalance,
            Phase::Stable => StateName::Stable,
        }
    }

    pub(crate) fn describe(&self) -> Description {
        let formed = matches!(self.phase, Phase::AwaitingSync | Phase::Stable);
        let protocol = if formed { self.protocol.as_str() } else { "" };
        let stable = matches!(self.phase, Phase::Stable);
        let members = self.members.iter().map(|(id, member)| MemberDescription {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client: member.client.clone(),
            metadata: metadata_for(&member.protocols, protocol),
            assignment: if stable { member.assignment.clone() } else { bytes::Bytes::new() },
        });
        Description {
            group: self.name.clone(),
            state: self.state(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: protocol.to_owned(),
            members: members.collect(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }
}

fn refuse_waiting(turn: &mut Turn<'_>, member: &Member, refusal: &Refusal) {
    if let Some(ticket) = member.joining {
        turn.reply(ticket, Response::Join(Err(refusal.clone())));
    }
    if let Some(ticket) = member.syncing {
        turn.reply(ticket, Response::Sync(Err(refusal.clone())));
    }
}

/// Generations count from 1 and start over rather than turn negative, which would mean "no generation".
fn following(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
