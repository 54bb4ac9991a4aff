//! A small Kafka client for our own tools: commands, demo and benchmarks.
//!
//! It speaks to any Kafka-compatible broker, so that the same benchmark can be pointed at another system. Three layers:
//! a connection with many requests on the way ([`Options::in_flight_max`]), a [`Client`] that follows metadata to the right
//! broker and retries what may be retried, and two conveniences on top: a batching, idempotent [`Producer`] and a
//! [`GroupConsumer`].
//!
//! Why our own: the tools must report what a broker answered (base offsets of −2^40 included), at which moment, and with the
//! batches' bytes as they are, which general clients hide.
//!
//! What it leaves out: transactions, SASL, fetch sessions, any assignor but range.

mod assign;
mod client;
mod connection;
mod consumer;
mod error;
mod fetch;
mod groups;
mod metadata;
mod options;
mod partitioner;
mod produce;
mod producer;
mod read;
mod socket;
mod topics;
mod wire;

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use consumer::{GroupConsumer, GroupOptions, Polled};
pub use error::ClientError;
pub use fetch::{FetchAnswer, FetchOptions, FetchPosition, FoundOffset, Isolation, Position, log_end};
pub use groups::{Committed, GroupDescription, GroupListing, GroupMember};
pub use kafka_protocol::error::ResponseError;
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use options::{Options, TlsError, tls};
pub use partitioner::partition_for_key;
pub use produce::{Acks, InFlight, ProduceAnswer};
pub use producer::{Delivery, Message, Producer, ProducerOptions, Receipt};
pub use read::{ReadRecord, read_records};
pub use topics::{Cluster, Created, NewTopic, Setting};
