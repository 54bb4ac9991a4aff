//! Duplicates, case by case and against a plain set.

use std::collections::{BTreeMap, BTreeSet};

use clock::Stamp;
use entry::TopicId;
use proptest::prelude::{Just, Strategy, any, proptest};
use uuid::Uuid;

use super::{INTERVALS_MAX, ProducerKey, Producers, Verdict};

fn key(id: i64, epoch: i16) -> ProducerKey {
    ProducerKey { id, epoch, topic: TopicId(Uuid::from_u128(1)), partition: 0 }
}

fn at(stamp: u64) -> Stamp {
    Stamp::from_raw(stamp)
}

/// On the wire a sequence goes round.
fn wire(sequence: u64) -> i32 {
    i32::try_from(sequence % (1 << 31)).expect("31 bits")
}

#[test]
fn a_copy_is_a_duplicate_and_a_gap_drops_nothing() {
    let mut producers = Producers::default();
    assert_eq!(producers.admit(key(1, 0), 0, 3, at(1)), Verdict::Fresh);
    assert_eq!(producers.admit(key(1, 0), 10, 2, at(2)), Verdict::Fresh);
    assert_eq!(producers.admit(key(1, 0), 0, 3, at(3)), Verdict::Duplicate);
    assert_eq!(producers.admit(key(1, 0), 5, 2, at(4)), Verdict::Fresh, "late, not lost");
    assert_eq!(producers.admit(key(1, 0), 1, 2, at(5)), Verdict::Duplicate);
    assert_eq!(producers.admit(key(1, 0), 2, 2, at(6)), Verdict::Fresh, "half of it is new");
    assert_eq!(producers.admit(key(1, 1), 0, 3, at(7)), Verdict::Fresh, "another epoch counts anew");
    assert_eq!(producers.admit(key(1, 0), 0, 3, at(8)), Verdict::Duplicate, "and the old one is still known");
}

#[test]
fn sequences_go_round() {
    let mut producers = Producers::default();
    assert_eq!(producers.admit(key(1, 0), i32::MAX - 1, 4, at(1)), Verdict::Fresh);
    assert_eq!(producers.admit(key(1, 0), 0, 2, at(2)), Verdict::Duplicate);
    assert_eq!(producers.admit(key(1, 0), 1, 2, at(3)), Verdict::Fresh);
    assert_eq!(producers.admit(key(1, 0), i32::MAX - 1, 4, at(4)), Verdict::Duplicate);
}

#[test]
fn what_cannot_be_judged_is_fresh() {
    let mut producers = Producers::default();
    for _ in 0..2 {
        assert_eq!(producers.admit(key(1, 0), -1, 3, at(1)), Verdict::Fresh);
        assert_eq!(producers.admit(key(1, 0), 3, 0, at(1)), Verdict::Fresh);
    }
    assert!(producers.is_empty());
}

#[test]
fn producers_expire_by_merged_stamp() {
    let mut producers = Producers::default();
    producers.admit(key(1, 0), 0, 1, at(5));
    producers.admit(key(2, 0), 0, 1, at(6));
    producers.expire_before(at(6));
    assert_eq!(producers.len(), 1);
    assert_eq!(producers.admit(key(2, 0), 0, 1, at(7)), Verdict::Duplicate);
    assert_eq!(producers.admit(key(1, 0), 0, 1, at(7)), Verdict::Fresh);
}

#[test]
fn gaps_are_bounded_and_the_oldest_are_forgotten() {
    let mut producers = Producers::default();
    for n in 0..2 * INTERVALS_MAX as i32 {
        assert_eq!(producers.admit(key(1, 0), 2 * n, 1, at(1)), Verdict::Fresh);
    }
    assert_eq!(producers.seen[&key(1, 0)].merged.len(), INTERVALS_MAX);
    let last = 4 * INTERVALS_MAX as i32 - 2;
    assert_eq!(producers.admit(key(1, 0), last, 1, at(1)), Verdict::Duplicate);
    assert_eq!(producers.admit(key(1, 0), last - 1, 1, at(1)), Verdict::Fresh, "a gap is never closed");
    assert_eq!(producers.admit(key(1, 0), 0, 1, at(1)), Verdict::Fresh, "too old to be known");
}

/// Batches of a few producers as journals of several sites hold them: in pieces, shuffled a little, some twice.
fn batches() -> impl Strategy<Value = Vec<(i64, u64, u32)>> {
    let start = proptest::sample::select(vec![0u64, (1 << 31) - 6, (3 << 31) - 40]);
    let sent = (start, proptest::collection::vec((0..2i64, 1..5u32, any::<bool>()), 1..40));
    let sent = sent.prop_map(|(start, drawn)| {
        let mut next = BTreeMap::new();
        let mut sent = Vec::new();
        for (id, records, is_retried) in drawn {
            let from = next.entry(id).or_insert(start);
            sent.push((id, *from, records));
            if is_retried {
                sent.push((id, *from, records));
            }
            *from += u64::from(records);
        }
        sent
    });
    sent.prop_flat_map(|sent| Just(sent).prop_shuffle())
}

proptest! {
    #[test]
    fn duplicates_are_those_of_a_plain_set(batches in batches()) {
        let mut producers = Producers::default();
        let mut merged = BTreeSet::new();
        for (index, (id, from, records)) in batches.into_iter().enumerate() {
            let fresh = (from..from + u64::from(records)).filter(|sequence| merged.insert((id, *sequence))).count();
            let expected = if fresh > 0 { Verdict::Fresh } else { Verdict::Duplicate };
            assert_eq!(producers.admit(key(id, 0), wire(from), records, at(index as u64)), expected);
            let kept = postcard::to_stdvec(&producers).expect("plain data");
            let restored: Producers = postcard::from_bytes(&kept).expect("what was written reads");
            assert_eq!(restored, producers);
            producers = restored;
        }
    }
}
