//! A member of a consumer group: joins, keeps alive, reads what it was assigned, commits.
//!
//! It does its work inside [`GroupConsumer::poll`], with no task of its own: who stops polling for longer than the session is
//! out of the group, which is what a command-line reader wants. Delivery is at least once: commit what you have dealt with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use tokio::task::JoinSet;

use crate::assign::{decode_assignment, decode_subscription, encode_assignment, encode_subscription, range};
use crate::client::Lane;
use crate::connection::Connection;
use crate::error::check;
use crate::fetch::fetch_at;
use crate::groups::{Committer, Offsets, commit_at, committed_at, group_id};
use crate::metadata::text;
use crate::{
    Client, ClientError, FetchAnswer, FetchOptions, FetchPosition, Position, ResponseError, log_end,
};

/// Between being told to join again and doing so; keeps a confused coordinator from being asked in a tight loop.
const REJOIN_PAUSE: Duration = Duration::from_millis(20);

/// Options of a group member.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Silence after which the coordinator gives the member up.
    pub session: Duration,
    /// How long others wait for it in a rebalance.
    pub rebalance: Duration,
    /// Time between signs of life; a third of the session is usual.
    pub heartbeat: Duration,
    /// A static member's id.
    pub instance_id: Option<String>,
    /// Where to start in a partition in which the group has no progress.
    pub start: Position,
    /// How to fetch.
    pub fetch: FetchOptions,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(10),
            rebalance: Duration::from_secs(60),
            heartbeat: Duration::from_secs(3),
            instance_id: None,
            start: Position::Latest,
            fetch: FetchOptions::default(),
        }
    }
}

/// What one partition brought.
#[derive(Debug, Clone)]
pub struct Polled {
    /// Where it was read from. Records before this offset in the first batch are to be skipped.
    pub from: FetchPosition,
    /// What was there.
    pub answer: FetchAnswer,
}

/// A member of a consumer group.
pub struct GroupConsumer {
    client: Client,
    group: String,
    topics: Vec<String>,
    options: GroupOptions,
    coordinator: Option<Connection>,
    member_id: String,
    /// The generation it has an assignment in.
    generation: Option<i32>,
    /// The generation that a rebalance ends, until its progress is committed.
    handing_over: Option<i32>,
    heartbeat_due: Instant,
    /// Next offset to read, of each partition it holds.
    positions: Offsets,
    /// The same as of the last commit.
    committed: Offsets,
}

impl GroupConsumer {
    /// A member of this group, reading these topics, with connections of its own. It joins at the first poll.
    #[must_use]
    pub fn new(client: &Client, group: &str, topics: &[String], options: GroupOptions) -> Self {
        Self {
            client: client.apart(),
            group: group.to_owned(),
            topics: topics.to_vec(),
            options,
            coordinator: None,
            member_id: String::new(),
            generation: None,
            handing_over: None,
            heartbeat_due: Instant::now(),
            positions: Offsets::new(),
            committed: Offsets::new(),
        }
    }

    /// The partitions it holds and the next offset in each.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<(String, i32), i64> {
        &self.positions
    }

    /// Its id within the group; empty before the first poll.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// Joins if need be, heartbeats if due, and reads. May return nothing: then there was nothing to read, or the group has just
    /// rebalanced.
    pub async fn poll(&mut self) -> Result<Vec<Polled>, ClientError> {
        let mut retry = self.client.retry();
        loop {
            let outcome = match self.stay_member().await {
                Ok(()) => self.read().await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(polled) => return Ok(polled),
                Err(error) if self.can_rejoin(&error) => {
                    tracing::debug!(%error, "joining again");
                    self.hand_over(&error).await;
                    tokio::time::sleep(REJOIN_PAUSE).await;
                }
                Err(error) => {
                    retry.after(error).await?;
                    let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
                    self.client.look_again(&topics).await;
                }
            }
        }
    }

    /// Commits the positions: everything that polls have returned so far counts as dealt with.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let changed = self.positions.iter().filter(|(at, offset)| self.committed.get(*at) != Some(*offset));
        let changed: Offsets = changed.map(|(at, offset)| (at.clone(), *offset)).collect();
        let Some(generation) = self.generation.filter(|_| !changed.is_empty()) else { return Ok(()) };
        let mut retry = self.client.retry();
        loop {
            let outcome = match self.coordinator().await {
                Ok(coordinator) => commit_at(&coordinator, &self.committer(generation), &changed).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => break self.committed.extend(changed),
                Err(error) => {
                    self.mistrust_coordinator(&error);
                    retry.after(error).await?;
                }
            }
        }
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for the session to end. Static members stay members.
    pub async fn leave(mut self) -> Result<(), ClientError> {
        if self.member_id.is_empty() || self.options.instance_id.is_some() {
            return Ok(());
        }
        let member = MemberIdentity::default().with_member_id(text(&self.member_id));
        // Up to version 2 a request speaks of one member, later of many; the version decides which of the two is written.
        let request = LeaveGroupRequest::default().with_group_id(group_id(&self.group));
        let coordinator = self.coordinator().await?;
        let request = if coordinator.version::<LeaveGroupRequest>()? >= 3 {
            request.with_members(vec![member])
        } else {
            request.with_member_id(text(&self.member_id))
        };
        let said = coordinator.call(&request).await?;
        check(said.error_code, || format!("leave group {}", self.group), None)
    }

    /// Before a rebalance: polling again says that what came before is dealt with, so whoever gets our partitions goes on
    /// there. If it fails, they read some records again.
    async fn hand_over(&mut self, error: &ClientError) {
        if error.code() != Some(ResponseError::RebalanceInProgress) || self.positions == self.committed {
            return;
        }
        let (Ok(coordinator), Some(generation)) = (self.coordinator().await, self.handing_over.take()) else {
            return;
        };
        if let Err(error) = commit_at(&coordinator, &self.committer(generation), &self.positions).await {
            tracing::debug!(%error, "could not commit before the rebalance");
        }
    }

    async fn stay_member(&mut self) -> Result<(), ClientError> {
        match self.generation {
            None => self.join().await,
            Some(generation) if Instant::now() >= self.heartbeat_due => self.heartbeat(generation).await,
            Some(_) => Ok(()),
        }
    }

    async fn heartbeat(&mut self, generation: i32) -> Result<(), ClientError> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(generation)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.options.instance_id.as_deref().map(text));
        let said = self.coordinator().await?.call(&request).await?;
        check(said.error_code, || format!("heartbeat to group {}", self.group), None)?;
        self.heartbeat_due = Instant::now() + self.options.heartbeat;
        Ok(())
    }

    async fn join(&mut self) -> Result<(), ClientError> {
        let joined = self.join_generation().await?;
        self.member_id = joined.member_id.to_string();
        let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
            self.assign(&joined).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id)
            .with_group_instance_id(self.options.instance_id.as_deref().map(text))
            .with_protocol_type(joined.protocol_type)
            .with_protocol_name(joined.protocol_name)
            .with_assignments(assignments);
        let coordinator = self.coordinator().await?;
        let said = coordinator.call_waiting(&request, self.options.rebalance).await?;
        check(said.error_code, || format!("sync with group {}", self.group), None)?;
        let assignment = decode_assignment(&said.assignment).ok_or_else(|| ClientError::Malformed {
            call: "SyncGroup",
            reason: "the assignment is not that of a consumer".to_owned(),
        })?;
        let held = assignment.into_iter().flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        self.find_positions(&coordinator, held.collect()).await?;
        self.generation = Some(joined.generation_id);
        self.heartbeat_due = Instant::now() + self.options.heartbeat;
        tracing::debug!(group = %self.group, generation = joined.generation_id, held = self.positions.len(), "joined");
        Ok(())
    }

    /// Asks once more when told to take an id first.
    async fn join_generation(&mut self) -> Result<JoinGroupResponse, ClientError> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(encode_subscription(&self.topics));
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let mut request = JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(millis(self.options.session))
            .with_rebalance_timeout_ms(millis(self.options.rebalance))
            .with_group_instance_id(self.options.instance_id.as_deref().map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        loop {
            request.member_id = text(&self.member_id);
            let coordinator = self.coordinator().await?;
            let said = coordinator.call_waiting(&request, self.options.rebalance).await?;
            let refused = check(said.error_code, || format!("join group {}", self.group), None);
            match refused {
                Ok(()) => return Ok(said),
                Err(error)
                    if error.code() == Some(ResponseError::MemberIdRequired) && self.member_id.is_empty() =>
                {
                    self.member_id = said.member_id.to_string();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As the leader: who reads what.
    async fn assign(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for member in &joined.members {
            let topics = decode_subscription(&member.metadata).unwrap_or_default();
            members.insert(member.member_id.to_string(), topics.into_iter().collect());
        }
        let wanted: BTreeSet<&str> = members.values().flatten().map(String::as_str).collect();
        let metadata = self.client.refresh(Some(&wanted.iter().copied().collect::<Vec<_>>())).await?;
        let count = |topic: &&str| {
            let partitions = metadata.topics.get(*topic)?.partitions.len();
            Some(((*topic).to_owned(), i32::try_from(partitions).ok()?))
        };
        let partitions = wanted.iter().filter_map(count).collect();
        let assigned = range(&members, &partitions).into_iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&member))
                .with_assignment(encode_assignment(&assignment))
        });
        Ok(assigned.collect())
    }

    /// Where to go on in each partition: at the group's progress, else where the options say.
    async fn find_positions(
        &mut self,
        coordinator: &Connection,
        held: Vec<(String, i32)>,
    ) -> Result<(), ClientError> {
        let progress = committed_at(coordinator, &self.group, Some(&held)).await?;
        self.positions.clear();
        self.committed.clear();
        for at in held {
            let offset = match progress.get(&at) {
                Some(committed) => {
                    self.committed.insert(at.clone(), committed.offset);
                    committed.offset
                }
                None => self.start_of(&at).await?,
            };
            self.positions.insert(at, offset);
        }
        Ok(())
    }

    async fn start_of(&self, (topic, partition): &(String, i32)) -> Result<i64, ClientError> {
        let isolation = self.options.fetch.isolation;
        let found = self.client.list_offset(topic, *partition, self.options.start, isolation).await?;
        if found.offset >= 0 {
            return Ok(found.offset);
        }
        // No record is that young yet: whatever comes next is.
        Ok(self.client.list_offset(topic, *partition, Position::Latest, isolation).await?.offset)
    }

    /// One fetch per leader, all at once.
    async fn read(&mut self) -> Result<Vec<Polled>, ClientError> {
        let wait = self.options.fetch.max_wait.min(self.options.heartbeat);
        let options = FetchOptions { max_wait: wait, ..self.options.fetch.clone() };
        if self.positions.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let mut fetches = JoinSet::new();
        for (address, positions) in self.by_leader().await? {
            let (client, options) = (self.client.clone(), options.clone());
            fetches.spawn(async move {
                fetch_at(&client.connection(Lane::Read, &address).await?, &positions, &options).await
            });
        }
        let mut polled = Vec::new();
        let mut failed = None;
        while let Some(fetched) = fetches.join_next().await {
            let fetched = fetched.map_err(|_| ClientError::Closed { what: "fetch" }).flatten();
            match fetched {
                Ok(answers) => failed = self.take_all(answers, &mut polled).await.err().or(failed),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            // What was read has moved positions, so it has to come out. The failure will show again at the next poll.
            Some(error) if polled.is_empty() => Err(error),
            _ => Ok(polled),
        }
    }

    async fn take_all(
        &mut self,
        answers: Vec<(FetchPosition, Result<FetchAnswer, ClientError>)>,
        polled: &mut Vec<Polled>,
    ) -> Result<(), ClientError> {
        let mut failed = Ok(());
        for (from, answer) in answers {
            match self.take(&from, answer).await {
                Ok(Some(answer)) => polled.push(Polled { from, answer }),
                Ok(None) => {}
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    async fn by_leader(&self) -> Result<BTreeMap<String, Vec<FetchPosition>>, ClientError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let metadata = self.client.knowing(&topics).await?;
        let mut leaders: BTreeMap<String, Vec<FetchPosition>> = BTreeMap::new();
        for ((topic, partition), offset) in &self.positions {
            let (topic, partition, offset) = (topic.clone(), *partition, *offset);
            match metadata.leader(&topic, partition) {
                Some(leader) => {
                    leaders.entry(leader.address.clone()).or_default().push(FetchPosition {
                        topic,
                        partition,
                        offset,
                    });
                }
                None => return Err(ClientError::NoLeader { topic, partition }),
            }
        }
        Ok(leaders)
    }

    /// Moves the position on. `None` if there was nothing.
    async fn take(
        &mut self,
        from: &FetchPosition,
        answer: Result<FetchAnswer, ClientError>,
    ) -> Result<Option<FetchAnswer>, ClientError> {
        let at = (from.topic.clone(), from.partition);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(ResponseError::OffsetOutOfRange) => {
                tracing::warn!(%error, "starting over in this partition");
                let offset = self.start_of(&at).await?;
                self.positions.insert(at, offset);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(end) = log_end(&answer.batches).filter(|end| *end > from.offset) else { return Ok(None) };
        self.positions.insert(at, end);
        Ok(Some(answer))
    }

    async fn coordinator(&mut self) -> Result<Connection, ClientError> {
        if let Some(coordinator) = self.coordinator.as_ref().filter(|coordinator| coordinator.is_open()) {
            return Ok(coordinator.clone());
        }
        let coordinator = self.client.coordinator(&self.group).await?;
        self.coordinator = Some(coordinator.clone());
        Ok(coordinator)
    }

    fn committer(&self, generation: i32) -> Committer<'_> {
        let instance_id = self.options.instance_id.as_deref();
        Committer { group: &self.group, member_id: &self.member_id, instance_id, generation }
    }

    /// Takes in what an error says of our standing. True if joining again at once is the answer to it.
    fn can_rejoin(&mut self, error: &ClientError) -> bool {
        self.mistrust_coordinator(error);
        let Some(code) = error.code() else { return false };
        match code {
            ResponseError::RebalanceInProgress => self.handing_over = self.generation.take(),
            ResponseError::IllegalGeneration => self.generation = None,
            ResponseError::UnknownMemberId => {
                self.generation = None;
                self.member_id.clear();
            }
            _ => return false,
        }
        true
    }

    fn mistrust_coordinator(&mut self, error: &ClientError) {
        let moved = matches!(
            error.code(),
            Some(
                ResponseError::NotCoordinator
                    | ResponseError::CoordinatorNotAvailable
                    | ResponseError::CoordinatorLoadInProgress
            )
        );
        let lost = matches!(
            error,
            ClientError::Lost { .. } | ClientError::Unreachable { .. } | ClientError::TimedOut { .. }
        );
        if moved || lost {
            self.coordinator = None;
        }
    }
}
