//! Little room: on the disk, in the WAL, for one more of anything.

use entry::SiteId;

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
fn a_site_whose_disk_is_low_takes_leave_in_good_order() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.push(3, Event::DiskLow(true));
    trio.stop(3);
    assert!(trio.ask(1, append(topic, "not held up")).is_ok());
    trio.run_ms(300);
    assert_eq!(trio.values(2, topic, Reading::Merged), ["not held up"]);
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
