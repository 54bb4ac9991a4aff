//! Real sites over loopback, asked by a Kafka client: what clients and operators are promised, end to end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod certificates;
mod cluster;
mod crash;
mod doors;
mod three_sites;
