//! Little room: on the disk, in the WAL, for one more of anything.

use batch::{Builder, NewRecord};
use disk::{Disk as _, FileName};
use entry::{SiteId, TopicId};

use super::trio::Trio;
use super::{append, batch, create};
use crate::{Acknowledge, Append, Event, Limits, Reading, Refusal, Request, Ticket};

fn filler(n: usize) -> String {
    format!("{n} {}", "fill ".repeat(200))
}

#[test]
fn a_low_disk_takes_no_records_and_still_notes_what_the_sites_agree_on() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "before")).is_ok());
    trio.run_ms(100);
    trio.push(1, Event::DiskLow(true));
    assert_eq!(trio.ask(1, append(topic, "refused")), Err(Refusal::DiskFull));
    assert!(trio.site(1).status(0).alarms.iter().any(|alarm| alarm.contains("the disk is full")));
    assert!(trio.ask(2, append(topic, "elsewhere")).is_ok());
    trio.run_ms(300);
    assert_eq!(trio.values(1, topic, Reading::Origin(SiteId(2))), Vec::<String>::new(), "it can wait");
    assert_eq!(trio.values(2, topic, Reading::Merged), ["before", "elsewhere"], "sites 2 and 3 are enough");

    // A vote is a note in its WAL, and fencing takes two of three.
    trio.cut(3);
    assert!(trio.ask(2, Request::Fence { site: SiteId(3) }).is_ok());
    trio.run_ms(1000);
    let fenced = |journal: &crate::JournalStatus| journal.fenced_at.is_some();
    assert!(trio.site(1).status(0).journals.values().any(fenced), "site 1 has voted");

    trio.push(1, Event::DiskLow(false));
    trio.run_ms(3000);
    assert!(trio.ask(1, append(topic, "room again")).is_ok());
    trio.run_ms(300);
    for site in 1..=2 {
        let merged = trio.values(site, topic, Reading::Merged);
        assert_eq!(merged, ["before", "elsewhere", "room again"], "at site {site}");
    }
    assert!(trio.site(1).status(0).alarms.iter().all(|alarm| !alarm.contains("full")));
}

#[test]
fn clients_are_sent_to_no_site_that_says_it_takes_no_writes() {
    let mut trio = Trio::founded();
    let told =
        |trio: &Trio| [1, 2, 3].map(|id| trio.for_clients(id).iter().map(|site| site.0).collect::<Vec<_>>());
    let all = [vec![1, 2, 3], vec![1, 2, 3], vec![1, 2, 3]];
    assert_eq!(told(&trio), all);
    trio.push(1, Event::DiskLow(true));
    trio.run_ms(500);
    assert_eq!(told(&trio), [vec![2, 3], vec![2, 3], vec![2, 3]]);
    assert_eq!(trio.alive(2), [SiteId(1), SiteId(2), SiteId(3)], "it is not away for that");
    trio.push(1, Event::DiskLow(false));
    trio.run_ms(500);
    assert_eq!(told(&trio), all);
}

#[test]
fn a_site_whose_disk_is_low_takes_leave_in_good_order() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.push(3, Event::DiskLow(true));
    trio.stop(3);
    assert!(trio.ask(1, append(topic, "not held up")).is_ok());
    trio.run_ms(300);
    assert_eq!(trio.values(2, topic, Reading::Merged), ["not held up"]);
}

/// A record of a producer that numbers what it writes.
fn numbered(topic: TopicId, producer: u16, sequence: i32) -> Request {
    let value = format!("{producer}:{sequence}");
    let builder = Builder::new().producer(i64::from(producer), 0, sequence);
    let records = builder.record(&NewRecord::value(0, value)).build();
    let acknowledge = Acknowledge::Local;
    Request::Append(Append { topic, partition: 0, records, acknowledge, patience_ms: 1000 })
}

/// Sites 1 and 2 have written, and write on while others leave so much room on the disk of site 1. Says how many records
/// were taken in all.
fn filled_while_written(mut trio: Trio, room: u64) -> (Trio, TopicId, usize) {
    let topic = create(&mut trio, &[]);
    let mut sent = Vec::new();
    for sequence in 0..8 {
        if sequence == 4 {
            trio.disk(1).leave_room(Some(room));
        }
        for site in 1..=2 {
            sent.push((site, trio.send(site, numbered(topic, site, sequence))));
        }
        trio.run_ms(25);
    }
    // What waited too long for room was not taken; what was taken is acknowledged when it has taken effect.
    let taken = sent.into_iter().filter(|(_, ticket)| !matches!(trio.answer(*ticket), Some(Err(_)))).count();
    (trio, topic, taken)
}

fn is_alike(trio: &mut Trio, topic: TopicId, taken: usize) {
    let merged = trio.values(2, topic, Reading::Merged);
    let mut values = merged.clone();
    values.sort();
    values.dedup();
    assert_eq!((merged.len(), values.len()), (taken, taken), "{merged:?}");
    for site in [1, 3] {
        assert_eq!(trio.values(site, topic, Reading::Merged), merged, "at site {site}");
        assert_eq!(trio.digest(site, topic), trio.digest(2, topic), "at site {site}");
    }
}

/// Every place at which a disk may become full, a few bytes apart.
fn rooms() -> impl Iterator<Item = u64> {
    (0..2400).step_by(24)
}

#[test]
fn what_is_durable_waits_for_room_in_the_logs_and_takes_effect_once() {
    let mut waited = 0;
    for room in rooms() {
        let (mut trio, topic, taken) = filled_while_written(Trio::founded(), room);
        let is_full = |trio: &Trio| trio.status(1).alarms.iter().any(|alarm| alarm.contains("disk is full"));
        if is_full(&trio) {
            waited += 1;
            assert_eq!(trio.ask(1, append(topic, "refused")), Err(Refusal::DiskFull));
            let read = trio.values(1, topic, Reading::Merged);
            assert!(read.len() >= 6 && trio.values(2, topic, Reading::Merged).starts_with(&read), "{read:?}");
        }
        trio.disk(1).leave_room(None);
        trio.run_ms(3000);
        is_alike(&mut trio, topic, taken);
        assert!(!is_full(&trio), "with {room} bytes");
        assert!(trio.ask(1, append(topic, "room again")).is_ok());
    }
    assert!(waited > 50, "{waited}");
}

#[test]
fn a_site_stops_while_its_disk_fills_and_nothing_is_lost() {
    let (mut stopped_behind, mut not_started) = (0, 0);
    for room in rooms() {
        let (mut trio, topic, taken) = filled_while_written(Trio::founded(), room);
        stopped_behind += usize::from(trio.site(1).pipeline.is_behind());
        trio.stop(1);
        if let Err(error) = trio.try_start(1) {
            assert!(error.is_full() && error.to_string().contains("no space left"), "{error}");
            not_started += 1;
        } else {
            trio.crash(1);
        }
        trio.disk(1).leave_room(None);
        trio.start(1);
        trio.run_ms(3000);
        is_alike(&mut trio, topic, taken);
    }
    assert!(stopped_behind > 50 && not_started > 50, "{stopped_behind}, {not_started}");
}

#[test]
fn a_start_that_finds_no_room_for_its_logs_can_be_tried_again() {
    for room in (0..6000).step_by(60) {
        let limits = Limits { wal_segment_bytes: 1 << 16, ..Limits::default() };
        let (mut trio, topic, taken) = filled_while_written(Trio::founded_with(limits, 0), 1 << 20);
        trio.run_ms(500);
        trio.crash(1);
        // A power cut took what was in the logs only.
        for file in trio.disk(1).list(&FileName::root().join("logs")).unwrap() {
            trio.disk(1).remove(&file).unwrap();
        }
        trio.disk(1).leave_room(Some(room));
        let mut tries = 0;
        while let Err(error) = trio.try_start(1) {
            assert!(error.is_full() && tries < 2, "{error}");
            tries += 1;
            let more = if tries == 1 { Some(0) } else { None };
            trio.disk(1).leave_room(more);
        }
        trio.run_ms(3000);
        is_alike(&mut trio, topic, taken);
    }
}

#[test]
fn a_directory_put_back_takes_its_entries_back_also_when_the_others_come_late() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "in the backup")).is_ok());
    trio.run_ms(200);
    trio.crash(1);
    let backup = trio.disk(1).clone();
    trio.start(1);
    trio.run_ms(2000);
    assert!(trio.ask(1, append(topic, "since then")).is_ok());
    trio.run_ms(200);
    trio.crash(1);
    *trio.disk(1) = backup;
    trio.cut(1);
    trio.start(1);
    // It has given up waiting for the others; checkpoints are taken meanwhile, and it starts once more.
    trio.run_ms(3000);
    trio.crash(1);
    trio.start(1);
    trio.run_ms(3000);
    trio.heal(1);
    trio.run_ms(3000);
    assert_eq!(trio.site(1).status(0).halted, None);
    assert!(trio.ask(1, append(topic, "after the return")).is_ok());
    trio.run_ms(500);
    for site in 1..=3 {
        let merged = trio.values(site, topic, Reading::Merged);
        assert_eq!(merged, ["in the backup", "since then", "after the return"], "at site {site}");
    }
}

#[test]
fn what_was_written_on_a_directory_put_back_before_anybody_was_heard_halts_it() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.crash(1);
    let backup = trio.disk(1).clone();
    trio.start(1);
    trio.run_ms(2000);
    assert!(trio.ask(1, append(topic, "since then")).is_ok());
    trio.run_ms(200);
    trio.crash(1);
    *trio.disk(1) = backup;
    trio.cut(1);
    trio.start(1);
    trio.run_ms(2000);
    assert!(trio.ask(1, append(topic, "in the same place")).is_ok(), "nobody says otherwise");
    trio.heal(1);
    trio.run_ms(1000);
    assert!(trio.site(1).status(0).halted.is_some());
    assert!(matches!(trio.ask(1, append(topic, "no more")), Err(Refusal::Halted(_))));
    assert_eq!(trio.values(2, topic, Reading::Origin(SiteId(1))), ["since then"]);
}

/// Writes much at two sites while the third is away; says how large the first one's WAL has become at most.
fn wal_without_the_third(fence_timeout_ms: u64) -> (Trio, entry::TopicId, u64) {
    let limits = Limits {
        checkpoint_bytes: 8 << 10,
        wal_segment_bytes: 1 << 14,
        wal_bytes_max: 1 << 19,
        hot_bytes: 1 << 10,
        ..Limits::default()
    };
    let mut trio = Trio::founded_with(limits, fence_timeout_ms);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    trio.run_ms(2000);
    let mut most = 0;
    for n in 0..400 {
        assert!(trio.ask(1 + (n % 2) as u16, append(topic, &filler(n))).is_ok());
        most = most.max(trio.site(1).wal_status().bytes);
    }
    (trio, topic, most)
}

#[test]
fn the_wal_waits_for_a_fenced_site_half_as_long_and_it_copies_when_it_is_back() {
    let (_, _, silent) = wal_without_the_third(0);
    assert!(silent > 1 << 19, "{silent}: a silent site is waited for up to the bound");
    let (mut trio, topic, fenced) = wal_without_the_third(1000);
    assert!(fenced > 1 << 18 && fenced < (1 << 18) + (1 << 17), "{fenced}: a fenced one up to half of it");
    // What only the fenced site holds is not lost by what the others have dropped.
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    trio.heal(3);
    trio.run_ms(8000);
    assert!(trio.restarts > 0, "it took over a copy");
    assert!(trio.ask(3, append(topic, "back")).is_ok());
    trio.run_ms(1000);
    let merged = trio.values(1, topic, Reading::Merged);
    assert_eq!(merged.len(), 402);
    assert_eq!(merged.iter().filter(|value| *value == "alone" || *value == "back").count(), 2);
    for site in 2..=3 {
        assert_eq!(trio.values(site, topic, Reading::Merged), merged, "at site {site}");
    }
}

#[test]
fn a_backlog_without_an_end_refuses_writes_and_says_whom_it_waits_for() {
    let limits = Limits { unreleased_max: 20, ..Limits::default() };
    let mut trio = Trio::founded_with(limits, 0);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    let taken = (0..40).map_while(|n| trio.ask(1, append(topic, &format!("{n}"))).ok()).count();
    assert!((15..=20).contains(&taken), "{taken}");
    let refused = trio.ask(1, append(topic, "too much")).unwrap_err();
    assert!(matches!(&refused, Refusal::Backlog { waiting: 20.., .. }), "{refused}");
    assert!(refused.to_string().contains("site-3"), "{refused}");
    // What comes from others is taken in: it may be what the order waits for.
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    trio.heal(3);
    trio.run_ms(1000);
    assert!(trio.ask(1, append(topic, "room again")).is_ok());
    trio.run_ms(200);
    assert_eq!(trio.values(2, topic, Reading::Merged).len(), taken + 2);
}

#[test]
fn a_flood_of_local_writes_does_not_keep_others_entries_from_the_wal() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.push(2, Event::Request { ticket: Ticket(2_000_000), request: append(topic, "through") });
    let mut flood = 0;
    while trio.values(1, topic, Reading::Origin(SiteId(2))).is_empty() {
        // More than one write takes, so that there is no end to what waits.
        for _ in 0..100 {
            let records = batch(&"x".repeat(1 << 10));
            let append =
                Append { topic, partition: 0, records, acknowledge: Acknowledge::Local, patience_ms: 0 };
            let ticket = Ticket(1_000_000 + flood);
            trio.push(1, Event::Request { ticket, request: Request::Append(append) });
            flood += 1;
        }
        trio.step_once();
        assert!(flood < 10_000, "it never comes through");
    }
    assert!(flood > 300 && trio.site(1).waiting_bytes() > 0, "the flood goes on: {flood}");
}
