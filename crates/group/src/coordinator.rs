//! All groups of one node: finds the group, keeps the limits, and knows which group is due next.

use std::collections::{BTreeMap, BTreeSet};

use crate::member::join_bytes;
use crate::output::Output;
use crate::refusal::Bounded;
use crate::settings::{GROUP_ID_BYTES_MAX, INSTANCE_ID_BYTES_MAX, PROTOCOLS_MAX};
use crate::state::{Group, Phase, Turn};
use crate::sync::is_simple;
use crate::{CheckCommit, Claim, Description, Heartbeat, Join, Leave, Left, Listing, Refusal, Request};
use crate::{Response, Settings, StateName, Sync};

/// The coordinator of every group whose coordination is this node's.
#[derive(Debug)]
pub struct Coordinator {
    settings: Settings,
    groups: BTreeMap<String, Kept>,
    /// When each group is due, soonest first; one entry per group that has a deadline.
    due: BTreeSet<(u64, String)>,
    bytes: usize,
    /// Orders members by arrival and makes their ids unique.
    ordinal: u64,
}

/// A group beside what the coordinator has noted of it, to take back when it changes.
#[derive(Debug)]
struct Kept {
    group: Group,
    due_ms: Option<u64>,
    bytes: usize,
}

impl Coordinator {
    /// A coordinator without groups.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, groups: BTreeMap::new(), due: BTreeSet::new(), bytes: 0, ordinal: 0 }
    }

    /// Handles one request. Its answer is among these outputs or later ones, exactly once.
    pub fn handle(&mut self, now_ms: u64, ticket: u64, request: Request, out: &mut Vec<Output>) {
        let response = match request {
            Request::Join(join) => match self.join(now_ms, ticket, &join, out) {
                Ok(()) => return,
                Err(refusal) => Response::Join(Err(refusal)),
            },
            Request::Sync(sync) => match self.sync(now_ms, ticket, &sync, out) {
                Ok(()) => return,
                Err(refusal) => Response::Sync(Err(refusal)),
            },
            Request::Heartbeat(heartbeat) => Response::Heartbeat(self.heartbeat(now_ms, &heartbeat, out)),
            Request::Leave(leave) => Response::Leave(self.leave(now_ms, &leave, out)),
            Request::CheckCommit(commit) => Response::CheckCommit(self.check_commit(now_ms, &commit, out)),
            Request::List => Response::List(self.list()),
            Request::Describe { group } => Response::Describe(self.describe(group)),
            Request::Delete { group } => Response::Delete(self.delete(&group)),
        };
        out.push(Output::Reply { ticket, response });
    }

    /// Lets time pass: call it when [`Coordinator::next_deadline`] has come. Calling it earlier does no harm.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        while let Some((due_ms, name)) = self.due.first().cloned() {
            if due_ms > now_ms {
                break;
            }
            self.with_group(now_ms, &name, out, Group::tick);
            let moved_on = self.groups.get(&name).is_none_or(|kept| kept.due_ms.is_none_or(|at| at > now_ms));
            assert!(moved_on, "group {name} is due at {due_ms} again after it was ticked at {now_ms}");
        }
    }

    /// When to call [`Coordinator::tick`] next, in the milliseconds that `now_ms` counts.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Coordination of this group has moved to another site: everyone who waits is told, and the state is dropped.
    pub fn stop_coordinating(&mut self, group: &str, out: &mut Vec<Output>) {
        if let Some(kept) = self.forget(group) {
            kept.group.dissolve(&mut Turn { now_ms: 0, settings: &self.settings, out });
        }
    }

    /// The names of all groups with state here, so that the caller can see which are no longer its own.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    fn join(&mut self, now_ms: u64, ticket: u64, join: &Join, out: &mut Vec<Output>) -> Result<(), Refusal> {
        check_claim(&join.claim)?;
        self.check_join(join)?;
        let name = &join.claim.group;
        if !self.groups.contains_key(name) {
            if !join.claim.member_id.is_empty() {
                return Err(Refusal::UnknownMember);
            }
            self.make_room()?;
            let group = Group::new(name, now_ms);
            self.groups.insert(name.clone(), Kept { group, due_ms: None, bytes: 0 });
        }
        self.ordinal += 1;
        let ordinal = self.ordinal;
        self.with_group(now_ms, name, out, |group, turn| group.join(turn, ticket, join, ordinal));
        Ok(())
    }

    fn check_join(&self, join: &Join) -> Result<(), Refusal> {
        let Settings { session_ms_min: min_ms, session_ms_max: max_ms, .. } = self.settings;
        if join.session_ms < min_ms || join.session_ms > max_ms {
            return Err(Refusal::InvalidSession { min_ms, max_ms });
        }
        check_size(Bounded::Protocols, join.protocols.len(), PROTOCOLS_MAX)?;
        let given = join_bytes(&join.protocols);
        check_size(Bounded::JoinBytes, given, self.settings.limits.join_bytes)?;
        self.check_room(given)
    }

    fn check_room(&self, more_bytes: usize) -> Result<(), Refusal> {
        let fits = self.bytes.saturating_add(more_bytes) <= self.settings.limits.total_bytes;
        if fits { Ok(()) } else { Err(Refusal::OutOfRoom) }
    }

    /// Room for one more group, if need be in place of the one that has been empty for longest.
    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.groups.len() < self.settings.limits.groups {
            return Ok(());
        }
        let empty = self.groups.iter().filter_map(|(name, kept)| match kept.group.phase {
            Phase::Empty { since_ms } if kept.group.promised.is_empty() => Some((since_ms, name)),
            _ => None,
        });
        let oldest = empty.min().map(|(_, name)| name.clone()).ok_or(Refusal::OutOfRoom)?;
        self.forget(&oldest);
        Ok(())
    }

    fn sync(&mut self, now_ms: u64, ticket: u64, sync: &Sync, out: &mut Vec<Output>) -> Result<(), Refusal> {
        check_claim(&sync.claim)?;
        check_size(Bounded::Members, sync.assignments.len(), self.settings.limits.members)?;
        let given = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        check_size(Bounded::AssignmentBytes, given, self.settings.limits.assignment_bytes)?;
        self.check_room(given)?;
        let run = |group: &mut Group, turn: &mut Turn<'_>| group.sync(turn, ticket, sync);
        self.with_group(now_ms, &sync.claim.group, out, run).ok_or(Refusal::UnknownMember)
    }

    fn heartbeat(&mut self, now_ms: u64, asked: &Heartbeat, out: &mut Vec<Output>) -> Result<(), Refusal> {
        check_claim(&asked.claim)?;
        let run = |group: &mut Group, turn: &mut Turn<'_>| group.heartbeat(turn, asked);
        self.with_group(now_ms, &asked.claim.group, out, run).unwrap_or(Err(Refusal::UnknownMember))
    }

    fn leave(&mut self, now_ms: u64, asked: &Leave, out: &mut Vec<Output>) -> Result<Vec<Left>, Refusal> {
        check_group_id(&asked.group)?;
        check_size(Bounded::Members, asked.members.len(), self.settings.limits.members)?;
        let left = self.with_group(now_ms, &asked.group, out, |group, turn| group.leave(turn, asked));
        Ok(left.unwrap_or_else(|| {
            let stranger = |leaving: &crate::Leaving| Left {
                member_id: leaving.member_id.clone(),
                instance_id: leaving.instance_id.clone(),
                result: Err(Refusal::UnknownMember),
            };
            asked.members.iter().map(stranger).collect()
        }))
    }

    /// Unlike all else, a simple consumer's commit may come to a group without a name: Kafka has always taken it.
    fn check_commit(
        &mut self,
        now_ms: u64,
        asked: &CheckCommit,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if !asked.claim.group.is_empty() || !is_simple(asked) {
            check_claim(&asked.claim)?;
        }
        let run = |group: &mut Group, turn: &mut Turn<'_>| group.check_commit(turn, asked);
        let stranger = if is_simple(asked) { Ok(()) } else { Err(Refusal::UnknownMember) };
        self.with_group(now_ms, &asked.claim.group, out, run).unwrap_or(stranger)
    }

    fn list(&self) -> Vec<Listing> {
        let listing = |kept: &Kept| Listing {
            group: kept.group.name.clone(),
            protocol_type: kept.group.protocol_type.clone(),
            state: kept.group.state(),
        };
        self.groups.values().map(listing).collect()
    }

    fn describe(&self, group: String) -> Description {
        match self.groups.get(&group) {
            Some(kept) => kept.group.describe(),
            None => Description {
                group,
                state: StateName::Dead,
                generation: -1,
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            },
        }
    }

    fn delete(&mut self, group: &str) -> Result<(), Refusal> {
        let kept = self.groups.get(group).ok_or(Refusal::UnknownGroup)?;
        if !matches!(kept.group.phase, Phase::Empty { .. }) {
            return Err(Refusal::NonEmpty);
        }
        self.forget(group);
        Ok(())
    }

    /// Runs one step on a group and brings the notes about it up to date.
    fn with_group<T>(
        &mut self,
        now_ms: u64,
        name: &str,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let kept = self.groups.get_mut(name)?;
        let result = step(&mut kept.group, &mut Turn { now_ms, settings: &self.settings, out });
        let (was_due_ms, had_bytes) = (kept.due_ms, kept.bytes);
        (kept.due_ms, kept.bytes) = (kept.group.deadline(), kept.group.bytes());
        self.bytes = self.bytes - had_bytes + kept.bytes;
        if was_due_ms != kept.due_ms {
            was_due_ms.map(|due_ms| self.due.remove(&(due_ms, name.to_owned())));
            kept.due_ms.map(|due_ms| self.due.insert((due_ms, name.to_owned())));
        }
        if kept.group.is_forgettable(now_ms) {
            self.forget(name);
        }
        Some(result)
    }

    fn forget(&mut self, name: &str) -> Option<Kept> {
        let kept = self.groups.remove(name)?;
        self.bytes -= kept.bytes;
        kept.due_ms.map(|due_ms| self.due.remove(&(due_ms, name.to_owned())));
        Some(kept)
    }
}

fn check_claim(claim: &Claim) -> Result<(), Refusal> {
    check_group_id(&claim.group)?;
    let given = claim.instance_id.as_ref().map_or(0, String::len);
    check_size(Bounded::InstanceIdBytes, given, INSTANCE_ID_BYTES_MAX)
}

fn check_group_id(group: &str) -> Result<(), Refusal> {
    let fits = !group.is_empty() && group.len() <= GROUP_ID_BYTES_MAX;
    if fits { Ok(()) } else { Err(Refusal::InvalidGroupId { max_bytes: GROUP_ID_BYTES_MAX }) }
}

fn check_size(what: Bounded, given: usize, max: usize) -> Result<(), Refusal> {
    if given <= max { Ok(()) } else { Err(Refusal::TooLarge { what, given, max }) }
}
