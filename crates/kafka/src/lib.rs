//! The Kafka front: what lets unmodified Kafka clients talk to a site.
//!
//! A [`Front`] serves one [`Door`] per home region. Bytes become calls on a [`broker::Broker`], answers become bytes; no
//! storage decision is taken here, and none of Kafka's wire types leaves this crate.
//!
//! From the outside in: `listener` (connections and their limits), `session` (one connection), `frame` (requests off a
//! socket), `budget` (what all of them may hold), `pipeline` (their order), `api` (the table of what may be asked and the handlers), `wire` (primitive
//! types), `errors` (refusals as Kafka's codes), `home` (which site a client is sent to).

mod api;
pub mod broker;
mod budget;
mod errors;
mod frame;
mod home;
mod limits;
mod listener;
#[cfg(feature = "fuzz")]
pub mod lone;
mod pipeline;
mod session;
mod wire;

pub use limits::Limits;
pub use listener::{Door, Front};
