//! What clients may take of this node, each limit with its reason.

use std::time::Duration;

/// One answer: as much as a site holds of its groups' members, the largest thing that is told at once. A request that would get
/// more ends its connection.
pub(crate) const ONE_ANSWER_BYTES_MAX: usize = 256 << 20;

/// A client's note to one position: what Kafka takes (`offset.metadata.max.bytes`). Every site keeps it for as long as it knows
/// the group.
pub(crate) const NOTE_BYTES_MAX: usize = 4096;

/// Bounds on connections and on the memory that they can make the node hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One request. Java's default is 1 MiB a request; Kafka itself would take 100 MiB.
    pub frame_bytes_max: usize,
    /// Requests of all connections together, from before their bytes are read until they are answered; those of one
    /// address may take half of it.
    pub in_flight_bytes_max: usize,
    /// Requests of one connection: beyond it, the next is not read yet. One request is always taken.
    pub connection_bytes_max: usize,
    /// Requests of one connection that wait for their answers: beyond it, the next is not read yet.
    pub pipeline_max: usize,
    /// Connections in all: each costs a file descriptor and some tens of KiB.
    pub connections_max: usize,
    /// Connections from one address: one careless client must not shut out all others.
    pub connections_per_address_max: usize,
    /// Bytes that one answer to Fetch carries, whatever the client asks for; a first batch larger than that still goes.
    pub fetch_bytes_max: usize,
    /// Bytes that answers to Fetch carry, of all connections together, until they are written: what clients that do not
    /// read can make the node hold.
    pub answer_bytes_max: usize,
    /// How long one Fetch waits for data, whatever the client asks for.
    pub fetch_wait_max: Duration,
    /// From a request's first byte to its last.
    pub frame_time_max: Duration,
    /// How long an answer may wait for a client that does not read.
    pub write_time_max: Duration,
    /// A connection on which nothing is asked and nothing is owed ends after this; Kafka's own default.
    pub idle_time_max: Duration,
    /// A TLS handshake.
    pub handshake_time_max: Duration,
    /// At shutdown, how long answers that are owed may take.
    pub drain_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: 32 << 20,
            in_flight_bytes_max: 256 << 20,
            connection_bytes_max: 64 << 20,
            pipeline_max: 128,
            connections_max: 4096,
            connections_per_address_max: 2048,
            fetch_bytes_max: 32 << 20,
            answer_bytes_max: 256 << 20,
            fetch_wait_max: Duration::from_secs(60),
            frame_time_max: Duration::from_secs(30),
            write_time_max: Duration::from_secs(60),
            idle_time_max: Duration::from_secs(600),
            handshake_time_max: Duration::from_secs(10),
            drain_time_max: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The same with no more connections than so many, and no more than half of them from one address.
    #[must_use]
    pub fn with_connections(self, most: usize) -> Limits {
        let connections_max = self.connections_max.min(most);
        let connections_per_address_max = self.connections_per_address_max.min(connections_max.div_ceil(2));
        Limits { connections_max, connections_per_address_max, ..self }
    }
}
