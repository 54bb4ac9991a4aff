//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: being a member.

use crate::api::{Call, Context};
use crate::broker::{
    Broker, GroupRefusal, Heartbeat, Join, JoinRefusal, Joined, Leave, LeavingMember, Protocol, SyncGroup,
    Synced,
};
use crate::errors::{ErrorCode, code_of};
use crate::wire::{Fault, Frame, Malformed, Writer};

/// Versions 0–9.
pub(super) async fn join_group<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let join = read_join(&mut call, &context.client_host)?;
    let answer = match join.group.is_empty() {
        true => Err(JoinRefusal { why: GroupRefusal::BadGroupName, member: join.member }),
        false => context.broker.join(join).await,
    };
    let mut w = call.writer();
    if call.version >= 2 {
        w.i32(0); // throttle time
    }
    match &answer {
        Ok(joined) => write_joined(&mut w, call.version, joined),
        Err(refusal) => write_not_joined(&mut w, call.version, refusal),
    }
    w.finish()
}

fn read_join(call: &mut Call, client_host: &str) -> Result<Join, Malformed> {
    let version = call.version;
    let r = &mut call.body;
    let (group, session_timeout) = (r.string()?, r.i32()?);
    let rebalance_timeout = if version >= 1 { r.i32()? } else { session_timeout };
    let member = r.string()?;
    let instance = if version >= 5 { r.nullable_string()? } else { None };
    let protocol_type = r.string()?;
    let protocols = r.structs(3, |r| Ok(Protocol { name: r.string()?, metadata: r.bytes()? }))?;
    let reason = if version >= 8 { r.nullable_string()? } else { None };
    Ok(Join {
        group,
        member,
        instance,
        client_id: call.client_id.clone().unwrap_or_default(),
        client_host: client_host.to_owned(),
        session_timeout_ms: u32::try_from(session_timeout).unwrap_or(0),
        rebalance_timeout_ms: u32::try_from(rebalance_timeout).unwrap_or(0),
        protocol_type,
        protocols,
        knows_id_round: version >= 4,
        may_skip_assignment: version >= 9,
        reason,
    })
}

fn write_joined(w: &mut Writer, version: i16, joined: &Joined) {
    w.i16(ErrorCode::None.number());
    w.i32(joined.generation);
    if version >= 7 {
        w.nullable_string(Some(&joined.protocol_type));
    }
    w.string(&joined.protocol);
    w.string(&joined.leader);
    if version >= 9 {
        w.bool(joined.skip_assignment);
    }
    w.string(&joined.member);
    w.structs(&joined.members, |w, member| {
        w.string(&member.member);
        if version >= 5 {
            w.nullable_string(member.instance.as_deref());
        }
        w.bytes(&member.metadata);
    });
}

fn write_not_joined(w: &mut Writer, version: i16, refusal: &JoinRefusal) {
    w.i16(ErrorCode::from(&refusal.why).number());
    w.i32(-1); // generation
    if version >= 7 {
        w.nullable_string(None); // protocol type
        w.nullable_string(None); // protocol
    } else {
        w.string("");
    }
    w.string(""); // leader
    if version >= 9 {
        w.bool(false);
    }
    w.string(&refusal.member);
    w.structs(&[], |_, _: &()| {});
}

/// Versions 0–5.
pub(super) async fn sync_group<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let r = &mut call.body;
    let (group, generation, member) = (r.string()?, r.i32()?, r.string()?);
    let instance = if version >= 3 { r.nullable_string()? } else { None };
    let protocol_type = if version >= 5 { r.nullable_string()? } else { None };
    let protocol = if version >= 5 { r.nullable_string()? } else { None };
    let assignments = r.structs(3, |r| Ok((r.string()?, r.bytes()?)))?;
    let sync = SyncGroup { group, generation, member, instance, protocol_type, protocol, assignments };
    let answer = context.broker.sync(sync).await;
    let synced = answer.as_ref().ok();
    let mut w = call.writer();
    if version >= 1 {
        w.i32(0); // throttle time
    }
    w.i16(code_of(&answer).number());
    if version >= 5 {
        w.nullable_string(synced.map(|synced| synced.protocol_type.as_str()));
        w.nullable_string(synced.map(|synced| synced.protocol.as_str()));
    }
    w.chunks(synced.map_or(&[], |Synced { assignment, .. }| std::slice::from_ref(assignment)));
    w.finish()
}

/// Versions 0–4.
pub(super) async fn heartbeat<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let r = &mut call.body;
    let (group, generation, member) = (r.string()?, r.i32()?, r.string()?);
    let instance = if call.version >= 3 { r.nullable_string()? } else { None };
    let answer = context.broker.heartbeat(Heartbeat { group, generation, member, instance }).await;
    let mut w = call.writer();
    if call.version >= 1 {
        w.i32(0); // throttle time
    }
    w.i16(code_of(&answer).number());
    w.finish()
}

/// From this version on, several members in one request.
const BATCHED_LEAVE_FROM: i16 = 3;

/// Versions 0–5.
pub(super) async fn leave_group<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let r = &mut call.body;
    let group = r.string()?;
    let members = match version >= BATCHED_LEAVE_FROM {
        false => vec![LeavingMember { member: r.string()?, instance: None }],
        true => r.structs(3, |r| {
            let leaving = LeavingMember { member: r.string()?, instance: r.nullable_string()? };
            if version >= 5 {
                r.nullable_string()?; // why
            }
            Ok(leaving)
        })?,
    };
    let answer = context.broker.leave(Leave { group, members: members.clone() }).await;
    let each = answer.as_ref().map_or(&[][..], Vec::as_slice);
    let mut w = call.writer();
    if version >= 1 {
        w.i32(0); // throttle time
    }
    if version < BATCHED_LEAVE_FROM {
        let error = answer
            .as_ref()
            .map_or_else(ErrorCode::from, |each| each.first().map_or(ErrorCode::None, code_of));
        w.i16(error.number());
        return w.finish();
    }
    w.i16(code_of(&answer).number());
    let left: Vec<_> = members.iter().zip(each).collect();
    w.structs(&left, |w, (leaving, outcome)| {
        w.string(&leaving.member);
        w.nullable_string(leaving.instance.as_deref());
        w.i16(code_of(outcome).number());
    });
    w.finish()
}
