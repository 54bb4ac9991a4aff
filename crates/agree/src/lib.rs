//! Agreement on where a silent site's journal ends.
//!
//! One value per journal, the *cut*, agreed on by a majority of the members as in single-decree Paxos. Two things make it
//! more than that. Who promises a ballot *freezes* the journal: for the quorum of a release it never again reports more of
//! it than it held then (in this attempt), so that the highest frozen frontier of any majority covers all that any site could release. And
//! a site accepts a cut only when it durably holds everything below it.
//!
//! Freezing costs: while an agreement stands still, a release needs the others. So a ballot may also decide that the
//! journal goes on, which thaws it, and a later attempt is an agreement of its own.
//!
//! This room holds the rules of voting and of counting votes, as values: no messages are sent here, nothing is written.
//! Whoever uses it makes a [`Vote`] durable before it tells of it, and tells a started agreement to its end. The rules
//! are model-checked (`crates/order/tests/seal`).

mod proposal;
mod vote;

pub use proposal::Proposal;
pub use vote::{Ballot, NoVote, Said, Storages, Verdict, Vote};
