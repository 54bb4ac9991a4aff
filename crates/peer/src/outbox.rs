//! A lane's queue towards the network: bounded in bytes, filled without waiting, emptied by the lane's writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// The end that is filled.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    limit_bytes: usize,
}

/// The end that is emptied.
pub(crate) struct Drain {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// What keeps a frame from being queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// So many bytes wait already.
    Full(usize),
    /// The writer is gone, and the connection with it.
    Gone,
}

/// Each frame counts at least this much, so that empty ones are bounded too.
const FRAME_COST_MIN: usize = 64;

fn cost(frame: &Bytes) -> usize {
    frame.len().max(FRAME_COST_MIN)
}

/// A queue that holds `limit_bytes`, or one frame, should that be larger.
pub(crate) fn outbox(limit_bytes: usize) -> (Outbox, Drain) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let queued = Arc::new(AtomicUsize::new(0));
    (Outbox { sender, queued: Arc::clone(&queued), limit_bytes }, Drain { receiver, queued })
}

impl Outbox {
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Closed> {
        let cost = cost(&frame);
        let before = self.queued.fetch_add(cost, Ordering::AcqRel);
        if before > 0 && before + cost > self.limit_bytes {
            self.queued.fetch_sub(cost, Ordering::AcqRel);
            return Err(Closed::Full(before));
        }
        self.sender.send(frame).map_err(|_| Closed::Gone)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }
}

impl Drain {
    /// Waits for frames and takes a few. `false` when nothing will ever come again.
    pub(crate) async fn take(&mut self, into: &mut Vec<Bytes>, most: usize) -> bool {
        self.receiver.recv_many(into, most).await > 0
    }

    /// These frames are with QUIC now.
    pub(crate) fn left(&self, frames: &[Bytes]) {
        self.queued.fetch_sub(frames.iter().map(cost).sum(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Closed, outbox};

    #[tokio::test]
    async fn a_full_queue_refuses_until_frames_have_left() {
        let (fill, mut drain) = outbox(1_000);
        fill.push(Bytes::from(vec![0; 900])).unwrap();
        assert_eq!(fill.push(Bytes::from(vec![0; 200])), Err(Closed::Full(900)));
        let mut taken = Vec::new();
        assert!(drain.take(&mut taken, 8).await);
        assert_eq!(fill.push(Bytes::from(vec![0; 200])), Err(Closed::Full(900)));
        drain.left(&taken);
        fill.push(Bytes::from(vec![0; 2_000])).unwrap();
        assert_eq!(fill.queued_bytes(), 2_000);
    }

    #[test]
    fn empty_frames_are_bounded_too() {
        let (fill, _drain) = outbox(640);
        let taken = (0..1_000).filter(|_| fill.push(Bytes::new()).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn a_queue_without_a_writer_takes_nothing() {
        let (fill, drain) = outbox(640);
        drop(drain);
        assert_eq!(fill.push(Bytes::new()), Err(Closed::Gone));
    }
}
