//! Consumer groups, coordinated: who is a member, in which generation, with which assignment, and who may commit.
//!
//! One [`Coordinator`] is a pure state machine for all the groups a node coordinates: requests and the time go in, replies and
//! events come out. A reply may come much later than its request (a join waits for the others), so each request carries a
//! ticket and every ticket is answered exactly once.
//!
//! The behaviour is the classic protocol as Kafka's own coordinator has it, because what clients rely on is what it does:
//! member ids handed out before the first join, static members that come back without a rebalance, a barrier for joining and
//! one for the leader's assignment, protocols chosen by vote.
//!
//! What it refuses to do: read a clock, draw random numbers, store commits, or understand an assignment. Assignments are
//! bytes from the leader to the members. Progress is journaled elsewhere; here one only asks *may this member commit now?*
//! Where a group is coordinated is decided above; when it moves away, [`Coordinator::stop_coordinating`] tells the waiting ones.

mod coordinator;
mod expiry;
mod join;
mod member;
mod member_id;
mod output;
mod refusal;
mod request;
mod response;
mod settings;
mod state;
mod sync;

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

pub use coordinator::Coordinator;
pub use member_id::minted_by;
pub use output::{Event, Output, Removal};
pub use refusal::{Bounded, Refusal};
pub use request::{CheckCommit, Claim, Client, Heartbeat, Join, Leave, Leaving, Protocol, Request, Sync};
pub use response::{
    Description, Joined, Left, Listing, MemberDescription, MemberMetadata, Response, StateName, Synced,
};
pub use settings::{Limits, Settings};
