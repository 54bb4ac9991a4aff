//! I-48: what waits at a site is bounded: clients' writes that wait for the WAL, and entries without a place in the order.

use entry::{Encoded, JournalId, Kind, Seq};
use journal::Record;

use super::{Actor, Verdict, ensure, truth};

/// What sites are told to hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of own appends that wait for the WAL.
    pub waiting_bytes_max: usize,
    /// Entries without a place in the order.
    pub unreleased_max: usize,
}

/// The largest batch that a client sends, its entry's head included: the last that is taken may be beyond the bound.
const BATCH_BYTES: usize = 7 << 10;
/// The smallest.
const BATCH_BYTES_LEAST: usize = 150;

/// A site gives these records to its disk, in one write.
pub(super) fn wrote(bounds: Option<Bounds>, by: Actor, records: &[Record]) -> Verdict {
    let Some(Bounds { waiting_bytes_max, .. }) = bounds else { return Ok(()) };
    let own = |entry: &&Encoded| Some(entry.head.journal) == by.journal && entry.head.kind == Kind::Batch;
    let bytes: usize =
        records.iter().filter_map(truth::entry).filter(own).map(|entry| entry.bytes.len()).sum();
    ensure(bytes <= waiting_bytes_max + BATCH_BYTES, "I-48", || {
        format!(
            "{bytes} bytes of batches have waited for one write of site {}, not {waiting_bytes_max}",
            by.site
        )
    })
}

/// A site's own entry is durable, and its journal has its places up to `placed`. Beside what was without a place when it was
/// taken, there may have been what waited for the write under way, and for the next.
pub(super) fn backlog(
    bounds: Option<Bounds>,
    by: Actor,
    (journal, seq): (JournalId, Seq),
    placed: Seq,
) -> Verdict {
    let Some(Bounds { waiting_bytes_max, unreleased_max }) = bounds else { return Ok(()) };
    if by.journal != Some(journal) {
        return Ok(());
    }
    let waiting = 2 * (waiting_bytes_max + BATCH_BYTES) / BATCH_BYTES_LEAST;
    let most = (unreleased_max + waiting) as u64;
    ensure((seq + 1).saturating_sub(placed) <= most, "I-48", || {
        format!(
            "site {} goes on writing: entry {seq} of {journal}, of which {placed} have a place; {unreleased_max} may have none",
            by.site
        )
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clock::Stamp;
    use entry::{BatchBody, Body, ChainHash, Entry, JournalId, MemberEpoch, SiteId, TopicId};
    use journal::Record;
    use uuid::Uuid;

    use super::{BATCH_BYTES, Bounds, backlog, wrote};
    use crate::checkers::histories::{actor, breaks};

    #[test]
    fn a_backlog_without_an_end_is_flagged() {
        let journal = JournalId::genesis(SiteId(1));
        let bounds = Some(Bounds { waiting_bytes_max: 0, unreleased_max: 10 });
        let goes_on = |bounds, seq, placed| breaks(backlog(bounds, actor(1), (journal, seq), placed));
        assert_eq!((goes_on(bounds, 9, 0), goes_on(bounds, 1_009, 1_000)), ("nothing", "nothing"));
        assert_eq!((goes_on(bounds, 500, 0), goes_on(None, 500, 0)), ("I-48", "nothing"));
    }

    #[test]
    fn more_in_one_write_than_may_have_waited_is_flagged() {
        let (journal, stamp) = (JournalId::genesis(SiteId(1)), Stamp::from_raw(1));
        let (epoch, previous, topic) = (MemberEpoch::GENESIS, ChainHash::START, TopicId(Uuid::nil()));
        let records = Bytes::from(vec![0; BATCH_BYTES]);
        let body = Body::Batch(BatchBody { topic, partition: 0, records });
        let entry = Record::Entry(Entry { journal, seq: 0, stamp, epoch, previous, body }.encode().unwrap());
        let writes = |waiting_bytes_max, by| {
            let bounds = Some(Bounds { waiting_bytes_max, unreleased_max: 10 });
            breaks(wrote(bounds, actor(by), std::slice::from_ref(&entry)))
        };
        assert_eq!((writes(0, 1), writes(1_000, 1)), ("I-48", "nothing"));
        assert_eq!(writes(0, 2), "nothing", "another's never waited there");
    }
}
