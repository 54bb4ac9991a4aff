//! What stands in the WAL before the checkpoint: read behind the start, given to who lacks it, and looked after.

use disk::{Disk as _, FileName};
use entry::{SiteId, TopicId};

use super::trio::Trio;
use super::{append, create};
use crate::{Limits, Reading};

/// Three sites of which the third was cut off while the others filled some segments of their WALs.
fn one_behind(look_bytes_per_second: u64) -> (Trio, TopicId) {
    let limits = Limits {
        checkpoint_bytes: 4000,
        wal_segment_bytes: 1 << 14,
        message_bytes: 2000,
        hot_bytes: 2000,
        look_bytes_per_second,
        ..Limits::default()
    };
    let mut trio = Trio::founded_with(limits, 0);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    for round in 0..40 {
        for site in [1, 2] {
            trio.ask(site, append(topic, &format!("{round} from {site} {}", "x".repeat(500)))).unwrap();
        }
    }
    trio.run_ms(100);
    assert!(segments(&mut trio, 1).len() > 5, "the WAL is kept for the third");
    (trio, topic)
}

fn segments(trio: &mut Trio, id: u16) -> Vec<FileName> {
    let files = trio.disk(id).list(&FileName::new("wal").unwrap()).unwrap();
    files.into_iter().filter(|file| file.as_str().ends_with(".wal")).collect()
}

/// Flips a bit of an entry.
fn flip(trio: &mut Trio, id: u16, file: &FileName) {
    let bytes = trio.disk(id).file_mut(file).unwrap();
    let at = bytes.windows(9).position(|window| window == b"xxxxxxxxx").unwrap();
    bytes[at] ^= 4;
}

fn all_alike(trio: &Trio, topic: TopicId) {
    let logs: Vec<_> = (1..=3).map(|site| trio.values(site, topic, Reading::Merged)).collect();
    assert_eq!(logs[0].len(), 80);
    assert!(logs[1] == logs[0] && logs[2] == logs[0]);
}

fn alarms(trio: &Trio, id: u16, file: &FileName) -> usize {
    let alarms = trio.site(id).status(0).alarms;
    alarms.iter().filter(|text| text.starts_with(file.as_str())).count()
}

#[test]
fn who_was_behind_is_given_what_stood_before_the_checkpoint() {
    let (mut trio, topic) = one_behind(0);
    for site in [1, 2] {
        trio.crash(site);
        trio.start(site);
        assert!(!trio.site(site).pipeline.wal.is_read());
        assert!(trio.site(site).wal_status().left_behind.is_empty());
    }
    trio.run_ms(100);
    assert!(trio.site(1).pipeline.wal.is_read());
    trio.heal(3);
    trio.run_ms(3000);
    all_alike(&trio, topic);
    assert_eq!(trio.restarts, 0, "nothing had to be copied");
}

#[test]
fn damage_before_the_checkpoint_keeps_no_site_from_starting_and_is_given_to_nobody() {
    let (mut trio, topic) = one_behind(0);
    for site in [1, 2] {
        trio.crash(site);
        let file = segments(&mut trio, site).remove(1);
        flip(&mut trio, site, &file);
        trio.start(site);
        trio.run_ms(50);
        assert_eq!(alarms(&trio, site, &file), 1, "{:#?}", trio.said);
        assert_eq!(trio.site(site).repair_counts().damaged, 1);
    }
    trio.heal(3);
    trio.run_ms(6000);
    all_alike(&trio, topic);
    assert_eq!(trio.restarts, 1, "the third has copied what it lacked");
    // When everybody holds what it may have held, the damaged file goes like any other, and the alarm with it.
    for round in 0..20 {
        trio.ask(1, append(topic, &format!("{round} {}", "y".repeat(500)))).unwrap();
    }
    trio.run_ms(1000);
    let damaged = FileName::new("wal/0000000002.wal").unwrap();
    assert_eq!((trio.disk(1).len(&damaged).unwrap(), alarms(&trio, 1, &damaged)), (None, 0));
}

#[test]
fn an_entry_that_is_damaged_when_a_peer_asks_for_it_is_not_given() {
    let (mut trio, topic) = one_behind(0);
    for site in [1, 2] {
        let file = segments(&mut trio, site).remove(1);
        flip(&mut trio, site, &file);
    }
    trio.heal(3);
    trio.run_ms(6000);
    all_alike(&trio, topic);
    assert_eq!(trio.restarts, 1, "{:#?}", trio.said);
    assert!(trio.site(1).repair_counts().damaged + trio.site(2).repair_counts().damaged > 0);
}

#[test]
fn looking_finds_damage_in_the_wal_and_newer_checkpoints_leave_it_behind() {
    let (mut trio, topic) = one_behind(1 << 30);
    // The last that nothing more is written to: the checkpoints that are kept may lie before it.
    let file = segments(&mut trio, 1).into_iter().rev().nth(1).unwrap();
    flip(&mut trio, 1, &file);
    trio.skip_ms(3_600_000);
    trio.run_ms(1000);
    assert_eq!(alarms(&trio, 1, &file), 1, "{:#?}", trio.said);
    trio.crash(1);
    let newest = trio.disk(1).list(&FileName::new("checkpoint").unwrap()).unwrap().pop().unwrap();
    trio.disk(1).file_mut(&newest).unwrap()[90] ^= 1;
    trio.start(1);
    trio.run_ms(1000);
    assert_eq!(trio.values(1, topic, Reading::Origin(SiteId(1))).len(), 40, "the older does without it, too");
}
