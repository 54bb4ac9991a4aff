//! What members do between joins: fetch their assignment, heartbeat, commit, leave.

use bytes::Bytes;

use crate::output::{Event, Removal};
use crate::state::{Group, Phase, Turn};
use crate::{CheckCommit, Claim, Heartbeat, Leave, Leaving, Left, Refusal, Response, Sync, Synced};

impl Group {
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, ticket: u64, sync: &Sync) {
        if let Err(refusal) = self.check_sync(sync) {
            turn.reply(ticket, Response::Sync(Err(refusal)));
            return;
        }
        let id = &sync.claim.member_id;
        let awaits = matches!(self.phase, Phase::AwaitingSync);
        let member = self.members.get_mut(id).expect("check_sync has found it");
        member.synced = true;
        member.touch(turn.now_ms);
        if !awaits {
            let synced = self.synced(id);
            turn.reply(ticket, Response::Sync(Ok(synced)));
        } else {
            if let Some(earlier) = member.syncing.replace(ticket) {
                turn.reply(earlier, Response::Sync(Err(Refusal::RebalanceInProgress)));
            }
            if self.leader == *id {
                self.assign(turn, &sync.assignments);
            }
        }
        if self.members.values().all(|member| member.synced) {
            self.sync_closes_ms = None;
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), Refusal> {
        self.check_member(&sync.claim)?;
        self.check_generation(sync.generation)?;
        let differs = |asked: &Option<String>, is: &str| asked.as_deref().is_some_and(|asked| asked != is);
        match self.phase {
            Phase::Empty { .. } => Err(Refusal::UnknownMember),
            Phase::Preparing(_) => Err(Refusal::RebalanceInProgress),
            _ if differs(&sync.protocol_type, &self.protocol_type) => Err(Refusal::InconsistentProtocol),
            _ if differs(&sync.protocol, &self.protocol) => Err(Refusal::InconsistentProtocol),
            Phase::AwaitingSync | Phase::Stable => Ok(()),
        }
    }

    /// The leader has assigned: everybody who waits gets its part, and who comes later too.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: &[(String, Bytes)]) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(id) {
                member.assignment = Bytes::copy_from_slice(assignment);
            }
        }
        self.phase = Phase::Stable;
        turn.event(Event::Stable { group: self.name.clone(), generation: self.generation });
        let waiting: Vec<(String, u64)> =
            self.members.iter_mut().filter_map(|(id, m)| Some((id.clone(), m.syncing.take()?))).collect();
        for (id, ticket) in waiting {
            self.touch(turn.now_ms, &id);
            let synced = self.synced(&id);
            turn.reply(ticket, Response::Sync(Ok(synced)));
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            assignment: self.members.get(id).map_or_else(Bytes::new, |member| member.assignment.clone()),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &Turn<'_>, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        self.check_member(&heartbeat.claim)?;
        self.check_generation(heartbeat.generation)?;
        self.touch(turn.now_ms, &heartbeat.claim.member_id);
        match self.phase {
            Phase::Empty { .. } => Err(Refusal::UnknownMember),
            Phase::Preparing(_) => Err(Refusal::RebalanceInProgress),
            // Between its join and its sync a member may already heartbeat.
            Phase::AwaitingSync | Phase::Stable => Ok(()),
        }
    }

    /// Members may commit in their generation, also while the next one gathers: that is how they hand over.
    pub(crate) fn check_commit(&mut self, turn: &Turn<'_>, commit: &CheckCommit) -> Result<(), Refusal> {
        if is_simple(commit) && matches!(self.phase, Phase::Empty { .. }) {
            return Ok(());
        }
        self.check_member(&commit.claim)?;
        self.check_generation(commit.generation)?;
        match self.phase {
            Phase::Empty { .. } => Err(Refusal::UnknownMember),
            // It knows the generation but has no assignment in it yet.
            Phase::AwaitingSync => Err(Refusal::RebalanceInProgress),
            Phase::Preparing(_) | Phase::Stable => {
                self.touch(turn.now_ms, &commit.claim.member_id);
                Ok(())
            }
        }
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, leave: &Leave) -> Vec<Left> {
        let before = self.members.len();
        let left: Vec<Left> = leave.members.iter().map(|leaving| self.leave_one(turn, leaving)).collect();
        self.settle_removal(turn, before - self.members.len(), "members left");
        left
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, leaving: &Leaving) -> Left {
        let result = self.member_that_leaves(leaving).map(|id| {
            if self.promised.remove(&id).is_none() {
                self.remove(turn, &id, Removal::Left);
            }
        });
        Left { member_id: leaving.member_id.clone(), instance_id: leaving.instance_id.clone(), result }
    }

    fn member_that_leaves(&self, leaving: &Leaving) -> Result<String, Refusal> {
        let id = &leaving.member_id;
        match &leaving.instance_id {
            // An operator removes a static member by its instance id alone.
            Some(instance) if id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(Refusal::UnknownMember)
            }
            None if self.promised.contains_key(id) => Ok(id.clone()),
            instance => {
                let (member_id, instance_id) = (id.clone(), instance.clone());
                self.check_member(&Claim { group: String::new(), member_id, instance_id })?;
                Ok(id.clone())
            }
        }
    }
}

/// A consumer that assigns itself and uses the group only to keep its progress.
pub(crate) fn is_simple(commit: &CheckCommit) -> bool {
    commit.generation < 0 && commit.claim.member_id.is_empty() && commit.claim.instance_id.is_none()
}
