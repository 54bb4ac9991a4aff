//! What links tell the site, and the credit that keeps bulk from crowding out everything else.
//!
//! Events of one connection come in order: `Up`, then its frames and room, then `Down` as its very last. The next
//! connection to that site has a higher generation. All events share one bounded channel. Bulk frames carry a
//! [`Credit`]: while too many of them have not been dropped, the lane they came on is not read any further and the sender
//! is held back by flow control. Control frames need no credit, so they find a place as long as the channel holds
//! more than the credits allow (`LinkConfig::event_capacity`).

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::Lane;

/// Something that happened on a link.
#[derive(Debug)]
pub enum Event {
    /// A site is connected, has proved who it is, and listens.
    Up {
        /// Which site.
        site: u16,
        /// The connection's number; every later one is larger.
        generation: u64,
    },
    /// The connection is gone. What was sent on it may have arrived or not.
    Down {
        /// Which site.
        site: u16,
        /// Which connection.
        generation: u64,
        /// Why, in words for an operator.
        reason: String,
    },
    /// A whole frame arrived, in order within its lane. A pulse arrives as a `Control` frame and keeps no order.
    Frame {
        /// From which site.
        site: u16,
        /// On which connection.
        generation: u64,
        /// On which lane.
        lane: Lane,
        /// What was sent.
        bytes: Bytes,
        /// Dropped when the frame has been dealt with.
        credit: Credit,
    },
    /// Bytes of bulk left the queue: as many may be sent again.
    Room {
        /// To which site.
        site: u16,
        /// On which connection.
        generation: u64,
        /// On which lane; never `Control`.
        lane: Lane,
        /// How many payload bytes left.
        bytes: usize,
        /// Dropped when the event has been dealt with.
        credit: Credit,
    },
    /// A site refuses us because another process that answers has our id. Said with every attempt, unlike `Refused`: what
    /// it means depends on how long it lasts.
    CalledDuplicate {
        /// Who says so.
        site: u16,
        /// In which words.
        reason: String,
    },
    /// Somebody was refused, or refused us; the text says what an operator can do. Repeats are left out.
    Refused {
        /// The site concerned, where it is known.
        site: Option<u16>,
        /// Where the other end is.
        address: String,
        /// What was wrong and what to do. The log has it already.
        reason: String,
    },
}

/// A share of the receive budget. Dropping it lets more bulk in.
#[derive(Debug, Default)]
pub struct Credit(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Credit {
    /// A credit that stands for nothing, as control frames carry it.
    pub fn none() -> Self {
        Self(None)
    }
}

impl From<OwnedSemaphorePermit> for Credit {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }
}
