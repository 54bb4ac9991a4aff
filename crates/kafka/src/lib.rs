//! The Kafka front: limits, codec, sessions and API handlers.

pub mod broker;
