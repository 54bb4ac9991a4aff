//! A silent site is fenced, reading goes on, and what it wrote meanwhile comes in once, everywhere in the same place.

use entry::{Incarnation, SiteId};

use super::trio::Trio;
use super::{append, create};
use crate::{Reading, Refusal, Request};

fn equal_logs(trio: &Trio, topic: entry::TopicId) -> Vec<String> {
    let merged = trio.values(1, topic, Reading::Merged);
    for site in 2..=3 {
        assert_eq!(trio.values(site, topic, Reading::Merged), merged, "at site {site}");
        assert_eq!(trio.digest(site, topic), trio.digest(1, topic), "at site {site}");
    }
    merged
}

#[test]
fn reading_goes_on_without_a_silent_site_and_its_tail_comes_in_once() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(3, append(topic, "before")).is_ok());
    trio.run_ms(100);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    assert!(trio.ask(1, append(topic, "others")).is_ok());
    trio.run_ms(500);
    assert_eq!(trio.values(1, topic, Reading::Merged), ["before"], "not yet: it may only be slow");
    trio.run_ms(2500);
    for site in 1..=2 {
        assert_eq!(trio.values(site, topic, Reading::Merged), ["before", "others"], "at site {site}");
    }
    assert!(trio.ask(3, append(topic, "alone still")).is_ok(), "it knows of nothing and takes writes");
    assert_eq!(trio.values(3, topic, Reading::Merged), ["before"], "and shows nothing new");
    trio.heal(3);
    trio.run_ms(3000);
    assert_eq!(equal_logs(&trio, topic), ["before", "others", "alone", "alone still"]);
    assert_eq!(trio.site(3).identity().incarnation, Some(Incarnation(1)));
    assert!(trio.ask(3, append(topic, "again")).is_ok());
    trio.run_ms(300);
    assert_eq!(equal_logs(&trio, topic).last().map(String::as_str), Some("again"));
    let origin = trio.values(1, topic, Reading::Origin(SiteId(3)));
    assert_eq!(origin, ["before", "alone", "alone still", "again"]);
}

/// A site that was fenced is written to while it comes back, `pace` after each of so many records: none is refused.
fn takes_every_write(sync_ms: u64, records: usize, pace: impl Fn(&mut Trio, usize)) {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    trio.run_ms(3000);
    trio.heal(3);
    trio.sync_ms.insert(3, sync_ms);
    let texts: Vec<String> = (0..records).map(|n| n.to_string()).collect();
    let mut tickets = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        tickets.push(trio.send(3, append(topic, text)));
        pace(&mut trio, n);
    }
    trio.run_ms(100 + 3 * sync_ms);
    for ticket in tickets {
        assert_eq!(trio.answer(ticket).expect("it was answered").err(), None);
    }
    assert_eq!(trio.site(3).identity().incarnation, Some(Incarnation(1)), "it has begun anew meanwhile");
    trio.run_ms(1000);
    assert_eq!(equal_logs(&trio, topic), texts);
}

#[test]
fn a_fenced_site_takes_every_write_on_its_way_back() {
    // There always is one on its way to the disk.
    takes_every_write(0, 3000, |trio, n| if n % 3 == 0 { trio.run_ms(1) } else { trio.step_once() });
}

/// While the last of the former journal is on its way to a slow disk, what comes in waits for the next one.
#[test]
fn a_fenced_site_with_a_slow_disk_refuses_nothing_on_its_way_back() {
    takes_every_write(70, 1500, |trio, _| trio.run_ms(1));
}

#[test]
fn a_fenced_site_that_crashes_on_its_way_back_loses_nothing() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    assert!(trio.ask(2, append(topic, "others")).is_ok());
    trio.run_ms(3000);
    for ms in [30, 300, 700, 1500] {
        trio.crash(3);
        trio.heal(3);
        trio.start(3);
        trio.run_ms(ms);
    }
    trio.run_ms(3000);
    assert_eq!(equal_logs(&trio, topic), ["others", "alone"]);
    assert!(trio.ask(3, append(topic, "again")).is_ok());
    trio.run_ms(300);
    assert_eq!(equal_logs(&trio, topic), ["others", "alone", "again"]);
}

#[test]
fn everyone_restarts_and_still_knows_what_ended() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    trio.run_ms(3000);
    for n in 0..30 {
        assert!(
            trio.ask(1, append(topic, &format!("{n}"))).is_ok(),
            "so that there are checkpoints behind it"
        );
    }
    trio.crash(1);
    trio.start(1);
    trio.crash(2);
    trio.start(2);
    trio.run_ms(4000);
    assert_eq!(trio.values(2, topic, Reading::Merged).len(), 30);
    assert!(trio.ask(2, append(topic, "more")).is_ok());
    trio.run_ms(300);
    assert_eq!(trio.values(1, topic, Reading::Merged).len(), 31);
    trio.heal(3);
    trio.run_ms(4000);
    assert_eq!(equal_logs(&trio, topic).len(), 31);
}

#[test]
fn a_wiped_site_comes_back_and_its_former_journal_ends() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(2, append(topic, "in the old life")).is_ok());
    trio.run_ms(100);
    trio.crash(2);
    trio.wipe(2);
    trio.start_joining(2);
    trio.run_ms(5000);
    assert!(trio.site(2).identity().synced, "it holds what the others held");
    assert!(trio.ask(2, append(topic, "in the new life")).is_ok());
    assert!(trio.ask(1, append(topic, "elsewhere")).is_ok());
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, topic), ["in the old life", "in the new life", "elsewhere"]);
}

#[test]
fn an_operator_fences_a_site_at_once() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.cut(2);
    assert!(trio.ask(1, append(topic, "read me")).is_ok());
    trio.run_ms(3000);
    assert_eq!(trio.values(3, topic, Reading::Merged), Vec::<String>::new());
    assert!(trio.ask(1, Request::Fence { site: SiteId(2) }).is_ok());
    trio.run_ms(1000);
    for site in [1, 3] {
        assert_eq!(trio.values(site, topic, Reading::Merged), ["read me"], "at site {site}");
    }
    let again = trio.ask(3, Request::Fence { site: SiteId(2) });
    assert!(matches!(again, Err(Refusal::Fence(_))), "{again:?}");
    let stranger = trio.ask(3, Request::Fence { site: SiteId(9) });
    assert!(matches!(stranger, Err(Refusal::Fence(_))), "{stranger:?}");
    trio.heal(2);
    trio.run_ms(3000);
    assert!(trio.ask(2, append(topic, "back")).is_ok());
    trio.run_ms(300);
    assert_eq!(equal_logs(&trio, topic), ["read me", "back"]);
}
