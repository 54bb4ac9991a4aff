//! The rules of a link, checked to the nanosecond without a clock.

use proptest::prelude::{any, proptest};

use super::{Fabric, Fate, Turn};
use crate::link::{Link, Rate};

const MS: u64 = 1_000_000;
/// 1,000 bytes of IP: at 8 Mbit/s one millisecond each.
const BYTES: u64 = 1_000;

fn fabric(link: Link) -> Fabric {
    let mut fabric = Fabric::new(2, 7);
    fabric.set(0, link);
    fabric
}

fn due(fate: Fate) -> Option<u64> {
    fate.first.map(|passage| passage.due_ns)
}

/// Sends `count` packets, one each 100 µs, and returns when each arrives.
fn burst(fabric: &mut Fabric, count: u64) -> Vec<Option<u64>> {
    (0..count).map(|number| due(fabric.admit(0, number * MS / 10, BYTES))).collect()
}

#[test]
fn delay_is_exact_and_directed() {
    let mut fabric = fabric(Link::delayed(34.75));
    assert_eq!(due(fabric.admit(0, 5, BYTES)), Some(5 + 34_750_000));
    assert_eq!(due(fabric.admit(1, 5, BYTES)), Some(5), "the other direction is untouched");
}

#[test]
fn loss_is_seeded_counted_and_as_frequent_as_asked() {
    let run = || {
        let mut fabric = fabric(Link { loss: 0.01, ..Link::delayed(10.0) });
        let arrived: Vec<bool> = burst(&mut fabric, 100_000).iter().map(Option::is_some).collect();
        (arrived, fabric.wire(0).tally.drops.lost)
    };
    let (arrived, lost) = run();
    assert_eq!(run().0, arrived, "the same seed loses the same packets");
    assert_eq!(lost, arrived.iter().filter(|arrived| !**arrived).count() as u64);
    assert!((850..1_150).contains(&lost), "1 % of 100,000 is about 1,000, not {lost}");
}

#[test]
fn cut_swallows_what_is_sent_and_what_is_on_its_way_until_healed() {
    let mut fabric = fabric(Link::delayed(10.0));
    assert!(due(fabric.admit(0, 0, BYTES)).is_some());
    fabric.set_cut(0, true);
    assert!(!fabric.arrive(0, BYTES), "the packet under way is gone");
    assert_eq!(due(fabric.admit(0, MS, BYTES)), None);
    assert!(due(fabric.admit(1, MS, BYTES)).is_some(), "a cut is directed");
    assert_eq!(fabric.wire(0).tally.drops.cut, 2);
    fabric.set_cut(0, false);
    assert!(due(fabric.admit(0, 2 * MS, BYTES)).is_some());
    assert!(fabric.arrive(0, BYTES));
    assert_eq!(fabric.wire(0).tally.delivered.packets, 1);
}

#[test]
fn rate_spaces_packets_and_a_full_queue_drops() {
    let mut fabric = fabric(Link { rate_mbit: 8.0, queue_kib: 10, ..Link::delayed(5.0) });
    let arrivals: Vec<u64> = (0..20).filter_map(|_| due(fabric.admit(0, 0, BYTES))).collect();
    assert_eq!(arrivals, (1..=10).map(|n| n * MS + 5 * MS).collect::<Vec<_>>());
    let tally = &fabric.wire(0).tally;
    assert_eq!((tally.offered.packets, tally.drops.queue_full), (20, 10));
    assert_eq!(tally.queue_bytes_max, 10 * BYTES, "the standing queue is visible");
}

#[test]
fn a_shared_pipe_limits_the_sum_of_its_wires() {
    let mut fabric = Fabric::new(2, 7);
    fabric.share(Rate { mbit: 8.0, queue_bytes: 1 << 20 }, &[0, 1]);
    let last = (0..100).filter_map(|number| due(fabric.admit(number % 2, 0, BYTES))).max();
    assert_eq!(last, Some(100 * MS), "100 packets of a millisecond each, whichever wire they came from");
}

#[test]
fn longer_than_the_mtu_vanishes() {
    let mut fabric = fabric(Link { mtu: 1_300, ..Link::default() });
    assert!(due(fabric.admit(0, 0, 1_300)).is_some());
    assert!(due(fabric.admit(0, 0, 1_301)).is_none());
    assert_eq!(fabric.wire(0).tally.drops.too_big, 1);
}

#[test]
fn reordering_lets_later_packets_overtake_and_loses_none() {
    let mut fabric = fabric(Link { reorder: 0.1, reorder_ms: 3.0, ..Link::delayed(10.0) });
    let arrivals: Vec<u64> = burst(&mut fabric, 1_000).into_iter().flatten().collect();
    assert_eq!(arrivals.len(), 1_000);
    let overtaken = arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(overtaken > 0);
    assert!(fabric.wire(0).tally.marks.reordered >= overtaken as u64);
}

#[test]
fn duplicates_and_flipped_bits_are_marked() {
    let mut fabric = fabric(Link { duplicate: 1.0, corrupt: 1.0, ..Link::delayed(1.0) });
    let fate = fabric.admit(0, 0, BYTES);
    let (first, twin) = (fate.first.unwrap(), fate.twin.unwrap());
    assert!(first.flip.is_some() && twin.flip.is_some());
    let marks = fabric.wire(0).tally.marks;
    assert_eq!((marks.duplicated, marks.corrupted), (1, 2));
}

#[test]
fn a_stream_waits_for_room_instead_of_losing() {
    let mut fabric = fabric(Link { rate_mbit: 8.0, queue_kib: 1, loss: 1.0, ..Link::delayed(1.0) });
    assert_eq!(fabric.admit_stream(0, 0, BYTES), Turn::Due(2 * MS));
    assert!(matches!(fabric.admit_stream(0, 0, BYTES), Turn::Wait(at) if at > 0));
    assert_eq!(fabric.admit_stream(0, MS, BYTES), Turn::Due(3 * MS));
}

proptest! {
    /// Whatever the jitter, the rate and the changes under way, a link without reordering is first in, first out, and
    /// nothing arrives before the delay that held when it was sent.
    #[test]
    fn links_are_fifo_and_never_early(
        seed in any::<u64>(),
        steps in proptest::collection::vec((0_u64..2_000_000, 0_u32..200, 0_u32..50, 0_u32..3), 1..200),
    ) {
        let mut fabric = Fabric::new(1, seed);
        let (mut now_ns, mut last_due) = (0, 0);
        for (gap_ns, delay, jitter, rate) in steps {
            now_ns += gap_ns;
            let link = Link {
                delay_ms: f64::from(delay),
                jitter_ms: f64::from(jitter),
                rate_mbit: f64::from(rate) * 100.0,
                ..Link::default()
            };
            fabric.set(0, link);
            if let Some(due_ns) = due(fabric.admit(0, now_ns, BYTES)) {
                assert!(due_ns >= last_due, "overtook");
                assert!(due_ns >= now_ns + u64::from(delay) * MS, "early");
                last_due = due_ns;
            }
        }
    }

    /// Every offered packet is delivered, dropped for one stated reason, or still on its way.
    #[test]
    fn the_books_balance(seed in any::<u64>(), sizes in proptest::collection::vec(28_u64..2_000, 1..300)) {
        let mut fabric = Fabric::new(1, seed);
        fabric.set(0, Link { loss: 0.2, duplicate: 0.2, rate_mbit: 10.0, queue_kib: 20, ..Link::default() });
        let mut flying = 0;
        for (number, bytes) in (0_u64..).zip(&sizes) {
            let fate = fabric.admit(0, number * MS / 10, *bytes);
            flying += u64::from(fate.first.is_some()) + u64::from(fate.twin.is_some());
        }
        let tally = &fabric.wire(0).tally;
        let drops = tally.drops.lost + tally.drops.queue_full + tally.drops.too_big;
        assert_eq!(tally.offered.packets + tally.marks.duplicated, drops + flying);
        assert_eq!(tally.offered.bytes, sizes.iter().sum::<u64>());
    }
}
