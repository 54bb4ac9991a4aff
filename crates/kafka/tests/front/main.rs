//! The front over real TCP, with another implementation of Kafka's protocol on the client's side: every API in every
//! version it is offered in, and what misbehaving clients get.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod client;
mod data;
mod groups;
mod limits;
#[path = "../memory/mod.rs"]
mod memory;
mod strangers;
mod tls;
mod topics;
