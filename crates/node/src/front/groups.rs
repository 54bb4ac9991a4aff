//! Consumer groups: one coordinator site per group, chosen alike by all who see the same sites alive.
//!
//! The coordinator itself is a state machine without time or sockets; this file gives it both. Which site coordinates a
//! group is the highest of a hash over (site, group) among the live ones (rendezvous hashing), so that only the groups
//! of a dead site move. Progress is not kept here: it is journaled by the site, and every site has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use entry::{ChainHash, TopicId};
use group::{Claim, Client, Coordinator, Output, Refusal, Request, Response, Settings};
use kafka::broker::{
    Commit, Committed, GroupDescription, GroupListing, GroupMember, GroupRefusal, GroupState, GroupWanted,
    Heartbeat, Join, JoinRefusal, Joined, JoinedMember, Leave, SyncGroup, Synced,
};
use site::Site;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::front::{Front, Gone};
use crate::views::Views;

/// The door to the groups that this site coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    views: Arc<Views>,
    requests: mpsc::UnboundedSender<(Request, oneshot::Sender<Response>)>,
}

impl Groups {
    /// Starts the coordinator.
    pub(crate) fn start(views: Arc<Views>, settings: Settings) -> Groups {
        let (requests, inbox) = mpsc::unbounded_channel();
        let keeper = Keeper {
            views: Arc::clone(&views),
            coordinator: Coordinator::new(settings),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            began: Instant::now(),
        };
        tokio::spawn(keeper.run(inbox));
        Groups { views, requests }
    }

    /// Which site coordinates a group, as seen from here.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        coordinator(&self.views, group)
    }

    fn is_ours(&self, group: &str) -> Result<(), GroupRefusal> {
        let own = self.views.current().cluster.this_site;
        if self.coordinator(group) == Some(own) { Ok(()) } else { Err(GroupRefusal::NotCoordinator) }
    }

    async fn ask(&self, group: &str, request: Request) -> Result<Response, GroupRefusal> {
        self.is_ours(group)?;
        let (answer, waiting) = oneshot::channel();
        self.requests.send((request, answer)).map_err(|_| GroupRefusal::NotAvailable)?;
        waiting.await.map_err(|_| GroupRefusal::NotAvailable)
    }

    pub(crate) async fn join(&self, join: Join) -> Result<Joined, JoinRefusal> {
        let member = join.member.clone();
        let nonce = crate::files::random::<8>().map_or(0, u64::from_le_bytes);
        let group = join.group.clone();
        let request = Request::Join(group::Join {
            claim: Claim { group: join.group, member_id: join.member, instance_id: join.instance },
            client: Client { id: join.client_id, host: join.client_host },
            protocol_type: join.protocol_type,
            protocols: join
                .protocols
                .into_iter()
                .map(|protocol| group::Protocol { name: protocol.name, metadata: protocol.metadata })
                .collect(),
            session_ms: join.session_timeout_ms,
            rebalance_ms: join.rebalance_timeout_ms,
            must_know_id: join.knows_id_round,
            can_skip_assignment: join.may_skip_assignment,
            reason: join.reason,
            nonce,
        });
        match self.ask(&group, request).await {
            Ok(Response::Join(Ok(joined))) => Ok(Joined {
                generation: joined.generation,
                protocol_type: joined.protocol_type,
                protocol: joined.protocol,
                leader: joined.leader,
                member: joined.member_id,
                members: joined.members.into_iter().map(joined_member).collect(),
                skip_assignment: joined.skips_assignment,
            }),
            Ok(Response::Join(Err(Refusal::MemberIdRequired { member_id }))) => {
                Err(JoinRefusal { why: GroupRefusal::MemberIdRequired, member: member_id })
            }
            Ok(Response::Join(Err(why))) => Err(JoinRefusal { why: refusal(&why), member }),
            Ok(other) => unreachable!("a join is answered as one, not with {other:?}"),
            Err(why) => Err(JoinRefusal { why, member }),
        }
    }

    pub(crate) async fn sync(&self, sync: SyncGroup) -> Result<Synced, GroupRefusal> {
        let group = sync.group.clone();
        let request = Request::Sync(group::Sync {
            claim: Claim { group: sync.group, member_id: sync.member, instance_id: sync.instance },
            generation: sync.generation,
            protocol_type: sync.protocol_type,
            protocol: sync.protocol,
            assignments: sync.assignments,
        });
        match self.ask(&group, request).await? {
            Response::Sync(synced) => synced
                .map(|synced| Synced {
                    protocol_type: synced.protocol_type,
                    protocol: synced.protocol,
                    assignment: synced.assignment,
                })
                .map_err(|why| refusal(&why)),
            other => unreachable!("a sync is answered as one, not with {other:?}"),
        }
    }

    pub(crate) async fn heartbeat(&self, beat: Heartbeat) -> Result<(), GroupRefusal> {
        let group = beat.group.clone();
        let claim = Claim { group: beat.group, member_id: beat.member, instance_id: beat.instance };
        let request = Request::Heartbeat(group::Heartbeat { claim, generation: beat.generation });
        match self.ask(&group, request).await? {
            Response::Heartbeat(answer) => answer.map_err(|why| refusal(&why)),
            other => unreachable!("a heartbeat is answered as one, not with {other:?}"),
        }
    }

    pub(crate) async fn leave(&self, leave: Leave) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        let group = leave.group.clone();
        let leaving = |member: kafka::broker::LeavingMember| group::Leaving {
            member_id: member.member,
            instance_id: member.instance,
        };
        let members = leave.members.into_iter().map(leaving).collect();
        match self.ask(&group, Request::Leave(group::Leave { group: leave.group, members })).await? {
            Response::Leave(Ok(left)) => {
                Ok(left.into_iter().map(|left| left.result.map_err(|why| refusal(&why))).collect())
            }
            Response::Leave(Err(why)) => Err(refusal(&why)),
            other => unreachable!("a leave is answered as one, not with {other:?}"),
        }
    }

    pub(crate) async fn describe(&self, group: String) -> Result<GroupDescription, GroupRefusal> {
        match self.ask(&group.clone(), Request::Describe { group }).await? {
            Response::Describe(found) => Ok(description(found)),
            other => unreachable!("a description is answered as one, not with {other:?}"),
        }
    }

    pub(crate) async fn delete(&self, group: String) -> Result<(), GroupRefusal> {
        match self.ask(&group.clone(), Request::Delete { group }).await? {
            Response::Delete(answer) => answer.map_err(|why| refusal(&why)),
            other => unreachable!("a deletion is answered as one, not with {other:?}"),
        }
    }

    async fn may_commit(&self, commit: &Commit) -> Result<(), GroupRefusal> {
        let claim = Claim {
            group: commit.group.clone(),
            member_id: commit.member.clone(),
            instance_id: commit.instance.clone(),
        };
        let check = group::CheckCommit { claim, generation: commit.generation };
        match self.ask(&commit.group, Request::CheckCommit(check)).await? {
            Response::CheckCommit(answer) => answer.map_err(|why| refusal(&why)),
            other => unreachable!("a check is answered as one, not with {other:?}"),
        }
    }

    async fn list(&self) -> Result<Vec<group::Listing>, GroupRefusal> {
        let (answer, waiting) = oneshot::channel();
        self.requests.send((Request::List, answer)).map_err(|_| GroupRefusal::NotAvailable)?;
        match waiting.await.map_err(|_| GroupRefusal::NotAvailable)? {
            Response::List(listed) => Ok(listed),
            other => unreachable!("a list is answered as one, not with {other:?}"),
        }
    }
}

impl Front {
    pub(crate) async fn commit_progress(
        &self,
        commit: Commit,
    ) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        self.groups.may_commit(&commit).await?;
        let view = self.views.current();
        let mut results = Vec::with_capacity(commit.partitions.len());
        let mut positions = Vec::with_capacity(commit.partitions.len());
        for partition in commit.partitions {
            let known = view.cluster.topics_by_id.get(&partition.topic);
            let offset = u64::try_from(partition.offset).ok();
            let exists = known.is_some_and(|topic| partition.partition < topic.partitions);
            match offset.filter(|_| exists) {
                Some(offset) => {
                    positions.push((
                        TopicId(partition.topic),
                        partition.partition,
                        offset,
                        partition.metadata,
                    ));
                    results.push(Ok(()));
                }
                None => results.push(Err(GroupRefusal::UnknownTopic)),
            }
        }
        if !positions.is_empty() {
            let request = site::Request::Commit(site::Commit { group: commit.group, positions });
            let reply = self.request(request).await.map_err(|_| GroupRefusal::NotAvailable)?;
            reply.map_err(|_| GroupRefusal::NotWritable)?;
        }
        Ok(results)
    }

    pub(crate) async fn committed_progress(
        &self,
        wanted: GroupWanted,
    ) -> Result<Vec<Committed>, GroupRefusal> {
        self.groups.is_ours(&wanted.group)?;
        let found = self.look(move |site, _, _| committed(site, &wanted)).await;
        found.map_err(|Gone| GroupRefusal::NotAvailable)
    }

    pub(crate) async fn list_all_groups(&self) -> Result<Vec<GroupListing>, GroupRefusal> {
        let held = self.groups.list().await?;
        let mut listed: BTreeMap<String, GroupListing> = held
            .into_iter()
            .map(|held| {
                let listing = GroupListing {
                    group: held.group.clone(),
                    protocol_type: held.protocol_type,
                    state: state(held.state),
                };
                (held.group, listing)
            })
            .collect();
        let named = self.look(|site, _, _| site.groups().map(str::to_owned).collect::<Vec<_>>()).await;
        for group in named.map_err(|Gone| GroupRefusal::NotAvailable)? {
            if self.groups.is_ours(&group).is_ok() {
                listed.entry(group.clone()).or_insert_with(|| GroupListing {
                    group,
                    protocol_type: "consumer".into(),
                    state: GroupState::Empty,
                });
            }
        }
        Ok(listed.into_values().collect())
    }
}

fn committed(site: &Site, wanted: &GroupWanted) -> Vec<Committed> {
    let one = |topic: TopicId, partition: u32, position: &site::Position| Committed {
        topic: topic.0,
        partition,
        offset: i64::try_from(position.progress.committed()).unwrap_or(i64::MAX),
        leader_epoch: 0,
        metadata: position.metadata().to_owned(),
    };
    match &wanted.partitions {
        None => site
            .positions_of(&wanted.group)
            .map(|((topic, partition), at)| one(*topic, *partition, at))
            .collect(),
        Some(partitions) => partitions
            .iter()
            .filter_map(|(topic, partition)| {
                let at = site.position(&wanted.group, TopicId(*topic), *partition)?;
                Some(one(TopicId(*topic), *partition, at))
            })
            .collect(),
    }
}

/// Gives the coordinator its time, and its answers to who waits.
struct Keeper {
    views: Arc<Views>,
    coordinator: Coordinator,
    waiting: BTreeMap<u64, oneshot::Sender<Response>>,
    next_ticket: u64,
    began: Instant,
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(Request, oneshot::Sender<Response>)>) {
        let mut changes = self.views.changes();
        let mut out = Vec::new();
        loop {
            let deadline = self.coordinator.next_deadline().map(|ms| self.began + Duration::from_millis(ms));
            let idle = self.began.elapsed() + Duration::from_secs(3600);
            tokio::select! {
                request = inbox.recv() => {
                    let Some((request, answer)) = request else { return };
                    let ticket = self.next_ticket;
                    self.next_ticket += 1;
                    self.waiting.insert(ticket, answer);
                    self.coordinator.handle(self.now_ms(), ticket, request, &mut out);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(self.began + idle)) => {
                    self.coordinator.tick(self.now_ms(), &mut out);
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.hand_over(&mut out);
                }
            }
            self.tell(&mut out);
        }
    }

    /// Groups whose coordinator is another site now are let go.
    fn hand_over(&mut self, out: &mut Vec<Output>) {
        let own = self.views.current().cluster.this_site;
        let held: Vec<String> = self.coordinator.groups().map(str::to_owned).collect();
        for group in held {
            if coordinator(&self.views, &group) != Some(own) {
                tracing::info!(group, "the group is coordinated elsewhere now");
                self.coordinator.stop_coordinating(&group, out);
            }
        }
    }

    fn tell(&mut self, out: &mut Vec<Output>) {
        for output in out.drain(..) {
            match output {
                Output::Reply { ticket, response } => {
                    if let Some(waiting) = self.waiting.remove(&ticket) {
                        let _ = waiting.send(response);
                    }
                }
                Output::Event(event) => tracing::debug!(?event, "group"),
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn coordinator(views: &Views, group: &str) -> Option<i32> {
    let view = views.current();
    let weight = |site: &i32| {
        let mut bytes = site.to_be_bytes().to_vec();
        bytes.extend(group.as_bytes());
        ChainHash::of(&bytes)
    };
    view.cluster.live.iter().copied().max_by_key(weight)
}

fn joined_member(member: group::MemberMetadata) -> JoinedMember {
    JoinedMember { member: member.member_id, instance: member.instance_id, metadata: member.metadata }
}

fn description(found: group::Description) -> GroupDescription {
    let member = |member: group::MemberDescription| GroupMember {
        member: member.member_id,
        instance: member.instance_id,
        client_id: member.client.id,
        client_host: member.client.host,
        metadata: member.metadata,
        assignment: member.assignment,
    };
    GroupDescription {
        group: found.group,
        state: state(found.state),
        protocol_type: found.protocol_type,
        protocol: found.protocol,
        members: found.members.into_iter().map(member).collect(),
    }
}

fn state(name: group::StateName) -> GroupState {
    match name {
        group::StateName::Empty => GroupState::Empty,
        group::StateName::PreparingRebalance => GroupState::PreparingRebalance,
        group::StateName::CompletingRebalance => GroupState::CompletingRebalance,
        group::StateName::Stable => GroupState::Stable,
        group::StateName::Dead => GroupState::Dead,
    }
}

fn refusal(why: &Refusal) -> GroupRefusal {
    match why {
        Refusal::UnknownMember => GroupRefusal::UnknownMember,
        Refusal::MemberIdRequired { .. } => GroupRefusal::MemberIdRequired,
        Refusal::IllegalGeneration { .. } => GroupRefusal::OldGeneration,
        Refusal::RebalanceInProgress => GroupRefusal::Rebalancing,
        Refusal::FencedInstance => GroupRefusal::FencedInstance,
        Refusal::InconsistentProtocol => GroupRefusal::NoSharedProtocol,
        Refusal::InvalidSession { .. } => GroupRefusal::BadSessionTimeout,
        Refusal::InvalidGroupId { .. } => GroupRefusal::BadGroupName,
        Refusal::TooLarge { .. } | Refusal::GroupFull { .. } => GroupRefusal::Full,
        Refusal::OutOfRoom => GroupRefusal::NotAvailable,
        Refusal::NotCoordinator => GroupRefusal::NotCoordinator,
        Refusal::NonEmpty => GroupRefusal::NotEmpty,
        Refusal::UnknownGroup => GroupRefusal::UnknownGroup,
    }
}
