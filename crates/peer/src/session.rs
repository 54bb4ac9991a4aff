//! One connection while it is up: a task per lane and direction, so that no lane waits for another.
//!
//! The session ends when the connection does or when one of its tasks finds the other end breaking the rules; then all
//! tasks are stopped first and `Down` is its last event.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::event::Credit;
use crate::frame::{FrameReader, ReadFailure, prefix};
use crate::outbox::{Drain, Outbox, outbox};
use crate::refusal::{Code, Ending, Refusal};
use crate::roster::{Live, Roster, Slot};
use crate::{Event, Lane, Tuning, silence};

/// What may wait in the control lane. Control frames are small; this much means that the link does not move.
const CONTROL_QUEUE_BYTES: usize = 4 << 20;
/// Frames taken from a queue at once.
const FRAMES_AT_ONCE: usize = 64;
/// Bytes handed to QUIC before room is told.
const BYTES_AT_ONCE: usize = 128 << 10;
/// `Room` events that may wait for the site per lane; beyond it the lane pauses.
const ROOM_EVENTS_MAX: usize = 8;
/// Into so many shares a lane's inbound budget is cut: the most frames of it that wait as events.
const INBOUND_EVENTS_MAX: usize = 192;

/// The most events of one peer that hold credit, with the few that do not.
pub(crate) const EVENTS_PER_PEER: usize = 2 * (INBOUND_EVENTS_MAX + ROOM_EVENTS_MAX) + 64;

/// The streams and queues of a connection that has been greeted.
pub(crate) struct Plumbing {
    pub(crate) control: (SendStream, FrameReader<RecvStream>),
    pub(crate) drains: [Drain; 3],
}

/// A queue for each lane.
pub(crate) fn outboxes(tuning: &Tuning) -> ([Outbox; 3], [Drain; 3]) {
    let (control, control_drain) = outbox(CONTROL_QUEUE_BYTES);
    let (tail, tail_drain) = outbox(tuning.queue_bytes);
    let (catch_up, catch_up_drain) = outbox(tuning.queue_bytes);
    ([control, tail, catch_up], [control_drain, tail_drain, catch_up_drain])
}

/// Where a task's events go and whose they are.
#[derive(Clone)]
struct Source {
    site: u16,
    generation: u64,
    events: mpsc::Sender<Event>,
}

impl Source {
    async fn frame(&self, lane: Lane, bytes: Bytes, credit: Credit) -> Result<(), Refusal> {
        let (site, generation) = (self.site, self.generation);
        let event = Event::Frame { site, generation, lane, bytes, credit };
        self.events.send(event).await.map_err(|_| stopping())
    }

    async fn room(&self, lane: Lane, bytes: usize, credit: Credit) -> Result<(), Refusal> {
        let (site, generation) = (self.site, self.generation);
        let event = Event::Room { site, generation, lane, bytes, credit };
        self.events.send(event).await.map_err(|_| stopping())
    }
}

/// Runs a kept connection to its end and says how it ended.
pub(crate) async fn run(roster: &Roster, slot: &Slot, live: Arc<Live>, plumbing: Plumbing) -> Ending {
    let source = Source { site: slot.peer.site, generation: live.generation, events: roster.events.clone() };
    roster.told.forget(source.site);
    tracing::info!(site = source.site, name = slot.peer.name, generation = source.generation, "link is up");
    // A closed channel means that nobody listens any more; the session then ends by itself.
    let _ = roster.events.send(Event::Up { site: source.site, generation: source.generation }).await;
    slot.remind(&live.connection);
    let mut tasks = JoinSet::new();
    start(&mut tasks, &roster.tuning, &live.connection, plumbing, &source);
    let ending = tokio::select! {
        error = live.connection.closed() => Ending::of(&error),
        failed = first_failure(&mut tasks) => match live.connection.close_reason() {
            Some(error) => Ending::of(&error),
            None => {
                failed.close(&live.connection);
                Ending::here(failed.reason, failed.code.wants_operator())
            }
        },
    };
    tasks.shutdown().await;
    slot.learn(&live.connection);
    tracing::info!(
        site = source.site,
        generation = source.generation,
        reason = ending.reason,
        "link is down"
    );
    let Source { site, generation, events } = source;
    let _ = events.send(Event::Down { site, generation, reason: ending.reason.clone() }).await;
    slot.clear(generation);
    ending
}

pub(crate) type Outcome = Result<(), Refusal>;

async fn first_failure(tasks: &mut JoinSet<Outcome>) -> Refusal {
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => return refusal,
            Err(_) => return Refusal::new(Code::Protocol, "a lane's task failed"),
        }
    }
    stopping()
}

fn start(
    tasks: &mut JoinSet<Outcome>,
    tuning: &Tuning,
    connection: &Connection,
    plumbing: Plumbing,
    source: &Source,
) {
    let Plumbing { control: (send, reader), drains: [control, tail, catch_up] } = plumbing;
    tasks.spawn(write_lane(Lane::Control, send, control, source.clone()));
    tasks.spawn(open_and_write(Lane::Tail, connection.clone(), tail, source.clone()));
    tasks.spawn(open_and_write(Lane::CatchUp, connection.clone(), catch_up, source.clone()));
    tasks.spawn(read_control(reader, source.clone()));
    tasks.spawn(read_pulses(connection.clone(), source.clone()));
    let budgets = Lane::BULK.map(|_| Arc::new(Semaphore::new(tuning.inbound_bytes)));
    tasks.spawn(silence::watch(connection.clone(), tuning.send_window()));
    for _ in Lane::BULK {
        let inbound = Inbound { budgets: budgets.clone(), budget_bytes: tuning.inbound_bytes };
        tasks.spawn(read_bulk(connection.clone(), inbound, source.clone()));
    }
}

async fn open_and_write(lane: Lane, connection: Connection, drain: Drain, source: Source) -> Outcome {
    let mut stream = connection.open_uni().await.map_err(|e| lost(&e))?;
    stream.write_all(&[lane.mark()]).await.map_err(|e| lost(&e))?;
    write_lane(lane, stream, drain, source).await
}

async fn write_lane(lane: Lane, mut stream: SendStream, mut drain: Drain, source: Source) -> Outcome {
    stream.set_priority(lane.priority()).map_err(|e| lost(&e))?;
    let rooms = Arc::new(Semaphore::new(ROOM_EVENTS_MAX));
    let mut frames = Vec::with_capacity(FRAMES_AT_ONCE);
    while drain.take(&mut frames, FRAMES_AT_ONCE).await {
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(worth_one_write(rest));
            write(&mut stream, now).await?;
            drain.left(now);
            if lane != Lane::Control {
                let credit = Arc::clone(&rooms).acquire_owned().await.map_err(|_| stopping())?;
                source.room(lane, now.iter().map(Bytes::len).sum(), credit.into()).await?;
            }
            rest = later;
        }
        frames.clear();
    }
    Ok(())
}

/// How many frames make a write: at least one, and no more than are worth telling room for.
fn worth_one_write(frames: &[Bytes]) -> usize {
    let mut bytes = 0;
    let small = frames.iter().take_while(|frame| {
        bytes += frame.len();
        bytes <= BYTES_AT_ONCE
    });
    small.count().max(1)
}

async fn write(stream: &mut SendStream, frames: &[Bytes]) -> Outcome {
    let mut chunks: Vec<Bytes> = Vec::with_capacity(frames.len() * 2);
    for frame in frames {
        chunks.push(Bytes::copy_from_slice(&prefix(frame.len())));
        chunks.push(frame.clone());
    }
    stream.write_all_chunks(&mut chunks).await.map_err(|e| lost(&e))
}

async fn read_control(mut reader: FrameReader<RecvStream>, source: Source) -> Outcome {
    loop {
        let length = reader.length().await?;
        let bytes = reader.body(length).await?;
        source.frame(Lane::Control, bytes, Credit::none()).await?;
    }
}

async fn read_pulses(connection: Connection, source: Source) -> Outcome {
    loop {
        let bytes = connection.read_datagram().await.map_err(|e| lost(&e))?;
        source.frame(Lane::Control, bytes, Credit::none()).await?;
    }
}

/// How much bulk may be delivered and not yet dropped, per bulk lane.
struct Inbound {
    budgets: [Arc<Semaphore>; 2],
    budget_bytes: usize,
}

impl Inbound {
    /// Waits until a frame of this length may be read.
    async fn credit(&self, lane: Lane, length: usize) -> Result<Credit, Refusal> {
        let share = self.budget_bytes.div_ceil(INBOUND_EVENTS_MAX);
        let cost = length.clamp(share, self.budget_bytes) as u32;
        let budget = Arc::clone(&self.budgets[lane.index() - 1]);
        Ok(budget.acquire_many_owned(cost).await.map_err(|_| stopping())?.into())
    }
}

async fn read_bulk(connection: Connection, inbound: Inbound, source: Source) -> Outcome {
    let stream = connection.accept_uni().await.map_err(|e| lost(&e))?;
    let mut reader = FrameReader::new(stream);
    let mark = reader.mark().await?;
    let lane = Lane::bulk_from_mark(mark).ok_or_else(|| {
        Refusal::new(Code::Protocol, format!("a stream opens with {mark}, which is no lane"))
    })?;
    loop {
        let length = reader.length().await?;
        let credit = inbound.credit(lane, length).await?;
        let bytes = reader.body(length).await?;
        source.frame(lane, bytes, credit).await?;
    }
}

impl From<ReadFailure> for Refusal {
    fn from(failure: ReadFailure) -> Self {
        Self::new(Code::Protocol, failure.to_string())
    }
}

/// The connection has ended under a task; the session knows better why.
fn lost(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::Goodbye, error.to_string())
}

fn stopping() -> Refusal {
    Refusal::new(Code::Goodbye, "the site is stopping")
}
