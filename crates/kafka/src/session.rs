//! One connection, from its first request to its end.
//!
//! A session is one task: it reads requests, drives their answers and writes them. It never ends a connection silently:
//! the reason is returned as an [`End`], in words for the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{self, Asked, Call, Context};
use crate::broker::{Answered, Broker};
use crate::budget::Budget;
use crate::frame::{FrameBounds, FrameFault, Frames, Incoming};
use crate::limits::Limits;
use crate::pipeline::{Answering, Pipeline, Turn};
use crate::wire::{Fault, Frame, Malformed};

/// What was wrong with one request.
#[derive(Debug, thiserror::Error)]
#[error("bad {api} request of version {version}, client id {client_id:?}: {what}")]
pub(crate) struct BadRequest {
    api: &'static str,
    version: i16,
    client_id: Option<String>,
    what: Fault,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the client")]
    ByClient,
    #[error("nothing was asked for too long")]
    Idle,
    #[error("the node stops")]
    Stopping,
    #[error("{0}")]
    Frame(#[from] FrameFault),
    #[error("{0}")]
    Bad(#[from] BadRequest),
    #[error("a request header that cannot be read: {0}")]
    BadHeader(Malformed),
    #[error(
        "API key {0}, which this cluster does not have: not a Kafka client, or one that does not ask first"
    )]
    UnknownApi(i16),
    #[error("the client did not read its answers")]
    NotReading,
    #[error("{0}")]
    Io(std::io::Error),
    #[error("TLS handshake failed: {0} (does the client speak TLS, and does it know this cluster's CA?)")]
    Handshake(std::io::Error),
    #[error("TLS handshake not complete in time")]
    SlowHandshake,
}

impl End {
    /// Whether somebody should look at it.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            End::ByClient | End::Idle | End::Stopping | End::Io(_) => false,
            End::Frame(FrameFault::Io(_) | FrameFault::CutOff) => false,
            End::Frame(_) | End::Bad(_) | End::BadHeader(_) | End::UnknownApi(_) | End::NotReading => true,
            End::Handshake(_) | End::SlowHandshake => true,
        }
    }
}

/// Where a connection came in.
pub(crate) struct Arrival<B> {
    pub(crate) broker: Arc<B>,
    pub(crate) limits: Limits,
    pub(crate) bounds: FrameBounds,
    pub(crate) answers: Budget,
    pub(crate) home: Arc<str>,
    pub(crate) peer: SocketAddr,
}

/// Serves a connection until it ends.
pub(crate) async fn run<B: Broker, S: AsyncRead + AsyncWrite + Unpin>(
    arrival: Arrival<B>,
    stream: S,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let Arrival { broker, limits, bounds, answers, home, peer } = arrival;
    let context = Context { broker, limits, answers, home, client_host: format!("/{}", peer.ip()) };
    let session =
        Session { frames: Frames::new(stream, bounds), context: &context, pipeline: Pipeline::new() };
    session.serve(stop).await
}

struct Session<'a, B, S> {
    frames: Frames<S>,
    context: &'a Context<B>,
    pipeline: Pipeline<'a, BadRequest>,
}

impl<B: Broker, S: AsyncRead + AsyncWrite + Unpin> Session<'_, B, S> {
    async fn serve(mut self, stop: &mut watch::Receiver<bool>) -> End {
        let limits = self.context.limits;
        loop {
            let idle = self.pipeline.len() == 0;
            let step = tokio::select! {
                biased;
                answers = self.pipeline.next() => match answers {
                    Ok(answers) => self.send(answers).await,
                    Err(bad) => Err(bad.into()),
                },
                incoming = self.frames.next(), if has_room(&limits, &self.pipeline) => self.take(incoming),
                () = stopped(stop) => return self.drain().await,
                () = tokio::time::sleep(limits.idle_time_max), if idle => Err(End::Idle),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn take(&mut self, incoming: Result<Option<Incoming>, FrameFault>) -> Result<(), End> {
        let Some(Incoming { bytes, paid }) = incoming? else { return Err(End::ByClient) };
        let size = bytes.len();
        let (answering, turn) = start(self.context, bytes)?;
        self.pipeline.push(answering, turn, size, Some(paid));
        Ok(())
    }

    async fn send(&mut self, mut answers: Frame) -> Result<(), End> {
        let time_max = self.context.limits.write_time_max;
        let stream = self.frames.stream();
        while answers.has_remaining() {
            let written = timeout(time_max, stream.write_buf(&mut answers)).await;
            if written.map_err(|_| End::NotReading)?.map_err(End::Io)? == 0 {
                return Err(End::ByClient);
            }
        }
        timeout(time_max, stream.flush()).await.map_err(|_| End::NotReading)?.map_err(End::Io)
    }

    /// Answers what is owed, for a while.
    async fn drain(mut self) -> End {
        let time_max = self.context.limits.drain_time_max;
        let owed = async {
            while self.pipeline.len() > 0 {
                let Ok(answers) = self.pipeline.next().await else { return };
                if self.send(answers).await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(time_max, owed).await;
        End::Stopping
    }
}

/// Ends when the node stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the node with it.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn has_room(limits: &Limits, pipeline: &Pipeline<'_, BadRequest>) -> bool {
    pipeline.len() < limits.pipeline_max && pipeline.bytes() < limits.connection_bytes_max
}

fn start<'a, B: Broker>(
    context: &'a Context<B>,
    bytes: Bytes,
) -> Result<(Answering<'a, BadRequest>, Turn), End> {
    let received = Received { at: Instant::now(), bytes: LENGTH_BYTES + bytes.len() };
    match api::ask(bytes).map_err(End::BadHeader)? {
        Asked::Call(call) => {
            let turn = call.api.turn;
            Ok((Box::pin(answer(context, call, received)), turn))
        }
        Asked::Unsupported { api, version, answer } => {
            // Newer clients begin with a version of ApiVersions that nobody here knows, and go on from the answer.
            match api.key == api::ApiKey::ApiVersions {
                true => tracing::debug!(version, "a newer client asks what is spoken here"),
                false => tracing::warn!(
                    api = api.name,
                    version,
                    client = %context.client_host,
                    "a client uses a version that is not spoken here: it is too old, too new, or did not ask first"
                ),
            }
            let answering = async move {
                received.answered(context, api.name, Some(&answer));
                Ok(Some(answer))
            };
            Ok((Box::pin(answering), Turn::Alone))
        }
        Asked::Unknown(key) => Err(End::UnknownApi(key)),
    }
}

async fn answer<B: Broker>(
    context: &Context<B>,
    call: Call,
    received: Received,
) -> Result<Option<Frame>, BadRequest> {
    let (api, version, client_id) = (call.api.name, call.version, call.client_id.clone());
    let answer = api::answer(context, call).await;
    let answer = answer.map_err(|what| BadRequest { api, version, client_id, what })?;
    received.answered(context, api, answer.as_ref());
    Ok(answer)
}

/// What stands before a request on the wire.
const LENGTH_BYTES: usize = 4;

/// A request that has been read.
#[derive(Clone, Copy)]
struct Received {
    at: Instant,
    bytes: usize,
}

impl Received {
    /// Tells the node, for its figures.
    fn answered<B: Broker>(self, context: &Context<B>, api: &'static str, answer: Option<&Frame>) {
        let answer_bytes = answer.map_or(0, Buf::remaining);
        let elapsed = self.at.elapsed();
        context.broker.answered(Answered { api, request_bytes: self.bytes, answer_bytes, elapsed });
    }
}
