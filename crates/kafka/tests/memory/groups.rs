//! Groups good enough for one test at a time: rounds are short, members never expire.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka::broker::{
    Commit, Committed, GroupDescription, GroupListing, GroupMember, GroupRefusal, GroupState, GroupWanted,
    Heartbeat, Join, JoinRefusal, Joined, JoinedMember, LeavingMember, SyncGroup, Synced,
};
use uuid::Uuid;

use crate::memory::ELSEWHERE;

#[derive(Default)]
pub(crate) struct Groups {
    all: BTreeMap<String, Group>,
    ids: u32,
}

#[derive(Clone, Default)]
struct Group {
    generation: i32,
    joining: bool,
    members: BTreeMap<String, Member>,
    protocol: String,
    protocol_type: String,
    assigned: bool,
    progress: BTreeMap<(Uuid, u32), Committed>,
}

#[derive(Clone)]
struct Member {
    join: Join,
    /// Has joined the round that is open, or was in the last.
    present: bool,
    assignment: Bytes,
}

impl Groups {
    /// So many more groups like this one, which share its members' bytes: `name-0`, `name-1`, …
    pub(crate) fn copy(&mut self, name: &str, count: usize) {
        let copies = (0..count).map(|number| (format!("{name}-{number}"), self.all[name].clone()));
        self.all.extend(copies.collect::<Vec<_>>());
    }

    pub(crate) fn join(&mut self, join: &Join) -> Result<String, JoinRefusal> {
        let mut member = join.member.clone();
        if member.is_empty() {
            self.ids += 1;
            member = format!("{}-{}", join.client_id, self.ids);
            if join.knows_id_round && join.instance.is_none() {
                return Err(JoinRefusal { why: GroupRefusal::MemberIdRequired, member });
            }
        }
        let group = self.all.entry(join.group.clone()).or_default();
        group.joining = true;
        group.assigned = false;
        group.protocol_type.clone_from(&join.protocol_type);
        let entry = Member { join: join.clone(), present: true, assignment: Bytes::new() };
        group.members.insert(member.clone(), entry);
        Ok(member)
    }

    /// Ends a round once everyone who was in has come again (or was not waited for).
    pub(crate) fn close_round(&mut self, group: &str) {
        let Some(group) = self.all.get_mut(group) else { return };
        if group.joining && group.members.values().all(|member| member.present) {
            group.joining = false;
            group.generation += 1;
            let mut members = group.members.values();
            let first = members.next().map(|member| member.join.protocols.clone()).unwrap_or_default();
            let shared = |name: &String| {
                group.members.values().all(|member| member.join.protocols.iter().any(|p| p.name == *name))
            };
            group.protocol = first.into_iter().map(|p| p.name).find(shared).unwrap_or_default();
            for member in group.members.values_mut() {
                member.present = false;
            }
        }
    }

    pub(crate) fn joined(&self, group: &str, member: &str) -> Option<Result<Joined, GroupRefusal>> {
        let group = &self.all[group];
        if !group.members.contains_key(member) {
            return Some(Err(GroupRefusal::UnknownMember));
        }
        if group.joining {
            return None;
        }
        let leader = group.members.keys().next().cloned().unwrap_or_default();
        let members = if leader == member { group.roll() } else { Vec::new() };
        Some(Ok(Joined {
            generation: group.generation,
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            leader,
            member: member.into(),
            members,
            skip_assignment: false,
        }))
    }

    fn member(&mut self, group: &str, member: &str, generation: i32) -> Result<&mut Group, GroupRefusal> {
        let group = self.all.get_mut(group).ok_or(GroupRefusal::UnknownMember)?;
        if !group.members.contains_key(member) {
            return Err(GroupRefusal::UnknownMember);
        }
        if generation != group.generation {
            return Err(GroupRefusal::OldGeneration);
        }
        Ok(group)
    }

    pub(crate) fn assign(&mut self, sync: &SyncGroup) -> Result<(), GroupRefusal> {
        let group = self.member(&sync.group, &sync.member, sync.generation)?;
        let leads = group.members.keys().next() == Some(&sync.member);
        if leads && !group.joining {
            for (member, assignment) in &sync.assignments {
                if let Some(member) = group.members.get_mut(member) {
                    member.assignment = assignment.clone();
                }
            }
            group.assigned = true;
        }
        Ok(())
    }

    pub(crate) fn synced(&mut self, sync: &SyncGroup) -> Option<Result<Synced, GroupRefusal>> {
        let group = match self.member(&sync.group, &sync.member, sync.generation) {
            Ok(group) => group,
            Err(refusal) => return Some(Err(refusal)),
        };
        if group.joining {
            return Some(Err(GroupRefusal::Rebalancing));
        }
        let assignment = group.members[&sync.member].assignment.clone();
        let (protocol_type, protocol) = (group.protocol_type.clone(), group.protocol.clone());
        group.assigned.then_some(Ok(Synced { protocol_type, protocol, assignment }))
    }

    pub(crate) fn heartbeat(&mut self, beat: &Heartbeat) -> Result<(), GroupRefusal> {
        let group = self.member(&beat.group, &beat.member, beat.generation)?;
        if group.joining { Err(GroupRefusal::Rebalancing) } else { Ok(()) }
    }

    pub(crate) fn leave(&mut self, group: &str, who: &LeavingMember) -> Result<(), GroupRefusal> {
        let group = self.all.get_mut(group).ok_or(GroupRefusal::UnknownMember)?;
        group.members.remove(&who.member).ok_or(GroupRefusal::UnknownMember)?;
        group.joining = !group.members.is_empty();
        Ok(())
    }

    pub(crate) fn commit(&mut self, commit: Commit) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        let group = match commit.generation {
            -1 => self.all.entry(commit.group).or_default(),
            generation => self.member(&commit.group, &commit.member, generation)?,
        };
        let one = |partition: kafka::broker::CommitPartition| {
            let kafka::broker::CommitPartition { topic, partition, offset, leader_epoch, metadata } =
                partition;
            let committed = Committed { topic, partition, offset, leader_epoch, metadata };
            group.progress.insert((topic, partition), committed);
            Ok(())
        };
        Ok(commit.partitions.into_iter().map(one).collect())
    }

    pub(crate) fn committed(&self, wanted: &GroupWanted) -> Result<Vec<Committed>, GroupRefusal> {
        if wanted.group == ELSEWHERE {
            return Err(GroupRefusal::NotCoordinator);
        }
        let Some(group) = self.all.get(&wanted.group) else { return Ok(Vec::new()) };
        Ok(match &wanted.partitions {
            None => group.progress.values().cloned().collect(),
            Some(places) => places.iter().filter_map(|place| group.progress.get(place).cloned()).collect(),
        })
    }

    pub(crate) fn list(&self) -> Vec<GroupListing> {
        let one = |(name, group): (&String, &Group)| GroupListing {
            group: name.clone(),
            protocol_type: group.protocol_type.clone(),
            state: group.state(),
        };
        self.all.iter().map(one).collect()
    }

    pub(crate) fn describe(&self, name: &str) -> Result<GroupDescription, GroupRefusal> {
        let group = self.all.get(name).ok_or(GroupRefusal::UnknownGroup)?;
        let member = |(id, member): (&String, &Member)| GroupMember {
            member: id.clone(),
            instance: member.join.instance.clone(),
            client_id: member.join.client_id.clone(),
            client_host: member.join.client_host.clone(),
            metadata: group.metadata(member),
            assignment: member.assignment.clone(),
        };
        Ok(GroupDescription {
            group: name.into(),
            state: group.state(),
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            members: group.members.iter().map(member).collect(),
        })
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), GroupRefusal> {
        match self.all.get(name) {
            None => Err(GroupRefusal::UnknownGroup),
            Some(group) if !group.members.is_empty() => Err(GroupRefusal::NotEmpty),
            Some(_) => {
                self.all.remove(name);
                Ok(())
            }
        }
    }
}

impl Group {
    fn state(&self) -> GroupState {
        match (self.members.is_empty(), self.joining, self.assigned) {
            (true, ..) => GroupState::Empty,
            (_, true, _) => GroupState::PreparingRebalance,
            (_, _, false) => GroupState::CompletingRebalance,
            _ => GroupState::Stable,
        }
    }

    fn metadata(&self, member: &Member) -> Bytes {
        let mut protocols = member.join.protocols.iter();
        protocols.find(|p| p.name == self.protocol).map(|p| p.metadata.clone()).unwrap_or_default()
    }

    fn roll(&self) -> Vec<JoinedMember> {
        let one = |(id, member): (&String, &Member)| JoinedMember {
            member: id.clone(),
            instance: member.join.instance.clone(),
            metadata: self.metadata(member),
        };
        self.members.iter().map(one).collect()
    }
}
