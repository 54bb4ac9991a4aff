//! The requests of one connection between their arrival and their answers.
//!
//! Answers leave in the order of the requests. Produce requests are started as they arrive, one after the other without
//! waiting, so that batches of one producer share a sync of the disk. Every other request starts when all before it are
//! answered, as in Kafka: a client may leave a group right behind its last commit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::budget::Paid;
use crate::wire::Frame;
use bytes::Buf;

/// Answers held back for the sake of order; beyond it nothing further is started.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// An answer on its way: `None` for a request that gets none.
pub(crate) type Answering<'a, E> = Pin<Box<dyn Future<Output = Result<Option<Frame>, E>> + Send + 'a>>;

/// When a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// While requests before it are still being answered.
    Overlapping,
    /// When all before it are answered.
    Alone,
}

struct Slot<'a, E> {
    state: State<'a, E>,
    turn: Turn,
    bytes: usize,
    _paid: Option<Paid>,
}

enum State<'a, E> {
    Waiting(Answering<'a, E>),
    Running(Answering<'a, E>),
    Done(Option<Frame>),
}

/// Requests in the order of their arrival.
pub(crate) struct Pipeline<'a, E> {
    slots: VecDeque<Slot<'a, E>>,
    bytes: usize,
}

impl<'a, E> Pipeline<'a, E> {
    pub(crate) fn new() -> Pipeline<'a, E> {
        Pipeline { slots: VecDeque::new(), bytes: 0 }
    }

    /// Requests in it.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the requests in it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a request of so many bytes in; what was `paid` for it is kept until it is answered.
    pub(crate) fn push(&mut self, answering: Answering<'a, E>, turn: Turn, bytes: usize, paid: Option<Paid>) {
        self.bytes += bytes;
        self.slots.push_back(Slot { state: State::Waiting(answering), turn, bytes, _paid: paid });
    }

    /// The answers that may leave now, in order; waits until there is one. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Frame, E> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Frame, E>> {
        self.advance(context)?;
        let mut ready = Frame::default();
        let mut any = false;
        while let Some(Slot { state: State::Done(_), .. }) = self.slots.front() {
            let slot = self.slots.pop_front().expect("looked at just now");
            self.bytes -= slot.bytes;
            any = true;
            if let State::Done(Some(answer)) = slot.state {
                ready.append(answer);
            }
        }
        if any { Poll::Ready(Ok(ready)) } else { Poll::Pending }
    }

    /// Starts what may start and drives what runs, from the oldest on.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), E> {
        let mut all_done = true;
        let mut unsent_bytes = 0;
        for slot in &mut self.slots {
            let may_start = slot.turn == Turn::Overlapping || all_done;
            if matches!(slot.state, State::Waiting(_)) && (!may_start || unsent_bytes > UNSENT_BYTES_MAX) {
                return Ok(());
            }
            slot.advance(context)?;
            match &slot.state {
                State::Done(answer) => unsent_bytes += answer.as_ref().map_or(0, Buf::remaining),
                _ => all_done = false,
            }
        }
        Ok(())
    }
}

impl<E> Slot<'_, E> {
    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), E> {
        let state = std::mem::replace(&mut self.state, State::Done(None));
        self.state = match state {
            State::Done(answer) => State::Done(answer),
            State::Waiting(mut answering) | State::Running(mut answering) => {
                match answering.as_mut().poll(context) {
                    Poll::Ready(answer) => State::Done(answer?),
                    Poll::Pending => State::Running(answering),
                }
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pipeline, Turn};
    use crate::wire::{Frame, Writer};
    use bytes::Buf;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};
    use tokio::sync::oneshot;

    fn frame(number: i32) -> Frame {
        Writer::answer(number, false, false).finish().unwrap()
    }

    fn numbers(mut frame: Frame) -> Vec<i32> {
        let mut all = Vec::new();
        while frame.has_remaining() {
            frame.advance(4);
            all.push(frame.get_i32());
        }
        all
    }

    /// Drives a pipeline of requests that log their start and end when told to.
    struct Bench<'a> {
        pipeline: Pipeline<'a, ()>,
        started: &'a Mutex<Vec<i32>>,
    }

    impl<'a> Bench<'a> {
        fn push(&mut self, number: i32, turn: Turn) -> oneshot::Sender<()> {
            let (end, ended) = oneshot::channel();
            let started = self.started;
            let answering = async move {
                started.lock().unwrap().push(number);
                let _ = ended.await;
                Ok(Some(frame(number)))
            };
            self.pipeline.push(Box::pin(answering), turn, 10, None);
            end
        }

        fn poll(&mut self) -> Vec<i32> {
            match self.pipeline.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answers) => numbers(answers.unwrap()),
                Poll::Pending => Vec::new(),
            }
        }

        fn started(&self) -> Vec<i32> {
            self.started.lock().unwrap().clone()
        }
    }

    #[test]
    fn overlapping_requests_start_at_once_and_answers_keep_the_order() {
        let started = Mutex::new(Vec::new());
        let mut bench = Bench { pipeline: Pipeline::new(), started: &started };
        let ends = [1, 2, 3].map(|number| bench.push(number, Turn::Overlapping));
        assert!(bench.poll().is_empty());
        assert_eq!(bench.started(), [1, 2, 3]);
        let [first, second, third] = ends;
        third.send(()).unwrap();
        second.send(()).unwrap();
        assert!(bench.poll().is_empty());
        first.send(()).unwrap();
        assert_eq!(bench.poll(), [1, 2, 3]);
        assert_eq!((bench.pipeline.len(), bench.pipeline.bytes()), (0, 0));
    }

    #[test]
    fn others_wait_for_what_is_before_them_and_hold_up_what_is_behind() {
        let started = Mutex::new(Vec::new());
        let mut bench = Bench { pipeline: Pipeline::new(), started: &started };
        let fetch = bench.push(1, Turn::Alone);
        let produce = bench.push(2, Turn::Overlapping);
        let commit = bench.push(3, Turn::Alone);
        let later = bench.push(4, Turn::Overlapping);
        assert!(bench.poll().is_empty());
        assert_eq!(bench.started(), [1, 2]);
        produce.send(()).unwrap();
        assert!(bench.poll().is_empty());
        assert_eq!(bench.started(), [1, 2]);
        fetch.send(()).unwrap();
        assert_eq!(bench.poll(), [1, 2]);
        bench.poll();
        assert_eq!(bench.started(), [1, 2, 3, 4]);
        drop((commit, later));
    }
}
