//! Readers that stand above a log's end: early, until it is plain that they are wrong.
//!
//! A client that moves here from another site may have read there what is on its way, and this site may not even have heard
//! of it: a busy machine or a long link delays news as much as data. An error would make the client reset its position and
//! read again, or skip. So such a reader is told that there is nothing yet, and only if nothing comes for long is it told
//! that its offset is out of range. The other logs of its request are answered meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use entry::TopicId;
use site::Reading;

/// Well over what a site that is in touch takes to get, to write and to show what another has shown.
const PATIENCE: Duration = Duration::from_secs(10);
/// Positions that are remembered; who stands at more of them at once is told at once.
const POSITIONS_MAX: usize = 4_096;

/// A log and an offset above its end.
type Position = (TopicId, u32, Reading, i64);

/// Since when readers stand where.
#[derive(Debug, Default)]
pub(crate) struct Early {
    since: Mutex<BTreeMap<Position, Instant>>,
}

impl Early {
    /// Whether a reader at this position may still be early.
    pub(crate) fn is_early(&self, position: Position, now: Instant) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        // For as long again it is remembered that nothing came.
        since.retain(|_, at| now.duration_since(*at) < 2 * PATIENCE);
        if since.len() >= POSITIONS_MAX && !since.contains_key(&position) {
            return false;
        }
        let first = *since.entry(position).or_insert(now);
        now.duration_since(first) < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use entry::TopicId;
    use site::Reading;
    use uuid::Uuid;

    use super::{Early, PATIENCE, POSITIONS_MAX};

    fn at(offset: i64) -> (TopicId, u32, Reading, i64) {
        (TopicId(Uuid::from_u128(1)), 0, Reading::Merged, offset)
    }

    #[test]
    fn a_reader_is_early_for_a_while_and_then_wrong_until_that_is_forgotten() {
        let (early, start) = (Early::default(), Instant::now());
        assert!(early.is_early(at(7), start));
        assert!(early.is_early(at(7), start + PATIENCE / 2));
        assert!(!early.is_early(at(7), start + PATIENCE));
        assert!(early.is_early(at(8), start + PATIENCE), "another position has a time of its own");
        assert!(early.is_early(at(7), start + 2 * PATIENCE));
    }

    #[test]
    fn positions_are_bounded() {
        let (early, now) = (Early::default(), Instant::now());
        for offset in 0..POSITIONS_MAX {
            assert!(early.is_early(at(i64::try_from(offset).unwrap()), now));
        }
        assert!(!early.is_early(at(-1), now + Duration::from_secs(1)));
        assert!(early.is_early(at(0), now + Duration::from_secs(1)));
    }
}
