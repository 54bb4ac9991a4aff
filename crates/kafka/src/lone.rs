//! One request without a connection: the way in for a fuzzer, which has bytes and no socket.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::api::{self, Asked, Context};
use crate::broker::Broker;
use crate::budget::Budget;
use crate::limits::Limits;

/// The answer to one request, its length already taken off; `None` where none is due or the bytes are no request.
pub async fn answer<B: Broker>(broker: Arc<B>, limits: Limits, request: Bytes) -> Option<Bytes> {
    let answers = Budget::new(limits.answer_bytes_max, limits.fetch_bytes_max);
    let context =
        Context { broker, limits, answers, home: "eu-west".into(), client_host: "/127.0.0.1".into() };
    let mut frame = match api::ask(request).ok()? {
        Asked::Call(call) => api::answer(&context, call).await.ok()??,
        Asked::Unsupported { answer, .. } => answer,
        Asked::Unknown(_) => return None,
    };
    Some(frame.copy_to_bytes(frame.remaining()))
}
