//! The join trait, the CRDTs built on it, and the laws each must pass.
//!
//! State that sites share without asking each other is one of these. What arrives twice, late or in another order
//! joins to the same state, so that delivery needs no more than "sometime". Domain words stay out: a key is whatever
//! orders, a position is a `u64`.
//!
//! The laws are not taken on trust: `laws` (feature of that name) checks them on generated histories, and every CRDT
//! here and elsewhere runs it.

mod frontier;
mod intervals;
mod join;
#[cfg(any(test, feature = "laws"))]
pub mod laws;
mod progress;
mod registers;

pub use frontier::Frontier;
pub use intervals::{IntervalError, IntervalSet};
pub use join::Join;
pub use progress::{Epoch, Progress};
pub use registers::{Newest, PerSite};
