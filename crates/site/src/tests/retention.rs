//! Logs begin at the same offset everywhere, and lose nothing before its time.

use disk::{Disk as _, FileName};
use entry::{SiteId, TopicId};

use super::trio::Trio;
use super::{append, create};
use crate::{Answer, Reading, Refusal, Request};

fn starts(trio: &Trio, topic: TopicId, partition: u32) -> Vec<u64> {
    (1..=3).map(|id| trio.site(id).extent(topic, partition, Reading::Merged).start).collect()
}

fn write(trio: &mut Trio, topic: TopicId, rounds: usize) {
    for round in 0..rounds {
        for site in 1..=3 {
            trio.ask(site, append(topic, &format!("{round} from {site}"))).unwrap();
        }
    }
    trio.run_ms(200);
}

#[test]
fn what_is_too_old_goes_at_the_same_place_everywhere_also_where_nobody_writes() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[("retention.ms", "20000")]);
    write(&mut trio, topic, 5);
    let first = trio.values(1, topic, Reading::Merged);
    trio.run_ms(15_000);
    write(&mut trio, topic, 2);
    assert_eq!(starts(&trio, topic, 0), [0; 3], "nothing is old enough");
    trio.run_ms(16_000);
    write(&mut trio, topic, 1);
    assert_eq!(starts(&trio, topic, 0), [15; 3]);
    assert_eq!(trio.values(2, topic, Reading::Merged).len(), 9);
    assert_eq!(first.len(), 15);
    // Nobody writes, and still it goes.
    trio.run_ms(60_000);
    assert_eq!(starts(&trio, topic, 0), [24; 3]);
    assert_eq!(trio.digest(1, topic), trio.digest(3, topic));
    // A restart finds it so.
    trio.crash(2);
    trio.start(2);
    assert_eq!(starts(&trio, topic, 0), [24; 3]);
}

#[test]
fn what_is_too_much_goes_at_the_same_place_everywhere() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[("retention.bytes", "1000")]);
    write(&mut trio, topic, 20);
    trio.run_ms(11_000);
    write(&mut trio, topic, 1);
    let begin = starts(&trio, topic, 0);
    assert!(begin[0] > 40 && begin[0] < 60, "{begin:?}");
    assert_eq!(begin, [begin[0]; 3]);
}

#[test]
fn records_are_deleted_up_to_an_offset_and_below_it_nothing_is_read() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    write(&mut trio, topic, 5);
    let cut = |before| Request::DeleteRecords { topic, partition: 0, before };
    assert_eq!(trio.ask(2, cut(4)), Ok(Answer::Committed));
    assert_eq!(trio.site(2).extent(topic, 0, Reading::Merged).start, 4);
    trio.run_ms(200);
    assert_eq!(starts(&trio, topic, 0), [4; 3]);
    assert_eq!(starts(&trio, topic, 1), [0; 3]);
    // It never goes back, and never beyond the end.
    assert_eq!(trio.ask(1, cut(2)), Ok(Answer::Committed));
    assert_eq!(trio.ask(1, cut(99)), Ok(Answer::Committed));
    trio.run_ms(200);
    assert_eq!(starts(&trio, topic, 0), [15; 3]);
    write(&mut trio, topic, 1);
    assert_eq!(trio.values(3, topic, Reading::Merged).len(), 3);
    let unknown = Request::DeleteRecords { topic, partition: 9, before: 1 };
    assert_eq!(trio.ask(1, unknown), Err(Refusal::UnknownPartition));
    let disk = trio.disk(1).clone();
    let below = trio.site(1).plan(&disk, (topic, 0, Reading::Merged), 3, 100);
    assert!(matches!(below, Err(partition::OffsetError::BelowStart { start: 15, .. })), "{below:?}");
    // What a site wrote is there until its segment goes.
    assert_eq!(trio.values(3, topic, Reading::Origin(SiteId(1))).len(), 6);
}

#[test]
fn a_copy_of_a_log_that_begins_late_begins_there_too() {
    let mut trio = Trio::founded_with(
        crate::Limits {
            checkpoint_bytes: 4000,
            wal_segment_bytes: 1 << 14,
            wal_bytes_max: 1 << 14,
            hot_bytes: 2000,
            ..crate::Limits::default()
        },
        0,
    );
    let topic = create(&mut trio, &[]);
    for round in 0..40 {
        for site in 1..=3 {
            trio.ask(site, append(topic, &format!("{round} {}", "x".repeat(500)))).unwrap();
        }
    }
    trio.ask(1, Request::DeleteRecords { topic, partition: 0, before: 100 }).unwrap();
    trio.run_ms(200);
    trio.crash(3);
    trio.wipe(3);
    trio.start_joining(3);
    trio.run_ms(4000);
    assert_eq!(trio.restarts, 1);
    assert_eq!(starts(&trio, topic, 0), [100; 3]);
    assert_eq!(trio.values(3, topic, Reading::Merged), trio.values(1, topic, Reading::Merged));
    assert!(!trio.disk(3).list(&FileName::new("logs").unwrap()).unwrap().is_empty());
}
