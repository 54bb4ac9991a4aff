//! One connection to one broker: many requests on the way at once, answers matched by correlation id.
//!
//! Two tasks own the socket. The writer gathers whatever is queued into one vectored write. The reader checks a frame's length
//! before it makes room for it, and notes the moment each answer was complete, which is what a benchmark wants to know. The
//! number of unanswered requests is bounded; who comes later waits. Brokers answer in order; we do not rely on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable as _, Request, StrBytes, VersionRange};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::socket;
use crate::wire::{Pieces, Produce, call_name, decode, encode, encode_produce, version_max};
use crate::{ClientError, Options};

/// Frames that wait for the writer; the in-flight limit is reached first unless requests want no answer.
const QUEUE_MAX: usize = 1_024;

/// An answer's bytes behind the length, and when they were complete.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: Bytes,
    pub(crate) at: Instant,
}

struct Waiting {
    sender: oneshot::Sender<Result<Answer, ClientError>>,
    _permit: OwnedSemaphorePermit,
}

/// What the callers and the reader share.
pub(crate) struct Shared {
    pub(crate) address: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<i32, Waiting>,
    /// Why the connection has ended.
    ended: Option<String>,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lost(&self, reason: &str) -> ClientError {
        ClientError::Lost { address: self.address.clone(), reason: reason.to_owned() }
    }

    /// Hands an answer to who waits for it. An answer nobody asked for means that the two sides have lost step.
    pub(crate) fn deliver(&self, correlation: i32, answer: Answer) -> Result<(), String> {
        let waiting = self.lock().waiting.remove(&correlation);
        let waiting = waiting.ok_or_else(|| format!("answer {correlation} was not asked for"))?;
        // Who gave up waiting has dropped the other end; that is no fault of the connection.
        let _ = waiting.sender.send(Ok(answer));
        Ok(())
    }

    /// Ends the connection for everybody. The first reason stays.
    pub(crate) fn end(&self, reason: &str) {
        let mut state = self.lock();
        if state.ended.is_none() {
            tracing::debug!(address = %self.address, reason, "connection ended");
            state.ended = Some(reason.to_owned());
        }
        for (_, waiting) in state.waiting.drain() {
            let _ = waiting.sender.send(Err(self.lost(reason)));
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    fn expect(&self, correlation: i32, waiting: Waiting) -> Result<(), ClientError> {
        let mut state = self.lock();
        if let Some(reason) = &state.ended {
            return Err(self.lost(&reason.clone()));
        }
        state.waiting.insert(correlation, waiting);
        Ok(())
    }
}

/// A connection; cheap to clone. It closes when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Pieces>,
    in_flight: Arc<Semaphore>,
    correlation: Arc<AtomicI32>,
    offered: Arc<HashMap<i16, VersionRange>>,
    client_id: Arc<str>,
    timeout: Duration,
}

/// A request that is on its way.
pub(crate) struct Pending {
    shared: Arc<Shared>,
    receiver: oneshot::Receiver<Result<Answer, ClientError>>,
    timeout: Duration,
    key: i16,
}

impl Pending {
    pub(crate) async fn answer(self) -> Result<Answer, ClientError> {
        match tokio::time::timeout(self.timeout, self.receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.shared.lost("closed")),
            Err(_) => Err(ClientError::TimedOut {
                address: self.shared.address.clone(),
                call: call_name(self.key),
                after_ms: self.timeout.as_millis(),
            }),
        }
    }
}

impl Connection {
    /// Connects and learns which versions the broker offers.
    pub(crate) async fn open(address: &str, options: &Options) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared { address: address.to_owned(), state: Mutex::default() });
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        socket::open(Arc::clone(&shared), queued, options).await?;
        let mut connection = Self {
            shared,
            queue,
            in_flight: Arc::new(Semaphore::new(options.in_flight_max.max(1))),
            correlation: Arc::new(AtomicI32::new(0)),
            offered: Arc::default(),
            client_id: Arc::from(options.client_id.as_str()),
            timeout: options.request_timeout,
        };
        connection.offered = Arc::new(connection.ask_versions().await?);
        Ok(connection)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.shared.has_ended()
    }

    /// Version 3 first; a broker that does not know it answers in the form of version 0, and is asked again in that.
    async fn ask_versions(&self) -> Result<HashMap<i16, VersionRange>, ClientError> {
        let malformed = |reason: String| ClientError::Malformed { call: "ApiVersions", reason };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("meridian"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut response = ApiVersionsResponse::default();
        for version in [3, 0] {
            let frame = |correlation| encode(&request, version, correlation, &self.client_id);
            let answer = self.submit(ApiKey::ApiVersions as i16, self.timeout, frame).await?.answer().await?;
            // The answer's header is of version 0 whatever was asked: just the correlation id.
            let mut body = answer.frame.slice(4.min(answer.frame.len())..);
            let refused = body.len() >= 2 && body[..2] != [0, 0];
            let version = if refused { 0 } else { version };
            response =
                ApiVersionsResponse::decode(&mut body, version).map_err(|e| malformed(format!("{e:#}")))?;
            if !refused {
                break;
            }
        }
        crate::error::check(response.error_code, || "ApiVersions".to_owned(), None)?;
        let range = |key: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (key.api_key, VersionRange { min: key.min_version, max: key.max_version })
        };
        Ok(response.api_keys.iter().map(range).collect())
    }

    /// The newest version of a call that both sides speak.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let ours = ApiKey::try_from(R::KEY).ok().and_then(version_max);
        let common = ours.zip(self.offered.get(&R::KEY)).map(|(max, offered)| {
            R::VERSIONS.intersect(&VersionRange { min: offered.min, max: max.min(offered.max) })
        });
        match common {
            Some(common) if !common.is_empty() => Ok(common.max),
            _ => {
                Err(ClientError::NoVersion { address: self.shared.address.clone(), call: call_name(R::KEY) })
            }
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.call_waiting(request, Duration::ZERO).await
    }

    /// Asks something that the broker itself may take `extra` to answer.
    pub(crate) async fn call_waiting<R: Request>(
        &self,
        request: &R,
        extra: Duration,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>()?;
        let frame = |correlation| encode(request, version, correlation, &self.client_id);
        let pending = self.submit(R::KEY, self.timeout + extra, frame).await?;
        decode::<R>(pending.answer().await?.frame, version)
    }

    /// Queues a produce request; returns once it is in line, so that calls made one after the other stay in that order.
    pub(crate) async fn produce(&self, produce: &Produce<'_>, version: i16) -> Result<Pending, ClientError> {
        let frame = |correlation| encode_produce(produce, version, correlation, &self.client_id);
        self.submit(ApiKey::Produce as i16, self.timeout, frame).await
    }

    /// Queues a produce request with acks=0, which brokers never answer.
    pub(crate) async fn produce_unanswered(
        &self,
        produce: &Produce<'_>,
        version: i16,
    ) -> Result<(), ClientError> {
        if !self.is_open() {
            return Err(self.shared.lost("closed"));
        }
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let pieces = encode_produce(produce, version, correlation, &self.client_id)?;
        self.queue.send(pieces).await.map_err(|_| self.shared.lost("closed"))
    }

    async fn submit(
        &self,
        key: i16,
        timeout: Duration,
        frame: impl FnOnce(i32) -> Result<Pieces, ClientError>,
    ) -> Result<Pending, ClientError> {
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.map_err(|_| self.shared.lost("closed"))?;
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let pieces = frame(correlation)?;
        let (sender, receiver) = oneshot::channel();
        self.shared.expect(correlation, Waiting { sender, _permit: permit })?;
        self.queue.send(pieces).await.map_err(|_| self.shared.lost("closed"))?;
        Ok(Pending { shared: Arc::clone(&self.shared), receiver, timeout, key })
    }
}
