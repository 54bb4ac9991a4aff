//! One request of a Kafka client, its length already read, answered as far as that goes without waiting.

use std::time::Duration;

use bytes::Bytes;
use kafka::Limits;

use crate::memory::Memory;

/// A request: header, body, and the answer to it.
pub(crate) fn kafka_request(bytes: &[u8]) {
    let broker = Memory::new(&[("eu-west", 9092)]);
    let limits = Limits { fetch_wait_max: Duration::ZERO, ..Limits::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without sockets needs nothing");
    let request = kafka::lone::answer(broker, limits, Bytes::copy_from_slice(bytes));
    // Polled as long as it needs no time: a call may be dropped at any point.
    let _ = runtime.block_on(async { tokio::time::timeout(Duration::ZERO, request).await });
}
