//! Requests off a socket: a length, then that many bytes.
//!
//! The length is checked and paid for out of the node's budget before anything is allocated for it, and the bytes have
//! to follow within a time. [`Frames::next`] may be dropped at any point and called again: what has been read stays.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::time::{Instant, timeout_at};

use crate::budget::{Budget, Paid};

/// Key, version and correlation id: no request is shorter.
const FRAME_BYTES_MIN: usize = 8;

/// Small requests come out of the socket together.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// Why no more requests come out of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the connection ended in the middle of a request")]
    CutOff,
    #[error("a request began and was not complete after {0:?}")]
    Slow(Duration),
    #[error("a request of {length} bytes (at most {bytes_max} are taken): {guess}")]
    Length { length: i32, bytes_max: usize, guess: &'static str },
}

/// A request's bytes, and what was paid for them.
pub(crate) struct Incoming {
    pub(crate) bytes: Bytes,
    pub(crate) paid: Paid,
}

/// What requests may cost.
#[derive(Clone)]
pub(crate) struct FrameBounds {
    pub(crate) bytes_max: usize,
    pub(crate) time_max: Duration,
    pub(crate) budget: Budget,
}

/// The requests of one connection.
pub(crate) struct Frames<S> {
    stream: BufReader<S>,
    bounds: FrameBounds,
    head: BytesMut,
    body: Option<Body>,
    deadline: Option<Instant>,
}

struct Body {
    bytes: BytesMut,
    length: usize,
    paid: Paid,
}

impl<S: AsyncRead + Unpin> Frames<S> {
    pub(crate) fn new(stream: S, bounds: FrameBounds) -> Frames<S> {
        let stream = BufReader::with_capacity(READ_AHEAD_BYTES, stream);
        Frames { stream, bounds, head: BytesMut::with_capacity(4), body: None, deadline: None }
    }

    /// The way back to the client.
    pub(crate) fn stream(&mut self) -> &mut BufReader<S> {
        &mut self.stream
    }

    /// The next request; `None` if the client closed the connection between two.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>, FrameFault> {
        if self.body.is_none() {
            let Some(length) = self.length().await? else { return Ok(None) };
            self.reserve(length).await;
        }
        self.fill().await.map(Some)
    }

    async fn length(&mut self) -> Result<Option<usize>, FrameFault> {
        while self.head.len() < 4 {
            let room = 4 - self.head.len();
            let read = read_some(&mut self.stream, &mut self.head, room);
            let count = match self.deadline {
                None => read.await?,
                Some(deadline) => timeout_at(deadline, read).await.map_err(|_| self.slow())??,
            };
            match count {
                0 if self.head.is_empty() => return Ok(None),
                0 => return Err(FrameFault::CutOff),
                _ => self.deadline = self.deadline.or(Some(Instant::now() + self.bounds.time_max)),
            }
        }
        self.checked_length().map(Some)
    }

    fn slow(&self) -> FrameFault {
        FrameFault::Slow(self.bounds.time_max)
    }

    fn checked_length(&self) -> Result<usize, FrameFault> {
        let bytes_max = self.bounds.bytes_max;
        let length = (&self.head[..]).get_i32();
        match usize::try_from(length) {
            Ok(size) if (FRAME_BYTES_MIN..=bytes_max).contains(&size) => Ok(size),
            _ => Err(FrameFault::Length { length, bytes_max, guess: guess(&self.head) }),
        }
    }

    /// Pays for a request. Its time begins when its bytes are asked for, not while it waits for its turn.
    async fn reserve(&mut self, length: usize) {
        let paid = self.bounds.budget.pay(length).await;
        self.body = Some(Body { bytes: BytesMut::with_capacity(length), length, paid });
        self.deadline = Some(Instant::now() + self.bounds.time_max);
    }

    async fn fill(&mut self) -> Result<Incoming, FrameFault> {
        let deadline = self.deadline.expect("set when the body was reserved");
        let body = self.body.as_mut().expect("reserved by the caller");
        while body.bytes.len() < body.length {
            let room = body.length - body.bytes.len();
            let read = read_some(&mut self.stream, &mut body.bytes, room);
            let count =
                timeout_at(deadline, read).await.map_err(|_| FrameFault::Slow(self.bounds.time_max))??;
            if count == 0 {
                return Err(FrameFault::CutOff);
            }
        }
        let body = self.body.take().expect("still there");
        self.head.clear();
        self.deadline = None;
        Ok(Incoming { bytes: body.bytes.freeze(), paid: body.paid })
    }
}

/// Reads what is there, but no more than `room` bytes.
async fn read_some<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
    into: &mut BytesMut,
    room: usize,
) -> std::io::Result<usize> {
    let mut limited = bytes::BufMut::limit(into, room);
    stream.read_buf(&mut limited).await
}

/// What the other side seems to speak, for the person who reads the log.
fn guess(head: &[u8]) -> &'static str {
    match head {
        [0x16, 0x03, ..] => {
            "this looks like TLS, but the port is plaintext: set the client's security.protocol"
        }
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" => "this looks like HTTP; this port speaks Kafka",
        b"SSH-" => "this looks like SSH; this port speaks Kafka",
        _ => "not a Kafka client, or a request larger than this cluster takes",
    }
}
