//! The merge: promises, stable point, quorum release, parting, duplicates.
//!
//! Every site feeds an [`Order`] with what it holds and hears, and every site's `Order` gives out the same sequence.
//! That is the whole product in one sentence, so this room is pure: no clock, no disk, no network, no bytes of a
//! record. What comes out depends on the journals; *when* it comes out depends on promises and on who holds what.
//!
//! [`Producers`] says which released batches are copies of earlier ones, alike everywhere; [`LocalWindow`] answers a
//! producer's retry at the site that has answered it before.
//!
//! The rules are model-checked (`tests/model`, `tests/seal`, `tests/leaving`; their heads list them) and the code is
//! compared with a naive oracle on generated histories (`tests/oracle`).

mod blocker;
mod holders;
mod journal;
mod local;
mod members;
mod order;
mod producers;
mod release;
mod sequence;
mod turn;

pub use blocker::{Blocker, Why};
#[cfg(feature = "mutants")]
pub use holders::Deciders;
pub use local::{LocalVerdict, LocalWindow};
pub use members::MEMBERS_MAX;
pub use order::Order;
pub use producers::{ProducerKey, Producers, Verdict};
pub use release::{BrokenPromise, Effect, Release, Weight};
pub use turn::{Turn, What};
