//! ListGroups, DescribeGroups and DeleteGroups: groups seen from outside.

use crate::api::{Call, Context, once};
use crate::broker::{Broker, GroupDescription, GroupListing, GroupRefusal, GroupState};
use crate::errors::{ErrorCode, code_of};
use crate::wire::{Fault, Frame, Writer};

/// What a client may do to a group (bits of Kafka's ACL operations): everything that makes sense.
const GROUP_OPERATIONS: i32 = 0b1_0100_1000;

/// "Not asked for", where operations would stand.
const OPERATIONS_UNASKED: i32 = i32::MIN;

/// The only kind of group so far.
const CLASSIC: &str = "classic";

fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
    }
}

/// Whether a filter lets this through; an empty one lets everything through.
fn passes(filter: &[String], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
}

/// Versions 0–5.
pub(super) async fn list_groups<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let version = call.version;
    let states = if version >= 4 { call.body.strings()? } else { Vec::new() };
    let kinds = if version >= 5 { call.body.strings()? } else { Vec::new() };
    let answer = context.broker.list_groups().await;
    let wanted = |group: &&GroupListing| passes(&states, state_name(group.state)) && passes(&kinds, CLASSIC);
    let groups: Vec<&GroupListing> = answer.iter().flatten().filter(wanted).collect();
    let mut w = call.writer();
    if version >= 1 {
        w.i32(0); // throttle time
    }
    w.i16(code_of(&answer).number());
    w.structs(&groups, |w, listing| {
        w.string(&listing.group);
        w.string(&listing.protocol_type);
        if version >= 4 {
            w.string(state_name(listing.state));
        }
        if version >= 5 {
            w.string(CLASSIC);
        }
    });
    w.finish()
}

/// Versions 0–5.
pub(super) async fn describe_groups<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let names = once(call.body.strings()?, String::clone, |_, _| ());
    let operations = call.version >= 3 && call.body.bool()?;
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        let answer = context.broker.describe_group(name.clone()).await;
        answers.push(described(name, answer));
    }
    let mut w = call.writer();
    if call.version >= 1 {
        w.i32(0); // throttle time
    }
    w.structs(&answers, |w, (error, group)| {
        w.i16(error.number());
        write_group(w, call.version, group);
        if call.version >= 3 {
            w.i32(if operations { GROUP_OPERATIONS } else { OPERATIONS_UNASKED });
        }
    });
    w.finish()
}

/// A group that nobody knows is described as dead, without an error: tools expect that.
fn described(group: String, answer: Result<GroupDescription, GroupRefusal>) -> (ErrorCode, GroupDescription) {
    let (error, state) = match answer {
        Ok(description) => return (ErrorCode::None, description),
        Err(GroupRefusal::UnknownGroup) => (ErrorCode::None, GroupState::Dead),
        Err(refusal) => (ErrorCode::from(&refusal), GroupState::Dead),
    };
    let (protocol_type, protocol) = (String::new(), String::new());
    (error, GroupDescription { group, state, protocol_type, protocol, members: Vec::new() })
}

fn write_group(w: &mut Writer, version: i16, group: &GroupDescription) {
    w.string(&group.group);
    w.string(state_name(group.state));
    w.string(&group.protocol_type);
    w.string(&group.protocol);
    w.structs(&group.members, |w, member| {
        w.string(&member.member);
        if version >= 4 {
            w.nullable_string(member.instance.as_deref());
        }
        w.string(&member.client_id);
        w.string(&member.client_host);
        w.bytes(&member.metadata);
        w.bytes(&member.assignment);
    });
}

/// Versions 0–2.
pub(super) async fn delete_groups<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let names = call.body.strings()?;
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        let answer = context.broker.delete_group(name.clone()).await;
        answers.push((name, answer));
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.structs(&answers, |w, (name, answer)| {
        w.string(name);
        w.i16(code_of(answer).number());
    });
    w.finish()
}
