//! Client histories as plain data, and the checker that reads them.
//!
//! Clients of any kind write down what they asked for and what they were told: sends, polls, assignments, each with its
//! process, site and time. [`Gather`] pairs invocations with completions into a [`History`]; [`check`] looks in it for every
//! class of anomaly that is known of partitioned logs ([`Class`]), from lost writes to cycles of dependencies. The classes
//! and their names are those of Jepsen's Kafka workload, so that a report can be compared with other systems'; what counts
//! as the same here and what differs is said where a class is checked.
//!
//! Two things are this queue's own. A send is usually acknowledged before its merged offset exists, so offsets are learnt
//! from polls, at every site, and all of them must agree. And each topic is also readable as one log per origin
//! (`eu-west.orders`): those are logs of their own here, and the merged log must keep their order.
//!
//! What clients see, some of it may be so for a reason that they cannot know: a tail that came late after its site was fenced
//! stands behind what was sent after it. Such a reason is not assumed. The sites are asked for the place of every batch and
//! for the turns of their journals ([`Evidence`]), and only what these prove is excused.
//!
//! Nothing in this room reads a clock, a file or a socket, and nothing is decided by chance: the same history gives the same
//! report. It refuses histories that prove nothing, such as one value sent twice to one log.

mod analysis;
mod check;
mod class;
mod cycles;
mod event;
mod evidence;
mod gather;
mod lag;
mod order;
mod report;
#[cfg(test)]
mod tale;
mod writers;

pub use check::check;
pub use class::{Class, Span};
pub use event::{Event, Kind, Place, Spot};
pub use evidence::{Evidence, Placing, Shift, Turn, TurnKind};
pub use gather::{Call, Deed, Gather, GatherError, History, Log, LogId, Outcome, Polled, Sent};
pub use lag::Lag;
pub use report::{Excuse, Finding, Late, Promises, Report, Verdict};
