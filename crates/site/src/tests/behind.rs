//! Clocks that are behind: whose site takes nothing from clients, and whose does.

use entry::TopicId;

use super::trio::Trio;
use super::{append, create};
use crate::{Reading, Refusal};

/// How far a clock is off: much more than the bound.
const FAR_MS: i64 = 6_700;

/// Whether a site refuses to write because its clock is behind.
fn is_refused(trio: &mut Trio, id: u16, topic: TopicId) -> bool {
    match trio.ask(id, append(topic, "written")) {
        Ok(_) => false,
        Err(Refusal::Clock(why)) => {
            assert!(why.contains("behind what other sites show") && why.contains("set it right"), "{why}");
            true
        }
        Err(other) => panic!("not refused for its clock: {other}"),
    }
}

/// A site is started anew by a clock that is so far ahead, and writes as soon as it may.
fn restart_ahead(trio: &mut Trio, id: u16, ahead_ms: i64) {
    trio.crash(id);
    trio.set_ahead_ms(id, ahead_ms);
    trio.start(id);
    trio.run_ms(4000);
}

#[test]
fn who_has_written_elsewhere_writes_nothing_in_front_of_it_where_a_clock_is_behind() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.set_ahead_ms(3, -FAR_MS);
    trio.run_ms(300);
    assert!(trio.ask(1, append(topic, "earlier")).is_ok());
    assert!(is_refused(&mut trio, 3, topic), "at once");
    trio.run_ms(10_000);
    assert!(is_refused(&mut trio, 3, topic), "and when its own stamps could go on as well");
    let status = trio.status(3);
    assert!(status.not_writing.is_some_and(|why| why.contains("behind")));
    assert!(status.alarms.iter().any(|alarm| alarm.contains("ms behind what")));
    trio.set_ahead_ms(3, 0);
    trio.run_ms(10);
    assert!(trio.ask(3, append(topic, "later")).is_ok(), "as soon as it is set right");
    trio.run_ms(3000);
    assert_eq!(trio.values(1, topic, Reading::Merged), ["earlier", "later"]);
    assert!(!trio.status(3).alarms.iter().any(|alarm| alarm.contains("behind what")));
}

#[test]
fn a_clock_that_was_behind_from_the_start_is_outvoted_and_one_that_is_ahead_outvotes_nobody() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    restart_ahead(&mut trio, 1, FAR_MS);
    assert!(!is_refused(&mut trio, 2, topic) && !is_refused(&mut trio, 3, topic), "one is ahead of two");
    restart_ahead(&mut trio, 2, FAR_MS);
    assert!(!is_refused(&mut trio, 1, topic) && !is_refused(&mut trio, 2, topic));
    assert!(is_refused(&mut trio, 3, topic), "one is behind two");
    trio.crash(2);
    trio.run_ms(3000);
    assert!(is_refused(&mut trio, 3, topic), "one word against another changes nothing");
}

#[test]
fn of_two_sites_one_that_saw_its_clock_set_back_stops_and_one_that_did_not_goes_on() {
    let mut trio = Trio::founded_by_so_many(2);
    let topic = create(&mut trio, &[]);
    trio.set_ahead_ms(2, -FAR_MS);
    trio.run_ms(1000);
    assert!(is_refused(&mut trio, 2, topic) && !is_refused(&mut trio, 1, topic));
    trio.crash(2);
    trio.start(2);
    trio.run_ms(15_000);
    assert!(!is_refused(&mut trio, 2, topic), "it cannot know whose clock is wrong");
}

#[test]
fn a_site_that_is_cut_off_goes_by_what_it_knew() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    trio.run_ms(2000);
    trio.set_ahead_ms(3, -FAR_MS);
    trio.run_ms(10_000);
    assert!(!is_refused(&mut trio, 3, topic), "nobody has told it");
    trio.heal(3);
    trio.run_ms(1000);
    assert!(is_refused(&mut trio, 3, topic));
    trio.cut(3);
    trio.run_ms(10_000);
    assert!(is_refused(&mut trio, 3, topic), "it was told");
    trio.set_ahead_ms(3, 0);
    trio.run_ms(10);
    assert!(!is_refused(&mut trio, 3, topic), "it sees that the clock was set right");
}

#[test]
fn who_finds_that_it_was_ahead_itself_stops_nobody_any_more() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    restart_ahead(&mut trio, 1, 600_000);
    restart_ahead(&mut trio, 2, 600_000);
    assert!(is_refused(&mut trio, 3, topic));
    trio.set_ahead_ms(1, 0);
    trio.set_ahead_ms(2, 0);
    trio.run_ms(3000);
    assert!(
        !is_refused(&mut trio, 3, topic),
        "they are heard, and promise nothing until their clocks get there"
    );
}
