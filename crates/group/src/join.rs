//! Joining: new members, members that come back, and static members that come back under a new id.

use crate::member::Member;
use crate::member_id;
use crate::output::Removal;
use crate::state::{Group, Phase, Turn};
use crate::{Join, Refusal, Response};

impl Group {
    /// A join. `ordinal` is unique within this coordinator and orders members by arrival.
    pub(crate) fn join(&mut self, turn: &mut Turn<'_>, ticket: u64, join: &Join, ordinal: u64) {
        let outcome = if join.claim.member_id.is_empty() {
            self.join_anew(turn, ticket, join, ordinal)
        } else {
            self.join_again(turn, ticket, join, ordinal)
        };
        if let Err(refusal) = outcome {
            turn.reply(ticket, Response::Join(Err(refusal)));
        }
        self.close_if_complete(turn);
    }

    fn join_anew(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: u64,
        join: &Join,
        ordinal: u64,
    ) -> Result<(), Refusal> {
        let instance = join.claim.instance_id.as_deref();
        let holder = instance.and_then(|instance| self.instances.get(instance)).cloned();
        if !self.agrees(&join.protocol_type, &join.protocols, holder.as_deref()) {
            return Err(Refusal::InconsistentProtocol);
        }
        let limit = turn.settings.limits.members;
        if holder.is_none() && self.members.len() + self.promised.len() >= limit {
            return Err(Refusal::GroupFull { max: limit });
        }
        let coordinator = (turn.settings.site, turn.settings.incarnation);
        let name = instance.unwrap_or(&join.client.id);
        let member_id = member_id::mint(name, coordinator, ordinal, join.nonce);
        if let Some(holder) = holder {
            self.replace_static(turn, ticket, join, (&holder, member_id));
        } else if join.must_know_id && instance.is_none() {
            let good_until_ms = turn.now_ms.saturating_add(u64::from(join.session_ms));
            self.promised.insert(member_id.clone(), good_until_ms);
            return Err(Refusal::MemberIdRequired { member_id });
        } else {
            self.admit(turn, ticket, join, (member_id, ordinal));
        }
        Ok(())
    }

    fn join_again(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: u64,
        join: &Join,
        ordinal: u64,
    ) -> Result<(), Refusal> {
        let id = &join.claim.member_id;
        let is_promised = self.promised.contains_key(id) && join.claim.instance_id.is_none();
        if !is_promised {
            self.check_member(&join.claim)?;
        }
        if !self.agrees(&join.protocol_type, &join.protocols, Some(id)) {
            return Err(Refusal::InconsistentProtocol);
        }
        if is_promised {
            self.promised.remove(id);
            self.admit(turn, ticket, join, (id.clone(), ordinal));
        } else if self.needs_rebalance(join) {
            self.rejoin(turn, ticket, join, id);
        } else {
            // Its earlier answer may have been lost: tell it once more where it stands.
            let joined = self.joined(id);
            self.touch(turn.now_ms, id);
            turn.reply(ticket, Response::Join(Ok(joined)));
        }
        Ok(())
    }

    /// Does this member's coming back change anything? In a stable group the leader's does: that is how it asks for a new
    /// assignment when topics have changed.
    fn needs_rebalance(&self, join: &Join) -> bool {
        let id = &join.claim.member_id;
        let changed = self.members.get(id).is_none_or(|member| member.protocols != join.protocols);
        match self.phase {
            Phase::Preparing(_) | Phase::Empty { .. } => true,
            Phase::AwaitingSync => changed,
            Phase::Stable => changed || self.leader == *id,
        }
    }

    /// A new member, at the barrier.
    fn admit(&mut self, turn: &mut Turn<'_>, ticket: u64, join: &Join, (id, ordinal): (String, u64)) {
        let mut member = Member::new(turn.now_ms, ordinal, join);
        member.joining = Some(ticket);
        if let Some(instance) = &join.claim.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if let Phase::Preparing(barrier) = &mut self.phase
            && let Some(gathering) = &mut barrier.gathering
        {
            gathering.newcomer = true;
        }
        let reason = because("a member joins", &id, join);
        self.members.insert(id, member);
        self.start_rebalance(turn, reason);
    }

    /// A known member, at the barrier.
    fn rejoin(&mut self, turn: &mut Turn<'_>, ticket: u64, join: &Join, id: &str) {
        if self.members.len() == 1 {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        // The rebalance starts first: it sends the member's own waiting sync away like all others.
        self.start_rebalance(turn, because("a member joins again", id, join));
        let member = self.members.get_mut(id).expect("check_member has found it");
        member.update(join);
        member.touch(turn.now_ms);
        if let Some(earlier) = member.joining.replace(ticket) {
            turn.reply(earlier, Response::Join(Err(Refusal::RebalanceInProgress)));
        }
    }

    /// A process takes over a static member's place under a new id; the group keeps working if it can.
    fn replace_static(&mut self, turn: &mut Turn<'_>, ticket: u64, join: &Join, (old, new): (&str, String)) {
        let former_leader = self.leader.clone();
        let mut member = Member::new(turn.now_ms, self.members[old].ordinal, join);
        member.assignment = self.members[old].assignment.clone();
        member.synced = self.members[old].synced;
        self.remove(turn, old, Removal::Replaced);
        let instance = join.claim.instance_id.clone().expect("only static members are replaced");
        self.instances.insert(instance, new.clone());
        self.members.insert(new.clone(), member);
        if self.members.len() == 1 {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if former_leader == old {
            self.leader.clone_from(&new);
        }
        let keeps_working = matches!(self.phase, Phase::Stable) && self.elect_protocol() == self.protocol;
        let member = self.members.get_mut(&new).expect("inserted above");
        if !keeps_working {
            member.joining = Some(ticket);
            self.start_rebalance(turn, because("a static member is replaced", &new, join));
            return;
        }
        let synced = member.synced;
        member.admit(turn.now_ms);
        member.synced = synced;
        let mut joined = self.joined(&new);
        if joined.leader == new && join.can_skip_assignment {
            joined.skips_assignment = true;
        } else {
            // A client that cannot skip must not take itself for the leader: nobody would hand out what it assigns.
            joined.leader = former_leader;
            joined.members.clear();
        }
        turn.reply(ticket, Response::Join(Ok(joined)));
    }

    pub(crate) fn touch(&mut self, now_ms: u64, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.touch(now_ms);
        }
    }
}

fn because(what: &str, id: &str, join: &Join) -> String {
    match &join.reason {
        Some(reason) if !reason.is_empty() => format!("{what}: {id} ({reason})"),
        _ => format!("{what}: {id}"),
    }
}
